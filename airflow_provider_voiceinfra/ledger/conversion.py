"""The part of the ledger that encrypts what is there, and rotates its keys, while other processes use it.

Rows are rewritten some at a time. What a row needs is seen by the row itself, so whoever is stopped in the
midst goes on where it was, and nobody has to know how far it came.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Row,
    String,
    Table,
    Update,
    and_,
    bindparam,
    func,
    literal,
    or_,
    select,
    tuple_,
    type_coerce,
    update,
)

from airflow_provider_voiceinfra.exceptions import LedgerKeyError
from airflow_provider_voiceinfra.ledger.database import keys
from airflow_provider_voiceinfra.ledger.database.keyring import HEAD, MARK, PLAIN, head_of
from airflow_provider_voiceinfra.ledger.database.personal import NumberHash, PersonalBytes, PersonalText
from airflow_provider_voiceinfra.ledger.database.schema import database_time, metadata
from airflow_provider_voiceinfra.ledger.part import LedgerPart
from airflow_provider_voiceinfra.ledger.retention.batches import compact

AT_ONCE = 500
"""Rows of one transaction."""
GRACE = timedelta(minutes=10)
"""For so long after another key counts, some process may still write in the form of before. Each of them
reads the keys anew within a minute, and a transaction that waits for its process is ended within seconds."""

_TABLES = [
    table
    for table in metadata.sorted_tables
    if any(isinstance(column.type, PersonalText | PersonalBytes) for column in table.c)
]


@dataclass(frozen=True)
class EncryptionState:
    """How far the encryption of a ledger is.

    :param is_encrypted: whether its keys are wrapped, so that it takes the Fernet key to open it.
    :param is_whole: whether everything was found to be in the form in which new values are stored.
    :param ends_at: if it was not: from when on ``rewrite`` can bring that to an end, aware UTC; ``None`` if
        it can at once.
    """

    is_encrypted: bool
    is_whole: bool
    ends_at: datetime | None


class EncryptionLedger(LedgerPart):
    """``ledger.encryption``: encrypts what is there, or decrypts it, and rotates keys."""

    @property
    def is_on(self) -> bool:
        """Whether this process encrypts new values."""
        return self._database.encryption.is_on

    def state(self) -> EncryptionState:
        """Return how far the encryption is."""
        with self._database.reading() as connection:
            rows, present = keys.read_keys(connection), _now(connection)
        current = rows.get(keys.CURRENT)
        is_encrypted = keys.is_wrapped(rows)
        if current is None:
            return EncryptionState(is_encrypted, is_whole=not self._database.encryption.is_on, ends_at=None)
        converted = rows.get(keys.CONVERTED)
        is_whole = (
            converted is not None
            and converted.value == current.value
            and keys.data_key_ids(rows) == {current.value}
        )
        ends_at = current.created_at + GRACE
        return EncryptionState(is_encrypted, is_whole, None if is_whole or ends_at <= present else ends_at)

    def rotate(self, *, data_key: bool = False) -> None:
        """Wrap the ledger's keys by the first of Airflow's Fernet keys.

        :param data_key: whether there is to be another data key as well, for ``rewrite``; while rows are
            still to be rewritten under the newest one, that goes on to be it.
        :raises LedgerKeyError: if there is no Fernet key, or it is none of those that wrap them now.
        """
        encryption = self._database.encryption
        if not encryption.is_on:
            raise LedgerKeyError(
                "There is no key to rotate: this ledger is not to be encrypted. Set [core] fernet_key, and "
                "leave [voiceinfra] encrypt_ledger on."
            )
        with self._database.writing() as connection:
            rows = keys.lock_keys(connection)
            keys.wrap(connection, encryption, rows)
            if data_key and len(keys.data_key_ids(rows)) == 1:
                keys.add_data_key(connection, encryption)
        self._database.reload_keys()

    def rewrite(self, *, pause: Callable[[float], object] = time.sleep) -> Iterator[int]:
        """Bring every row into the form in which new values are stored; yield how many, some at a time.

        That is encrypted under the newest data key, or plain if the ledger is not to be encrypted, and with
        the hashes of its numbers. Data keys that nothing is stored under any more are deleted at the end, if
        ``GRACE`` is over by then; otherwise, ``state`` says from when on this can be called again for that.

        :param pause: lets as many seconds pass as others are to have the database for.
        """
        self._begin()
        while True:
            with self._database.reading() as connection:
                begun, target = _now(connection), self._database.keyring.current
            found = 0
            for table in _TABLES:
                for number in self._rewrite(table, pause):
                    found += number
                    yield number
            if not found:
                break
        self._end(target, begun)

    def rows_left(self) -> int:
        """Return how many rows ``rewrite`` would change; it reads the whole ledger."""
        with self._database.reading() as connection:
            target = self._database.keyring.current
            counts = [
                connection.execute(select(func.count()).select_from(table).where(_needs(table, target)))
                for table in _TABLES
            ]
            return sum(int(count.scalar_one()) for count in counts)

    def compact(self) -> None:
        """Write a SQLite file anew, without what its unused parts hold; nobody else writes meanwhile."""
        compact(self._database)

    def _begin(self) -> None:
        """See that all processes go over to what is wanted."""
        encryption = self._database.encryption
        with self._database.writing() as connection:
            rows = keys.lock_keys(connection)
            current = rows.get(keys.CURRENT)
            if encryption.is_on and (current is None or not current.value):
                keys.add_data_key(connection, encryption)
            elif not encryption.is_on and current is not None and current.value:
                keys.note(connection, keys.CURRENT, "")
        self._database.reload_keys()

    def _rewrite(self, table: Table, pause: Callable[[float], object]) -> Iterator[int]:
        """Rewrite the rows of a table that need it; yield how many did, some at a time."""
        key = tuple_(*table.primary_key.columns)
        columns = list(table.primary_key.columns)
        after: list[ColumnElement[bool]] = []
        while True:
            # Somebody else may rotate the data key meanwhile.
            needs = _needs(table, self._database.keyring.current)
            window = select(*columns, needs.label("needs")).where(*after).order_by(*columns)
            rows = self._database.rows(window.limit(AT_ONCE))
            number = sum(bool(row.needs) for row in rows)
            if number:
                first, last = (_place(columns, row) for row in (rows[0], rows[-1]))
                begun = time.perf_counter()
                with self._database.writing(unhurried=True) as connection:
                    _rewrite_rows(connection, table, and_(key >= first, key <= last, needs))
                # SQLite gives the lock to whoever asks at the right moment, which is us if nobody pauses.
                pause(time.perf_counter() - begun)
                yield number
            if len(rows) < AT_ONCE:
                return
            after = [key > _place(columns, rows[-1])]

    def _end(self, target: str | None, begun: datetime) -> None:
        """Store that nothing is left, if a search that began at this moment can be relied on."""
        encryption = self._database.encryption
        with self._database.writing() as connection:
            rows = keys.lock_keys(connection)
            current = rows.get(keys.CURRENT)
            if current is None or (current.value or None) != target or current.created_at + GRACE > begun:
                return
            keys.delete_data_keys(connection, rows, but=target)
            keys.note(connection, keys.CONVERTED, target)
            if target is None:
                keys.unwrap_index(connection, encryption, rows)
                keys.note(connection, keys.CURRENT, None)
        self._database.reload_keys()


def _now(connection: Connection) -> datetime:
    moment: datetime = connection.execute(select(database_time())).scalar_one()
    return moment


def _place(columns: list[Any], row: Row[Any]) -> Any:
    return tuple_(*(literal(row._mapping[column.name], column.type) for column in columns))


def _personal(table: Table) -> list[Any]:
    return [column for column in table.c if isinstance(column.type, PersonalText | PersonalBytes)]


def _hashes(table: Table) -> dict[Any, Any]:
    """Return the columns of hashes of a table, and of which columns they are."""
    found = [column for column in table.c if isinstance(column.type, NumberHash)]
    return {column: table.c[column.name.removesuffix("_hash")] for column in found}


def _needs(table: Table, target: str | None) -> ColumnElement[bool]:
    """Return the condition for rows that are not in the form in which new ones are stored."""
    lacks_hash = [and_(column.is_(None), number.is_not(None)) for column, number in _hashes(table).items()]
    return or_(*(_is_other(column, target) for column in _personal(table)), *lacks_hash)


def _is_other(column: Any, target: str | None) -> ColumnElement[bool]:
    kind = LargeBinary() if isinstance(column.type, PersonalBytes) else String()

    def head(text: str) -> Any:
        return literal(text.encode() if isinstance(kind, LargeBinary) else text, kind)

    stored = type_coerce(column, kind)
    begin = type_coerce(func.substr(stored, 1, HEAD), kind)
    if target is not None:
        return and_(column.is_not(None), begin != head(head_of(target)))
    mark = type_coerce(func.substr(stored, 1, len(MARK)), kind)
    return and_(column.is_not(None), mark == head(MARK), begin != head(head_of(PLAIN)))


def _rewrite_rows(connection: Connection, table: Table, condition: ColumnElement[bool]) -> None:
    """Store rows anew; their columns' own types decrypt and encrypt them."""
    key, personal = list(table.primary_key.columns), _personal(table)
    # What another transaction changes meanwhile is left to the next search: nobody waits for two.
    query = select(*key, *personal).where(condition).with_for_update(skip_locked=True)
    found = connection.execute(query).all()
    changes = [
        {
            **{f"its_{column.name}": row._mapping[column.name] for column in key},
            **{f"new_{column.name}": row._mapping[column.name] for column in personal},
            **{f"new_{digest.name}": row._mapping[of.name] for digest, of in _hashes(table).items()},
        }
        for row in found
    ]
    if changes:
        connection.execute(_rewriting(table, key, personal), changes)


def _rewriting(table: Table, key: list[Any], personal: list[Any]) -> Update:
    # The hash of a number outlives it.
    hashes = {
        digest.name: func.coalesce(bindparam(f"new_{digest.name}", type_=NumberHash()), digest)
        for digest in _hashes(table)
    }
    values = {column.name: bindparam(f"new_{column.name}", type_=column.type) for column in personal}
    same = [column == bindparam(f"its_{column.name}", type_=column.type) for column in key]
    return update(table).where(*same).values(**values, **hashes)
