"""Bugs that are planted to see whether the harness finds them; nothing of them is in the package.

``PLANT=name`` installs one of them in every worker, or every receiver. Those that take a fix back need that
fix: ``MISSING`` says what each has to undo, and becomes an entry of ``PLANTS`` once the fix is there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_provider_voiceinfra.exceptions import CallOutcomeUnknownError
from airflow_provider_voiceinfra.ledger.entries import Recorded
from airflow_provider_voiceinfra.ledger.store import CallLedger
from airflow_provider_voiceinfra.placing import CallPlacer

WORKER, RECEIVER = "worker", "receiver"


@dataclass(frozen=True)
class Plant:
    """A bug.

    :param where: in which processes it is installed.
    :param install: patches the package in this process; it is given the worker's ``Diary``, or ``None``.
    """

    where: str
    install: Callable[[Any], None]


def _claim_after_post(diary: Any) -> None:
    """Write the claim only after the POST: a process that is killed in between leaves no trace."""
    step = CallPlacer.step

    def late(self: Any, key: str, call: Any, policy: Any, *, origin: Any = None, seen: bool = False) -> Any:
        if self._ledger.call_by_key(key) is None:
            try:
                placed = self._client.place(call)
            except CallOutcomeUnknownError as error:
                entry, won = self._claim(key, call, origin)
                if won:
                    self._ledger.mark_unknown(entry, error.code, str(error))
            else:
                entry, won = self._claim(key, call, origin)
                if won:
                    self._ledger.accept(entry, placed.call_id)
        return step(self, key, call, policy, origin=origin, seen=seen)

    CallPlacer.step = late  # type: ignore[method-assign]


def _answer_after_xcom(diary: Any) -> None:
    """Tell others of a ``call_id`` before it is stored; one killed in between said what nobody can prove."""
    accept = CallLedger.accept

    def late(self: CallLedger, entry: Any, call_id: str) -> Any:
        mark = (entry.request or {}).get("variables", {}).get("mark")
        diary.note("pushed", mark=mark, call_id=call_id)
        diary.reach("after_push", mark)
        return accept(self, entry, call_id)

    CallLedger.accept = late  # type: ignore[method-assign]


def _ack_before_commit(diary: Any) -> None:
    """Answer a webhook before its record is committed."""
    complete = CallLedger.complete

    def later(self: CallLedger, *args: Any, **kwargs: Any) -> Recorded:
        threading.Thread(target=complete, args=(self, *args), kwargs=kwargs).start()
        return Recorded.NEW

    CallLedger.complete = later  # type: ignore[method-assign]


PLANTS: dict[str, Plant] = {
    "claim_after_post": Plant(WORKER, _claim_after_post),
    "answer_after_xcom": Plant(WORKER, _answer_after_xcom),
    "ack_before_commit": Plant(RECEIVER, _ack_before_commit),
}
MISSING = {
    "redial_ignores_answer": "a redial no longer looks for an overtaken answer before each request, and an "
    "answer that comes after the redial was claimed no longer settles the row",
    "redial_rival_forgotten": "a call that was redialled and accepted no longer counts as a rival of others "
    "to its number for the call before",
    "accounts_ignored": "a completion counts for the calls of any connection, and a call "
    "without a key leaves no row",
    "takeover_forgets": "no last look at the ledger before the end, a hand-over of 2 s, and no look at who "
    "owns the campaign in the claiming transaction",
    "results_written_in_place": "the result file is written where it is to be, without asking who owns the "
    "campaign",
}
NAMES = (*PLANTS, *MISSING)


def plant(name: str | None, where: str, diary: Any = None) -> None:
    """Install a bug if this is the kind of process that it lives in.

    :raises LookupError: if there is none of this name, or it is still to be written.
    """
    if not name:
        return
    if name in MISSING:
        raise LookupError(f"PLANT={name} is still to be written: {MISSING[name]}")
    if name not in PLANTS:
        raise LookupError(f"there is no PLANT={name}; there are {', '.join(NAMES)}")
    if PLANTS[name].where == where:
        PLANTS[name].install(diary)
