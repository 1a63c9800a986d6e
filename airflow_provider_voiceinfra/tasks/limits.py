"""What says when and how much a campaign dials, read from what users write; loads only what is asked for."""

from __future__ import annotations

from typing import Any

from airflow_provider_voiceinfra.tasks import arguments

RULES = ("calling_window", "call_cap")
LIMITS = ("max_active_calls", "max_calls_per_second", *RULES, "redial", "deadline")


def read_limit(name: str, value: Any) -> Any:
    """Return a limit as it is meant; ``None`` if it is left out.

    :param name: one of ``LIMITS``.
    :raises InvalidCallError: naming it, and what is wrong with it.
    """
    if name == "max_active_calls":  # there is always one
        return int(arguments.number(name, value, whole=True))
    if arguments.is_nothing(value):
        return None
    if name == "calling_window":
        # Imported late: a DAG file that sets no window needs none of it.
        from airflow_provider_voiceinfra.rules.calling_window.window import CallingWindow

        return CallingWindow.parse(value)
    if name == "call_cap":
        from airflow_provider_voiceinfra.rules.call_cap import parse_call_cap  # likewise

        return parse_call_cap(value)
    if name == "redial":
        from airflow_provider_voiceinfra.campaigns.plan import RedialPolicy  # likewise

        return RedialPolicy.parse(value)
    return arguments.moment(name, value) if name == "deadline" else arguments.number(name, value)
