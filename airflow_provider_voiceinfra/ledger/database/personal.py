"""The one door through which phone numbers and payloads enter and leave the database.

Every column that holds personal data has one of these types. They encrypt and decrypt under the ledger's own
data key, if it has one; without one, values pass as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    LargeBinary,
    String,
    Text,
    TypeDecorator,
    and_,
    case,
    func,
    literal,
    or_,
    type_coerce,
)
from sqlalchemy.sql import operators
from sqlalchemy.types import TypeEngine

from airflow_provider_voiceinfra.ledger.database.keyring import (
    HASH_DIGITS,
    MARK,
    OVERHEAD,
    Keyring,
    UnknownDataKeyError,
)


def give_keyring(dialect: Dialect, keyring: Keyring, reload: Callable[[], Keyring]) -> None:
    """Have the columns of a database use these keys from now on.

    :param reload: reads the keys anew, for values under a key that another process has made meanwhile.
    """
    # A dialect is all that a column's type is given.
    dialect.voiceinfra_keyring = keyring  # type: ignore[attr-defined]
    dialect.voiceinfra_reload = reload  # type: ignore[attr-defined]


def hash_of(connection: Connection, number: str) -> str:
    """Return what a number is found by in a database."""
    keyring: Keyring = connection.dialect.voiceinfra_keyring  # type: ignore[attr-defined]
    return keyring.hash_of(number)


class _Uncompared(TypeDecorator.Comparator[Any]):
    """Refuses to compare in SQL what is stored encrypted, of which no two values are alike."""

    def operate(self, op: Any, *other: Any, **options: Any) -> Any:
        """Return the expression, which can only ask whether there is a value."""
        if op not in (operators.is_, operators.is_not):
            raise TypeError(
                f"{self.expr} is stored encrypted: compare its hash, or its values once they are read"
            )
        return super().operate(op, *other, **options)


class PersonalText(TypeDecorator[str]):
    """Text about a person, such as a phone number.

    :param length: of the text itself. What is stored is longer once it is encrypted: PostgreSQL is given no
        length, and SQLite does not mind it.
    """

    impl = String
    cache_ok = True
    comparator_factory = _Uncompared

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type that the column has in a database."""
        length = getattr(self.impl_instance, "length", None)
        kept = dialect.name == "sqlite" and length is not None
        return dialect.type_descriptor(String(length) if kept else Text())

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return what is stored."""
        if value is None:
            return None
        keyring: Keyring | None = getattr(dialect, "voiceinfra_keyring", None)
        return value if keyring is None else keyring.seal_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Return the text of what is stored."""
        if value is None:
            return None
        keyring: Keyring | None = getattr(dialect, "voiceinfra_keyring", None)
        if keyring is None:
            return value
        try:
            return keyring.open_text(value)
        except UnknownDataKeyError:
            return _reloaded(dialect).open_text(value)


class PersonalBytes(TypeDecorator[bytes]):
    """A document about a person, such as a webhook's body; is never searched."""

    impl = LargeBinary
    cache_ok = True
    comparator_factory = _Uncompared

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> bytes | None:
        """Return what is stored."""
        if value is None:
            return None
        keyring: Keyring | None = getattr(dialect, "voiceinfra_keyring", None)
        return value if keyring is None else keyring.seal(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> bytes | None:
        """Return the document of what is stored."""
        if value is None:
            return None
        keyring: Keyring | None = getattr(dialect, "voiceinfra_keyring", None)
        if keyring is None:
            return value
        try:
            return keyring.open(value)
        except UnknownDataKeyError:
            return _reloaded(dialect).open(value)


def _reloaded(dialect: Dialect) -> Keyring:
    keyring: Keyring = dialect.voiceinfra_reload()  # type: ignore[attr-defined]
    return keyring


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


def is_number(
    digest: ColumnElement[Any], number: ColumnElement[Any], wanted: str | None
) -> ColumnElement[bool]:
    """Return the condition for rows with a number.

    A row that a version before 0006 of the schema has written has no hash until it is converted, and its
    number is plain until then.

    :param digest: the column of the hash, of the type ``NumberHash``.
    :param number: the column of the number.
    """
    if wanted is None:
        return number.is_(None)
    return or_(digest == wanted, and_(digest.is_(None), type_coerce(number, String) == wanted))


def plain_size(document: ColumnElement[Any]) -> ColumnElement[int]:
    """Return how long a document is, in bytes, without reading it."""
    mark = MARK.encode()
    is_sealed = func.substr(type_coerce(document, LargeBinary), 1, len(mark)) == literal(mark, LargeBinary)
    return func.length(document) - case((is_sealed, OVERHEAD), else_=0)
