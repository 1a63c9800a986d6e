"""Which part of a record is gone, so that no webhook brings it back; and what a restored ledger forgets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from airflow_provider_voiceinfra.ledger.database.schema import UtcDateTime

revision = "0007"
down_revision = "0006"

_COMPLETIONS = "voiceinfra_completions"
_QUARANTINES = "voiceinfra_quarantines"
_row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the column and the table."""
    op.add_column(_COMPLETIONS, sa.Column("erased", sa.String(16)))
    op.create_table(
        _QUARANTINES,
        sa.Column("id", _row_id, primary_key=True, autoincrement=True),
        sa.Column("since", UtcDateTime, nullable=False),
        sa.Column("until", UtcDateTime, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("released_at", UtcDateTime),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table(_QUARANTINES)
    with op.batch_alter_table(_COMPLETIONS) as altered:
        altered.drop_column("erased")
