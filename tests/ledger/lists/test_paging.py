"""Pages of calls: each call on one of them, whichever way they are read, and whatever happens meanwhile."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.lists import calls as listing
from airflow_provider_voiceinfra.ledger.lists.values import CallFilter, ListedCall, Order
from airflow_provider_voiceinfra.ledger.records import CallState
from tests.ledger.examples import CALL
from tests.ledger.lists.samples import (
    START,
    Reader,
    Sample,
    add,
    as_listed,
    expected,
    keys,
    look_at_few,
    many,
    recorded,
)
from tests.ledger.racing import after_statement

EVERY_ORDER = pytest.mark.parametrize("order", list(Order))


class TestTurningPages:
    @EVERY_ORDER
    @pytest.mark.parametrize("through", [None, "conn_a"], ids=["all", "those that an index leads to"])
    def test_each_call_is_on_one_page_forwards_and_back(
        self, ledger: CallLedger, order: Order, through: str | None
    ) -> None:
        samples = many(60)
        add(ledger, samples)
        reader = Reader(ledger, CallFilter(conn_id=through), order=order)
        wanted = expected(samples, CallFilter(), order)
        pages = reader.forwards()
        assert keys(pages) == wanted
        assert pages[0].before is None
        assert reader.page(last=True).after is None
        assert {page.searched_to for page in pages} == {None}
        # The page before a page is the one it came from.
        for number, page in enumerate(pages[1:]):
            assert reader.page(before=page.before).calls == pages[number].calls
        back = reader.backwards()
        assert keys(back) == wanted
        for number, page in enumerate(back[:-1]):
            assert reader.page(after=page.after).calls == back[number + 1].calls

    @EVERY_ORDER
    def test_list_that_fills_its_last_page_ends_there(self, ledger: CallLedger, order: Order) -> None:
        add(ledger, [Sample(number, end=("answered", 5)) for number in range(14)])
        reader = Reader(ledger, order=order)
        assert [len(page.calls) for page in reader.forwards()] == [7, 7]
        assert [len(page.calls) for page in reader.backwards()] == [7, 7]

    @EVERY_ORDER
    @pytest.mark.parametrize("options", [{}, {"last": True}])
    def test_empty_list_is_one_page(self, ledger: CallLedger, order: Order, options: dict[str, bool]) -> None:
        page = ledger.lists.page_of_calls(CallFilter(), order=order, **options)  # type: ignore[arg-type]
        assert (page.calls, page.before, page.after, page.searched_to) == ([], None, None, None)

    def test_calls_that_are_placed_meanwhile_shift_no_page(self, ledger: CallLedger) -> None:
        samples = many(40)
        add(ledger, samples)
        newer = iter(Sample(number, second=1000 + number) for number in range(1000, 2000))
        newest, oldest = Reader(ledger), Reader(ledger, order=Order.OLDEST)
        pages = newest.forwards(meanwhile=lambda: add(ledger, [next(newer)]))
        assert keys(pages) == expected(samples, CallFilter(), Order.NEWEST)
        # On the way back there they are, in front.
        assert len(keys(newest.backwards(begin=pages[-1]))) == 40 + len(pages) - 1
        before = keys(oldest.forwards())
        more = iter([[Sample(2000 + number, second=3000 + number) for number in range(9)]])
        pages = oldest.forwards(meanwhile=lambda: add(ledger, next(more, [])))
        assert keys(pages)[: len(before)] == before
        assert len(keys(pages)) == len(before) + 9


class TestBound:
    """A question looks at so many calls and no more; those behind it are found by going on."""

    @pytest.fixture(autouse=True)
    def small_bound(self, monkeypatch: pytest.MonkeyPatch) -> None:
        look_at_few(monkeypatch, 10)

    @pytest.fixture
    def rare(self, ledger: CallLedger) -> list[Sample]:
        """Return calls of which every thirteenth went through another connection, and none has a DAG."""
        samples = [replace(one, dag_id=None) for one in many(70)]
        samples = [replace(one, conn_id="conn_b") if one.number % 13 == 5 else one for one in samples]
        add(ledger, samples)
        return samples

    @EVERY_ORDER
    @pytest.mark.parametrize(
        "wanted",
        [
            CallFilter(dagless_conns=frozenset({"conn_b"})),
            CallFilter(conn_id="conn_b"),
            CallFilter(conn_id="conn_a", outcome="answered", digits="5550100"),
            CallFilter(outcome="busy"),
            CallFilter(since=START + timedelta(seconds=5), dagless_conns=frozenset({"conn_b"})),
        ],
        ids=["rare", "rare, with an index", "most", "none", "rare, of some time"],
    )
    def test_going_on_finds_each_call_once(
        self, ledger: CallLedger, rare: list[Sample], order: Order, wanted: CallFilter
    ) -> None:
        for limit in (2, 30):
            reader = Reader(ledger, wanted, order=order, limit=limit)
            assert keys(reader.forwards()) == expected(rare, wanted, order)
            assert keys(reader.backwards()) == expected(rare, wanted, order)

    @EVERY_ORDER
    def test_turning_round_finds_what_was_passed(
        self, ledger: CallLedger, rare: list[Sample], order: Order
    ) -> None:
        wanted = CallFilter(dagless_conns=frozenset({"conn_b"}))
        every = expected(rare, wanted, order)
        reader = Reader(ledger, wanted, order=order, limit=3)
        passed: list[str] = []
        for page in reader.forwards():
            if page.before is not None:  # which only the first page has not
                back = reader.backwards(begin=reader.page(before=page.before))
                assert keys(back) == passed
            passed += keys([page])
        assert passed == every
        for page in reader.backwards():
            if page.after is not None:
                onwards = reader.forwards(begin=reader.page(after=page.after))
                assert keys([page, *onwards]) == every[len(every) - len(keys([page, *onwards])) :]

    def test_how_far_the_search_came_is_told(self, ledger: CallLedger, rare: list[Sample]) -> None:
        pages = Reader(ledger, CallFilter(outcome="busy")).forwards()
        told = [page.searched_to for page in pages]
        # 70 calls, ten at a time, the newest of which were claimed in second 17.
        assert len(pages) == 8
        assert told[0] == START + timedelta(seconds=15)
        assert told[-2:] == [START, None]
        assert told[:-1] == sorted((one for one in told if one), reverse=True)
        assert len(Reader(ledger, limit=10).page().calls) == 10
        assert Reader(ledger, limit=5).page().searched_to is None  # which is full

    @pytest.mark.parametrize("moment", range(4))
    def test_calls_placed_during_a_search_double_none(
        self, ledger: CallLedger, rare: list[Sample], moment: int
    ) -> None:
        # Were the end of what was looked at counted again, it would have moved towards the start by then.
        wanted = CallFilter(dagless_conns=frozenset({"conn_b"}))
        newer = [Sample(number, second=number, dag_id=None) for number in range(1000, 1010)]
        after_statement(ledger, "SELECT", "calls", lambda: add(ledger, newer), nth=moment + 1)
        pages = Reader(ledger, wanted, limit=3).forwards()
        assert keys(pages) == expected(rare, wanted, Order.NEWEST)

    @pytest.mark.parametrize("moment", range(4))
    def test_calls_placed_anew_meanwhile_hide_none(
        self, ledger: CallLedger, rare: list[Sample], moment: int
    ) -> None:
        # A refused call that is tried again is a new one, and all that were behind it move up.
        wanted = CallFilter(dagless_conns=frozenset({"conn_b"}))
        refusal = Sample(0, second=-1, state=CallState.REFUSED, dag_id=None)
        refused = [replace(refusal, number=number) for number in range(900, 909)]
        add(ledger, refused)

        def place_anew() -> None:
            for sample in refused:
                assert ledger.claim(f"key {sample.number}", CALL, conn_id="conn_a")[1]

        after_statement(ledger, "SELECT", "calls", place_anew, nth=moment + 1)
        pages = Reader(ledger, wanted, order=Order.OLDEST, limit=3).forwards()
        assert keys(pages) == expected(rare, wanted, Order.OLDEST)

    @EVERY_ORDER
    def test_export_goes_on_to_the_end(
        self, ledger: CallLedger, rare: list[Sample], order: Order, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listing, "_STREAM_CHUNK", 4)
        wanted = CallFilter(dagless_conns=frozenset({"conn_b"}))
        found = [call.key_hash for call in ledger.lists.stream_calls(wanted, order=order)]
        assert found == expected(rare, wanted, order)


def test_export_holds_nothing_between_two_calls(ledger: CallLedger) -> None:
    add(ledger, many(20))
    export = ledger.lists.stream_calls(CallFilter())
    next(export)
    assert ledger._database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert len(list(export)) == 19


class TestWhatIsRead:
    def test_line_of_a_list_says_all_that_is_known(self, ledger: CallLedger) -> None:
        samples = [
            *many(3),
            Sample(10, second=5, state=CallState.UNKNOWN, campaign_id="c", dag_id=None, run_id=None),
            Sample(11, second=6, end=(None, None)),
        ]
        add(ledger, samples)
        page = ledger.lists.page_of_calls(CallFilter(), order=Order.OLDEST)
        listed = {call.key_hash: call for call in map(as_listed, samples)}
        assert {call.key_hash: call for call in page.calls} == listed
        assert ledger.lists.listed_call(page.calls[0].key_hash) == page.calls[0]

    def test_requests_and_bodies_are_never_read(self, ledger: CallLedger) -> None:
        add(ledger, many(20))
        with recorded(ledger) as statements:
            for order in Order:
                list(ledger.lists.stream_calls(CallFilter(digits="5550100", outcome="answered"), order=order))
            ledger.lists.call_statistics(CallFilter())
            ledger.lists.last_completion("conn_a")
        assert len(statements) > 5
        for statement in statements:
            assert "request" not in statement
            assert "body" not in statement

    def test_numbers_stay_out_of_what_a_log_may_show(self) -> None:
        call: ListedCall = as_listed(Sample(1))
        assert "4155550100" not in repr(call)
        assert "4155550100" not in repr(CallFilter(digits="4155550100"))


def written(text: str | bytes) -> str:
    raw = text.encode() if isinstance(text, str) else text
    return base64.urlsafe_b64encode(raw).decode()


GARBAGE = [
    "x",
    "not base64!",
    "ünïcode",
    "\ud800",
    written(b"\xff\xfe"),
    written(b"[" * 50_000),
    written("5"),
    written('["yesterday", "x"]'),
    written("yesterday x"),
    written("2027-01-04T21:00:00 \x00"),
]
# What a place in a list might look like, with values that no database can hold.
EXTREMES = [
    *(f"{number} call_1" for number in (2**31, 2**63, 10**400, -1, "1e5", "١٢", "²")),
    *(f"{year}-01-01T00:00:00{zone} x" for year in ("0001", "9999") for zone in ("", "+14:00", "-14:00")),
    "0 " + "x" * 100_000,
    "0= call_1",
    "0",
    " ",
    "= ",
]


class TestTamperedPlaces:
    @pytest.fixture(autouse=True)
    def some_calls(self, ledger: CallLedger) -> None:
        add(ledger, many(30))

    @EVERY_ORDER
    @pytest.mark.parametrize("side", ["before", "after"])
    def test_what_no_page_has_given_out_is_refused(self, ledger: CallLedger, order: Order, side: str) -> None:
        for text in GARBAGE:
            with pytest.raises(ValueError):  # noqa: PT011  # what it says is for nobody
                ledger.lists.page_of_calls(CallFilter(), order=order, **{side: text})  # type: ignore[arg-type]

    @pytest.mark.parametrize("order", [Order.NEWEST, Order.LONGEST])
    def test_whatever_it_says_it_is_a_page_or_refused(self, ledger: CallLedger, order: Order) -> None:
        for text in EXTREMES:
            self.ask(ledger, order, written(text))

    @pytest.mark.parametrize("order", [Order.NEWEST, Order.LONGEST])
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
    @given(change=st.tuples(st.integers(0, 200), st.binary(max_size=6)), cut=st.integers(0, 12))
    @example(change=(0, b""), cut=1)
    def test_place_that_was_changed_is_a_page_or_refused(
        self, ledger: CallLedger, order: Order, change: tuple[int, bytes], cut: int
    ) -> None:
        place = ledger.lists.page_of_calls(CallFilter(), order=order, limit=5).after
        assert place is not None
        raw = bytearray(base64.urlsafe_b64decode(place))
        at = change[0] % len(raw)
        raw[at : at + len(change[1])] = change[1]
        self.ask(ledger, order, written(bytes(raw)))
        self.ask(ledger, order, place[: len(place) - cut] or "x")

    def test_place_in_another_order_is_refused(self, ledger: CallLedger) -> None:
        by_time = ledger.lists.page_of_calls(CallFilter(), limit=5).after
        by_duration = ledger.lists.page_of_calls(CallFilter(), order=Order.LONGEST, limit=5).after
        for place, order in ((by_time, Order.SHORTEST), (by_duration, Order.OLDEST)):
            for side in ("before", "after"):
                with pytest.raises(ValueError):  # noqa: PT011
                    ledger.lists.page_of_calls(CallFilter(), order=order, **{side: place})  # type: ignore[arg-type]

    @staticmethod
    def ask(ledger: CallLedger, order: Order, text: str) -> None:
        for side in ("before", "after"):
            try:
                page = ledger.lists.page_of_calls(CallFilter(), order=order, **{side: text})  # type: ignore[arg-type]
            except ValueError:
                continue
            assert len(page.calls) <= 30
