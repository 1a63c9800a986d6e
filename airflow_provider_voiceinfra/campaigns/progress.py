"""What a campaign says of itself: written by the process that runs it, read by whoever looks on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

Code = TypeVar("Code", bound=Enum)


class Obstacle(str, Enum):
    """What keeps a campaign from dialling as it would."""

    RATE_LIMIT = "rate_limit"
    UNREACHABLE = "unreachable"
    FAILING = "failing"
    """Answers to calls get lost."""


class WaitingFor(str, Enum):
    """What contacts wait for that are not on the phone."""

    WINDOW = "window"
    CAP = "call_cap"
    REDIAL = "redial"
    AGAIN = "again"
    """Nothing was wrong with the call, say a 429; it is dialled again under its key."""
    ANSWER = "answer"
    """Word of a call whose answer was lost."""


@dataclass(frozen=True)
class Refusal:
    """Why the API, or the network, did not take a call.

    :param at: when, aware UTC; ``None`` if that cannot be read.
    :param message: for people, without a full number.
    :param to_number: masked.
    """

    at: datetime | None
    code: str
    message: str
    to_number: str


@dataclass(frozen=True)
class Progress:
    """How far a campaign is; nothing in it is personal.

    :param contacts: how many are to be called; ``None`` if that is not known yet.
    :param skipped: how many rows are not, by reason.
    :param done: for how many of the contacts nothing is left to do.
    :param outcomes: how they ended.
    :param placed: how many calls were placed.
    :param active: how many lines are in use, of ``max_active_calls``.
    :param waiting: how many contacts are put off, by what they wait for.
    :param to_redial: how the last call ended of those who wait to be called again.
    :param next_at: when the next one is to be dialled, if nobody may be dialled now.
    :param opens_at: the opening of the calling window that everybody who is left waits for.
    :param missed_openings: in how many openings in a row nobody was called.
    :param rate: calls per second of late; ``allowed_rate`` is the most that is dialled at present.
    :param limit: what this process can have of the account's limit; ``None`` before any 429.
    :param expected_end: when everybody is done at the present rate.
    :param obstacle: what is in the way.
    :param refusals: the newest ones.
    """

    contacts: int | None = None
    skipped: Mapping[str, int] = field(default_factory=dict)
    done: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    placed: int = 0
    active: int | None = None
    max_active_calls: int | None = None
    waiting: Mapping[WaitingFor, int] = field(default_factory=dict)
    to_redial: Mapping[str, int] = field(default_factory=dict)
    next_at: datetime | None = None
    opens_at: datetime | None = None
    missed_openings: int = 0
    rate: float | None = None
    allowed_rate: float | None = None
    limit: float | None = None
    expected_end: datetime | None = None
    obstacle: Obstacle | None = None
    refusals: tuple[Refusal, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        text = json.dumps(asdict(self), default=lambda moment: moment.isoformat(timespec="seconds"))
        return dict(json.loads(text))

    @classmethod
    def from_json(cls, told: Mapping[str, Any] | None) -> Progress | None:
        """Return what a campaign has said of itself; ``None`` if it has said nothing so far."""
        if not told:
            return None
        values = {one.name: told[one.name] for one in fields(cls) if one.name in told}
        for name in ("next_at", "opens_at", "expected_end"):
            values[name] = _moment(told.get(name))
        waiting = {_known(WaitingFor, why): number for why, number in told.get("waiting", {}).items()}
        values["waiting"] = {why: number for why, number in waiting.items() if why is not None}
        values["obstacle"] = _known(Obstacle, told.get("obstacle"))
        values["refusals"] = tuple(
            Refusal(**{**one, "at": _moment(one.get("at"))}) for one in told.get("refusals", ())
        )
        return cls(**values)


def _moment(text: str | None) -> datetime | None:
    """Return a moment; ``None`` if there is none that can be read: a list must not fail for one campaign."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def _known(codes: type[Code], value: str | None) -> Code | None:
    """Return a code; ``None`` if there is none, or a newer version of this package has written it."""
    return next((code for code in codes if code.value == value), None)
