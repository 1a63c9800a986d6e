"""Every example in dags_examples, run in a real Airflow; the sandbox's audit log tells who was called."""

from __future__ import annotations

import csv
import importlib.util
import json
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from airflow.sdk import DAG
from harness.processes import wait_for
from harness.rest import ApiError

from airflow_provider_voiceinfra.campaigns.plan import RedialPolicy
from airflow_provider_voiceinfra.rules.calling_window.place import Place
from airflow_provider_voiceinfra.rules.calling_window.window import CallingWindow
from tests.integration.conftest import EXAMPLES, Deployment, Sleeper

pytestmark = pytest.mark.integration

NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
ANY_HOUR = "00:00-24:00"
FOUR_IN_THE_MORNING = datetime(2026, 3, 2, 4, tzinfo=timezone.utc)
# What the sample lets these tests know; the rows of the two who are never called are in it, too.
DO_NOT_CALL = "+12065550105"
INVALID = "+1206555"
TWICE = "+16175550102"
ZONES_BY_NUMBER = {
    "404": "America/New_York",
    "713": "America/Chicago",
    "303": "America/Denver",
    "602": "America/Phoenix",
    "206": "America/Los_Angeles",
}


@dataclass(frozen=True)
class Played:
    """A run of an example that is over.

    :param calls: what the API accepted meanwhile, as the audit log has it.
    """

    deployment: Deployment
    dag_id: str
    run_id: str
    state: str
    calls: list[dict[str, Any]]

    @property
    def called(self) -> Counter[str]:
        """How often each number was called."""
        return Counter(call["to_number"] for call in self.calls)

    def xcom(self, task_id: str) -> Any:
        return self.deployment.airflow.api.xcom(self.dag_id, self.run_id, task_id)

    def states(self) -> dict[str, str]:
        tasks = self.deployment.airflow.api.task_instances(self.dag_id, self.run_id)
        return {task["task_id"]: task["state"] for task in tasks}

    def log(self, task_id: str) -> str:
        return self.deployment.airflow.api.task_log(self.dag_id, self.run_id, task_id)


def play(deployment: Deployment, name: str, **conf: Any) -> Played:
    """Run an example to its end.

    :param name: of its file.
    :param conf: params for this run.
    """
    api, dag_id = deployment.airflow.api, f"voiceinfra_{name}"
    since = deployment.sandbox.audit()["last_seq"]
    run_id = deployment.run(dag_id, **conf)
    state = api.wait_for_run(dag_id, run_id, 180)
    # It may be the hour of its schedule, and a run of its own would call the same people.
    api.request("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": True})
    audit = deployment.sandbox.control("GET", "audit", since=since, kinds="calls")
    calls = [call for call in audit["calls"] if call["to_number"] != Sleeper.to_number]
    return Played(deployment, dag_id, run_id, state, calls)


def sample() -> list[dict[str, str]]:
    with (EXAMPLES / "sample_contacts.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def to_be_called() -> dict[str, dict[str, str]]:
    """Return the rows of the sample that are people to call, by their numbers."""
    return {row["to_number"]: row for row in sample() if row["to_number"] not in (DO_NOT_CALL, INVALID)}


def load(name: str) -> DAG:
    """Return the DAG of an example."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    dag = getattr(module, name)()
    assert isinstance(dag, DAG)
    return dag


@pytest.fixture(scope="module")
def nightly(deployment: Deployment) -> Played:
    """One evening of the nightly outreach, at any hour, with redials that come soon."""
    redial = {"outcomes": ["voicemail", "failed"], "waits": [0.05], "attempts": 2}
    return play(deployment, "nightly_outreach", calling_window=ANY_HOUR, redial=redial)


def results_of(nightly: Played) -> list[dict[str, Any]]:
    path = nightly.xcom("campaign")["results_path"]
    return [json.loads(line) for line in Path(path.removeprefix("file://")).read_text().splitlines()]


@pytest.mark.parametrize("name", NAMES)
def test_every_example_has_a_test_that_is_named_after_it(name: str) -> None:
    assert any(test.startswith(f"test_{name}_") for test in globals()), f"write a test for {name}.py"


@pytest.mark.every_airflow
def test_airflow_loads_every_example(deployment: Deployment) -> None:
    api = deployment.airflow.api
    for dag_id in (f"voiceinfra_{name}" for name in NAMES):
        wait_for(dag_id, partial(api.dag_is_known, dag_id), 60)
    assert api.import_errors() == []


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_what_production_wants(name: str) -> None:
    dag = load(name)

    assert dag.dag_id == f"voiceinfra_{name}"
    assert not dag.catchup
    # The runs above and below replace these, so nothing else would tell that they are wrong.
    window, redial = dag.params.get("calling_window"), dag.params.get("redial")
    assert window is None or not CallingWindow.parse(window).is_open(FOUR_IN_THE_MORNING, Place((), ("UTC",)))
    assert redial is None or RedialPolicy.parse(redial).attempts > 1
    for key in ("contacts", "do_not_call"):
        assert key not in dag.params or Path(dag.params[key].removeprefix("file://")).is_file()


@pytest.mark.every_airflow
def test_outbound_call_reports_what_was_said(deployment: Deployment) -> None:
    played = play(deployment, "outbound_call", to_number="+17025550100", calling_window=ANY_HOUR)

    assert played.state == "success"
    assert played.called == {"+17025550100": 1}
    assert "was answered" in played.xcom("report")


def test_nightly_outreach_calls_everybody_once_and_again_who_was_not_reached(nightly: Played) -> None:
    assert nightly.state == "success"
    assert nightly.called == {number: 2 if number[-1] in "78" else 1 for number in to_be_called()}
    assert nightly.called[TWICE] == 1
    assert {call["first_message"] for call in nightly.calls} == {
        "Hello, we are calling about your next visit."
    }


def test_nightly_outreach_leaves_a_line_for_each_row_and_a_summary(nightly: Played) -> None:
    lines = {int(line["row"]): line for line in results_of(nightly)}

    for row, contact in enumerate(sample(), 2):
        number = contact["to_number"]
        expected = {"7": "voicemail", "8": "failed"}.get(number[-1], "answered")
        if number in (DO_NOT_CALL, INVALID):
            expected = {DO_NOT_CALL: "do_not_call", INVALID: "invalid"}[number]
        elif number in [earlier["to_number"] for earlier in sample()[: row - 2]]:
            expected = "duplicate"
        assert lines[row]["outcome"] == expected, contact
        assert lines[row]["attempts"] == (nightly.called[number] if lines[row]["call_id"] else 0)
    answered = sum(line["outcome"] == "answered" for line in lines.values())
    assert nightly.xcom("report") == f"{answered} of 24 answered, after {len(nightly.calls)} calls"


def test_second_evening_calls_only_those_who_were_not_reached(nightly: Played, tmp_path: Path) -> None:
    missed = {number for number in nightly.called if number[-1] in "78"}
    changed_mind = min(missed)
    do_not_call = tmp_path / "do_not_call.csv"
    do_not_call.write_text(f"to_number\n{DO_NOT_CALL}\n{changed_mind}\n")
    evening = Path(nightly.xcom("campaign")["results_path"]).stem.rpartition("_")[2]

    played = play(
        nightly.deployment,
        "second_evening",
        evening=evening,
        do_not_call=do_not_call.as_uri(),
        calling_window=ANY_HOUR,
    )

    assert played.state == "success"
    assert played.called == dict.fromkeys(missed - {changed_mind}, 1)
    for call in played.calls:
        # The results hold no columns of the customer's own; they come from the contacts.
        assert call["variables"]["service"] == to_be_called()[call["to_number"]]["service"]
    assert played.xcom("campaign")["do_not_call"] == 1
    assert not any(number in played.log("not_reached") for number in missed)


def test_second_evening_calls_nobody_without_results(deployment: Deployment) -> None:
    api, dag_id = deployment.airflow.api, "voiceinfra_second_evening"
    before = deployment.sandbox.counts()
    run = deployment.run(dag_id, evening="2020-01-31", calling_window=ANY_HOUR)

    api.wait_for_task(dag_id, run, "not_reached", {"up_for_retry", "failed", "success"})

    try:
        assert api.task_instance(dag_id, run, "not_reached")["state"] == "up_for_retry"
        assert api.task_instance(dag_id, run, "campaign")["state"] is None
        assert "voiceinfra_nightly_2020-01-31.jsonl" in api.task_log(dag_id, run, "not_reached")
    finally:
        api.request("PATCH", f"/api/v2/dags/{dag_id}/dagRuns/{run}", {"state": "failed"})
        api.request("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": True})
    assert deployment.sandbox.counts()["calls"] == before["calls"]


def test_customers_from_sql_calls_whom_the_query_finds(deployment: Deployment) -> None:
    played = play(deployment, "customers_from_sql", days_late=7, calling_window=ANY_HOUR)

    assert played.state == "success"
    assert {call["to_number"]: call["first_message"] for call in played.calls} == {
        "+15035550121": "Hello, this is about the invoice INV-1 over 120.50 dollars.",
        "+16125550122": "Hello, this is about the invoice INV-2 over 80.00 dollars.",
    }
    assert len(played.calls) == 2
    assert played.xcom("campaign")["answered"] == 2
    assert "+1503555" not in played.log("late_customers")


def test_appointment_reminders_call_only_where_the_hour_is_decent(deployment: Deployment) -> None:
    denver = datetime.now(ZoneInfo("America/Denver"))
    # Half an hour around the present, where it is that time in Denver; other zones are whole hours away.
    opens, closes = denver - timedelta(minutes=30), denver + timedelta(minutes=29)
    decent = set()
    for number, row in to_be_called().items():
        zone = ZoneInfo(row["timezone"] or ZONES_BY_NUMBER[number[2:5]])
        if denver.astimezone(zone).replace(tzinfo=None) == denver.replace(tzinfo=None):
            decent.add(number)

    played = play(
        deployment,
        "appointment_reminders",
        calling_window=f"{opens:%H:%M}-{closes:%H:%M}",
        # Until then those elsewhere wait for their hour, which does not come.
        hours=60 / 3600,
    )

    assert played.state == "success"
    assert "+16175550104" in decent, "somebody in Denver with a number from Boston"
    assert played.called == dict.fromkeys(decent, 1)
    for call in played.calls:
        row = to_be_called()[call["to_number"]]
        assert f"your {row['service']} on {row['appointment']}" in call["first_message"]
        assert row["appointment"] in call["context"]
    assert played.xcom("campaign")["expired"] == len(to_be_called()) - len(decent)


def test_careful_reminder_calls_who_consented_and_keeps_that(deployment: Deployment) -> None:
    consent = "form 12 of 2026-01-31"
    played = play(
        deployment,
        "careful_reminder",
        to_number="+17025550120",
        consent=consent,
        calling_window=ANY_HOUR,
    )

    assert played.state == "success"
    assert played.called == {"+17025550120": 1}
    assert "artificial voice" in played.calls[0]["first_message"]
    assert played.xcom("report") == "answered"
    entry = deployment.ledger.call_by_id(played.calls[0]["call_id"])
    assert entry is not None
    assert entry.consent == consent


def test_careful_reminder_waits_for_calling_hours(deployment: Deployment) -> None:
    api, dag_id, to_number = deployment.airflow.api, "voiceinfra_careful_reminder", "+17025550121"
    # Far enough from now that it cannot open while this looks, and soon enough to be worth waiting for.
    opens = datetime.now(ZoneInfo("America/Los_Angeles")) + timedelta(hours=3)
    window = f"{opens:%H:%M}-{opens + timedelta(hours=1):%H:%M}"
    run = deployment.run(dag_id, to_number=to_number, calling_window=window)

    api.wait_for_task(dag_id, run, "call", {"deferred", "failed", "success", "up_for_retry"})

    try:
        assert api.task_instance(dag_id, run, "call")["state"] == "deferred"
        assert deployment.accepted(to_number) == []
    finally:
        api.request("PATCH", f"/api/v2/dags/{dag_id}/dagRuns/{run}", {"state": "failed"})
        api.request("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": True})


@pytest.mark.parametrize(
    ("to_number", "branch"),
    [
        pytest.param("+17025550113", "ring_back", id="answered, high score"),
        pytest.param("+17025550103", "thank", id="answered, low score"),
        pytest.param("+17025550118", "send_letter", id="failed"),
    ],
)
def test_call_and_branch_goes_one_way(deployment: Deployment, to_number: str, branch: str) -> None:
    played = play(deployment, "call_and_branch", to_number=to_number, calling_window=ANY_HOUR)

    assert played.state == "success"
    assert played.called == {to_number: 1}
    states = played.states()
    assert {task for task in ("ring_back", "thank", "send_letter") if states[task] == "success"} == {branch}


@pytest.mark.every_airflow
@pytest.mark.parametrize("answer", ["Reject", "Approve"])
def test_approved_campaign_calls_only_when_a_person_has_approved(deployment: Deployment, answer: str) -> None:
    api, dag_id = deployment.airflow.api, "voiceinfra_approved_campaign"
    since = deployment.sandbox.audit()["last_seq"]
    run = deployment.run(dag_id, calling_window=ANY_HOUR)
    asked = f"/api/v2/dags/{dag_id}/dagRuns/{run}/taskInstances/approve/-1/hitlDetails"
    waits = {"awaiting_input", "deferred"}
    api.wait_for_task(dag_id, run, "approve", waits)
    asked_at = time.monotonic()

    question = api.request("GET", asked)
    assert question["subject"] == f"Call {len(to_be_called())} people?"
    assert "> Hello, this is a reminder of your eye test on Tuesday at 9:30." in question["body"]
    assert "Left out: 1 invalid, 1 duplicates, 1 do_not_call." in question["body"]

    def is_over() -> bool:
        # Of an answer that comes before the task's process is known to have ended, sooner than a person
        # gives one, Airflow may make a failed try, which asks once more.
        if time.monotonic() > asked_at + 9 and api.task_instance(dag_id, run, "approve")["state"] in waits:
            with suppress(ApiError):
                api.request("PATCH", asked, {"chosen_options": [answer]})
        return api.run_state(dag_id, run) in {"success", "failed"}

    wait_for("the run to end", is_over, 240)
    assert api.run_state(dag_id, run) == "success"
    audit = deployment.sandbox.control("GET", "audit", since=since, kinds="calls")
    called = Counter(call["to_number"] for call in audit["calls"])
    assert called == (Counter(to_be_called().keys()) if answer == "Approve" else Counter())


def test_taskflow_calls_the_others_if_the_first_is_not_reached(deployment: Deployment) -> None:
    played = play(deployment, "taskflow", calling_window=ANY_HOUR)

    assert played.state == "success"
    assert played.called == {f"+170255501{line}": 1 for line in ("07", "01", "02")}
    assert {call["variables"]["item"] for call in played.calls} == {"paper"}
    assert played.xcom("call_the_first")["call_outcome"] != "answered"
    summary = played.xcom("call_the_others")
    assert (summary["contacts"], summary["answered"]) == (2, 2)


def test_call_each_calls_each_by_a_task_of_its_own(deployment: Deployment) -> None:
    played = play(deployment, "call_each", calling_window=ANY_HOUR)

    assert played.state == "success"
    assert played.called == {"+17025550101": 1, "+17025550107": 1, "+17025550108": 1}
    assert played.xcom("report") == {"answered": 1, "voicemail": 1, "failed": 1}
    assert "+1702555" not in played.log("on_duty")


def test_ledger_retention_leaves_what_is_young_and_fails_for_a_connection_that_nobody_knows(
    deployment: Deployment,
) -> None:
    played = play(deployment, "ledger_retention")

    assert played.calls == []
    for task_id in ("purge_default", "purge_everything"):
        assert set(played.xcom(task_id).values()) == {0}
    assert played.states()["purge_collections"] == "failed"
    assert "Airflow has no connection 'collections'" in played.log("purge_collections")
