"""Goes through the calls of a ledger and judges each dial, some at a time: memory stays bounded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from airflow_provider_voiceinfra.audit.judge import Dial, Evidence, judge
from airflow_provider_voiceinfra.audit.rules import KeptRules, applying, read_rules
from airflow_provider_voiceinfra.audit.verdicts import CODES, Verdict, Why
from airflow_provider_voiceinfra.ledger.rules.history import HistoryLedger, KeptCall, KeptSuppression

_MOST_RULES = 4096


class Wanted(NamedTuple):
    """Which calls are judged; whatever it says, all calls of the ledger count for the caps.

    :param since: the first moment, aware; ``until`` is the first one that is left out.
    """

    since: datetime
    until: datetime
    conn_id: str | None = None
    dag_id: str | None = None
    campaign_id: str | None = None

    def holds(self, at: datetime) -> bool:
        """Return whether a moment is among those that are judged."""
        return self.since <= at < self.until


class Audit:
    """Judges the calls of a ledger by what it keeps of them."""

    def __init__(self, history: HistoryLedger, wanted: Wanted) -> None:
        self._history = history
        self._wanted = wanted
        self._rules: dict[str, tuple[tuple[KeptRules, ...] | None, bool]] = {}

    def verdicts(self) -> Iterator[Verdict]:
        """Yield what is found out about each dial, by when its call was claimed."""
        _, _, *equal = self._wanted._asdict().items()
        for found in self._history.calls(self._wanted.since, self._wanted.until, dict(equal)):
            yield from self._judged(found)

    def _judged(self, found: Sequence[KeptCall]) -> Iterator[Verdict]:
        hashes = {call.key_hash: self._hash(call) for call in found}
        dials = self._dials(found, hashes)
        suppressions: dict[str, list[KeptSuppression]] = defaultdict(list)
        for one in self._history.suppressions({digest for digest in hashes.values() if digest}):
            suppressions[one.number_hash].append(one)
        for call in found:
            digest = hashes[call.key_hash]
            rules, are_there = self._rules_of(call)
            evidence = Evidence(
                rules, are_there, dials.get(digest or "", ()), suppressions.get(digest or "", ()), digest
            )
            for at, is_first in ((call.unsettled_since, True), (call.dialled_at, False)):
                if at is not None and self._wanted.holds(at):
                    yield judge(call, at, evidence, is_first=is_first)
            if call.dialled_at is None:
                verdict = Verdict(call, None)
                for code in CODES:
                    verdict.leave_open(code, Why.NO_MOMENT)
                yield verdict

    def _hash(self, call: KeptCall) -> str | None:
        if call.to_number_hash is None and call.to_number is not None:
            return self._history.hash_of(call.to_number)
        return call.to_number_hash

    def _dials(self, found: Sequence[KeptCall], hashes: dict[str, str | None]) -> dict[str, list[Dial]]:
        """Return the dials of all numbers of some calls to which a cap applies, sorted, by their hashes."""
        spans: list[timedelta] = []
        moments: list[datetime] = []
        numbers: set[str] = set()
        for call in found:
            rules, digest = self._rules_of(call)[0] or (), hashes[call.key_hash]
            its = [span for one in applying(rules, digest) for _, span, _ in one.caps] if digest else []
            if its and digest and call.dialled_at is not None:
                spans += its
                moments += filter(None, (call.unsettled_since, call.dialled_at))
                numbers.add(digest)
        dials: dict[str, list[Dial]] = defaultdict(list)
        if numbers:
            for one in self._history.dials(numbers, min(moments) - max(spans), max(moments)):
                dials[one.number_hash].append(Dial(one.at, one.key_hash, one.is_last))
        return {digest: sorted(all_) for digest, all_ in dials.items()}

    def _rules_of(self, call: KeptCall) -> tuple[tuple[KeptRules, ...] | None, bool]:
        """Return the rules that were in force, ``None`` for unknown, and whether the ledger has them."""
        if call.rules_id is None:
            return (), True
        if call.rules_id not in self._rules:
            if len(self._rules) >= _MOST_RULES:
                self._rules.clear()
            self._rules[call.rules_id] = self._read(call.rules_id)
        return self._rules[call.rules_id]

    def _read(self, rules_id: str) -> tuple[tuple[KeptRules, ...] | None, bool]:
        document = self._history.rules(rules_id)
        if document is None:
            return None, False
        try:
            return read_rules(document, self._history.hash_of), True
        except (ValueError, TypeError, AttributeError):
            return None, True
