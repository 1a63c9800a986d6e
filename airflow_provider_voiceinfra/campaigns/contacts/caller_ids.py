"""Which of several caller IDs a contact sees: one of their own area code, else any, always the same."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache


class CallerIds:
    """Chooses the caller ID of each contact, without any memory: a list that is read again gives the same.

    :param numbers: the caller IDs in E.164 form; without any, none is chosen.
    """

    def __init__(self, numbers: Sequence[str] = ()) -> None:
        self._all = sorted(set(numbers))
        self._by_area: dict[str, list[str]] = defaultdict(list)
        if len(self._all) > 1:
            for number in self._all:
                if area := area_of(number):
                    self._by_area[area].append(number)

    def of(self, to_number: str) -> str | None:
        """Return the caller ID for a number in E.164 form.

        Between several a hash of both decides: it spreads contacts evenly, and one caller ID more changes as
        few of them as can be.
        """
        if len(self._all) < 2:
            return self._all[0] if self._all else None
        numbers = self._by_area.get(area_of(to_number) or "") or self._all
        return max(numbers, key=lambda one: hashlib.sha256(f"{one}/{to_number}".encode()).digest())


def area_of(number: str) -> str | None:
    """Return a number's country code and area code; ``None`` if it has no area code."""
    size = _area_size(number[:8], len(number))
    return number[:size] if size else None


@lru_cache(maxsize=8192)
def _area_size(begins: str, length: int) -> int:
    # Imported late: its tables are of no use to a process that only parses DAG files.
    import phonenumbers

    parsed = phonenumbers.parse(begins.ljust(length, "2"))
    area = phonenumbers.length_of_geographical_area_code(parsed)
    return len(f"+{parsed.country_code}") + area if area else 0
