"""Reads a transcript as a conversation: who said what, one after the other.

The API writes lines that begin with a speaker, such as ``Agent:`` or ``Caller:``. How others are called, and
whether it will always be so, is not documented: what is not understood stays the text that it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

MOST_TURNS = 1000
"""How many turns are shown one by one; what follows them is part of the last."""

AGENT, CALLER, OTHER = "agent", "caller", "other"
_SIDES = {
    AGENT: ("agent", "ai", "ai agent", "voice agent", "assistant", "bot", "virtual agent"),
    CALLER: ("caller", "callee", "user", "customer", "human", "client", "contact", "patient", "person"),
    OTHER: ("speaker", "system", "voicemail", "operator", "unknown"),
}
_SIDE_OF = {name: side for side, names in _SIDES.items() for name in names}
_NAMES = "|".join(sorted(map(re.escape, _SIDE_OF), key=len, reverse=True))
# With a time before it, and a number behind it, as in "[00:12] Speaker 2:".
_LABEL = rf"(?:[\[(]?(\d{{1,2}}:\d\d(?::\d\d)?)[\])]?[ \t]{{1,3}})?((?:{_NAMES})(?: \d{{1,3}})?)[ \t]?:"
_AT_START = re.compile(rf"\s{{0,20}}{_LABEL}", re.IGNORECASE | re.ASCII)
_IN_ONE_LINE = re.compile(rf"(?<=[.!?…])\s+(?={_LABEL})", re.IGNORECASE | re.ASCII)
_SPEAKER_FIELDS = ("role", "speaker", "who", "name")
_TEXT_FIELDS = ("text", "content", "message", "transcript", "utterance")


@dataclass(frozen=True)
class Turn:
    """What one speaker said before the next did.

    :param text: what was said, or a part of the transcript that nobody is known to have said.
    :param who: the speaker as the transcript has it; ``None`` if it does not say.
    :param side: ``agent``, ``caller`` or ``other``.
    """

    text: str
    who: str | None = None
    side: str = OTHER


def conversation(transcript: Any) -> list[Turn]:
    """Return the turns of a transcript, of whatever JSON it is made; none if it is empty."""
    if transcript in (None, "", [], {}):
        return []
    if isinstance(transcript, str):
        return _spoken(transcript)
    if isinstance(transcript, list):
        if all(isinstance(item, str) for item in transcript):
            return _spoken("\n".join(transcript))
        shown, rest = transcript[: MOST_TURNS - 1], transcript[MOST_TURNS - 1 :]
        return [*map(_listed, shown), *([Turn(_json(rest))] if rest else [])]
    return [Turn(_json(transcript))]


def _spoken(text: str) -> list[Turn]:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n").split("\n")
    if len(lines) == 1:
        lines = list(_parted(lines[0]))
    turns: list[tuple[str | None, list[str]]] = []
    for line in lines:
        label = _AT_START.match(line) if len(turns) < MOST_TURNS else None
        if label is not None:
            turns.append((_who(label), [line[label.end() :]]))
        elif turns:
            turns[-1][1].append(line)
        else:
            turns.append((None, [line]))
    found = [Turn("\n".join(said).strip(), who, _side(who)) for who, said in turns]
    return [turn for turn in found if turn.text or turn.who]


def _parted(line: str) -> Iterator[str]:
    """Yield the turns of a transcript that has no line breaks, if it begins with a speaker."""
    start = 0
    if _AT_START.match(line):
        for found in islice(_IN_ONE_LINE.finditer(line), MOST_TURNS):
            yield line[start : found.start()]
            start = found.end()
    yield line[start:]


def _who(label: re.Match[str]) -> str:
    time, name = label.groups()
    return f"{name}, {time}" if time else name


def _side(who: str | None) -> str:
    name = (who or "").partition(",")[0].strip().lower()
    return _SIDE_OF.get(name, _SIDE_OF.get(name.rstrip("0123456789").strip(), OTHER))


def _listed(item: Any) -> Turn:
    if isinstance(item, Mapping):
        who, text = (_first(item, names) for names in (_SPEAKER_FIELDS, _TEXT_FIELDS))
        if text is not None:
            return Turn(text, who, _side(who))
    return Turn(item if isinstance(item, str) else _json(item))


def _first(item: Mapping[str, Any], names: Iterable[str]) -> str | None:
    return next((value for name in names if isinstance(value := item.get(name), str) and value), None)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
