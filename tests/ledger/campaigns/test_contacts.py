"""A campaign calls whom the newest load brought, in places that stay, and knows its calls by them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import delete, text

from airflow_provider_voiceinfra.exceptions import CampaignBusyError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns import loads
from airflow_provider_voiceinfra.ledger.campaigns.records import Attempt, ContactEntry, SkipReason
from airflow_provider_voiceinfra.ledger.database.schema import contacts
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallState, Job
from tests.ledger.examples import (
    CALL,
    CONN_ID,
    FIRST_TRY,
    become,
    campaign,
    claim,
    complete,
    completed,
    execute,
    running,
    seen_from,
    stored,
)

BATCH = 20


@pytest.fixture
def ledger(ledger: CallLedger, monkeypatch: pytest.MonkeyPatch) -> CallLedger:
    """Return a ledger with a campaign that has no contacts so far; they are stored few at a time."""
    monkeypatch.setattr(loads, "_BATCH", BATCH)
    ledger.campaigns.take("c", conn_id=CONN_ID, origin=FIRST_TRY)
    return ledger


def person(key: str, row: int = 1, timezone: str | None = None, **fields: Any) -> ContactEntry:
    """Return a contact to call."""
    return ContactEntry(0, row, key, replace(CALL, **fields).to_request(), timezone)


def left_out(row: int, reason: str = "invalid") -> ContactEntry:
    """Return a row that is not called."""
    return ContactEntry(0, row, None, None, None, reason, "to_number is missing")


def people(first: int, last: int) -> Iterator[ContactEntry]:
    """Yield contacts with the keys ``k<first>`` to ``k<last>``."""
    return (person(f"k{number}", number) for number in range(first, last + 1))


def load(
    ledger: CallLedger, entries: Iterable[ContactEntry], by: str = "load", campaign_id: str = "c"
) -> None:
    ledger.campaigns.load_contacts(campaign_id, entries, loaded_by=by, runner=running(ledger, campaign_id))


def places(ledger: CallLedger) -> list[tuple[int, str | None, str | None]]:
    """Return position, key and reason of each row."""
    return [(row.position, row.contact_key, row.skipped) for row in ledger.campaigns.all_contacts("c")]


def to_call(ledger: CallLedger) -> list[tuple[int, str | None]]:
    """Return position and key of each contact that is called; nobody has been so far."""
    found = ledger.campaigns.untried_contacts("c", after=0, limit=10_000)
    by_position = ledger.campaigns.contacts_at(
        "c", [row.position for row in ledger.campaigns.all_contacts("c")]
    )
    assert by_position == {row.position: row for row in found}
    assert ledger.campaigns.count_contacts("c").get("", 0) == len(found)
    return [(row.position, row.contact_key) for row in found]


def untried(ledger: CallLedger, after: int = 0, limit: int = 10) -> list[int]:
    """Return the positions of those who were never called."""
    return [one.position for one in ledger.campaigns.untried_contacts("c", after=after, limit=limit)]


def dial(
    ledger: CallLedger, position: int | None, attempt: int | None = 1, campaign_id: str | None = "c"
) -> CallEntry:
    """Claim a call to a contact of a campaign."""
    origin = replace(FIRST_TRY, campaign_id=campaign_id, position=position, attempt=attempt)
    return claim(ledger, f"{campaign_id}/{position}/{attempt}", origin=origin)


class SourceBrokeError(Exception):
    """What contacts are made from has failed."""


def breaking(entries: Iterable[ContactEntry]) -> Iterator[ContactEntry]:
    yield from entries
    raise SourceBrokeError


class TestLoad:
    def test_contacts_are_stored_in_order_with_the_rows_that_are_left_out(self, ledger: CallLedger) -> None:
        load(ledger, [person("b", 2), left_out(3), person("a", 4), left_out(5, "duplicate"), left_out(6)])
        assert places(ledger) == [
            (1, "b", None),
            (2, None, "invalid"),
            (3, "a", None),
            (4, None, "duplicate"),
            (5, None, "invalid"),
        ]
        assert [row.row_number for row in ledger.campaigns.all_contacts("c")] == [2, 3, 4, 5, 6]
        assert ledger.campaigns.count_contacts("c") == {"": 2, "invalid": 2, "duplicate": 1}
        assert campaign(ledger).loaded_by == "load"

    def test_contact_comes_back_as_it_was(self, ledger: CallLedger) -> None:
        key = "\N{PILE OF POO}" + "k" * 249
        entry = person(key, 7, "America/Los_Angeles", first_message="H\u00e9llo", variables={"n": [1, None]})
        load(ledger, [entry, left_out(8, "do_not_call")])
        assert list(ledger.campaigns.all_contacts("c")) == [
            replace(entry, position=1),
            replace(left_out(8, "do_not_call"), position=2),
        ]
        [found] = ledger.campaigns.untried_contacts("c", after=0, limit=10)
        assert found.call == replace(CALL, first_message="H\u00e9llo", variables={"n": [1, None]})
        assert key not in repr(found)
        assert "415555" not in repr(found)

    def test_contacts_without_anybody_are_loaded_too(self, ledger: CallLedger) -> None:
        load(ledger, [])
        assert (campaign(ledger).loaded_by, ledger.campaigns.count_contacts("c"), places(ledger)) == (
            "load",
            {},
            [],
        )

    def test_more_contacts_than_are_stored_at_a_time_keep_their_order(
        self, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loads, "_BATCH", 700)  # more than one statement takes
        load(ledger, people(1, 1000))
        expected = [(number, f"k{number}") for number in range(1, 1001)]
        assert to_call(ledger) == expected
        load(ledger, reversed(list(people(2, 1001))), by="again")
        assert to_call(ledger) == [*expected[1:], (1001, "k1001")]
        assert ledger.campaigns.count_contacts("c") == {"": 1000, SkipReason.WITHDRAWN: 1}

    def test_contacts_of_other_campaigns_are_left_alone(self, ledger: CallLedger) -> None:
        ledger.campaigns.take("other", conn_id=CONN_ID, origin=FIRST_TRY)
        load(ledger, [person("a"), person("b"), left_out(3)])
        load(ledger, [person("b")], campaign_id="other")
        load(ledger, [person("z")], campaign_id="other")
        assert places(ledger) == [(1, "a", None), (2, "b", None), (3, None, "invalid")]
        assert ledger.campaigns.count_contacts("other") == {"": 1, SkipReason.WITHDRAWN: 1}
        assert ledger.campaigns.contacts_at("other", [1, 2])[2].contact_key == "z"


class TestLoadAgain:
    def test_contacts_keep_their_places_and_take_the_newest_request(self, ledger: CallLedger) -> None:
        load(ledger, [person("a", 1), person("b", 2, "Europe/Paris", context="old")], by="first")
        load(ledger, [person("new", 1), person("b", 2, context="new"), person("a", 3)], by="second")
        assert to_call(ledger) == [(1, "a"), (2, "b"), (3, "new")]
        assert ledger.campaigns.contacts_at("c", [2])[2] == replace(person("b", 2, context="new"), position=2)
        assert ledger.campaigns.contacts_at("c", [1])[1].row_number == 3
        assert campaign(ledger).loaded_by == "second"

    def test_contact_that_is_not_brought_any_more_is_withdrawn(self, ledger: CallLedger) -> None:
        load(ledger, [person("a"), person("b"), person("c")])
        for _ in range(2):  # it stays withdrawn, however often others are loaded
            load(ledger, [person("a"), person("c")])
            assert places(ledger) == [(1, "a", None), (2, "b", SkipReason.WITHDRAWN), (3, "c", None)]
            assert to_call(ledger) == [(1, "a"), (3, "c")]
        withdrawn = list(ledger.campaigns.all_contacts("c"))[1]
        assert withdrawn.reason
        assert withdrawn.call == CALL  # its result still says whom it was about

    def test_contact_that_is_brought_again_is_called_at_its_old_place(self, ledger: CallLedger) -> None:
        load(ledger, [person("a"), person("b")])
        load(ledger, [person("b")])
        load(ledger, [person("z"), person("a", 2, context="newest")])
        assert to_call(ledger) == [(1, "a"), (3, "z")]
        assert ledger.campaigns.contacts_at("c", [1])[1] == replace(
            person("a", 2, context="newest"), position=1
        )

    def test_rows_left_out_by_an_older_load_are_replaced(self, ledger: CallLedger) -> None:
        load(ledger, [left_out(1), person("a", 2), left_out(3, "duplicate"), left_out(4)])
        load(ledger, [left_out(1, "do_not_call"), person("a", 2)])
        assert ledger.campaigns.count_contacts("c") == {"": 1, "do_not_call": 1}
        assert [key for _, key in to_call(ledger)] == ["a"]

    def test_contact_that_must_not_be_called_any_more_is_not_called(self, ledger: CallLedger) -> None:
        load(ledger, [person("a", 1), person("b", 2)])
        load(ledger, [left_out(1, "do_not_call"), person("b", 2)])
        assert to_call(ledger) == [(2, "b")]
        assert ledger.campaigns.count_contacts("c") == {"": 1, "do_not_call": 1, SkipReason.WITHDRAWN: 1}

    def test_place_of_somebody_who_was_purged_is_not_given_to_another(self, ledger: CallLedger) -> None:
        # The call to whoever was at place 3 is still known by that place.
        load(ledger, [person("a"), person("b"), person("c")])
        dial(ledger, 3)
        execute(ledger, delete(contacts))
        load(ledger, [person("x"), person("y")])
        assert to_call(ledger) == [(4, "x"), (5, "y")]


class TestLoadThatFails:
    def test_repeated_it_brings_everybody_once_in_order(self, ledger: CallLedger) -> None:
        last = BATCH + 5
        for _ in range(2):
            with pytest.raises(SourceBrokeError):
                load(ledger, breaking(people(1, last)))
            assert campaign(ledger).loaded_by is None
        load(ledger, people(1, last))
        assert [key for _, key in to_call(ledger)] == [f"k{number}" for number in range(1, last + 1)]
        assert ledger.campaigns.count_contacts("c") == {"": last}
        assert campaign(ledger).loaded_by == "load"

    def test_nobody_is_withdrawn_for_not_having_been_reached(self, ledger: CallLedger) -> None:
        load(ledger, [person("a"), person("b"), left_out(3)])
        before = places(ledger)
        with pytest.raises(SourceBrokeError):
            load(ledger, breaking([person("b")]))
        assert (places(ledger), campaign(ledger).loaded_by) == (before, None)

    def test_rows_that_it_left_out_do_not_count_twice(self, ledger: CallLedger) -> None:
        rows = [left_out(number) for number in range(1, BATCH + 2)]
        with pytest.raises(SourceBrokeError):
            load(ledger, breaking(rows))
        load(ledger, rows)
        assert ledger.campaigns.count_contacts("c") == {"invalid": BATCH + 1}


class TestTwoWhoLoad:
    """A try that was given up may still be loading when the next one begins to: the newest load counts."""

    @pytest.fixture(params=[10, BATCH, BATCH + 5, 2 * BATCH], ids=["before", "between", "after", "all"])
    def moment(self, request: pytest.FixtureRequest) -> int:
        """How many contacts the older load has read when the newer one comes."""
        return int(request.param)

    @staticmethod
    def overtaken(moment: int, meanwhile: Callable[[], object]) -> Iterator[ContactEntry]:
        yield from people(1, moment)
        meanwhile()
        yield from people(moment + 1, 2 * BATCH)

    def test_older_load_ends_and_changes_nothing_any_more(self, ledger: CallLedger, moment: int) -> None:
        newer = people(1, BATCH + 10)
        with pytest.raises(CampaignBusyError, match="'dag'"):
            load(ledger, self.overtaken(moment, lambda: load(ledger, newer, by="newer")), by="older")
        assert {key for _, key in to_call(ledger)} == {f"k{number}" for number in range(1, BATCH + 11)}
        assert campaign(ledger).loaded_by == "newer"

    def test_newer_load_loses_nothing_to_an_older_one_meanwhile(
        self, ledger: CallLedger, moment: int
    ) -> None:
        begun, go_on = threading.Event(), threading.Event()

        def pause() -> None:
            begun.set()
            go_on.wait(30)

        def newer() -> Iterator[ContactEntry]:
            yield from people(1, BATCH + 5)
            go_on.set()
            with pytest.raises(CampaignBusyError):
                loading.result()
            assert campaign(ledger).loaded_by is None
            yield from people(BATCH + 6, 2 * BATCH)

        with ThreadPoolExecutor(1) as pool:
            loading = pool.submit(load, ledger, self.overtaken(moment, pause), by="older")
            begun.wait(30)
            load(ledger, newer(), by="newer")
        assert [key for _, key in to_call(ledger)] == [f"k{number}" for number in range(1, 2 * BATCH + 1)]
        assert campaign(ledger).loaded_by == "newer"


def test_long_load_keeps_the_campaign_for_whoever_loads(ledger: CallLedger) -> None:
    moment = datetime.now(timezone.utc)
    ledger = seen_from(ledger, lambda: moment)

    def slow() -> Iterator[ContactEntry]:
        nonlocal moment
        for first in range(1, 3 * BATCH, BATCH):
            yield from people(first, first + BATCH - 1)
            moment += timedelta(seconds=40)
            with pytest.raises(CampaignBusyError):
                ledger.campaigns.take("c", conn_id=CONN_ID, origin=replace(FIRST_TRY, run_id="another"))

    load(ledger, slow())
    assert campaign(ledger).loaded_by == "load"


class TestWhoIsLeft:
    def test_whoever_was_ever_claimed_is_not_untried(self, ledger: CallLedger) -> None:
        load(ledger, people(1, 6))
        dial(ledger, 1)
        for position, state in ((2, "accepted"), (3, "refused"), (5, "unknown")):
            become(ledger, dial(ledger, position), state)
        assert untried(ledger) == [4, 6]

    def test_calls_of_other_campaigns_and_of_none_do_not_count(self, ledger: CallLedger) -> None:
        load(ledger, people(1, 3))
        dial(ledger, 1, campaign_id="other")
        dial(ledger, 2, campaign_id=None)
        dial(ledger, None)
        assert untried(ledger) == [1, 2, 3]
        assert list(ledger.campaigns.attempts("c")) == []

    def test_they_come_some_at_a_time_in_order(self, ledger: CallLedger) -> None:
        load(ledger, [person("a"), left_out(2), person("b"), person("c"), person("d")])
        assert [untried(ledger, after, limit=2) for after in (0, 3, 5)] == [[1, 3], [4, 5], []]

    def test_contacts_are_found_by_their_places(self, ledger: CallLedger) -> None:
        load(ledger, [person("a"), left_out(2), person("b"), person("c")])
        load(ledger, [person("a"), left_out(2), person("b")])
        dial(ledger, 1)  # that they were called makes no difference
        found = ledger.campaigns.contacts_at("c", [3, 1, 2, 4, 5, 77])
        assert {position: one.contact_key for position, one in found.items()} == {1: "a", 3: "b"}
        assert ledger.campaigns.contacts_at("c", []) == {}


class TestAttempts:
    def test_each_call_says_how_far_it_is(self, ledger: CallLedger) -> None:
        load(ledger, people(1, 9))
        calls = [ledger.accept(dial(ledger, position), f"call_{position}") for position in (2, 3)]
        complete(ledger, "call_2", call_outcome="voicemail")
        for position, state in ((4, "refused"), (5, "unknown"), (6, "claimed")):
            calls.append(become(ledger, dial(ledger, position), state))
        found = list(ledger.campaigns.attempts("c"))
        same = [name for name in Attempt.__dataclass_fields__ if hasattr(calls[0], name)]
        assert {"state", "call_id", "claimed_at", "answered_at", "error_code", "purged_at"} < set(same)
        for attempt, position, call in zip(found, range(2, 7), calls, strict=True):
            assert (attempt.position, attempt.number) == (position, 1)
            assert [getattr(attempt, name) for name in same] == [getattr(call, name) for name in same]
        assert found[0].completed_at == completed(ledger, "call_2").received_at
        assert [one.outcome for one in found] == ["voicemail", None, None, None, None]
        assert {one.completed_at for one in found[1:]} == {None}

    def test_they_come_by_place_and_number_whenever_they_were_made(self, ledger: CallLedger) -> None:
        for position, attempt in [(10, 1), (2, 2), (9, 1), (2, 10), (2, 1), (1, 3)]:
            dial(ledger, position, attempt)
        found = [(one.position, one.number) for one in ledger.campaigns.attempts("c")]
        assert found == [(1, 3), (2, 1), (2, 2), (2, 10), (9, 1), (10, 1)]

    def test_adopted_call_has_the_outcome_that_it_was_found_by(self, ledger: CallLedger) -> None:
        lost = become(ledger, dial(ledger, 1), "unknown")
        complete(ledger, "call_1", call_outcome="answered")
        ledger.adopt(lost)
        [found] = ledger.campaigns.attempts("c")
        assert (found.state, found.call_id, found.outcome) == (CallState.ACCEPTED, "call_1", "answered")
        assert found.completed_at is not None

    @pytest.mark.parametrize("analyzed", [False, True])
    def test_of_two_calls_under_one_number_the_newest_is_last(
        self, ledger: CallLedger, analyzed: bool
    ) -> None:
        # By what a database knows of its tables it chooses how to sort, and with that the order of equals.
        if analyzed:
            execute(ledger, text("ANALYZE"))
        for position in range(1, 9):
            first = dial(ledger, position)
            redial = become(ledger, first, "redialled")
            if position % 2:
                ledger.accept(redial, f"redial_{position}")
            ledger.accept(first, f"first_{position}")
            ledger.accept(redial, f"redial_{position}")
        found = [one.call_id for one in ledger.campaigns.attempts("c")]
        assert found == [f"{which}_{position}" for position in range(1, 9) for which in ("first", "redial")]

    def test_ledger_can_be_written_while_they_are_read(self, ledger: CallLedger) -> None:
        origin = replace(FIRST_TRY, campaign_id="c", attempt=1)
        # More than are read at a time.
        origins = {str(number): replace(origin, position=number) for number in range(1, 602)}
        ledger.claim_many([Job(key, CALL, one) for key, one in origins.items()], conn_id=CONN_ID)
        positions = []
        for one in ledger.campaigns.attempts("c"):
            positions.append(one.position)
            if one.position in (1, 600):
                lost = become(ledger, stored(ledger, str(one.position)), "unknown")
                assert lost.state is CallState.UNKNOWN
        assert positions == list(range(1, 602))

    def test_reading_may_be_given_up(self, ledger: CallLedger) -> None:
        load(ledger, people(1, 20))
        for _ in range(40):  # more than there are connections
            assert next(iter(ledger.campaigns.all_contacts("c"))).position == 1


class TestOpenCalls:
    def test_calls_that_nobody_has_heard_the_end_of_are_open(self, ledger: CallLedger) -> None:
        for number in range(1, 5):
            ledger.accept(dial(ledger, number), f"call_{number}")
        ledger.accept(dial(ledger, 1, campaign_id="other"), "call_of_another")
        for position, state in ((5, "claimed"), (6, "unknown"), (7, "refused")):
            become(ledger, dial(ledger, position), state)
        complete(ledger, "call_2")
        complete(ledger, "call_of_nobody")
        assert sorted(ledger.campaigns.open_calls("c")) == ["call_1", "call_3", "call_4"]
        assert ledger.campaigns.open_calls("without calls") == []
