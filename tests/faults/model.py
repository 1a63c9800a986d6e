"""What must be true in the end, by the vendor's audit log; the ledger is only ever compared with that.

Each sentence begins with its kind, so that a fault can be told from another.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from airflow_provider_voiceinfra.dialling import sending
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallState, hash_key
from tests.faults import guard_families, rules
from tests.faults.plan import REDIAL, SCALE, Campaign, Key
from tests.faults.stage import Stage
from tests.faults.vendor import Rung

# How long a request may be on its way, on a busy machine.
ON_THE_WAY = 0.7


def violations(stage: Stage) -> list[str]:
    """Return everything that the calls and their completions show to be wrong."""
    ledger = Ledger(stage)
    found: list[str] = []
    for key in stage.plan.keys:
        found += dict.fromkeys(_dialled_twice(stage, key))
    for campaign in stage.plan.campaigns:
        found += _attempts(stage, campaign)
        found += _forbidden(stage, campaign)
    found += rules.after_opt_out(stage)
    found += rules.over_the_cap(stage, guard_families.CAP) if "call_cap" in stage.plan.rules else ()
    return [
        *dict.fromkeys(found),
        *_unseen(stage),
        *_in_ledger(stage, ledger),
        *_pushed(stage, ledger),
        *_deliveries(stage, ledger),
        *_attached(stage, ledger),
        *_waits(stage),
        *failures(stage),
    ]


class Ledger:
    """What the ledger holds in the end."""

    def __init__(self, stage: Stage) -> None:
        self.calls: list[CallEntry] = stage.ledger.calls(limit=100_000)
        self.by_id = {entry.call_id: entry for entry in self.calls if entry.call_id}
        self.completions = stage.ledger.completions([*stage.vendor.rung, *self.by_id])
        kept = stage.ledger.deliveries.kept(include_replayed=True, limit=100_000)
        self.kept = {delivery.body for delivery in kept}
        self._marks = {hash_key(key.key): key.mark for key in stage.plan.keys}

    def mark(self, entry: CallEntry) -> str | None:
        """Return what the request of a call was marked with; ``None`` if that has been purged."""
        if entry.request is not None:
            return str(entry.request.get("variables", {}).get("mark"))
        return self._marks.get(entry.key_hash)

    def was_purged(self, mark: str) -> bool:
        """Return whether a call was purged while it may have been unknown, of which people are warned.

        Nobody can tell any more which completion is its own then, nor that it could own another call's.
        """
        return any(entry.purged_at is not None for entry in self.of_mark(mark))

    def of_mark(self, mark: str) -> list[CallEntry]:
        return [entry for entry in self.calls if self.mark(entry) == mark]


def _dialled_twice(stage: Stage, key: Key) -> Iterator[str]:
    rung = stage.vendor.of_mark(key.mark)
    most = 2 if key.on_unknown == REDIAL else 1
    if len(rung) > most:
        yield f"dialled twice: {key.mark} rang {len(rung)} times, under on_unknown={key.on_unknown}"
    if len(rung) < 2 or key.on_unknown != REDIAL:
        return
    first, second = rung[0], rung[1]
    looked = _last_look(stage, "sending", key.mark, second, second.at)
    stored = [
        event["at"]
        for event in stage.events("stored")
        if event["call_id"] == first.call_id and event["at"] < looked
    ]
    if stored:
        yield (
            f"redialled with the answer there: {key.mark} rang again {looked - stored[0]:.2f} s after the "
            f"ledger had {first.call_id}"
        )
    # Before it took the right to redial.
    decided = _last_look(stage, "redials", key.mark, second, 0.0)
    acks = [one.at for one in stage.vendor.deliveries.acks if one.call_id == first.call_id and one.genuine]
    told = [at for at in acks if at < decided]
    if told and _is_alone(stage, key) and not stage.purged_at:
        yield (
            f"redialled with the record there: {key.mark} rang again, decided {decided - told[0]:.2f} s "
            f"after the completion of {first.call_id} was stored, which can belong to no other call"
        )


def _last_look(stage: Stage, event: str, mark: str, rung: Rung, default: float) -> float:
    """Return when whoever last told of an event before a call rang had looked into the ledger."""
    told = [one for one in stage.events(event) if one["mark"] == mark and one["at"] <= rung.at]
    return float(told[-1]["looked_at"] or told[-1]["at"]) if told else default


def _unseen(stage: Stage) -> Iterator[str]:
    """A request begins soon after its process has seen that the claim is its own, or not at all."""
    sent = [event for event in stage.events("sending") if event["looked_at"] is not None]
    for request in stage.vendor.requests:
        before = [one for one in sent if one["mark"] == request["mark"] and one["at"] <= request["arrived"]]
        if not before:
            continue
        looked, worker = before[-1]["looked_at"], stage.worker(before[-1]["worker"])
        late = request["arrived"] - looked
        # A process that is stopped from outside between its last look at the clock and its request sends it.
        if late > sending.BEGIN_WITHIN / SCALE + ON_THE_WAY and not any(at > looked for at in worker.stops):
            yield f"sent unseen: {request['mark']} was requested {late:.2f} s after the last look"


def _is_alone(stage: Stage, key: Key) -> bool:
    """Return whether no other call in this run could be taken for this one."""
    others = [one for one in stage.plan.keys if one.mark != key.mark and one.to == key.to]
    contacts = [row for campaign in stage.plan.campaigns for rows in campaign.lists for row in rows]
    return not others and not any(row["to_number"] == key.to for row in contacts)


def _attempts(stage: Stage, campaign: Campaign) -> Iterator[str]:
    """Each further call to a contact needs that the one before was reported as one to redial."""
    marks = dict.fromkeys(row["mark"] for rows in campaign.lists for row in rows)
    for mark in marks:
        rung = stage.vendor.of_mark(mark)
        if len(rung) > campaign.attempts:
            yield f"dialled too often: {mark} rang {len(rung)} times, of {campaign.attempts} attempts"
        for before, after in pairwise(rung):
            told = before.told_at is not None and before.told_at < after.at
            if before.outcome not in campaign.outcomes or not told:
                said = f"ended as {before.outcome}" if told else "nobody had heard of"
                yield f"dialled again unduly: {mark}, after a call that {said}"
    for mark in marks:
        # An attempt that was never placed has no end; a further one may not follow from it.
        requests = [one for one in stage.vendor.requests if one["mark"] == mark]
        lost = [one for one in requests if one["answer"].endswith("_before")]
        later = [one for one in stage.vendor.of_mark(mark) if lost and one.number > lost[0]["number"]]
        if later and not [one for one in stage.vendor.of_mark(mark) if one.number < lost[0]["number"]]:
            yield f"dialled again unduly: {mark} rang after an attempt whose answer was lost"


def _forbidden(stage: Stage, campaign: Campaign) -> Iterator[str]:
    """Nobody is called whom a list leaves out, once that list is stored; by one clock for all processes."""
    for number in range(1, len(campaign.lists)):
        task = next(task for task in stage.plan.tasks if task.campaign is campaign)
        first = min(one for one, load in task.list_of_try.items() if load == number)
        tries = {worker.name for worker in stage.tries(task) if worker.try_number >= first}
        loaded = [event["at"] for event in stage.events("loaded") if event["worker"] in tries]
        if not loaded:
            continue
        wanted = {
            row["mark"]
            for row in campaign.lists[number]
            if row["to_number"] not in campaign.do_not_call[number]
        }
        for request in stage.vendor.requests:
            late = request["arrived"] - loaded[0]
            if (
                request["mark"] not in wanted
                and late > 0
                and request["mark"][0] == "c"
                and request["call_id"]
            ):
                yield (
                    f"called against the list: {request['mark']} was requested "
                    f"{late:.2f} s after the list that leaves it out was stored"
                )


def _in_ledger(stage: Stage, ledger: Ledger) -> Iterator[str]:
    keyless = {key.mark for task in stage.plan.tasks if task.keyless for key in task.keys}
    for rung in stage.vendor.rung.values():
        if rung.call_id in ledger.by_id or rung.mark in keyless:
            continue
        rows = ledger.of_mark(rung.mark)
        # A row that is unknown says that somebody may have been called; so does the error of its task.
        if not any(entry.state in (CallState.UNKNOWN, CallState.CLAIMED) or entry.redials for entry in rows):
            states = [entry.state.value for entry in rows]
            yield f"call lost: {rung.call_id} is nowhere in the ledger, whose rows for it are {states}"


def _pushed(stage: Stage, ledger: Ledger) -> Iterator[str]:
    """What was told to others is in the ledger, and is a call of that key."""
    for event in stage.events("pushed"):
        rung = stage.vendor.rung.get(event["call_id"])
        if rung is not None and (_its_own_account_said_so(stage, event) or ledger.was_purged(rung.mark)):
            continue
        if rung is None or rung.mark != event["mark"]:
            yield f"wrong call: {event['mark']} was given {event['call_id']} ({event.get('how')})"
        elif event["call_id"] not in ledger.by_id and event.get("how") != "keyless":
            yield f"reported before stored: {event['mark']} said {event['call_id']}, and the ledger lacks it"


def _its_own_account_said_so(stage: Stage, event: dict[str, Any]) -> bool:
    """Return whether a call was adopted on the word of its own account about another account's call.

    As long as that other call's answer is not stored, nobody can know that it is a lie: whoever has an
    account's secret can say what they like about that account's own calls.
    """
    conn_ids = {key.mark: key.conn_id for key in stage.plan.keys}
    return event.get("how") == "adopted" and any(
        (ack.call_id, ack.conn_id, ack.genuine) == (event["call_id"], conn_ids.get(event["mark"]), False)
        and ack.at <= event["at"] + 0.5  # it is stored before it is answered
        for ack in stage.vendor.deliveries.acks
    )


def _deliveries(stage: Stage, ledger: Ledger) -> Iterator[str]:
    stored = {entry.body for entry in ledger.completions.values()} | ledger.kept
    purged = max(stage.purged_at, default=0.0)
    for ack in stage.vendor.deliveries.acks:
        if ack.body not in stored and ack.at > purged + 1.0:
            yield f"delivery lost: one for {ack.call_id}, answered 200, is not in the ledger"
    for call_id in stage.vendor.deliveries.wrongly_taken:
        yield f"forged: an altered webhook for {call_id} was answered 200"


def _attached(stage: Stage, ledger: Ledger) -> Iterator[str]:
    for call_id, entry in ledger.by_id.items():
        rung, mark = stage.vendor.rung.get(call_id), ledger.mark(entry)
        if rung is None:
            yield f"wrong call: the ledger has {call_id}, which the vendor never gave"
        elif mark is not None and mark != rung.mark and not ledger.was_purged(rung.mark):
            how = "adopted" if entry.adopted else "stored"
            yield f"wrong call: {mark} has {call_id} of {rung.mark} ({rung.conn_id}), {how}"
    for call_id, completion in ledger.completions.items():
        rung = stage.vendor.rung.get(call_id)
        if rung is not None and completion.body not in rung.bodies:
            said = json.loads(completion.body or b"{}").get("summary")
            yield f"wrong account: {call_id} of {rung.conn_id} has a completion that was {said}"


def _waits(stage: Stage) -> Iterator[str]:
    for event in stage.events("waited"):
        rung = stage.vendor.rung.get(event["call_id"])
        acked = [ack.at for ack in stage.vendor.deliveries.acks
                 if ack.call_id == event["call_id"] and ack.genuine]  # fmt: skip
        late = acked and acked[0] < event["at"] - 0.5
        if not event["ended"] and not event["outcome"] and late and not stage.purged_at:
            yield f"waits in vain: for {event['call_id']}, whose completion was there"
        elif event["ended"] and not acked and not stage.purged_at:
            yield f"wrong account: the wait for {event['call_id']} ended, and its own account told nothing"
        elif event["outcome"] and rung is not None and event["outcome"] != rung.outcome:
            yield f"wrong account: {event['call_id']} ended as {event['outcome']}, not as {rung.outcome}"


_EXPECTED = {"ApiUnreachableError", "CallNotAllowedError", "CallOutcomeUnknownError", "CampaignBusyError",
             "LedgerUnavailableError", "RateLimitedError", "TryAgainError", "VoiceInfraError"}  # fmt: skip


def failures(stage: Stage) -> Iterator[str]:
    """A process ends with a result, a signal, or an error that the package documents."""
    for event in stage.events("failed"):
        if event["error"] not in _EXPECTED:
            yield f"odd error: {event['worker']} failed with {event['error']}: {event['message']}"
    for worker in stage.workers:
        if worker.process.returncode not in (0, -9):
            log = (stage.folder / f"{worker.name}.log").read_text(errors="replace").strip().splitlines()
            yield f"crashed: {worker.name} ended with {worker.process.returncode}: {log[-1:]}"
