"""How far a campaign is, worked out from the ledger when a process takes it up, and kept up to date."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Generator, Iterable
from contextlib import closing
from datetime import datetime
from typing import cast

from airflow_provider_voiceinfra.campaigns.engine.agenda import Agenda
from airflow_provider_voiceinfra.campaigns.engine.counts import Counts
from airflow_provider_voiceinfra.campaigns.engine.lines import LineInUse, PhoneLines
from airflow_provider_voiceinfra.campaigns.outcomes import DO_NOT_CALL, REFUSED, UNKNOWN
from airflow_provider_voiceinfra.campaigns.plan import CampaignPlan
from airflow_provider_voiceinfra.campaigns.progress import WaitingFor
from airflow_provider_voiceinfra.campaigns.standings import Stage, Standing, standings
from airflow_provider_voiceinfra.dialling.clocks import Clocks
from airflow_provider_voiceinfra.dialling.guard import Guard
from airflow_provider_voiceinfra.dialling.jobs import GONE_FROM_LEDGER, Dialled
from airflow_provider_voiceinfra.exceptions import CallNotAllowedError, CallNotPlacedError, RateLimitedError
from airflow_provider_voiceinfra.ledger.campaigns.records import Attempt
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin, CallState
from airflow_provider_voiceinfra.ledger.store import CallLedger
from airflow_provider_voiceinfra.waiting.following import Follower

log = logging.getLogger(__name__)

_COMPLETIONS = 1000
# What keeps a call from being placed, and is nothing that the API, or somebody, has to be asked about.
_NO_REFUSAL = (RateLimitedError, CallNotAllowedError)


class CampaignTracker:
    """Who is to be dialled, who is on the phone, and who is done.

    :param before: what was known before everything is read anew: rates, and who was waited for in vain.
    :param guard: knows when each contact may be called; if not set, by the rules of the campaign alone.
    """

    def __init__(
        self,
        plan: CampaignPlan,
        ledger: CallLedger,
        origin: CallOrigin,
        clocks: Clocks,
        before: CampaignTracker | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._plan = plan
        self._ledger = ledger
        self._origin = origin
        self._clocks = clocks
        counts = ledger.campaigns.count_contacts(plan.campaign_id)
        told = before.counts if before else None
        self.counts: Counts = Counts(counts.pop("", 0), counts, clocks, told)
        self.agenda = Agenda(plan, ledger, origin, guard)
        self.lines = PhoneLines()
        self.moved_at = clocks.passed()
        """When a call was last placed, or ended, in seconds of the clock that nobody can set."""
        self.looked_at = clocks.passed()
        """When completions were last looked for, likewise."""
        self.has_dialled = False
        """Whether calls were placed, or waited for, since everything was read."""
        # How the last call ended of those who are to be called again, by their positions.
        self._rang: dict[int, str] = {}
        # Before the calls are read, so that no completion falls between the two.
        self._follower = Follower(ledger, _COMPLETIONS)
        # Calls that were accepted since the last look for completions: theirs may have come before that.
        self._accepted: list[str] = []
        self._sought: dict[str, int] = {}
        # Calls that were waited for in vain, by id or hashed key: not once more, whatever their times say.
        self._let_go: set[str] = before._let_go if before else set()
        attempts = cast("Generator[Attempt, None, None]", ledger.campaigns.attempts(plan.campaign_id))
        with closing(attempts):  # or a ledger that fails half-way would have one connection less each time
            for standing in standings(attempts, plan):
                self._place(standing)
        # Of what is not waited for any more, another look would tell the same.
        self.has_dialled = any(call.due > clocks.passed() for call in self.lines.calls)

    def _place(self, standing: Standing) -> None:
        """Put a contact that was called before where it belongs."""
        last = standing.last
        self.counts.placed += standing.placed
        if standing.stage is Stage.DIAL and not self._was_refused_in_this_try(standing):
            why = WaitingFor.REDIAL if standing.due else WaitingFor.AGAIN
            why = WaitingFor.CAP if standing.is_capped else why
            self.agenda.put(standing.due, standing.position, standing.next_attempt, why)
            if standing.placed and standing.outcome:
                self._rang[standing.position] = standing.outcome
            return
        if standing.stage is Stage.COMPLETION and last and last.call_id:
            call = self._call(standing.position, standing.next_attempt, last.answered_at or last.claimed_at)
            if call.due > self._clocks.passed() and last.call_id not in self._let_go:
                self.lines.active[last.call_id] = call
                return
            self.lines.given_up[last.call_id] = call
        elif standing.stage is Stage.ANSWER and last:
            entry = self._ledger.call_by_hash(last.key_hash)
            if entry is not None:
                self._await_answer(entry, standing.position, standing.next_attempt)
                return
        self.counts.contact_done(standing.outcome or UNKNOWN, before=True)

    def _was_refused_in_this_try(self, standing: Standing) -> bool:
        """Return whether nobody can have fixed yet what a call was refused for."""
        if standing.refused is None:
            return False
        entry = self._ledger.call_by_hash(standing.refused.key_hash)
        return entry is not None and entry.origin.is_same_try_as(self._origin)

    def _call(self, position: int, attempt: int, answered_at: datetime | None = None) -> LineInUse:
        """Return a call that is on the phone, from its answer on or from now."""
        timeout = self._plan.completion_timeout
        due = self._clocks.reached((answered_at or self._clocks.now()) + timeout, timeout)
        return LineInUse(position, attempt, due)

    def _await_answer(self, entry: CallEntry, position: int, attempt: int) -> None:
        if entry.state is CallState.CLAIMED:  # its owner is gone: only this process dials for the campaign
            entry = self._ledger.mark_unknown(
                entry, "owner_died", "the task ended between its claim and the answer"
            )
        timeout = self._plan.unknown_timeout
        due = self._clocks.reached(entry.renewed_at + timeout, timeout)
        # What the ledger has forgotten rang long ago, and there may be thousands of such calls.
        if entry.key_hash in self._let_go or entry.error_code == GONE_FROM_LEDGER:
            due = self._clocks.passed()
        self.lines.unanswered[entry.key_hash] = (entry, LineInUse(position, attempt, due))

    def outcomes_so_far(self) -> dict[str, int]:
        """Return how the last call ended of those who wait to be called again: how many of each outcome."""
        in_use = {job.origin.position for job in self.lines.placing.values()}
        in_use |= {call.position for _, call in self.lines.unanswered.values()}
        return dict(Counter(outcome for position, outcome in self._rang.items() if position not in in_use))

    def take_dialled(self, found: Iterable[Dialled]) -> None:
        """Note what became of jobs."""
        for dialled in found:
            self.moved_at = self._clocks.passed()
            del self.lines.placing[dialled.job.key]
            position, attempt = dialled.job.place
            entry = dialled.entry
            # A call under another position is found by its key alone, and would be in each further look.
            self.has_dialled |= entry is None or entry.origin.position == position
            error = dialled.error
            if isinstance(error, CallNotPlacedError) and not isinstance(error, _NO_REFUSAL):
                self.counts.refused(error.code, str(error), dialled.job.call.to_number)
            if dialled.again or entry is None:
                why = WaitingFor.CAP if dialled.not_before else WaitingFor.AGAIN
                self.agenda.put(dialled.not_before, position, attempt, why)
            else:
                self._settle(entry, position, attempt, new=dialled.error is None)

    def _settle(self, entry: CallEntry, position: int, attempt: int, *, new: bool) -> None:
        """Note what became of a call."""
        if entry.state is CallState.REFUSED:
            is_suppressed = entry.error_code == CallNotAllowedError.SUPPRESSED
            self.counts.contact_done(self._rang.pop(position, DO_NOT_CALL if is_suppressed else REFUSED))
        elif entry.state is CallState.ACCEPTED and entry.call_id:
            self._rang.pop(position, None)
            self.lines.active[entry.call_id] = self._call(position, attempt, entry.answered_at)
            self._accepted.append(entry.call_id)
            if new:
                self.counts.call_placed()
        else:
            self._await_answer(entry, position, attempt)

    def _look_up(self, call_ids: list[str]) -> None:
        for found in self._ledger.completions(call_ids, with_body=False).values():
            self._end_call(found.call_id, found.call_outcome, found.received_at)

    def take_completions(self) -> None:
        """Note which calls have ended."""
        self.looked_at = self._clocks.passed()
        # A webhook may come before the answer is stored, and is then passed by the follower already.
        accepted, self._accepted = self._accepted, []
        self._look_up(accepted)
        while True:
            entries = self._follower.look()
            for entry in entries or ():
                self._end_call(entry.call_id, entry.call_outcome, entry.received_at)
            if entries is None:
                log.warning("The ledger was restored or purged; every call under way is looked up anew.")
                self._look_up([*self.lines.active, *self.lines.given_up])
            elif len(entries) < _COMPLETIONS:
                return

    def _end_call(self, call_id: str, outcome: str | None, received_at: datetime) -> None:
        ended = self.lines.end(call_id)
        if ended is None:
            return
        call, was_given_up = ended
        self.moved_at = self._clocks.passed()
        again = self._plan.redial and self._plan.redial.due(outcome, call.attempt, received_at)
        if again:
            self.agenda.put(again, call.position, call.attempt + 1, WaitingFor.REDIAL)
            self._rang[call.position] = outcome or UNKNOWN
        if was_given_up:
            self.counts.outcome_changed(UNKNOWN, None if again else outcome or UNKNOWN)
        elif not again:
            self.counts.contact_done(outcome or UNKNOWN)

    def look_after_lines(self) -> None:
        """Find calls whose answer was lost, and free the lines of those that nobody will hear of."""
        now = self._clocks.passed()
        for key_hash, (entry, call) in list(self.lines.unanswered.items()):
            if self._sought.get(key_hash) == self._follower.cursor and now < call.due:
                continue  # nothing has come since it was last looked for
            self._sought[key_hash] = self._follower.cursor
            found = self._ledger.adopt(entry, window=self._plan.unknown_timeout)
            if found.state is CallState.UNKNOWN and now < call.due:
                continue
            del self.lines.unanswered[key_hash]
            self.has_dialled |= found.state is not CallState.UNKNOWN
            if found.state is CallState.UNKNOWN:
                self._rang.pop(call.position, None)
                self._let_go.add(key_hash)
                self.counts.contact_done(UNKNOWN)
                log.warning("It stays unknown whether a call was placed; it is reported, not dialled again.")
            elif found.state is CallState.REFUSED:  # its former owner lived long enough to store that
                self.agenda.put(None, call.position, call.attempt, WaitingFor.AGAIN)
            elif found.call_id:
                log.info("Call %s, whose answer was lost, was found.", found.call_id)
                self.counts.call_placed()
                self._rang.pop(call.position, None)
                self.lines.active[found.call_id] = self._call(call.position, call.attempt)
                self._look_up([found.call_id])
        for call_id, _ in self.lines.give_up(now):
            self._let_go.add(call_id)
            self.counts.contact_done(UNKNOWN)
            log.warning("No completion record of call %s has come in time; its line is free.", call_id)
