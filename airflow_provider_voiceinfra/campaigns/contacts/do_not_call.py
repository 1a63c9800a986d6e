"""Numbers that must not be called, from a collection or a file; one that is unreadable refuses all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from airflow_provider_voiceinfra.campaigns.contacts.columns import like_a_number, listed
from airflow_provider_voiceinfra.campaigns.contacts.columns import shown as shown_name
from airflow_provider_voiceinfra.campaigns.contacts.phone_numbers import NumberReader
from airflow_provider_voiceinfra.campaigns.contacts.rows import open_rows
from airflow_provider_voiceinfra.campaigns.contacts.text_files import Lines, is_location, shown, suffixes
from airflow_provider_voiceinfra.exceptions import ContactsError, InvalidCallError

# The columns that may hold the number, the first that there is; a file of one column may call it anything.
COLUMNS = ("to_number", "number", "phone_number", "phone")


def read_do_not_call(source: object, numbers: NumberReader) -> set[int]:
    """Return the numbers of a collection, or of a CSV, JSONL or text file, optionally gzipped.

    Each is the digits of its E.164 form as a whole number, which is exact and small.

    A CSV or JSONL file has them in the column ``to_number``, ``number``, ``phone_number`` or ``phone``, or in
    its only one; any other file has one on each line.

    :param source: the collection, or a path or URL; ``None`` if everybody may be called.
    :param numbers: what reads them, so that they are compared as the contacts' are.
    :raises ContactsError: if the file or one of the numbers cannot be read: somebody would be called who
        must not be.
    """
    found = set()
    for where, written in _written(source) if source is not None else ():
        try:
            found.add(int(numbers.normalise(written, "number")[1:]))
        except InvalidCallError as exc:
            raise ContactsError(
                f"do_not_call: {where}: {exc.rule}. Fix it or remove it: a number that cannot be read "
                "cannot be kept from being called."
            ) from exc
    return found


def _written(source: object) -> Iterator[tuple[str, object]]:
    if is_location(source):
        if suffixes(source)[0] in (".csv", ".jsonl"):
            yield from _table(source)
            return
        lines = Lines(source, "do_not_call")
        for line in lines:
            if line.strip() and not line.startswith("#"):
                yield f"{shown(source)}, row {lines.number}", line.strip()
        return
    if isinstance(source, (bytes, Mapping)) or not isinstance(source, Iterable):
        raise ContactsError(
            f"do_not_call: must be a list of numbers, or the path or URL of a file, "
            f"not {type(source).__name__}"
        )
    for position, written in enumerate(source, 1):
        yield f"entry {position}", written


def _table(source: object) -> Iterator[tuple[str, object]]:
    rows = open_rows(source, "do_not_call")
    if rows.columns is not None:
        name = _column(rows.columns, shown(source))
        if sum(character.isdigit() for character in name) >= 7:
            yield f"{shown(source)}, row 1", name  # a file without a header
    for number, row in rows.numbered:
        where = f"{shown(source)}, row {number}"
        if isinstance(row, InvalidCallError):
            raise ContactsError(f"do_not_call: {where}: {row.field} {row.rule}")
        written = row[_column(tuple(row), where)]
        if written not in (None, ""):
            yield where, written


def _column(columns: tuple[str, ...], where: str) -> str:
    name = next((name for name in COLUMNS if name in columns), None)
    if name is not None:
        return name
    if len(columns) == 1:
        return columns[0]
    meant = like_a_number(columns)
    raise ContactsError(
        f"do_not_call: {where}: no column is named {' or '.join(COLUMNS)}; "
        f"rename {shown_name(meant) if meant else 'one'}; there are {listed(columns)}"
    )
