"""Campaigns and their contacts, and the place of a call in them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from airflow_provider_voiceinfra.ledger.database.schema import UtcDateTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the tables, and the columns that tie calls to them."""
    _create_campaigns()
    _create_contacts()
    op.add_column("voiceinfra_calls", sa.Column("position", sa.Integer()))
    op.add_column("voiceinfra_calls", sa.Column("attempt", sa.Integer()))
    op.create_index(
        "ix_voiceinfra_calls_campaign", "voiceinfra_calls", ["campaign_id", "position", "attempt"]
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_voiceinfra_calls_campaign", "voiceinfra_calls")
    with op.batch_alter_table("voiceinfra_calls") as table:
        table.drop_column("attempt")
        table.drop_column("position")
    op.drop_table("voiceinfra_contacts")
    op.drop_table("voiceinfra_campaigns")


def _create_campaigns() -> None:
    op.create_table(
        "voiceinfra_campaigns",
        sa.Column("campaign_id", sa.String(250), primary_key=True),
        sa.Column("conn_id", sa.String(250), nullable=False),
        sa.Column("dag_id", sa.String(250)),
        sa.Column("run_id", sa.String(250)),
        sa.Column("task_id", sa.String(250)),
        sa.Column("map_index", sa.Integer()),
        sa.Column("runner", sa.String(32)),
        sa.Column("runner_seen_at", UtcDateTime()),
        sa.Column("loads", sa.Integer(), nullable=False),
        sa.Column("loaded_by", sa.String(64)),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("cancelled_at", UtcDateTime()),
        sa.Column("finished_at", UtcDateTime()),
        sa.Column("progress", sa.Text()),
        sa.Column("summary", sa.Text()),
    )
    op.create_index("ix_voiceinfra_campaigns_created_at", "voiceinfra_campaigns", ["created_at"])


def _create_contacts() -> None:
    op.create_table(
        "voiceinfra_contacts",
        sa.Column("campaign_id", sa.String(250), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("contact_hash", sa.String(64), nullable=False),
        sa.Column("load_number", sa.Integer(), nullable=False),
        sa.Column("row_number", sa.Integer(), nullable=False),
        sa.Column("contact_key", sa.String(255)),
        sa.Column("request", sa.LargeBinary(2**24 - 1)),
        sa.Column("timezone", sa.String(64)),
        sa.Column("skipped", sa.String(16)),
        sa.Column("reason", sa.Text()),
    )
    op.create_index(
        "ux_voiceinfra_contacts_hash", "voiceinfra_contacts", ["campaign_id", "contact_hash"], unique=True
    )
