"""The commands exist, are complete, and refuse what they cannot understand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.cli.cli_config import ActionCommand, GroupCommand

from airflow_provider_voiceinfra.cli.definition import CALL_STATES, get_commands
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CallState
from tests.cli.conftest import Run, claim

(GROUP,) = get_commands()


def words_to(command: ActionCommand | GroupCommand, *above: str) -> list[tuple[str, ...]]:
    """Return the words by which a command and those in it are called."""
    words = (*above, command.name)
    inner = () if isinstance(command, ActionCommand) else command.subcommands
    return [words, *(found for each in inner for found in words_to(each, *words))]


@pytest.mark.parametrize("words", [found[1:] for found in words_to(GROUP)], ids=" ".join)
def test_help_shows_all_that_is_written(run: Run, words: tuple[str, ...]) -> None:
    command: ActionCommand | GroupCommand = GROUP
    for word in words:
        assert isinstance(command, GroupCommand)
        [command] = [inner for inner in command.subcommands if inner.name == word]
    written = [command.description or command.help or ""]
    if isinstance(command, ActionCommand):
        written += [str(arg.kwargs.get("help")) for arg in command.args]
        written = [text for text in written if text != "None"]
    else:
        written += [str(inner.help) for inner in command.subcommands]

    ran = run(*words, "--help")

    assert ran.code == 0
    shown = "".join(ran.out.split())
    for text in written:
        # Airflow's own arguments are written as it wants them.
        assert "".join(text.replace("\\[", "[").split()) in shown


def test_states_are_those_of_the_ledger() -> None:
    assert set(CALL_STATES) == {state.value for state in CallState}


@pytest.mark.parametrize(
    "words",
    [
        ("calls", "--state", "over"),
        ("calls", "--since", "yesterday evening"),
        ("calls", "--since", "2026-13-01"),
        ("calls", "--limit", "0"),
        ("calls", "--limit", "many"),
        ("call",),
        ("campaigns", "--limit", "0"),
        ("campaign",),
        ("deliveries", "--show", "x"),
        ("deliveries", "--replay", "some"),
        ("audit",),
        ("audit", "--since", "then"),
        ("audit", "--since", "7d", "--until", "then"),
        ("audit", "--since", "7d", "--limit", "0"),
        ("purge", "--older-than", "0d"),
        ("purge", "--older-than", "90"),
        ("doctor", "--output", "html"),
    ],
    ids=" ".join,
)
def test_what_it_cannot_understand_is_a_usage_error(run: Run, words: tuple[str, ...]) -> None:
    assert run(*words).code == 2


def test_the_real_command_prints_json_and_nothing_else(ledger: CallLedger, ledger_file: Path) -> None:
    claim(ledger, call_id="call_1")
    airflow = Path(sys.executable).with_name("airflow")
    seen = subprocess.run(
        [airflow, "voiceinfra", "calls", "--output", "json"],
        env=os.environ.copy(),
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )

    assert seen.returncode == 0, seen.stderr
    assert [row["call_id"] for row in json.loads(seen.stdout)] == ["call_1"]


def test_connections_of_the_metadata_database_are_looked_up(run: Run) -> None:
    # Airflow looks there in processes that say that they are a server, as its own commands do.
    run("calls")

    assert os.environ["_AIRFLOW_PROCESS_CONTEXT"] == "server"
