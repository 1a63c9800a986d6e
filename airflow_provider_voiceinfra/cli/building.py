"""Makes the commands of ``airflow voiceinfra`` for Airflow's parser; light: every command loads it."""

from __future__ import annotations

from typing import Any

from airflow.cli.cli_config import ARG_VERBOSE, ActionCommand, Arg, lazy_load_command

_CODE = "airflow_provider_voiceinfra.cli"


def _shown(help: str) -> str:
    # Airflow takes help for markup, in which [api] is a style and is not shown.
    return help.replace("[", r"\[")


def arg(*flags: str, help: str, **options: Any) -> Arg:
    """Return an argument."""
    return Arg(flags, help=_shown(help), **options)


def flag(name: str, help: str) -> Arg:
    """Return an argument that is there or not."""
    return arg(name, help=help, action="store_true")


def command(
    code: str, help: str, *args: Arg, name: str = "", description: str | None = None
) -> ActionCommand:
    """Return a command.

    :param code: the function that runs it, as ``module.function``; the command is named as the module.
    """
    return ActionCommand(
        name=name or code.partition(".")[0],
        help=_shown(help),
        description=description and _shown(description),
        func=lazy_load_command(f"{_CODE}.{code}"),
        args=(*args, ARG_VERBOSE),
    )
