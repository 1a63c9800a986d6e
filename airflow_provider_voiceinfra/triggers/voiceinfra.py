"""Wait in the triggerer; events carry ids only, the facts stay in the ledger."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, TypedDict
from weakref import WeakKeyDictionary

from airflow.sdk.configuration import conf
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_voiceinfra.exceptions import VoiceInfraError
from airflow_provider_voiceinfra.ledger.records import CallState
from airflow_provider_voiceinfra.settings import Settings, load_settings
from airflow_provider_voiceinfra.waiting.threads import in_own_thread
from airflow_provider_voiceinfra.waiting.watcher import CompletionWatcher, shared_watcher

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.ledger import CallLedger
    from airflow_provider_voiceinfra.ledger.records import CallEntry, CompletionEntry

# Airflow may learn only this long after a task has deferred that its process has ended: the supervisor can
# miss the end until its next heartbeat, [workers] min_heartbeat_interval seconds. Were the task running again
# by then, the scheduler would take the late report for the new process's and fail the task (seen on 3.3.2).
_REPORT_MARGIN = 3.0

_MODULE = "airflow_provider_voiceinfra.triggers.voiceinfra"
COMPLETED = "completed"
TIMED_OUT = "timed_out"
_SHOWN = 5


class CompletionEvent(TypedDict):
    """What a trigger reports to the task that it wakes."""

    status: str
    call_ids: list[str]


def listed(call_ids: Sequence[str]) -> str:
    """Return the first of some call ids, and how many more there are, for a log."""
    shown = ", ".join(call_ids[:_SHOWN])
    return f"call {shown}" + (f" and {len(call_ids) - _SHOWN} more" if len(call_ids) > _SHOWN else "")


def read_event(event: Mapping[str, Any] | None) -> CompletionEvent:
    """Return a trigger's event.

    :raises VoiceInfraError: if it is missing, or none of ours.
    """
    status = event.get("status") if event else None
    call_ids = event.get("call_ids") if event else None
    if status not in (COMPLETED, TIMED_OUT) or not isinstance(call_ids, list):
        raise VoiceInfraError(f"the trigger sent an event that is not understood: status {status!r}")
    return CompletionEvent(status=status, call_ids=[str(call_id) for call_id in call_ids])


def earliest_wake_up() -> str:
    """Return the moment, ISO 8601, before which a task that defers now must not be woken up."""
    delay = conf.getfloat("workers", "min_heartbeat_interval", fallback=5.0) + _REPORT_MARGIN
    return (datetime.now(timezone.utc) + timedelta(seconds=delay)).isoformat()


class VoiceInfraCallCompletedTrigger(BaseTrigger):
    """Fires when all of some calls are over, or when a completion record matches.

    :param call_ids: the calls to wait for; or
    :param match: fields of the record and the values that they must have, together with ``since``.
    :param since: only records received at or after this moment, ISO 8601 with an offset.
    :param outcomes: for ``match``: only records with one of these outcomes; if not set, any.
    :param deadline: when to give up, ISO 8601 with an offset; if not set, never.
    :param not_before: fire no earlier than this, ISO 8601 with an offset, see ``earliest_wake_up``.
    """

    def __init__(
        self,
        call_ids: Collection[str] | None = None,
        match: Mapping[str, Any] | None = None,
        since: str | None = None,
        outcomes: Collection[str] | None = None,
        deadline: str | None = None,
        not_before: str | None = None,
    ) -> None:
        super().__init__()
        self.call_ids = None if call_ids is None else list(call_ids)
        self.match = None if match is None else dict(match)
        self.since = since
        self.outcomes = None if outcomes is None else list(outcomes)
        self.deadline = deadline
        self.not_before = not_before

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and plain JSON arguments."""
        names = ("call_ids", "match", "since", "outcomes", "deadline", "not_before")
        kwargs = {name: getattr(self, name) for name in names}
        return f"{_MODULE}.VoiceInfraCallCompletedTrigger", kwargs

    def __repr__(self) -> str:
        return f"<VoiceInfraCallCompletedTrigger {self._subject()}>"

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield one event."""
        watcher, ledger = await opened()
        call_ids = self.call_ids or []
        self.log.info("Waiting for the completion of %s.", self._subject())
        if self.call_ids is not None:
            completed = await before(self.deadline, watcher.wait_for_calls(self.call_ids))
        else:
            completed = await before(self.deadline, self._wait_for_match(watcher, ledger, call_ids))
        await until(self.not_before)
        status = COMPLETED if completed else TIMED_OUT
        yield TriggerEvent(CompletionEvent(status=status, call_ids=call_ids))

    async def on_kill(self) -> None:
        """Say that the calls go on: the API cannot cancel one (Airflow 3.3 and newer call this)."""
        self.log.warning(
            "No longer waiting for %s; the API cannot cancel a call, so it goes on.", self._subject()
        )

    async def _wait_for_match(
        self, watcher: CompletionWatcher, ledger: CallLedger, found_ids: list[str]
    ) -> None:
        # Loaded with the ledger already.
        from airflow_provider_voiceinfra.ledger.completions import MATCHABLE_COLUMNS

        match, outcomes = self.match or {}, self.outcomes
        since = datetime.fromisoformat(self.since) if self.since else datetime.now(timezone.utc)
        columns = {
            name: value
            for name, value in match.items()
            if name in MATCHABLE_COLUMNS and isinstance(value, str)
        }

        def wanted(entry: CompletionEntry) -> bool:
            # What else is to match is looked at by find_completion, which reads the whole record.
            same = all(getattr(entry, name) == value for name, value in columns.items())
            return same and (outcomes is None or entry.call_outcome in outcomes)

        found = await watcher.wait_for_match(
            wanted, lambda: ledger.find_completion(match, since=since, outcomes=outcomes)
        )
        found_ids.append(found.call_id)

    def _subject(self) -> str:
        if self.call_ids is None:
            return f"a call with matching {', '.join(self.match or {})}"
        return listed(self.call_ids)


class VoiceInfraUnknownCallTrigger(BaseTrigger):
    """Fires when a call whose answer was lost has been found by its webhook, or at the deadline.

    :param key_hash: the hashed idempotency key of the call.
    :param deadline: when to give up, ISO 8601 with an offset.
    :param window: how long the call is waited for in all, in seconds.
    :param not_before: fire no earlier than this, ISO 8601 with an offset, see ``earliest_wake_up``.
    """

    def __init__(self, key_hash: str, deadline: str, window: float, not_before: str | None = None) -> None:
        super().__init__()
        self.key_hash = key_hash
        self.deadline = deadline
        self.window = window
        self.not_before = not_before

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and plain JSON arguments."""
        kwargs = {name: getattr(self, name) for name in ("key_hash", "deadline", "window", "not_before")}
        return f"{_MODULE}.VoiceInfraUnknownCallTrigger", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield one event."""
        watcher, ledger = await opened()
        call: CallEntry | None = None

        def find() -> str | None:
            # Read anew each time: its owner may have got an answer after all, or somebody may have redialled.
            nonlocal call
            call = ledger.call_by_hash(self.key_hash)
            if call is None:
                return "gone"
            if call.state is CallState.UNKNOWN:
                call = ledger.adopt(call, window=timedelta(seconds=self.window))
            return None if call.state is CallState.UNKNOWN else call.state.value

        def wanted(entry: CompletionEntry) -> bool:
            return call is None or all(
                getattr(entry, name) == getattr(call, name)
                for name in ("agent_id", "from_number", "to_number")
            )

        settled = await before(self.deadline, watcher.wait_for_match(wanted, find)) and call is not None
        await until(self.not_before)
        yield TriggerEvent(CompletionEvent(status=COMPLETED if settled else TIMED_OUT, call_ids=[]))


class _Deployment:
    """The settings and the ledger, read once: a setting may be a command, run whenever it is read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.opened: tuple[Settings, CallLedger] | None = None

    def open(self) -> tuple[Settings, CallLedger]:
        # Loads SQLAlchemy, which would hold up the event loop, so this runs in a thread.
        from airflow_provider_voiceinfra.ledger import CallLedger

        with self._lock:
            if self.opened is None:
                settings = load_settings()
                self.opened = settings, CallLedger(settings.sql_alchemy_conn)
            return self.opened


_deployments: WeakKeyDictionary[asyncio.AbstractEventLoop, _Deployment] = WeakKeyDictionary()


async def opened() -> tuple[CompletionWatcher, CallLedger]:
    """Return this process's watcher and its ledger, without holding up the event loop."""
    deployment = _deployments.setdefault(asyncio.get_running_loop(), _Deployment())
    opened = deployment.opened
    settings, ledger = await in_own_thread(deployment.open) if opened is None else opened
    return shared_watcher(settings.sql_alchemy_conn, settings.poll_interval, lambda: ledger), ledger


async def until(moment: str | None) -> None:
    """Return at a moment, ISO 8601 with an offset; at once if it has passed, or there is none."""
    if moment is not None:
        await asyncio.sleep(max(0.0, _seconds_to(moment)))


def _seconds_to(moment: str) -> float:
    return (datetime.fromisoformat(moment) - datetime.now(timezone.utc)).total_seconds()


async def before(deadline: str | None, waiting: Awaitable[object]) -> bool:
    """Wait, at most until the deadline; return whether the waiting came to its end."""
    try:
        await asyncio.wait_for(waiting, None if deadline is None else max(0.0, _seconds_to(deadline)))
    except asyncio.TimeoutError:
        return False
    return True
