"""Who must not be called, what allowed a call, and the hash that calls to one number are found by."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta, timezone

import sqlalchemy as sa
from alembic import op

from airflow_provider_voiceinfra.ledger.database.keyring import HASH_DIGITS, Keyring
from airflow_provider_voiceinfra.ledger.database.schema import UtcDateTime

revision = "0005"
down_revision = "0004"

_CALLS = "voiceinfra_calls"
_CALL_COLUMNS = (
    ("to_number_hash", sa.String(HASH_DIGITS)),
    ("dialled_at", UtcDateTime()),
    ("rules_id", sa.String(32)),
    ("timezone", sa.String(64)),
    ("region", sa.String(16)),
    ("consent", sa.String(255)),
    ("allowed_from", UtcDateTime()),
)
_CONTACT_COLUMNS = (("region", sa.String(16)), ("consent", sa.String(255)))
# The longest span of a cap: older calls are not counted, so they need no hash.
_COUNTED = timedelta(days=90)
_BATCH = 5000


def upgrade() -> None:
    """Add the tables, the columns and their indexes, and the hashes of what a cap may count."""
    _create_tables()
    index_key = secrets.token_bytes(32)
    now = datetime.now(timezone.utc)
    keys = sa.table("voiceinfra_keys", *(sa.column(name) for name in ("name", "value")))
    keys.append_column(sa.column("created_at", UtcDateTime()))
    op.execute(keys.insert().values(name="index", value=index_key.hex(), created_at=now))
    for name, kind in _CALL_COLUMNS:
        op.add_column(_CALLS, sa.Column(name, kind))
    for name, kind in _CONTACT_COLUMNS:
        op.add_column("voiceinfra_contacts", sa.Column(name, kind))
    _fill(Keyring(index_key), now - _COUNTED)
    op.create_index("ix_voiceinfra_calls_number", _CALLS, ["to_number_hash", "dialled_at"])
    op.create_index("ix_voiceinfra_campaigns_run", "voiceinfra_campaigns", ["dag_id", "run_id"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_voiceinfra_campaigns_run", "voiceinfra_campaigns")
    op.drop_index("ix_voiceinfra_calls_number", _CALLS)
    for table, columns in (("voiceinfra_contacts", _CONTACT_COLUMNS), (_CALLS, _CALL_COLUMNS)):
        with op.batch_alter_table(table) as altered:
            for name, _ in columns:
                altered.drop_column(name)
    for table in ("voiceinfra_keys", "voiceinfra_rules", "voiceinfra_suppressions"):
        op.drop_table(table)


def _create_tables() -> None:
    op.create_table(
        "voiceinfra_suppressions",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("number_hash", sa.String(HASH_DIGITS), nullable=False),
        sa.Column("number", sa.String(64)),
        sa.Column("number_end", sa.String(4)),
        sa.Column("conn_id", sa.String(250)),
        sa.Column("reason", sa.Text()),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("added_by", sa.String(255)),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime()),
        sa.Column("removed_at", UtcDateTime()),
    )
    op.create_index("ix_voiceinfra_suppressions_number", "voiceinfra_suppressions", ["number_hash"])
    op.create_index("ix_voiceinfra_suppressions_number_end", "voiceinfra_suppressions", ["number_end", "id"])
    op.create_table(
        "voiceinfra_rules",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("document", sa.LargeBinary(2**24 - 1), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
    )
    op.create_table(
        "voiceinfra_keys",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
    )


def _fill(keyring: Keyring, since: datetime) -> None:
    calls = sa.table(_CALLS, sa.column("key_hash"), sa.column("to_number"), sa.column("to_number_hash"))
    for name in ("claimed_at", "renewed_at", "dialled_at"):
        calls.append_column(sa.column(name, UtcDateTime()))
    connection = op.get_bind()
    query = sa.select(calls.c.key_hash, calls.c.to_number)
    query = query.where(calls.c.claimed_at >= since, calls.c.to_number.is_not(None))
    change = (
        calls.update()
        .where(calls.c.key_hash == sa.bindparam("its_key"))
        .values(to_number_hash=sa.bindparam("digest", type_=sa.String), dialled_at=calls.c.renewed_at)
    )
    rows = connection.execute(query).all()
    for start in range(0, len(rows), _BATCH):
        connection.execute(
            change,
            [
                {"its_key": row.key_hash, "digest": keyring.hash_of(row.to_number)}
                for row in rows[start : start + _BATCH]
            ],
        )
