"""What several threads store at the same moment goes into one transaction, and nobody fails for another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError
from airflow_provider_voiceinfra.ledger.database.group_commit import MOST, GroupCommit
from tests.support.waiting import until


class Store:
    """Stores numbers; the first transaction lasts until it is told to go on."""

    def __init__(self, goes_wrong: Callable[[Sequence[int]], None] = lambda items: None) -> None:
        self.transactions: list[list[int]] = []
        self.has_begun = threading.Event()
        self.may_end = threading.Event()
        self._goes_wrong = goes_wrong

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.transactions.append(list(items))
        if len(self.transactions) == 1:
            self.has_begun.set()
            assert self.may_end.wait(60)
        self._goes_wrong(items)
        return [-item for item in items]


def waiting(commit: GroupCommit[int, int]) -> int:
    return len(commit._waiting)


def store_while_the_first_is_under_way(
    store: Store, commit: GroupCommit[int, int], others: Sequence[int]
) -> list[int | Exception]:
    """Store 0, and the others in order while that lasts; return what became of each."""

    def outcome(item: int) -> int | Exception:
        try:
            return commit(item)
        except Exception as error:  # noqa: BLE001
            return error

    with ThreadPoolExecutor(len(others) + 1) as pool:
        answers = [pool.submit(outcome, 0)]
        assert store.has_begun.wait(60)
        for number, item in enumerate(others, 2):
            answers.append(pool.submit(outcome, item))
            until(lambda number=number: waiting(commit) == number)  # type: ignore[misc]
        store.may_end.set()
        return [answer.result(60) for answer in answers]


def test_what_comes_meanwhile_goes_together_in_the_next_transaction() -> None:
    store = Store()
    commit = GroupCommit(store)
    assert store_while_the_first_is_under_way(store, commit, [1, 2, 3]) == [0, -1, -2, -3]
    assert store.transactions == [[0], [1, 2, 3]]
    assert commit(4) == -4
    assert waiting(commit) == 0


def test_one_transaction_has_a_bounded_number_of_items(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST < 1000
    monkeypatch.setattr("airflow_provider_voiceinfra.ledger.database.group_commit.MOST", 2)
    store = Store()
    assert store_while_the_first_is_under_way(store, GroupCommit(store), [1, 2, 3]) == [0, -1, -2, -3]
    assert store.transactions == [[0], [1, 2], [3]]


def test_database_that_is_down_is_told_to_all_who_were_in_the_transaction() -> None:
    def down(items: Sequence[int]) -> None:
        if 2 in items:
            raise LedgerUnavailableError("down")

    store = Store(down)
    first, *others = store_while_the_first_is_under_way(store, GroupCommit(store), [1, 2])
    assert first == 0
    assert [type(other) for other in others] == [LedgerUnavailableError] * 2
    assert store.transactions == [[0], [1, 2]]


def test_item_that_cannot_be_stored_costs_no_other_anything() -> None:
    def refuse(items: Sequence[int]) -> None:
        if 2 in items:
            raise ValueError("not that one")

    store = Store(refuse)
    answers = store_while_the_first_is_under_way(store, GroupCommit(store), [1, 2, 3])
    assert [answer for answer in answers if not isinstance(answer, ValueError)] == [0, -1, -3]
    assert store.transactions == [[0], [1, 2, 3], [1], [2], [3]]


class Killed(BaseException):
    """As Airflow ends a task in the midst of whatever it does."""


def test_thread_that_is_killed_while_it_stores_leaves_the_others_to_themselves() -> None:
    def kill(items: Sequence[int]) -> None:
        if 0 in items:
            raise Killed

    store = Store(kill)
    commit = GroupCommit(store)
    with ThreadPoolExecutor(3) as pool:
        killed = pool.submit(commit, 0)
        assert store.has_begun.wait(60)
        others = [pool.submit(commit, item) for item in (1, 2)]
        until(lambda: waiting(commit) == 3)
        store.may_end.set()
        with pytest.raises(Killed):
            killed.result(60)
        assert [other.result(60) for other in others] == [-1, -2]
    assert store.transactions[0] == [0]
    assert 0 not in [item for items in store.transactions[1:] for item in items]
    assert waiting(commit) == 0


def test_thread_that_is_killed_while_it_waits_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    commit = GroupCommit(store)
    wait = threading.Event.wait

    def killed(self: threading.Event, timeout: float | None = None) -> bool:
        if threading.current_thread().name.startswith("killed") and self is not store.may_end:
            raise Killed
        return wait(self, timeout)

    monkeypatch.setattr(threading.Event, "wait", killed)
    with ThreadPoolExecutor(2) as pool, ThreadPoolExecutor(1, thread_name_prefix="killed") as doomed:
        first = pool.submit(commit, 0)
        assert store.has_begun.wait(60)
        dead = doomed.submit(commit, 1)
        with pytest.raises(Killed):
            dead.result(60)
        other = pool.submit(commit, 2)
        until(lambda: waiting(commit) == 2)
        store.may_end.set()
        assert [first.result(60), other.result(60)] == [0, -2]
    assert store.transactions == [[0], [2]]
    # The same, where it was to store what waits.
    with ThreadPoolExecutor(1, thread_name_prefix="killed") as doomed, pytest.raises(Killed):
        doomed.submit(commit, 3).result(60)
    assert commit(4) == -4
    assert store.transactions[-1] == [4]
