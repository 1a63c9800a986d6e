"""Counts what happens while a campaign runs, for people to read."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from datetime import datetime, timedelta

from airflow_provider_voiceinfra.campaigns.progress import Progress, Refusal
from airflow_provider_voiceinfra.dialling.clocks import Clocks
from airflow_provider_voiceinfra.masking import mask_number, mask_numbers_in

# Over how long the rates are taken, in seconds.
_RATE_SPAN = 10.0
_PACE_SPAN = 300.0
_REFUSALS = 10


class Counts:
    """Counts what happens.

    :param contacts: how many are to be called.
    :param skipped: how many rows are not, by reason.
    :param before: what was counted before the ledger was read anew; its rates and refusals go on.
    """

    def __init__(
        self, contacts: int, skipped: Mapping[str, int], clocks: Clocks, before: Counts | None = None
    ) -> None:
        self.contacts = contacts
        self.outcomes: Counter[str] = Counter()
        self.placed = 0
        self._skipped = dict(skipped)
        self._clocks = clocks
        self._placed_at: deque[float] = before._placed_at if before else deque()
        self._ended_at: deque[float] = before._ended_at if before else deque()
        self._refusals: deque[Refusal] = before._refusals if before else deque(maxlen=_REFUSALS)

    @property
    def done(self) -> int:
        """How many contacts nothing is left to do for."""
        return self.outcomes.total()

    def call_placed(self) -> None:
        """Count a call that the API has just accepted."""
        self.placed += 1
        self._placed_at.append(self._clocks.passed())

    def contact_done(self, outcome: str, *, before: bool = False) -> None:
        """Count a contact for which nothing is left to do.

        :param before: whether that was so when this process began.
        """
        self.outcomes[outcome] += 1
        if not before:
            self._ended_at.append(self._clocks.passed())

    def outcome_changed(self, old: str, new: str | None) -> None:
        """Correct the outcome of a contact that was counted; ``None`` if it is not done after all."""
        self.outcomes[old] -= 1
        if new is not None:
            self.outcomes[new] += 1

    def refused(self, code: str, message: str, to_number: str) -> None:
        """Note why the API, or the network, did not take a call."""
        told = mask_numbers_in(message)[:300]
        self._refusals.append(Refusal(self._clocks.now(), code, told, mask_number(to_number)))

    def progress(self) -> Progress:
        """Return what is counted here as a part of what the campaign says of itself."""
        return Progress(
            contacts=self.contacts,
            skipped=self._skipped,
            done=self.done,
            outcomes={name: number for name, number in self.outcomes.items() if number},
            placed=self.placed,
            rate=round(self._per_second(self._placed_at, _RATE_SPAN), 2),
            expected_end=self._expected_end(),
            refusals=tuple(self._refusals),
        )

    def _expected_end(self) -> datetime | None:
        left = self.contacts - self.done
        rate = self._per_second(self._ended_at, _PACE_SPAN)
        if left <= 0 or not rate:
            return None
        return self._clocks.now() + timedelta(seconds=min(left / rate, 10**8))

    def _per_second(self, moments: deque[float], span: float) -> float:
        now = self._clocks.passed()
        while moments and moments[0] < now - span:
            moments.popleft()
        if not moments:
            return 0.0
        return len(moments) / max(1.0, min(span, now - moments[0]))
