"""Triggers: what they wait for, when they fire, and what their events say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.configuration import conf

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError, VoiceInfraError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallState, hash_key
from airflow_provider_voiceinfra.triggers.campaign import VoiceInfraCampaignTrigger
from airflow_provider_voiceinfra.triggers.events import earliest_wake_up, read_event
from airflow_provider_voiceinfra.triggers.voiceinfra import (
    VoiceInfraCallCompletedTrigger,
    VoiceInfraUnknownCallTrigger,
)
from tests.support.completions import complete
from tests.support.ledgers import ON_SQLITE
from tests.support.waiting import in_loop
from tests.waiting.test_watcher import statements

NUMBER = "+14155550101"
CALL = OutboundCall(NUMBER, "agent_1", "+12025550100")


def now() -> datetime:
    return datetime.now(timezone.utc)


def later(seconds: float) -> str:
    return (now() + timedelta(seconds=seconds)).isoformat()


async def first_event(trigger: Any) -> Any:
    event = await asyncio.wait_for(anext(trigger.run()), 60)
    return event.payload


async def while_running(trigger: Any, meanwhile: Awaitable[Any]) -> Any:
    waiting = asyncio.create_task(first_event(trigger))
    await meanwhile
    return await waiting


@pytest.mark.parametrize(
    "trigger",
    [
        VoiceInfraCallCompletedTrigger(call_ids=("call_1", "call_2"), deadline="2026-03-01T20:00:00+00:00"),
        VoiceInfraCallCompletedTrigger(match={"lead_score": 87}, since="2026-03-01T20:00:00+00:00"),
        VoiceInfraUnknownCallTrigger("0" * 64, "2026-03-01T20:00:00+00:00", 3600.0),
        VoiceInfraCampaignTrigger("campaign", "2026-03-01T20:00:00+00:00", 7, "2026-03-01T19:00:00+00:00"),
    ],
    ids=["call ids", "match", "unknown call", "campaign"],
)
def test_trigger_survives_its_journey_through_the_database(trigger: Any) -> None:
    path, kwargs = trigger.serialize()
    assert path == f"{type(trigger).__module__}.{type(trigger).__name__}"
    again = type(trigger)(**json.loads(json.dumps(kwargs)))
    assert again.serialize() == trigger.serialize()


def test_trigger_names_a_few_of_many_calls_and_no_number() -> None:
    trigger = VoiceInfraCallCompletedTrigger(match={"to_number": NUMBER})
    assert NUMBER not in repr(trigger)
    assert "to_number" in repr(trigger)
    text = repr(VoiceInfraCallCompletedTrigger(call_ids=[f"call_{number}" for number in range(1000)]))
    assert "call_0, call_1" in text
    assert "and 995 more" in text
    assert len(text) < 200


def test_fires_when_all_calls_are_over(ledger: CallLedger) -> None:
    complete(ledger, "call_1")
    trigger = VoiceInfraCallCompletedTrigger(call_ids=["call_1", "call_2"])
    event = asyncio.run(while_running(trigger, asyncio.to_thread(complete, ledger, "call_2")))
    assert read_event(event) == {"status": "completed", "call_ids": ["call_1", "call_2"]}


@pytest.mark.parametrize(
    ("trigger", "call_ids"),
    [
        (lambda: VoiceInfraCallCompletedTrigger(["call_1"], deadline=later(0.1)), ["call_1"]),
        (lambda: VoiceInfraCallCompletedTrigger(match={"to_number": NUMBER}, deadline=later(0.1)), []),
        (lambda: VoiceInfraUnknownCallTrigger(hash_key("key"), later(0.1), 3600.0), []),
        (lambda: VoiceInfraUnknownCallTrigger("0" * 64, later(20), 3600.0), []),
    ],
    ids=["call ids", "match", "unknown call", "call that has left the ledger"],
)
def test_gives_up(ledger: CallLedger, trigger: Any, call_ids: list[str]) -> None:
    unknown_call(ledger)
    assert asyncio.run(first_event(trigger())) == {"status": "timed_out", "call_ids": call_ids}


def test_does_not_wake_the_task_too_early(ledger: CallLedger) -> None:
    complete(ledger, "call_1")
    not_before = now() + timedelta(seconds=0.3)
    asyncio.run(first_event(VoiceInfraCallCompletedTrigger(["call_1"], not_before=not_before.isoformat())))
    assert now() >= not_before


def test_earliest_wake_up_outlasts_the_supervisors_heartbeat() -> None:
    interval = conf.getfloat("workers", "min_heartbeat_interval")
    assert datetime.fromisoformat(earliest_wake_up()) > now() + timedelta(seconds=interval)


@ON_SQLITE
def test_many_triggers_ask_the_ledger_once_a_tick(ledger: CallLedger, ledger_url: str) -> None:
    async def scenario() -> list[Any]:
        ids = [f"call_{number}" for number in range(200)]
        waits = [
            asyncio.create_task(first_event(VoiceInfraCallCompletedTrigger([call_id]))) for call_id in ids
        ]
        following = 0
        while following < 20:  # ticks
            await asyncio.sleep(0.02)
            following = sum("sequence > " in statement for statement in asked)
        # Two lookups for each of the few ticks during which the triggers began, and one for the cursor.
        assert len(asked) - following <= 30
        assert not any(wait.done() for wait in waits)
        for call_id in ids:
            complete(ledger, call_id)
        return await asyncio.gather(*waits)

    with statements(ledger_url) as asked:
        events = asyncio.run(scenario())
    assert {event["status"] for event in events} == {"completed"}


def test_match_ignores_what_came_before_and_what_differs(ledger: CallLedger) -> None:
    complete(ledger, "call_old", to_number=NUMBER, lead_score=87)
    trigger = VoiceInfraCallCompletedTrigger(
        match={"to_number": NUMBER, "lead_score": 87},
        since=now().isoformat(),
        outcomes=["answered"],
    )

    def meanwhile() -> None:
        complete(ledger, "call_other", to_number="+14155550199", lead_score=87, call_outcome="answered")
        complete(ledger, "call_outcome", to_number=NUMBER, lead_score=87, call_outcome="voicemail")
        complete(ledger, "call_score", to_number=NUMBER, lead_score=3, call_outcome="answered")
        complete(ledger, "call_match", to_number=NUMBER, lead_score=87, call_outcome="answered")

    event = asyncio.run(while_running(trigger, asyncio.to_thread(meanwhile)))
    assert event == {"status": "completed", "call_ids": ["call_match"]}


def unknown_call(ledger: CallLedger) -> CallEntry:
    entry, _ = ledger.claim("key", CALL, conn_id="voiceinfra_default")
    return ledger.mark_unknown(entry, "answer_lost", "no answer")


def test_unknown_call_is_found_by_its_webhook(ledger: CallLedger) -> None:
    entry = unknown_call(ledger)
    trigger = VoiceInfraUnknownCallTrigger(entry.key_hash, later(20), 3600.0)

    def meanwhile() -> None:
        complete(ledger, "call_other", **{**CALL.to_request(), "to_number": "+14155550199"})
        complete(ledger, "call_1", **CALL.to_request())

    event = asyncio.run(while_running(trigger, asyncio.to_thread(meanwhile)))
    assert read_event(event)["status"] == "completed"
    found = ledger.call_by_key("key")
    assert found is not None
    assert (found.state, found.call_id) == (CallState.ACCEPTED, "call_1")


def test_user_who_kills_a_waiting_task_is_told_that_the_call_goes_on(
    capfd: pytest.CaptureFixture[str],
) -> None:
    asyncio.run(VoiceInfraCallCompletedTrigger(["call_1"]).on_kill())
    assert "call call_1; the API cannot cancel a call, so it goes on" in capfd.readouterr().out


@pytest.mark.parametrize("event", [None, {}, {"status": "error"}, {"status": "completed"}])
def test_event_of_another_kind_fails_loudly(event: dict[str, Any] | None) -> None:
    with pytest.raises(VoiceInfraError, match="not understood"):
        read_event(event)


@ON_SQLITE
@pytest.mark.parametrize(
    "fields",
    [
        {"agent_id": 7},
        {"duration_seconds": "30"},
        {"sequence": "first"},
        {"body": "text"},
        {"record": None},
        {"to_number": {"country": 1}},
    ],
)
def test_match_on_any_field_is_woken_by_its_record(ledger: CallLedger, fields: dict[str, Any]) -> None:
    trigger = VoiceInfraCallCompletedTrigger(match=fields, since=now().isoformat(), deadline=later(20))

    async def meanwhile() -> None:
        await asyncio.sleep(0.2)  # so that it has looked, and found nothing
        await asyncio.to_thread(complete, ledger, "call_1", **fields)

    assert asyncio.run(while_running(trigger, meanwhile())) == {"status": "completed", "call_ids": ["call_1"]}


def test_unknown_call_outlasts_a_database_that_is_down_when_the_triggerer_starts(
    ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = unknown_call(ledger)
    complete(ledger, "call_1", **CALL.to_request())
    read, down = CallLedger.call_by_hash, [True]

    def call_by_hash(self: CallLedger, key_hash: str) -> CallEntry | None:
        if down and down.pop():
            raise LedgerUnavailableError("The ledger's database cannot be used: it is down.")
        return read(self, key_hash)

    monkeypatch.setattr(CallLedger, "call_by_hash", call_by_hash)
    event = asyncio.run(first_event(VoiceInfraUnknownCallTrigger(entry.key_hash, later(20), 3600.0)))
    assert read_event(event)["status"] == "completed"


@in_loop
async def test_setting_that_is_a_command_is_run_once_for_all_triggers(
    ledger: CallLedger, ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    command = tmp_path / "url.sh"
    command.write_text(f"#!/bin/sh\necho run >> {runs}\necho '{ledger_url}'\n")
    command.chmod(0o700)
    monkeypatch.delenv("AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN")
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN_CMD", str(command))
    complete(ledger, "call_1")

    triggers = [VoiceInfraCallCompletedTrigger(["call_1"]) for _ in range(20)]
    await asyncio.gather(*(first_event(trigger) for trigger in triggers))
    assert runs.read_text().count("run") == 1
