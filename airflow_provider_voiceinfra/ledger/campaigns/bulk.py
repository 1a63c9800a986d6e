"""Adds many rows at once: PostgreSQL takes them by COPY in a fraction of the time that statements need.

In its binary form: of a text that cannot be stored, PostgreSQL would write the whole line into its log.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from struct import Struct
from typing import Any

from sqlalchemy import Column, Connection, Table, TypeDecorator, exc

_BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COUNT, _LENGTH, _INTEGER = Struct(">h"), Struct(">i"), Struct(">ii")
_NULL, _END = _LENGTH.pack(-1), _COUNT.pack(-1)


def add_rows(connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add one row or more, of which none is there; each has a value for every column.

    :param table: one whose columns hold text, bytes and integers of four bytes.
    """
    columns = table.c.keys()
    values: Iterator[tuple[Any, ...]] = (tuple([row[name] for name in columns]) for row in rows)
    doors = [(place, door) for place, column in enumerate(table.c) if (door := _door(connection, column))]
    if doors:
        values = (_passed(row, doors) for row in values)
    names = ", ".join(columns)
    if connection.dialect.name == "postgresql":
        _copy(connection, f"COPY {table.name} ({names}) FROM STDIN (FORMAT BINARY)", values)
    else:
        places = ", ".join("?" * len(columns))
        connection.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES ({places})", list(values))


def _door(connection: Connection, column: Column[Any]) -> Callable[[Any], Any] | None:
    """Return what a column's own type makes of a value; ``None`` if it is stored as it is."""
    kind, unchanged = column.type, TypeDecorator.process_bind_param
    if isinstance(kind, TypeDecorator) and type(kind).process_bind_param is not unchanged:
        return partial(kind.process_bind_param, dialect=connection.dialect)
    return None


def _passed(row: tuple[Any, ...], doors: Iterable[tuple[int, Callable[[Any], Any]]]) -> tuple[Any, ...]:
    values = list(row)
    for place, door in doors:
        values[place] = door(values[place])
    return tuple(values)


def _copy(connection: Connection, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
    driver: Any = connection.connection.driver_connection
    errors: Any = connection.dialect.loaded_dbapi.Error
    try:
        if connection.dialect.driver == "psycopg":
            with driver.cursor() as cursor, cursor.copy(statement) as copy:
                copy.write(_document(rows, driver.info.encoding))
        else:
            from psycopg2.extensions import encodings  # imported late: few have this driver

            with driver.cursor() as cursor:
                cursor.copy_expert(statement, io.BytesIO(_document(rows, encodings[driver.encoding])))
    except errors as error:  # as SQLAlchemy does it for what passes through it
        raise exc.DBAPIError.instance(
            statement, None, error, errors, hide_parameters=True, dialect=connection.dialect
        ) from error


def _document(rows: Iterable[tuple[Any, ...]], encoding: str) -> bytes:
    parts = [_BEGIN]
    for row in rows:
        parts.append(_COUNT.pack(len(row)))
        for value in row:
            if value is None:
                parts.append(_NULL)
            elif isinstance(value, int):
                parts.append(_INTEGER.pack(4, value))
            else:
                stored = value.encode(encoding) if isinstance(value, str) else value
                parts += (_LENGTH.pack(len(stored)), stored)
    parts.append(_END)
    return b"".join(parts)
