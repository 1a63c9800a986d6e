"""What pages ask beside lists: all calls to a contact, what there is to choose from, the last webhook."""

from __future__ import annotations

from dataclasses import replace

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.lists.values import ListedCall
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin
from tests.ledger.examples import CALL, CONN_ID, FIRST_TRY, claim, complete, purge_all, stored
from tests.ledger.lists.samples import Sample, add

OTHER = replace(CALL, to_number="+14155550199")


def of_contact(position: int, attempt: int, campaign_id: str = "c") -> CallOrigin:
    return replace(FIRST_TRY, campaign_id=campaign_id, position=position, attempt=attempt)


def keys(found: list[ListedCall]) -> list[str]:
    return [call.key_hash for call in found]


class TestCallsToContact:
    def test_of_a_campaigns_call_they_are_its_calls_to_that_contact(self, ledger: CallLedger) -> None:
        first = claim(ledger, "1", origin=of_contact(7, 1))
        claim(ledger, "another contact of this number", origin=of_contact(8, 1))
        claim(ledger, "another campaign", origin=of_contact(7, 1, "d"))
        claim(ledger, "no campaign")
        # The contact's number was corrected between two attempts.
        second = claim(ledger, "2", OTHER, origin=of_contact(7, 2))
        for entry in (first, second):
            assert keys(ledger.lists.calls_to_contact(entry)) == [second.key_hash, first.key_hash]

    def test_of_another_call_they_are_those_to_the_number_by_the_connection(self, ledger: CallLedger) -> None:
        entries = [
            claim(ledger, "1"),
            claim(ledger, "a campaign's", origin=of_contact(1, 1)),
            claim(ledger, "another number that ends alike", replace(CALL, to_number="+12065550100")),
        ]
        ledger.claim("another connection", CALL, conn_id="other")
        newest = claim(ledger, "2")
        own = [newest.key_hash, entries[1].key_hash, entries[0].key_hash]
        assert keys(ledger.lists.calls_to_contact(newest)) == own

    def test_of_a_purged_call_it_is_that_call(self, ledger: CallLedger) -> None:
        entry = claim(ledger, "1")
        claim(ledger, "2")
        purge_all(ledger)
        assert keys(ledger.lists.calls_to_contact(stored(ledger, "1"))) == [entry.key_hash]

    def test_no_more_than_the_limit_the_newest_of_them(self, ledger: CallLedger) -> None:
        entries: list[CallEntry] = [claim(ledger, str(number)) for number in range(5)]
        found = ledger.lists.calls_to_contact(entries[0], limit=2)
        assert keys(found) == [entries[4].key_hash, entries[3].key_hash]

    def test_how_each_ended_is_told(self, ledger: CallLedger) -> None:
        entry = ledger.accept(claim(ledger), "call_1")
        complete(ledger, "call_1", call_outcome="voicemail", duration_seconds=9)
        [found] = ledger.lists.calls_to_contact(entry)
        assert (found.outcome, found.duration_seconds) == ("voicemail", 9)


class TestOneCall:
    def test_call_before_and_after_its_webhook(self, ledger: CallLedger) -> None:
        entry = ledger.accept(claim(ledger, origin=FIRST_TRY), "call_1")
        found = ledger.lists.listed_call(entry.key_hash)
        assert found is not None
        assert (found.call_id, found.origin, found.outcome) == ("call_1", FIRST_TRY, None)
        complete(ledger, "call_1")
        found = ledger.lists.listed_call(entry.key_hash)
        assert found is not None
        assert (found.outcome, found.duration_seconds) == ("answered", 5)
        assert found.received_at is not None
        assert ledger.lists.listed_call("0" * 64) is None


class TestChoices:
    def test_each_is_named_once_in_order(self, ledger: CallLedger) -> None:
        assert ledger.lists.known_connections() == ledger.lists.known_dags() == []
        add(ledger, [Sample(99, dag_id=None)])
        assert ledger.lists.known_dags() == []
        dags = ["b", "a", None, "a", "Z", "ü", "a b"]
        add(ledger, [Sample(n, conn_id=f"c{n % 3}", dag_id=dag_id) for n, dag_id in enumerate(dags)])
        assert ledger.lists.known_connections() == ["c0", "c1", "c2", "conn_a"]
        assert ledger.lists.known_dags() == sorted(dag_id for dag_id in set(dags) if dag_id is not None)


def test_last_completion_is_the_one_that_came_last_without_its_body(ledger: CallLedger) -> None:
    for call_id in ("call_2", "call_1"):
        complete(ledger, call_id)
    found = ledger.lists.last_completion(CONN_ID)
    assert found is not None
    assert (found.call_id, found.body) == ("call_1", None)
    assert ledger.lists.last_completion("other") is None
