"""The one door through which phone numbers and payloads enter and leave the database.

Today the values pass as they are. Encryption at rest belongs here and nowhere else: every column that
holds personal data has one of these types.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Dialect, LargeBinary, String, TypeDecorator, column, select, table

INDEX_KEY = "index"
"""The name of the key under which numbers are hashed, in the table of keys."""
HASH_DIGITS = 32


@dataclass(frozen=True)
class Keyring:
    """The keys of one ledger.

    :param index_key: under which numbers are hashed, so that equal ones can be found.
    """

    index_key: bytes = field(repr=False)

    def hash_of(self, text: str) -> str:
        """Return what a number is found by, which cannot be worked out without the key."""
        digest = hmac.new(self.index_key, text.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return digest.hexdigest()[:HASH_DIGITS]


def read_keyring(connection: Connection) -> Keyring:
    """Return the keys that the ledger keeps of its own."""
    keys = table("voiceinfra_keys", column("name", String), column("value", String))
    value = connection.execute(select(keys.c.value).where(keys.c.name == INDEX_KEY)).scalar_one()
    return Keyring(bytes.fromhex(value))


def give_keyring(dialect: Dialect, keyring: Keyring) -> None:
    """Have the columns of a database use these keys from now on."""
    dialect.voiceinfra_keyring = keyring  # type: ignore[attr-defined]  # all that a column's type is given


def hash_of(connection: Connection, number: str) -> str:
    """Return what a number is found by in a database."""
    keyring: Keyring = connection.dialect.voiceinfra_keyring  # type: ignore[attr-defined]
    return keyring.hash_of(number)


class PersonalText(TypeDecorator[str]):
    """Text about a person, such as a phone number; can be compared for equality, and only that."""

    impl = String
    cache_ok = True


class PersonalBytes(TypeDecorator[bytes]):
    """A document about a person, such as a webhook's body; is never searched."""

    impl = LargeBinary
    cache_ok = True


class NumberHash(TypeDecorator[str]):
    """What a phone number is found by: it takes the number, keeps its hash, and gives that out."""

    impl = String
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(HASH_DIGITS)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return the hash of a number."""
        keyring: Any = getattr(dialect, "voiceinfra_keyring", None)
        return None if value is None else keyring.hash_of(value)
