"""A task that may have called what a restored ledger has forgotten calls nobody until a release."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.operators.voiceinfra import (
    VoiceInfraCampaignOperator,
    VoiceInfraOutboundCallOperator,
)
from tests.airflow_task import TaskInstance, task_context

NOW = datetime.now(timezone.utc)
BETWEEN, LATER = NOW - timedelta(hours=1), NOW + timedelta(hours=1)
QUICK: dict[str, Any] = {"completion_timeout": 0, "unknown_timeout": 0}


@pytest.fixture(autouse=True)
def _quarantine(ledger: CallLedger) -> None:
    ledger.quarantines.begin(NOW - timedelta(hours=2), NOW)


def context(ti_start: datetime, run_start: datetime, try_number: int = 1) -> Any:
    return task_context(TaskInstance(start_date=ti_start, try_number=try_number), start_date=run_start)


def call(how: Any, **options: Any) -> Any:
    task = VoiceInfraOutboundCallOperator(task_id="call", to_number="+14155550123", **options)
    return task.execute(how)


@pytest.mark.parametrize("on_not_allowed", ["fail", "skip", "wait"])
@pytest.mark.parametrize("how", [(BETWEEN, BETWEEN), (LATER, BETWEEN, 2)], ids=["begun between", "retried"])
def test_task_that_may_have_called_fails_whatever_it_does_about_rules(
    ledger: CallLedger, on_not_allowed: str, how: Any
) -> None:
    with pytest.raises(AirflowFailException, match="the ledger was restored"):
        call(context(*how), on_not_allowed=on_not_allowed)
    [entry] = ledger.calls()
    assert (entry.error_code, entry.call_id) == ("quarantined", None)
    ledger.quarantines.release()
    assert call(context(*how)) == ledger.calls()[0].call_id


@pytest.mark.parametrize("how", [(LATER, BETWEEN), (LATER, LATER, 2)], ids=["begun later", "run begun later"])
def test_task_that_cannot_have_called_calls(ledger: CallLedger, how: Any) -> None:
    assert call(context(*how)) == ledger.calls()[0].call_id


def test_campaign_calls_nobody_and_all_once_it_is_released(ledger: CallLedger) -> None:
    def run(how: Any) -> Any:
        contacts = [{"to_number": "+14155550123"}, {"to_number": "+14155550124"}]
        return VoiceInfraCampaignOperator(task_id="call", contacts=contacts, **QUICK).execute(how)

    with pytest.raises(AirflowFailException, match="the ledger was restored"):
        run(context(BETWEEN, BETWEEN))
    assert ledger.calls() == []
    ledger.quarantines.release()
    assert run(context(BETWEEN, BETWEEN, 2))["placed"] == 2
