"""Rows -> checked contacts, streamed, each with its call or why there is none; never calls anybody."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.campaigns.calling_window.zones import zone_named
from airflow_provider_voiceinfra.campaigns.contacts.cells import (
    agent,
    check_text,
    filled,
    key_of,
    mark_of,
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
from airflow_provider_voiceinfra.campaigns.contacts.rows import BadRow, Rows, open_rows
from airflow_provider_voiceinfra.campaigns.contacts.templates import Template
from airflow_provider_voiceinfra.exceptions import ContactsError, InvalidCallError
from airflow_provider_voiceinfra.ledger.campaigns.records import SkipReason
from airflow_provider_voiceinfra.masking import mask_number

__all__ = ["Contact", "ContactReader", "SkippedRow", "open_rows"]

INVALID = SkipReason.INVALID.value
DUPLICATE = SkipReason.DUPLICATE.value
DO_NOT_CALL = SkipReason.DO_NOT_CALL.value
# So many names of columns are remembered as checked, of contacts that do not name them beforehand.
_MOST_NAMES = 10_000
# The arguments of a reader that are checked like the cells of a contact.
_OWN_NAMES = ("agent_id", "from_number", "timezone", "variables")


@dataclass(frozen=True)
class Contact:
    """Somebody to call.

    :param row: the row's number, as an editor shows it.
    :param key: what identifies this contact in the campaign; a number is in E.164 form.
    :param call: the call to place, with its texts filled in; agent and caller ID may still be unset.
    :param timezone: the contact's own time zone, an IANA name; ``None`` if the row has none.
    """

    row: int
    key: str = field(repr=False)
    call: OutboundCall
    timezone: str | None = None


@dataclass(frozen=True)
class SkippedRow:
    """A row that makes no call.

    :param row: the row's number, as an editor shows it.
    :param reason: ``invalid``, ``duplicate`` or ``do_not_call``.
    :param field: the column that is the reason; empty if it is the row as a whole.
    :param message: what is wrong and how to fix it, without anything personal.
    :param number: the phone number, masked; ``None`` if there is none.
    """

    row: int
    reason: str
    field: str
    message: str
    number: str | None = None


class ContactReader:
    """Reads contacts with what holds for all of them; a row's own columns go before.

    :param agent_id: the agent of rows that name none; if not set, the connection's.
    :param from_number: the caller ID of rows that name none; if not set, the connection's.
    :param first_message: the opening line of rows that have none; may hold ``{column}`` placeholders.
    :param context: the same for the text that is added to the agent's prompt.
    :param variables: values for the agent's prompt template; a row's columns are merged over them.
    :param default_region: the country of numbers without a country code, such as ``US``; if not set, such
        numbers are invalid.
    :param contact_key: the column that identifies a contact.
    :param columns: columns that the contacts call otherwise, such as ``{"to_number": "Phone Number"}``; the
        new names are those of variables and placeholders, too.
    :param do_not_call: numbers that must not be called, or the path or URL of a file of them.
    :raises ContactsError: if one of these is wrong, or a number of ``do_not_call`` cannot be read.
    """

    def __init__(
        self,
        *,
        agent_id: str | None = None,
        from_number: str | None = None,
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
            self._from_number = self._number("from_number", from_number)
            self._variables = variables_of(variables, frozenset())
        except InvalidCallError as exc:
            # One of the variables is called by its own name.
            within = "" if exc.field in _OWN_NAMES else "variables: "
            raise ContactsError(f"{within}{exc}") from exc
        self._do_not_call = read_do_not_call(do_not_call, self._numbers)

    def read(self, contacts: object) -> Iterator[Contact | SkippedRow]:
        """Yield every row, either as a contact or as skipped, in their order; empty rows are left out.

        :param contacts: an iterable of mappings, or the path or URL of a ``.csv`` or ``.jsonl`` file,
            optionally with ``.gz``.
        :raises ContactsError: if the contacts as a whole are refused: nothing may be called then.
        """
        rows = open_rows(contacts)
        try:
            yield from self._read(rows)
        finally:
            rows.close()

    def _read(self, rows: Rows) -> Iterator[Contact | SkippedRow]:
        if rows.columns is not None and (rows.columns or rows.has_header):
            self._check_columns(rows, rows.columns)
        columns: dict[str, None] = {}
        missing = self._renaming.theirs(self._needed())
        checked: set[str] = set()
        seen: set[int] = set()
        for number, row in rows:
            if isinstance(row, BadRow):
                yield SkippedRow(number, INVALID, row.field, row.message)
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

    def _checked(self, number: int, row: Mapping[str, Any], seen: set[int]) -> Contact | SkippedRow:
        shown = None
        try:
            row = self._renaming.row(row)
            written = filled(row.get("to_number"))
            if written is None:
                raise InvalidCallError("to_number", "is empty")
            to_number = self._numbers.normalise(written)
            shown = mask_number(to_number)
            if to_number in self._do_not_call:
                return SkippedRow(number, DO_NOT_CALL, "to_number", "is on the do-not-call list", shown)
            key = to_number if self._key == "to_number" else key_of(self._key, row.get(self._key))
            mark = int(key[1:]) if self._key == "to_number" else mark_of(key)
            if mark in seen:
                return SkippedRow(number, DUPLICATE, self._key, "is that of an earlier row", shown)
            contact = Contact(number, key, self._call(to_number, row), _zone(row.get("timezone")))
        except InvalidCallError as exc:
            return SkippedRow(number, INVALID, exc.field, exc.rule, shown)
        seen.add(mark)
        return contact

    def _call(self, to_number: str, row: Mapping[str, Any]) -> OutboundCall:
        return OutboundCall(
            to_number=to_number,
            agent_id=agent(row.get("agent_id")) or self._agent_id,
            from_number=self._number("from_number", row.get("from_number")) or self._from_number,
            first_message=self._text("first_message", row),
            context=self._text("context", row),
            variables={**self._variables, **variables_of(row, FIELDS)} or None,
        )

    def _number(self, name: str, value: object) -> str | None:
        written = filled(value)
        return None if written is None else self._numbers.normalise(written, name)

    def _text(self, name: str, row: Mapping[str, Any]) -> str | None:
        value = filled(row.get(name))
        if value is None:
            template = self._templates.get(name)
            text = None if template is None else template.fill(row)
        elif isinstance(value, str):
            text = value
        else:
            raise InvalidCallError(name, f"must be text, not {type(value).__name__}")
        if text is not None:
            check_text(name, text)
        return text


def _zone(value: object) -> str | None:
    name = filled(value)
    if name is None:
        return None
    if not isinstance(name, str):
        raise InvalidCallError("timezone", f"must be text, not {type(name).__name__}")
    zone_named(name)
    return name
