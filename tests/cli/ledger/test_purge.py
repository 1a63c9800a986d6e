"""Nothing is purged without an age and a yes."""

from __future__ import annotations

import io
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import update

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.records import ContactEntry
from airflow_provider_voiceinfra.ledger.database.schema import calls, campaigns, completions, deliveries
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from tests.cli.conftest import Run, claim, complete
from tests.ledger.examples import running
from tests.support.completions import keep_delivery

OLD = datetime.now(timezone.utc) - timedelta(days=100)


@pytest.fixture
def old_ledger(ledger: CallLedger) -> CallLedger:
    """Return a ledger with an old call, its completion, a delivery and a campaign, and a call of today."""
    claim(ledger, "old", call_id="call_old")
    complete(ledger, "call_old")
    keep_delivery(ledger, b"old", conn_id="c", reason="r")
    ledger.campaigns.take("old", conn_id="c", origin=CallOrigin())
    contacts = [ContactEntry(0, row, None, None, None, "invalid", "r") for row in (1, 2, 3)]
    ledger.campaigns.load_contacts("old", contacts, loaded_by="r", runner=running(ledger, "old"))
    with ledger._database.writing() as connection:
        connection.execute(update(calls).values(claimed_at=OLD))
        connection.execute(update(completions).values(received_at=OLD))
        connection.execute(update(deliveries).values(received_at=OLD))
        connection.execute(update(campaigns).values(runner_seen_at=OLD))
    claim(ledger, "new", call_id="call_new")
    return ledger


def test_it_says_what_will_go_and_what_has_gone(run: Run, old_ledger: CallLedger) -> None:
    ran = run("purge", "--older-than", "90d", "--yes")

    assert ran.code == 0
    assert "completion records, with transcripts and summaries, will be deleted" in ran.out
    assert "contacts of campaigns that were last run before then will be deleted" in ran.out
    assert (
        "1 calls emptied, 1 completion records, 1 kept deliveries and 3 contacts of campaigns deleted"
        in ran.out
    )
    assert list(old_ledger.campaigns.all_contacts("old")) == []
    old, new = old_ledger.call_by_id("call_old"), old_ledger.call_by_id("call_new")
    assert old is not None
    assert old.to_number is None
    assert new is not None
    assert new.to_number is not None


@pytest.mark.parametrize("answer", ["n\n", "", "yes please\n"], ids=["no", "no terminal", "something else"])
def test_without_a_yes_nothing_goes(
    run: Run, old_ledger: CallLedger, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))

    ran = run("purge", "--older-than", "90d")

    assert ran.code == 1
    assert "nothing was deleted" in ran.err
    assert ("--yes" in ran.err) == (answer == "")
    assert old_ledger.completion("call_old") is not None
    assert len(list(old_ledger.campaigns.all_contacts("old"))) == 3


def test_a_yes_at_the_terminal_counts(
    run: Run, old_ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))

    assert run("purge", "--older-than", "90d").code == 0
    assert old_ledger.completion("call_old") is None


def test_the_age_comes_from_the_settings(
    run: Run, old_ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__RETENTION_DAYS", "99")

    assert run("purge", "--yes").code == 0
    assert old_ledger.completion("call_old") is None


def test_without_any_age_it_refuses(run: Run, old_ledger: CallLedger) -> None:
    ran = run("purge", "--yes")

    assert ran.code == 1
    assert "--older-than" in ran.err
    assert old_ledger.completion("call_old") is not None


def test_a_young_age_is_warned_of(run: Run) -> None:
    assert "WARNING" in run("purge", "--older-than", "1d", "--yes").out
    assert "WARNING" not in run("purge", "--older-than", "4w", "--yes").out


def test_an_age_before_all_calendars_is_refused(run: Run) -> None:
    assert run("purge", "--older-than", "999999w", "--yes").code == 1


def test_only_what_went_through_a_connection_goes(run: Run, old_ledger: CallLedger) -> None:
    ran = run("purge", "--older-than", "90d", "--conn-id", "c", "--yes")

    assert ran.code == 0
    assert "that went through connection 'c'" in ran.out
    assert "0 calls emptied, 0 completion records, 1 kept deliveries and 3 contacts" in ran.out


def test_connection_that_nothing_went_through_is_said(run: Run, old_ledger: CallLedger) -> None:
    ran = run("purge", "--older-than", "90d", "--conn-id", "nobody", "--yes")

    assert ran.code == 0
    assert "NOTE: nothing in the ledger went through connection 'nobody'." in ran.out
    assert old_ledger.completion("call_old") is not None


def test_what_was_said_goes_at_an_age_of_its_own(run: Run, old_ledger: CallLedger) -> None:
    ran = run("purge", "--older-than", "200d", "--transcripts-older-than", "90d", "--yes")

    assert ran.code == 0
    assert "will lose transcript, summary, recording" in ran.out
    assert "0 suppressions that were over were deleted, and 1 younger records lost what was said." in ran.out
    record = old_ledger.completion("call_old")
    assert record is not None
    assert "transcript" not in record.record().payload


def test_texts_that_would_stay_longer_than_the_rest_are_refused(run: Run, old_ledger: CallLedger) -> None:
    ran = run("purge", "--older-than", "90d", "--transcripts-older-than", "90d", "--yes")

    assert ran.code == 1
    assert "takes an age below that of the rest" in ran.err
    assert old_ledger.completion("call_old") is not None
