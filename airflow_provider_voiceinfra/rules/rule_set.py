"""The rules that are in force for a call: those of the deployment, of its connection, and of its task."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from airflow_provider_voiceinfra.calls import check_number
from airflow_provider_voiceinfra.exceptions import InvalidCallError
from airflow_provider_voiceinfra.rules.call_cap import CallCap, parse_call_cap
from airflow_provider_voiceinfra.rules.calling_window.window import CallingWindow
from airflow_provider_voiceinfra.rules.opt_out import OptOut

NAMES = ("calling_window", "call_cap", "opt_out", "exempt_numbers", "require_consent")
"""What rules are called wherever they are set."""
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}


@dataclass(frozen=True)
class Rules:
    """What is set in one place.

    :param calling_window: when people may be called; ``None`` for always.
    :param call_caps: how often one number may be called; each of them must allow it.
    :param exempt_numbers: numbers in E.164 form to which the window and the caps of this place do not apply,
        nor do those of the places within it.
    :param require_consent: whether nobody is called without a reference to their consent.
    :param opt_out: what in a record says that the person must not be called again.
    """

    calling_window: CallingWindow | None = None
    call_caps: tuple[CallCap, ...] = ()
    exempt_numbers: frozenset[str] = field(default=frozenset(), repr=False)
    require_consent: bool = False
    opt_out: OptOut | None = None

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Rules:
        """Read what users write, each by its name in ``NAMES``; what is empty or missing is not set.

        :raises InvalidCallError: naming the rule and what is wrong in it.
        """
        given = {name: values[name] for name in NAMES if values.get(name) not in (None, "", [], ())}
        return cls(
            calling_window=_parsed(given, "calling_window", CallingWindow.parse),
            call_caps=_parsed(given, "call_cap", parse_call_cap) or (),
            exempt_numbers=_parsed(given, "exempt_numbers", _numbers) or frozenset(),
            require_consent=_boolean(given.get("require_consent", False)),
            opt_out=_parsed(given, "opt_out", OptOut.parse),
        )

    def to_json(self) -> dict[str, Any]:
        """Return what decides about a call, as ``parse`` takes it, without what is not set."""
        values = {
            "calling_window": self.calling_window and self.calling_window.spec,
            "call_cap": ", ".join(map(str, self.call_caps)),
            "exempt_numbers": sorted(self.exempt_numbers),
            "require_consent": self.require_consent,
        }
        return {name: value for name, value in values.items() if value}


def _parsed(given: Mapping[str, Any], name: str, parse: Any) -> Any:
    return parse(given[name]) if name in given else None


def _numbers(spec: object) -> frozenset[str]:
    numbers = spec.replace(",", " ").replace(";", " ").split() if isinstance(spec, str) else spec
    if not isinstance(numbers, (list, tuple, set, frozenset)):
        raise InvalidCallError(
            "exempt_numbers",
            f"must be numbers separated by spaces, or a list of them, not {type(spec).__name__}",
        )
    for number in numbers:
        check_number("exempt_numbers", number)
    return frozenset(numbers)


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    found = _BOOLEANS.get(str(value).strip().lower())
    if found is None:
        raise InvalidCallError("require_consent", f"must be true or false, not {str(value)[:32]!r}")
    return found


@dataclass(frozen=True)
class RuleSet:
    """All rules that are in force for a call; every one of them must allow it.

    :param deployment: of the section ``[voiceinfra]`` of Airflow's configuration.
    :param connection: of the connection's extras.
    :param task: of the operator, the campaign, or whoever places the call.
    """

    deployment: Rules = field(default_factory=Rules)
    connection: Rules = field(default_factory=Rules)
    task: Rules = field(default_factory=Rules)

    @property
    def places(self) -> dict[str, Rules]:
        """The rules by where they are set, the outermost first."""
        return {"deployment": self.deployment, "connection": self.connection, "task": self.task}

    def windows(self, number: str | None) -> tuple[CallingWindow, ...]:
        """Return the calling windows that apply to a number; each must be open."""
        return tuple(self.windows_by_place(number).values())

    def windows_by_place(self, number: str | None) -> dict[str, CallingWindow]:
        """Return the calling windows that apply to a number by where they are set, see ``places``."""
        applying = self._applying(number)
        return {place: rules.calling_window for place, rules in applying if rules.calling_window}

    def caps(self, number: str | None) -> tuple[CallCap, ...]:
        """Return the caps that apply to a number; each must allow the call."""
        return tuple({cap: None for _, rules in self._applying(number) for cap in rules.call_caps})

    @cached_property
    def have_windows(self) -> bool:
        """Whether there are calling windows at all."""
        return any(rules.calling_window for rules in self.places.values())

    @cached_property
    def have_caps(self) -> bool:
        """Whether there are caps at all."""
        return any(rules.call_caps for rules in self.places.values())

    @cached_property
    def require_consent(self) -> bool:
        """Whether nobody is called without a reference to their consent."""
        return any(rules.require_consent for rules in self.places.values())

    @cached_property
    def document(self) -> bytes | None:
        """What is in force, in the one form in which it is stored; ``None`` if nothing is."""
        places = {place: rules.to_json() for place, rules in self.places.items()}
        found = {place: values for place, values in places.items() if values}
        return json.dumps(found, sort_keys=True).encode() if found else None

    def _applying(self, number: str | None) -> Iterator[tuple[str, Rules]]:
        """Yield the rules whose window and caps apply to a number, and where they are set."""
        for place, rules in self.places.items():
            # Who is exempt somewhere is exempt from what is set there and further in, never further out.
            if number in rules.exempt_numbers:
                return
            yield place, rules


NO_RULES = RuleSet()
