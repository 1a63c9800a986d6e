"""``campaigns`` and ``campaign`` say how far a campaign is, and stop it or have it go on."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.campaigns.progress import Obstacle, WaitingFor
from airflow_provider_voiceinfra.campaigns.reporting.results import Tally
from airflow_provider_voiceinfra.campaigns.reporting.status import OBSTACLE_WORDS, WAITING_WORDS
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.records import CampaignEntry, ContactEntry
from airflow_provider_voiceinfra.ledger.campaigns.states import CampaignState
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from airflow_provider_voiceinfra.ledger.rows import now
from tests.cli.conftest import Run
from tests.ledger.examples import running, seen_from
from tests.support.progress import PROGRESS
from tests.test_docs import table

Step = Callable[[CallLedger], object]
CAMPAIGN_TASK = "clear task campaign of run r1 of DAG outreach"


def begin(ledger: CallLedger, id_: str = "spring", **progress: Any) -> CampaignEntry:
    """Have a process run a campaign that has loaded its contacts, and says something of itself."""
    take_up(ledger, id_)
    ledger.campaigns.load_contacts(id_, [], loaded_by="r1", runner=running(ledger, id_))
    return ledger.campaigns.heartbeat(id_, running(ledger, id_), {**PROGRESS, **progress})


def take_up(ledger: CallLedger, id_: str = "spring", run_id: str = "r1", map_index: int = -1) -> None:
    """Have a process run a campaign, and say nothing so far."""
    origin = CallOrigin(dag_id="outreach", run_id=run_id, task_id="campaign", map_index=map_index)
    ledger.campaigns.take(id_, conn_id="voiceinfra_default", origin=origin)


def leave(ledger: CallLedger, id_: str = "spring") -> None:
    """Leave a campaign to whoever runs it next."""
    ledger.campaigns.release(id_, running(ledger, id_))


def sleep(ledger: CallLedger) -> None:
    begin(ledger)
    leave(ledger)


def die(ledger: CallLedger) -> None:
    """Have a campaign's process show itself for the last time a minute ago."""
    begin(seen_from(ledger, lambda: now() - timedelta(seconds=61)))


def finish(ledger: CallLedger, id_: str = "spring", **numbers: int) -> None:
    """End a campaign, which may have been cancelled."""
    entry = ledger.campaigns.get(id_) or begin(ledger, id_)
    summary = {**Tally().summary(), **numbers, "results_path": "results.csv"}
    ledger.campaigns.finish(id_, str(entry.runner), {"campaign_id": id_, **summary})
    leave(ledger, id_)


def cancel(ledger: CallLedger) -> None:
    ledger.campaigns.cancel("spring")


def shown(run: Run, id_: str = "spring") -> Any:
    return run("campaign", id_, "--output", "json").json


@pytest.mark.parametrize(
    ("steps", "state", "means"),
    [
        ([begin], "running", "running"),
        ([die], "no_heartbeat", CAMPAIGN_TASK),
        ([sleep], "waiting", "Nobody dials at present"),
        ([finish], "finished", "It is over"),
        ([begin, cancel], "cancelled", "Nobody else is dialled"),
        ([sleep, cancel], "cancelled", "Nobody else is dialled"),
        ([finish, take_up], "running", "contacts are being loaded"),
        ([begin, cancel, finish], "cancelled", f"use --resume and {CAMPAIGN_TASK}"),
    ],
    ids=lambda value: " ".join(step.__name__ for step in value) if isinstance(value, list) else "",
)
def test_state_of_a_campaign_and_what_it_means(
    run: Run, ledger: CallLedger, steps: list[Step], state: str, means: str
) -> None:
    for step in steps:
        step(ledger)

    seen = shown(run)

    assert seen["state"] == state
    assert means in seen["meaning"]


def test_campaigns_are_listed_newest_first_and_no_more_than_the_limit(run: Run, ledger: CallLedger) -> None:
    for id_ in ("one", "two", "three"):
        begin(ledger, id_)

    rows = run("campaigns", "--limit", "2", "--output", "json").json

    assert [row["campaign_id"] for row in rows] == ["three", "two"]


def test_the_list_tells_where_each_campaign_is_from_and_how_far_it_is(run: Run, ledger: CallLedger) -> None:
    begin(ledger)
    finish(ledger, "autumn", contacts=10, invalid=2, answered=7, cancelled=1, attempts=9)

    autumn, spring = run("campaigns", "--output", "json").json

    assert (spring["state"], spring["dag_id"], spring["run_id"]) == ("running", "outreach", "r1")
    assert (spring["contacts"], spring["done"], spring["outcomes"]) == (1000, 412, PROGRESS["outcomes"])
    # The summary counts the rows that were left out among the contacts.
    assert (autumn["contacts"], autumn["done"]) == (8, 7)
    assert autumn["outcomes"] == {"answered": 7, "cancelled": 1}


@pytest.mark.parametrize("output", ["table", "plain"])
def test_the_list_has_outcomes_in_short_for_people(run: Run, ledger: CallLedger, output: str) -> None:
    begin(ledger)

    listed = " ".join(run("campaigns", "--output", output).out.split())

    assert "answered 332" in listed
    assert "{" not in listed


def test_programs_get_all_that_a_campaign_says_of_itself(run: Run, ledger: CallLedger) -> None:
    begin(ledger)

    seen = shown(run)

    told = dict(PROGRESS)
    assert seen.pop("calls_placed") == told.pop("placed")
    assert {name: seen[name] for name in told} == told
    assert seen["summary"] is None


@pytest.mark.parametrize(
    "words",
    [
        "contacts done 412 of 1000 (41 %)",
        "outcomes answered 332, voicemail 80",
        "calls placed 437",
        "rate 4.90 calls per second, of 5.02 that are allowed at present; the API's limit seems to be 5.22",
        "lines 8 of 10 in use",
        "waiting 12 until their calling window opens; 3 to be called again after a voicemail or a failure; "
        "1 for word of a call whose answer was lost",
        "next call 2026-03-01T14:00:00+00:00",
        "expected end 2026-03-01T10:02:00+00:00",
        "in the way rate limit",
        "rows left out invalid 2, duplicate 1",
        "refusal 1 2026-03-01T10:00:00+00:00 +1415***0100 invalid_phone: +1415***0100 is not valid",
    ],
)
def test_people_get_it_in_words(run: Run, ledger: CallLedger, words: str) -> None:
    begin(ledger)

    said = run("campaign", "spring", "--output", "plain").out.splitlines()

    assert words in [" ".join(line.split()) for line in said]


def test_what_says_nothing_is_left_out_for_people(run: Run, ledger: CallLedger) -> None:
    nothing: dict[str, Any] = dict.fromkeys(("next_at", "expected_end", "obstacle", "limit"))
    begin(ledger, **nothing, refusals=[], skipped={}, waiting={})

    table = run("campaign", "spring").out

    for name in ("next call", "expected end", "in the way", "refusal", "left out", "waiting", "cancelled"):
        assert name not in table
    assert "no limit was met" in table


def test_whatever_keeps_a_campaign_has_words_for_people() -> None:
    assert set(WAITING_WORDS) == set(WaitingFor)
    assert set(OBSTACLE_WORDS) == set(Obstacle)


def test_a_rate_is_not_told_once_nobody_dials(run: Run, ledger: CallLedger) -> None:
    sleep(ledger)

    seen = shown(run)

    assert (seen["rate"], seen["expected_end"]) == (None, None)
    assert seen["waiting"] == PROGRESS["waiting"]
    assert seen["next_at"] == PROGRESS["next_at"]
    assert "calls per second" not in run("campaign", "spring").out


def test_nobody_waits_to_be_called_by_a_cancelled_campaign(run: Run, ledger: CallLedger) -> None:
    begin(ledger)
    ledger.campaigns.cancel("spring")

    seen = shown(run)

    assert seen["waiting"] == {"answer": 1}
    assert seen["next_at"] is None


def test_contacts_are_counted_while_they_are_loaded(run: Run, ledger: CallLedger) -> None:
    take_up(ledger)
    request = OutboundCall("+14155550100", agent_id="agent_a", from_number="+14155550199").to_request()
    contacts = [
        ContactEntry(0, 1, "a", request, None),
        ContactEntry(0, 2, None, None, None, "invalid", "to_number is no number"),
    ]
    ledger.campaigns.load_contacts("spring", contacts, loaded_by="r1", runner=running(ledger, "spring"))

    seen = shown(run)

    assert (seen["contacts"], seen["skipped"], seen["done"]) == (1, {"invalid": 1}, 0)


def test_a_finished_campaign_shows_its_summary(run: Run, ledger: CallLedger) -> None:
    finish(ledger, contacts=12, invalid=1, duplicates=2, answered=8, expired=1, attempts=11)

    seen = shown(run)

    assert seen["summary"]["duplicates"] == 2
    assert seen["skipped"] == {"invalid": 1, "duplicate": 2}
    assert (seen["contacts"], seen["done"], seen["calls_placed"]) == (9, 9, 11)
    assert seen["outcomes"] == {"answered": 8, "expired": 1}
    assert (seen["active"], seen["waiting"], seen["next_at"], seen["obstacle"]) == (None, {}, None, None)
    assert "results.csv" in run("campaign", "spring").out


@pytest.mark.parametrize("output", ["table", "plain"])
def test_a_hostile_refusal_cannot_steer_the_terminal(run: Run, ledger: CallLedger, output: str) -> None:
    refusal = {**PROGRESS["refusals"][0], "message": "\x1b[2J[bold]gone[/nothing]\nfake line"}
    begin(ledger, refusals=[refusal])

    out = run("campaign", "spring", "--output", output).out

    assert "\x1b" not in out
    assert "\nfake line" not in out


def test_an_unknown_campaign_is_exit_code_1_and_names_some_alike(run: Run, ledger: CallLedger) -> None:
    for id_ in ("spring-checkup", "outreach/r1/campaign/-1", "autumn"):
        begin(ledger, id_)

    mistyped, part = run("campaign", "sprnig-checkup"), run("campaign", "OUTREACH")

    assert (mistyped.code, part.code) == (1, 1)
    assert mistyped.err == (
        "voiceinfra: there is no campaign 'sprnig-checkup'. Those that are alike: 'spring-checkup'.\n"
    )
    assert part.err.endswith("Those that are alike: 'outreach/r1/campaign/-1'.\n")
    assert ": 'autumn', 'outreach/r1/campaign/-1', 'spring-checkup'." in run("campaign", "xyz").err


def test_an_unknown_id_in_an_empty_ledger_says_that_there_are_none(run: Run) -> None:
    ran = run("campaign", "spring", "--cancel")

    assert ran.code == 1
    assert "knows none at all" in ran.err


@pytest.mark.parametrize(
    ("steps", "notices"),
    [
        ([begin], "notices within a second"),
        ([sleep], "when it wakes up"),
        ([finish, take_up], "notices within a second"),
    ],
    ids=["running", "waiting", "taken up after its end"],
)
def test_cancelling_stops_it_and_says_what_happens_next(
    run: Run, ledger: CallLedger, steps: list[Step], notices: str
) -> None:
    for step in steps:
        step(ledger)

    ran = run("campaign", "spring", "--cancel")

    assert ran.code == 0
    assert ledger.campaigns.cancelled(["spring"])
    assert ran.out.startswith("Cancelled. Nobody else is dialled.")
    for words in (notices, "Calls under way go on", "ends as failed", "XCom"):
        assert words in ran.out


def test_cancelling_twice_says_since_when_it_is_cancelled(run: Run, ledger: CallLedger) -> None:
    begin(ledger)
    run("campaign", "spring", "--cancel")
    entry = ledger.campaigns.get("spring")

    ran = run("campaign", "spring", "--cancel")

    assert entry
    assert entry.cancelled_at
    assert ran.code == 0
    assert f"is cancelled since {entry.cancelled_at.isoformat(timespec='seconds')}" in ran.out


@pytest.mark.parametrize(
    ("put", "option", "says"),
    [
        (finish, "--cancel", "It is over: nobody is left to be called."),
        (begin, "--resume", "Its task is running."),
    ],
    ids=["finished", "running"],
)
def test_there_may_be_nothing_to_change(
    run: Run, ledger: CallLedger, put: Step, option: str, says: str
) -> None:
    put(ledger)

    ran = run("campaign", "spring", option)

    assert (ran.code, ran.out) == (0, f"Nothing to do: it is not cancelled. {says}\n")


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([begin, cancel], "It goes on within a second or so. If its task has failed already, "),
        ([sleep, cancel], "It goes on when its task runs again. If that has failed already, "),
        ([begin, cancel, finish], "Now "),
    ],
    ids=["running", "waiting", "over"],
)
def test_a_cancellation_can_be_taken_back(
    run: Run, ledger: CallLedger, steps: list[Step], words: str
) -> None:
    for step in steps:
        step(ledger)

    ran = run("campaign", "spring", "--resume")

    assert ran.code == 0
    assert not ledger.campaigns.cancelled(["spring"])
    assert f"{words}{CAMPAIGN_TASK}" in ran.out


def test_one_cancelled_early_goes_on_when_its_task_is_cleared(run: Run, ledger: CallLedger) -> None:
    begin(ledger)
    cancel(ledger)
    finish(ledger, contacts=3, cancelled=3)
    run("campaign", "spring", "--resume")

    assert "to go on, clear task campaign of run r1" in shown(run)["meaning"]


def test_programs_are_told_whether_a_cancellation_changed_anything(run: Run, ledger: CallLedger) -> None:
    begin(ledger)
    words = ("campaign", "spring", "--output", "json")

    told = [run(*words, option).json for option in ("--cancel", "--cancel", "--resume", "--resume")]

    assert [one["changed"] for one in told] == [True, False, True, False]
    assert [one["state"] for one in told] == ["cancelled", "cancelled", "running", "running"]
    assert all(one["message"] for one in told)


def test_cancelling_and_resuming_at_once_is_refused(run: Run, ledger: CallLedger) -> None:
    begin(ledger)

    ran = run("campaign", "spring", "--cancel", "--resume")

    assert ran.code == 1
    assert "contradict" in ran.err
    assert not ledger.campaigns.cancelled(["spring"])


def test_the_documentation_names_every_state_and_every_field(run: Run, ledger: CallLedger) -> None:
    begin(ledger)

    states, fields = table("cli.md", "campaigns", "State"), table("cli.md", "campaign", "Field")

    assert set(states) == {one.value for one in CampaignState}
    named = {name for row in fields.values() for name in re.findall(r"`(\w+)`", row["In JSON"])}
    assert named | {"campaign_id"} == set(shown(run))


def test_the_task_of_a_mapped_campaign_is_named_with_its_index(run: Run, ledger: CallLedger) -> None:
    take_up(ledger, map_index=3)
    leave(ledger)

    assert "clear task campaign[3] of run r1 of DAG outreach" in shown(run)["meaning"]


def test_a_hostile_id_cannot_steer_the_terminal(run: Run, ledger: CallLedger) -> None:
    take_up(ledger, run_id="\x1b[2Jr1\nfake line")
    leave(ledger)
    cancel(ledger)

    out = run("campaign", "spring", "--resume").out + run("campaigns").out

    assert "\x1b" not in out
    assert "\nfake line" not in out


def test_who_was_suppressed_is_counted_and_named_while_it_runs_and_afterwards(
    run: Run, ledger: CallLedger
) -> None:
    begin(ledger, contacts=10, done=5, outcomes={"answered": 3, "do_not_call": 2}, skipped={"do_not_call": 4})
    assert "answered 3, suppressed 2" in run("campaign", "spring", "--output", "plain").out
    finish(ledger, contacts=14, do_not_call=6, suppressed=2, answered=8)
    document = shown(run)
    assert (document["contacts"], document["skipped"]) == (10, {"do_not_call": 4})
    assert document["outcomes"] == {"answered": 8, "do_not_call": 2}
    assert "answered 8, suppressed 2" in run("campaigns", "--output", "plain").out


def test_who_waits_for_the_window_and_who_for_the_cap_is_told(run: Run, ledger: CallLedger) -> None:
    begin(ledger, waiting={"window": 312, "call_cap": 4})
    out = run("campaign", "spring", "--output", "plain").out
    assert "312 until their calling window opens; 4 since their number was called as often as" in out
