"""How often one number may be called; what users write, such as ``3/24h``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from airflow_provider_voiceinfra.exceptions import InvalidCallError

_TEXT = re.compile(r"(\d+)\s*/\s*(\d+)\s*([hd])", re.ASCII | re.IGNORECASE)
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1)}
LONGEST_SPAN = timedelta(days=90)


@dataclass(frozen=True)
class CallCap:
    """So many calls to one number in any span of so long.

    :param calls: at most, whoever places them.
    """

    calls: int
    span: timedelta

    def __str__(self) -> str:
        hours = int(self.span.total_seconds() // 3600)
        return f"{self.calls}/{hours // 24}d" if hours % 24 == 0 and hours > 24 else f"{self.calls}/{hours}h"


def parse_call_cap(spec: object) -> tuple[CallCap, ...]:
    """Read what users write: one cap, or several of which each must hold.

    :param spec: such as ``"3/24h"``, or ``"3/24h, 7/7d"``, or a list of such; hours and days up to 90 days.
    :raises InvalidCallError: naming ``call_cap`` and what is wrong in it.
    """
    parts = re.split(r"[;,]", spec) if isinstance(spec, str) else spec
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        raise _error(f"must be text such as '3/24h', or a list of such, not {type(spec).__name__}")
    caps = [_cap(part.strip()) for part in parts if part.strip()]
    if not caps:
        raise _error("is empty; leave it out for no cap")
    return tuple(sorted(set(caps), key=lambda cap: (cap.span, cap.calls)))


def _cap(text: str) -> CallCap:
    found = _TEXT.fullmatch(text)
    if found is None:
        raise _error(
            f"{text[:64]!r} is none; write calls and a span in hours or days, such as '3/24h' or '7/7d'"
        )
    calls, length = int(found[1][:9]), int(found[2][:9])
    span = length * _UNITS[found[3].lower()] if length <= 10_000 else LONGEST_SPAN * 2
    if not length:
        raise _error(f"{text[:64]!r} has a span of 0; write how long it is, such as '3/24h' or '7/7d'")
    if not calls:
        raise _error(f"{text[:64]!r} has 0 calls; use do_not_call or a suppression for whom nobody may call")
    if span > LONGEST_SPAN:
        raise _error(f"{text[:64]!r} is longer than {LONGEST_SPAN.days} days, which is the most")
    return CallCap(calls, span)


def _error(rule: str) -> InvalidCallError:
    return InvalidCallError("call_cap", rule)
