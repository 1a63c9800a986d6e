"""Runs a campaign: fills its lines, notices what ends, and knows when it is over; sends nothing by itself.

All state is in the ledger. What is kept in memory is worked out from it when a process takes the campaign up,
and worked out anew when the ledger was down.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from airflow_provider_voiceinfra.campaigns.engine.obstacles import Obstacles
from airflow_provider_voiceinfra.campaigns.engine.openings import MissedOpenings
from airflow_provider_voiceinfra.campaigns.engine.tracker import CampaignTracker
from airflow_provider_voiceinfra.campaigns.plan import CampaignPlan
from airflow_provider_voiceinfra.campaigns.progress import Progress, WaitingFor
from airflow_provider_voiceinfra.dialling.clocks import Clocks
from airflow_provider_voiceinfra.dialling.dialler import Dialler
from airflow_provider_voiceinfra.dialling.guard import Guard
from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError, VoiceInfraError
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from airflow_provider_voiceinfra.ledger.store import CallLedger

log = logging.getLogger(__name__)

# How long to wait for something to happen before looking for completions, in seconds.
TICK = 0.1
# How often the ledger is told of progress, and asked about cancelling and about calls whose answer was lost,
# in seconds.
SLOW_TICK = 1.0
# How long after a heartbeat a request may be sent, in seconds: a process that was paused for longer may
# have lost the campaign to another one. Whoever takes it over waits for as long before it counts on that.
ALIVE = 10.0
# How long to wait before a dead ledger is asked again, in seconds.
LEDGER_PAUSE = 5.0


class End(str, Enum):
    """Why there is nothing left to do."""

    FINISHED = "finished"
    CANCELLED = "cancelled"
    STOPPED = "stopped"
    """This process was asked to stop; another one goes on with the campaign."""


@dataclass(frozen=True)
class Pause:
    """Nothing is to be dialled for a while.

    :param until: when to go on at the latest, aware UTC.
    :param calls: go on earlier when fewer than so many calls of the campaign have no completion; ``None`` if
        calls do not matter.
    """

    until: datetime
    calls: int | None


class CampaignRunner:
    """Runs one campaign until it is over, cancelled, or has nothing to do for a while.

    :param runner: what ``ledger.campaigns.take`` gave this process.
    :param loaded: whether the contacts of this try are stored; without them nobody is dialled.
    :param min_pause: return a ``Pause`` rather than wait for longer than this; ``None`` to wait always.
    :param before: what the process before it reported, if this one goes on after a pause.
    :param guard: knows when each contact may be called; if not set, by the rules of the campaign alone.
    """

    def __init__(
        self,
        plan: CampaignPlan,
        ledger: CallLedger,
        dialler: Dialler,
        *,
        runner: str,
        origin: CallOrigin,
        loaded: bool = True,
        min_pause: timedelta | None = None,
        clocks: Clocks = Clocks(),  # noqa: B008 # it holds no state
        report: Callable[[Progress], None] = lambda progress: None,
        before: Progress | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._plan = plan
        self._guard = guard
        self._ledger = ledger
        self._dialler = dialler
        self._runner = runner
        self._origin = origin
        self._loaded = loaded
        self._min_pause = min_pause
        self._clocks = clocks
        self._report = report
        self._obstacles = Obstacles(clocks.passed)
        self._openings = MissedOpenings(clocks.now, before)
        self._cancelled = False
        self._stopped = False

    def stop(self) -> None:
        """Have ``run`` return soon, without dialling any more; may be called from a signal handler."""
        self._stopped = True

    def run(self) -> End | Pause:
        """Go on with the campaign.

        :raises CampaignBusyError: if another process has taken the campaign over.
        :raises CallRefusedError: if the API would refuse every call; what was placed is stored.
        :raises VoiceInfraError: if the API failed, or could not be reached, for a long time.
        """
        tracker: CampaignTracker | None = None
        while True:
            try:
                tracker = CampaignTracker(
                    self._plan, self._ledger, self._origin, self._clocks, tracker, self._guard
                )
                end = self._run(tracker)
            except LedgerUnavailableError as error:
                log.warning("The campaign rests until the ledger is back: %s", error)
                self._rest()
                if self._stopped:
                    return End.STOPPED
                continue
            if end is End.FINISHED and tracker.has_dialled and not self._is_late():
                # What others did to the ledger meanwhile is only seen by reading all of it once more: nobody
                # is forgotten before a look at everything has found that there is nothing left to do.
                continue
            return end

    def _rest(self) -> None:
        """Wait until nothing is under way any more, and then for a while."""
        # Neither a cancellation nor another process that takes the campaign over could be seen meanwhile.
        self._dialler.hold(True)
        until = self._clocks.passed() + LEDGER_PAUSE
        while not self._stopped and (self._dialler.outstanding or self._clocks.passed() < until):
            self._dialler.wait(TICK)

    def _run(self, tracker: CampaignTracker) -> End | Pause:
        self._obstacles.accepted |= tracker.counts.placed > 0
        beat_at: float | None = None
        hurry = False
        while not self._stopped:
            dialled = self._dialler.wait(0.0 if hurry else TICK)
            for one in dialled:
                self._obstacles.note(one)
            tracker.take_dialled(dialled)
            if self._clocks.passed() - tracker.looked_at >= TICK:
                tracker.take_completions()
            if beat_at is None or self._clocks.passed() - beat_at >= SLOW_TICK:
                beat_at = self._clocks.passed()
                tracker.look_after_lines()
                self._beat(tracker)
            hurry = self._fill_lines(tracker)
            self._openings.note(tracker.agenda.opens_at, tracker.counts.placed + tracker.counts.done)
            if self._plan.deadline is None and not self._cancelled:
                self._openings.check(self._obstacles.current)
            cancelled = self._cancelled
            end = self._end(tracker) or self._pause(tracker)
            if end is not None:
                self._beat(tracker)
                # What was decided may rest on a cancellation that was taken back since the last heartbeat.
                if self._cancelled == cancelled:
                    return end
        return End.STOPPED

    def _beat(self, tracker: CampaignTracker) -> None:
        progress, asked_at = self._progress(tracker), self._clocks.passed()
        entry = self._ledger.campaigns.heartbeat(self._plan.campaign_id, self._runner, progress.to_json())
        if entry.cancelled_at is not None and not self._cancelled:
            log.warning("The campaign is cancelled: nobody else is dialled; calls under way go on.")
        self._cancelled = entry.cancelled_at is not None
        self._dialler.prolong(asked_at + ALIVE)
        self._report(progress)

    def _progress(self, tracker: CampaignTracker) -> Progress:
        return replace(
            tracker.counts.progress(),
            active=tracker.lines.in_use,
            max_active_calls=self._plan.max_active_calls,
            waiting={**tracker.agenda.waiting, WaitingFor.ANSWER: len(tracker.lines.unanswered)},
            to_redial=tracker.outcomes_so_far(),
            next_at=tracker.agenda.next_at,
            opens_at=self._openings.opens_at,
            missed_openings=self._openings.missed,
            allowed_rate=round(self._dialler.pace.rate, 2),
            limit=self._dialler.pace.limit,
            obstacle=self._obstacles.current,
        )

    def _is_late(self) -> bool:
        return self._plan.is_late(self._clocks.now())

    def _fill_lines(self, tracker: CampaignTracker) -> bool:
        """Submit those whose turn it is; return whether there may be more although nobody was found."""
        may_dial = self._loaded and not (self._cancelled or self._is_late() or self._obstacles.in_the_way)
        self._dialler.hold(not may_dial)
        room = min(self._plan.max_active_calls - tracker.lines.in_use, self._dialler.room)
        if self._obstacles.is_failing:
            room = min(room, 1 - self._dialler.outstanding)
        if not may_dial or room <= 0:
            return False
        jobs = tracker.agenda.take(self._clocks.now(), room)
        tracker.lines.placing.update((job.key, job) for job in jobs)
        self._dialler.submit(jobs)
        return not jobs and tracker.agenda.is_unread  # many whose window is closed

    def _end(self, tracker: CampaignTracker) -> End | None:
        if tracker.lines.in_use:  # of a cancelled campaign, too: its summary says how they went
            return None
        if self._cancelled:
            return End.CANCELLED
        if not self._loaded:
            raise VoiceInfraError(
                "The cancellation was taken back before the contacts of this try were read. A retry, or "
                "clearing the task, reads them and goes on."
            )
        return End.FINISHED if self._is_late() or tracker.agenda.is_empty else None

    def _pause(self, tracker: CampaignTracker) -> Pause | None:
        """Return how long nothing is to be dialled, if that is worth giving the worker back for."""
        lines, now = tracker.lines, self._clocks.now()
        if self._min_pause is None or self._cancelled or lines.placing or lines.unanswered:
            return None
        until = self._next_event(tracker)
        # While people are on the phone, something is likely to happen soon.
        quiet = timedelta(seconds=self._clocks.passed() - tracker.moved_at)
        if until - now < self._min_pause or (lines.active and quiet < self._min_pause):
            return None
        if not lines.active:
            return Pause(until, None)
        return self._pause_for_calls(tracker, until)

    def _next_event(self, tracker: CampaignTracker) -> datetime:
        """Return when there is something to do at the latest, whatever the calls under way do."""
        lines, now = tracker.lines, self._clocks.now()
        moments = []
        if lines.next_due is not None:
            moments.append(now + timedelta(seconds=lines.next_due - self._clocks.passed()))
        if not self._is_late():
            moments += [self._plan.deadline] if self._plan.deadline else []
            if not tracker.agenda.is_empty and lines.in_use < self._plan.max_active_calls:
                moments.append(tracker.agenda.next_at or now)
        return min(moments, default=now)

    def _pause_for_calls(self, tracker: CampaignTracker, until: datetime) -> Pause | None:
        lines = tracker.lines
        unended = set(self._ledger.campaigns.open_calls(self._plan.campaign_id))
        if not lines.active.keys() <= unended:
            return None  # some have ended this very moment
        full = lines.in_use >= self._plan.max_active_calls and not tracker.agenda.is_empty
        if (full or self._plan.redial) and not self._is_late():
            return Pause(until, len(unended))  # the next one that ends gives something to do
        return Pause(until, len(unended) - len(lines.active) + 1)
