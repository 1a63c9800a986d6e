"""Which part of a completion record is gone, so that the same webhook does not bring it back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_COMPLETIONS = "voiceinfra_completions"


def upgrade() -> None:
    """Add the column."""
    op.add_column(_COMPLETIONS, sa.Column("erased", sa.String(16)))


def downgrade() -> None:
    """Drop it."""
    with op.batch_alter_table(_COMPLETIONS) as altered:
        altered.drop_column("erased")
