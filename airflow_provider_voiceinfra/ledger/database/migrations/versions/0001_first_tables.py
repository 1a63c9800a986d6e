"""First tables: calls, completions, kept deliveries, and the counter that numbers completions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from airflow_provider_voiceinfra.ledger.database.schema import UtcDateTime

revision = "0001"
down_revision = None

_MAX_BODY = 2**24 - 1


def upgrade() -> None:
    """Create the tables."""
    _create_calls()
    _create_completions()
    _create_deliveries()
    counters = op.create_table(
        "voiceinfra_counters",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.BigInteger(), nullable=False),
    )
    op.bulk_insert(counters, [{"name": "completions", "value": 0}])


def downgrade() -> None:
    """Drop the tables."""
    for name in ("counters", "deliveries", "completions", "calls"):
        op.drop_table(f"voiceinfra_{name}")


def _create_calls() -> None:
    op.create_table(
        "voiceinfra_calls",
        sa.Column("key_hash", sa.String(64), primary_key=True),
        sa.Column("idempotency_key", sa.String(2000)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("token", sa.String(32), nullable=False),
        sa.Column("dials", sa.Integer(), nullable=False),
        sa.Column("redials", sa.Integer(), nullable=False),
        sa.Column("conn_id", sa.String(250), nullable=False),
        sa.Column("agent_id", sa.String(255)),
        sa.Column("from_number", sa.String(64)),
        sa.Column("to_number", sa.String(64)),
        sa.Column("request", sa.LargeBinary(_MAX_BODY)),
        sa.Column("call_id", sa.String(255), unique=True),
        sa.Column("adopted", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("error_code", sa.String(255)),
        sa.Column("error_message", sa.Text()),
        sa.Column("dag_id", sa.String(250)),
        sa.Column("run_id", sa.String(250)),
        sa.Column("task_id", sa.String(250)),
        sa.Column("map_index", sa.Integer()),
        sa.Column("try_number", sa.Integer()),
        sa.Column("campaign_id", sa.String(250)),
        sa.Column("contact_key", sa.String(255)),
        sa.Column("claimed_at", UtcDateTime(), nullable=False),
        sa.Column("renewed_at", UtcDateTime(), nullable=False),
        sa.Column("answered_at", UtcDateTime()),
        sa.Column("unsettled_since", UtcDateTime()),
        sa.Column("purged_at", UtcDateTime()),
    )
    op.create_index("ix_voiceinfra_calls_claimed_at", "voiceinfra_calls", ["claimed_at"])
    op.create_index("ix_voiceinfra_calls_to_number", "voiceinfra_calls", ["to_number", "claimed_at"])
    op.create_index("ix_voiceinfra_calls_run", "voiceinfra_calls", ["dag_id", "run_id"])


def _create_completions() -> None:
    op.create_table(
        "voiceinfra_completions",
        sa.Column("call_id", sa.String(255), primary_key=True),
        sa.Column("sequence", sa.BigInteger(), nullable=False, unique=True),
        sa.Column("conn_id", sa.String(250), nullable=False),
        sa.Column("agent_id", sa.String(255)),
        sa.Column("from_number", sa.String(64)),
        sa.Column("to_number", sa.String(64)),
        sa.Column("call_outcome", sa.String(64)),
        sa.Column("duration_seconds", sa.Integer()),
        sa.Column("started_at", UtcDateTime()),
        sa.Column("ended_at", UtcDateTime()),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("body", sa.LargeBinary(_MAX_BODY), nullable=False),
    )
    table = "voiceinfra_completions"
    op.create_index("ix_voiceinfra_completions_received_at", table, ["received_at"])
    op.create_index("ix_voiceinfra_completions_to_number", table, ["to_number", "received_at"])


def _create_deliveries() -> None:
    row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "voiceinfra_deliveries",
        sa.Column("id", row_id, primary_key=True, autoincrement=True),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("conn_id", sa.String(250), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("event", sa.String(255)),
        sa.Column("body", sa.LargeBinary(_MAX_BODY), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("replayed_at", UtcDateTime()),
    )
    op.create_index("ix_voiceinfra_deliveries_received_at", "voiceinfra_deliveries", ["received_at"])
