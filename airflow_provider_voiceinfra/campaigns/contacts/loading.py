"""Contacts -> the ledger, checked as a whole before anybody is called; says what was left out, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from airflow_provider_voiceinfra.calls import storable_text
from airflow_provider_voiceinfra.campaigns.calling_window.window import CallingWindow
from airflow_provider_voiceinfra.campaigns.calling_window.zones import zones_for
from airflow_provider_voiceinfra.campaigns.contacts.reader import INVALID, Contact, ContactReader, SkippedRow
from airflow_provider_voiceinfra.dialling.clocks import utc_now
from airflow_provider_voiceinfra.exceptions import ContactsError
from airflow_provider_voiceinfra.ledger.campaigns.records import ContactEntry
from airflow_provider_voiceinfra.ledger.store import CallLedger
from airflow_provider_voiceinfra.masking import mask_numbers_in

# Skipped rows that are told of one by one.
_MOST_SHOWN = 20


class ContactLoader:
    """Stores whom a campaign is to call.

    :param contacts: an iterable of mappings, or the path or URL of a file; read once, or twice for
        ``refuse_invalid``.
    :param reader: checks rows.
    :param window: when contacts may be called; ``None`` for always.
    :param now: the present, aware.
    """

    def __init__(
        self,
        contacts: object,
        reader: ContactReader,
        window: CallingWindow | None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.counts: Counter[str] = Counter()
        """How many rows there are by why they are skipped; those to call under ``""``."""
        self.shown: list[SkippedRow] = []
        """The first rows that are skipped."""
        self._contacts = contacts
        self._reader = reader
        self._window = window
        self._now = now
        self._openings: dict[tuple[str, ...] | None, timedelta] = {}

    @property
    def shortest_opening(self) -> timedelta | None:
        """How long the window is open at a time for whom that is least; ``None`` without a window."""
        return min(filter(None, self._openings.values()), default=None)

    def refuse_invalid(self) -> None:
        """Read all contacts without storing any.

        :raises ContactsError: naming rows that are invalid, if there are any.
        """
        if isinstance(self._contacts, Iterator):
            self._contacts = list(self._contacts)  # it is read once more to be stored
        self._read_anew()
        invalid = [row for row in self._rows() if isinstance(row, SkippedRow) and row.reason == INVALID]
        if invalid:
            listed = "; ".join(describe(row) for row in invalid[:_MOST_SHOWN])
            more = f"; and {len(invalid) - _MOST_SHOWN} more" if len(invalid) > _MOST_SHOWN else ""
            raise ContactsError(
                f"{len(invalid)} of the contacts are invalid, and nobody was called: {listed}{more}. Fix "
                "them, or set invalid_contacts='skip' to call the others."
            )

    def load(self, ledger: CallLedger, campaign_id: str, *, loaded_by: str, runner: str) -> None:
        """Store all contacts; nobody has been called when this raises.

        :param loaded_by: the run that brings them.
        :param runner: what ``CallLedger.campaigns.take`` gave this process.
        :raises ContactsError: if the contacts as a whole cannot be used.
        """
        self._read_anew()
        ledger.campaigns.load_contacts(campaign_id, self._entries(), loaded_by=loaded_by, runner=runner)

    def _read_anew(self) -> None:
        self.counts, self.shown = Counter(), []

    def _entries(self) -> Iterator[ContactEntry]:
        for row in self._rows():
            yield _skipped(row) if isinstance(row, SkippedRow) else _to_call(row)
        if self.counts[INVALID] and set(self.counts) == {INVALID}:
            raise ContactsError(
                f"none of the {self.counts[INVALID]} contacts can be called: "
                + "; ".join(describe(row) for row in self.shown[:3])
            )

    def _rows(self) -> Iterator[Contact | SkippedRow]:
        for found in self._reader.read(self._contacts):
            row = found if isinstance(found, SkippedRow) else self._complete(found)
            self.counts[row.reason if isinstance(row, SkippedRow) else ""] += 1
            if isinstance(row, SkippedRow) and len(self.shown) < _MOST_SHOWN:
                self.shown.append(row)
            yield row

    def _complete(self, contact: Contact) -> Contact | SkippedRow:
        """Return the contact if the call lacks nothing and there is an hour for it."""
        for name in ("agent_id", "from_number"):
            if not getattr(contact.call, name):
                message = "is set neither in this row nor in the operator nor in the connection"
                return SkippedRow(contact.row, INVALID, name, message)
        if self._window is None:
            return contact
        zones = None if self._window.timezone else zones_for(contact.timezone, contact.call.to_number)
        if zones not in self._openings:
            self._openings[zones] = self._window.longest_opening(self._now(), zones)
        if self._openings[zones] or self._window.timezone:
            return contact
        why = (
            f"the number may be in any of {len(zones)} time zones, which share no hour of the calling window"
            if zones
            else "the number has no time zone, so no calling hours are known"
        )
        return SkippedRow(contact.row, INVALID, "timezone", f"{why}; name one in a column timezone")


def describe(row: SkippedRow) -> str:
    """Return a skipped row in words."""
    number = f" ({row.number})" if row.number else ""
    return f"row {row.row}{number}: {_why(row)}"


def _why(row: SkippedRow) -> str:
    # The name of a column comes from the file, and may be anything.
    return f"{mask_numbers_in(storable_text(row.field))} {row.message}".strip()


def _to_call(contact: Contact) -> ContactEntry:
    return ContactEntry(0, contact.row, contact.key, contact.call.to_request(), contact.timezone)


def _skipped(row: SkippedRow) -> ContactEntry:
    return ContactEntry(0, row.row, None, None, None, row.reason, _why(row))
