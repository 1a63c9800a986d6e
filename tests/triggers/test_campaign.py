"""The campaign's trigger: what wakes a campaign that sleeps, and what does not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.turns import CampaignsLedger
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from airflow_provider_voiceinfra.triggers import cancellations
from airflow_provider_voiceinfra.triggers.campaign import VoiceInfraCampaignTrigger
from airflow_provider_voiceinfra.triggers.events import read_event
from tests.support.completions import complete

CONN_ID = "voiceinfra_default"


@pytest.fixture(autouse=True)
def _campaign(ledger: CallLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancellations, "INTERVAL", 0.02)
    ledger.campaigns.take("campaign", conn_id=CONN_ID, origin=CallOrigin("dag", "run", "task", -1, 1))


def place(ledger: CallLedger, count: int, campaign_id: str = "campaign") -> list[str]:
    """Place calls of a campaign and return their ids."""
    call_ids = [f"{campaign_id}_{number}" for number in range(count)]
    for position, call_id in enumerate(call_ids, 1):
        call = OutboundCall(f"+141555501{position:02d}", "agent_demo", "+14155550199")
        origin = CallOrigin(campaign_id=campaign_id, position=position, attempt=1)
        entry, _ = ledger.claim(f"{campaign_id}/{position}/1", call, conn_id=CONN_ID, origin=origin)
        ledger.accept(entry, call_id)
    return call_ids


def later(seconds: float) -> str:
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat()


async def first_event(trigger: Any) -> Any:
    event = await asyncio.wait_for(anext(trigger.run()), 60)
    return read_event(event.payload)["status"]


async def while_running(trigger: Any, *meanwhile: Awaitable[Any]) -> tuple[list[bool], Any]:
    """Do one thing after the other while a trigger runs; tell after which it had fired, and its event."""
    waiting = asyncio.create_task(first_event(trigger))
    fired = []
    for step in meanwhile:
        await asyncio.sleep(0.3)  # so that it has looked
        fired.append(waiting.done())
        await step
    return fired, await waiting


async def in_thread(work: Any, *args: Any) -> None:
    await asyncio.to_thread(work, *args)


@pytest.mark.parametrize("seconds", [0.3, -60], ids=["soon", "passed while the triggerer was away"])
def test_fires_at_its_moment(ledger: CallLedger, seconds: float) -> None:
    place(ledger, 2)
    for calls in (None, 1):
        moment = later(seconds)
        trigger = VoiceInfraCampaignTrigger("campaign", moment, calls=calls)
        assert asyncio.run(first_event(trigger)) == "timed_out"
        assert datetime.now(timezone.utc) >= datetime.fromisoformat(moment)


@pytest.mark.parametrize("calls", [None, 1])
def test_fires_when_the_campaign_is_cancelled(ledger: CallLedger, calls: int | None) -> None:
    place(ledger, 2)
    trigger = VoiceInfraCampaignTrigger("campaign", later(60), calls=calls)
    fired, status = asyncio.run(while_running(trigger, in_thread(ledger.campaigns.cancel, "campaign")))
    assert (fired, status) == ([False], "completed")


@pytest.mark.parametrize("calls", [3, 2])
def test_as_many_calls_as_wanted_must_end_to_wake_it(ledger: CallLedger, calls: int) -> None:
    ids = place(ledger, 4)[:3]  # the last one's webhook is not expected any more
    trigger = VoiceInfraCampaignTrigger("campaign", later(60), calls=calls)
    steps = [in_thread(complete, ledger, call_id) for call_id in reversed(ids[calls - 2 :])]
    fired, status = asyncio.run(while_running(trigger, *steps))
    assert (fired, status) == ([False] * (5 - calls), "completed")


@pytest.mark.parametrize("what", ["cancelled", "a call ended"])
def test_what_came_before_the_triggerer_began_counts(ledger: CallLedger, what: str) -> None:
    first, _ = place(ledger, 2)
    if what == "cancelled":
        ledger.campaigns.cancel("campaign")
    else:
        complete(ledger, first)
    trigger = VoiceInfraCampaignTrigger("campaign", later(60), calls=None if what == "cancelled" else 2)
    assert asyncio.run(first_event(trigger)) == "completed"


def test_calls_of_others_do_not_wake_it(ledger: CallLedger) -> None:
    [own] = place(ledger, 1)
    [other] = place(ledger, 1, "another")
    trigger = VoiceInfraCampaignTrigger("campaign", later(60), calls=1)
    steps = [in_thread(complete, ledger, call_id) for call_id in (other, own)]
    assert asyncio.run(while_running(trigger, *steps)) == ([False, False], "completed")


@pytest.mark.parametrize("how", ["cancelled", "calls", "moment"])
def test_outlasts_a_dead_ledger(ledger: CallLedger, how: str) -> None:
    [call_id] = place(ledger, 1)
    broken = pytest.MonkeyPatch()

    def away(*_: object, **_options: object) -> None:
        raise LedgerUnavailableError("The ledger's database cannot be used: it is down.")

    async def back() -> None:
        broken.undo()

    happens: list[Awaitable[Any]] = []
    if how == "cancelled":
        happens = [in_thread(ledger.campaigns.cancel, "campaign"), back()]
    elif how == "calls":
        happens = [in_thread(complete, ledger, call_id), back()]
    trigger = VoiceInfraCampaignTrigger("campaign", later(0.5 if how == "moment" else 60), calls=1)
    with broken.context() as broken:
        for name in ("cancelled", "open_calls"):
            broken.setattr(CampaignsLedger, name, away)
        for name in ("last_sequence", "completions_after"):
            broken.setattr(CallLedger, name, away)
        fired, status = asyncio.run(while_running(trigger, *happens))
    assert not any(fired)
    assert status == ("timed_out" if how == "moment" else "completed")


def test_a_bug_is_not_mistaken_for_a_wait_that_ended(
    ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: CampaignsLedger, campaign_ids: object) -> bool:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(CampaignsLedger, "cancelled", fail)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(first_event(VoiceInfraCampaignTrigger("campaign", later(60))))
