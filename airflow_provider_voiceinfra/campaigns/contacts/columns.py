"""What the columns of contacts are called, and what was meant by a name that is not right; sees no values.

A ``source`` is what errors call the contacts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

from airflow_provider_voiceinfra.exceptions import ContactsError, InvalidCallError
from airflow_provider_voiceinfra.masking import is_phone_number, mask_numbers_in

# The columns with a meaning of their own; every other one becomes a variable.
FIELDS = frozenset(
    {"to_number", "agent_id", "from_number", "first_message", "context", "timezone", "region", "consent"}
)

_OF_THE_CAMPAIGN = """
    wait_for_completion deferrable completion_timeout poke_interval fail_on_outcomes include_transcript
    unknown_timeout on_unknown contacts columns max_active_calls max_calls_per_second calling_window redial
    deadline results_path invalid_contacts default_region call_cap on_not_allowed not_allowed_timeout
"""
# Parameters of the operators that are no columns, and what to write instead: as a variable of the agent each
# would go unheeded.
OPERATORS_OWN = {
    **dict.fromkeys(_OF_THE_CAMPAIGN.split(), "it holds for the whole campaign; set it on the operator"),
    "call_context": "write a contact's own in a column 'context'",
    "variables": "write each of the values in a column of its own, under its own name",
    "idempotency_key": "name the column that identifies a contact in the operator's contact_key",
    "voiceinfra_conn_id": "one campaign goes through one connection; set it on the operator",
    "do_not_call": "leave such rows out, or give their numbers to the operator's do_not_call",
}
_PHONE = re.compile(r"phone|mobile|msisdn|telefon|^(contact|cell|tel)(number|no|nr)$|^(number|cell|tel)$")


@lru_cache(maxsize=4096)
def plain(name: str) -> str:
    """Return a name without what people write differently: case, blanks, dashes and underscores."""
    return re.sub(r"[\s_.-]", "", name.casefold())


_BY_PLAIN_NAME = {plain(name): name for name in (*FIELDS, *OPERATORS_OWN)}


class Renaming:
    """Columns that the contacts call otherwise.

    :param columns: from the name that is used here to theirs, such as ``{"to_number": "Phone Number"}``;
        ``None`` for no other names.
    :raises ContactsError: if it is no such mapping.
    """

    def __init__(self, columns: object) -> None:
        if columns is not None and (
            not isinstance(columns, Mapping)
            or not all(isinstance(name, str) and name for pair in columns.items() for name in pair)
        ):
            raise ContactsError(
                "columns: must be a mapping from the names used here to those in the contacts, such as "
                '{"to_number": "Phone Number"}'
            )
        self._theirs: Mapping[str, str] = columns or {}
        self._ours = {theirs: ours for ours, theirs in self._theirs.items()}
        if len(self._ours) < len(self._theirs):
            raise ContactsError("columns: one column of the contacts cannot have two names")

    def theirs(self, names: Iterable[str]) -> set[str]:
        """Return what the contacts call these columns, and all that are renamed."""
        return {self._theirs.get(name, name) for name in (*names, *self._theirs)}

    def names(self, columns: Collection[str], source: str) -> tuple[str, ...]:
        """Return columns by the names that are used here.

        :raises ContactsError: if a column that is renamed is not there.
        """
        missing = next((theirs for theirs in self._ours if theirs not in columns), None)
        if missing is None:
            return tuple(self.ours(columns))
        if self._theirs.keys() <= set(columns):
            meant = ", ".join(f"{shown(theirs)}: {shown(ours)}" for ours, theirs in self._theirs.items())
            raise ContactsError(
                "columns: is the wrong way round: the names used here are on the left, those in the contacts "
                f"on the right; write {{{meant}}}"
            )
        raise ContactsError(
            f"columns: {shown(missing)} is no column of {source}; there are {listed(columns)}"
        )

    def ours(self, columns: Iterable[str]) -> list[str]:
        """Return columns by the names that are used here."""
        return [self._ours.get(name, name) for name in columns]

    def row(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a row by the names that are used here.

        :raises InvalidCallError: if a name is then that of two columns.
        """
        if not self._ours:
            return row
        named = dict(zip(self.ours(row), row.values(), strict=True))
        if len(named) < len(row):
            twice = next(ours for theirs, ours in self._ours.items() if theirs in row and ours in row)
            raise InvalidCallError(
                twice,
                f"is there twice: by this name, and as {shown(self._theirs[twice])}, which columns names",
            )
        return named


def check_header(names: Collection[str], source: str) -> None:
    """Refuse a file whose first row is a contact and no header: one of the names is a phone number."""
    if any(map(is_phone_number, names)):
        raise ContactsError(
            f"{source}, row 1: looks like a contact ({listed(names)}), so the header is missing; put a row "
            "above it that names the columns, such as to_number,name"
        )


def check_names(names: Iterable[str], source: str) -> None:
    """Refuse columns that would go unheeded, although they are named like what decides about calls."""
    names = list(names)
    for name in names:
        word = _BY_PLAIN_NAME.get(plain(name))
        if word in OPERATORS_OWN:
            raise ContactsError(
                f"{source}: the column {shown(name)} is a parameter of the operator and not of a contact: "
                f"{OPERATORS_OWN[word]}. To hand it to the agent as a variable, give it another name."
            )
        if word is not None and word != name and word not in names:
            raise ContactsError(
                f"{source}: the column {shown(name)} would be a variable and nothing else; "
                f"{_rename(name, word)}"
            )


def remedy(name: str, columns: Collection[str]) -> str:
    """Return what to do about a column that is missing, and which there are."""
    meant = _alike(name, columns)
    if meant is None and name == "to_number":
        meant = like_a_number(columns)
    return f"{_rename(meant, name) if meant else 'add it'}; there are {listed(columns)}"


def _alike(name: str, columns: Iterable[str]) -> str | None:
    return next((column for column in columns if plain(column) == plain(name)), None)


def like_a_number(columns: Iterable[str]) -> str | None:
    """Return the first column that is named as phone numbers are; ``None`` if there is none."""
    return next((column for column in columns if _PHONE.search(plain(column))), None)


def placeholder(name: str, columns: Collection[str]) -> str:
    """Return what to do about a placeholder without a column, and which columns there are."""
    meant, there = _alike(name, columns), f"there are {listed(columns)}"
    return f"write {{{mask_numbers_in(meant)}}}; {there}" if meant else there


def listed(columns: Collection[str]) -> str:
    """Return the names of columns; a file without a header has a contact in their place."""
    return mask_numbers_in(", ".join(list(columns)[:50])) or "none"


def shown(name: str) -> str:
    """Return the name of a column as it may be shown."""
    return repr(mask_numbers_in(name[:100]))


def _rename(name: str, word: str) -> str:
    return f"rename {shown(name)} to {word!r}, or pass columns={{{word!r}: {shown(name)}}}"
