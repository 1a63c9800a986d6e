"""A process with a wall clock of its own, and all of the package's durations shortened by one factor.

Both are done in the worker's own process before it does anything, so that proportions stay what they are in
production: scaling neither hides a fault nor makes one.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from types import ModuleType
from typing import Any

from sqlalchemy.ext.compiler import compiles

PACKAGE = "airflow_provider_voiceinfra"

# Every duration of the package that a run can meet. A name that is gone is an error: say here what took its
# place. What is no duration of the package's own (the vendor's clock, SQLite's) is not scaled.
DURATIONS = [
    "dialling.answers.STORE_PATIENCE",
    "dialling.sending.BEGIN_WITHIN",
    "dialling.sending.FRESH_FOR",
    "dialling.placing.LOSERS_INTERVAL",
    "dialling.placing.REDIAL_AFTER",
    "waiting.watcher.LONGEST_PAUSE",
    "ledger.database.connect.BUSY_TIMEOUT",
    "ledger.database.postgres.IDLE_TIMEOUT",
    "ledger.database.postgres.LOCK_TIMEOUT",
    "ledger.campaigns.states.RUNNER_LEASE",
    "campaigns.campaign.MIN_PAUSE",
    "campaigns.campaign.HANDOVER_INTERVAL",
    "campaigns.campaign._BEAT_INTERVAL",
    "campaigns.engine.runner.TICK",
    "campaigns.engine.runner.SLOW_TICK",
    "campaigns.engine.runner.ALIVE",
    "campaigns.engine.runner.LEDGER_PAUSE",
    "dialling.storing.LONGEST_WAIT",
    "dialling.bookkeeping._TOGETHER",
    "dialling.dialler._TOGETHER",
    "dialling.dialler.LONGEST_RETRY_AFTER",
    "campaigns.engine.obstacles.FIRST_REST",
    "campaigns.engine.obstacles.LONGEST_REST",
    "campaigns.engine.obstacles.PATIENCE",
    "dialling.rate._LONGEST_WAIT",
    "ledger.rules.limits._CLAIM_TO_REQUEST",
    "ledger.rules.suppressions._LEAVES_WITHIN",
    "ledger.rules.suppressions._LOOK_AGAIN",
    "ledger.rules.suppressions.PATIENCE",
    "web.receiver.webhook._OPT_OUT_PATIENCE",
]


# Calls per second, which are more by the same factor.
RATES = ["dialling.rate.SLOWEST"]
# What the processes of a run do without.
NOT_IMPORTED = {"migrations", "pages"}
# Imported by the package only where they are used.
SLOW = ["airflow.sdk", "airflow.sdk.configuration", "airflow.sdk.execution_time.supervisor",
        "airflow.sdk.log", "alembic.command", "pendulum", "phonenumbers.timezone", "uvicorn",
        "uvicorn.lifespan.on", "uvicorn.protocols.http.auto"]  # fmt: skip


def shorten(factor: float) -> None:
    """Divide all durations by a factor, wherever they have been imported to."""
    changes = []
    for name in (*DURATIONS, *RATES):
        module_name, _, attribute = name.rpartition(".")
        value = getattr(importlib.import_module(f"{PACKAGE}.{module_name}"), attribute)
        changes.append((attribute, value, value * factor if name in RATES else value / factor))
    for module in _modules():
        for attribute, value, shorter in changes:
            if getattr(module, attribute, None) is value:
                setattr(module, attribute, shorter)


def import_all() -> None:
    """Import what the processes of a run use, so that nothing is imported with old values later."""
    for part in ("campaigns", "dialling", "ledger", "waiting", "web"):
        package = importlib.import_module(f"{PACKAGE}.{part}")
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not NOT_IMPORTED & set(found.name.split(".")):
                importlib.import_module(found.name)
    for name in ("metrics", "deployment", "hooks.voiceinfra"):
        importlib.import_module(f"{PACKAGE}.{name}")
    for name in SLOW:
        importlib.import_module(name)


def _modules() -> list[ModuleType]:
    return [module for name, module in list(sys.modules.items()) if name.startswith(PACKAGE)]


def shift(seconds: float, jumps: Sequence[tuple[float, float]] = ()) -> None:
    """Set the wall clock of the package in this process forward, or back; what is monotonic stays true.

    :param jumps: at which moments it is set once more, on the monotonic clock, and by how much.
    """
    if not seconds and not jumps:
        return
    true_time = time.time

    def off() -> float:
        now = time.monotonic()
        return seconds + sum(by for at, by in jumps if at <= now)

    class _Kind(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, datetime)

    class Shifted(datetime, metaclass=_Kind):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=off())

    for module in _modules():
        if getattr(module, "datetime", None) is datetime:
            module.datetime = Shifted  # type: ignore[attr-defined]
    time.time = lambda: true_time() + off()


def shift_all(seconds: float) -> None:
    """Set the wall clock of the package in this process forward, or back, and the database's for it alike."""
    from airflow_provider_voiceinfra.ledger.database.schema import database_time

    shift(seconds)
    if seconds:
        now = f"strftime('%Y-%m-%d %H:%M:%f000', 'now', '{seconds:+.3f} seconds')"
        compiles(database_time, "sqlite")(lambda *args, **options: now)
        later = f"timezone('UTC', clock_timestamp()) + interval '{seconds:.3f} seconds'"
        compiles(database_time, "postgresql")(lambda *args, **options: f"({later})")
