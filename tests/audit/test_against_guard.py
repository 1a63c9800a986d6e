"""What the real guard lets through never offends, and is found out under a rule that is tighter."""

from __future__ import annotations

import math
import random
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import event, select, update

from airflow_provider_voiceinfra.audit.verdicts import CALL_CAP, OUTSIDE, Verdict
from airflow_provider_voiceinfra.calls import OutboundCall, PlacedCall
from airflow_provider_voiceinfra.dialling import placing
from airflow_provider_voiceinfra.dialling.clocks import Clocks
from airflow_provider_voiceinfra.dialling.guard import Guard
from airflow_provider_voiceinfra.dialling.outcomes import OnUnknown, UnknownPolicy
from airflow_provider_voiceinfra.dialling.placing import CallPlacer
from airflow_provider_voiceinfra.exceptions import (
    CallNotPlacedError,
    CallOutcomeUnknownError,
    InvalidCallError,
)
from airflow_provider_voiceinfra.ledger import CallLedger, claims, rows, settling
from airflow_provider_voiceinfra.ledger.database.schema import calls
from airflow_provider_voiceinfra.ledger.rules.suppressions import Suppression
from airflow_provider_voiceinfra.rules.recipient import Recipient
from airflow_provider_voiceinfra.rules.rule_set import Rules, RuleSet
from tests.audit.planting import Field
from tests.ledger.examples import execute
from tests.support.ledgers import ON_SQLITE

pytestmark = ON_SQLITE  # whose clock a test can set

CONN_ID = "c"
ATTEMPTS = 120
NUMBERS = [f"+1{area}5550{line}" for area in (212, 219, 305, 312, 401, 415, 602, 800) for line in (100, 101)]
WINDOWS = [
    "09:00-20:00",
    "mon-fri 08:00-21:00; sat 10:00-16:00",
    "US-FL 08:00-20:00; US 08:00-21:00; FR mon-fri 10:00-13:00,14:00-20:00",
    "US-FL,US-RI mon-sat 09:00-18:00; 10:00-22:00; US-RI off 2026-11-02; holidays US",
    "20:00-02:00; off 2026-11-01",
    "sat-tue 06:00-23:30 America/New_York",
    '[{"regions": ["US-AZ"], "days": "fri-mon", "from": "00:00", "to": "24:00"}, "11:00-19:00"]',
    "00:30-02:30; 09:00-23:00",
]
CAPS = ["1/2h", "2/24h", "3/24h, 5/7d", "1/1h; 4/2d"]
RECIPIENTS = [
    Recipient(),
    Recipient(consent="form 17"),
    Recipient(timezone="America/Denver", consent="form 18"),
    Recipient(region="US-FL", consent="form 19"),
    Recipient(region="FR", consent="form 20"),
]
# New York puts its clock back on 1 November, at 06:00 UTC.
START = datetime(2026, 10, 30, 12, tzinfo=timezone.utc)


class FakeTime:
    """One clock for the database, for the process and for whatever is waited for."""

    def __init__(self) -> None:
        self.now = START

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def passed(self) -> float:
        return (self.now - START).total_seconds()

    def for_sqlite(self, *arguments: Any) -> str:
        return self.now.strftime("%Y-%m-%d %H:%M:%S.%f")


class FakeClient:
    """Takes calls, or loses the answer; never after the moment by which they must have begun."""

    def __init__(self, time: FakeTime, luck: random.Random) -> None:
        self._time, self._luck = time, luck
        self.rang = 0

    def place(self, call: OutboundCall, *, begin_by: float = math.inf) -> PlacedCall:
        assert self._time.passed() < begin_by
        self.rang += 1
        if self._luck.random() < 0.2:
            raise CallOutcomeUnknownError("lost", code="answer_lost")
        return PlacedCall(f"call_{self.rang}")


@pytest.fixture
def fake_time(ledger_url: str, sqlite_template: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTime]:
    """Have the database and this process live at another time."""
    time = FakeTime()
    for module in (rows, claims, settling):
        monkeypatch.setattr(module, "now", lambda: time.now)
    monkeypatch.setattr(placing, "REDIAL_AFTER", 0.0)
    engine = CallLedger(ledger_url)._database.engine

    def set_clock(connection: sqlite3.Connection, _: object) -> None:
        connection.create_function("strftime", 2, time.for_sqlite)

    event.listen(engine, "connect", set_clock)
    engine.dispose()
    yield time
    event.remove(engine, "connect", set_clock)


class World:
    """Somebody who tries to call people at any hour, under rules drawn by lot."""

    def __init__(self, ledger: CallLedger, time: FakeTime, seed: int) -> None:
        self.ledger, self.time = ledger, time
        self.luck = random.Random(seed)
        self.client = FakeClient(time, self.luck)
        self._rule_sets = [RuleSet(*(self._rules() for _ in range(3))) for _ in range(3)]

    def _rules(self) -> Rules:
        maybe = self.luck.random
        return Rules.parse(
            {
                "calling_window": self.luck.choice(WINDOWS) if maybe() < 0.45 else None,
                "call_cap": self.luck.choice(CAPS) if maybe() < 0.4 else None,
                "exempt_numbers": self.luck.sample(NUMBERS, 2) if maybe() < 0.3 else None,
                "require_consent": maybe() < 0.15,
            }
        )

    def run(self) -> None:
        for number in range(ATTEMPTS):
            # Some are placed shortly after the other, and some at the very moments at which windows change.
            self.time.forward(self.luck.choice((1, 60, 1800, 3600, 7200)) * self.luck.random())
            if self.luck.random() < 0.5:
                hour = self.time.now.replace(minute=0, second=0, microsecond=0)
                self.time.now = hour + timedelta(minutes=30 * self.luck.randrange(2, 5))
            if self.luck.random() < 0.1:
                self._suppress()
            self._call(f"key {number}")

    def _call(self, key: str) -> None:
        guard = Guard(self.luck.choice(self._rule_sets), Clocks(lambda: self.time.now, self.time.passed))
        placer = CallPlacer(
            self.ledger,
            self.client,  # type: ignore[arg-type]
            conn_id=CONN_ID,
            clocks=Clocks(lambda: self.time.now, self.time.passed),
            guard=guard,
        )
        call = OutboundCall(self.luck.choice(NUMBERS), agent_id="a", from_number="+12125550199")
        policy = UnknownPolicy(0.0, OnUnknown.REDIAL if self.luck.random() < 0.5 else OnUnknown.FAIL)
        # A region may not fit a number, which is said before anybody is called.
        with suppress(CallNotPlacedError, CallOutcomeUnknownError, InvalidCallError):
            placer.step(key, call, policy, recipient=self.luck.choice(RECIPIENTS))

    def _suppress(self) -> None:
        ends_at = self.time.now + timedelta(hours=self.luck.randrange(1, 9))
        number = self.luck.choice(NUMBERS)
        self.ledger.suppressions.add([Suppression(number, ends_at=ends_at)])
        # Nothing else happens at the very moment: the database's clock goes on.
        self.time.forward(0.001)
        if self.luck.random() < 0.3:
            self.ledger.suppressions.remove([one.id for one in self.ledger.suppressions.of_number(number)])
            self.time.forward(0.001)


def judged(field: Field) -> list[Verdict]:
    return list(field.verdicts(START - timedelta(days=1), START + timedelta(days=90)))


@pytest.fixture(params=range(8))
def world(field: Field, fake_time: FakeTime, request: pytest.FixtureRequest) -> World:
    world = World(field.ledger, fake_time, request.param)
    world.run()
    assert world.client.rang > ATTEMPTS / 12
    return world


def test_what_the_guard_lets_through_never_offends(world: World, field: Field) -> None:
    verdicts = judged(field)
    assert [verdict for verdict in verdicts if verdict.findings or verdict.unjudged] == []
    assert len(verdicts) == world.client.rang
    assert {verdict.at for verdict in verdicts} >= {
        row.dialled_at
        for row in field.ledger._database.rows(select(calls.c.dialled_at).where(calls.c.state != "refused"))
    }


def test_under_a_window_without_their_minute_they_offend(world: World, field: Field) -> None:
    verdicts = judged(field)
    for verdict in world.luck.sample(verdicts, 5):
        assert verdict.at is not None
        zone, local = world.luck.choice(sorted(verdict.local.items()))
        assert local == verdict.at.astimezone(ZoneInfo(zone))
        minute = local.hour * 60 + local.minute
        spans = [(0, minute), (minute + 1, 1440)]
        text = "; ".join(f"{a // 60:02d}:{a % 60:02d}-{b // 60:02d}:{b % 60:02d}" for a, b in spans if a < b)
        field.change(verdict.call.key_hash, rules_id=field.rules(deployment={"calling_window": text}))
        assert (verdict.call.key_hash, OUTSIDE) in field.found(
            since=verdict.at, until=verdict.at + timedelta(microseconds=1)
        )


def test_under_a_cap_of_one_all_but_the_first_offend(world: World, field: Field) -> None:
    tight = field.rules(deployment={"call_cap": "1/90d"})
    dials: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
    for verdict in judged(field):
        assert verdict.at is not None
        dials[str(verdict.call.to_number)].append((verdict.at, verdict.call.key_hash))
    execute(field.ledger, update(calls).values(rules_id=tight))
    expected = sorted((key, CALL_CAP) for of_number in dials.values() for _, key in sorted(of_number)[1:])
    found = field.found(since=START - timedelta(days=1), until=START + timedelta(days=90))
    assert sorted(found) == expected
    assert expected
