"""Contacts -> the ledger, checked as a whole before anybody is called; says what was left out, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from airflow_provider_voiceinfra.campaigns.contacts.reader import ContactReader, SkippedRow
from airflow_provider_voiceinfra.dialling.clocks import utc_now
from airflow_provider_voiceinfra.exceptions import ContactsError
from airflow_provider_voiceinfra.ledger.campaigns.ownership import Ownership
from airflow_provider_voiceinfra.ledger.campaigns.records import ContactEntry, SkipReason
from airflow_provider_voiceinfra.ledger.store import CallLedger
from airflow_provider_voiceinfra.rules.calling_window.hours import CallingHours
from airflow_provider_voiceinfra.rules.calling_window.place import Place, place_of

_INVALID = SkipReason.INVALID.value
# Skipped rows that are told of one by one.
_MOST_SHOWN = 20


class ContactLoader:
    """Stores whom a campaign is to call.

    :param contacts: an iterable of mappings, or the path or URL of a file; read once, or twice for
        ``refuse_invalid``.
    :param windows: when a number may be called; whoever is exempt gets no windows.
    :param require_consent: whether a row without a proof of consent is invalid.
    """

    def __init__(
        self,
        contacts: object,
        reader: ContactReader,
        windows: Callable[[str], CallingHours],
        now: Callable[[], datetime] = utc_now,
        *,
        require_consent: bool = False,
    ) -> None:
        self.counts: Counter[str] = Counter()
        """How many rows there are by why they are skipped; those to call under ``""``."""
        self.shown: list[SkippedRow] = []
        """The first rows that are skipped."""
        self._contacts = contacts
        self._reader = reader
        self._windows = windows
        self._now = now
        self._require_consent = require_consent
        self._openings: dict[tuple[CallingHours, Place], timedelta] = {}

    @property
    def shortest_opening(self) -> timedelta | None:
        """How long it is open at a time for whom that is least; ``None`` without a window."""
        return min(filter(None, self._openings.values()), default=None)

    def refuse_invalid(self) -> None:
        """Read all contacts without storing any; if some are invalid, a ``ContactsError`` names them."""
        if isinstance(self._contacts, Iterator):
            self._contacts = list(self._contacts)  # it is read once more to be stored
        invalid = [row for row in self.rows() if row.skipped == _INVALID]
        if invalid:
            listed = "; ".join(map(str, invalid[:_MOST_SHOWN]))
            more = f"; and {len(invalid) - _MOST_SHOWN} more" if len(invalid) > _MOST_SHOWN else ""
            raise ContactsError(
                f"{len(invalid)} of the contacts are invalid, and nobody was called: {listed}{more}. Fix "
                "them, or set invalid_contacts='skip' to call the others."
            )

    def load(self, ledger: CallLedger, owner: Ownership, *, loaded_by: str) -> None:
        """Store all contacts; nobody has been called when this raises.

        :raises ContactsError: if the contacts as a whole cannot be used.
        """
        ledger.campaigns.load_contacts(
            owner.campaign_id, self._entries(), loaded_by=loaded_by, runner=owner.runner
        )

    def _entries(self) -> Iterator[ContactEntry]:
        yield from self.rows()
        self.refuse_if_none()

    def refuse_if_none(self) -> None:
        """Raise ``ContactsError`` if all rows that were read are invalid."""
        if self.counts.keys() == {_INVALID}:
            raise ContactsError(
                f"none of the {self.counts[_INVALID]} contacts can be called: "
                + "; ".join(map(str, self.shown[:3]))
            )

    def rows(self) -> Iterator[ContactEntry]:
        """Yield all rows, checked, those that are skipped as ``SkippedRow``; stores none.

        :raises ContactsError: if the contacts as a whole cannot be used.
        """
        self.counts, self.shown = Counter(), []
        for found in self._reader.read(self._contacts):
            row = found if found.skipped else self._complete(found)
            self.counts[row.skipped or ""] += 1
            if isinstance(row, SkippedRow) and len(self.shown) < _MOST_SHOWN:
                self.shown.append(row)
            yield row

    def _complete(self, contact: ContactEntry) -> ContactEntry:
        """Return the contact if the call lacks nothing and there is an hour for it."""
        request = contact.request or {}
        for name in ("agent_id", "from_number"):
            if not request.get(name):
                rule = "is set neither in this row nor in the operator nor in the connection"
                return SkippedRow.of(contact.row_number, SkipReason.INVALID, name, rule)
        if self._require_consent and not contact.consent:
            rule = "is empty; write in a column consent what proves that the contact agreed to be called"
            return SkippedRow.of(contact.row_number, SkipReason.INVALID, "consent", rule)
        hours = self._windows(request["to_number"])
        if not hours.windows:
            return contact
        place = place_of(request["to_number"], contact.recipient)
        opening = self._openings.get((hours, place))
        if opening is None:
            opening = hours.longest_opening(self._now(), place)
            self._openings[hours, place] = opening
        if opening:
            return contact
        rule = hours.why_never(place) or "is closed for all of the next 14 days, for its days off"
        return SkippedRow.of(contact.row_number, SkipReason.INVALID, "calling_window:", rule)
