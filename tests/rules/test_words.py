"""Rules are said in words that mean the same; what nobody foresaw stays as it was written."""

from __future__ import annotations

import pytest

from airflow_provider_voiceinfra.rules.rule_set import NAMES, Rules
from airflow_provider_voiceinfra.rules.words import kept_in_words, rules_in_words, window_in_words

LOCAL = "; by the clock where the person is"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("08:00-20:00", f"08:00 to 20:00{LOCAL}"),
        (
            "mon-fri 9:00-20:00; sat 10:00-16:00",
            f"Monday to Friday 9:00 to 20:00; Saturday 10:00 to 16:00{LOCAL}",
        ),
        ("MON,wed 09:00-12:00", f"Monday, Wednesday 09:00 to 12:00{LOCAL}"),
        ("mon 09:00-20:00 America/New_York", "Monday 09:00 to 20:00 by the clock of America/New_York"),
        ("09:00-20:00 UTC", "09:00 to 20:00 by the clock of UTC"),
        ('{"days": "mon-fri", "from": "09:00", "to": "20:00"}', f"Monday to Friday 09:00 to 20:00{LOCAL}"),
        (
            '[{"days": ["sat", "sun"], "from": "10:00", "to": "12:00", "timezone": "Europe/London"}]',
            "Saturday, Sunday 10:00 to 12:00 by the clock of Europe/London",
        ),
        (
            "US-FL 08:00-20:00; off 2026-12-25, 2027-01-01; holidays US-RI",
            f"US-FL 08:00 to 20:00; never on 2026-12-25, 2027-01-01; never on the holidays of US-RI{LOCAL}",
        ),
        (
            '[{"regions": ["US-FL"], "from": "08:00", "to": "20:00"}, {"off": ["2026-12-25"]}]',
            f"US-FL 08:00 to 20:00; never on 2026-12-25{LOCAL}",
        ),
        ("whatever comes next", f"whatever comes next{LOCAL}"),
        ("{no JSON", f"{{no JSON{LOCAL}"),
    ],
)
def test_window(spec: str, words: str) -> None:
    assert window_in_words(spec) == words


def test_every_rule_that_is_set_has_words_and_no_number_is_in_them() -> None:
    rules = Rules.parse(
        {
            "calling_window": "08:00-20:00",
            "call_cap": "1/1h, 3/24h, 7/7d",
            "opt_out": "extracted_data.opt_out = true; stop = yes",
            "exempt_numbers": "+14155550100 +14155550101",
            "require_consent": "true",
        }
    )
    found = {rule.name: rule for rule in rules_in_words(rules)}
    assert tuple(found) == NAMES
    assert found["call_cap"].words == (
        "at most 1 call to one number in any hour and at most 3 calls to one number in any 24 hours and "
        "at most 7 calls to one number in any 7 days"
    )
    assert found["call_cap"].written == "1/1h, 3/24h, 7/7d"
    assert found["opt_out"].words.endswith("extracted_data.opt_out = true or stop = yes")
    assert found["exempt_numbers"].words.startswith("2 numbers are exempt")
    assert "5550100" not in str(found)
    assert rules_in_words(Rules()) == []


def test_kept_rules_of_another_version_are_shown_as_they_are() -> None:
    [cap] = kept_in_words({"call_cap": "5 per moon", "new_rule": True})
    assert cap.words == "5 per moon"
