"""What allowed a call can be read years later."""

from __future__ import annotations

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from airflow_provider_voiceinfra.rules.rule_set import Rules, RuleSet


def test_rules_of_a_call_are_found_by_its_id_for_them(ledger: CallLedger) -> None:
    rules = RuleSet(
        Rules.parse({"calling_window": "08:00-20:00"}),
        Rules.parse({"call_cap": "3/24h", "exempt_numbers": "+14155550100"}),
    )
    call = OutboundCall("+14155550123", "agent_1", "+12025550100")
    entry, _ = ledger.claim("key", call, conn_id="sales", origin=CallOrigin(), rules=rules)
    kept = ledger.rules.get(str(entry.rules_id))
    assert kept is not None
    assert kept.places == {
        "deployment": {"calling_window": "08:00-20:00"},
        "connection": {"call_cap": "3/24h", "exempt_numbers": ["+14155550100"]},
    }
    assert "5550100" not in repr(kept)
    assert ledger.rules.get("0" * 32) is None
