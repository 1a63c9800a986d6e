"""What is old goes on a schedule; what a task is given wrongly is refused before anything goes."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from sqlalchemy import update

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.schema import calls, completions
from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraPurgeOperator
from tests.airflow_task import TaskInstance, task_context
from tests.cli.conftest import claim, complete
from tests.ledger.examples import execute
from tests.operators.test_authored import rendered

NOTHING_GONE = {
    "calls": 0,
    "completions": 0,
    "deliveries": 0,
    "contacts": 0,
    "transcripts": 0,
    "suppressions": 0,
}


def purge(**options: Any) -> dict[str, int]:
    return VoiceInfraPurgeOperator(task_id="purge", **options).execute(task_context(TaskInstance()))


@pytest.fixture
def aged(ledger: CallLedger) -> CallLedger:
    """Return a ledger with calls of 100 and of 20 days ago, each through two connections."""
    for days in (100, 20):
        for conn_id in ("sales", "support"):
            call_id = f"{conn_id}_{days}"
            claim(ledger, call_id, call_id=call_id, conn_id=conn_id)
            complete(ledger, call_id, conn_id=conn_id)
            moment = datetime.now(timezone.utc) - timedelta(days=days)
            execute(
                ledger,
                update(calls).where(calls.c.call_id == call_id).values(claimed_at=moment),
                update(completions).where(completions.c.call_id == call_id).values(received_at=moment),
            )
    return ledger


def test_by_default_what_is_older_than_90_days_goes(aged: CallLedger) -> None:
    assert purge() == {**NOTHING_GONE, "calls": 2, "completions": 2}
    assert purge() == NOTHING_GONE


@pytest.mark.parametrize("age", [timedelta(days=10), "10d", "240h"])
def test_age_is_text_or_a_timedelta(aged: CallLedger, age: Any) -> None:
    assert purge(older_than=age) == {**NOTHING_GONE, "calls": 4, "completions": 4}


def test_connection_and_texts_are_purged_by_themselves(aged: CallLedger) -> None:
    gone = purge(transcripts_older_than="14d", voiceinfra_conn_id="sales")
    assert gone == {**NOTHING_GONE, "calls": 1, "completions": 1, "transcripts": 1}
    ids = [f"{name}_{days}" for name in ("sales", "support") for days in (20, 100)]
    assert set(aged.completions(ids)) == {*ids} - {"sales_100"}
    record = aged.completion("sales_20")
    assert record is not None
    assert "transcript" not in record.record().payload


def test_connection_that_nobody_knows_fails_the_task(
    aged: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AirflowFailException, match="Airflow has no connection 'slaes', and nothing"):
        purge(voiceinfra_conn_id="slaes")
    # One through which nobody has called yet, and one that is not there any more.
    monkeypatch.setenv("AIRFLOW_CONN_NEW", '{"conn_type": "voiceinfra"}')
    assert purge(voiceinfra_conn_id="new") == NOTHING_GONE
    assert purge(voiceinfra_conn_id="sales") == {**NOTHING_GONE, "calls": 1, "completions": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"older_than": "90"}, "older_than: must be a timedelta"),
        ({"older_than": "0d"}, "older_than: must be a timedelta"),
        ({"older_than": 90}, "older_than: must be a timedelta"),
        ({"older_than": timedelta(days=-1)}, "older_than: must be a timedelta"),
        ({"older_than": "999999w"}, "older_than: must be a timedelta"),
        ({"transcripts_older_than": "soon"}, "transcripts_older_than: must be a timedelta"),
        ({"older_than": "14d", "transcripts_older_than": "14d"}, "must be a lower age than older_than"),
    ],
)
def test_what_is_wrong_is_refused_when_the_dag_is_read(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VoiceInfraPurgeOperator(task_id="purge", **options)


@pytest.mark.parametrize("name", ["older_than", "transcripts_older_than", "voiceinfra_conn_id"])
@pytest.mark.parametrize("nothing", ["none", "empty"])
def test_what_comes_to_nothing_purges_nothing(aged: CallLedger, name: str, nothing: str) -> None:
    options: dict[str, Any] = {name: f"{{{{ {nothing} }}}}"}
    task = rendered(lambda: VoiceInfraPurgeOperator(task_id="purge", **options), native=nothing == "none")
    with pytest.raises(AirflowFailException, match=f"the DAG file sets {name}"):
        task.execute(task_context(TaskInstance()))
    assert len(aged.completions(["sales_100", "support_100"])) == 2


def test_templates_are_filled_in_and_checked_then(aged: CallLedger) -> None:
    make = VoiceInfraPurgeOperator
    task = rendered(
        lambda: make(task_id="purge", older_than="{{ 5 + 5 }}d", voiceinfra_conn_id="{{ 'sales' }}")
    )
    assert task.execute(task_context(TaskInstance()))["calls"] == 2
    wrong = rendered(lambda: make(task_id="purge", transcripts_older_than="{{ 91 }}d"))
    with pytest.raises(AirflowFailException, match="lower age"):
        wrong.execute(task_context(TaskInstance()))
