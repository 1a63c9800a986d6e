"""Rows -> checked contacts, streamed, each with its call or why there is none; never calls anybody."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from airflow_provider_voiceinfra.calls import OutboundCall, storable_text
from airflow_provider_voiceinfra.campaigns.contacts.caller_ids import CallerIds
from airflow_provider_voiceinfra.campaigns.contacts.cells import (
    agent,
    check_text,
    filled,
    key_of,
    mark_of,
    own_text,
    recipient_in,
    variables_of,
)
from airflow_provider_voiceinfra.campaigns.contacts.columns import (
    FIELDS,
    Renaming,
    check_header,
    check_names,
    placeholder,
    remedy,
)
from airflow_provider_voiceinfra.campaigns.contacts.do_not_call import read_do_not_call
from airflow_provider_voiceinfra.campaigns.contacts.phone_numbers import NumberReader
from airflow_provider_voiceinfra.campaigns.contacts.rows import Rows, open_rows
from airflow_provider_voiceinfra.campaigns.contacts.templates import Template
from airflow_provider_voiceinfra.exceptions import ContactsError, InvalidCallError
from airflow_provider_voiceinfra.ledger.campaigns.records import ContactEntry, SkipReason
from airflow_provider_voiceinfra.masking import mask_number, mask_numbers_in

# So many names of columns are remembered as checked, of contacts that do not name them beforehand.
_MOST_NAMES = 10_000


@dataclass(frozen=True)
class SkippedRow(ContactEntry):
    """A row that makes no call; as text, what there is to say of it, without anything personal.

    :param number: the phone number, masked; ``None`` if there is none.
    """

    number: str | None = None

    @classmethod
    def of(
        cls, row_number: int, skipped: SkipReason, column: str, rule: str, number: str | None = None
    ) -> SkippedRow:
        """Return a row that is skipped for what is in a column; for the row as a whole, that has no name."""
        # The name of a column comes from the file, and may be anything.
        reason = f"{mask_numbers_in(storable_text(column))} {rule}".strip()
        return cls(0, row_number, None, None, None, skipped.value, reason, number=number)

    def __str__(self) -> str:
        number = f" ({self.number})" if self.number else ""
        return f"row {self.row_number}{number}: {self.reason}"


class ContactReader:
    """Reads contacts with what holds for all of them; a row's own columns go before.

    The arguments mean what they mean to ``VoiceInfraCampaignOperator``; ``context`` is its ``call_context``.

    :raises ContactsError: if one of these is wrong, or a number of ``do_not_call`` cannot be read.
    """

    def __init__(
        self,
        *,
        agent_id: str | None = None,
        from_number: str | Sequence[str] | None = None,
        first_message: str | None = None,
        context: str | None = None,
        variables: Mapping[str, Any] | None = None,
        default_region: str | None = None,
        contact_key: str = "to_number",
        columns: Mapping[str, str] | None = None,
        do_not_call: Collection[str] | str | None = None,
    ) -> None:
        self._numbers = NumberReader(default_region or None)
        texts = {"first_message": first_message, "context": context}
        self._templates = {name: Template(name, text) for name, text in texts.items() if text}
        self._key = contact_key
        self._renaming = Renaming(columns)
        try:
            self._agent_id = agent(agent_id)
            self._caller_ids = self._read_caller_ids(from_number)
            self._variables = variables_of(variables, frozenset())
        except InvalidCallError as exc:
            # One of the variables is called by its own name.
            within = "" if exc.field in ("agent_id", "from_number", "variables") else "variables: "
            raise ContactsError(f"{within}{exc}") from exc
        self._do_not_call = read_do_not_call(do_not_call, self._numbers)

    def read(self, contacts: object) -> Iterator[ContactEntry]:
        """Yield a contact for every row, or a ``SkippedRow``, in their order; empty rows are left out.

        Their positions are for the ledger to give; the agent and the caller ID may still be unset.

        :param contacts: see ``open_rows``.
        :raises ContactsError: if the contacts as a whole are refused: nothing may be called then.
        """
        rows = open_rows(contacts)
        with closing(rows.numbered):
            yield from self._read(rows)

    def _read(self, rows: Rows) -> Iterator[ContactEntry]:
        if rows.columns is not None and (rows.columns or rows.has_header):
            self._check_columns(rows, rows.columns)
        columns: dict[str, None] = {}
        missing = self._renaming.theirs(self._needed())
        checked: set[str] = set()
        seen: set[int] = set()
        for number, row in rows.numbered:
            if isinstance(row, InvalidCallError):
                yield SkippedRow.of(number, SkipReason.INVALID, row.field, row.rule)
                continue
            if rows.columns is None:
                if not checked.issuperset(row):
                    check_names(self._renaming.ours(row), f"{rows.place}, row {number}")
                    checked = checked.union(row) if len(checked) < _MOST_NAMES else set(row)
                if missing or not columns:
                    columns.update(dict.fromkeys(row))
                    missing.difference_update(row)
            yield self._checked(number, row, seen)
        if missing and columns:
            # No row had them, so that none of them made a contact.
            self._check_columns(rows, tuple(columns))

    def _needed(self) -> list[str]:
        placeholders = (name for template in self._templates.values() for name in template.columns)
        return ["to_number", self._key, *placeholders]

    def _check_columns(self, rows: Rows, theirs: tuple[str, ...]) -> None:
        if rows.has_header:
            check_header(theirs, rows.place)
        columns = self._renaming.names(theirs, rows.name)
        for needed in ("to_number", self._key):
            if needed not in columns:
                raise ContactsError(
                    f"{rows.place}: the column {needed!r} is missing; {remedy(needed, columns)}"
                )
        for text, template in self._templates.items():
            for column in template.columns:
                if column not in columns and column != "to_number":
                    raise ContactsError(
                        f"{text}: the placeholder {{{column}}} is no column of {rows.name}; "
                        f"{placeholder(column, columns)}"
                    )
        check_names(columns, rows.place)

    def _checked(self, number: int, row: Mapping[str, Any], seen: set[int]) -> ContactEntry:
        to_number = None
        try:
            row = self._renaming.row(row)
            written = filled(row.get("to_number"))
            if written is None:
                raise InvalidCallError("to_number", "is empty")
            to_number = self._numbers.normalise(written)
            digits = int(to_number[1:])
            if digits in self._do_not_call:
                rule = "is on the do-not-call list"
                shown = mask_number(to_number)
                return SkippedRow.of(number, SkipReason.DO_NOT_CALL, "to_number", rule, shown)
            by_number = self._key == "to_number"
            key = to_number if by_number else key_of(self._key, row.get(self._key))
            mark = digits if by_number else mark_of(key)
            if mark in seen:
                rule = "is that of an earlier row"
                shown = mask_number(to_number)
                return SkippedRow.of(number, SkipReason.DUPLICATE, self._key, rule, shown)
            request, recipient = self._call(to_number, row).to_request(), recipient_in(row, to_number)
        except InvalidCallError as exc:
            named = mask_number(to_number) if to_number else None
            return SkippedRow.of(number, SkipReason.INVALID, exc.field, exc.rule, named)
        seen.add(mark)
        return ContactEntry(
            0,
            number,
            key,
            request,
            recipient.timezone,
            region=recipient.region,
            consent=recipient.consent,
        )

    def _call(self, to_number: str, row: Mapping[str, Any]) -> OutboundCall:
        return OutboundCall(
            to_number=to_number,
            agent_id=agent(row.get("agent_id")) or self._agent_id,
            from_number=self._number("from_number", row.get("from_number")) or self._caller_ids.of(to_number),
            first_message=self._text("first_message", row),
            context=self._text("context", row),
            variables={**self._variables, **variables_of(row, FIELDS)} or None,
        )

    def _read_caller_ids(self, written: object) -> CallerIds:
        several: list[object] = [written]
        if isinstance(written, Collection) and not isinstance(written, (str, bytes, Mapping)):
            several = list(written)
        if not several:
            raise InvalidCallError("from_number", "is an empty list; name one caller ID at least")
        numbers = [self._number("from_number", one) for one in several]
        if None in numbers and len(numbers) > 1:
            raise InvalidCallError("from_number", "is a list with an empty value in it")
        return CallerIds([number for number in numbers if number is not None])

    def _number(self, name: str, value: object) -> str | None:
        written = filled(value)
        return None if written is None else self._numbers.normalise(written, name)

    def _text(self, name: str, row: Mapping[str, Any]) -> str | None:
        text = own_text(name, row)
        if text is None and name in self._templates:
            text = self._templates[name].fill(row)
        if text is not None:
            check_text(name, text)
        return text
