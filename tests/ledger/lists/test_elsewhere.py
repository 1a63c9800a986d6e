"""Webhooks also tell of calls that were not placed from here, such as inbound ones; they are listed apart."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.schema import calls, completions
from airflow_provider_voiceinfra.ledger.lists.values import OPEN, CallFilter, Direction, ListedCall, Order
from airflow_provider_voiceinfra.ledger.records import CallState
from tests.ledger.examples import execute
from tests.ledger.lists.samples import START, Reader, Sample, add, expected, look_at_few, recorded

OWN = [Sample(number, second=number, end=("answered", 100)) for number in (3, 40, 41, 59)]
# Longer ones and shorter ones, so that the others lie between them in each order.
FOREIGN = [
    Sample(number, second=number, end=("answered", 50 + number * 2)) for number in range(60) if number % 20
]


@pytest.fixture
def samples(ledger: CallLedger) -> list[Sample]:
    taken = {sample.number for sample in OWN}
    foreign = [sample for sample in FOREIGN if sample.number not in taken]
    add(ledger, foreign)
    execute(ledger, delete(calls))
    add(ledger, OWN)
    return OWN


@pytest.mark.parametrize("order", list(Order))
def test_calls_from_elsewhere_are_in_no_list(
    ledger: CallLedger, samples: list[Sample], order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bound in (5000, 7, 3):
        look_at_few(monkeypatch, bound)
        reader = Reader(ledger, order=order, limit=2)
        listed = [call.key_hash for page in reader.forwards() for call in page.calls]
        assert listed == expected(samples, CallFilter(), order)
    if order in (Order.LONGEST, Order.SHORTEST):  # the search stops however many of them there are
        page = reader.page()
        assert (page.calls, page.searched_to is None, page.after is None) == ([], False, False)


Rows = list[dict[str, Any]]
OURS, OTHERS = "+12025550100", "+12025550199"


def received(ledger: CallLedger, number: int, **values: Any) -> dict[str, Any]:
    """Put a record into the ledger that belongs to no call; by default of a call to a number of ours."""
    row = {
        "call_id": f"in_{number:06}",
        "sequence": 10_000 + number,
        "conn_id": "conn_a",
        "agent_id": "agent_1",
        "from_number": f"+1415555{number % 100 + 100:04}",
        "to_number": OURS,
        "call_outcome": "answered",
        "duration_seconds": 10 + number % 7,
        "received_at": START + timedelta(minutes=5, seconds=number // 3),
        "body": b"the body",
        **values,
    }
    hashes = {f"{name}_hash": row[name] for name in ("from_number", "to_number")}
    execute(ledger, insert(completions).values(**row, **hashes))
    return row


def inbound(**options: Any) -> CallFilter:
    return CallFilter(**{"direction": Direction.INBOUND, "own_numbers": frozenset({OURS}), **options})


def ids(found: list[ListedCall]) -> list[str | None]:
    return [call.call_id for call in found]


@pytest.fixture
def foreign(ledger: CallLedger) -> Rows:
    """Put calls of ours, inbound ones, and some of another system into the ledger."""
    add(ledger, [Sample(number, second=number, end=("answered", 30)) for number in range(40)])
    rows = [received(ledger, number) for number in range(31)]
    others = {"from_number": OTHERS, "to_number": "+14155550177", "call_outcome": "voicemail"}
    return [*rows, *(received(ledger, number, **others) for number in range(31, 36))]


def test_inbound_call_is_listed_as_its_webhook_said(ledger: CallLedger, foreign: Rows) -> None:
    call = ledger.lists.page_of_calls(inbound(), limit=1).calls[0]
    row = foreign[30]
    assert (call.call_id, call.conn_id, call.agent_id) == (row["call_id"], "conn_a", "agent_1")
    assert (call.direction, call.party) == (Direction.INBOUND, row["from_number"])
    assert (call.from_number, call.to_number) == (row["from_number"], OURS)
    assert (call.outcome, call.duration_seconds) == ("answered", row["duration_seconds"])
    assert (call.key_hash, call.state, call.claimed_at) == ("", None, row["received_at"])


def test_call_of_another_system_is_listed_as_such(ledger: CallLedger, foreign: Rows) -> None:
    page = ledger.lists.page_of_calls(inbound(direction=Direction.ELSEWHERE, conn_id="conn_a"))
    assert ids(page.calls) == [f"in_{number:06}" for number in range(35, 30, -1)]
    assert {call.party for call in page.calls} == {"+14155550177"}


@pytest.mark.parametrize("bound", [5000, 7])
@pytest.mark.parametrize("order", list(Order))
def test_each_inbound_call_is_on_one_page_forwards_and_back(
    ledger: CallLedger,
    foreign: Rows,
    order: Order,
    bound: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look_at_few(monkeypatch, bound)
    by = "duration_seconds" if order in (Order.LONGEST, Order.SHORTEST) else "received_at"
    found = sorted((row[by], row["call_id"]) for row in foreign if row["to_number"] == OURS)
    wanted = [call_id for _, call_id in found]
    if order in (Order.NEWEST, Order.LONGEST):
        wanted.reverse()
    for limit in (1, 4, 31):
        reader = Reader(ledger, inbound(), order=order, limit=limit)
        assert [one for page in reader.forwards() for one in ids(page.calls)] == wanted
        assert [one for page in reader.backwards() for one in ids(page.calls)] == wanted
    assert ids(list(ledger.lists.stream_calls(inbound(), order=order))) == wanted


@pytest.mark.parametrize(
    ("options", "number"),
    [
        ({"conn_id": "conn_a"}, 31),
        ({"conn_id": "conn_z"}, 0),
        ({"outcome": "answered"}, 31),
        ({"outcome": "failed"}, 0),
        ({"outcome": OPEN}, 0),
        ({"digits": "0105"}, 1),
        ({"digits": OURS[-4:]}, 1),  # of the caller, not of the number that was called
        ({"since": START + timedelta(minutes=5, seconds=10)}, 1),
        ({"until": START + timedelta(minutes=5, seconds=10)}, 30),
        ({"dag_id": "dag_a"}, 0),
        ({"campaign_id": "c"}, 0),
        ({"state": CallState.ACCEPTED}, 0),
        ({"dagless_conns": frozenset({"conn_b"})}, 0),
        ({"dagless_conns": frozenset({"conn_a"}), "hidden_dags": frozenset({"dag_a"})}, 31),
        ({"own_numbers": frozenset()}, 0),
    ],
)
@pytest.mark.parametrize("order", [Order.NEWEST, Order.LONGEST])
def test_list_of_inbound_calls_is_filtered(
    ledger: CallLedger, foreign: Rows, options: dict[str, Any], number: int, order: Order
) -> None:
    assert len(ledger.lists.page_of_calls(inbound(**options), order=order).calls) == number
    counted = ledger.lists.call_statistics(inbound(**options))
    assert (counted.calls, counted.is_complete) == (number, True)


def test_figures_of_inbound_calls_are_theirs_alone(ledger: CallLedger, foreign: Rows) -> None:
    counted = ledger.lists.call_statistics(inbound())
    assert counted.outcomes == {"answered": 31}
    assert counted.since == START + timedelta(minutes=5)
    assert sum(number for *_, number in counted.durations) == 31
    assert counted.mean_duration == pytest.approx(sum(row["duration_seconds"] for row in foreign[:31]) / 31)
    some = ledger.lists.call_statistics(inbound(), limit=10)
    assert (some.is_complete, some.looked_at) == (False, 10)


def test_inbound_calls_to_several_numbers_are_in_one_list(ledger: CallLedger, foreign: Rows) -> None:
    received(ledger, 50, to_number="+12025550101")
    page = ledger.lists.page_of_calls(inbound(own_numbers=frozenset({OURS, "+12025550101"})))
    assert len(page.calls) == 32
    assert ids(page.calls)[0] == "in_000050"


def test_call_that_adopts_its_webhook_is_ours(ledger: CallLedger, foreign: Rows) -> None:
    own = calls.update().where(calls.c.call_id == "call_000003")
    execute(ledger, own.values(call_id="in_000005"))
    assert "in_000005" not in ids(ledger.lists.page_of_calls(inbound()).calls)


def test_question_for_inbound_calls_looks_at_so_many_records_and_no_more(
    ledger: CallLedger, foreign: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_at_few(monkeypatch, 10)
    with recorded(ledger) as statements:
        page = ledger.lists.page_of_calls(inbound(direction=Direction.ELSEWHERE, outcome="busy"), limit=50)
    assert page.calls == []
    assert page.searched_to == START + timedelta(minutes=5, seconds=30)  # the newest ten are of ours
    assert page.after is not None
    read = [statement for statement in statements if "FROM voiceinfra_completions" in statement]
    assert 0 < len(read) <= 3
    assert all("LIMIT" in statement for statement in read)


def test_numbers_that_calls_are_placed_from_are_known(ledger: CallLedger) -> None:
    assert ledger.lists.own_numbers(["conn_a"]) == frozenset()
    add(ledger, [Sample(number) for number in range(3)])
    execute(ledger, calls.update().values(from_number=OURS))
    assert ledger.lists.own_numbers() == ledger.lists.own_numbers(["conn_a", "conn_z"]) == frozenset({OURS})


def test_connection_that_only_received_calls_is_known(ledger: CallLedger) -> None:
    received(ledger, 1, conn_id="reception")
    assert ledger.lists.known_connections() == ["reception"]
