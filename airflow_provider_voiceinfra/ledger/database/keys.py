"""The keys that a ledger keeps of its own: made, wrapped by Airflow's Fernet key, read, and rotated.

One hashes numbers, and others encrypt what is personal. A row named ``data`` says under which of these new
values are stored, and since when; one named ``converted``, under which of them all values were, once every
row had been looked at.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, Engine, Row, delete, select, update

from airflow_provider_voiceinfra.exceptions import LedgerKeyError
from airflow_provider_voiceinfra.ledger.database import migrate, postgres
from airflow_provider_voiceinfra.ledger.database.keyring import ID_DIGITS, Keyring
from airflow_provider_voiceinfra.ledger.database.pools import Pool
from airflow_provider_voiceinfra.ledger.database.schema import calls, completions, contacts, database_time
from airflow_provider_voiceinfra.ledger.database.schema import keys as stored_keys

INDEX = "index"
CURRENT = "data"
CONVERTED = "converted"
_DATA = "data:"
_WRAPPED = "fernet:"
_KEY_BITS = 256

Rows = Mapping[str, Row[Any]]


class Encryption(NamedTuple):
    """What a deployment wants of its ledger's encryption.

    :param fernet_keys: Airflow's, the one that wraps first.
    :param is_wanted: whether new values are to be encrypted, if there is such a key.
    """

    fernet_keys: tuple[str, ...] = ()
    is_wanted: bool = True

    def __repr__(self) -> str:
        return f"Encryption({len(self.fernet_keys)} keys, is_wanted={self.is_wanted})"

    @property
    def is_on(self) -> bool:
        """Whether new values are encrypted."""
        return self.is_wanted and bool(self.fernet_keys)


NO_ENCRYPTION = Encryption()


def load(engine: Engine, pool: Pool, encryption: Encryption, *, wrapping: bool = True) -> Keyring:
    """Return the keys of a ledger; if they are plain and there is a Fernet key, they are wrapped first.

    :param wrapping: whether they may be.
    :raises LedgerKeyError: if they are wrapped, and not by one of these Fernet keys.
    """
    with engine.connect().execution_options(**{migrate.WRITING: False}) as connection:
        rows = read_keys(connection)
    keyring = _keyring(rows, encryption)  # refuses a wrong key before anything is written
    if not (wrapping and encryption.is_on) or (_is_wrapped(rows[INDEX]) and CURRENT in rows):
        return keyring
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            postgres.limit(connection, pool, writing=True)
        rows = lock_keys(connection)
        _keyring(rows, encryption)  # another process may have wrapped them by its own key meanwhile
        wrap(connection, encryption, rows)
        return _keyring(read_keys(connection), encryption)


def read_keys(connection: Connection) -> Rows:
    """Return the rows of the table of keys by their names."""
    return {row.name: row for row in connection.execute(select(stored_keys))}


def lock_keys(connection: Connection) -> Rows:
    """Return these rows, and have whoever else changes them wait for the end of the transaction."""
    connection.execute(select(stored_keys).where(stored_keys.c.name == INDEX).with_for_update()).one()
    return read_keys(connection)


def wrap(connection: Connection, encryption: Encryption, rows: Rows) -> None:
    """Wrap every key by the first of the Fernet keys, and make a data key if there is none."""
    fernet = _fernet(encryption)
    for name, row in rows.items():
        if name == INDEX or name.startswith(_DATA):
            _set_value(connection, name, _wrapped(fernet, _unwrapped(row, encryption)))
    if CURRENT in rows:
        return
    key_id = add_data_key(connection, encryption)
    tables = (calls, completions, contacts)
    if not any(connection.execute(select(table).limit(1)).first() for table in tables):
        note(connection, CONVERTED, key_id)  # there is nothing that could be plain


def add_data_key(connection: Connection, encryption: Encryption) -> str:
    """Make a data key, under which new values are stored from now on; return its id."""
    key_id = secrets.token_hex(ID_DIGITS // 2)
    wrapped = _wrapped(_fernet(encryption), AESGCM.generate_key(_KEY_BITS))
    row = {"name": f"{_DATA}{key_id}", "value": wrapped, "created_at": database_time()}
    connection.execute(stored_keys.insert().values(row))
    note(connection, CURRENT, key_id)
    return key_id


def note(connection: Connection, name: str, value: str | None) -> None:
    """Store what one of the rows says that are no keys; ``None`` removes it."""
    connection.execute(delete(stored_keys).where(stored_keys.c.name == name))
    if value is not None:
        row = {"name": name, "value": value, "created_at": database_time()}
        connection.execute(stored_keys.insert().values(row))


def unwrap_index(connection: Connection, encryption: Encryption, rows: Rows) -> None:
    """Have the ledger need no Fernet key any more, once nothing in it is encrypted."""
    _set_value(connection, INDEX, _unwrapped(rows[INDEX], encryption).hex())


def delete_data_keys(connection: Connection, rows: Rows, *, but: str | None) -> None:
    """Delete the data keys under which nothing is stored any more."""
    for name in rows:
        if name.startswith(_DATA) and name != f"{_DATA}{but}":
            connection.execute(delete(stored_keys).where(stored_keys.c.name == name))


def data_key_ids(rows: Rows) -> set[str]:
    """Return the ids of all data keys."""
    return {name.removeprefix(_DATA) for name in rows if name.startswith(_DATA)}


def is_wrapped(rows: Rows) -> bool:
    """Return whether it takes a Fernet key to read the ledger."""
    return _is_wrapped(rows[INDEX])


def _keyring(rows: Rows, encryption: Encryption) -> Keyring:
    ciphers = {
        key_id: AESGCM(_unwrapped(rows[f"{_DATA}{key_id}"], encryption)) for key_id in data_key_ids(rows)
    }
    current = rows[CURRENT].value if encryption.is_on and CURRENT in rows else None
    return Keyring(_unwrapped(rows[INDEX], encryption), ciphers, current or None)


def _set_value(connection: Connection, name: str, value: str) -> None:
    connection.execute(update(stored_keys).where(stored_keys.c.name == name).values(value=value))


def _is_wrapped(row: Row[Any]) -> bool:
    return bool(row.value.startswith(_WRAPPED))


def _wrapped(fernet: MultiFernet, key: bytes) -> str:
    return _WRAPPED + fernet.encrypt(key).decode("ascii")


def _unwrapped(row: Row[Any], encryption: Encryption) -> bytes:
    if not _is_wrapped(row):
        return bytes.fromhex(row.value)
    if not encryption.fernet_keys:
        raise LedgerKeyError(
            "The ledger is encrypted, and this process has no Fernet key. Set [core] fernet_key "
            "(AIRFLOW__CORE__FERNET_KEY) here to the one that the API server and the other workers have."
        )
    try:
        return _fernet(encryption).decrypt(row.value.removeprefix(_WRAPPED).encode())
    except InvalidToken:
        raise LedgerKeyError(
            "The ledger is encrypted under another Fernet key than this process has. Set [core] fernet_key "
            "(AIRFLOW__CORE__FERNET_KEY) here to the one that the API server and the other workers have; "
            "if it was changed, to `new,former` everywhere until `airflow voiceinfra rotate-key` has run."
        ) from None


def _fernet(encryption: Encryption) -> MultiFernet:
    try:
        return MultiFernet([Fernet(key) for key in encryption.fernet_keys])
    except ValueError:  # its text may quote the key
        raise LedgerKeyError(
            "[core] fernet_key is no Fernet key, which is 32 bytes in URL-safe base64, or several of them "
            "with commas between. `airflow voiceinfra doctor` says whether it is usable."
        ) from None
