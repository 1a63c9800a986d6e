"""The report of a campaign: one result for each row, from what the ledger holds, and numbers that add up."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_voiceinfra.campaigns.plan import CampaignPlan, RedialPolicy
from airflow_provider_voiceinfra.campaigns.reporting.results import (
    COLUMNS,
    ContactResult,
    Tally,
    contact_results,
)
from airflow_provider_voiceinfra.exceptions import (
    ApiUnreachableError,
    CallNotAllowedError,
    NotFoundError,
    UnauthorizedError,
)
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.records import ContactEntry
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin
from tests.campaigns.live import adds_up
from tests.ledger.examples import running
from tests.support.completions import complete

CAMPAIGN = "spring"
TASK = CallOrigin("dag", "run", "call", -1, 1)
PLAN = CampaignPlan(CAMPAIGN, redial=RedialPolicy.parse({"waits": [0], "attempts": 3}))


class Campaign:
    """A campaign in a ledger, whose calls go as the test says."""

    def __init__(self, url: str) -> None:
        self.ledger = CallLedger(url)
        self.ledger.campaigns.take(CAMPAIGN, conn_id="voiceinfra_default", origin=TASK)

    def load(self, *names: str, **skipped: str) -> None:
        """Store contacts by their keys, and then rows that are skipped, each with its reason."""
        rows = [
            ContactEntry(0, row, name, {"to_number": f"+141555501{row:02d}", "agent_id": "a"}, None)
            for row, name in enumerate(names, 1)
        ]
        for reason, message in skipped.items():
            rows.append(ContactEntry(0, len(rows) + 1, None, None, None, reason, message))
        self.ledger.campaigns.load_contacts(
            CAMPAIGN, rows, loaded_by="run", runner=running(self.ledger, CAMPAIGN)
        )

    def claim(self, name: str, attempt: int = 1) -> CallEntry:
        [contact] = (one for one in self.ledger.campaigns.all_contacts(CAMPAIGN) if one.contact_key == name)
        origin = CallOrigin(
            campaign_id=CAMPAIGN, contact_key=name, position=contact.position, attempt=attempt
        )
        entry, won = self.ledger.claim(
            f"{name}/{attempt}", contact.call, conn_id="voiceinfra_default", origin=origin
        )
        assert won
        return entry

    def place(self, name: str, attempt: int = 1, outcome: str | None = "", **fields: Any) -> None:
        """Place a call; it ends with an outcome unless that is empty."""
        call_id = f"{name}-{attempt}"
        self.ledger.accept(self.claim(name, attempt), call_id)
        if outcome != "":
            complete(self.ledger, call_id, outcome, **fields)

    def refuse(self, name: str, code: str, attempt: int = 1) -> None:
        self.ledger.refuse(self.claim(name, attempt), code, f"said {code}")

    def lose(self, name: str) -> None:
        self.ledger.mark_unknown(self.claim(name), "answer_lost", "the connection was cut")

    def results(self) -> tuple[list[ContactResult], dict[str, int]]:
        self.tally = Tally()
        found = list(self.tally.count(contact_results(self.ledger, PLAN, unplaced="expired")))
        return found, self.tally.summary()

    def refusal(self) -> str | None:
        self.results()
        return self.tally.refusal


@pytest.fixture
def campaign(ledger_url: str) -> Campaign:
    return Campaign(ledger_url)


def told(result: ContactResult) -> tuple[str | None, str, int, str | None]:
    return result.contact.contact_key, result.outcome, result.attempts, result.call_id


def test_every_row_has_one_result_whatever_became_of_it(campaign: Campaign) -> None:
    campaign.load(
        *("answered", "redialled", "failed", "odd", "no word", "number", "agent", "lost", "claimed"),
        *("on the phone", "rate", "second refused", "second limited", "nobody"),
        invalid="to_number is empty",
        duplicate="to_number is that of an earlier row",
        do_not_call="to_number is on the do-not-call list",
    )
    campaign.place("answered", outcome="answered")
    campaign.place("redialled", 1, "voicemail")
    campaign.place("redialled", 2, "answered")
    for attempt in (1, 2, 3):
        campaign.place("failed", attempt, "failed")
    campaign.place("odd", outcome="busy")
    campaign.place("no word", outcome=None)
    campaign.refuse("number", "invalid_phone")
    campaign.refuse("agent", NotFoundError.default_code)
    campaign.lose("lost")
    campaign.claim("claimed")
    campaign.place("on the phone")
    campaign.refuse("rate", ApiUnreachableError.default_code)
    campaign.place("second refused", 1, "voicemail")
    campaign.refuse("second refused", "invalid_phone", 2)
    campaign.place("second limited", 1, "voicemail")
    campaign.refuse("second limited", UnauthorizedError.default_code, 2)

    results, summary = campaign.results()

    assert [told(result) for result in results] == [
        ("answered", "answered", 1, "answered-1"),
        ("redialled", "answered", 2, "redialled-2"),
        ("failed", "failed", 3, "failed-3"),
        ("odd", "busy", 1, "odd-1"),
        ("no word", "unknown", 1, "no word-1"),
        ("number", "refused", 0, None),
        ("agent", "refused", 0, None),
        ("lost", "unknown", 0, None),
        ("claimed", "unknown", 0, None),
        ("on the phone", "unknown", 1, "on the phone-1"),
        ("rate", "expired", 0, None),
        ("second refused", "voicemail", 1, "second refused-1"),
        ("second limited", "voicemail", 1, "second limited-1"),
        ("nobody", "expired", 0, None),
        (None, "invalid", 0, None),
        (None, "duplicate", 0, None),
        (None, "do_not_call", 0, None),
    ]
    assert summary == {
        "contacts": 17,
        "invalid": 1,
        "duplicates": 1,
        "do_not_call": 1,
        "withdrawn": 0,
        "suppressed": 0,
        "placed": 8,
        "answered": 2,
        "voicemail": 2,
        "failed": 1,
        "refused": 2,
        "unknown": 4,
        "expired": 2,
        "cancelled": 0,
        "other": 1,
        "attempts": 11,
    }
    assert adds_up(summary)
    reasons = {result.contact.contact_key or result.outcome: result.reason for result in results}
    assert reasons["second refused"] == "the API refused a redial: said invalid_phone"
    assert reasons["agent"] == "the API refused the call: said not_found"
    assert reasons["nobody"] == "nobody was called before the campaign ended"
    assert reasons["invalid"] == "to_number is empty"
    assert reasons["answered"] is None


def test_a_contact_that_was_withdrawn_keeps_what_was_said_to_it(campaign: Campaign) -> None:
    campaign.load(
        "called", "on the phone", "lost", "refused", "untried", "stays", invalid="to_number is empty"
    )
    campaign.place("called", outcome="answered")
    campaign.place("on the phone")
    campaign.lose("lost")
    campaign.refuse("refused", NotFoundError.default_code)
    campaign.load("stays")
    results, summary = campaign.results()
    assert [(result.contact.contact_key, result.outcome) for result in results] == [
        ("called", "answered"),
        ("on the phone", "unknown"),
        ("lost", "unknown"),
        ("refused", "withdrawn"),
        ("untried", "withdrawn"),
        ("stays", "expired"),
    ]
    assert (summary["withdrawn"], summary["refused"], summary["invalid"]) == (2, 0, 0)
    assert adds_up(summary)


def test_calls_to_contacts_that_are_gone_make_no_result(campaign: Campaign) -> None:
    campaign.load("first", "second")
    campaign.place("first", outcome="answered")
    campaign.place("second", outcome="answered")
    campaign.ledger.purge(datetime.now(timezone.utc) + timedelta(minutes=1))
    assert campaign.results()[0] == []
    campaign.load("third")
    [result] = campaign.results()[0]
    assert told(result) == ("third", "expired", 0, None)


def test_a_line_holds_the_record_of_the_last_call_without_its_transcript(campaign: Campaign) -> None:
    campaign.load("one")
    campaign.place("one", 1, "voicemail", duration_seconds=3, lead_score=1)
    campaign.place(
        *("one", 2, "answered"),
        duration_seconds=42,
        start_time="2026-03-01T12:00:00Z",
        end_time="2026-03-01T12:00:42Z",
        recording_url="http://127.0.0.1/r.wav",
        summary="Said yes.",
        transcript="Agent: Hello.",
        reason="theirs",
        data={"of": "theirs"},
        custom={"lead_score": 87},
    )
    [result] = campaign.results()[0]
    result = replace(result, contact=replace(result.contact, consent="form 12"))
    line = result.to_dict()
    received = line["data"].pop("received_at")
    assert datetime.fromisoformat(received).tzinfo is not None
    assert tuple(line) == COLUMNS
    assert line == {
        "row": 1,
        "contact_key": "one",
        "to_number": "+14155550101",
        "outcome": "answered",
        "reason": None,
        "attempts": 2,
        "call_id": "one-2",
        "agent_id": "a",
        "from_number": None,
        "duration_seconds": 42,
        "start_time": "2026-03-01T12:00:00Z",
        "end_time": "2026-03-01T12:00:42Z",
        "recording_url": "http://127.0.0.1/r.wav",
        "summary": "Said yes.",
        "consent": "form 12",
        "data": {"custom": {"lead_score": 87}, "reason": "theirs", "data": {"of": "theirs"}},
    }


def test_more_contacts_than_are_read_at_a_time_all_have_their_own_record(campaign: Campaign) -> None:
    names = [f"contact {number}" for number in range(1, 100)]
    campaign.load(*names)
    for name in names[::9]:
        campaign.place(name, outcome="answered", summary=f"This is {name}.")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("airflow_provider_voiceinfra.campaigns.reporting.results._BATCH", 7)
        results, summary = campaign.results()
    assert [result.contact.contact_key for result in results] == names
    for result in results:
        said = result.to_dict()["summary"]
        assert said == (f"This is {result.contact.contact_key}." if result.attempts else None)
    assert (summary["contacts"], summary["answered"], summary["expired"]) == (99, 11, 88)


# Whether the API took anybody.


def test_a_campaign_that_the_api_refused_as_a_whole_says_why(campaign: Campaign) -> None:
    campaign.load(invalid="to_number is empty")
    assert campaign.refusal() is None  # there is nobody
    campaign.load("one", "two", invalid="to_number is empty")
    assert campaign.refusal() is None  # nobody was dialled
    campaign.refuse("one", NotFoundError.default_code)
    assert campaign.refusal() is None
    campaign.refuse("two", NotFoundError.default_code)
    assert campaign.refusal() == "the API refused the call: said not_found"


@pytest.mark.parametrize(
    "happen",
    [
        lambda campaign: campaign.place("two"),
        lambda campaign: (campaign.place("two", 1, "voicemail"), campaign.refuse("two", "not_found", 2)),
        lambda campaign: campaign.lose("two"),
        lambda campaign: campaign.refuse("two", "invalid_phone"),
        lambda campaign: campaign.refuse("two", "rate_limited"),
    ],
    ids=["taken", "taken before", "lost", "bad number", "limited"],
)
def test_one_in_which_something_else_happened_was_not_refused(campaign: Campaign, happen: Any) -> None:
    campaign.load("one", "two")
    campaign.refuse("one", NotFoundError.default_code)
    happen(campaign)
    assert campaign.refusal() is None


def test_contacts_that_were_suppressed_while_it_ran_are_told_apart_from_its_own_list(
    campaign: Campaign,
) -> None:
    campaign.load("suppressed", "before a redial", do_not_call="to_number is on the do-not-call list")
    campaign.refuse("suppressed", CallNotAllowedError.SUPPRESSED)
    campaign.place("before a redial", 1, "voicemail")
    campaign.refuse("before a redial", CallNotAllowedError.SUPPRESSED, 2)

    results, summary = campaign.results()

    assert [(result.outcome, result.reason) for result in results] == [
        ("do_not_call", "said suppressed"),
        ("voicemail", "not called again: said suppressed"),
        ("do_not_call", "to_number is on the do-not-call list"),
    ]
    assert (summary["contacts"], summary["do_not_call"], summary["suppressed"]) == (3, 2, 1)
