"""A quarantine is begun, shown and released; what makes no sense is refused."""

from __future__ import annotations

import pytest

from airflow_provider_voiceinfra.exceptions import CallNotAllowedError
from airflow_provider_voiceinfra.ledger import CallLedger
from tests.cli.conftest import Run, claim


def test_it_is_in_force_until_it_is_released(run: Run, ledger: CallLedger) -> None:
    assert run("quarantine").out == "No quarantine is in force.\n"
    ran = run("quarantine", "--since", "2026-03-01T08:00:00Z", "--until", "2026-03-01T14:00:00Z")
    assert ran.code == 0
    assert "between 2026-03-01T08:00:00+00:00 and 2026-03-01T14:00:00+00:00" in ran.out
    assert "quarantine --release" in ran.out
    assert run("quarantine").out == ran.out
    with pytest.raises(CallNotAllowedError):
        claim(ledger)
    ran = run("quarantine", "--release")
    assert (ran.code, ran.out) == (0, "1 quarantine was released. Clear the tasks that were refused.\n")
    ran = run("quarantine", "--release")
    assert (ran.code, ran.out) == (0, "No quarantine is in force.\n")
    claim(ledger)


def test_by_default_the_restore_is_now(run: Run, ledger: CallLedger) -> None:
    assert run("quarantine", "--since", "2026-03-01T08:00:00Z").code == 0
    [one] = ledger.quarantines.active()
    assert one.created_at - one.until < one.until - one.since


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--since", "1h", "--until", "2h"), "--until has to be after --since"),
        (("--until", "1h"), "--until goes with --since"),
        (("--release", "--since", "1h"), "give it alone"),
    ],
)
def test_what_makes_no_sense_is_refused(
    run: Run, ledger: CallLedger, words: tuple[str, ...], message: str
) -> None:
    ran = run("quarantine", *words)
    assert ran.code == 1
    assert message in ran.err
    assert ledger.quarantines.active() == []
