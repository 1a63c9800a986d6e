"""The ledger is encrypted, and its keys are rotated, by commands that say what there is left to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from airflow_provider_voiceinfra.diagnosis.findings import Verdict
from airflow_provider_voiceinfra.diagnosis.inside import check_ledger
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.keys import Encryption
from airflow_provider_voiceinfra.settings import load_settings
from tests.cli.conftest import Run, claim, complete
from tests.ledger.test_conversion import let_grace_pass

KEY, OTHER_KEY = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@pytest.fixture
def filled(ledger: CallLedger) -> CallLedger:
    """Return a plain ledger with a call and its completion."""
    claim(ledger, "key", call_id="call_1")
    complete(ledger, "call_1")
    return ledger


def with_key(monkeypatch: pytest.MonkeyPatch, *keys: str) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", ",".join(keys))


def seen_with(ledger: CallLedger, *keys: str) -> CallLedger:
    return CallLedger(ledger._database.url, encryption=Encryption(keys))


def test_rows_are_encrypted_and_it_is_said_when_to_come_again(
    run: Run, filled: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_key(monkeypatch, KEY)
    ran = run("encrypt", "--status")
    assert "New values are encrypted. Processes that have been running" in ran.out
    assert "would rewrite: 2." in ran.out
    ran = run("encrypt")
    assert (ran.code, ran.err) == (0, "")
    assert "2 rows were rewritten." in ran.out
    assert "run `airflow voiceinfra encrypt` after that" in ran.out
    let_grace_pass(seen_with(filled, KEY))
    assert "`airflow voiceinfra encrypt` sees to that" in run("encrypt", "--status").out
    ran = run("encrypt", "--vacuum")
    assert ran.out.splitlines() == [
        "0 rows were rewritten.",
        "All of the ledger is encrypted.",
        "The file was written anew.",
    ]


def test_without_a_key_it_says_that_all_is_plain(run: Run, filled: CallLedger) -> None:
    ran = run("encrypt")
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "All of the ledger is plain.")


def test_keys_are_rotated(run: Run, filled: CallLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    with_key(monkeypatch, KEY)
    run("encrypt")
    with_key(monkeypatch, OTHER_KEY, KEY)
    ran = run("rotate-key", "--data")
    assert ran.code == 0
    assert "wrapped by the first key of [core] fernet_key now" in ran.out
    assert "2 rows were rewritten." in ran.out
    assert seen_with(filled, OTHER_KEY).completion("call_1") is not None


@pytest.mark.parametrize("words", [("rotate-key",), ("encrypt",), ("calls",)], ids=" ".join)
def test_wrong_key_ends_in_a_sentence(
    run: Run, filled: CallLedger, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    seen_with(filled, KEY).check()
    with_key(monkeypatch, OTHER_KEY)
    ran = run(*words)
    assert ran.code == 1
    assert ran.err.startswith("voiceinfra: The ledger is encrypted under another Fernet key")
    assert "Traceback" not in ran.err


def test_rotation_without_a_key_ends_in_a_sentence(run: Run, filled: CallLedger) -> None:
    ran = run("rotate-key")
    assert (ran.code, ran.out) == (1, "")
    assert "There is no key to rotate" in ran.err


def test_doctor_says_how_far_the_encryption_is(
    ledger_file: Path, filled: CallLedger, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> tuple[Verdict, str, str]:
        finding, _ = check_ledger(load_settings())
        return finding.verdict, finding.found, finding.remedy

    assert found()[:2] == (Verdict.OK, found()[1])
    assert found()[1].endswith("; not encrypted")
    with_key(monkeypatch, KEY)
    verdict, text, remedy = found()
    assert verdict is Verdict.WARNING
    assert "new values are encrypted, and older ones may not be" in text
    assert "airflow voiceinfra encrypt" in remedy
    run("encrypt")
    let_grace_pass(seen_with(filled, KEY))
    run("encrypt")
    assert found()[0] is Verdict.OK
    assert found()[1].endswith("; encrypted")
    with_key(monkeypatch, OTHER_KEY)
    verdict, text, remedy = found()
    assert verdict is Verdict.FAILED
    assert "[core] fernet_key" in text
    assert "ledger's key" in remedy
