"""``airflow voiceinfra db``: the ledger's tables."""

from __future__ import annotations

from argparse import Namespace

from airflow_provider_voiceinfra.cli.running import command, say
from airflow_provider_voiceinfra.deployment import open_ledger


@command
def upgrade(args: Namespace) -> bool:
    """Create the ledger's tables, or bring them up to date."""
    ledger = open_ledger()
    changed = ledger.upgrade()
    revision = ledger.check()
    done = "The ledger is at revision {} now." if changed else "Nothing to do: the ledger is at revision {}."
    say(done.format(revision))
    return True
