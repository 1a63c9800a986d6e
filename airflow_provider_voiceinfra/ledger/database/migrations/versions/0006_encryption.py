"""Room for encrypted values, and the hashes that numbers are found by once they are encrypted.

Nothing is rewritten here: values are encrypted as they are written, and those that are there by
``airflow voiceinfra encrypt``, in steps. Until then, rows without a hash are found by their plain numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

from airflow_provider_voiceinfra.exceptions import LedgerError
from airflow_provider_voiceinfra.ledger.database.keyring import HASH_DIGITS

revision = "0006"
down_revision = "0005"

_CALLS = "voiceinfra_calls"
_COMPLETIONS = "voiceinfra_completions"
_HASHES = {_CALLS: ("from_number_hash",), _COMPLETIONS: ("to_number_hash", "from_number_hash")}
_FORMER_INDEX = "ix_voiceinfra_completions_to_number"
# SQLite does not mind the length of a column.
_WIDENED = {
    _CALLS: {
        "idempotency_key": 2000,
        "from_number": 64,
        "to_number": 64,
        "contact_key": 255,
        "consent": 255,
    },
    _COMPLETIONS: {"from_number": 64, "to_number": 64},
    "voiceinfra_contacts": {"contact_key": 255, "consent": 255},
    "voiceinfra_suppressions": {"number": 64},
}


def upgrade() -> None:
    """Add the columns and their indexes, and have PostgreSQL take values of any length."""
    for table, names in _HASHES.items():
        for name in names:
            op.add_column(table, sa.Column(name, sa.String(HASH_DIGITS)))
    op.drop_index(_FORMER_INDEX, _COMPLETIONS)
    _alter(lambda table, name, length: op.alter_column(table, name, type_=sa.Text()))
    op.create_index("ix_voiceinfra_completions_number", _COMPLETIONS, ["to_number_hash", "received_at"])
    unhashed = sa.text("to_number_hash IS NULL AND to_number IS NOT NULL")
    op.create_index(
        "ix_voiceinfra_completions_unhashed",
        _COMPLETIONS,
        ["to_number", "received_at"],
        postgresql_where=unhashed,
        sqlite_where=unhashed,
    )


def downgrade() -> None:
    """Drop them, unless the version before would take encrypted values for plain ones."""
    keys = sa.table("voiceinfra_keys", sa.column("name", sa.String), sa.column("value", sa.String))
    wrapped = sa.or_(keys.c.name.startswith("data:"), keys.c.value.startswith("fernet:"))
    if op.get_bind().execute(sa.select(keys.c.name).where(wrapped)).first() is not None:
        raise LedgerError(
            "The ledger is encrypted, and versions before schema 0006 would take what is encrypted for plain "
            "values. Set [voiceinfra] encrypt_ledger to False, run `airflow voiceinfra encrypt` until it "
            "says that nothing is encrypted any more, and downgrade then."
        )
    op.drop_index("ix_voiceinfra_completions_unhashed", _COMPLETIONS)
    op.drop_index("ix_voiceinfra_completions_number", _COMPLETIONS)
    _alter(lambda table, name, length: op.alter_column(table, name, type_=sa.String(length)))
    op.create_index(_FORMER_INDEX, _COMPLETIONS, ["to_number", "received_at"])
    for table, names in _HASHES.items():
        with op.batch_alter_table(table) as altered:
            for name in names:
                altered.drop_column(name)


def _alter(change: Callable[[str, str, int], None]) -> None:
    if op.get_bind().dialect.name == "postgresql":  # no row is rewritten by it, nor any index
        for table, columns in _WIDENED.items():
            for name, length in columns.items():
                change(table, name, length)
