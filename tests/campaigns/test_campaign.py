"""Whole campaigns, from their contacts to their results, against a real sandbox and a real ledger."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_voiceinfra.campaigns import campaign as campaign_module
from airflow_provider_voiceinfra.campaigns.campaign import CampaignExecution
from airflow_provider_voiceinfra.campaigns.engine import runner
from airflow_provider_voiceinfra.campaigns.engine.obstacles import MOST_REFUSALS
from airflow_provider_voiceinfra.campaigns.engine.runner import End, Pause
from airflow_provider_voiceinfra.campaigns.plan import CampaignPlan, CampaignSetup, RedialPolicy
from airflow_provider_voiceinfra.campaigns.progress import Progress, WaitingFor
from airflow_provider_voiceinfra.campaigns.reporting.result_files import spreadsheet_cell
from airflow_provider_voiceinfra.connection import VoiceInfraConnection
from airflow_provider_voiceinfra.exceptions import (
    CallRefusedError,
    CampaignBusyError,
    CampaignContinuedError,
    ContactsError,
    UnauthorizedError,
    VoiceInfraError,
)
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.ownership import Ownership
from airflow_provider_voiceinfra.ledger.campaigns.records import ContactEntry, attempt_key
from airflow_provider_voiceinfra.ledger.database.pools import SHARED
from airflow_provider_voiceinfra.ledger.database.schema import calls as calls_table
from airflow_provider_voiceinfra.ledger.database.schema import campaigns as campaigns_table
from airflow_provider_voiceinfra.ledger.database.schema import contacts as contacts_table
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin, Job
from airflow_provider_voiceinfra.ledger.rules.suppressions import Suppression
from airflow_provider_voiceinfra.rules.call_cap import parse_call_cap
from airflow_provider_voiceinfra.rules.calling_window.window import CallingWindow
from tests.campaigns.live import FlakyLedger, adds_up, entries, read_lines
from tests.sandbox_process import SandboxProcess
from tests.support.receivers import recording

CONN_ID = "voiceinfra_default"
TASK = CallOrigin("dag", "run", "call", -1, 1)
ONCE_MORE = RedialPolicy.parse({"waits": [0], "attempts": 2})


class Campaign:
    """One campaign, and the tasks that run it one after the other."""

    def __init__(self, campaign_id: str, sandbox: SandboxProcess, ledger: CallLedger, folder: Path) -> None:
        self.sandbox = sandbox
        self.ledger = ledger
        self.folder = folder
        self.plan = CampaignPlan(campaign_id, unknown_timeout=timedelta(seconds=1))
        self.tries = 0

    def execution(self, contacts: Any, **options: Any) -> CampaignExecution:
        """Return the next try of the task."""
        self.tries += 1
        plan = {name: options.pop(name) for name in list(options) if hasattr(self.plan, name)}
        reading = {
            name: options.pop(name) for name in ("do_not_call", "agent_id", "contact_key") if name in options
        }
        names = ("may_pause", "resumed", "report")
        of_execution = {name: options.pop(name) for name in names if name in options}
        setup = CampaignSetup(
            plan=replace(self.plan, **plan),
            origin=options.pop("origin", replace(TASK, try_number=self.tries)),
            conn_id=CONN_ID,
            contacts=contacts,
            reading={"agent_id": "agent_demo", **reading},  # type: ignore[dict-item]
            **{"results_path": str(self.folder / "results.csv"), **options},
        )
        connection = VoiceInfraConnection(
            CONN_ID, self.sandbox.api_key, self.sandbox.base_url, from_number="+12025550100", timeout=1
        )
        return CampaignExecution(setup, connection, self.ledger, **of_execution)

    def run(self, contacts: Any, **options: Any) -> dict[str, Any]:
        """Run the campaign to its end and return the summary."""
        found = self.execution(contacts, **options).run()
        assert not isinstance(found, Pause)
        end, summary = found
        assert end is End.FINISHED
        return summary

    def lines(self, name: str = "results.csv") -> list[dict[str, Any]]:
        """Return the lines of a result file by row, whatever its format."""
        lines = [
            {column: spreadsheet_cell(value) for column, value in line.items()}  # as a CSV file has them
            for line in read_lines(self.folder / name)
        ]
        return sorted(lines, key=lambda line: int(line["row"]))

    def outcomes(self) -> dict[str, str]:
        return {line["row"]: line["outcome"] for line in self.lines()}

    def dialled(self) -> dict[str, int]:
        """Return how often each number rang, by the sandbox's audit log: the truth."""
        return dict(Counter(call["to_number"] for call in self.sandbox.audit()["calls"]))


def number(line: int, area: int = 415) -> str:
    return f"+1{area}55501{line:02d}"


def rows(*lines: int, **values: Any) -> list[dict[str, Any]]:
    return [{"to_number": number(line), **values} for line in lines]


@pytest.fixture
def campaign(
    fresh_sandbox: SandboxProcess, fresh_sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Campaign]:
    monkeypatch.setattr(runner, "TICK", 0.02)
    monkeypatch.setattr(runner, "SLOW_TICK", 0.1)
    ledger, folder = CallLedger(fresh_sqlite_url), tmp_path / "files"
    folder.mkdir()
    with recording(fresh_sandbox, ledger):
        yield Campaign("spring", fresh_sandbox, ledger, folder)


CONTACTS = f"""\ufeffto_number;name;agent_id
{number(0)};answered;
{number(7)};=voicemail;
{number(8)};failed;
{number(95)};its webhook never comes;
{number(90)};the answer is an error, and nobody rang;
{number(91)};the answer is an error, and somebody rang;
{number(1)};of an agent of its own;unknown_agent
12;no number;
{number(0)};again;
{number(2)};asked not to be called;
"""


def test_each_row_has_one_line_that_agrees_with_the_summary_and_the_api(campaign: Campaign) -> None:
    path = campaign.folder / "contacts.csv"
    path.write_text(CONTACTS, encoding="utf-8")
    options = {
        "do_not_call": [number(2)],
        "redial": ONCE_MORE,
        "completion_timeout": timedelta(seconds=1.5),
    }

    summary = campaign.run(str(path), **options)

    lines = campaign.lines()
    assert [(line["row"], line["outcome"], line["attempts"]) for line in lines] == [
        ("2", "answered", "1"),
        ("3", "voicemail", "2"),
        ("4", "failed", "2"),
        ("5", "unknown", "1"),
        ("6", "unknown", "0"),
        ("7", "answered", "1"),
        ("8", "refused", "0"),
        ("9", "invalid", "0"),
        ("10", "duplicate", "0"),
        ("11", "do_not_call", "0"),
    ]
    dialled = campaign.dialled()
    assert {line["to_number"]: int(line["attempts"]) for line in lines if int(line["attempts"])} == dialled
    ids = {call["call_id"] for call in campaign.sandbox.audit()["calls"]}
    assert {line["call_id"] for line in lines if line["call_id"]} <= ids
    counted = Counter(line["outcome"] for line in lines)
    counted["duplicates"] = counted.pop("duplicate")
    assert {name: summary[name] for name in counted} == counted
    assert adds_up(summary)
    assert (summary["contacts"], summary["placed"], summary["attempts"]) == (10, 5, sum(dialled.values()))
    assert summary["results_path"] == str(campaign.folder / "results.csv")
    entry = campaign.ledger.campaigns.get(campaign.plan.campaign_id)
    assert entry is not None
    assert entry.summary == summary
    assert entry.finished_at is not None
    accounts = {call.account for call in campaign.ledger.calls()}
    assert accounts == {campaign.execution([])._connection.account} != {None}

    for name in ("again.csv", "again.csv.gz", "again.jsonl", "again.jsonl.gz"):
        results = f"file://{campaign.folder / name}"
        again = campaign.run(str(path), **options, results_path=results)
        assert campaign.lines(name) == lines
        assert again == {**summary, "finished_at": again["finished_at"], "results_path": results}
    assert campaign.dialled() == dialled


@pytest.mark.parametrize("run_id", [TASK.run_id, "second evening"], ids=["cleared", "another run"])
def test_a_campaign_that_goes_on_calls_who_is_new_or_fixed(campaign: Campaign, run_id: str) -> None:
    campaign.run([*rows(0), {"to_number": "12"}, *rows(1)])
    summary = campaign.run(rows(0, 2, 3), origin=replace(TASK, run_id=run_id, try_number=2))
    assert campaign.dialled() == {number(line): 1 for line in (0, 1, 2, 3)}
    assert [(line["to_number"], line["outcome"]) for line in campaign.lines()] == [
        (number(0), "answered"),
        (number(2), "answered"),
        # Once it was on the list and was called; now it is gone, and row 3 is another one's.
        *sorted([(number(1), "answered"), (number(3), "answered")]),
    ]
    assert (summary["contacts"], summary["invalid"], summary["attempts"]) == (4, 0, 4)


def sleep(campaign: Campaign, *lines: int, **options: Any) -> Pause:
    """Have a task sleep until its window opens."""
    opens = datetime.now(timezone.utc) + timedelta(hours=2)
    window = CallingWindow.parse(f"{opens:%H:%M}-{opens + timedelta(minutes=5):%H:%M} UTC")
    asleep = campaign.execution(rows(*lines), window=window, may_pause=True, **options).run()
    assert isinstance(asleep, Pause)
    return asleep


def test_a_task_that_slept_does_not_read_the_contacts_again(campaign: Campaign) -> None:
    asleep = sleep(campaign, 0)
    assert timedelta(hours=1) < asleep.until - datetime.now(timezone.utc) < timedelta(hours=3)
    assert campaign.sandbox.counts()["requests"] == 0
    gone = campaign.folder / "gone.csv"  # it would be refused if it were read
    summary = campaign.run(gone, resumed=True)
    assert (summary["contacts"], summary["answered"]) == (1, 1)


def test_a_task_that_slept_leaves_a_campaign_that_another_run_continued_alone(campaign: Campaign) -> None:
    sleep(campaign, 0)
    sleep(campaign, 1, origin=replace(TASK, run_id="night two"))
    with pytest.raises(CampaignContinuedError):
        campaign.run(rows(0), resumed=True)
    assert campaign.dialled() == {}


def test_one_that_is_told_to_stop_leaves_the_rest_to_the_next_try(campaign: Campaign) -> None:
    stopped = campaign.execution(rows(0, 1))
    stopped.stop()
    assert stopped.run() == (End.STOPPED, {})
    assert campaign.sandbox.counts()["requests"] == 0
    assert not (campaign.folder / "results.csv").exists()
    summary = campaign.run(rows(0, 1), do_not_call=[number(1)])
    assert (summary["answered"], summary["do_not_call"]) == (1, 1)
    assert campaign.dialled() == {number(0): 1}


def test_results_never_replace_what_the_campaign_reads(campaign: Campaign) -> None:
    contacts = campaign.folder / "contacts.csv"
    contacts.write_text("to_number\n+14155550100\n")
    with pytest.raises(ContactsError, match="is a file that the campaign reads"):
        campaign.run(contacts, results_path=f"file://{contacts}")
    assert campaign.dialled() == {}


# What a person must fix.


@pytest.mark.parametrize(
    ("contacts", "settings", "error"),
    [
        (6, {"api_keys": ["vk_other"]}, UnauthorizedError),
        (30, {"api_keys": ["vk_other"]}, UnauthorizedError),
        (1, {"agents": ["agent_other"]}, CallRefusedError),
        (3, {"agents": ["agent_other"]}, CallRefusedError),
        (30, {"agents": ["agent_other"]}, CallRefusedError),
        (30, {"from_numbers": ["+14155550198"]}, CallRefusedError),
    ],
)
def test_what_the_api_refuses_for_everybody_stops_the_campaign_and_keeps_everybody(
    campaign: Campaign, contacts: int, settings: dict[str, Any], error: type[Exception]
) -> None:
    usual = campaign.sandbox.control("GET", "settings")
    campaign.sandbox.configure(**settings)
    called = range(10, 10 + contacts)
    for _ in range(2):
        with pytest.raises(error) as caught:
            campaign.run(rows(*called), max_active_calls=2)
        if error is CallRefusedError:
            assert re.search("refused .* Fix that and clear this task.*everybody", str(caught.value))
        entry = campaign.ledger.campaigns.get(campaign.plan.campaign_id)
        assert entry is not None
        assert entry.finished_at is None
    assert campaign.sandbox.counts()["requests"] <= 2 * (MOST_REFUSALS + 2)
    campaign.sandbox.configure(**{name: usual[name] for name in settings})
    assert campaign.dialled() == {}
    summary = campaign.run(rows(*called))
    assert campaign.dialled() == {number(line): 1 for line in called}
    assert summary["attempts"] == contacts


@pytest.mark.parametrize("name", ["results.csv", "results.jsonl.gz"])
def test_a_disk_that_is_full_loses_nothing(campaign: Campaign, name: str) -> None:
    path = campaign.folder / name
    path.symlink_to("/dev/full")
    with pytest.raises(VoiceInfraError, match=f"{name} cannot be written: No space left.*Nothing is lost"):
        campaign.run(rows(0, 7), results_path=str(path))
    assert campaign.dialled() == {number(0): 1, number(7): 1}
    path.unlink()
    campaign.run(rows(0, 7), results_path=str(path))
    assert [line["outcome"] for line in campaign.lines(name)] == ["answered", "voicemail"]
    assert campaign.dialled() == {number(0): 1, number(7): 1}


# Two processes with one campaign.


def claim(ledger: CallLedger, id_: str, contact: ContactEntry, owner: Ownership | None = None) -> CallEntry:
    """Claim the first call to a contact of a campaign, as another process does."""
    key = contact.contact_key
    origin = replace(TASK, campaign_id=id_, contact_key=key, position=contact.position, attempt=1)
    wish = Job(attempt_key(id_, key, 1), contact.call, origin)
    [(claimed, won)] = ledger.claim_many([wish], conn_id=CONN_ID, owner=owner)
    assert won
    return claimed


def former_claim(campaign: Campaign, line: int) -> CallEntry:
    """Have a former process take the campaign, and claim a call to its only contact."""
    id_, ledger = campaign.plan.campaign_id, campaign.ledger
    runner = str(ledger.campaigns.take(id_, conn_id=CONN_ID, origin=TASK).runner)
    ledger.campaigns.load_contacts(id_, entries([number(line)]), loaded_by="former", runner=runner)
    [contact] = ledger.campaigns.all_contacts(id_)
    return claim(ledger, id_, contact, Ownership(id_, runner))


def test_a_new_list_is_not_stored_before_former_claims_are_settled(campaign: Campaign) -> None:
    claimed = former_claim(campaign, 0)
    ledger, looks = campaign.ledger, []

    def told(name: str) -> None:
        if name == "load_contacts":
            assert ledger.campaigns.claims_in_flight(campaign.plan.campaign_id) == 0
        if name == "claims_in_flight":
            looks.append(name)
            if len(looks) == 3:  # it comes back unsent
                ledger.refuse(claimed, "interrupted", "it was not sent")

    campaign.ledger = FlakyLedger(ledger, told)  # type: ignore[assignment]
    campaign.tries = 1
    summary = campaign.run(rows(1))
    assert len(looks) >= 3
    assert campaign.dialled() == {number(1): 1}  # who is on the new list, and not who was withdrawn by it
    assert (summary["answered"], summary["withdrawn"]) == (1, 1)


def test_what_a_dead_process_claimed_is_waited_for_no_longer_than_it_could_have_sent_it(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign_module, "ALIVE", 0.2)
    former_claim(campaign, 90)  # the sandbox never rings that number
    campaign.tries = 1
    summary = campaign.run(rows(90, 1))
    assert (summary["unknown"], summary["answered"]) == (1, 1)  # it may have rung, so it is not dialled
    assert campaign.dialled() == {number(1): 1}


@pytest.mark.parametrize("name", ["results.csv", "results.jsonl.gz"])
def test_a_try_that_lost_the_campaign_leaves_the_newer_file_as_it_is(campaign: Campaign, name: str) -> None:
    contacts, path = rows(*range(8)), campaign.folder / name
    ledger = campaign.ledger
    newer: list[Any] = []

    def slow(campaign_id: str) -> Iterator[ContactEntry]:
        for place, contact in enumerate(ledger.campaigns.all_contacts(campaign_id)):
            if place == 4 and not newer:  # the process is paused here, and taken for dead
                campaign.ledger = ledger
                campaign.run(contacts, results_path=str(path))
                newer.append(path.read_bytes())
            yield contact

    paused: Any = ledger.with_pool(SHARED)
    paused.campaigns.all_contacts = slow
    campaign.ledger = paused
    with pytest.raises(CampaignBusyError):
        campaign.run(contacts, results_path=str(path))
    assert path.read_bytes() == newer[0]
    assert [line["outcome"] for line in campaign.lines(name)] == ["answered"] * 7 + ["voicemail"]
    assert [found.name for found in campaign.folder.iterdir()] == [name]


def test_who_came_back_unsent_from_another_process_meanwhile_is_not_forgotten(campaign: Campaign) -> None:
    ledger = campaign.ledger
    claimed: list[Any] = []

    def told(name: str) -> None:
        # After the calls were read, and before the contacts are that nobody has called.
        if name == "untried_contacts" and not claimed:
            id_ = campaign.plan.campaign_id
            contacts = [one for one in ledger.campaigns.all_contacts(id_) if one.contact_key == number(1)]
            claimed.extend(claim(ledger, id_, one) for one in contacts)
        elif name == "take_completions" or (name == "heartbeat" and claimed):
            ledger.refuse(claimed[0], "rate_limited", "too many requests")

    campaign.ledger = FlakyLedger(ledger, told)  # type: ignore[assignment]
    summary = campaign.run(rows(0, 1, 2))
    assert campaign.dialled() == {number(line): 1 for line in (0, 1, 2)}
    assert (summary["answered"], summary["expired"]) == (3, 0)


def test_results_of_a_campaign_that_was_purged_say_that_people_were_called(campaign: Campaign) -> None:
    contacts = rows(*range(5))
    campaign.run(contacts)
    campaign.ledger.purge(datetime.now(timezone.utc) + timedelta(minutes=1))
    # In another order, and with somebody new.
    summary = campaign.run([*reversed(contacts), *rows(6)])
    assert campaign.dialled() == {number(line): 1 for line in (0, 1, 2, 3, 4, 6)}
    assert (summary["placed"], summary["attempts"], summary["expired"]) == (6, 6, 0)
    assert (summary["answered"], summary["unknown"]) == (1, 5)
    lines = [line for line in campaign.lines() if line["outcome"] == "unknown"]
    assert all(line["call_id"] and "since older data was purged" in line["reason"] for line in lines)


def test_what_a_purge_left_is_still_told(campaign: Campaign) -> None:
    contacts = rows(*range(5))
    campaign.run(contacts)
    with campaign.ledger._database.writing() as connection:
        connection.execute(contacts_table.delete())  # as a purge does that keeps completions
        connection.execute(campaigns_table.update().values(loaded_by=None))
    summary = campaign.run(list(reversed(contacts)))
    assert (summary["answered"], summary["placed"], summary["expired"]) == (5, 5, 0)
    assert campaign.dialled() == {number(line): 1 for line in range(5)}


def test_a_window_that_is_never_open_for_long_is_told_of_unless_there_is_a_deadline(
    campaign: Campaign, caplog: pytest.LogCaptureFixture
) -> None:
    always, short = CallingWindow.parse("00:00-24:00"), CallingWindow.parse("09:00-09:05; 12:00-12:10")
    for window, deadline in ((always, None), (short, datetime.now(timezone.utc) + timedelta(days=1))):
        campaign.execution(rows(0), window=window, deadline=deadline, may_pause=True).run()
    assert "The calling window is open for" not in caplog.text
    campaign.execution(rows(1), window=short, may_pause=True).run()
    assert "The calling window is open for 10 min at a time, at most" in caplog.text


# Ends of other kinds.


def test_who_was_not_called_by_the_deadline_is_expired(campaign: Campaign) -> None:
    summary = campaign.run([*rows(0, 1), {"to_number": "12"}], deadline=datetime.now(timezone.utc))
    assert campaign.sandbox.counts()["requests"] == 0
    assert campaign.outcomes() == {"1": "expired", "2": "expired", "3": "invalid"}
    assert (summary["expired"], summary["invalid"], summary["placed"]) == (2, 1, 0)


def test_who_was_not_called_when_it_was_cancelled_is_cancelled(campaign: Campaign) -> None:
    campaign.sandbox.configure(call_seconds=1)

    def cancel(progress: Progress) -> None:
        if progress.placed:
            campaign.ledger.campaigns.cancel(campaign.plan.campaign_id)

    contacts = rows(*range(7))
    found = campaign.execution(contacts, max_active_calls=1, report=cancel).run()
    assert isinstance(found, tuple)
    end, summary = found
    assert end is End.CANCELLED
    placed = sum(campaign.dialled().values())
    assert 0 < placed < 7
    assert (summary["answered"], summary["cancelled"]) == (placed, 7 - placed)
    assert Counter(campaign.outcomes().values()) == {"answered": placed, "cancelled": 7 - placed}

    campaign.ledger.campaigns.uncancel(campaign.plan.campaign_id)
    assert campaign.run(contacts)["answered"] == 7
    assert campaign.dialled() == {number(line): 1 for line in range(7)}


def test_another_task_may_not_run_it_at_the_same_time(campaign: Campaign) -> None:
    campaign.ledger.campaigns.take(
        campaign.plan.campaign_id, conn_id=CONN_ID, origin=replace(TASK, run_id="another")
    )
    with pytest.raises(CampaignBusyError, match="is being run by task 'call' of DAG 'dag', run 'another'"):
        campaign.run(rows(0))
    assert campaign.sandbox.counts()["requests"] == 0
    assert list(campaign.ledger.campaigns.all_contacts(campaign.plan.campaign_id)) == []


def test_results_are_written_to_a_path_object_or_nowhere(campaign: Campaign) -> None:
    summary = campaign.run(rows(0), results_path=None)
    assert (summary["answered"], summary["results_path"]) == (1, None)
    assert list(campaign.folder.iterdir()) == []
    summary = campaign.run(rows(0), results_path=campaign.folder / "other.csv")
    assert summary["results_path"] == str(campaign.folder / "other.csv")
    assert len(campaign.lines("other.csv")) == 1


# What people see.


def test_logs_hold_no_whole_number(campaign: Campaign, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    contacts = [
        *rows(0, 7, 90, 91),
        *rows(1, agent_id="unknown_agent"),
        *rows(2, 2, 3),
        *rows(4, timezone=number(5)),
        {"to_number": "(415) 555-0106"},
    ]
    campaign.run(contacts, redial=ONCE_MORE, do_not_call=[number(3)])
    assert "Left out as invalid: row 9" in caplog.text
    assert "Left out as duplicate: row 7 (+1415***0102)" in caplog.text
    assert "contacts are on the list, those who were called before included; left out: " in caplog.text
    text = caplog.text
    assert "55501" not in text
    assert "555-01" not in text


class TestRules:
    def test_suppressed_contacts_are_reported_as_do_not_call_with_reason(self, campaign: Campaign) -> None:
        campaign.ledger.suppressions.add([Suppression(number(1), reason="asked by mail")])
        summary = campaign.run(rows(0, 1, 2))
        assert (summary["placed"], summary["do_not_call"]) == (2, 1)
        assert adds_up(summary)
        [line] = [line for line in campaign.lines() if line["to_number"] == number(1)]
        assert line["outcome"] == "do_not_call"
        assert "asked by mail" in line["reason"]
        assert set(campaign.dialled()) == {number(0), number(2)}

    def test_who_opts_out_in_the_first_call_is_not_called_again(self, campaign: Campaign) -> None:
        campaign.ledger.suppressions.add([Suppression(number(8), ends_at=datetime.now(timezone.utc))])
        told: list[Progress] = []

        def suppress(progress: Progress) -> None:
            if progress.placed and not told:
                told.append(progress)
                campaign.ledger.suppressions.add([Suppression(number(8), reason="said so")])

        redial = RedialPolicy.parse({"waits": [1 / 60], "attempts": 2})
        summary = campaign.run(rows(8), redial=redial, report=suppress)  # one that is always "failed"
        assert campaign.dialled() == {number(8): 1}
        assert (summary["failed"], summary["do_not_call"]) == (1, 0)
        [line] = campaign.lines()
        assert line["reason"].startswith("not called again: the number is suppressed")

    def test_capped_contacts_wait_and_are_called_once_the_cap_allows(self, campaign: Campaign) -> None:
        campaign.run(rows(0, 1))
        campaign.tries = 0
        reports: list[Progress] = []
        again = campaign.execution(
            rows(0, 2, name="Ann"),
            call_caps=parse_call_cap("1/1h"),
            origin=replace(TASK, run_id="next"),
            may_pause=True,
            report=reports.append,
            campaign_id="summer",
        )
        pause = again.run()
        assert isinstance(pause, Pause)
        assert pause.until > datetime.now(timezone.utc) + timedelta(minutes=59)
        assert reports[-1].waiting[WaitingFor.CAP] == 1
        assert campaign.dialled() == {number(0): 1, number(1): 1, number(2): 1}
        past = datetime.now(timezone.utc) - timedelta(hours=2)
        with campaign.ledger._database.writing() as connection:
            connection.execute(calls_table.update().values(dialled_at=past, allowed_from=None))
        summary = campaign.run(
            rows(0, 2, name="Ann"),
            call_caps=parse_call_cap("1/1h"),
            origin=replace(TASK, run_id="next", try_number=2),
            campaign_id="summer",
        )
        assert (summary["placed"], summary["attempts"]) == (2, 2)
        assert campaign.dialled()[number(0)] == 2
