"""What this package reports through Airflow's own metrics; every name starts with ``voiceinfra.``.

Counters: ``calls.placed``, ``calls.refused``, ``calls.unknown``, ``calls.rate_limited``,
``calls.completed`` (tag ``outcome``), ``webhooks.accepted``, ``webhooks.duplicate``, ``webhooks.kept``,
``webhooks.rejected``. Timer: ``calls.placing_to_completion``. All carry the tag ``conn_id``, but for webhooks
that nobody is known to have sent.
"""

from __future__ import annotations

from datetime import timedelta

PREFIX = "voiceinfra"


def count(name: str, times: int = 1, **tags: str) -> None:
    """Add to a counter."""
    # Metrics are reported by code that runs, never by code that is only imported.
    from airflow.sdk.observability.stats import Stats  # noqa: PLC0415

    Stats.incr(f"{PREFIX}.{name}", times, tags=tags)


def time(name: str, duration: timedelta, **tags: str) -> None:
    """Report a duration."""
    from airflow.sdk.observability.stats import Stats  # noqa: PLC0415

    Stats.timing(f"{PREFIX}.{name}", duration, tags=tags)
