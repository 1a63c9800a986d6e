"""Reads from a command line what of the ledger's personal data may be shown."""

from __future__ import annotations

from argparse import Namespace

from airflow_provider_voiceinfra.privacy import Privacy


def privacy_of(args: Namespace) -> Privacy:
    """Return what the command line allows."""
    return Privacy(
        show_numbers=bool(getattr(args, "show_numbers", False)),
        include_transcript=bool(getattr(args, "include_transcript", False)),
    )
