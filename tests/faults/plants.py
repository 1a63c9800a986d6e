"""Bugs that are planted to see whether the harness finds them; nothing of them is in the package.

``PLANT=name`` installs one of them in every worker, or every receiver.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from airflow_provider_voiceinfra.dialling.placing import CallPlacer
from airflow_provider_voiceinfra.exceptions import CallOutcomeUnknownError
from airflow_provider_voiceinfra.ledger.store import CallLedger
from airflow_provider_voiceinfra.ledger.webhooks.records import Arrival, Recorded, Stored
from tests.faults.plan import SCALE
from tests.faults.points import mark_of

WORKER, RECEIVER = "worker", "receiver"


def _claim_after_post(diary: Any) -> None:
    """Write the claim only after the POST: a process that is killed in between leaves no trace."""
    step = CallPlacer.step

    def late(self: Any, key: str, call: Any, policy: Any, *, origin: Any, recipient: Any, **more: Any) -> Any:
        if self._ledger.call_by_key(key) is None:
            try:
                placed = self._client.place(call)
            except CallOutcomeUnknownError as error:
                entry, won = self._claim(key, call, origin, recipient)
                if won:
                    self._ledger.mark_unknown(entry, error.code, str(error))
            else:
                entry, won = self._claim(key, call, origin, recipient)
                if won:
                    self._ledger.accept(entry, placed.call_id)
        return step(self, key, call, policy, origin=origin, recipient=recipient, **more)

    CallPlacer.step = late  # type: ignore[method-assign]


def _answer_after_xcom(diary: Any) -> None:
    """Tell others of a ``call_id`` before it is stored; one killed in between said what nobody can prove."""
    accept = CallLedger.accept

    def late(self: CallLedger, entry: Any, call_id: str) -> Any:
        diary.note("pushed", mark=mark_of(entry.request), call_id=call_id)
        diary.reach("after_push")
        return accept(self, entry, call_id)

    CallLedger.accept = late  # type: ignore[method-assign]


def _ack_before_commit(diary: Any) -> None:
    """Answer webhooks before the transaction that they share is committed."""
    take_in = CallLedger.take_in

    def later(self: CallLedger, arrivals: Sequence[Arrival]) -> list[Stored]:
        threading.Thread(target=take_in, args=(self, arrivals)).start()
        return [Stored(Recorded.NEW) for _ in arrivals]

    CallLedger.take_in = later  # type: ignore[method-assign]


def _lease_not_renewed(diary: Any) -> None:
    """Send a claim's request without a look whether it is still its owner's, and show no life meanwhile."""
    CallLedger.renew = lambda self, entry: None  # type: ignore[method-assign]


def _guard_before_wait(diary: Any) -> None:
    """Ask whether a call is allowed, and whether the claim is its owner's, before a wait, not after it."""
    from airflow_provider_voiceinfra.dialling.sending import Request
    from airflow_provider_voiceinfra.exceptions import CallNotPlacedError

    send, renew = Request.send, CallLedger.renew

    def early(self: Any) -> Any:
        try:
            return send(self)
        except CallNotPlacedError:  # it waits now, and is sent again
            renew(self.ledger, self.entry)
            raise

    CallLedger.renew = lambda self, entry: None  # type: ignore[method-assign]
    Request.send = early  # type: ignore[method-assign]


def _taken_over_at_once(diary: Any) -> None:
    """Take a campaign over without waiting for what the former process has claimed."""
    from airflow_provider_voiceinfra.campaigns.campaign import CampaignExecution

    CampaignExecution._await_former = lambda self, campaign: None  # type: ignore[method-assign]


def _redial_ignores_answer(diary: Any) -> None:
    """Store an answer that a redial has overtaken aside, as if it settled nothing."""
    from airflow_provider_voiceinfra.ledger import settling

    settling.settle_overtaken = lambda *args: False  # type: ignore[assignment]


def _redial_rival_forgotten(diary: Any) -> None:
    """Take a call that was redialled and accepted for settled, its first dial included."""
    from airflow_provider_voiceinfra.ledger import adoption
    from airflow_provider_voiceinfra.ledger.database.schema import calls

    states = [state.value for state in adoption.IN_FLIGHT]
    adoption._may_lack_an_answer = lambda: calls.c.state.in_(states)


def _accounts_ignored(diary: Any) -> None:
    """Let a completion count for the calls of any connection, and leave no row of a call without a key."""
    from sqlalchemy import true

    from airflow_provider_voiceinfra.dialling.outcomes import How, Placement
    from airflow_provider_voiceinfra.ledger import accounts, adoption

    def bare(self: Any, call: Any, **more: Any) -> Any:
        return Placement(self._client.place(call), None, How.PLACED)  # type: ignore[arg-type]

    accounts.same_account = adoption.same_account = lambda *args: true()
    CallPlacer.place_without_key = bare  # type: ignore[method-assign]


def _takeover_forgets(diary: Any) -> None:
    """Take a campaign over after a fixed while, ask nobody who owns it, and end without a last look."""
    from airflow_provider_voiceinfra.campaigns.campaign import CampaignExecution
    from airflow_provider_voiceinfra.campaigns.engine import runner
    from airflow_provider_voiceinfra.ledger import claims

    def once(self: Any) -> Any:
        tracker = runner.CampaignTracker(self._plan, self._ledger, self._origin, self._clocks, before=None)
        return self._run(tracker)

    claims.hold = lambda connection, owner: None
    CampaignExecution._await_former = lambda self, campaign: time.sleep(2.0 / SCALE)  # type: ignore[method-assign]
    runner.CampaignRunner.run = once  # type: ignore[method-assign]


def _results_written_in_place(diary: Any) -> None:
    """Write the results where they are to be, whoever owns the campaign."""
    from airflow_provider_voiceinfra.campaigns.contacts.text_files import path_of
    from airflow_provider_voiceinfra.campaigns.reporting import result_files

    result_files.replacing = lambda location, **options: path_of(location).open("wb")


# Each with the processes in which it patches the package, given the worker's ``Diary``, or ``None``.
PLANTS: dict[str, tuple[Callable[[Any], None], tuple[str, ...]]] = {
    "claim_after_post": (_claim_after_post, (WORKER,)),
    "answer_after_xcom": (_answer_after_xcom, (WORKER,)),
    "ack_before_commit": (_ack_before_commit, (RECEIVER,)),
    "lease_not_renewed": (_lease_not_renewed, (WORKER,)),
    "guard_before_wait": (_guard_before_wait, (WORKER,)),
    "taken_over_at_once": (_taken_over_at_once, (WORKER,)),
    # These take a fix back.
    "redial_ignores_answer": (_redial_ignores_answer, (WORKER,)),
    "redial_rival_forgotten": (_redial_rival_forgotten, (WORKER,)),
    "accounts_ignored": (_accounts_ignored, (WORKER, RECEIVER)),
    "takeover_forgets": (_takeover_forgets, (WORKER,)),
    "results_written_in_place": (_results_written_in_place, (WORKER,)),
}


def _suppressions_forgotten(diary: Any) -> None:
    """Look up no suppression, neither in a claim nor before a retry."""
    from airflow_provider_voiceinfra.ledger import claims
    from airflow_provider_voiceinfra.ledger.rules import limits

    limits.suppressed = claims.suppressed = lambda *args: {}  # type: ignore[attr-defined]


def _cap_without_lock(diary: Any) -> None:
    """Count the calls to a number while others may be claiming some; SQLite knows no two at a time."""
    from airflow_provider_voiceinfra.ledger import claims
    from airflow_provider_voiceinfra.ledger.database.locks import no_locks

    claims.what_is_counted = lambda *args: no_locks  # type: ignore[attr-defined]


def _opt_out_answered_at_once(diary: Any) -> None:
    """Answer an opt-out as soon as it is stored, whatever request is just leaving."""
    from airflow_provider_voiceinfra.web.receiver.webhook import Receiver

    async def at_once(self: Any, receipt: Any) -> None:
        return None

    Receiver._await_last_requests = at_once  # type: ignore[method-assign]


def _retries_unguarded(diary: Any) -> None:
    """Ask for the calling window before the first request only."""
    import math

    from airflow_provider_voiceinfra.dialling.sending import Request

    send = Request.send

    def unguarded(self: Any) -> Any:
        if self._is_again:
            self.guard = Unasked()
        return send(self)

    class Unasked:
        def check(self, *args: Any) -> float:
            return math.inf

    Request.send = unguarded  # type: ignore[method-assign]


# Those that the night must find.
OF_THE_NIGHT: dict[str, tuple[Callable[[Any], None], tuple[str, ...]]] = {
    "suppressions_forgotten": (_suppressions_forgotten, (WORKER,)),
    "cap_without_lock": (_cap_without_lock, (WORKER,)),
    "opt_out_answered_at_once": (_opt_out_answered_at_once, (RECEIVER,)),
    "retries_unguarded": (_retries_unguarded, (WORKER,)),
}


def plant(name: str | None, where: str, diary: Any = None) -> None:
    """Install a bug if this is the kind of process that it lives in."""
    if name:
        install, processes = {**PLANTS, **OF_THE_NIGHT}[name]
        if where in processes:
            install(diary)
