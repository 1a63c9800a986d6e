"""The imitated account: accepts calls, lets them end, hands out their webhooks; knows no HTTP."""

from __future__ import annotations

import asyncio
import json
import uuid
import zlib
from collections.abc import Coroutine, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow_provider_voiceinfra.sandbox.audit import AuditLog, utc_now
from airflow_provider_voiceinfra.sandbox.completion import Call, record
from airflow_provider_voiceinfra.sandbox.faults import COPIES, Fault, FaultPlan, outcome_of
from airflow_provider_voiceinfra.sandbox.limits import TokenBucket
from airflow_provider_voiceinfra.sandbox.settings import Settings
from airflow_provider_voiceinfra.sandbox.webhooks import Delivery, Sender


async def first_of(*waits: Coroutine[Any, Any, object]) -> None:
    """Return as soon as one of the waits is over; the others are cancelled."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


class Sandbox:
    """Everything that a running sandbox knows.

    :param settings: those to start with.
    :param public_url: its own root, ``http://127.0.0.1:PORT``.
    :param audit_file: where the audit log is written as well; if not set, it stays in memory.
    """

    def __init__(self, settings: Settings, *, public_url: str, audit_file: Path | None = None) -> None:
        self.settings = self._first_settings = settings
        self.public_url = public_url
        self.audit = AuditLog(audit_file)
        self.plan = FaultPlan(settings.seed)
        self.bucket = TokenBucket()
        self.sender = Sender(lambda: self.settings, self.audit)
        self.stopping = asyncio.Event()
        self._running: dict[str, tuple[Call, Fault | None, asyncio.TimerHandle]] = {}
        self._recorded_at: dict[str, datetime] = {}

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Change settings for everything that happens from now on.

        :raises SettingError: if one is wrong; then none is changed.
        """
        self._put(self.settings.changed(changes))

    def reset(self, *, settings: bool) -> None:
        """Forget all calls, webhooks, scripted faults and the audit log; the settings if asked to."""
        for _, _, timer in self._running.values():
            timer.cancel()
        self._running.clear()
        self._recorded_at.clear()
        self.sender.clear()
        self.audit.clear()
        if settings:
            self._put(self._first_settings)
        self.bucket.clear()
        self.plan = FaultPlan(self.settings.seed)

    def _put(self, settings: Settings) -> None:
        self.settings = settings
        if not settings.webhook_hold:
            self.sender.release()

    def counts(self) -> dict[str, int]:
        """Return the audit log's totals and how much is still to come."""
        return {
            **self.audit.counts(),
            "calls_in_flight": len(self._running),
            "deliveries_waiting": self.sender.waiting,
            "deliveries_held": self.sender.held,
        }

    def accept(self, fields: dict[str, Any], fault: Fault | None) -> Call:
        """Place a call: from here on the phone rings."""
        now = self.settings
        number = fields["to_number"]
        call = Call(
            call_id=f"call_{uuid.uuid4().hex}",
            fields=fields,
            accepted_at=utc_now(),
            # Always the same for the same number.
            seconds=now.call_seconds + now.call_seconds_jitter * zlib.crc32(number.encode()) / 2**32,
            outcome=outcome_of(number, fault_numbers=now.fault_numbers),
        )
        self.audit.add(
            "calls",
            call_id=call.call_id,
            status="queued",
            **fields,
            call_outcome=call.outcome,
            seconds=call.seconds,
            fault=fault and fault.value,
        )
        timer = asyncio.get_running_loop().call_later(call.seconds, self._end, call.call_id)
        self._running[call.call_id] = (call, fault, timer)
        return call

    async def end_early(self, call: Call) -> None:
        """End a call at once and wait until its webhook was tried once."""
        _, _, timer = self._running.pop(call.call_id)
        timer.cancel()
        delivery = self._delivery(call)
        self.sender.submit_now(delivery)
        await self.until_tried(delivery)

    async def until_tried(self, delivery: Delivery) -> None:
        """Wait until a delivery was tried once, or the sandbox is stopping."""
        await first_of(delivery.tried.wait(), self.stopping.wait())

    def end_calls(self, call_ids: list[str] | None) -> int:
        """End these calls, or all, now instead of at their time; return how many were running."""
        ended = [call_id for call_id in call_ids or list(self._running) if call_id in self._running]
        for call_id in ended:
            self._running[call_id][2].cancel()
            self._end(call_id)
        return len(ended)

    def _end(self, call_id: str) -> None:
        call, fault, _ = self._running.pop(call_id)
        first = self._delivery(call)
        if fault is Fault.WEBHOOK_NEVER:
            return
        first.bad_first = fault is Fault.WEBHOOK_BAD_SIGNATURE
        if fault is Fault.WEBHOOK_LATE:
            self.sender.submit_later(self.settings.webhook_late_seconds, first)
            return
        self.sender.submit(first)
        for copy in range(2, COPIES.get(fault, 1) + 1 if fault else 2):
            self.sender.submit(Delivery(call_id, first.body, copy=copy))

    def _delivery(self, call: Call) -> Delivery:
        return Delivery(call.call_id, json.dumps(self.payload(call)).encode())

    def payload(self, call: Call) -> dict[str, Any]:
        """Return the webhook's payload for a call that ends now, accepted by this sandbox or not."""
        ended_at = utc_now()
        self._recorded_at[call.call_id] = ended_at
        return record(call, ended_at, self.settings, recordings=f"{self.public_url}/recordings")

    def has_recording(self, call_id: str) -> bool:
        """Return whether the recording of a call can be loaded by now."""
        ended_at = self._recorded_at.get(call_id)
        if ended_at is None:
            return False
        return (utc_now() - ended_at).total_seconds() >= self.settings.recording_delay_seconds
