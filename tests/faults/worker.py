"""One task's try as a process of its own.

What a task pushes to XCom, this writes into its diary once the package has returned it.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_voiceinfra import metrics
from airflow_provider_voiceinfra.api.client import VoiceInfraClient
from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.campaigns.campaign import CampaignExecution
from airflow_provider_voiceinfra.campaigns.plan import CampaignPlan, CampaignSetup, RedialPolicy
from airflow_provider_voiceinfra.connection import VoiceInfraConnection
from airflow_provider_voiceinfra.deployment import deployment_rules
from airflow_provider_voiceinfra.dialling.guard import Guard
from airflow_provider_voiceinfra.dialling.outcomes import OnUnknown, UnknownPolicy
from airflow_provider_voiceinfra.dialling.placing import CallPlacer
from airflow_provider_voiceinfra.dialling.retrying import RetryBounds
from airflow_provider_voiceinfra.exceptions import VoiceInfraError
from airflow_provider_voiceinfra.hooks.voiceinfra import VoiceInfraHook
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from airflow_provider_voiceinfra.rules.rule_set import RuleSet
from airflow_provider_voiceinfra.waiting.watcher import CompletionWatcher
from tests.faults import clocks, ledger_faults
from tests.faults.plan import AGENT, FROM_NUMBER, LEASE, PATIENCE, TIMEOUT
from tests.faults.plants import WORKER, plant
from tests.faults.points import Diary, install

_PR_SET_PDEATHSIG = 1


def main(request: dict[str, Any]) -> None:
    """Do a job, and tell in the diary how it ended."""
    job = request["job"]
    form = "%(asctime)s %(name)s %(levelname)s %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, force=True)
    diary = Diary(job["diary"], job["points"])
    clocks.shift_all(job["all_clocks"])
    clocks.shift(job["clock"], job["jumps"])
    ledger_faults.obey(job["ledger"])
    if job["by_hook"] or not job["keyless"]:
        _silence_metrics()
    install(diary)
    plant(job["plant"], WORKER, diary)
    diary.note("started")
    if job["forked"]:
        with _forked(job, diary):
            _place(job, diary)
    elif job["campaign"]:
        _run_campaign(job, diary)
    elif job["keyless"] or job["by_hook"]:
        _place_by_hook(job, diary)
    else:
        _place(job, diary)


def _silence_metrics() -> None:
    # They would load Airflow's, which takes longer than everything else in a worker.
    metrics.count = lambda *args, **kwargs: None  # type: ignore[assignment]
    metrics.time = lambda *args, **kwargs: None  # type: ignore[assignment]


@contextmanager
def _forked(job: dict[str, Any], diary: Diary) -> Iterator[None]:
    """Fork while a thread is using the ledger; both processes then do the same."""
    ledger = CallLedger(job["ledger"])
    is_used, is_over = threading.Event(), threading.Event()

    def use() -> None:
        with suppress(VoiceInfraError), ledger._database.reading():
            is_used.set()
            is_over.wait()

    thread = threading.Thread(target=use)
    thread.start()
    while thread.is_alive() and not is_used.wait(0.05):
        pass
    child = os.fork()
    is_over.set()
    if child == 0:
        # It dies with its parent, as what runs a task does; and whatever happens at a point is the parent's.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        diary.forget_points()
    yield
    if child:
        _, status = os.waitpid(child, 0)
        if status:
            raise RuntimeError(f"the forked process ended with {os.waitstatus_to_exitcode(status)}")


def _connection(job: dict[str, Any]) -> Any:
    account = job["account"]
    return VoiceInfraConnection(account["conn_id"], account["api_key"], job["vendor"], timeout=TIMEOUT)


def _origin(job: dict[str, Any]) -> Any:
    return CallOrigin("faults", "run", job["task"], -1, job["try"])


def _call(key: dict[str, Any]) -> OutboundCall:
    return OutboundCall(key["to"], key["agent"], FROM_NUMBER, variables={"mark": key["mark"]})


@contextmanager
def _telling(diary: Diary, mark: str | None) -> Iterator[None]:
    """Tell how a task failed, if it did."""
    try:
        yield
    except VoiceInfraError as error:
        code = getattr(error, "code", None)
        diary.note("failed", mark=mark, error=type(error).__name__, code=code, message=str(error))
        logging.exception("the task fails")


def _place(job: dict[str, Any], diary: Diary) -> None:
    ledger = CallLedger(job["ledger"])
    connection = _connection(job)
    with VoiceInfraClient(connection) as client:
        # The one place to change if a placer comes to need more.
        placer = CallPlacer(
            ledger,
            client,
            conn_id=job["account"]["conn_id"],
            account=connection.account,
            lease=LEASE,
            bounds=RetryBounds(patience=PATIENCE, longest_wait=1.0),
            guard=Guard(RuleSet(deployment_rules())),
        )
        for key in job["keys"]:
            call = _call(key)
            policy = UnknownPolicy(key["unknown_timeout"], OnUnknown(key["on_unknown"]))
            placement = None
            with _telling(diary, key["mark"]):
                placement = placer.place(key["key"], call, policy, origin=_origin(job), poll_interval=0.1)
            if placement is None:
                continue
            call_id = placement.call.call_id
            diary.note("pushed", mark=key["mark"], call_id=call_id, how=placement.how.value)
            diary.reach("after_push")
            if job["wait"]:  # of which no error of the package may come
                _wait(ledger, key["mark"], call_id, job["wait"], diary)


def _wait(ledger: Any, mark: str, call_id: str, seconds: float, diary: Diary) -> None:
    """Wait for a call's end as the trigger does, and read its record as the task does then."""

    async def wait() -> bool:
        watcher = CompletionWatcher(ledger, 0.2)
        try:
            await asyncio.wait_for(watcher.wait_for_calls([call_id]), seconds)
        except asyncio.TimeoutError:
            return False
        return True

    diary.note("waits", mark=mark, call_id=call_id)
    ended = asyncio.run(wait())
    try:
        entry = ledger.completion(call_id)
    except VoiceInfraError as error:
        diary.note("wait_failed", mark=mark, error=type(error).__name__)
        return
    diary.note("waited", mark=mark, call_id=call_id, ended=ended, outcome=entry and entry.call_outcome)


def _place_by_hook(job: dict[str, Any], diary: Diary) -> None:
    hook = VoiceInfraHook(job["account"]["conn_id"])
    for key in job["keys"]:
        named = {} if job["keyless"] else {"idempotency_key": key["key"], "on_unknown": key["on_unknown"]}
        with _telling(diary, key["mark"]):
            placed = hook.place_call(
                _call(key), unknown_timeout=key["unknown_timeout"], origin=_origin(job), **named
            )
            how = "keyless" if job["keyless"] else "hook"
            diary.note("pushed", mark=key["mark"], call_id=placed.call_id, how=how)


def _run_campaign(job: dict[str, Any], diary: Diary) -> None:
    told = job["campaign"]
    redial = None
    if told["waits"]:
        waits = [seconds / 60 for seconds in told["waits"]]
        redial = RedialPolicy.parse({"waits": waits, "outcomes": told["outcomes"]})
    plan = CampaignPlan(
        told["campaign_id"],
        max_active_calls=told["max_active_calls"],
        redial=redial,
        completion_timeout=timedelta(seconds=told["completion_timeout"]),
        unknown_timeout=timedelta(seconds=told["unknown_timeout"]),
        deadline=datetime.fromisoformat(told["deadline"]) if told["deadline"] else None,
    )
    reading = {"do_not_call": job["do_not_call"] or None, "contact_key": "id", "agent_id": AGENT,
               "from_number": FROM_NUMBER}  # fmt: skip
    orders = CampaignSetup(
        plan, _origin(job), told["conn_id"], job["contacts"], reading, results_path=job["results"]
    )
    with _telling(diary, None):
        ledger, deployment = CallLedger(job["ledger"]), deployment_rules()
        end, summary = CampaignExecution(orders, _connection(job), ledger, deployment=deployment).run()
        diary.note("summary", end=end.value, summary=summary)
