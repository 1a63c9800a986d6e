"""A campaign calls whom the newest load brought, in places that stay, and knows its calls by them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import delete, text

from airflow_provider_voiceinfra.exceptions import CampaignBusyError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns import loads as loads_module
from airflow_provider_voiceinfra.ledger.campaigns.records import Attempt, ContactEntry, SkipReason
from airflow_provider_voiceinfra.ledger.database.connect import database
from airflow_provider_voiceinfra.ledger.database.schema import contacts
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallState, Job
from tests.ledger.examples import CALL, CONN_ID, FIRST_TRY, claim, complete, running, seen_from

BATCH = loads_module._BATCH


@pytest.fixture
def ledger(ledger: CallLedger) -> CallLedger:
    """Return a ledger with a campaign that has no contacts so far."""
    ledger.take_campaign("c", conn_id=CONN_ID, origin=FIRST_TRY)
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


def load(ledger: CallLedger, *entries: ContactEntry, by: str = "load", campaign_id: str = "c") -> None:
    ledger.load_contacts(campaign_id, entries, loaded_by=by, runner=running(ledger, campaign_id))


def places(ledger: CallLedger) -> list[tuple[int, str | None, str | None]]:
    """Return position, key and reason of each row."""
    return [(row.position, row.contact_key, row.skipped) for row in ledger.all_contacts("c")]


def to_call(ledger: CallLedger) -> list[tuple[int, str | None]]:
    """Return position and key of each contact that is called; nobody has been so far."""
    found = ledger.untried_contacts("c", after=0, limit=10_000)
    by_position = ledger.contacts_at("c", [row.position for row in ledger.all_contacts("c")])
    assert by_position == {row.position: row for row in found}
    assert ledger.count_contacts("c").get("", 0) == len(found)
    return [(row.position, row.contact_key) for row in found]


def loaded_by(ledger: CallLedger) -> str | None:
    entry = ledger.campaign("c")
    assert entry is not None
    return entry.loaded_by


def dial(
    ledger: CallLedger, position: int | None, attempt: int | None = 1, campaign_id: str | None = "c"
) -> CallEntry:
    """Claim a call to a contact of a campaign."""
    origin = replace(FIRST_TRY, campaign_id=campaign_id, position=position, attempt=attempt)
    return claim(ledger, f"{campaign_id}/{position}/{attempt}", origin=origin)


class SourceBrokeError(Exception):
    """What contacts are made from has failed."""


def breaking(entries: Iterator[ContactEntry]) -> Iterator[ContactEntry]:
    yield from entries
    raise SourceBrokeError


class TestLoad:
    def test_contacts_are_stored_in_their_order_with_the_rows_that_are_left_out(
        self, ledger: CallLedger
    ) -> None:
        load(ledger, person("b", 2), left_out(3), person("a", 4), left_out(5, "duplicate"), left_out(6))
        assert places(ledger) == [
            (1, "b", None),
            (2, None, "invalid"),
            (3, "a", None),
            (4, None, "duplicate"),
            (5, None, "invalid"),
        ]
        assert [row.row_number for row in ledger.all_contacts("c")] == [2, 3, 4, 5, 6]
        assert ledger.count_contacts("c") == {"": 2, "invalid": 2, "duplicate": 1}
        assert loaded_by(ledger) == "load"

    def test_contact_comes_back_as_it_was(self, ledger: CallLedger) -> None:
        key = "\N{PILE OF POO}" + "k" * 249
        entry = person(key, 7, "America/Los_Angeles", first_message="H\u00e9llo", variables={"n": [1, None]})
        load(ledger, entry, left_out(8, "do_not_call"))
        assert list(ledger.all_contacts("c")) == [
            replace(entry, position=1),
            replace(left_out(8, "do_not_call"), position=2),
        ]
        [found] = ledger.untried_contacts("c", after=0, limit=10)
        assert found.call == replace(CALL, first_message="H\u00e9llo", variables={"n": [1, None]})
        assert key not in repr(found)
        assert "415555" not in repr(found)

    def test_contacts_without_anybody_are_loaded_too(self, ledger: CallLedger) -> None:
        load(ledger)
        assert loaded_by(ledger) == "load"
        assert ledger.count_contacts("c") == {}
        assert places(ledger) == []

    def test_more_contacts_than_are_stored_at_a_time_keep_their_order(self, ledger: CallLedger) -> None:
        ledger.load_contacts("c", people(1, 3000), loaded_by="load", runner=running(ledger, "c"))
        expected = [(number, f"k{number}") for number in range(1, 3001)]
        assert to_call(ledger) == expected
        ledger.load_contacts(
            "c", reversed(list(people(2, 3001))), loaded_by="again", runner=running(ledger, "c")
        )
        assert to_call(ledger) == [*expected[1:], (3001, "k3001")]
        assert ledger.count_contacts("c") == {"": 3000, SkipReason.WITHDRAWN: 1}

    def test_contacts_of_other_campaigns_are_left_alone(self, ledger: CallLedger) -> None:
        ledger.take_campaign("other", conn_id=CONN_ID, origin=FIRST_TRY)
        load(ledger, person("a"), person("b"), left_out(3))
        load(ledger, person("b"), campaign_id="other")
        load(ledger, person("z"), campaign_id="other")
        assert places(ledger) == [(1, "a", None), (2, "b", None), (3, None, "invalid")]
        assert ledger.count_contacts("other") == {"": 1, SkipReason.WITHDRAWN: 1}
        assert ledger.contacts_at("other", [1, 2])[2].contact_key == "z"


class TestLoadAgain:
    def test_contacts_keep_their_places_and_take_the_newest_request(self, ledger: CallLedger) -> None:
        load(ledger, person("a", 1), person("b", 2, "Europe/Paris", context="old"), by="first")
        load(ledger, person("new", 1), person("b", 2, context="new"), person("a", 3), by="second")
        assert to_call(ledger) == [(1, "a"), (2, "b"), (3, "new")]
        assert ledger.contacts_at("c", [2])[2] == replace(person("b", 2, context="new"), position=2)
        assert ledger.contacts_at("c", [1])[1].row_number == 3
        assert loaded_by(ledger) == "second"

    def test_contact_that_is_not_brought_any_more_is_withdrawn(self, ledger: CallLedger) -> None:
        load(ledger, person("a"), person("b"), person("c"))
        for _ in range(2):  # it stays withdrawn, however often others are loaded
            load(ledger, person("a"), person("c"))
            assert places(ledger) == [(1, "a", None), (2, "b", SkipReason.WITHDRAWN), (3, "c", None)]
            assert to_call(ledger) == [(1, "a"), (3, "c")]
        withdrawn = list(ledger.all_contacts("c"))[1]
        assert withdrawn.reason
        assert withdrawn.call == CALL  # its result still says whom it was about

    def test_contact_that_is_brought_again_is_called_at_its_old_place(self, ledger: CallLedger) -> None:
        load(ledger, person("a"), person("b"))
        load(ledger, person("b"))
        load(ledger, person("z"), person("a", 2, context="newest"))
        assert to_call(ledger) == [(1, "a"), (3, "z")]
        assert ledger.contacts_at("c", [1])[1] == replace(person("a", 2, context="newest"), position=1)

    def test_rows_left_out_by_an_older_load_are_replaced(self, ledger: CallLedger) -> None:
        load(ledger, left_out(1), person("a", 2), left_out(3, "duplicate"), left_out(4))
        load(ledger, left_out(1, "do_not_call"), person("a", 2))
        assert ledger.count_contacts("c") == {"": 1, "do_not_call": 1}
        assert [key for _, key in to_call(ledger)] == ["a"]

    def test_contact_that_must_not_be_called_any_more_is_not_called(self, ledger: CallLedger) -> None:
        load(ledger, person("a", 1), person("b", 2))
        load(ledger, left_out(1, "do_not_call"), person("b", 2))
        assert to_call(ledger) == [(2, "b")]
        assert ledger.count_contacts("c") == {"": 1, "do_not_call": 1, SkipReason.WITHDRAWN: 1}

    def test_place_of_somebody_who_was_purged_is_not_given_to_another(
        self, ledger: CallLedger, ledger_url: str
    ) -> None:
        # The call to whoever was at place 3 is still known by that place.
        load(ledger, person("a"), person("b"), person("c"))
        dial(ledger, 3)
        with database(ledger_url).writing() as connection:
            connection.execute(delete(contacts))
        load(ledger, person("x"), person("y"))
        assert to_call(ledger) == [(4, "x"), (5, "y")]


class TestLoadThatFails:
    def test_nothing_counts_as_loaded(self, ledger: CallLedger) -> None:
        load(ledger, person("a"))
        with pytest.raises(SourceBrokeError):
            ledger.load_contacts(
                "c", breaking(people(1, BATCH + 500)), loaded_by="load", runner=running(ledger, "c")
            )
        assert loaded_by(ledger) is None

    def test_repeated_it_brings_everybody_once_in_order(self, ledger: CallLedger) -> None:
        last = BATCH + 500
        for _ in range(2):
            with pytest.raises(SourceBrokeError):
                ledger.load_contacts(
                    "c", breaking(people(1, last)), loaded_by="load", runner=running(ledger, "c")
                )
        ledger.load_contacts("c", people(1, last), loaded_by="load", runner=running(ledger, "c"))
        assert [key for _, key in to_call(ledger)] == [f"k{number}" for number in range(1, last + 1)]
        assert ledger.count_contacts("c") == {"": last}
        assert loaded_by(ledger) == "load"

    def test_nobody_is_withdrawn_for_not_having_been_reached(self, ledger: CallLedger) -> None:
        load(ledger, person("a"), person("b"), left_out(3))
        before = places(ledger)
        with pytest.raises(SourceBrokeError):
            ledger.load_contacts(
                "c", breaking(iter([person("b")])), loaded_by="load", runner=running(ledger, "c")
            )
        assert places(ledger) == before

    def test_rows_that_it_left_out_do_not_count_twice(self, ledger: CallLedger) -> None:
        rows = [left_out(number) for number in range(1, BATCH + 2)]
        with pytest.raises(SourceBrokeError):
            ledger.load_contacts("c", breaking(iter(rows)), loaded_by="load", runner=running(ledger, "c"))
        load(ledger, *rows)
        assert ledger.count_contacts("c") == {"invalid": BATCH + 1}


class TestTwoWhoLoad:
    """A try that was given up may still be loading when the next one begins to: the newest load counts."""

    @pytest.fixture(params=[10, BATCH, BATCH + 10], ids=["before", "between", "after"])
    def moment(self, request: pytest.FixtureRequest) -> int:
        """How many contacts the older load has read when the newer one comes."""
        return int(request.param)

    def overtaken(self, moment: int, meanwhile: Callable[[], object]) -> Iterator[ContactEntry]:
        yield from people(1, moment)
        meanwhile()
        yield from people(moment + 1, BATCH + 10)

    def test_older_load_ends_and_changes_nothing_any_more(self, ledger: CallLedger, moment: int) -> None:
        def overtake() -> None:
            ledger.load_contacts("c", people(1, BATCH + 20), loaded_by="newer", runner=running(ledger, "c"))

        with pytest.raises(CampaignBusyError, match="'dag'"):
            ledger.load_contacts(
                "c", self.overtaken(moment, overtake), loaded_by="older", runner=running(ledger, "c")
            )
        assert {key for _, key in to_call(ledger)} == {f"k{number}" for number in range(1, BATCH + 21)}
        assert ledger.count_contacts("c") == {"": BATCH + 20}
        assert loaded_by(ledger) == "newer"

    def test_older_load_that_has_stored_everybody_does_not_count_either(self, ledger: CallLedger) -> None:
        def older() -> Iterator[ContactEntry]:
            yield from people(1, BATCH)
            load(ledger, person("newest"), by="newer")

        with pytest.raises(CampaignBusyError):
            ledger.load_contacts("c", older(), loaded_by="older", runner=running(ledger, "c"))
        assert [key for _, key in to_call(ledger)] == ["newest"]
        assert loaded_by(ledger) == "newer"

    def test_newer_load_loses_nothing_to_an_older_one_that_goes_on_meanwhile(
        self, ledger: CallLedger, moment: int
    ) -> None:
        begun, go_on = threading.Event(), threading.Event()

        def older() -> Iterator[ContactEntry]:
            yield from people(1, moment)
            begun.set()
            go_on.wait(30)
            yield from people(moment + 1, BATCH + 10)

        def newer() -> Iterator[ContactEntry]:
            yield from people(1, BATCH + 5)
            go_on.set()
            with pytest.raises(CampaignBusyError):
                loading.result()
            assert loaded_by(ledger) is None
            yield from people(BATCH + 6, BATCH + 20)

        with ThreadPoolExecutor(1) as pool:
            loading = pool.submit(
                ledger.load_contacts, "c", older(), loaded_by="older", runner=running(ledger, "c")
            )
            begun.wait(30)
            ledger.load_contacts("c", newer(), loaded_by="newer", runner=running(ledger, "c"))
        assert {key for _, key in to_call(ledger)} == {f"k{number}" for number in range(1, BATCH + 21)}
        assert loaded_by(ledger) == "newer"


def test_long_load_keeps_the_campaign_for_whoever_loads(ledger: CallLedger) -> None:
    moment = datetime.now(timezone.utc)
    ledger = seen_from(ledger, lambda: moment)

    def slow() -> Iterator[ContactEntry]:
        nonlocal moment
        for first in range(1, 3 * BATCH, BATCH):
            yield from people(first, first + BATCH - 1)
            moment += timedelta(seconds=40)
            with pytest.raises(CampaignBusyError):
                ledger.take_campaign("c", conn_id=CONN_ID, origin=replace(FIRST_TRY, run_id="another"))

    ledger.load_contacts("c", slow(), loaded_by="load", runner=running(ledger, "c"))
    assert loaded_by(ledger) == "load"


class TestWhoIsLeft:
    def test_whoever_was_ever_claimed_is_not_untried(self, ledger: CallLedger) -> None:
        ledger.load_contacts("c", people(1, 6), loaded_by="load", runner=running(ledger, "c"))
        dial(ledger, 1)
        ledger.accept(dial(ledger, 2), "call_2")
        ledger.refuse(dial(ledger, 3), "rate_limited", "429")
        ledger.mark_unknown(dial(ledger, 5), "cut", "cut")
        assert [one.position for one in ledger.untried_contacts("c", after=0, limit=10)] == [4, 6]

    def test_calls_of_other_campaigns_and_of_none_do_not_count(self, ledger: CallLedger) -> None:
        ledger.load_contacts("c", people(1, 3), loaded_by="load", runner=running(ledger, "c"))
        dial(ledger, 1, campaign_id="other")
        dial(ledger, 2, campaign_id=None)
        dial(ledger, None)
        assert [one.position for one in ledger.untried_contacts("c", after=0, limit=10)] == [1, 2, 3]

    def test_they_come_some_at_a_time_in_order(self, ledger: CallLedger) -> None:
        load(ledger, person("a"), left_out(2), person("b"), person("c"), person("d"))
        assert [one.position for one in ledger.untried_contacts("c", after=0, limit=2)] == [1, 3]
        assert [one.position for one in ledger.untried_contacts("c", after=3, limit=2)] == [4, 5]
        assert ledger.untried_contacts("c", after=5, limit=2) == []

    def test_contacts_are_found_by_their_places(self, ledger: CallLedger) -> None:
        load(ledger, person("a"), left_out(2), person("b"), person("c"))
        load(ledger, person("a"), left_out(2), person("b"))
        dial(ledger, 1)  # that they were called makes no difference
        found = ledger.contacts_at("c", [3, 1, 2, 4, 5, 77])
        assert {position: one.contact_key for position, one in found.items()} == {1: "a", 3: "b"}
        assert ledger.contacts_at("c", []) == {}


class TestAttempts:
    def test_each_call_says_how_far_it_is(self, ledger: CallLedger) -> None:
        ledger.load_contacts("c", people(1, 9), loaded_by="load", runner=running(ledger, "c"))
        ended = ledger.accept(dial(ledger, 2), "call_2")
        complete(ledger, "call_2", call_outcome="voicemail")
        open_call = ledger.accept(dial(ledger, 3), "call_3")
        refused = dial(ledger, 4)
        ledger.refuse(refused, "invalid_phone", "no such number")
        lost = ledger.mark_unknown(dial(ledger, 5), "answer_lost", "cut")
        claimed = dial(ledger, 6)
        found = {one.position: one for one in ledger.attempts("c")}
        assert list(found) == [2, 3, 4, 5, 6]
        completion = ledger.completion("call_2")
        assert completion is not None
        assert found[2] == Attempt(
            position=2,
            number=1,
            key_hash=ended.key_hash,
            state=CallState.ACCEPTED,
            call_id="call_2",
            claimed_at=ended.claimed_at,
            renewed_at=ended.renewed_at,
            answered_at=ended.answered_at,
            error_code=None,
            error_message=None,
            outcome="voicemail",
            completed_at=completion.received_at,
        )
        assert (found[3].call_id, found[3].outcome, found[3].completed_at) == ("call_3", None, None)
        assert found[3].answered_at == open_call.answered_at
        assert (found[4].state, found[4].call_id) == (CallState.REFUSED, None)
        assert (found[4].error_code, found[4].error_message) == ("invalid_phone", "no such number")
        assert (found[5].state, found[5].renewed_at) == (CallState.UNKNOWN, lost.renewed_at)
        assert (found[6].state, found[6].claimed_at) == (CallState.CLAIMED, claimed.claimed_at)

    def test_they_come_by_place_and_number_whenever_they_were_made(self, ledger: CallLedger) -> None:
        for position, attempt in [(10, 1), (2, 2), (9, 1), (2, 10), (2, 1), (1, 3)]:
            dial(ledger, position, attempt)
        found = [(one.position, one.number) for one in ledger.attempts("c")]
        assert found == [(1, 3), (2, 1), (2, 2), (2, 10), (9, 1), (10, 1)]

    def test_calls_of_other_campaigns_and_to_no_contact_are_not_among_them(self, ledger: CallLedger) -> None:
        dial(ledger, 1, campaign_id="other")
        dial(ledger, 1, campaign_id=None)
        dial(ledger, None)
        assert list(ledger.attempts("c")) == []

    def test_adopted_call_has_the_outcome_that_it_was_found_by(self, ledger: CallLedger) -> None:
        lost = ledger.mark_unknown(dial(ledger, 1), "answer_lost", "cut")
        complete(ledger, "call_1", call_outcome="answered")
        ledger.adopt(lost)
        [found] = ledger.attempts("c")
        assert (found.state, found.call_id, found.outcome) == (CallState.ACCEPTED, "call_1", "answered")
        assert found.completed_at is not None

    @pytest.mark.parametrize("analyzed", [False, True])
    def test_of_two_calls_under_one_number_the_newest_dial_is_last(
        self, ledger: CallLedger, ledger_url: str, analyzed: bool
    ) -> None:
        # By what a database knows of its tables it chooses how to sort, and with that the order of equals.
        if analyzed:
            with database(ledger_url).writing() as connection:
                connection.execute(text("ANALYZE"))
        for position in range(1, 9):
            first = dial(ledger, position)
            redial = ledger.claim_redial(ledger.mark_unknown(first, "silent", "silent"))
            if position % 2:
                ledger.accept(redial, f"redial_{position}")
            ledger.accept(first, f"first_{position}")
            ledger.accept(redial, f"redial_{position}")
        found = [one.call_id for one in ledger.attempts("c")]
        assert found == [f"{which}_{position}" for position in range(1, 9) for which in ("first", "redial")]

    def test_ledger_can_be_written_while_they_are_read(self, ledger: CallLedger) -> None:
        origin = replace(FIRST_TRY, campaign_id="c", attempt=1)
        requests = [Job(str(number), CALL, replace(origin, position=number)) for number in range(1, 1201)]
        ledger.claim_many(requests, conn_id=CONN_ID)
        positions = []
        for one in ledger.attempts("c"):
            positions.append(one.position)
            if one.position % 400 == 0:
                entry = ledger.call_by_hash(one.key_hash)
                assert entry is not None
                assert ledger.mark_unknown(entry, "owner_died", "x").state is CallState.UNKNOWN
        assert positions == list(range(1, 1201))

    def test_reading_may_be_given_up(self, ledger: CallLedger) -> None:
        ledger.load_contacts("c", people(1, 20), loaded_by="load", runner=running(ledger, "c"))
        for _ in range(40):  # more than there are connections
            assert next(iter(ledger.all_contacts("c"))).position == 1


class TestOpenCalls:
    def test_calls_that_nobody_has_heard_the_end_of_are_open(self, ledger: CallLedger) -> None:
        for number in range(1, 5):
            ledger.accept(dial(ledger, number), f"call_{number}")
        ledger.accept(dial(ledger, 1, campaign_id="other"), "call_of_another")
        dial(ledger, 5)
        ledger.mark_unknown(dial(ledger, 6), "cut", "cut")
        ledger.refuse(dial(ledger, 7), "x", "y")
        complete(ledger, "call_2")
        complete(ledger, "call_of_nobody")
        assert sorted(ledger.open_calls("c")) == ["call_1", "call_3", "call_4"]

    def test_campaign_without_calls_has_none_open(self, ledger: CallLedger) -> None:
        assert ledger.open_calls("c") == []
