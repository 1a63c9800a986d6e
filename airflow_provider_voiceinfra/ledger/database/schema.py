"""The ledger's tables; a test holds them equal to what the migrations build.

``calls`` says what was attempted, ``completions`` what became of it, ``deliveries`` keeps signed webhooks
that could not be used; ``campaigns`` and ``contacts`` say who is to be called, ``suppressions`` who must not
be, ``rules`` what allowed a call. Times are UTC.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, String, Table, Text, text

from airflow_provider_voiceinfra.ledger.database.personal import NumberHash, PersonalBytes, PersonalText
from airflow_provider_voiceinfra.ledger.database.tables.columns import RowId
from airflow_provider_voiceinfra.ledger.database.tables.columns import UtcDateTime as UtcDateTime
from airflow_provider_voiceinfra.ledger.database.tables.columns import database_time as database_time

HEAD_REVISION = "0007"
VERSION_TABLE = "voiceinfra_alembic_version"
END_DIGITS = 4  # as a masked number shows
MAX_BODY = 2**24 - 1

metadata = MetaData()

calls = Table(
    "voiceinfra_calls",
    metadata,
    # The hash outlives the key's text, which may hold a number: purging forgets the text, and a cleared
    # task of last year still finds that it has called already.
    Column("key_hash", String(64), primary_key=True),
    Column("idempotency_key", PersonalText(2000)),
    Column("state", String(16), nullable=False),
    Column("token", String(32), nullable=False),
    Column("dials", Integer, nullable=False),
    Column("redials", Integer, nullable=False),
    Column("conn_id", String(250), nullable=False),
    # Of the vendor: connections of one account share their completions.
    Column("account", String(64)),
    Column("agent_id", String(255)),
    Column("from_number", PersonalText(64)),
    Column("to_number", PersonalText(64)),
    # In plain text whatever becomes of the number: people who look for a call know these digits.
    Column("to_number_end", String(END_DIGITS)),
    Column("request", PersonalBytes(MAX_BODY)),
    Column("call_id", String(255), unique=True),
    Column("adopted", Boolean(create_constraint=False), nullable=False),
    Column("error_code", String(255)),
    Column("error_message", PersonalText()),
    Column("dag_id", String(250)),
    Column("run_id", String(250)),
    Column("task_id", String(250)),
    Column("map_index", Integer),
    Column("try_number", Integer),
    Column("campaign_id", String(250)),
    Column("contact_key", PersonalText(255)),
    # The contact's place in its campaign, and which call to it this is, from 1.
    Column("position", Integer),
    Column("attempt", Integer),
    Column("claimed_at", UtcDateTime, nullable=False),
    Column("renewed_at", UtcDateTime, nullable=False),
    Column("answered_at", UtcDateTime),
    Column("unsettled_since", UtcDateTime),
    # The newest completion, and the database's own time, when the first request that may have rung was sent:
    # a completion that was there already, or a call that had begun before, cannot be this call's.
    Column("sent_after", BigInteger),
    Column("sent_at", UtcDateTime),
    Column("purged_at", UtcDateTime),
    # What calls are counted by, and the database's own time when the last request was about to be sent.
    Column("to_number_hash", NumberHash),
    Column("from_number_hash", NumberHash),
    Column("dialled_at", UtcDateTime),
    # What allowed it: the rules that were in force, where the contact is, and the consent.
    Column("rules_id", String(32)),
    Column("timezone", String(64)),
    Column("region", String(16)),
    Column("consent", PersonalText(255)),
    # Of a call that a rule kept from being placed: from when on it would be allowed.
    Column("allowed_from", UtcDateTime),
    Index("ix_voiceinfra_calls_number", "to_number_hash", "dialled_at"),
    # Lists of calls follow one of these, ordered by time.
    Index("ix_voiceinfra_calls_claimed_at", "claimed_at"),
    Index("ix_voiceinfra_calls_to_number_end", "to_number_end", "claimed_at"),
    Index("ix_voiceinfra_calls_conn", "conn_id", "claimed_at"),
    Index("ix_voiceinfra_calls_state", "state", "claimed_at"),
    Index("ix_voiceinfra_calls_dag", "dag_id", "claimed_at"),
    Index("ix_voiceinfra_calls_run", "dag_id", "run_id", "claimed_at"),
    Index("ix_voiceinfra_calls_campaign_time", "campaign_id", "claimed_at"),
    Index("ix_voiceinfra_calls_campaign", "campaign_id", "position", "attempt"),
)

_UNHASHED = text("to_number_hash IS NULL AND to_number IS NOT NULL")
completions = Table(
    "voiceinfra_completions",
    metadata,
    Column("call_id", String(255), primary_key=True),
    Column("sequence", BigInteger, nullable=False, unique=True),
    Column("conn_id", String(250), nullable=False),
    Column("account", String(64)),
    Column("agent_id", String(255)),
    Column("from_number", PersonalText(64)),
    Column("to_number", PersonalText(64)),
    Column("call_outcome", String(64)),
    Column("duration_seconds", Integer),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("received_at", UtcDateTime, nullable=False),
    # By the database's own clock, as ``calls.sent_at``: those of two hosts differ.
    Column("stored_at", UtcDateTime),
    Column("body", PersonalBytes(MAX_BODY), nullable=False),
    # Empty in rows of earlier versions until they are converted.
    Column("to_number_hash", NumberHash),
    Column("from_number_hash", NumberHash),
    # Which part of the body is gone, an ``Erased``; empty if none.
    Column("erased", String(16)),
    Index("ix_voiceinfra_completions_received_at", "received_at"),
    Index("ix_voiceinfra_completions_number", "to_number_hash", "received_at"),
    Index(
        "ix_voiceinfra_completions_unhashed",
        "to_number",
        "received_at",
        postgresql_where=_UNHASHED,
        sqlite_where=_UNHASHED,
    ),
    Index("ix_voiceinfra_completions_conn", "conn_id", "received_at"),
    Index("ix_voiceinfra_completions_duration", "duration_seconds", "call_id"),
)

deliveries = Table(
    "voiceinfra_deliveries",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    # The same bytes to the same connection are kept once, however often the vendor repeats them.
    Column("digest", String(64), nullable=False, unique=True),
    Column("conn_id", String(250), nullable=False),
    Column("account", String(64)),
    # The call that it is about, if that could be read.
    Column("call_id", String(255)),
    Column("reason", Text, nullable=False),
    Column("event", String(255)),
    Column("body", PersonalBytes(MAX_BODY), nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("replayed_at", UtcDateTime),
    Index("ix_voiceinfra_deliveries_received_at", "received_at"),
    Index("ix_voiceinfra_deliveries_call_id", "call_id"),
)

# The last webhook for each connection that was rejected; those for unknown ones share the empty id.
rejections = Table(
    "voiceinfra_rejections",
    metadata,
    Column("conn_id", String(250), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("rejected_at", UtcDateTime, nullable=False),
    # Anybody may send what is rejected, as often as they like.
    Column("number", BigInteger, nullable=False),
)

campaigns = Table(
    "voiceinfra_campaigns",
    metadata,
    Column("campaign_id", String(250), primary_key=True),
    Column("conn_id", String(250), nullable=False),
    # The task instance that runs it, or ran it last.
    Column("dag_id", String(250)),
    Column("run_id", String(250)),
    Column("task_id", String(250)),
    Column("map_index", Integer),
    # Whose turn it is to dial; empty while nobody runs it.
    Column("runner", String(32)),
    Column("runner_seen_at", UtcDateTime),
    # How often contacts were loaded, and the run that brought the newest ones, once all of them are stored.
    Column("loads", Integer, nullable=False),
    Column("loaded_by", String(64)),
    Column("created_at", UtcDateTime, nullable=False),
    Column("cancelled_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("progress", Text),
    Column("summary", Text),
    Index("ix_voiceinfra_campaigns_created_at", "created_at"),
    Index("ix_voiceinfra_campaigns_run", "dag_id", "run_id"),
)

contacts = Table(
    "voiceinfra_contacts",
    metadata,
    Column("campaign_id", String(250), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("contact_hash", String(64), nullable=False),
    Column("load_number", Integer, nullable=False),
    Column("row_number", Integer, nullable=False),
    Column("contact_key", PersonalText(255)),
    Column("request", PersonalBytes(MAX_BODY)),
    Column("timezone", String(64)),
    Column("region", String(16)),
    Column("consent", PersonalText(255)),
    Column("skipped", String(16)),
    Column("reason", PersonalText()),
    Index("ux_voiceinfra_contacts_hash", "campaign_id", "contact_hash", unique=True),
)

# Numbers that must not be called. What is removed or over stays: it says who must not be called when.
suppressions = Table(
    "voiceinfra_suppressions",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("number_hash", NumberHash, nullable=False),
    # Empty of somebody who is forgotten, and still is not called.
    Column("number", PersonalText(64)),
    Column("number_end", String(END_DIGITS)),
    Column("conn_id", String(250)),  # empty for all connections
    Column("reason", PersonalText()),
    Column("source", String(16), nullable=False),
    # Who added it, or the call whose record said so.
    Column("added_by", String(255)),
    Column("created_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime),
    Column("removed_at", UtcDateTime),
    Index("ix_voiceinfra_suppressions_number", "number_hash"),
    Index("ix_voiceinfra_suppressions_number_end", "number_end", "id"),
)

# What was in force when calls were made: each set of rules once, by its hash.
rules = Table(
    "voiceinfra_rules",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("document", PersonalBytes(MAX_BODY), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

# What a ledger that was restored from a backup has forgotten: who may have called meanwhile calls nobody new.
quarantines = Table(
    "voiceinfra_quarantines",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("since", UtcDateTime, nullable=False),
    Column("until", UtcDateTime, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("released_at", UtcDateTime),
)

# Keys of the ledger's own, see ``keys``.
keys = Table(
    "voiceinfra_keys",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

counters = Table(
    "voiceinfra_counters",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)
COMPLETIONS_COUNTER = "completions"
