"""What lists of calls are searched by, and the last webhook of each connection that was rejected."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from airflow_provider_voiceinfra.ledger.database.schema import UtcDateTime

revision = "0003"
down_revision = "0002"

_CALLS = "voiceinfra_calls"
_COMPLETIONS = "voiceinfra_completions"
_END_DIGITS = 4
_CALL_INDEXES = {
    "ix_voiceinfra_calls_to_number_end": ["to_number_end", "claimed_at"],
    "ix_voiceinfra_calls_conn": ["conn_id", "claimed_at"],
    "ix_voiceinfra_calls_state": ["state", "claimed_at"],
    "ix_voiceinfra_calls_dag": ["dag_id", "claimed_at"],
    "ix_voiceinfra_calls_run": ["dag_id", "run_id", "claimed_at"],
    "ix_voiceinfra_calls_campaign_time": ["campaign_id", "claimed_at"],
}
_REPLACED = {
    "ix_voiceinfra_calls_run": ["dag_id", "run_id"],
    "ix_voiceinfra_calls_to_number": ["to_number", "claimed_at"],
}
_COMPLETION_INDEXES = {
    "ix_voiceinfra_completions_conn": ["conn_id", "received_at"],
    "ix_voiceinfra_completions_duration": ["duration_seconds", "call_id"],
}


def upgrade() -> None:
    """Add the column, its values, the indexes and the table."""
    op.create_table(
        "voiceinfra_rejections",
        sa.Column("conn_id", sa.String(250), primary_key=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("rejected_at", UtcDateTime(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
    )
    op.add_column(_CALLS, sa.Column("to_number_end", sa.String(4)))
    number = sa.column("to_number", sa.String)
    length = sa.func.length(number)
    end = sa.case((length > _END_DIGITS, sa.func.substr(number, length - _END_DIGITS + 1)), else_=number)
    op.execute(
        sa.table(_CALLS, number, sa.column("to_number_end", sa.String))
        .update()
        .where(number.is_not(None))
        .values(to_number_end=end)
    )
    for name in _REPLACED:
        op.drop_index(name, _CALLS)
    for name, columns in _CALL_INDEXES.items():
        op.create_index(name, _CALLS, columns)
    for name, columns in _COMPLETION_INDEXES.items():
        op.create_index(name, _COMPLETIONS, columns)


def downgrade() -> None:
    """Drop them."""
    for name in _COMPLETION_INDEXES:
        op.drop_index(name, _COMPLETIONS)
    for name in _CALL_INDEXES:
        op.drop_index(name, _CALLS)
    for name, columns in _REPLACED.items():
        op.create_index(name, _CALLS, columns)
    with op.batch_alter_table(_CALLS) as table:
        table.drop_column("to_number_end")
    op.drop_table("voiceinfra_rejections")
