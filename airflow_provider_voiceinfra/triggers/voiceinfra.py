"""Wait in the triggerer; events carry ids only, the facts stay in the ledger."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Collection, Mapping
from datetime import datetime, timedelta, timezone
from inspect import signature
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn
from weakref import WeakKeyDictionary

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_voiceinfra.settings import Settings, load_settings
from airflow_provider_voiceinfra.triggers.cancellations import CancellationWatcher
from airflow_provider_voiceinfra.triggers.events import (
    COMPLETED,
    TIMED_OUT,
    CompletionEvent,
    earliest_wake_up,
    listed,
)
from airflow_provider_voiceinfra.waiting.threads import in_own_thread
from airflow_provider_voiceinfra.waiting.watcher import CompletionWatcher

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from airflow_provider_voiceinfra.ledger import CallLedger
    from airflow_provider_voiceinfra.ledger.records import CallEntry, CompletionEntry

# Added to the timeout of a deferral, so that the trigger itself, which knows more, is the first to end it.
_TRIGGER_MARGIN = timedelta(minutes=5)


def defer_until_completed(task: BaseOperator, timeout: timedelta, **waiting: Any) -> NoReturn:
    """Have a task wait in the triggerer, and go on with its ``execute_complete``.

    :param timeout: how long to wait.
    :param waiting: what for, as ``VoiceInfraCallCompletedTrigger`` takes it.
    """
    deadline = (datetime.now(timezone.utc) + timeout).isoformat()
    trigger = VoiceInfraCallCompletedTrigger(**waiting, deadline=deadline, not_before=earliest_wake_up())
    task.defer(trigger=trigger, method_name="execute_complete", timeout=timeout + _TRIGGER_MARGIN)


class Shared(NamedTuple):
    """What all triggers of one event loop share, so that the ledger is asked once for all of them."""

    ledger: CallLedger
    completions: CompletionWatcher
    cancellations: CancellationWatcher


_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, Shared] = WeakKeyDictionary()


async def _opened() -> Shared:
    """Return what the triggers of this event loop share, without holding the loop up."""
    loop = asyncio.get_running_loop()
    async with _locks.setdefault(loop, asyncio.Lock()):
        if loop not in _shared:
            settings, ledger = await in_own_thread(_open)
            completions = CompletionWatcher(ledger, settings.poll_interval)
            _shared[loop] = Shared(ledger, completions, CancellationWatcher(ledger))
        return _shared[loop]


def _open() -> tuple[Settings, CallLedger]:
    # Loads SQLAlchemy, which would hold up the event loop; and a setting may be a command that is run.
    from airflow_provider_voiceinfra.deployment import ledger_of

    settings = load_settings()
    return settings, ledger_of(settings)


def _seconds_to(moment: str | None) -> float | None:
    if moment is None:
        return None
    return max(0.0, (datetime.fromisoformat(moment) - datetime.now(timezone.utc)).total_seconds())


class LedgerTrigger(BaseTrigger):
    """Fires when something has come about in the ledger, or at its deadline; holds what it was made with."""

    call_ids: list[str] | None = None
    deadline: str | None = None
    not_before: str | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and plain JSON arguments."""
        kwargs = {name: getattr(self, name) for name in signature(type(self)).parameters}
        return f"{type(self).__module__}.{type(self).__qualname__}", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield one event."""
        shared = await _opened()
        try:
            found = await asyncio.wait_for(self._wait(shared), _seconds_to(self.deadline))
        except asyncio.TimeoutError:
            found = None
        await asyncio.sleep(_seconds_to(self.not_before) or 0.0)
        status, call_ids = (TIMED_OUT, self.call_ids or []) if found is None else (COMPLETED, found)
        yield TriggerEvent(CompletionEvent(status=status, call_ids=call_ids))

    @abstractmethod
    async def _wait(self, shared: Shared) -> list[str] | None:
        """Wait; return the calls that the event is to name, or ``None`` if there is nothing to wait for."""


class VoiceInfraCallCompletedTrigger(LedgerTrigger):
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

    def __repr__(self) -> str:
        return f"<VoiceInfraCallCompletedTrigger {self._subject()}>"

    async def on_kill(self) -> None:
        """Say that the calls go on: the API cannot cancel one (Airflow 3.3 and newer call this)."""
        self.log.warning(
            "No longer waiting for %s; the API cannot cancel a call, so it goes on.", self._subject()
        )

    async def _wait(self, shared: Shared) -> list[str]:
        # Loaded with the ledger already.
        from airflow_provider_voiceinfra.ledger.completions import MATCHABLE_COLUMNS

        self.log.info("Waiting for the completion of %s.", self._subject())
        if self.call_ids is not None:
            await shared.completions.wait_for_calls(self.call_ids)
            return self.call_ids
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

        found = await shared.completions.wait_for_match(
            wanted, lambda: shared.ledger.find_completion(match, since=since, outcomes=outcomes)
        )
        return [found.call_id]

    def _subject(self) -> str:
        if self.call_ids is None:
            return f"a call with matching {', '.join(self.match or {})}"
        return listed(self.call_ids)


class VoiceInfraUnknownCallTrigger(LedgerTrigger):
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

    async def _wait(self, shared: Shared) -> list[str] | None:
        from airflow_provider_voiceinfra.ledger.records import CallState

        call: CallEntry | None = None

        def find() -> str | None:
            # Read anew each time: its owner may have got an answer after all, or somebody may have redialled.
            nonlocal call
            call = shared.ledger.call_by_hash(self.key_hash)
            if call is None:
                return "gone"
            if call.state is CallState.UNKNOWN:
                call = shared.ledger.adopt(call, window=timedelta(seconds=self.window))
            return None if call.state is CallState.UNKNOWN else call.state.value

        def wanted(entry: CompletionEntry) -> bool:
            return call is None or all(
                getattr(entry, name) == getattr(call, name)
                for name in ("agent_id", "from_number", "to_number")
            )

        found = await shared.completions.wait_for_match(wanted, find)
        return None if found == "gone" else []
