"""The page of a call says what it was allowed by, or which rule refused it, and from when on it may go."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from fastapi.testclient import TestClient

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.exceptions import CallNotAllowedError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin
from airflow_provider_voiceinfra.ledger.rules.suppressions import Suppression
from airflow_provider_voiceinfra.rules.recipient import Recipient
from airflow_provider_voiceinfra.rules.rule_set import Rules, RuleSet
from airflow_provider_voiceinfra.web.pages.addresses import page_address
from airflow_provider_voiceinfra.web.pages.call.permission import REFUSALS
from tests.web.pages.conftest import VIEWER, Client
from tests.web.pages.reading import shown

NUMBER = "+14155550123"
RULES = RuleSet(
    Rules.parse({"calling_window": "mon-sun 00:00-24:00"}),
    Rules.parse({"call_cap": "3/24h"}),
    Rules.parse({"calling_window": "00:00-24:00 UTC"}),
)


def claim(ledger: CallLedger, number: str = NUMBER, **options: Any) -> CallEntry:
    """Claim a call under rules."""
    call = OutboundCall(number, "agent_1", "+12025550100")
    entry, _ = ledger.claim("key", call, conn_id="sales", origin=CallOrigin("outreach"), **options)
    return entry


def address_of(entry: CallEntry) -> str:
    """Return the address of a call's page."""
    return page_address("call", key=entry.key_hash)


def test_rules_that_allowed_a_call_are_said_in_words(client: TestClient, ledger: CallLedger) -> None:
    entry = claim(ledger, rules=RULES, recipient=Recipient("America/Chicago", "US-TX", "form 17"))
    text = shown(client, address_of(ledger.accept(entry, "call_1")))
    assert "Allowed by" in text
    assert "Of all connections Calling window Monday to Sunday 00:00 to 24:00" in text
    assert "Of the connection Call cap at most 3 calls to one number in any 24 hours" in text
    assert "Of the task Calling window 00:00 to 24:00 by the clock of UTC" in text
    assert f"Rules version {str(entry.rules_id)[:12]}" in text
    assert "Region US-TX Time zone America/Chicago Consent form 17" in text


def test_local_time_is_of_each_zone_that_the_number_may_be_in(client: TestClient, ledger: CallLedger) -> None:
    entry = claim(ledger, recipient=Recipient("Asia/Kolkata"))
    assert entry.dialled_at is not None
    local = entry.dialled_at + timedelta(hours=5, minutes=30)
    assert f"Local time {local:%a %H:%M} Asia/Kolkata" in shown(client, address_of(entry))


def test_number_of_several_zones_has_several_times(client: TestClient, ledger: CallLedger) -> None:
    # +1 800 belongs to no place.
    text = shown(client, address_of(claim(ledger, "+18005550123")))
    times = text.partition("Local time ")[2].partition(" Consent")[0]
    assert "America/New_York" in times or "and " in times
    assert times.count(":") > 1


def test_without_rules_that_is_said(client: TestClient, ledger: CallLedger) -> None:
    text = shown(client, address_of(claim(ledger)))
    assert "Consent none was given" in text
    assert "No rules were in force but the suppressions." in text


def test_number_that_is_exempt_is_said_to_be(client: TestClient, ledger: CallLedger) -> None:
    rules = RuleSet(connection=Rules.parse({"call_cap": "1/24h", "exempt_numbers": f"{NUMBER} +14155550124"}))
    text = shown(client, address_of(claim(ledger, rules=rules)))
    assert "This number is exempt from the calling window and the cap of the connection." in text
    assert "5550124" not in text


def test_visitor_who_may_not_read_the_connection_sees_neither_rules_nor_the_consent(
    client_of: Client, ledger: CallLedger
) -> None:
    entry = claim(ledger, rules=RULES, recipient=Recipient(consent="form 17"))
    text = shown(client_of(VIEWER), address_of(entry))
    assert "Consent given" in text
    assert "form 17" not in text
    assert "at most 3 calls" not in text
    assert "What the rules say is shown to those who may read the connection." in text


def test_suppression_that_refused_a_call_is_named(client: TestClient, ledger: CallLedger) -> None:
    until = datetime.now(timezone.utc) + timedelta(days=1)
    ledger.suppressions.add([Suppression(NUMBER, reason="asked by mail", ends_at=until)])
    with pytest.raises(CallNotAllowedError):
        claim(ledger, rules=RULES)
    [entry] = ledger.calls()
    text = shown(client, address_of(entry))
    assert "a rule did not allow it, and no phone rang. The number was suppressed" in text
    assert "(asked by mail)" in text
    assert f"It would be allowed from {until:%Y-%m-%d %H:%M:%S} UTC on." in text
    assert "Rules that it met" in text


def test_refusal_by_the_api_is_none_of_a_rule(client: TestClient, ledger: CallLedger) -> None:
    entry = claim(ledger, rules=RULES)
    ledger.refuse(entry, "invalid_phone", "It is not valid.")
    text = shown(client, address_of(entry))
    assert "This call was not placed: no phone rang." in text
    assert "a rule did not allow it" not in text
    assert "Allowed by" in text


def test_every_rule_that_refuses_has_words() -> None:
    assert set(REFUSALS) == set(CallNotAllowedError.CODES)
