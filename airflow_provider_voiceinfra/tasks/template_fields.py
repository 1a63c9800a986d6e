"""Keeps phone numbers out of logs and of the rendered templates that Airflow shows."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from airflow.sdk.log import mask_secret

from airflow_provider_voiceinfra.exceptions import ContactsError
from airflow_provider_voiceinfra.masking import is_phone_number, mask_numbers_in

_E164 = r"\+[1-9]\d{6,14}(?!\d)"
# Fields that hold a number and nothing else; one that is refused for its form must not be shown either.
_NUMBER_FIELDS = frozenset({"to_number", "from_number"})
_LEAST_DIGITS = 7


class Hidden(Sequence[Any]):
    """Contacts, as Airflow's page of rendered templates shows them: how many, and not whom.

    :param items: the contacts; of what is no list of them only its kind is kept, to refuse it by.
    """

    def __init__(self, items: Collection[Any]) -> None:
        self.kind: type[Any] = type(items)
        if isinstance(items, (str, bytes, Mapping)):
            self._items: Sequence[Any] = ()
        else:
            self._items = items if isinstance(items, Sequence) else list(items)

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __repr__(self) -> str:
        if issubclass(self.kind, (str, bytes, Mapping)):
            return f"{self.kind.__name__}, not shown"
        return f"{len(self)} rows, not shown"


def check_list_or_location(name: str, value: object) -> None:
    """Raise ``ContactsError`` for what was meant to be a list, but is not one any more."""
    kind = value.kind if isinstance(value, Hidden) else type(value)
    if issubclass(kind, str) and (isinstance(value, Hidden) or _is_written_out(value)):
        raise ContactsError(
            f"{name}: is a list written out as text. Pass the output of the task that makes it, or set "
            "render_template_as_native_obj=True on the DAG."
        )
    if issubclass(kind, (bytes, Mapping)):
        raise ContactsError(f"{name}: must be a list, or the path or URL of a file, not {kind.__name__}")
    if isinstance(value, str) and is_phone_number(value):
        raise ContactsError(
            f"{name}: {mask_numbers_in(value)} is a phone number; give a list, or the path or URL of a file"
        )


def check_location(name: str, value: object) -> None:
    """Raise ``ContactsError`` for what was meant to be a file's path or URL; it may be a list of numbers."""
    if value is None:
        return
    kind = type(value).__name__
    if isinstance(value, str) and is_phone_number(value):
        kind = "a phone number"
    elif _is_written_out(value):
        kind = "a list written out as text"
    elif isinstance(value, (str, PurePath)) or hasattr(value, "open"):
        return
    raise ContactsError(f"{name}: must be the path or URL of a file, not {kind}")


def _is_written_out(value: object) -> bool:
    """Return whether a text is what a template makes of a list, and no path or URL."""
    return isinstance(value, str) and (value.lstrip()[:1] in tuple("[{(") or "\n" in value.strip())


class MaskedNumbersMixin:
    """Has Airflow mask each phone number in the template fields of an operator, once they are rendered.

    Of ``hidden_fields``, which may hold thousands of them, Airflow is not given the numbers at all.
    """

    template_fields: Any
    hidden_fields: frozenset[str] = frozenset()

    def _do_render_template_fields(self, *args: Any, **kwargs: Any) -> None:
        # Airflow calls this for mapped and plain tasks alike, before it stores the rendered fields; the
        # public render_template_fields is passed by for mapped ones.
        super()._do_render_template_fields(*args, **kwargs)  # type: ignore[misc]  # the operator's
        self._hide_rows()
        mask_numbers_of({name: getattr(self, name, None) for name in self.template_fields})

    def _hide_rows(self) -> None:
        for name in self.hidden_fields:
            setattr(self, name, hidden(getattr(self, name, None)))


def hidden(value: Any) -> Any:
    """Return a value as Airflow may show it: of what may hold many people, only how many."""
    is_rows = isinstance(value, Collection) and not isinstance(value, (str, Hidden))
    return Hidden(value) if is_rows or _is_written_out(value) else value


def mask_numbers_of(values: Mapping[str, Any]) -> None:
    """Have Airflow mask each phone number in some values, by their names."""
    for name, value in values.items():
        for number in set(_numbers_in(value, name)):
            mask_secret(number)


def _numbers_in(value: Any, name: object = None) -> Iterator[str]:
    if isinstance(value, str):
        if name in _NUMBER_FIELDS and sum(map(str.isdigit, value)) >= _LEAST_DIGITS:
            yield value
        yield from re.findall(_E164, value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _numbers_in(key)
            yield from _numbers_in(item, key)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _numbers_in(item, name)
