"""The campaign operator: what it refuses before anybody is called, and its ends in Airflow's terms."""

from __future__ import annotations

import csv
import json
import logging
import os
import re
import traceback
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
from tests.sandbox_process import SandboxProcess

ANN, BOB, CAT = "+14155550142", "+14155550101", "+12125550102"
CAMPAIGN = "outreach/manual__2026-03-01/call/-1"


@pytest.fixture
def ledger_url(fresh_sqlite_url: str) -> str:
    """Return the URL of a ledger without rows; how ledgers differ is not what is tested here."""
    return fresh_sqlite_url


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


FILES: dict[str, tuple[bytes, str]] = {
    "no number": (
        b"number,name\n+14155550142,Ann\n",
        "file.csv: the column 'to_number' is missing; rename 'number' to 'to_number'",
    ),
    "other case": (b"To Number\n+14155550142\n", "'to_number' is missing; rename 'To Number' to 'to_number'"),
    "no header": (
        b"+14155550142,Ann\n",
        "file.csv, row 1: looks like a contact (+1415***0142, Ann), so the header is missing; put a row",
    ),
    "windows-1252": (
        f"to_number,name\n{ANN},Jos\u00e9\n".encode("cp1252"),
        "file.csv, row 2: column 2: the byte 0xE9 is not UTF-8, the file is perhaps in Windows-1252; save",
    ),
    "utf-16": (
        f"to_number\n{ANN}\n".encode("utf-16"),
        "file.csv: the file is UTF-16; save it as 'CSV UTF-8'",
    ),
    "empty": (b"", "file.csv: the file is empty; see whether its export failed"),
    "blank": (b"\n\n\n", "file.csv: there is no header; its first line must name the columns"),
    "workbook": (b"PK\x03\x04 and so on", "file.csv: the file is a workbook or ZIP archive; save it as"),
    "huge cell": (
        f"to_number,name\n{ANN},{'x' * 1_000_000}\n".encode(),
        "file.csv, row 2: the line is longer than 1,000,000 bytes; shorten it",
    ),
    "large cell": (
        f"to_number,name\n{ANN},x\n{BOB},{'x' * 200_000}\n".encode(),
        "file.csv, row 3: column 2: more than 100,000 bytes in one cell; shorten it",
    ),
    "open quote": (
        f'to_number,name\n{ANN},"Ann\n'.encode(),
        "file.csv, row 2: column 2: its quote is never closed",
    ),
    "two of a name": (b"to_number,a,a\n", "columns 2 and 3 are both named 'a'; rename one of them"),
    "all invalid": (
        b"to_number\n12\nnobody\n",
        "none of the 2 contacts can be called: row 2: to_number 12*** has no country code; write it with",
    ),
    "bad zones": (
        f"to_number,timezone\n{ANN},Mars/Base\n".encode(),
        "row 2 (+1415***0142): timezone 'Mars/Base' is no time zone; write its IANA name, such as America",
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_cannot_be_used_is_refused_by_row_column_and_remedy(
    sandbox: SandboxProcess, tmp_path: Path, kind: str
) -> None:
    content, says = FILES[kind]
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    for location in (str(path), f"file://{path}"):
        assert says in refusal(sandbox, operator(location))


def test_contacts_that_are_nowhere_are_refused(sandbox: SandboxProcess, tmp_path: Path) -> None:
    assert "cannot be read" in refusal(sandbox, operator(str(tmp_path / "gone.csv")))
    assert "gone.txt: the name must end in .csv or .jsonl" in refusal(sandbox, operator("gone.txt"))
    said = refusal(sandbox, render(operator("{{ none }}")))
    assert "contacts: is missing: it is 'None', from an upstream task that returned nothing" in said


def test_a_relative_path_is_refused_with_the_folder_that_was_looked_in(
    sandbox: SandboxProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("contacts", "do_not_call"):
        said = refusal(sandbox, operator(**{name: "missing.csv"}))
        assert f"{name}: missing.csv cannot be read: No such file or directory. It was looked for in" in said
        assert str(tmp_path) in said
    said = refusal(sandbox, operator("people.xlsx"))
    assert "contacts: people.xlsx is a spreadsheet's own file; save it as 'CSV UTF-8'" in said


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


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "placeholder": (
        {"first_message": "Hello {first_name}."},
        "first_message: the placeholder {first_name} is no column of contacts; there are to_number",
    ),
    "placeholder in the context": (
        {"call_context": "Since {year}."},
        "context: the placeholder {year} is no column of contacts",
    ),
    "braces": ({"first_message": "Hello {"}, "write {{ or }} for a brace that is text"),
    "window": ({"calling_window": "9 to 5"}, "calling_window: "),
    "window of nothing": (
        {"calling_window": "{{ none }}"},
        "calling_window: the DAG file sets calling_window, but",
    ),
    "zone of the window": (
        {"calling_window": "09:00-17:00 Mars/Base"},
        "'Mars/Base' is no time zone; write its",
    ),
    "redial": ({"redial": {"wait": 5}}, "redial: knows outcomes, waits and attempts, not wait"),
    "redial as text": ({"redial": "sometimes"}, "redial: is no JSON"),
    "redial of nobody": (
        {"redial": {"waits": [5], "outcomes": ["busy"]}},
        "redial: outcomes must be of voicemail",
    ),
    "redial of a misspelt outcome": (
        {"redial": {"waits": [5], "outcomes": ["voicemail", "faild"]}},
        "outcomes must be of voicemail and failed, not ['voicemail', 'faild']; did you mean 'failed'?",
    ),
    "deadline without a zone": (
        {"deadline": "2026-01-31T20:00:00"},
        "deadline: must be a moment with its time zone",
    ),
    "naive deadline": ({"deadline": datetime(2026, 1, 31)}, "deadline: must be a moment with"),  # noqa: DTZ001
    "deadline now": (
        {"deadline": "now"},
        "deadline: must be a moment with its time zone, such as 2026-01-31T20",
    ),
    "deadline of garbage": ({"deadline": "{{ none }}"}, "deadline: the DAG file sets deadline, but it"),
    "lines": ({"max_active_calls": "0"}, "max_active_calls: must be a whole number from 1 on, not '0'"),
    "no lines": (
        {"max_active_calls": "{{ none }}"},
        "max_active_calls: must be a whole number from 1 on, not 'None'",
    ),
    "half a line": ({"max_active_calls": 2.5}, "max_active_calls: must be a whole number from 1 on, not 2.5"),
    "rate": ({"max_calls_per_second": "fast"}, "max_calls_per_second: must be a number above 0, not 'fast'"),
    "no rate": ({"max_calls_per_second": 0}, "max_calls_per_second: must be a number above 0, not 0"),
    "rate from a template": (
        {"max_calls_per_second": "{{ 0 - 1 }}"},
        "max_calls_per_second: must be a number",
    ),
    "results of no format": (
        {"results_path": "results.xlsx"},
        "results_path: results.xlsx must end in .csv or",
    ),
    "results of nothing": ({"results_path": "{{ none }}"}, "results_path: the DAG file sets results_path"),
    "results nowhere": (
        {"results_path": "/no/such/place/results.csv"},
        "results_path: there is no folder /no/such",
    ),
    "results nowhere by URL": (
        {"results_path": "file:///no/such/place/a.csv"},
        "results_path: there is no folder",
    ),
    "campaign without a name": ({"campaign_id": ""}, "campaign_id: the DAG file sets campaign_id, but it"),
    "campaign of nothing": ({"campaign_id": "{{ none }}"}, "campaign_id: the DAG file sets campaign_id"),
    "long campaign": ({"campaign_id": "x" * 251}, "names no campaign; use 1 to 250 printable characters"),
    "region": ({"default_region": "UK"}, "default_region: 'UK' is no country"),
    "caller ID": (
        {"from_number": "12"},
        "from_number: 12*** has no country code; write it with a plus sign and the country code, such as",
    ),
    "variables": ({"variables": "{{ 5 }}"}, "variables: must be a mapping from names to values"),
    "key": ({"contact_key": "order"}, "contacts: the column 'order' is missing; add it; there are to_number"),
    "do not call": ({"do_not_call": ["nobody"]}, "do_not_call: entry 1: the value is not one phone number"),
    "do not call nowhere": ({"do_not_call": "/no/such/file.csv"}, "cannot be read"),
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
    "texts": ({"contacts": [ANN]}, "row 1: must be a mapping from column to value, not str"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_value_that_cannot_be_meant_is_refused_by_name_before_anything_rings(
    sandbox: SandboxProcess, kind: str
) -> None:
    options, says = BAD[kind]
    try:
        said = refusal(sandbox, render(operator(**options)))
    except ValueError as error:  # when the DAG is parsed
        said = str(error)
    assert says in said
    assert ANN not in said


SCHEMES = {
    "s3": "pip install 'apache-airflow-providers-amazon[s3fs]'",
    "gs": "pip install 'apache-airflow-providers-google'",
    "abfs": "pip install 'apache-airflow-providers-microsoft-azure'",
    "sftp": "pip install 'apache-airflow-providers-sftp[sshfs]'",
    "nosuch": "install the provider of that storage",
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", ["contacts", "do_not_call", "results_path"])
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


def test_rows_that_nobody_gave_an_agent_or_a_caller_id_are_refused(
    sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = json.loads(os.environ["AIRFLOW_CONN_VOICEINFRA_DEFAULT"])
    for name in ("agent_id", "from_number"):
        extra = {key: value for key, value in connection["extra"].items() if key != name}
        monkeypatch.setenv("AIRFLOW_CONN_VOICEINFRA_DEFAULT", json.dumps({**connection, "extra": extra}))
        assert (
            f"none of the 1 contacts can be called: row 1: {name} is set neither in this row nor in the "
            "operator nor in the connection"
        ) in refusal(sandbox, operator())


def test_a_caller_id_without_its_plus_is_that_of_the_connection_and_named_so(
    sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = json.loads(os.environ["AIRFLOW_CONN_VOICEINFRA_DEFAULT"])
    extra = {**connection["extra"], "from_number": " 12025550100"}
    monkeypatch.setenv("AIRFLOW_CONN_VOICEINFRA_DEFAULT", json.dumps({**connection, "extra": extra}))
    said = refusal(sandbox, operator())
    assert "from_number: of connection 'voiceinfra_default': 1202***0100 is not in E.164 form" in said
    assert "In a connection URI a plain + is a space: write %2B" in said
    assert "connection" not in refusal(sandbox, operator(from_number="12"))


def test_a_contact_that_has_no_decent_hour_is_refused_with_the_remedy(sandbox: SandboxProcess) -> None:
    said = refusal(sandbox, operator([{"to_number": "+18005550103"}], calling_window="09:00-10:00"))
    assert "row 1: timezone the number may be in any of" in said
    assert "name one in a column timezone" in said


def test_strict_campaigns_list_every_invalid_row(sandbox: SandboxProcess) -> None:
    contacts = [{"to_number": ANN}, {"to_number": "12"}, {"to_number": BOB, "timezone": "Mars/Base"}]
    said = refusal(sandbox, render(operator(contacts, invalid_contacts="fail")))
    assert "2 of the contacts are invalid, and nobody was called: row 2: to_number 12***" in said
    assert "; row 3 (+1415***0101): timezone 'Mars/Base' is no time zone" in said
    assert "or set invalid_contacts='skip' to call the others" in said


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
        ({"redial": {"waits": [5], "outcomes": ["faild"]}}, "redial: outcomes must be of"),
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


@pytest.mark.parametrize("contacts", ["[]", "file"])
def test_a_campaign_for_nobody_succeeds_with_a_warning(
    sandbox: SandboxProcess, tmp_path: Path, contacts: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file.csv").write_text("to_number,name\n")
    task = operator([] if contacts == "[]" else str(tmp_path / "file.csv"))
    assert task.execute(task_context())["contacts"] == 0
    [warned] = [record for record in caplog.records if "There is nobody to call" in record.getMessage()]
    assert warned.levelno == logging.WARNING


# What is taken.


@pytest.mark.parametrize(
    "content", [f"\ufeffto_number;name\n{ANN};Ann\n", f"to_number\tname\r\n{ANN}\tAnn\r\n"]
)
def test_files_of_spreadsheets_are_read(sandbox: SandboxProcess, tmp_path: Path, content: str) -> None:
    path = tmp_path / "contacts.csv"
    path.write_bytes(content.encode())
    operator(str(path), first_message="Hello {name}.").execute(task_context())
    [call] = sandbox.audit()["calls"]
    assert (call["to_number"], call["first_message"]) == (ANN, "Hello Ann.")


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
    contacts = [
        {
            "to_number": ANN,
            "agent_id": "agent_row",
            "first_message": "Row.",
            "context": "Row.",
            "shop": "row",
        },
        {"to_number": BOB},
    ]
    operator(
        contacts,
        agent_id="agent_operator",
        first_message="Operator.",
        call_context="Operator.",
        variables={"shop": "operator", "day": "Monday"},
    ).execute(task_context())
    calls = {call["to_number"]: call for call in sandbox.audit()["calls"]}
    names = ("agent_id", "from_number", "first_message", "context", "variables")
    assert [calls[ANN][name] for name in names] == [
        *("agent_row", "+12025550100", "Row.", "Row."),
        {"shop": "row", "day": "Monday"},
    ]
    assert [calls[BOB][name] for name in names] == [
        *("agent_operator", "+12025550100", "Operator.", "Operator."),
        {"shop": "operator", "day": "Monday"},
    ]


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


def test_a_wrong_key_fails_for_good_and_is_fixed(sandbox: SandboxProcess) -> None:
    sandbox.configure(api_keys=["another"])
    with pytest.raises(AirflowFailException, match="UnauthorizedError"):
        operator().execute(task_context())
    sandbox.configure(api_keys=["vk_sandbox_key"])
    assert operator().execute(task_context(TaskInstance(try_number=2)))["placed"] == 1


def test_an_unknown_agent_fails_for_good_and_is_fixed(sandbox: SandboxProcess) -> None:
    with pytest.raises(AirflowFailException, match=r"The API refused every call of the campaign.*Fix that"):
        operator(agent_id="unknown_agent").execute(task_context())
    assert operator(agent_id="agent_b").execute(task_context(TaskInstance(try_number=2)))["placed"] == 1


def test_a_disk_that_is_full_is_worth_a_retry(sandbox: SandboxProcess, tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.symlink_to("/dev/full")
    with pytest.raises(
        VoiceInfraError, match=r"results.csv cannot be written: No space left on device\. Nothing"
    ):
        operator(results_path=str(path)).execute(task_context())
    path.unlink()
    operator(results_path=str(path)).execute(task_context(TaskInstance(try_number=2)))
    with path.open() as file:
        assert [line["to_number"] for line in csv.DictReader(file)] == [ANN]
    assert numbers_dialled(sandbox) == [ANN]


def test_another_task_that_runs_it_is_worth_a_retry(sandbox: SandboxProcess, ledger: CallLedger) -> None:
    ledger.campaigns.take(
        "spring", conn_id="voiceinfra_default", origin=CallOrigin("other", "run", "call", -1, 1)
    )
    with pytest.raises(
        CampaignBusyError, match="campaign 'spring' is being run by task 'call' of DAG 'other'"
    ):
        operator(campaign_id="spring").execute(task_context())
    assert sandbox.counts()["requests"] == 0


class Interrupted(VoiceInfraCampaignOperator):
    """Does something the moment that the first call is placed."""

    def _report_progress(self, progress: Progress) -> None:
        if progress.placed:
            self.interrupt()

    def interrupt(self) -> None:
        raise NotImplementedError


def interrupted(**options: Any) -> dict[str, Any]:
    """Return the arguments of a campaign that takes some seconds."""
    contacts = [{"to_number": f"+141555501{line:02d}"} for line in range(12)]
    return {
        "task_id": "call",
        "contacts": contacts,
        "completion_timeout": 0,
        "max_active_calls": 1,
        **options,
    }


def test_killing_it_dials_nobody_else_and_a_retry_goes_on(
    sandbox: SandboxProcess, capfd: pytest.CaptureFixture[str]
) -> None:
    class Killed(Interrupted):
        def interrupt(self) -> None:
            self.on_kill()

    with pytest.raises(VoiceInfraError, match=r"The task was killed\. Nobody is forgotten: a retry goes on"):
        Killed(**interrupted()).execute(task_context())
    assert "the API cannot cancel a call" in capfd.readouterr().out
    placed = sandbox.counts()["accepted"]
    assert 0 < placed < 12
    retry = VoiceInfraCampaignOperator(**interrupted(max_active_calls=10))
    assert retry.execute(task_context(TaskInstance(try_number=2)))["placed"] == 12
    assert len(set(numbers_dialled(sandbox))) == sandbox.counts()["accepted"] == 12


def test_killing_it_before_it_has_begun_is_no_error() -> None:
    operator().on_kill()


def test_cancelling_it_fails_it_for_good_with_its_summary_in_xcom(
    sandbox: SandboxProcess, ledger: CallLedger
) -> None:
    class Cancelled(Interrupted):
        def interrupt(self) -> None:
            ledger.campaigns.cancel(CAMPAIGN)

    ti = TaskInstance()
    with pytest.raises(AirflowFailException, match="The campaign was cancelled; its summary is in XCom"):
        Cancelled(**interrupted()).execute(task_context(ti))
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
    until = datetime.fromisoformat(arguments["until"])
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
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    operator().execute(task_context())
    assert "has no webhook secret" not in capfd.readouterr().out
    connection = json.loads(os.environ["AIRFLOW_CONN_VOICEINFRA_DEFAULT"])
    del connection["extra"]["webhook_secret"]
    monkeypatch.setenv("AIRFLOW_CONN_VOICEINFRA_DEFAULT", json.dumps(connection))
    operator().execute(task_context())
    assert "has no webhook secret, so its webhooks are refused" in capfd.readouterr().out
