"""Runs a campaign from its contacts to its results; what a task does, without the task."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

from airflow_provider_voiceinfra import metrics
from airflow_provider_voiceinfra.api.client import VoiceInfraClient
from airflow_provider_voiceinfra.campaigns.contacts.text_files import shown, without_login
from airflow_provider_voiceinfra.campaigns.engine.openings import MOST_MISSED, SHORT_OPENING
from airflow_provider_voiceinfra.campaigns.engine.runner import ALIVE, CampaignRunner, End, Pause
from airflow_provider_voiceinfra.campaigns.outcomes import CANCELLED, EXPIRED
from airflow_provider_voiceinfra.campaigns.plan import CampaignSetup
from airflow_provider_voiceinfra.campaigns.progress import Progress
from airflow_provider_voiceinfra.campaigns.reporting.result_files import check_results_path, write_results
from airflow_provider_voiceinfra.campaigns.reporting.results import ContactResult, Tally, contact_results
from airflow_provider_voiceinfra.campaigns.reporting.status import in_words
from airflow_provider_voiceinfra.connection import VoiceInfraConnection
from airflow_provider_voiceinfra.dialling.clocks import Clocks
from airflow_provider_voiceinfra.dialling.dialler import MAX_THREADS, Dialler
from airflow_provider_voiceinfra.dialling.guard import Guard
from airflow_provider_voiceinfra.dialling.rate import AdaptivePace
from airflow_provider_voiceinfra.exceptions import (
    CallRefusedError,
    CampaignContinuedError,
    LedgerUnavailableError,
    VoiceInfraError,
)
from airflow_provider_voiceinfra.ledger.campaigns.ownership import Ownership
from airflow_provider_voiceinfra.ledger.campaigns.records import CampaignEntry
from airflow_provider_voiceinfra.ledger.store import CallLedger
from airflow_provider_voiceinfra.rules.rule_set import Rules, RuleSet

log = logging.getLogger(__name__)

# A wait that is shorter is not worth giving the worker back for.
MIN_PAUSE = timedelta(seconds=60)
# How often to look whether what a former process has claimed is settled, in seconds.
HANDOVER_INTERVAL = 0.2
# How often to show the others that this process is alive while it writes the results, in seconds.
_BEAT_INTERVAL = 5.0


class CampaignExecution:
    """One process's turn at a campaign.

    :param resumed: whether this try goes on after a pause, and has read the contacts before it.
    :param may_pause: whether to return a ``Pause`` when nothing is to be dialled for a minute or longer.
    :param report: called with the progress once a second or so.
    :param deployment: the rules of the whole deployment; those of the connection are its own.
    """

    def __init__(
        self,
        setup: CampaignSetup,
        connection: VoiceInfraConnection,
        ledger: CallLedger,
        *,
        resumed: bool = False,
        may_pause: bool = False,
        report: Callable[[Progress], None] = lambda progress: None,
        clocks: Clocks = Clocks(),  # noqa: B008 # it holds no state
        deployment: Rules | None = None,
    ) -> None:
        rules = RuleSet(deployment or Rules(), connection.rules, setup.plan.rules)
        self._guard = Guard(rules, clocks)
        self._setup = setup
        self._plan = setup.plan
        self._connection = connection
        self._ledger = ledger
        self._resumed = resumed
        self._may_pause = may_pause
        self._report = report
        self._clocks = clocks
        self._shown_at = clocks.passed()
        self._runner: CampaignRunner | None = None
        self._stopped = False

    def stop(self) -> None:
        """Dial nobody else and have ``run`` return soon; may be called from a signal handler."""
        self._stopped = True
        if self._runner is not None:
            self._runner.stop()

    def run(self) -> Pause | tuple[End, dict[str, Any]]:
        """Load the contacts if that is still to be done, and call them.

        :return: a pause, or how it ended and the summary, which is empty if it was stopped.
        :raises ContactsError: if the contacts as a whole are refused; nobody was called then.
        :raises CampaignBusyError: if another task runs this campaign.
        :raises CallNotAllowedError: if the ledger was restored, and may have forgotten whom it has called.
        """
        setup = self._setup
        if setup.results_path:
            inputs = (setup.contacts, setup.reading.get("do_not_call"))
            check_results_path(setup.results_path, inputs)
        campaign = self._ledger.campaigns.take(
            self._plan.campaign_id, conn_id=setup.conn_id, origin=setup.origin
        )
        self._owner = Ownership(campaign.campaign_id, str(campaign.runner))
        forget_load = False
        try:
            self._ledger.quarantines.check(setup.origin, campaign.created_at)
            self._await_former(campaign)
            if self._stopped:
                return End.STOPPED, {}
            loaded = setup.has_loaded(campaign.loaded_by, resumed=self._resumed)
            if not loaded and campaign.cancelled_at is None:
                if self._resumed and campaign.loaded_by is not None:
                    # Another run has continued it with its own contacts meanwhile.
                    raise CampaignContinuedError(campaign.campaign_id)
                self._load()
                loaded = True
            end = self._dial(campaign, loaded=loaded)
            return end if isinstance(end, Pause) else (end, self._finish(campaign, end))
        except (LedgerUnavailableError, CampaignContinuedError):
            raise
        except Exception:
            forget_load = True  # what is wrong may be fixed in what the contacts are made from
            raise
        finally:
            self._release(forget_load)

    def _await_former(self, campaign: CampaignEntry) -> None:
        """Wait until what a former process has claimed is settled, or cannot be sent any more.

        It can claim nothing new, but who is withdrawn by the list of this try must not be called after that
        is stored, and what comes back unsent must be seen.
        """
        until = self._clocks.passed() + ALIVE + self._connection.timeout
        while not self._stopped and self._clocks.passed() < until:
            claimed = self._ledger.campaigns.claims_in_flight(campaign.campaign_id)
            if not claimed:
                return
            if self._shows_life():
                log.info("%d calls that another process was about to send are waited for.", claimed)
            time.sleep(HANDOVER_INTERVAL)

    def _shows_life(self) -> bool:
        """Show the others that this process is alive, if it is time for that; return whether it was."""
        is_time = self._clocks.passed() > self._shown_at + _BEAT_INTERVAL
        if is_time:
            self._shown_at = self._clocks.passed()
            self._ledger.campaigns.heartbeat(self._owner.campaign_id, self._owner.runner)
        return is_time

    def _load(self) -> None:
        setup = self._setup
        loader = setup.contact_loader(self._connection, self._guard, self._clocks.now)
        if setup.refuse_invalid:
            loader.refuse_invalid()
        loader.load(self._ledger, self._owner, loaded_by=setup.loader)
        for row in loader.shown:
            log.warning("Left out as %s: %s", row.skipped, row)
        skipped = {reason: number for reason, number in loader.counts.items() if reason}
        log.info(
            "%d contacts are on the list, those who were called before included; left out: %s.",
            loader.counts[""],
            in_words(skipped),
        )
        if not loader.counts:
            log.warning(
                "There is nobody to call: contacts is an empty list, or a file without a row below its "
                "header. If that is not meant, look at the task or the export that makes it."
            )
        self._warn_of_times(loader.shortest_opening)

    def _warn_of_times(self, opening: timedelta | None) -> None:
        if self._plan.deadline is None and opening is not None and opening < SHORT_OPENING:
            log.warning(
                "The calling window is open for %g min at a time, at most, for some contacts or all. A task "
                "that starts later than that calls nobody until it opens again, and fails when %d openings "
                "have passed so. Make it longer, or set a deadline.",
                opening.total_seconds() / 60,
                MOST_MISSED,
            )
        if self._plan.is_late(self._clocks.now()):
            log.warning("The deadline, %s, has passed: nobody is called.", self._plan.deadline)

    def _dial(self, campaign: CampaignEntry, *, loaded: bool) -> End | Pause:
        conn_id = self._setup.conn_id
        most = self._setup.max_calls_per_second or self._connection.max_calls_per_second
        dialler = Dialler(
            self._ledger,
            lambda: VoiceInfraClient(self._connection),
            conn_id=conn_id,
            account=self._connection.account,
            pace=AdaptivePace(most=most, monotonic=self._clocks.passed),
            threads=min(MAX_THREADS, self._plan.max_active_calls),
            owner=self._owner,
            clocks=self._clocks,
            count=lambda name: metrics.count(name, conn_id=conn_id),
            guard=self._guard,
        )
        try:
            self._runner = CampaignRunner(
                self._plan,
                self._ledger,
                dialler,
                runner=self._owner.runner,
                origin=self._setup.origin,
                loaded=loaded,
                before=Progress.from_json(campaign.progress) if self._resumed else None,
                min_pause=MIN_PAUSE if self._may_pause else None,
                clocks=self._clocks,
                report=self._report,
                guard=self._guard,
            )
            if self._stopped:
                return End.STOPPED
            return self._runner.run()
        finally:
            dialler.close()

    def _finish(self, campaign: CampaignEntry, end: End) -> dict[str, Any]:
        """Write the results, and return the summary; a retry writes them anew.

        :raises CallRefusedError: if the API has refused every call for what a person may fix.
        """
        if end is End.STOPPED:
            return {}
        tally = Tally()
        unplaced = CANCELLED if end is End.CANCELLED else EXPIRED
        found = contact_results(self._ledger, self._plan, unplaced=unplaced)
        results = tally.count(self._showing_life(found))
        path = self._setup.results_path
        if path:
            self._write(path, results)
        else:
            for _ in results:
                pass  # counting them is all there is to do
        if end is End.FINISHED and tally.refusal:
            raise CallRefusedError(
                f"The API refused every call of the campaign, the last one like this: {tally.refusal} Nobody "
                "was called. Fix that and clear this task; it goes on with everybody."
            )
        if end is End.FINISHED and tally.summary()[EXPIRED] and not self._plan.is_late(self._clocks.now()):
            raise VoiceInfraError(
                f"{tally.summary()[EXPIRED]} contacts were not called, although no deadline has passed: the "
                "calling window has no hour for them any more. A retry reads all contacts anew and says who."
            )
        summary = {
            "campaign_id": campaign.campaign_id,
            **tally.summary(),
            "started_at": campaign.created_at.isoformat(timespec="seconds"),
            "finished_at": self._clocks.now().isoformat(timespec="seconds"),
            "results_path": without_login(path) if path else None,
        }
        self._ledger.campaigns.finish(campaign.campaign_id, self._owner.runner, summary)
        return summary

    def _showing_life(self, results: Iterable[ContactResult]) -> Iterator[ContactResult]:
        """Pass results on; of very many, writing takes long enough to be taken for dead."""
        for result in results:
            self._shows_life()
            yield result

    def _write(self, path: Any, results: Iterable[ContactResult]) -> None:
        # Whoever has lost the campaign must not put a file in the place of a newer one.
        allowed = partial(self._ledger.campaigns.held, self._owner)
        try:
            write_results(path, results, campaign_id=self._owner.campaign_id, allowed=allowed)
        except OSError as error:
            raise VoiceInfraError(
                f"results_path: {shown(path)} cannot be written: {error.strerror or error}. Nothing is lost: "
                "how each call went is in the ledger, and a retry writes the file and calls nobody twice."
            ) from error

    def _release(self, forget_load: bool) -> None:
        owner = self._owner
        try:
            self._ledger.campaigns.release(owner.campaign_id, owner.runner, forget_load=forget_load)
        except LedgerUnavailableError:
            log.warning("The ledger cannot be written; the campaign is free again a minute from now.")
