"""The campaign operator: what it refuses before anybody is called, and its ends in Airflow's terms."""

from __future__ import annotations

import json
import logging
import os
import re
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from airflow_provider_voiceinfra.campaigns.progress import Progress
from airflow_provider_voiceinfra.exceptions import CampaignBusyError, VoiceInfraError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from airflow_provider_voiceinfra.operators.campaign import VoiceInfraCampaignOperator
from airflow_provider_voiceinfra.triggers.campaign import VoiceInfraCampaignTrigger
from tests.airflow_task import TaskInstance, task_context
from tests.operators.conftest import Connect
from tests.sandbox_process import SandboxProcess

ANN, BOB, CAT = "+14155550142", "+14155550101", "+12125550102"
TWELVE = [{"to_number": f"+141555501{line:02d}"} for line in range(12)]
CAMPAIGN = "outreach/manual__2026-03-01/call/-1"


def operator(contacts: Any = None, **options: Any) -> VoiceInfraCampaignOperator:
    contacts = [{"to_number": ANN}] if contacts is None else contacts
    # Nobody sends webhooks here, so a call is over at once, without an outcome.
    return VoiceInfraCampaignOperator(
        task_id="call", contacts=contacts, **{"completion_timeout": 0, "unknown_timeout": 0, **options}
    )


def render(task: VoiceInfraCampaignOperator, **context: Any) -> VoiceInfraCampaignOperator:
    """Fill in the templates, as Airflow does before it executes a task."""
    task.render_template_fields(context)  # type: ignore[arg-type]
    return task


def numbers_dialled(sandbox: SandboxProcess) -> list[str]:
    return sorted(call["to_number"] for call in sandbox.audit()["calls"])


# What is refused.


def refusal(sandbox: SandboxProcess, task: VoiceInfraCampaignOperator) -> str:
    """Return the error of a task that fails for good without a single request."""
    with pytest.raises(AirflowFailException) as caught:
        task.execute(task_context())
    assert sandbox.counts()["requests"] == 0
    assert sandbox.audit()["requests"] == []
    return str(caught.value)


NUMBERS = f"{ANN},{BOB}"
PLACES: dict[str, Any] = {
    "contacts": [ANN, "+1 (415) 555-0142", NUMBERS, f"/no/such/{ANN}.csv", f"{ANN}.csv", f"{ANN}.xlsx"],
    "do_not_call": [ANN, NUMBERS, ",".join([ANN] * 50), f"/no/such/{ANN}", f"{ANN}.csv"],
    "results_path": [ANN, [ANN], str([ANN]), f"{ANN}.txt", f"/no/{ANN}/a.csv"],
    "campaign_id": [ANN + "x" * 250],
    "agent_id": [ANN],
    "from_number": [f"{ANN} x"],
    "variables": [ANN, {ANN: object()}],
    "voiceinfra_conn_id": [ANN],
    "contact_key": [ANN],
    "columns": [ANN, {"to_number": ANN}],
    "max_active_calls": [ANN + "x"],
    "max_calls_per_second": [ANN + "x"],
    "calling_window": [ANN, [ANN], {ANN: 1}, f"09:00-10:00 {ANN}"],
    "redial": [ANN, {ANN: 1}, {"waits": [ANN]}, {"waits": [1], "outcomes": [ANN]}],
    "deadline": [ANN],
    "default_region": [ANN],
    "invalid_contacts": [ANN],
    "completion_timeout": [ANN + "x"],
    "first_message": [f"Hello {{{ANN}}}."],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in PLACES.items() for value in values]
)
def test_number_in_another_place_is_refused_by_name_and_not_shown(
    sandbox: SandboxProcess, name: str, value: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    contacts = [{"to_number": CAT, "name": "Cat"}]
    with pytest.raises((AirflowFailException, ValueError)) as caught:
        operator(**{"contacts": contacts, name: value}).execute(task_context())
    if name != "contact_key":
        assert f"{name}" in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value)) + capfd.readouterr().out
    assert "4155550142" not in re.sub(r"\D", "", shown)
    assert sandbox.counts()["requests"] == 0


NOWHERE = "cannot be read: No such file or directory. It was looked for in"
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no file": ({"contacts": "gone.csv"}, f"contacts: gone.csv {NOWHERE} {os.getcwd()}"),
    "no file of contacts": ({"contacts": "gone.txt"}, "gone.txt: the name must end in .csv or .jsonl"),
    "spreadsheet": ({"contacts": "a.xlsx"}, "a.xlsx is a spreadsheet's own file; save it as 'CSV UTF-8'"),
    "nothing": ({"contacts": "{{ none }}"}, "contacts: is missing: it is 'None', from an upstream task that"),
    "placeholder": (
        {"first_message": "Hello {first_name}."},
        "first_message: the placeholder {first_name} is no column of contacts; there are to_number",
    ),
    "placeholder in the context": (
        {"call_context": "Since {year}."},
        "context: the placeholder {year} is no column of contacts",
    ),
    "window of nothing": (
        {"calling_window": "{{ none }}"},
        "calling_window: the DAG file sets calling_window, but",
    ),
    "window": ({"calling_window": "{{ '9 to 5' }}"}, "calling_window: "),
    "redial": ({"redial": "{{ 'sometimes' }}"}, "redial: is no JSON"),
    "deadline": (
        {"deadline": "{{ 'now' }}"},
        "deadline: must be a moment with its time zone, such as 2026-01-31T20",
    ),
    "lines": (
        {"max_active_calls": "{{ none }}"},
        "max_active_calls: must be a whole number from 1 on, not 'None'",
    ),
    "rate": (
        {"max_calls_per_second": "{{ 0 - 1 }}"},
        "max_calls_per_second: must be a number above 0, not '-1'",
    ),
    "results of no format": (
        {"results_path": "results.xlsx"},
        "results_path: results.xlsx must end in .csv or",
    ),
    "results nowhere": (
        {"results_path": "/no/such/place/results.csv"},
        "results_path: there is no folder /no/such",
    ),
    "results nowhere by URL": ({"results_path": "file:///no/such/a.csv"}, "results_path: there is no folder"),
    "long campaign": ({"campaign_id": "x" * 251}, "names no campaign; use 1 to 250 printable characters"),
    "region": ({"default_region": "UK"}, "default_region: 'UK' is no country"),
    "caller ID": (
        {"from_number": "12"},
        "from_number: 12*** has no country code; write it with a plus sign and the country code, such as",
    ),
    "variables": ({"variables": "{{ 5 }}"}, "variables: must be a mapping from names to values"),
    "key": ({"contact_key": "order"}, "contacts: the column 'order' is missing; add it; there are to_number"),
    "do not call": ({"do_not_call": ["nobody"]}, "do_not_call: entry 1: the value is not one phone number"),
    "do not call nowhere": ({"do_not_call": "gone.csv"}, f"do_not_call: gone.csv {NOWHERE} {os.getcwd()}"),
    "written out list": (
        {"contacts": "{{ [{'to_number': '+14155550142'}] }}"},
        "contacts: is a list written out as text. Pass the output of the task that makes it, or set",
    ),
    "written out do-not-call list": (
        {"do_not_call": "{{ ['+14155550142'] }}"},
        "do_not_call: is a list written out as text. Pass the output of the task",
    ),
    "one mapping": (
        {"contacts": {"to_number": ANN}},
        "contacts: must be a list, or the path or URL of a file",
    ),
    "number": (
        {"contacts": 5},
        "contacts: must be a list of mappings, or the path or URL of a .csv or .jsonl file",
    ),
    "all rows": (
        {"contacts": [{"to_number": "12"}, {"to_number": "nobody"}]},
        "none of the 2 contacts can be called: row 1: to_number 12*** has no country code; write it with",
    ),
    "zone": (
        {"contacts": [{"to_number": ANN, "timezone": "Mars/Base"}]},
        "row 1 (+1415***0142): timezone 'Mars/Base' is no time zone",
    ),
    "texts": ({"contacts": [ANN]}, "row 1: must be a mapping from column to value, not str"),
    "number without an hour": (
        {"contacts": [{"to_number": "+18005550103"}], "calling_window": "09:00-10:00"},
        "row 1: calling_window: the number may be in any of",
    ),
    "strict": (
        {"contacts": [{"to_number": ANN}, {"to_number": "12"}], "invalid_contacts": "fail"},
        "1 of the contacts are invalid, and nobody was called: row 2: to_number 12***",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_value_that_cannot_be_meant_is_refused_by_name_before_anything_rings(
    sandbox: SandboxProcess, kind: str
) -> None:
    options, says = BAD[kind]
    said = refusal(sandbox, render(operator(**options)))
    assert says in said
    assert ANN not in said


SCHEMES = {
    "s3": "pip install 'apache-airflow-providers-amazon[s3fs]'",
    "gs": "pip install 'apache-airflow-providers-google'",
    "abfs": "pip install 'apache-airflow-providers-microsoft-azure'",
    "sftp": "pip install 'apache-airflow-providers-sftp[sshfs]'",
    "nosuch": "install the provider of that storage",
}


@pytest.mark.parametrize(
    ("name", "scheme"),
    [*zip(["contacts", "do_not_call", "results_path", "contacts", "results_path"], SCHEMES, strict=True)],
)
def test_storage_that_nothing_installed_can_open_is_named_with_its_package(
    sandbox: SandboxProcess, name: str, scheme: str
) -> None:
    said = refusal(sandbox, operator(**{name: f"{scheme}://a_conn@bucket/file.csv"}))
    assert f"{name}: {scheme}://a_conn@bucket/file.csv cannot be opened" in said
    assert f"nothing that is installed knows {scheme}://; {SCHEMES[scheme]}" in said


def test_storage_whose_provider_lacks_its_library_is_refused_likewise(
    sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get_fs(conn_id: str | None, options: Any) -> Any:
        raise ImportError("No module named 's3fs'")

    monkeypatch.setattr("airflow.sdk.io.fs._register_filesystems", lambda: {"s3": get_fs})
    said = refusal(sandbox, operator(results_path="s3://bucket/results.csv"))
    assert "results_path: s3://bucket/results.csv cannot be opened" in said
    assert "pip install 'apache-airflow-providers-amazon[s3fs]'" in said


def test_a_caller_id_without_its_plus_is_that_of_the_connection_and_named_so(
    sandbox: SandboxProcess, connect: Connect
) -> None:
    connect(from_number=" 12025550100")
    said = refusal(sandbox, operator())
    assert "from_number: of connection 'voiceinfra_default': 1202***0100 is not in E.164 form" in said
    assert "In a connection URI a plain + is a space: write %2B" in said
    assert "connection" not in refusal(sandbox, operator(from_number="12"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"invalid_contacts": "ignore"}, "invalid_contacts must be 'skip' or 'fail', not 'ignore'"),
        ({"completion_timeout": "soon"}, "completion_timeout must be a number of seconds"),
        ({"unknown_timeout": -1}, "unknown_timeout must be a number of seconds"),
        ({"redial": {"wait": 5}}, "redial: knows outcomes, waits and attempts, not wait"),
        ({"calling_window": "9 to 5"}, "calling_window: "),
        ({"deadline": "2026-01-31T20:00:00"}, "deadline: must be a moment with its time zone"),
        ({"max_active_calls": 0}, "max_active_calls: must be a whole number from 1 on"),
        ({"max_calls_per_second": "fast"}, "max_calls_per_second: must be a number above 0"),
        (
            {"redial": {"waits": [5], "outcomes": ["faild"]}},
            "redial: outcomes must be of .*did you mean 'failed'",
        ),
    ],
)
def test_a_literal_that_can_never_be_right_is_refused_when_the_dag_is_parsed(
    options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        operator(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"redial": {"waits": ["{{ params.wait }}"]}},
        {"calling_window": "{{ params.window }}"},
        {"calling_window": [{"from": "{% if x %}09:00{% endif %}", "to": "17:00"}]},
        {"deadline": "{{ params.deadline }}"},
        {"max_active_calls": "{{ params.lines }}"},
        {"deadline": None, "redial": None, "calling_window": [], "max_calls_per_second": None},
    ],
)
def test_what_a_template_fills_in_is_taken_when_the_dag_is_parsed(options: dict[str, Any]) -> None:
    assert operator(**options)


def test_the_output_of_a_task_is_taken_when_the_dag_is_parsed() -> None:
    with DAG("outreach", schedule=None):
        upstream = VoiceInfraCampaignOperator(task_id="first", contacts=[])
        told: Any = upstream.output
        assert operator(redial=told, deadline=told["deadline"])


def test_a_campaign_for_nobody_succeeds_with_a_warning(
    sandbox: SandboxProcess, caplog: pytest.LogCaptureFixture
) -> None:
    assert operator([]).execute(task_context())["contacts"] == 0
    [warned] = [record for record in caplog.records if "There is nobody to call" in record.getMessage()]
    assert warned.levelno == logging.WARNING


# What is taken.


def test_every_option_may_come_from_a_template_as_text(sandbox: SandboxProcess, tmp_path: Path) -> None:
    task = render(
        operator(
            "{{ path }}",
            campaign_id="spring {{ year }}",
            max_active_calls="{{ 1 + 1 }}",
            max_calls_per_second="{{ 50 }}",
            calling_window="{{ window }}",
            redial="{{ redial }}",
            deadline="{{ deadline }}",
            do_not_call="{{ folder }}/do_not_call.txt",
            results_path="{{ folder }}/results.csv",
            default_region="{{ 'US' }}",
        ),
        path=str(tmp_path / "contacts.jsonl"),
        folder=tmp_path,
        year=2026,
        window="00:00-24:00",
        redial='{"waits": [5]}',
        deadline=datetime.now(timezone.utc) + timedelta(hours=1),
    )
    (tmp_path / "do_not_call.txt").write_text(f"{BOB}\n")
    (tmp_path / "contacts.jsonl").write_text('{"to_number": "(415) 555-0142"}\n')
    summary = task.execute(task_context())
    assert (summary["campaign_id"], summary["contacts"], summary["placed"]) == ("spring 2026", 1, 1)
    assert numbers_dialled(sandbox) == [ANN]


def test_rendered_contacts_are_called(sandbox: SandboxProcess) -> None:
    contacts = [{"to_number": "{{ number }}"}, {"to_number": BOB}, {"to_number": CAT}]
    task = render(operator(contacts, do_not_call={BOB}), number=ANN)
    assert str(task.contacts) == "3 rows, not shown"
    assert str(task.do_not_call) == "1 rows, not shown"
    summary = task.execute(task_context())
    assert (summary["contacts"], summary["do_not_call"], summary["placed"]) == (3, 1, 2)
    assert numbers_dialled(sandbox) == [CAT, ANN]


def test_a_row_goes_before_the_operator_and_the_operator_before_the_connection(
    sandbox: SandboxProcess,
) -> None:
    texts = {"first_message": "Row.", "context": "Row.", "shop": "row"}
    contacts = [{"to_number": ANN, "agent_id": "agent_row", **texts}, {"to_number": BOB}]
    operator(
        contacts,
        agent_id="agent_operator",
        first_message="Operator.",
        call_context="Operator.",
        variables={"shop": "operator", "day": "Monday"},
    ).execute(task_context())
    calls = {call["to_number"]: call for call in sandbox.audit()["calls"]}
    for number, agent_id, text, shop in (
        (ANN, "agent_row", "Row.", "row"),
        (BOB, "agent_operator", "Operator.", "operator"),
    ):
        call = calls[number]
        assert (call["agent_id"], call["from_number"]) == (agent_id, "+12025550100")
        assert call["first_message"] == call["context"] == text
        assert call["variables"] == {"shop": shop, "day": "Monday"}


# How it ends.


def test_clearing_it_calls_nobody_twice(sandbox: SandboxProcess, tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    first = operator(results_path=str(path)).execute(task_context())
    lines = path.read_text()
    again = operator(results_path=str(path)).execute(task_context(TaskInstance(try_number=2)))
    assert first == {**again, "finished_at": first["finished_at"]}
    assert path.read_text() == lines
    assert numbers_dialled(sandbox) == [ANN]
    operator().execute(task_context(TaskInstance(run_id="tomorrow")))
    assert numbers_dialled(sandbox) == [ANN, ANN]


@pytest.mark.parametrize(
    ("settings", "options", "says"),
    [
        ({"api_keys": ["another"]}, {}, "UnauthorizedError"),
        ({}, {"agent_id": "unknown_agent"}, "The API refused every call of the campaign.*Fix that"),
    ],
    ids=["key", "agent"],
)
def test_what_every_call_is_refused_for_fails_for_good_and_is_fixed(
    sandbox: SandboxProcess, settings: dict[str, Any], options: dict[str, Any], says: str
) -> None:
    sandbox.configure(**settings)
    with pytest.raises(AirflowFailException, match=says):
        operator(**options).execute(task_context())
    sandbox.reset(settings=True)
    assert operator().execute(task_context(TaskInstance(try_number=2)))["placed"] == 1


def test_another_task_that_runs_it_is_worth_a_retry(sandbox: SandboxProcess, ledger: CallLedger) -> None:
    ledger.campaigns.take(
        "spring", conn_id="voiceinfra_default", origin=CallOrigin("other", "run", "call", -1, 1)
    )
    with pytest.raises(
        CampaignBusyError, match="campaign 'spring' is being run by task 'call' of DAG 'other'"
    ):
        operator(campaign_id="spring").execute(task_context())
    assert sandbox.counts()["requests"] == 0


def interrupted(what: Callable[[VoiceInfraCampaignOperator], Any]) -> VoiceInfraCampaignOperator:
    """Return a campaign that takes some seconds, and to which this is done when its first call is placed."""

    class Interrupted(VoiceInfraCampaignOperator):
        def _report_progress(self, progress: Progress) -> None:
            if progress.placed:
                what(self)

    return Interrupted(task_id="call", contacts=TWELVE, completion_timeout=0, max_active_calls=1)


def test_killing_it_dials_nobody_else_and_a_retry_goes_on(
    sandbox: SandboxProcess, capfd: pytest.CaptureFixture[str]
) -> None:
    task = interrupted(VoiceInfraCampaignOperator.on_kill)
    operator().on_kill()  # before it has begun
    with pytest.raises(VoiceInfraError, match=r"The task was killed\. Nobody is forgotten: a retry goes on"):
        task.execute(task_context())
    assert "the API cannot cancel a call" in capfd.readouterr().out
    placed = sandbox.counts()["accepted"]
    assert 0 < placed < 12
    assert operator(TWELVE).execute(task_context(TaskInstance(try_number=2)))["placed"] == 12
    assert len(set(numbers_dialled(sandbox))) == sandbox.counts()["accepted"] == 12


def test_cancelling_it_fails_it_for_good_with_its_summary_in_xcom(
    sandbox: SandboxProcess, ledger: CallLedger
) -> None:
    task, ti = interrupted(lambda _: ledger.campaigns.cancel(CAMPAIGN)), TaskInstance()
    with pytest.raises(AirflowFailException, match="The campaign was cancelled; its summary is in XCom"):
        task.execute(task_context(ti))
    placed = sandbox.counts()["accepted"]
    summary = ti.xcoms["return_value"]
    assert (summary["contacts"], summary["placed"], summary["cancelled"]) == (12, placed, 12 - placed)
    assert 0 < placed < 12


def test_it_sleeps_in_the_triggerer_until_its_window_opens(
    sandbox: SandboxProcess, ledger: CallLedger
) -> None:
    opens = datetime.now(timezone.utc) + timedelta(hours=2)
    window = f"{opens:%H:%M}-{opens + timedelta(hours=1):%H:%M} UTC"
    task = operator(calling_window=window, deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(task_context())
    assert deferred.value.method_name == "resume"
    trigger = deferred.value.trigger
    assert isinstance(trigger, VoiceInfraCampaignTrigger)
    arguments = trigger.serialize()[1]
    assert arguments["campaign_id"] == CAMPAIGN
    until = datetime.fromisoformat(arguments["deadline"])
    assert abs(until - opens) < timedelta(minutes=1)
    assert ANN not in json.dumps(arguments)
    assert sandbox.counts()["requests"] == 0
    # Awake again: the contacts are in the ledger, and are not read once more.
    summary = operator("/gone/since/contacts.csv").resume(task_context(), {"status": "due"})
    assert summary["placed"] == 1


def test_a_deadline_that_has_passed_is_no_error(sandbox: SandboxProcess) -> None:
    summary = operator(deadline="2026-01-31T20:00:00+01:00").execute(task_context())
    assert (summary["expired"], summary["placed"]) == (1, 0)
    assert sandbox.counts()["requests"] == 0


# What people see.


def test_the_log_says_what_was_left_out_and_how_it_ended_without_a_whole_number(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    contacts = [{"to_number": ANN}, {"to_number": ANN}, {"to_number": BOB, "timezone": CAT}]
    render(operator(contacts)).execute(task_context())
    log = caplog.text + capfd.readouterr().out
    assert "Left out as duplicate: row 2 (+1415***0142): to_number is that of an earlier row" in log
    assert "1 contacts are on the list" in log
    assert "left out: 1 duplicate, 1 invalid." in log
    assert "0 of 1 contacts are done: none; " in log
    assert re.search(r"; waiting: (none|1 for word of a call whose answer was lost); ", log)
    assert f"Campaign {CAMPAIGN!r} is over: 1 calls; of 3 contacts: " in log
    assert "1 duplicates" in log
    assert not re.search(r"[{}]", log)
    assert not [number for number in (ANN, BOB, CAT) if number[2:] in log]


def test_a_connection_without_a_webhook_secret_is_warned_of(
    connect: Connect, capfd: pytest.CaptureFixture[str]
) -> None:
    operator().execute(task_context())
    assert "has no webhook secret" not in capfd.readouterr().out
    connect(webhook_secret=None)
    operator().execute(task_context())
    assert "has no webhook secret, so its webhooks are refused" in capfd.readouterr().out
