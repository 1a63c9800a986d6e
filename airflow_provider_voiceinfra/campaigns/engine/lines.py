"""The lines of a campaign: calls that are being placed, or placed and not over, and when each is given up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from airflow_provider_voiceinfra.ledger.records import CallEntry, Job


@dataclass(frozen=True)
class LineInUse:
    """A line, and the call of a campaign that it is in use for.

    :param due: when it is no longer waited for, in seconds of a clock that nobody can set.
    """

    position: int
    attempt: int
    due: float


class PhoneLines:
    """Which lines are in use, and by whom."""

    def __init__(self) -> None:
        self.placing: dict[str, Job] = {}
        """What is about to be sent, or sent, by key."""
        self.unanswered: dict[str, tuple[CallEntry, LineInUse]] = {}
        """Calls whose answer was lost, by hashed key."""
        self.active: dict[str, LineInUse] = {}
        """Calls that are placed and not known to be over, by id."""
        self.given_up: dict[str, LineInUse] = {}
        """Calls whose line was freed without a completion, which may still come, by id."""

    @property
    def in_use(self) -> int:
        """How many lines are not free."""
        return len(self.placing) + len(self.unanswered) + len(self.active)

    @property
    def calls(self) -> list[LineInUse]:
        """The calls that may be on the phone."""
        return [*self.active.values(), *(call for _, call in self.unanswered.values())]

    @property
    def next_due(self) -> float | None:
        """When the first line is freed without a completion; ``None`` if none is in use."""
        return min((call.due for call in self.calls), default=None)

    def end(self, call_id: str) -> tuple[LineInUse, bool] | None:
        """Free the line of a call that is over.

        :return: the call, and whether its line had been freed before; ``None`` if it is not of this campaign.
        """
        for calls, was_freed in ((self.active, False), (self.given_up, True)):
            if call_id in calls:
                return calls.pop(call_id), was_freed
        return None

    def give_up(self, passed: float) -> Iterator[tuple[str, LineInUse]]:
        """Free the lines of calls whose completion has not come in time, and return which."""
        late = [(call_id, call) for call_id, call in self.active.items() if passed >= call.due]
        for call_id, call in late:
            self.given_up[call_id] = self.active.pop(call_id)
            yield call_id, call
