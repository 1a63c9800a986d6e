"""What this package reports through Airflow's own metrics; every name starts with ``voiceinfra.``.

Counters: ``calls.placed``, ``calls.refused``, ``calls.not_allowed``, ``calls.unknown``,
``calls.rate_limited``, ``calls.completed`` (tag ``outcome``), ``webhooks.accepted``, ``webhooks.duplicate``,
``webhooks.kept``, ``webhooks.rejected``. Timer: ``calls.placing_to_completion``. All carry the tag
``conn_id``, but for webhooks that nobody is known to have sent. A metric that cannot be reported is dropped:
no call and no record ever fails for it.
"""

from __future__ import annotations

import inspect
import logging
import os
import re
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

PREFIX = "voiceinfra"
_NOT_PLAIN = re.compile(r"[^a-zA-Z0-9_.-]")

log = logging.getLogger(__name__)

_lock = threading.Lock()
_warned = False  # once is enough for what would be said with every call
_prepared_in: int | None = None  # the process that _prepare() ran in; a fork starts anew


def count(name: str, **tags: str) -> None:
    """Add one to a counter."""
    _report(lambda stats: stats.incr(f"{PREFIX}.{name}", tags=_plain(tags)))


def time(name: str, duration: timedelta, **tags: str) -> None:
    """Report a duration."""
    _report(lambda stats: stats.timing(f"{PREFIX}.{name}", duration, tags=_plain(tags)))


def prepare() -> None:
    """Load what metrics need, which takes a while, so that the first one comes at once."""
    _report(lambda _: None)


def _report(send: Callable[[Any], object]) -> None:
    global _warned
    try:
        _prepare()
        # Metrics are reported by code that runs, never by code that is only imported.
        from airflow.sdk.observability.stats import Stats

        send(Stats)
    except Exception:  # whatever a metrics backend raises must not cost a call or a record
        log.log(logging.DEBUG if _warned else logging.WARNING, "Metrics cannot be reported", exc_info=True)
        _warned = True


def _prepare() -> None:
    """Choose the metrics backend that is configured, where Airflow has not done so.

    Airflow chooses one for the SDK's metrics where tasks run. In its API server and in a process without
    Airflow nobody does, unless something there happens to import the SDK's serialisers (seen in 3.3.2, not
    in 3.2.0); what the receiver reports would then go nowhere.
    """
    global _prepared_in
    with _lock:
        if _prepared_in == os.getpid():
            return
        _prepared_in = os.getpid()
        from airflow.sdk.configuration import conf
        from airflow.sdk.observability import stats
        from airflow.sdk.observability.metrics import stats_utils

        if _has_backend(stats.Stats):
            return
        # Airflow 3.2 passes the class to the factory's maker, and knows no legacy names here.
        get_factory: Any = stats_utils.get_stats_factory
        takes_class = bool(inspect.signature(get_factory).parameters)
        factory = get_factory(stats.Stats) if takes_class else get_factory()
        options: dict[str, Any] = {"factory": factory}
        if not takes_class:
            options["export_legacy_names"] = conf.getboolean("metrics", "legacy_names_on", fallback=True)
        stats.Stats.initialize(**options)


def _has_backend(stats: Any) -> bool:
    """Return whether somebody has chosen a backend; one that drops everything is as good as none."""
    # A module's variable from Airflow 3.3 on, the class's own before. Nothing public tells.
    factory = getattr(sys.modules[stats.__module__], "_factory", None) or vars(stats).get("factory")
    return factory is not None and getattr(factory, "__name__", "") != "NoStatsLogger"


def _plain(tags: dict[str, str]) -> dict[str, str]:
    # Airflow drops a metric of which a tag has other characters; ids of connections may have some.
    return {name: _NOT_PLAIN.sub("_", value) for name, value in tags.items()}
