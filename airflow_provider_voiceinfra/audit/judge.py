"""Judges one dial by the rules that were in force for it; knows what is kept, and asks for nothing more."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from airflow_provider_voiceinfra.audit.rules import KeptRules, applying
from airflow_provider_voiceinfra.audit.verdicts import (
    CALL_CAP,
    NO_CONSENT,
    OUTSIDE,
    RULES_MISSING,
    SUPPRESSED,
    Verdict,
    Why,
)
from airflow_provider_voiceinfra.audit.window import closed_in, local_times
from airflow_provider_voiceinfra.audit.window_text import Window, read_window
from airflow_provider_voiceinfra.exceptions import InvalidCallError
from airflow_provider_voiceinfra.ledger.rules.history import KeptCall, KeptSuppression
from airflow_provider_voiceinfra.rules.calling_window.place import Place, place_of
from airflow_provider_voiceinfra.rules.recipient import Recipient

# The guard asks its own host's clock, and up to a quarter of a second after the database has noted the dial.
# Whoever begins to call when a window opens would else seem to have called too early.
TOLERANCE = timedelta(seconds=2)


class Dial(NamedTuple):
    """A dial of a number; they are ordered as they came, at one moment as good as any other order.

    :param key_hash: whose dial it is.
    :param is_last: whether it is the second one, of a call that was redialled.
    """

    at: datetime
    key_hash: str
    is_last: bool


class Evidence(NamedTuple):
    """What is kept about a call besides its own row.

    :param rules: those that were in force; empty if none were, ``None`` if they are gone or unreadable.
    :param are_there: whether the ledger has them, or there were none.
    :param dials: those of its number, sorted.
    :param suppressions: all that its number ever had.
    :param number_hash: what its number is found by; ``None`` if that is not known.
    """

    rules: tuple[KeptRules, ...] | None
    are_there: bool
    dials: Sequence[Dial]
    suppressions: Iterable[KeptSuppression]
    number_hash: str | None


def judge(call: KeptCall, at: datetime, evidence: Evidence, *, is_first: bool = False) -> Verdict:
    """Judge a dial.

    :param at: when it was, aware UTC.
    :param is_first: whether a redial repeated it.
    """
    verdict = Verdict(call, at, is_first)
    place = _place(call)
    verdict.local = local_times(at, (place and place.zones) or ())
    if evidence.number_hash is None:
        verdict.leave_open(SUPPRESSED, Why.PURGED)
    _judge_suppressions(verdict, at, evidence)
    if evidence.rules is None:
        if not evidence.are_there:
            verdict.find(RULES_MISSING, f"the ledger has no rules {call.rules_id}")
        for code in (OUTSIDE, CALL_CAP, NO_CONSENT) if evidence.are_there else ():
            verdict.leave_open(code, Why.UNREADABLE)
        return verdict
    _judge_consent(verdict, evidence.rules)
    applied = applying(evidence.rules, evidence.number_hash)
    for rules in applied:
        if rules.window is not None:
            # On one line, however it was written.
            _judge_window(verdict, at, rules.place, " ".join(rules.window.split()), place)
        _judge_caps(verdict, at, rules, evidence)
    for exempting in evidence.rules[len(applied) :][:1]:
        verdict.rules.append(f"{exempting.place}: exempt_numbers has the number")
    return verdict


def _judge_suppressions(verdict: Verdict, at: datetime, evidence: Evidence) -> None:
    for one in evidence.suppressions:
        is_its = one.conn_id in (None, verdict.call.conn_id)
        # At the moment at which one is stored, or is over, a call may still or already be claimed.
        if is_its and one.created_at < at - TOLERANCE and not any(map(at.__ge__, _ends(one))):
            where = one.conn_id or "all connections"
            verdict.find(SUPPRESSED, f"suppression {one.id} for {where}, since {one.created_at.isoformat()}")


def _ends(one: KeptSuppression) -> list[datetime]:
    return [end - TOLERANCE for end in (one.ends_at, one.removed_at) if end is not None]


def _judge_consent(verdict: Verdict, rules: Iterable[KeptRules]) -> None:
    call = verdict.call
    for one in rules:
        if one.requires_consent:
            verdict.rules.append(f"{one.place}: require_consent")
            if call.consent is None and call.purged_at is not None:
                verdict.leave_open(NO_CONSENT, Why.PURGED)
            elif not call.consent:
                verdict.find(NO_CONSENT, f"{one.place}: require_consent")


def _judge_window(verdict: Verdict, at: datetime, where: str, text: str, place: Place | None) -> None:
    verdict.rules.append(f"{where}: calling_window = {text}")
    try:
        window = read_window(text)
        why = _why_unknown(verdict.call, window, place)
        if why is not None:
            verdict.leave_open(OUTSIDE, why)
            return
        regions, zones = place or Place((), None)
        moments = (at - TOLERANCE, at, at + TOLERANCE)
        each = [closed_in(window, moment, regions, zones or ()) for moment in moments]
        closed = local_times(at, [zone for zone in each[1] if zone in each[0] and zone in each[2]])
    except ValueError:
        verdict.leave_open(OUTSIDE, Why.UNREADABLE)
        return
    if closed:
        shown = ", ".join(f"{local:%a %Y-%m-%d %H:%M:%S} in {zone}" for zone, local in closed.items())
        verdict.find(OUTSIDE, f"{where}: calling_window = {text}; it was {shown}")


def _why_unknown(call: KeptCall, window: Window, place: Place | None) -> Why | None:
    """Return why it is not known where the person may have been, if the window depends on that."""
    lost = call.to_number is None
    if window.names_regions and (place is None or (lost and not call.region)):
        return Why.PURGED if place else Why.NO_PLACE
    if window.timezone is None and not (place and place.zones):
        return Why.PURGED if lost else Why.NO_PLACE
    return None


def _place(call: KeptCall) -> Place | None:
    """Return where the person may have been; ``None`` if what is kept of that means nothing here."""
    try:
        return place_of(call.to_number or "", Recipient(call.timezone, call.region))
    except InvalidCallError:
        return None


def _judge_caps(verdict: Verdict, at: datetime, rules: KeptRules, evidence: Evidence) -> None:
    for most, span, text in rules.caps:
        rule = f"{rules.place}: call_cap = {text}"
        verdict.rules.append(rule)
        if evidence.number_hash is None:
            verdict.leave_open(CALL_CAP, Why.PURGED)
            continue
        # Of dials at the same moment one came first; which one does not matter.
        own = bisect_left(evidence.dials, Dial(at, verdict.call.key_hash, not verdict.is_first))
        before = own - bisect_right(evidence.dials, at - span, key=lambda dial: dial.at)
        verdict.calls_before.append(f"{rules.place}: {before} before it, of {text}")
        if before >= most:
            verdict.find(CALL_CAP, f"{rule}; the number had been called {before} times within that span")
