"""Distinguishes what a DAG file leaves out from what came to nothing when the task ran, which is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow_provider_voiceinfra.exceptions import InvalidCallError
from airflow_provider_voiceinfra.masking import quoted
from airflow_provider_voiceinfra.tasks.arguments import FROM_NOTHING, is_literal, is_nothing

# What a call may do without, but not with the word for nothing in its place.
_TEXTS = ("agent_id", "from_number", "first_message", "call_context", "default_region")
# Airflow's own argument for an operator that is one of a number of mapped tasks.
_FROM_MAPPED = "_airflow_from_mapped"

Path = tuple[str, ...]


class AuthoredArgumentsMixin:
    """Refuses to run an operator without an argument that its author has set.

    A template of an empty param and an upstream task that returns nothing must not lift a limit. Only what is
    ``None`` or an empty list in the DAG file itself means "none".
    """

    must_not_vanish: tuple[str, ...] = ()
    """The arguments without which the operator would do more, or something else, than its author wanted."""

    _passed: frozenset[str] = frozenset()
    _left_out: frozenset[Path] = frozenset()

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Keep which arguments were given at all: a mapped operator is made when its task runs."""
        if "context" in kwargs:
            raise TypeError("context: is a word of Airflow's own; the API's context is call_context here")
        made = super().__new__(cls)
        object.__setattr__(made, "_passed", frozenset(kwargs))
        return made

    def _note_left_out(self) -> None:
        """Keep what is nothing in the DAG file; called when the attributes have been set."""
        self._left_out = frozenset(
            path
            for name in self.must_not_vanish
            for path in _nothings(getattr(self, name), (name,))
            if len(path) > 1 or not isinstance(getattr(self, name), str)
        )

    def _is_literal(self, name: str) -> bool:
        """Return whether the DAG file itself says what an argument is, so that it can be checked at once.

        What a mapped task is made with when it runs may come from another task, and is checked then.
        """
        value = getattr(self, name)
        return _FROM_MAPPED not in self._passed and not is_nothing(value) and is_literal(value)

    def _refuse_vanished(self, context: Any) -> None:
        """Refuse arguments that the author has set and that are nothing now."""
        for name in self.must_not_vanish:
            for path in _nothings(getattr(self, name), (name,)):
                if path not in self._left_out or self._came_from_a_task(name, context):
                    inner = "".join(f"[{quoted(part)}]" for part in path[1:])
                    raise InvalidCallError(
                        name,
                        f"the DAG file sets {name}{inner}, but it is empty now: {FROM_NOTHING}. "
                        "Nobody was called. Fix that, or write None in the DAG file if you want none",
                    )

    def _refuse_words_for_nothing(self) -> None:
        """Refuse the word that a template makes of a value that is not there, which a callee would hear."""
        for name in _TEXTS:
            value = getattr(self, name, None)
            if isinstance(value, str) and value.strip() == "None":
                rule = f"is the word 'None', {FROM_NOTHING}. Fix that, or leave {name} out"
                raise InvalidCallError(name, rule)

    def _came_from_a_task(self, name: str, context: Any) -> bool:
        """Return whether another task gave this argument to this one of a number of mapped tasks."""
        task: Any = self
        if name not in self._passed or not task.has_dag():
            return False
        mapped = task.dag.get_task(task.task_id)
        if not mapped.is_mapped or is_nothing(mapped.partial_kwargs.get(name, name)):
            return False
        given = mapped.expand_input.value
        if isinstance(given, Mapping):  # of expand
            return not isinstance(given.get(name), (list, tuple, Mapping))
        # Of expand_kwargs: what another task returned, or a list of what each of the mapped tasks gets.
        row = given[context["ti"].map_index] if isinstance(given, (list, tuple)) else None
        return not isinstance(row, Mapping)


def _nothings(value: Any, path: Path) -> Iterator[Path]:
    """Yield where a value is nothing: the value itself, or what is in it."""
    if is_nothing(value):
        yield path
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _nothings(item, (*path, str(name)))
