"""The preview of a campaign: all that the campaign would do, and nobody is called."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_voiceinfra.dialling import clocks
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.rules.suppressions import Suppression
from airflow_provider_voiceinfra.operators.voiceinfra import (
    VoiceInfraCampaignOperator,
    VoiceInfraCampaignPreviewOperator,
    VoiceInfraOutboundCallOperator,
)
from airflow_provider_voiceinfra.rules.rule_set import Rules, RuleSet
from tests.airflow_task import TaskInstance, task_context
from tests.sandbox_process import SandboxProcess

NEW_YORK, CHICAGO, LOS_ANGELES = "+12125550100", "+13125550100", "+12135550100"
# Nine o'clock in New York, eight in Chicago, six in Los Angeles.
MORNING = datetime(2026, 3, 2, 14, tzinfo=timezone.utc)


@pytest.fixture(autouse=True)
def morning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "utc_now", lambda: MORNING)


def rows(*numbers: str) -> list[dict[str, str]]:
    return [{"to_number": number, "name": f"Caller {place}"} for place, number in enumerate(numbers)]


def preview(contacts: Any, **options: Any) -> dict[str, Any]:
    operator = VoiceInfraCampaignPreviewOperator(task_id="preview", contacts=contacts, **options)
    operator.render_template_fields({})
    found = operator.execute(task_context(TaskInstance(task_id="preview")))
    assert isinstance(found, dict)
    return found


def test_rows_are_counted_by_what_would_become_of_them(sandbox: SandboxProcess, ledger: CallLedger) -> None:
    ledger.suppressions.add([Suppression(CHICAGO)])
    VoiceInfraOutboundCallOperator(task_id="call", to_number=LOS_ANGELES).execute(task_context())
    before = sandbox.counts()

    found = preview(
        [*rows(NEW_YORK, NEW_YORK, "12", CHICAGO, LOS_ANGELES, "+12125550101", "+12125550102")],
        call_cap="1/24h",
        do_not_call=["+12125550102"],
    )

    counts = (
        "contacts",
        "later_by_call_cap",
        "duplicates",
        "invalid",
        "do_not_call",
        "suppressed",
        "expired",
    )
    assert {name: found[name] for name in counts} == {
        "contacts": 3, "later_by_call_cap": 1, "duplicates": 1, "invalid": 1, "do_not_call": 1,
        "suppressed": 1, "expired": 0,
    }  # fmt: skip
    assert found["open_now"] == 2
    assert "1 of them have to wait until a cap allows it." in found["text"]
    assert found["left_out"][0].startswith("row 2 (+1212***0100): to_number is that of an earlier row")
    assert sandbox.counts() == before
    assert ledger.campaigns.get("outreach/manual__2026-03-01/preview") is None


def test_opening_lines_are_those_that_would_be_spoken() -> None:
    found = preview(rows(NEW_YORK, CHICAGO), first_message="Hello {name}.", samples=1)

    assert found["first_messages"] == ["Hello Caller 0."]
    assert "> Hello Caller 0." in found["text"]
    assert preview(rows(NEW_YORK), first_message="Hello {name}.", samples=0)["first_messages"] == []


def test_hours_are_told_by_zone() -> None:
    found = preview(rows(NEW_YORK, CHICAGO, LOS_ANGELES), calling_window="08:30-20:00")

    assert found["open_now"] == 1
    hours = {one["zones"]: (one["opens_at"], one["closes_at"]) for one in found["hours"]}
    assert hours == {
        "America/New_York": (None, "2026-03-03T01:00+00:00"),
        "America/Chicago": ("2026-03-02T14:30+00:00", "2026-03-03T02:00+00:00"),
        "America/Los_Angeles": ("2026-03-02T16:30+00:00", "2026-03-03T04:00+00:00"),
    }
    assert "| America/New_York | 1 | open now |" in found["text"]


def test_who_can_only_be_called_after_the_deadline_is_not_counted() -> None:
    deadline = (MORNING + timedelta(hours=1)).isoformat()

    found = preview(rows(NEW_YORK, CHICAGO, LOS_ANGELES), calling_window="08:30-20:00", deadline=deadline)

    assert (found["contacts"], found["expired"], found["deadline"]) == (2, 1, deadline)
    assert "Left out: 1 expired." in found["text"]
    assert f"Nobody is called from {deadline} on." in found["text"]


def test_suppression_that_ends_before_the_hours_begin_leaves_nobody_out(
    ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(timezone.utc)
    for number, hours in ((LOS_ANGELES, 1), (CHICAGO, 30)):
        ledger.suppressions.add([Suppression(number, ends_at=now + timedelta(hours=hours))])
    monkeypatch.setattr(clocks, "utc_now", lambda: now)
    opens = now + timedelta(hours=4)
    window = f"{opens:%H}:00-{(opens + timedelta(hours=1)):%H}:00 UTC"

    found = preview(rows(LOS_ANGELES, CHICAGO), calling_window=window.replace("-00:00", "-24:00"))

    assert (found["contacts"], found["suppressed"]) == (1, 1)


@pytest.mark.parametrize(
    ("limits", "minutes"),
    [
        ({"max_active_calls": 1}, 2.0),
        ({"max_active_calls": 3}, 1.0),
        ({"max_active_calls": 4, "max_calls_per_second": 0.01}, 6.7),
    ],
)
def test_duration_follows_from_lines_and_rate(limits: dict[str, Any], minutes: float) -> None:
    contacts = rows(*(f"+121255501{line:02d}" for line in range(4)))

    assert preview(contacts, call_seconds=30, **limits)["expected_minutes"] == minutes


def test_it_takes_what_the_campaign_takes_and_refuses_what_that_refuses(sandbox: SandboxProcess) -> None:
    options: dict[str, Any] = {"contacts": rows(NEW_YORK), "first_message": "Hello {nmae}."}
    words = []
    for kind in (VoiceInfraCampaignOperator, VoiceInfraCampaignPreviewOperator):
        with pytest.raises(AirflowFailException, match="placeholder") as caught:
            kind(task_id="campaign", **options).execute(task_context())
        words.append(str(caught.value))
    assert words[0] == words[1]
    assert sandbox.counts()["requests"] == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"contacts": rows("12")}, "none of the 1 contacts can be called"),
        ({"contacts": rows(NEW_YORK), "results_path": "/tmp/results.pdf"}, "results_path"),
    ],
)
def test_what_the_campaign_refuses_before_its_first_call_is_refused(
    sandbox: SandboxProcess, options: dict[str, Any], words: str
) -> None:
    for kind in (VoiceInfraCampaignOperator, VoiceInfraCampaignPreviewOperator):
        with pytest.raises(AirflowFailException, match=words):
            kind(task_id="campaign", **options).execute(task_context())
    assert sandbox.counts()["requests"] == 0


def test_restored_ledger_is_refused_as_by_the_campaign(ledger: CallLedger) -> None:
    now = datetime.now(timezone.utc)
    ledger.quarantines.begin(now - timedelta(hours=2), now + timedelta(hours=1))
    with pytest.raises(AirflowFailException, match="the ledger was restored"):
        preview(rows(NEW_YORK))


def test_what_contacts_bring_is_shown_as_it_is_and_without_numbers() -> None:
    name = "Bob\n\n# 0 people **approved** ![x](https://example.com/x.png)"
    found = preview([{"to_number": NEW_YORK, "name": name}], first_message="Hello {name}, call {to_number}.")

    assert NEW_YORK not in str(found)
    assert "\n# 0" not in found["text"]
    assert r"\# 0 people \*\*approved\*\* \!\[x\]\(https://example.com/x.png\)" in found["text"]


def test_people_of_zones_that_are_not_listed_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_voiceinfra.campaigns.preview._MOST_ZONES", 1)

    found = preview(rows(NEW_YORK, "+12125550101", LOS_ANGELES), calling_window="08:30-20:00")

    assert [one["contacts"] for one in found["hours"]] == [2]
    assert "| other zones | 1 | | |" in found["text"]


def test_of_several_caps_the_one_that_is_free_last_says_when(ledger: CallLedger) -> None:
    VoiceInfraOutboundCallOperator(task_id="call", to_number=NEW_YORK).execute(task_context())
    now = datetime.now(timezone.utc)
    rules = RuleSet(Rules.parse({"call_cap": "1/1h, 1/7d"}))

    against = ledger.suppressions.against([NEW_YORK], conn_id="voiceinfra_default", rules=rules, now=now)

    why = against[NEW_YORK]
    assert why.code == "call_cap"
    assert why.allowed_from is not None
    assert why.allowed_from > now + timedelta(days=6)


@pytest.mark.parametrize("samples", [-1, 1.5, "3"])
def test_samples_that_are_no_number_are_refused_when_the_dag_is_read(samples: Any) -> None:
    with pytest.raises(ValueError, match="samples must be a whole number from 0 on"):
        VoiceInfraCampaignPreviewOperator(task_id="preview", contacts=[], samples=samples)
