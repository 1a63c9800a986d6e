"""Whose account a call, a completion and a kept delivery belong to, and since when a call may have rung."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from airflow_provider_voiceinfra.ledger.database.schema import UtcDateTime

revision = "0004"
down_revision = "0003"

_COLUMNS = {
    "voiceinfra_calls": (
        ("account", sa.String(64)),
        ("sent_after", sa.BigInteger()),
        ("sent_at", UtcDateTime()),
    ),
    "voiceinfra_completions": (("account", sa.String(64)), ("stored_at", UtcDateTime())),
    "voiceinfra_deliveries": (("account", sa.String(64)), ("call_id", sa.String(255))),
}


def upgrade() -> None:
    """Add the columns; those of rows that are there already stay empty, which every reader copes with."""
    for table, columns in _COLUMNS.items():
        for name, kind in columns:
            op.add_column(table, sa.Column(name, kind))
    op.create_index("ix_voiceinfra_deliveries_call_id", "voiceinfra_deliveries", ["call_id"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_voiceinfra_deliveries_call_id", "voiceinfra_deliveries")
    for table, columns in _COLUMNS.items():
        with op.batch_alter_table(table) as altered:
            for name, _ in columns:
                altered.drop_column(name)
