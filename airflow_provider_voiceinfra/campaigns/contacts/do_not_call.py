"""Numbers that must not be called, from a collection or a file; one that is unreadable refuses all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

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
    for where, number in numbers_of(source, numbers) if source is not None else ():
        if isinstance(number, InvalidCallError):
            raise ContactsError(
                f"do_not_call: {where}: {number.rule}. Fix it or remove it: a number that cannot be read "
                "cannot be kept from being called."
            ) from number
        found.add(number)
    return found


class SortedOut(NamedTuple):
    """The numbers of a source, and what is wrong with those that cannot be read.

    :param numbers: in E.164 form, each as a whole number of its digits.
    :param faulty: how many cannot be read.
    :param faults: where the first of these stand, and what is wrong with each.
    """

    numbers: set[int]
    faulty: int
    faults: list[str]


def sort_out(source: object, numbers: NumberReader, field: str, *, most_named: int = 20) -> SortedOut:
    """Read a source as ``read_do_not_call`` does, to its end, whatever cannot be read.

    :param field: the parameter that holds the source, as errors call it.
    :param most_named: how many faults are named.
    :raises ContactsError: if the source itself cannot be read.
    """
    found: set[int] = set()
    faulty = 0
    faults: list[str] = []
    for where, number in numbers_of(source, numbers, field):
        if isinstance(number, int):
            found.add(number)
            continue
        faulty += 1
        if len(faults) < most_named:
            faults.append(f"{where}: {number.rule}")
    return SortedOut(found, faulty, faults)


def numbers_of(
    source: object, numbers: NumberReader, field: str = "do_not_call"
) -> Iterator[tuple[str, int | InvalidCallError]]:
    """Yield the numbers of a source as ``read_do_not_call`` takes it, each with where it stands.

    :param field: the parameter that holds the source, as errors call it.
    :return: the number, or why it cannot be read.
    :raises ContactsError: if the source itself cannot be read.
    """
    for where, written in _written(source, field):
        try:
            yield where, int(numbers.normalise(written, "number")[1:])
        except InvalidCallError as exc:
            yield where, exc


def _written(source: object, field: str) -> Iterator[tuple[str, object]]:
    if is_location(source):
        if suffixes(source)[0] in (".csv", ".jsonl"):
            yield from _table(source, field)
            return
        lines = Lines(source, field)
        for line in lines:
            if line.strip() and not line.startswith("#"):
                yield f"{shown(source)}, row {lines.number}", line.strip()
        return
    if isinstance(source, (bytes, Mapping)) or not isinstance(source, Iterable):
        raise ContactsError(
            f"{field}: must be a list of numbers, or the path or URL of a file, not {type(source).__name__}"
        )
    for position, written in enumerate(source, 1):
        yield f"entry {position}", written


def _table(source: object, field: str) -> Iterator[tuple[str, object]]:
    rows = open_rows(source, field)
    if rows.columns is not None:
        name = _column(rows.columns, f"{field}: {shown(source)}")
        if sum(character.isdigit() for character in name) >= 7:
            yield f"{shown(source)}, row 1", name  # a file without a header
    for number, row in rows.numbered:
        where = f"{shown(source)}, row {number}"
        if isinstance(row, InvalidCallError):
            raise ContactsError(f"{field}: {where}: {row.field} {row.rule}")
        written = row[_column(tuple(row), f"{field}: {where}")]
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
        f"{where}: no column is named {' or '.join(COLUMNS)}; "
        f"rename {shown_name(meant) if meant else 'one'}; there are {listed(columns)}"
    )
