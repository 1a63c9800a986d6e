"""Calls for lists: as many as wanted, claimed at few moments, and how a person would filter and sort them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import delete, event, insert

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.schema import calls, completions
from airflow_provider_voiceinfra.ledger.lists import search
from airflow_provider_voiceinfra.ledger.lists.values import OPEN, CallFilter, CallsPage, ListedCall, Order
from airflow_provider_voiceinfra.ledger.records import ORIGIN_COLUMNS, CallOrigin, CallState
from airflow_provider_voiceinfra.ledger.rows import new_claim
from tests.ledger.examples import execute

START = datetime(2026, 1, 5, 20, 59, 58, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Sample:
    """A call as it is in the ledger.

    :param second: when it was claimed, after ``START``.
    :param end: its outcome and its duration, if its webhook came.
    """

    number: int
    second: int = 0
    state: CallState = CallState.ACCEPTED
    end: tuple[str | None, int | None] | None = None
    conn_id: str = "conn_a"
    dag_id: str | None = "dag_a"
    run_id: str | None = "run_1"
    campaign_id: str | None = None
    to_number: str = "+14155550100"

    @property
    def row(self) -> dict[str, Any]:
        """The row in the table of calls."""
        origin = CallOrigin(dag_id=self.dag_id, run_id=self.run_id, campaign_id=self.campaign_id)
        request = {"to_number": self.to_number, "first_message": "the request"}
        claim = new_claim(f"key {self.number}", request, self.conn_id, origin)
        call_id = f"call_{self.number:06}" if self.state is CallState.ACCEPTED else None
        at = {"claimed_at": self.claimed_at, "renewed_at": self.claimed_at}
        return {**claim, **at, "state": self.state.value, "call_id": call_id}

    @property
    def completion(self) -> dict[str, Any] | None:
        """The row in the table of completions."""
        if self.end is None or self.state is not CallState.ACCEPTED:
            return None
        return {
            "call_id": f"call_{self.number:06}",
            "sequence": self.number,
            "conn_id": self.conn_id,
            "to_number": self.to_number,
            "to_number_hash": self.to_number,
            "call_outcome": self.end[0],
            "duration_seconds": self.end[1],
            "received_at": self.claimed_at + timedelta(minutes=5),
            "body": b"the body",
        }

    @property
    def claimed_at(self) -> datetime:
        """When it was claimed."""
        return START + timedelta(seconds=self.second)


def add(ledger: CallLedger, samples: Iterable[Sample]) -> None:
    """Put calls into a ledger."""
    some = list(samples)
    rows = {calls: [one.row for one in some], completions: [one.completion for one in some if one.completion]}
    with ledger._database.writing() as connection:
        for table, values in rows.items():
            if values:
                connection.execute(insert(table), values)


def replace_all(ledger: CallLedger, samples: Iterable[Sample]) -> None:
    """Put calls into a ledger instead of those that are there."""
    execute(ledger, delete(calls), delete(completions))
    add(ledger, samples)


@contextmanager
def recorded(ledger: CallLedger) -> Iterator[list[str]]:
    """Give the statements that are executed meanwhile."""
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(ledger._database.engine, "before_cursor_execute", note)
    yield statements
    event.remove(ledger._database.engine, "before_cursor_execute", note)


def look_at_few(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let a question look at so few calls, in whichever way, that most lists need several questions."""
    for bound in ("SCAN", "_SCATTERED", "_SORT"):
        monkeypatch.setattr(search, bound, number)


def wants(wanted: CallFilter, call: ListedCall) -> bool:
    """Return whether a filter lets a call through, as its description says."""
    number = call.to_number or ""
    is_open = call.state is CallState.ACCEPTED and call.received_at is None
    dag_id = call.origin.dag_id
    return (
        wanted.conn_id in (None, call.conn_id)
        and wanted.dag_id in (None, dag_id)
        and wanted.run_id in (None, call.origin.run_id)
        and wanted.campaign_id in (None, call.origin.campaign_id)
        and wanted.state in (None, call.state)
        and (
            wanted.outcome is None or (is_open if wanted.outcome == OPEN else call.outcome == wanted.outcome)
        )
        and (wanted.digits is None or number.endswith(wanted.digits))
        and (wanted.since is None or call.claimed_at >= wanted.since)
        and (wanted.until is None or call.claimed_at < wanted.until)
        and dag_id not in wanted.hidden_dags
        and (wanted.dagless_conns is None or dag_id is not None or call.conn_id in wanted.dagless_conns)
    )


def in_order(found: Iterable[ListedCall], order: Order) -> list[str]:
    """Return the keys of calls in an order; by duration, of those alone that have one."""
    if order in (Order.NEWEST, Order.OLDEST):
        keys = sorted((call.claimed_at, call.key_hash, call.key_hash) for call in found)
    else:
        ended = [call for call in found if call.duration_seconds is not None]
        keys = sorted((call.duration_seconds, call.call_id, call.key_hash) for call in ended)  # type: ignore[misc]
    if order in (Order.NEWEST, Order.LONGEST):
        keys.reverse()
    return [key_hash for *_, key_hash in keys]


def expected(samples: Iterable[Sample], wanted: CallFilter, order: Order) -> list[str]:
    """Return the keys of the calls that a list has to show."""
    return in_order([call for call in map(as_listed, samples) if wants(wanted, call)], order)


def as_listed(sample: Sample) -> ListedCall:
    """Return a call as a list has to show it."""
    row, end = sample.row, sample.completion or {}
    own = [name for name in ListedCall.__dataclass_fields__ if name in row and name != "state"]
    origin = CallOrigin(**{name: row[name] for name in ORIGIN_COLUMNS})
    return ListedCall(
        **{name: row[name] for name in own},
        state=sample.state,
        origin=origin,
        outcome=end.get("call_outcome"),
        **{name: end.get(name) for name in ("duration_seconds", "started_at", "ended_at", "received_at")},  # type: ignore[arg-type]
    )


class Reader:
    """Turns the pages of a list, which are asked for with the same options each time."""

    def __init__(self, ledger: CallLedger, wanted: CallFilter | None = None, **options: Any) -> None:
        self._ledger = ledger
        self._wanted = wanted or CallFilter()
        self._options = {"limit": 7, **options}

    def page(self, **place: Any) -> CallsPage:
        """Return one page."""
        page = self._ledger.lists.page_of_calls(self._wanted, **self._options, **place)
        assert len(page.calls) <= self._options["limit"]
        return page

    def forwards(
        self, *, begin: CallsPage | None = None, meanwhile: Callable[[], object] = lambda: None
    ) -> list[CallsPage]:
        """Return all pages from the first, or from another one, on; something happens between two of them."""
        pages = [begin or self.page()]
        while pages[-1].after is not None:
            meanwhile()
            pages.append(self.page(after=pages[-1].after))
        return pages

    def backwards(self, *, begin: CallsPage | None = None) -> list[CallsPage]:
        """Return all pages from the last on, or from those before another one, in the order of the list."""
        pages = [begin or self.page(last=True)]
        while pages[0].before is not None:
            pages.insert(0, self.page(before=pages[0].before))
        return pages


def keys(pages: Iterable[CallsPage]) -> list[str]:
    """Return the keys of the calls on some pages."""
    return [call.key_hash for page in pages for call in page.calls]


def many(number: int) -> list[Sample]:
    """Return calls of which always four were claimed at the same moment and three were as long as others."""
    ends = [("answered", 10 + one % 17) if one % 3 else None for one in range(number)]
    return [Sample(one, second=one // 4, end=end) for one, end in enumerate(ends)]
