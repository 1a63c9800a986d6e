"""What the rules that every call is asked about cost, beside the same call that is not asked."""

from __future__ import annotations

import json
import os
import random
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, ClassVar

from framework import AT_LEAST, Aim, Line, Measured, Row
from servers import DATABASES, connection, databases

from rows.placing import CALL, Work, assert_placed, rate, serve_bare_api

THREADS = 32
# Short turns, since what else a disk does changes within a second; seconds of each, and before it counts.
TURNS, SECONDS, WARM_UP = 10, 0.4, 0.1
SUPPRESSED = 10_000
# The caller is in one of its regions at this hour, whatever it is.
WINDOW = "US-FL 08:00-20:00; US 00:00-24:00; FR mon-fri 10:00-13:00,14:00-20:00; off 2020-12-25"
AREA_CODES = (*range(205, 211), *range(212, 220), 301, 303, 304, *range(307, 311), 312, 313, 314, 315)
RULES = {"calling_window": WINDOW, "call_cap": "900000000/24h, 900000001/7d", "require_consent": True}


class Rules(Row):
    """``VoiceInfraHook.place_call`` with no rules, with all of them, and without asking about any."""

    name = "rules"
    what = (
        "Calls per second that one process places through the hook. The peer is the same call that asks "
        "neither about suppressions nor about rules. All rules are calling windows by region in deployment "
        f"and connection, two caps, required consent, exempt numbers, and {SUPPRESSED:,} suppressions."
    )
    lines: ClassVar = tuple(
        Line(f"{database}, {rules}, {threads} thread{'s' if threads > 1 else ''}", "calls/s", (aim,))
        for database in DATABASES
        for rules, aim in (
            ("no rules", Aim(AT_LEAST, 1 / 1.05, "peer")),
            ("all rules", Aim(AT_LEAST, 1 / 1.25, "peer")),
        )
        for threads in (1, THREADS)
    )
    seconds = 320

    def open(self, stack: ExitStack) -> None:
        """Start the API and the databases; half of them have numbers that must not be called."""
        base_url = serve_bare_api(stack)
        plain = json.loads(connection(base_url))
        with_rules = {**plain, "extra": {**plain["extra"], **RULES, "exempt_numbers": "+14155550198"}}
        self.connections = {"no rules": json.dumps(plain), "all rules": json.dumps(with_rules)}
        new = databases(stack)
        self.urls = {
            (database, rules): new[database]() for database in DATABASES for rules in self.connections
        }
        for (_, rules), url in self.urls.items():
            if rules == "all rules":
                suppress_many(url)

    def measure(self, number: int) -> Mapping[str, Measured]:
        """Measure both databases, the one after the other."""
        found = {}
        for (database, rules), url in self.urls.items():
            os.environ["AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN"] = url
            os.environ["AIRFLOW__VOICEINFRA__CALLING_WINDOW"] = WINDOW if rules == "all rules" else ""
            os.environ["AIRFLOW_CONN_VOICEINFRA_DEFAULT"] = self.connections[rules]
            for threads in (1, THREADS):
                works = [hook_work() for _ in range(threads)]
                line = f"{database}, {rules}, {threads} thread{'s' if threads > 1 else ''}"
                found[line] = Measured(**asked_and_not(works))
        return found


def asked_and_not(works: list[Work]) -> dict[str, float]:
    """Return how often a second threads did their work, with the rules and without asking, in turn."""
    rates: dict[str, list[float]] = {"ours": [], "peer": []}
    for number in range(TURNS):
        for name in list(rates) if number % 2 == 0 else reversed(rates):
            with ExitStack() as stack:
                if name == "peer":
                    ask_nothing(stack)
                rates[name].append(rate(works, SECONDS, WARM_UP))
    return {name: sum(found) / len(found) for name, found in rates.items()}


def ask_nothing(stack: ExitStack) -> None:
    """Have calls placed without asking about anything, for a while."""
    from airflow_provider_voiceinfra.dialling.guard import Guard
    from airflow_provider_voiceinfra.ledger import claiming, claims
    from airflow_provider_voiceinfra.ledger.database.locks import no_locks

    def replace(owner: Any, name: str, by: Callable[..., Any]) -> None:
        stack.callback(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, by)

    replace(claiming, "refused_by_limits", lambda *args: [])
    replace(claims, "what_is_counted", lambda *args: no_locks)
    replace(claims, "suppressed", lambda *args: {})
    replace(claims.CallsLedger, "_keep_rules", lambda *args: None)
    replace(Guard, "check", lambda *args: float("inf"))


def hook_work() -> Work:
    """Return what places one call to somebody who agreed."""
    from airflow_provider_voiceinfra.calls import OutboundCall
    from airflow_provider_voiceinfra.hooks.voiceinfra import VoiceInfraHook

    hook = VoiceInfraHook()

    def work() -> None:
        # Few calls go to each number, as in a night: a cap reads all of them.
        number = f"+1{random.choice(AREA_CODES)}55501{random.randrange(100):02}"
        call = OutboundCall(**{**CALL, "to_number": number})
        key = f"bench/{uuid.uuid4().hex}"
        placed = hook.place_call(call, idempotency_key=key, unknown_timeout=5.0, consent="form 12")
        assert_placed(placed.call_id)

    return work


def suppress_many(url: str) -> None:
    """Fill a ledger with numbers that must not be called."""
    from airflow_provider_voiceinfra.ledger import CallLedger
    from airflow_provider_voiceinfra.ledger.rules.suppressions import Suppression

    numbers = [f"+1{area}5550{last:03}" for area in range(600, 700) for last in range(100, 200)]
    CallLedger(url).suppressions.add([Suppression(number) for number in numbers[:SUPPRESSED]])


ROWS = (Rules,)
