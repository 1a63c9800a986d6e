"""Whose turn it is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provider_voiceinfra.campaigns.engine import agenda as module
from airflow_provider_voiceinfra.campaigns.engine.agenda import Agenda
from airflow_provider_voiceinfra.campaigns.plan import CampaignPlan
from airflow_provider_voiceinfra.campaigns.progress import WaitingFor
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from airflow_provider_voiceinfra.rules.calling_window.window import CallingWindow
from tests.campaigns.live import ORIGIN, entries, numbers
from tests.ledger.examples import running
from tests.rules.calling_window.test_window import utc

NOW = utc(2026, 6, 1, 16)  # a Monday, noon in New York
HOUR = timedelta(hours=1)


@pytest.fixture
def ledger(ledger_url: str) -> CallLedger:
    ledger = CallLedger(ledger_url)
    ledger.campaigns.take("c", conn_id="conn", origin=CallOrigin())
    return ledger


def load(ledger: CallLedger, called: list[str], zone: str | None = None) -> None:
    ledger.campaigns.load_contacts(
        "c", entries(called, zone=zone), loaded_by="load", runner=running(ledger, "c")
    )


def positions(agenda: Agenda, now: object = NOW, most: int = 100) -> list[tuple[int, int]]:
    return [job.place for job in agenda.take(now, most)]  # type: ignore[arg-type]


def test_those_that_are_due_go_first_in_the_order_in_which_they_became_due(ledger: CallLedger) -> None:
    load(ledger, numbers(6))
    agenda = Agenda(CampaignPlan("c"), ledger, ORIGIN)
    assert positions(agenda, most=3) == [(1, 1), (2, 1), (3, 1)]
    agenda.put(NOW - HOUR, 2, 2, WaitingFor.REDIAL)
    agenda.put(NOW - 2 * HOUR, 3, 1, WaitingFor.AGAIN)
    agenda.put(NOW + HOUR, 1, 2, WaitingFor.REDIAL)
    assert positions(agenda, most=3) == [(3, 1), (2, 2), (4, 1)]
    assert positions(agenda) == [(5, 1), (6, 1)]
    assert positions(agenda) == []
    assert not agenda.is_empty
    assert agenda.next_at == NOW + HOUR
    assert positions(agenda, NOW + HOUR) == [(1, 2)]
    assert agenda.is_empty


def test_every_contact_has_its_turn(ledger: CallLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUFFER", 7)
    load(ledger, numbers(30))
    agenda = Agenda(CampaignPlan("c"), ledger, ORIGIN)
    found = []
    while not agenda.is_empty:
        found += positions(agenda, most=4)
    assert found == [(position, 1) for position in range(1, 31)]


def test_nobody_whose_window_is_closed_and_all_of_them_once_it_opens(ledger: CallLedger) -> None:
    load(ledger, ["+12125550100", "+14155550100", "+18085550100"])  # noon, 9:00 and 6:00
    agenda = Agenda(CampaignPlan("c", window=CallingWindow.parse("10:00-17:00")), ledger, ORIGIN)
    [job] = agenda.take(NOW, 10)
    assert (job.place, job.not_after) == ((1, 1), utc(2026, 6, 1, 21))
    assert agenda.waiting == {WaitingFor.WINDOW: 2}
    assert agenda.next_at == utc(2026, 6, 1, 17)
    assert positions(agenda, utc(2026, 6, 1, 17)) == [(2, 1)]
    assert positions(agenda, utc(2026, 6, 1, 20)) == [(3, 1)]
    assert agenda.waiting == {}
    assert agenda.is_empty


def test_a_contact_is_dialled_before_its_window_closes_and_before_the_deadline(ledger: CallLedger) -> None:
    load(ledger, ["+12125550100"])
    for window, deadline, expected in (
        (None, None, None),
        (None, NOW + HOUR, NOW + HOUR),
        ("10:00-17:00", NOW + HOUR, NOW + HOUR),
        ("10:00-17:00", NOW + 9 * HOUR, utc(2026, 6, 1, 21)),
        ("00:00-24:00", NOW + 9 * HOUR, NOW + 9 * HOUR),
    ):
        parsed = CallingWindow.parse(window) if window else None
        [job] = Agenda(CampaignPlan("c", window=parsed, deadline=deadline), ledger, ORIGIN).take(NOW, 1)
        assert job.not_after == expected


def test_a_contact_with_its_own_zone_is_called_by_its_clock(ledger: CallLedger) -> None:
    load(ledger, ["+12125550100"], "Asia/Kolkata")  # 21:30 there
    agenda = Agenda(CampaignPlan("c", window=CallingWindow.parse("09:00-20:00")), ledger, ORIGIN)
    assert positions(agenda) == []
    assert agenda.next_at == utc(2026, 6, 2, 3, 30)


def test_a_contact_that_is_withdrawn_is_not_dialled_again(ledger: CallLedger) -> None:
    load(ledger, numbers(3))
    agenda = Agenda(CampaignPlan("c"), ledger, ORIGIN)
    assert len(positions(agenda)) == 3
    load(ledger, numbers(2))
    for position in (1, 2, 3):
        agenda.put(NOW, position, 2, WaitingFor.REDIAL)
    assert positions(agenda) == [(1, 2), (2, 2)]
    assert agenda.is_empty


def test_a_contact_without_an_hour_is_told_of(ledger: CallLedger, caplog: pytest.LogCaptureFixture) -> None:
    load(ledger, ["+17005550100", "+12125550100"])  # the first number tells no time zone
    agenda = Agenda(CampaignPlan("c", window=CallingWindow.parse("00:00-24:00")), ledger, ORIGIN)
    assert positions(agenda) == [(2, 1)]
    assert agenda.is_empty
    assert "Row 1 has no hour" in caplog.text
    assert "5550100" not in caplog.text
