"""What a campaign is given: how it calls, and whom, in which task; plain values, checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_voiceinfra.calls import CallOutcome
from airflow_provider_voiceinfra.exceptions import ContactsError, InvalidCallError
from airflow_provider_voiceinfra.rules.call_cap import CallCap
from airflow_provider_voiceinfra.rules.calling_window.window import CallingWindow
from airflow_provider_voiceinfra.rules.rule_set import Rules
from airflow_provider_voiceinfra.tasks.arguments import nearest

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.campaigns.contacts.loading import ContactLoader
    from airflow_provider_voiceinfra.campaigns.contacts.reader import ContactReader
    from airflow_provider_voiceinfra.connection import VoiceInfraConnection
    from airflow_provider_voiceinfra.dialling.guard import Guard
    from airflow_provider_voiceinfra.ledger.records import CallOrigin

MAX_ATTEMPTS = 20
_REDIALLABLE = (CallOutcome.VOICEMAIL.value, CallOutcome.FAILED.value)


@dataclass(frozen=True)
class RedialPolicy:
    """Who is called again, and when.

    :param outcomes: the outcomes after which a contact is called again.
    :param waits: how long to wait before the second, third, ... call; the last one counts for all further.
    :param attempts: how many calls a contact gets at most, the first included.
    """

    outcomes: frozenset[str]
    waits: tuple[timedelta, ...]
    attempts: int

    @classmethod
    def parse(cls, spec: object) -> RedialPolicy:
        """Read ``{"outcomes": ["voicemail"], "waits": [30, 60], "attempts": 3}`` or the like, also as JSON.

        ``waits`` are minutes. Without ``attempts`` there is one call more than there are waits.

        :raises InvalidCallError: naming what is wrong.
        """
        if isinstance(spec, str):
            try:
                spec = json.loads(spec)
            except ValueError as error:
                raise _error(f"is no JSON: {error}") from error
        if not isinstance(spec, Mapping):
            raise _error('must be a mapping such as {"waits": [30, 60]}, in minutes')
        unknown = sorted(str(name) for name in set(spec) - {"outcomes", "waits", "attempts"})
        if unknown:
            raise _error(f"knows outcomes, waits and attempts, not {', '.join(unknown)}")
        waits = _waits(spec.get("waits"))
        attempts = spec.get("attempts", len(waits) + 1)
        if not isinstance(attempts, int) or isinstance(attempts, bool) or not 2 <= attempts <= MAX_ATTEMPTS:
            raise _error(f"attempts must be a whole number from 2 to {MAX_ATTEMPTS}, not {attempts!r}")
        return cls(_outcomes(spec.get("outcomes", _REDIALLABLE)), waits, attempts)

    def due(self, outcome: str | None, attempt: int, completed_at: datetime) -> datetime | None:
        """Return when a contact is to be called again; ``None`` if it is not.

        :param attempt: the number of the call that ended, from 1.
        """
        if outcome not in self.outcomes or attempt >= self.attempts:
            return None
        return completed_at + self.waits[min(attempt, len(self.waits)) - 1]


def _error(rule: str) -> InvalidCallError:
    return InvalidCallError("redial", rule)


def _waits(value: object) -> tuple[timedelta, ...]:
    values = [value] if isinstance(value, (int, float)) else value
    if not isinstance(values, (list, tuple)) or not values:
        raise _error("waits must be a list of minutes, such as [30, 60, 120]")
    for wait in values:
        if not isinstance(wait, (int, float)) or isinstance(wait, bool) or not 0 <= wait <= 43_200:
            raise _error(f"waits must be minutes from 0 to 43200, which is 30 days, not {wait!r}")
    return tuple(timedelta(minutes=wait) for wait in values)


def _outcomes(value: object) -> frozenset[str]:
    values = [value] if isinstance(value, str) else value
    listed = list(values) if isinstance(values, (list, tuple, set, frozenset)) else []
    others = [outcome for outcome in listed if outcome not in _REDIALLABLE]
    if others or not listed:
        meant = nearest(others[0], _REDIALLABLE) if others else ""
        raise _error(f"outcomes must be of {' and '.join(_REDIALLABLE)}, not {value!r}{meant}")
    return frozenset(CallOutcome(outcome).value for outcome in listed)


@dataclass(frozen=True)
class CampaignPlan:
    """How a campaign calls, whoever is on its list; each value is one of ``VoiceInfraCampaignOperator``.

    Without a window that is always, without a policy nobody is redialled; a deadline is aware.
    """

    campaign_id: str
    max_active_calls: int = 10
    window: CallingWindow | None = None
    redial: RedialPolicy | None = None
    deadline: datetime | None = None
    completion_timeout: timedelta = timedelta(hours=1)
    unknown_timeout: timedelta = timedelta(minutes=15)
    call_caps: tuple[CallCap, ...] = ()

    @property
    def rules(self) -> Rules:
        """The rules of the campaign's own."""
        return Rules(calling_window=self.window, call_caps=self.call_caps)

    def is_late(self, now: datetime) -> bool:
        """Return whether the deadline has come."""
        return self.deadline is not None and now >= self.deadline


@dataclass(frozen=True)
class CampaignSetup:
    """All that one run of a campaign is given: whom it calls, how, and in which task.

    :param contacts: what ``ContactReader`` reads, or a function that returns it.
    :param reading: the arguments of ``ContactReader``.
    :param refuse_invalid: whether one invalid contact stops the campaign before anybody is called.
    :param max_calls_per_second: ``None`` for the connection's limit.
    :param results_path: ``None`` for no file.
    """

    plan: CampaignPlan
    origin: CallOrigin
    conn_id: str
    contacts: Any = field(repr=False)
    reading: Mapping[str, Any] = field(repr=False)
    refuse_invalid: bool = False
    max_calls_per_second: float | None = None
    results_path: str | None = None

    @property
    def loader(self) -> str:
        """What names who brings the contacts: each try, since a person may have fixed them before it."""
        return f"{self._task}/{self.origin.try_number}"

    def has_loaded(self, loaded_by: str | None, *, resumed: bool) -> bool:
        """Return whether the contacts that the campaign has are those that this try is to call.

        :param resumed: whether this try goes on after a pause, and has read the contacts before it.
        """
        if resumed and loaded_by is not None:  # whether a pause counts as a try is Airflow's affair
            return loaded_by.rpartition("/")[0] == self._task
        return loaded_by == self.loader

    @property
    def _task(self) -> str:
        return hashlib.sha256(json.dumps(self.origin.task).encode()).hexdigest()[:48]

    def contact_loader(
        self, connection: VoiceInfraConnection, guard: Guard, now: Callable[[], datetime]
    ) -> ContactLoader:
        """Return what reads and checks the contacts.

        :param guard: knows when each may be called, and whether a consent is needed.
        """
        from airflow_provider_voiceinfra.campaigns.contacts.loading import ContactLoader

        needs_consent = guard.rules.require_consent
        reader = self.reader(connection)
        contacts = self.contacts() if callable(self.contacts) else self.contacts
        return ContactLoader(contacts, reader, guard.hours, now, require_consent=needs_consent)

    def reader(self, connection: VoiceInfraConnection) -> ContactReader:
        """Return what reads the contacts, with the connection's agent and caller ID where none are given."""
        # Imported late: a DAG file is read for a plan's redials alone.
        from airflow_provider_voiceinfra.campaigns.contacts.reader import ContactReader

        values = dict(self.reading)
        values["agent_id"] = values.get("agent_id") or connection.agent_id
        if values.get("from_number") in (None, ""):  # an empty list is none, and is refused
            values["from_number"] = connection.from_number
        try:
            return ContactReader(**values)
        except ContactsError as error:
            for fault in connection.faulty_defaults():
                if not self.reading.get(fault.field) and str(error).startswith(f"{fault.field}:"):
                    raise ContactsError(str(connection.own(fault))) from error
            raise
