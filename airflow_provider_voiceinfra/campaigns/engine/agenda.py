"""Whom a campaign dials next: who is due again, then who is new, and nobody while their window is closed."""

from __future__ import annotations

import heapq
import logging
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from airflow_provider_voiceinfra.campaigns.plan import CampaignPlan
from airflow_provider_voiceinfra.campaigns.progress import WaitingFor
from airflow_provider_voiceinfra.ledger.campaigns.records import ContactEntry, attempt_key
from airflow_provider_voiceinfra.ledger.records import CallOrigin, Job
from airflow_provider_voiceinfra.ledger.store import CallLedger
from airflow_provider_voiceinfra.rules.calling_window.place import place_of

log = logging.getLogger(__name__)

# Contacts that are read from the ledger at a time, and looked at in one go, so that no tick takes long.
BUFFER = 500

# Before whatever the clock says, since it may be set back.
_AT_ONCE = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True, order=True)
class _Due:
    """A contact that is to be dialled from some moment on."""

    at: datetime
    position: int
    attempt: int
    why: WaitingFor


class Agenda:
    """The contacts of a campaign that are still to be dialled."""

    def __init__(self, plan: CampaignPlan, ledger: CallLedger, origin: CallOrigin) -> None:
        self._plan = plan
        self._ledger = ledger
        self._origin = origin
        self._due: list[_Due] = []
        self._waiting: Counter[WaitingFor] = Counter()
        self._fresh: deque[ContactEntry] = deque()
        self._read_up_to = 0
        self._all_read = False
        self.is_unread = False
        """Whether the last look stopped before the end although there was room."""
        self._told = False

    @property
    def is_empty(self) -> bool:
        """Whether nobody is left to dial, now or later."""
        return self._all_read and not self._fresh and not self._due

    @property
    def next_at(self) -> datetime | None:
        """When the next one is to be dialled, aware UTC; ``None`` if somebody new may be dialled at once."""
        if not self._due or self._fresh or not self._all_read:
            return None
        return None if self._due[0].at == _AT_ONCE else self._due[0].at

    @property
    def opens_at(self) -> datetime | None:
        """When the window opens for the first of those who are left; ``None`` if they need not wait."""
        return self.next_at if self._due and self._due[0].why is WaitingFor.WINDOW else None

    @property
    def waiting(self) -> dict[WaitingFor, int]:
        """How many are put off, by what they wait for."""
        return {why: number for why, number in self._waiting.items() if number}

    def put(self, at: datetime | None, position: int, attempt: int, why: WaitingFor) -> None:
        """Note that a contact is to be dialled from some moment on; ``None`` for at once."""
        heapq.heappush(self._due, _Due(at or _AT_ONCE, position, attempt, why))
        self._waiting[why] += 1

    def take(self, now: datetime, most: int) -> list[Job]:
        """Return some calls to those whose turn it is, those that are due again first.

        There may be more even if fewer are returned than are wanted at most.
        """
        jobs = [
            job for contact, attempt in self._take_due(now, most) for job in self._job(contact, attempt, now)
        ]
        for _ in range(BUFFER):
            if len(jobs) >= most:
                break
            if not self._fresh and not self._all_read:
                self._read_more()
            if not self._fresh:
                break
            jobs += self._job(self._fresh.popleft(), 1, now)
        self.is_unread = len(jobs) < most and (bool(self._fresh) or not self._all_read)
        return jobs

    def _take_due(self, now: datetime, most: int) -> Iterator[tuple[ContactEntry, int]]:
        due: list[_Due] = []
        while self._due and self._due[0].at <= now and len(due) < min(most, BUFFER):
            due.append(heapq.heappop(self._due))
            self._waiting[due[-1].why] -= 1
        found = self._ledger.campaigns.contacts_at(self._plan.campaign_id, [one.position for one in due])
        # Those that are not found are not to be called any more.
        yield from ((found[one.position], one.attempt) for one in due if one.position in found)

    def _read_more(self) -> None:
        found = self._ledger.campaigns.untried_contacts(
            self._plan.campaign_id, after=self._read_up_to, limit=BUFFER
        )
        self._fresh.extend(found)
        self._all_read = len(found) < BUFFER
        if found:
            self._read_up_to = found[-1].position

    def _job(self, contact: ContactEntry, attempt: int, now: datetime) -> list[Job]:
        """Return the call to a contact, or none and put it off until its window opens."""
        window, not_after, call = self._plan.window, self._plan.deadline, contact.call
        if window is not None:
            place = place_of(call.to_number, contact.recipient)
            if not window.is_open(now, place):
                self._put_off(contact, attempt, window.next_opening(now, place))
                return []
            closes = window.closes_at(now, place)
            not_after = min(filter(None, (not_after, closes)), default=None)
        origin = replace(
            self._origin,
            campaign_id=self._plan.campaign_id,
            contact_key=contact.contact_key,
            position=contact.position,
            attempt=attempt,
        )
        key = attempt_key(self._plan.campaign_id, contact.contact_key, attempt)
        return [Job(key, call, origin, not_after, token="")]  # which it gets when it is claimed

    def _put_off(self, contact: ContactEntry, attempt: int, opens: datetime | None) -> None:
        if opens is not None:
            self.put(opens, contact.position, attempt, WaitingFor.WINDOW)
        elif not self._told:  # found when contacts are loaded, unless the window was changed since then
            self._told = True
            log.warning(
                "Row %d has no hour in the next two weeks, perhaps others, too: not called.",
                contact.row_number,
            )
