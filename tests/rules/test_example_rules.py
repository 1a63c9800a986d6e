"""The example rules of the documentation can be used as they are, and say what their comments say."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from airflow.configuration import AirflowConfigParser

from airflow_provider_voiceinfra.rules.call_cap import CallCap
from airflow_provider_voiceinfra.rules.calling_window.place import Place
from airflow_provider_voiceinfra.rules.rule_set import NAMES, Rules
from tests.test_docs import real_numbers

DOCS = Path(__file__).resolve().parents[2] / "docs"
FILE = DOCS / "examples" / "rules.cfg"
ZONES = {
    "US-FL": "America/New_York",
    "US-RI": "America/New_York",
    "US-LA": "America/Chicago",
    "US-MS": "America/Chicago",
    "US-NY": "America/New_York",
    "CA": "America/Toronto",
    "FR": "Europe/Paris",
    "DE": "Europe/Berlin",
}


@pytest.fixture(scope="module")
def rules() -> Rules:
    """Return the rules, read from the file as Airflow reads its own."""
    parser = AirflowConfigParser()
    parser.read_string(FILE.read_text())
    assert set(parser.options("voiceinfra")) <= set(NAMES)
    return Rules.parse({name: parser.get("voiceinfra", name, fallback=None) for name in NAMES})


def test_everything_but_exempt_numbers_is_set(rules: Rules) -> None:
    assert rules.calling_window is not None
    assert rules.call_caps == (CallCap(3, timedelta(days=1)), CallCap(7, timedelta(days=7)))
    assert rules.opt_out is not None
    assert rules.opt_out.is_in({"extracted_data": {"opt_out": True}})
    assert rules.require_consent
    assert not rules.exempt_numbers


@pytest.mark.parametrize(
    ("region", "local", "is_open"),
    [
        ("US-FL", "2026-12-01T07:59", False),
        ("US-FL", "2026-12-01T08:00", True),
        ("US-FL", "2026-12-01T19:59", True),
        ("US-FL", "2026-12-01T20:00", False),
        pytest.param("US-NY", "2026-12-01T20:00", False, id="narrower than the federal hours"),
        pytest.param("US-NY", "2026-12-06T12:00", False, id="a Sunday"),
        pytest.param("US-RI", "2026-12-05T17:30", False, id="a Saturday in Rhode Island"),
        pytest.param("US-RI", "2027-08-09T12:00", False, id="Victory Day"),
        pytest.param("US-LA", "2027-02-09T12:00", False, id="Mardi Gras"),
        pytest.param("US-LA", "2027-02-10T12:00", True, id="the day after Mardi Gras"),
        pytest.param("US-MS", "2026-12-06T12:00", False, id="a Sunday in Mississippi"),
        pytest.param("CA", "2026-12-05T18:00", False, id="a Saturday in Canada"),
        ("FR", "2026-12-01T12:59", True),
        ("FR", "2026-12-01T13:00", False),
        pytest.param("FR", "2027-07-14T12:00", False, id="Bastille Day"),
        pytest.param("FR", "2026-12-25T12:00", False, id="off for everybody"),
        pytest.param("DE", "2026-12-01T12:00", False, id="no part for it"),
    ],
)
def test_hours_are_those_of_the_comments(rules: Rules, region: str, local: str, is_open: bool) -> None:
    zone = ZONES[region]
    moment = datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone))

    assert rules.calling_window is not None
    assert rules.calling_window.is_open(moment, Place((region,), (zone,))) is is_open


def test_each_part_comes_after_a_comment_and_each_source_says_how_sure_it_is() -> None:
    text = FILE.read_text()
    [window] = re.findall(r"^calling_window =\n((?: .*\n)+)", text, flags=re.MULTILINE)

    assert window.lstrip().startswith("#")
    for comment in re.findall(r"((?: +#.*\n)+)", window)[:-1]:  # the last one names days of your own
        assert re.search(r"\[(text|secondary)\b", comment), comment
    assert "not a preset" in text
    assert real_numbers(text) == []


@pytest.mark.parametrize("page", ["compliance.md", "rules.md"])
def test_the_documentation_leads_there(page: str) -> None:
    assert "(examples/rules.cfg)" in (DOCS / page).read_text()
