"""Texts with ``{column}`` placeholders; a name is looked up and nothing else, so no template runs code."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter
from typing import Any

from airflow_provider_voiceinfra.exceptions import ContactsError, InvalidCallError


class Template:
    """A text that is filled in for each contact.

    :param field: the field that the text is for, as errors call it.
    :param text: the text; ``{{`` and ``}}`` stand for braces.
    :raises ContactsError: if the braces do not make plain placeholders.
    """

    def __init__(self, field: str, text: object) -> None:
        if not isinstance(text, str):
            raise ContactsError(f"{field}: must be text, not {type(text).__name__}")
        self._field = field
        try:
            parts = list(Formatter().parse(text))
        except ValueError as exc:
            raise ContactsError(f"{field}: {exc}; write {{{{ or }}}} for a brace that is text") from exc
        self._parts = [(literal, name) for literal, name, _, _ in parts]
        for _, name, spec, conversion in parts:
            if name is not None and (not name or spec or conversion):
                raise ContactsError(
                    f"{field}: a placeholder is the name of a column in braces and nothing else, such as "
                    "{first_name}; write {{ or }} for a brace that is text"
                )
        #: The columns that the text needs, in the order of their first use.
        self.columns = tuple(dict.fromkeys(name for _, name in self._parts if name is not None))

    def fill(self, row: Mapping[str, Any]) -> str:
        """Return the text for one contact.

        :raises InvalidCallError: naming the column that is empty or holds neither text nor a number.
        """
        return "".join(
            [
                literal if name is None else literal + self._value(name, row.get(name))
                for literal, name in self._parts
            ]
        )

    def _value(self, name: str, value: object) -> str:
        if value is None or (isinstance(value, str) and not value.strip()):
            raise InvalidCallError(name, f"is empty, and {self._field} needs it")
        if isinstance(value, str):
            return value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InvalidCallError(
                name, f"is a {type(value).__name__}; {self._field} takes only text and numbers"
            )
        return str(value)
