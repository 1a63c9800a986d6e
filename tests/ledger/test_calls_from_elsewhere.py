"""Webhooks also tell of calls that were not placed from here, such as inbound ones; lists leave these out."""

from __future__ import annotations

import pytest
from sqlalchemy import delete

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.connect import database
from airflow_provider_voiceinfra.ledger.listed import CallFilter, Order
from airflow_provider_voiceinfra.ledger.schema import calls
from tests.ledger.lists import Reader, Sample, add, expected, look_at_few

OWN = [Sample(number, second=number, end=("answered", 100)) for number in (3, 40, 41, 59)]
# Longer ones and shorter ones, so that the others lie between them in each order.
FOREIGN = [
    Sample(number, second=number, end=("answered", 50 + number * 2)) for number in range(60) if number % 20
]


@pytest.fixture
def samples(ledger: CallLedger, ledger_url: str) -> list[Sample]:
    ledger.upgrade()
    taken = {sample.number for sample in OWN}
    foreign = [sample for sample in FOREIGN if sample.number not in taken]
    add(ledger_url, foreign)
    with database(ledger_url).writing() as connection:
        connection.execute(delete(calls))
    add(ledger_url, OWN)
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


@pytest.mark.parametrize("order", [Order.LONGEST, Order.SHORTEST])
def test_search_by_duration_stops_however_many_of_them_there_are(
    ledger: CallLedger, samples: list[Sample], order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_at_few(monkeypatch, 3)
    page = ledger.page_of_calls(CallFilter(), order=order, limit=2)
    assert page.calls == []
    assert page.searched_to is not None
    assert page.after is not None
