"""Lists and files of contacts -> numbered rows, streamed; knows the format, never what the columns mean."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from bisect import bisect_left
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_voiceinfra.campaigns.contacts.text_files import (
    AS_UTF8,
    Lines,
    UndecodableLineError,
    is_location,
    shown,
    suffixes,
)
from airflow_provider_voiceinfra.exceptions import ContactsError, InvalidCallError
from airflow_provider_voiceinfra.masking import mask_numbers_in

MAX_CELL_BYTES = 100_000
MAX_ROW_CHARACTERS = 1_000_000
_WORKBOOKS = frozenset({".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers"})
_DELIMITERS = ",;\t|"
_SEPARATOR_HINT = re.compile(r'"?sep=(.)"?\s*')  # the first line of some spreadsheets' files


# A row that cannot be read, though the rows after it can, is an error that names its column.
Row = Mapping[str, Any] | InvalidCallError
NumberedRows = Generator[tuple[int, Row], None, None]


@dataclass
class Rows:
    """Numbered rows, readable once.

    :param name: what errors call the source; holds no credentials.
    :param place: what errors begin with: the parameter that holds the source, and its name.
    :param columns: every column there is; ``None`` if that is known only once all rows are read.
    :param numbered: the rows with their numbers; to be closed if they are not read to the end.
    :param has_header: whether the columns are named even where there are no rows.
    """

    name: str
    columns: tuple[str, ...] | None
    numbered: NumberedRows
    place: str = "contacts"
    has_header: bool = False


def open_rows(contacts: object, field: str = "contacts") -> Rows:
    """Return the rows of a list of mappings, or of a CSV or JSONL file, optionally gzipped.

    Rows are numbered as an editor shows them: by the line at which they start, for a list from 1.

    :param contacts: an iterable of mappings, or a path or URL that ``ObjectStoragePath`` can read.
    :param field: the parameter that holds it, as errors call it.
    :raises ContactsError: if nothing can be read; while iterating, too, if the rest cannot be read.
    """
    if not is_location(contacts):
        return _rows_of_list(contacts)
    kind, _ = suffixes(contacts)
    name = shown(contacts)
    lines = Lines(contacts, field)
    if kind == ".csv":
        records = _Records(lines)
        columns = _columns(records)
        return Rows(name, columns, _csv_rows(records, columns), lines.name, has_header=True)
    if kind == ".jsonl":
        return Rows(name, None, _json_rows(lines), lines.name)
    if kind in _WORKBOOKS:
        raise ContactsError(f"{lines.name} is a spreadsheet's own file; {AS_UTF8} and name that file")
    raise ContactsError(f"{lines.name}: the name must end in .csv or .jsonl, or either with .gz")


def _rows_of_list(contacts: object) -> Rows:
    if isinstance(contacts, (bytes, Mapping)) or not isinstance(contacts, Iterable):
        raise ContactsError(
            "contacts: must be a list of mappings, or the path or URL of a .csv or .jsonl file, "
            f"not {type(contacts).__name__}"
        )
    columns = None
    if isinstance(contacts, Sequence):
        seen = {name: None for row in contacts if isinstance(row, Mapping) for name in row}
        columns = tuple(name for name in seen if isinstance(name, str))
    return Rows("contacts", columns, ((number, _mapping(row)) for number, row in enumerate(contacts, 1)))


def _mapping(row: object) -> Row:
    if not isinstance(row, Mapping):
        return InvalidCallError("", f"must be a mapping from column to value, not {type(row).__name__}")
    if not all(isinstance(name, str) for name in row):
        return InvalidCallError("", "the names of its columns must be text")
    return row


def _columns(records: _Records) -> tuple[str, ...]:
    """Read the header; names without a cell under them at its end are left out."""
    names = [name.strip() for name in records.next() or []]
    while names and not names[-1]:
        names.pop()
    for number, name in enumerate(names, 1):
        if not name:
            raise records.error(f"column {number} has no name in the header; name it or remove it")
        if names.index(name) != number - 1:
            raise records.error(
                f"columns {names.index(name) + 1} and {number} are both named {mask_numbers_in(name)!r}; "
                "rename one of them"
            )
    return tuple(names)


def _csv_rows(records: _Records, columns: tuple[str, ...]) -> NumberedRows:
    while (record := records.next()) is not None:
        cells = [cell.strip() for cell in record]
        if any(cells):
            yield records.start, _csv_row(cells, columns)


def _csv_row(cells: list[str], columns: tuple[str, ...]) -> Row:
    if len(cells) < len(columns):
        return InvalidCallError(
            columns[len(cells)], f"is missing: the row has {len(cells)} cells, the header {len(columns)}"
        )
    if any(cells[len(columns) :]):
        return InvalidCallError(
            f"column {len(columns) + 1}",
            f"has no header: the row has {len(cells)} cells, the header {len(columns)}; a cell that holds "
            "the delimiter must be in quotes",
        )
    return dict(zip(columns, cells, strict=False))


class _Records:
    """The records of a CSV file, each with the line at which it starts.

    :raises ContactsError: from the constructor on, if the file cannot be read as CSV.
    """

    def __init__(self, lines: Lines) -> None:
        self.start = 1
        self._lines = lines
        self._text: list[str] = []  # the lines of the record at hand, to say what is wrong with it
        self._size = 0
        self._delimiter: str | None = None
        source = self._recorded()
        first = next((line for line in source if line.strip()), None)
        hint = _SEPARATOR_HINT.fullmatch(first or "")
        if hint is not None:
            self._text.clear()
            first = next(source, None)
        if first is None:
            raise ContactsError(f"{lines.name}: there is no header; its first line must name the columns")
        self._before = lines.number - 1
        self._delimiter = hint[1] if hint else _delimiter(first)
        self._reader = csv.reader(itertools.chain([first], source), delimiter=self._delimiter, strict=True)

    def next(self) -> list[str] | None:
        """Return the cells of the next record; ``None`` after the last."""
        self.start = self._before + self._reader.line_num + 1
        try:
            cells = next(self._reader, None)
        except csv.Error as exc:
            raise self._broken(exc) from exc
        if self._size > MAX_CELL_BYTES // 4:  # a character has four bytes at most
            for number, cell in enumerate(cells or [], 1):
                if len(cell.encode()) > MAX_CELL_BYTES:
                    raise self._too_big(number)
        self._text.clear()
        self._size = 0
        return cells

    def error(self, problem: str) -> ContactsError:
        """Return an error that names the file and the row at hand."""
        return self._lines.error(problem, self.start)

    def _recorded(self) -> Iterator[str]:
        try:
            for line in self._lines:
                self._text.append(line)
                self._size += len(line)
                if self._size > MAX_ROW_CHARACTERS:
                    raise csv.Error(f"the row is longer than {MAX_ROW_CHARACTERS:,} characters")
                yield line
        except UndecodableLineError as exc:
            record = "".join(self._text) + exc.before
            column = len(_cells(record, self._delimiter or _delimiter(record)))
            raise self._lines.error(f"column {max(column, 1)}: {exc.problem}", self._lines.number) from exc

    def _too_big(self, column: int) -> ContactsError:
        return self.error(
            f"column {column}: more than {MAX_CELL_BYTES:,} bytes in one cell; shorten it, or see whether "
            "its closing quote is missing"
        )

    def _broken(self, reason: csv.Error) -> ContactsError:
        text = "".join(self._text)
        delimiter = self._delimiter or ","
        cells = _cells(text, delimiter)
        for number, cell in enumerate(cells, 1):
            if len(cell) > MAX_CELL_BYTES:
                return self._too_big(number)
        if _is_open(text, delimiter):
            return self.error(
                f"column {len(cells)}: its quote is never closed; a quote in a cell is written twice"
            )
        if re.search(r"\r(?!\n)", text):
            return self.error(f"its lines end as on old Macs; {AS_UTF8}")
        return self.error(f"not CSV: {reason}; put the cell in quotes, and write a quote in it twice")


def _cells(text: str, delimiter: str) -> list[str]:
    """Return the cells of a record as far as it can be read, the last one perhaps not to its end."""

    def cells(size: int) -> list[str] | None:
        try:
            return next(csv.reader(_lines(text[:size]), delimiter=delimiter), [])
        except csv.Error:
            return None

    readable = bisect_left(range(len(text)), True, key=lambda size: cells(size + 1) is None)
    return cells(readable) or []


def _is_open(text: str, delimiter: str) -> bool:
    """Return whether a record ends within quotes: what follows belongs to it then."""
    try:
        return len(list(csv.reader([*_lines(text), "x"], delimiter=delimiter))) == 1
    except csv.Error:
        return False


def _lines(text: str) -> Iterator[str]:
    return io.StringIO(text, newline="\n")


def _delimiter(header: str) -> str:
    """Return the delimiter that sets off ``to_number``, or else the most frequent one outside of quotes."""
    bare = re.sub(r'"[^"]*"?', "", header)
    telling = [
        mark for mark in _DELIMITERS if "to_number" in (name.strip(' "\r\n') for name in header.split(mark))
    ]
    return max(telling or _DELIMITERS, key=bare.count)


def _json_rows(lines: Lines) -> NumberedRows:
    for line in lines:
        if line.strip():
            yield lines.number, _json_row(line)


def _json_row(line: str) -> Row:
    try:
        row = json.loads(line, parse_constant=_refuse_constant)
    except RecursionError:
        return InvalidCallError("", "the JSON is nested too deep")
    except json.JSONDecodeError as exc:
        return InvalidCallError(
            "", f"not JSON: {exc.msg} at character {exc.pos + 1}; write one object per line"
        )
    except ValueError as exc:
        return InvalidCallError("", f"not JSON: {exc}")
    if not isinstance(row, dict):
        return InvalidCallError(
            "", f"must be a JSON object, not {type(row).__name__}; write one object per line"
        )
    return row


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value; write null")
