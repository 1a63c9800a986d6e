"""A ledger of one's own, and a way to run commands through Airflow's own parser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow.cli.cli_parser import get_parser

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin
from tests.support import completions


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def ledger_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "ledger.db"
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN", f"sqlite:///{path}")
    return path


@pytest.fixture
def ledger(ledger_file: Path, sqlite_template: Path) -> CallLedger:
    return CallLedger(f"sqlite:///{shutil.copyfile(sqlite_template, ledger_file)}")


@pytest.fixture
def run(ledger_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    # A command sets this for its process, which here is that of all tests.
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")

    def run(*words: str) -> Ran:
        capsys.readouterr()
        try:
            args = get_parser().parse_args(["voiceinfra", *words])
            args.func(args)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        seen = capsys.readouterr()
        return Ran(code, seen.out, seen.err)

    return run


def claim(
    ledger: CallLedger,
    key: str = "d/r/t/-1",
    *,
    to: str = "+14155550100",
    call_id: str | None = None,
    conn_id: str = "voiceinfra_default",
    **origin: Any,
) -> CallEntry:
    """Put a call into a ledger; with a ``call_id`` it is accepted."""
    call = OutboundCall(to, agent_id="agent_a", from_number="+14155550199", first_message="Hello")
    entry, _ = ledger.claim(key, call, conn_id=conn_id, origin=CallOrigin(**origin))
    return ledger.accept(entry, call_id) if call_id else entry


SAID: dict[str, Any] = {
    "agent_id": "agent_a",
    "from_number": "+14155550199",
    "to_number": "+14155550100",
    "duration_seconds": 42,
    "recording_url": "https://recordings.example.com/20260301123456.mp3",
    "transcript": "Agent: Hello. Caller: Ring me on +1 415 555 0123.",
    "summary": "Wants to be called on +14155550123",
}


def completion_body(call_id: str, **fields: Any) -> bytes:
    """Return the webhook of a call's end."""
    return completions.completion_body(call_id, **{**SAID, **fields})


def complete(ledger: CallLedger, call_id: str, **fields: Any) -> None:
    """Put a completion into a ledger."""
    completions.complete(ledger, call_id, **{**SAID, **fields})
