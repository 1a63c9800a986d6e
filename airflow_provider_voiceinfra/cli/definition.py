"""The commands of ``airflow voiceinfra``, as Airflow's parser wants them; light, since all of Airflow loads it."""

from __future__ import annotations

from airflow.cli.cli_config import CLICommand


def get_commands() -> list[CLICommand]:
    """Return the command group; the code behind a command is loaded when it is run."""
    return []
