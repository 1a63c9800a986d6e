"""Filters of calls let through what their descriptions say, whatever the calls are."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.lists.values import OPEN, CallFilter, Order
from airflow_provider_voiceinfra.ledger.records import CallState
from tests.ledger.lists.samples import START, Reader, Sample, add, expected, keys, look_at_few, replace_all

CONNS = ("conn_a", "conn_b", "conn_c")
DAGS = ("dag_a", "dag_b", None)
RUNS = ("run_1", "run_2", None)
CAMPAIGNS = ("c_1", "c_2", None)
NUMBERS = ("+14155550100", "+12065550100", "+14155550123", "+14155550110", "100", "")
DIGITS = ("0100", "50100", "5550100", "14155550100", "2065550100", "0123", "0199", "9995550100")
OUTCOMES = ("answered", "voicemail", "failed", None)

samples = st.builds(
    Sample,
    number=st.just(0),
    second=st.integers(0, 6),
    state=st.sampled_from([CallState.ACCEPTED] * 3 + list(CallState)),
    end=st.none() | st.tuples(st.sampled_from(OUTCOMES), st.none() | st.integers(0, 4)),
    conn_id=st.sampled_from(CONNS),
    dag_id=st.sampled_from(DAGS),
    run_id=st.sampled_from(RUNS),
    campaign_id=st.sampled_from(CAMPAIGNS),
    to_number=st.sampled_from(NUMBERS),
)
ledgers = st.lists(samples, max_size=40).map(
    lambda found: [Sample(**{**vars(one), "number": number}) for number, one in enumerate(found)]
)
moments = st.none() | st.integers(-1, 8).map(lambda second: START + timedelta(seconds=second))
filters = st.builds(
    CallFilter,
    conn_id=st.none() | st.sampled_from((*CONNS, "conn_z")),
    dag_id=st.none() | st.sampled_from(("dag_a", "dag_b", "dag_z")),
    run_id=st.none() | st.sampled_from(("run_1", "run_2")),
    campaign_id=st.none() | st.sampled_from(("c_1", "c_2")),
    state=st.none() | st.sampled_from(CallState),
    outcome=st.none() | st.sampled_from(("answered", "voicemail", "busy", OPEN)),
    digits=st.none() | st.sampled_from(DIGITS),
    since=moments,
    until=moments,
    hidden_dags=st.frozensets(st.sampled_from(("dag_a", "dag_b"))),
    dagless_conns=st.none() | st.frozensets(st.sampled_from(CONNS)),
)
# Most filters have a few of these fields set, and with all of them nothing would be found.
some = st.tuples(filters, st.sets(st.sampled_from(sorted(CallFilter.__dataclass_fields__)), max_size=3)).map(
    lambda drawn: CallFilter(**{name: getattr(drawn[0], name) for name in drawn[1]})
)


@pytest.fixture(params=[None, 8], ids=["one question", "many questions"])
def bound(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a question look at as many calls as it may, or at so few that most need several."""
    if request.param:
        look_at_few(monkeypatch, request.param)


@pytest.mark.usefixtures("bound")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(samples=ledgers, wanted=st.lists(some | filters, min_size=1, max_size=4), data=st.data())
def test_list_holds_what_the_filter_lets_through(
    ledger: CallLedger, samples: list[Sample], wanted: list[CallFilter], data: st.DataObject
) -> None:
    replace_all(ledger, samples)
    for one in wanted:
        order, limit = data.draw(st.sampled_from(Order)), data.draw(st.sampled_from([1, 5, 12, 50]))
        reader = Reader(ledger, one, order=order, limit=limit)
        assert keys(reader.forwards()) == expected(samples, one, order)
        assert keys(reader.backwards()) == expected(samples, one, order)


@pytest.fixture
def one_of_each(ledger: CallLedger) -> list[Sample]:
    """Return calls of every kind."""
    samples = [
        Sample(number, second=number, state=state, end=end, conn_id=conn_id, dag_id=dag_id)
        for number, (state, end, conn_id, dag_id) in enumerate(
            (state, end, conn_id, dag_id)
            for state in CallState
            for end in (None, ("answered", 5), (None, None))
            for conn_id in ("conn_a", "conn_b")
            for dag_id in ("dag_a", "dag_b", None)
        )
    ]
    add(ledger, samples)
    return samples


@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        (CallFilter(), 72),
        (CallFilter(conn_id="conn_a"), 36),
        (CallFilter(dag_id="dag_a"), 24),
        (CallFilter(state=CallState.UNKNOWN), 18),
        (CallFilter(outcome="answered"), 6),
        (CallFilter(outcome=OPEN), 6),
        (CallFilter(outcome=OPEN, state=CallState.UNKNOWN), 0),
        (CallFilter(hidden_dags=frozenset({"dag_a"})), 48),
        (CallFilter(hidden_dags=frozenset({"dag_a"}), dag_id="dag_a"), 0),
        (CallFilter(dagless_conns=frozenset()), 48),
        (CallFilter(dagless_conns=frozenset({"conn_a"})), 60),
        (CallFilter(since=START + timedelta(seconds=70)), 2),
        (CallFilter(until=START + timedelta(seconds=2)), 2),
        (CallFilter(digits="0100"), 72),
        (CallFilter(digits="14155550100"), 72),
        (CallFilter(digits="24155550100"), 0),
    ],
    ids=repr,
)
def test_each_field_of_a_filter_by_itself(
    ledger: CallLedger, one_of_each: list[Sample], wanted: CallFilter, number: int
) -> None:
    assert len(ledger.lists.page_of_calls(wanted, limit=100).calls) == number


@pytest.mark.parametrize("field", ["conn_id", "dag_id", "run_id", "campaign_id", "outcome", "digits"])
@pytest.mark.parametrize("order", [Order.NEWEST, Order.LONGEST])
def test_hostile_values_find_none(
    ledger: CallLedger, one_of_each: list[Sample], field: str, order: Order
) -> None:
    for value in ("%", "_", "' OR 1=1 --", "\\", "ü", "x" * 5000):
        assert ledger.lists.page_of_calls(CallFilter(**{field: value}), order=order).calls == []  # type: ignore[arg-type]


def test_many_hidden_dags_and_readable_connections(ledger: CallLedger, one_of_each: list[Sample]) -> None:
    # An installation has thousands of DAGs, most of which a visitor may not see.
    hidden = frozenset({"dag_a", *(f"dag_{number}" for number in range(3000))})
    readable = frozenset({"conn_a", *(f"conn_{number}" for number in range(3000))})
    wanted = CallFilter(hidden_dags=hidden, dagless_conns=readable)
    assert len(ledger.lists.page_of_calls(wanted, limit=100).calls) == 36
