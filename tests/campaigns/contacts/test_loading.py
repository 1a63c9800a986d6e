"""Contacts on their way into the ledger: as a whole or not at all, with what was left out."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_voiceinfra.campaigns.contacts.loading import ContactLoader
from airflow_provider_voiceinfra.campaigns.contacts.reader import ContactReader
from airflow_provider_voiceinfra.exceptions import ContactsError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.ownership import Ownership
from airflow_provider_voiceinfra.ledger.campaigns.records import ContactEntry
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from airflow_provider_voiceinfra.rules.calling_window.hours import CallingHours
from airflow_provider_voiceinfra.rules.calling_window.window import CallingWindow
from airflow_provider_voiceinfra.rules.recipient import Recipient
from tests.ledger.examples import running

CAMPAIGN = "spring"
# Not the number that messages give as an example.
ANN, BOB, CAT = "+14155550142", "+12125550101", "+12025550102"
EXEMPT = "+18005550119"
TOLL_FREE = "+18005550103"  # may be in any zone of North America
SETTINGS: dict[str, Any] = {"agent_id": "agent_demo", "from_number": "+12025550100"}


@pytest.fixture
def ledger(ledger_url: str) -> CallLedger:
    ledger = CallLedger(ledger_url)
    ledger.campaigns.take(
        CAMPAIGN, conn_id="voiceinfra_default", origin=CallOrigin("dag", "run", "call", -1, 1)
    )
    return ledger


def loader(contacts: object, window: str | None = None, **settings: Any) -> ContactLoader:
    require_consent = settings.pop("require_consent", False)
    reader = ContactReader(**{**SETTINGS, **settings})
    hours = CallingHours((CallingWindow.parse(window),) if window else ())
    exempt = {EXEMPT: CallingHours()}
    return ContactLoader(
        contacts, reader, lambda number: exempt.get(number, hours), require_consent=require_consent
    )


def load(ledger: CallLedger, contacts: object, **settings: Any) -> ContactLoader:
    found = loader(contacts, **settings)
    found.load(ledger, Ownership(CAMPAIGN, running(ledger, CAMPAIGN)), loaded_by="run")
    return found


def stored(ledger: CallLedger) -> list[ContactEntry]:
    return list(ledger.campaigns.all_contacts(CAMPAIGN))


def is_loaded(ledger: CallLedger) -> bool:
    entry = ledger.campaigns.get(CAMPAIGN)
    return entry is not None and entry.loaded_by is not None


def rows(*numbers: str, **values: Any) -> list[dict[str, Any]]:
    return [{"to_number": number, **values} for number in numbers]


def test_every_row_is_stored_in_its_place_with_its_call_or_why_there_is_none(ledger: CallLedger) -> None:
    found = load(ledger, rows(ANN, "12", ANN, BOB), variables={"shop": "x"}, do_not_call=[BOB])
    call = {"to_number": ANN, "variables": {"shop": "x"}, **SETTINGS}
    first, *skipped = stored(ledger)
    assert first == ContactEntry(1, 1, ANN, call, None)
    assert [(row.position, row.row_number, row.skipped) for row in skipped] == [
        (2, 2, "invalid"),
        (3, 3, "duplicate"),
        (4, 4, "do_not_call"),
    ]
    assert str(skipped[0].reason).startswith("to_number 12*** has no country code")
    assert skipped[1].reason == "to_number is that of an earlier row"
    assert all(row.contact_key is None and row.request is None for row in skipped)
    assert found.counts == {"": 1, "invalid": 1, "duplicate": 1, "do_not_call": 1}
    assert [str(row) for row in found.shown][1:] == [
        "row 3 (+1415***0142): to_number is that of an earlier row",
        "row 4 (+1212***0101): to_number is on the do-not-call list",
    ]
    assert is_loaded(ledger)


@pytest.mark.parametrize("missing", ["agent_id", "from_number"])
def test_a_row_without_an_agent_or_a_caller_id_is_invalid(ledger: CallLedger, missing: str) -> None:
    own = "agent_own" if missing == "agent_id" else "+12025550111"
    found = load(ledger, [*rows(ANN), *rows(BOB, **{missing: own})], **{missing: None})
    assert [row.skipped for row in stored(ledger)] == ["invalid", None]
    assert str(found.shown[0]) == (
        f"row 1: {missing} is set neither in this row nor in the operator nor in the connection"
    )


# Hours.

DAYTIME = "09:00-11:00"


@pytest.mark.parametrize(
    ("row", "window", "says"),
    [
        ({"to_number": ANN}, DAYTIME, None),
        ({"to_number": ANN}, None, None),
        ({"to_number": TOLL_FREE}, None, None),
        ({"to_number": EXEMPT}, DAYTIME, None),
        ({"to_number": TOLL_FREE}, DAYTIME + " UTC", None),
        ({"to_number": TOLL_FREE, "timezone": "America/Denver"}, DAYTIME, None),
        ({"to_number": TOLL_FREE}, DAYTIME, "time zones, which share no hour of the calling window"),
        ({"to_number": "+870773111632"}, DAYTIME, "has no time zone, so no calling hours are known; pass"),
    ],
)
def test_a_contact_that_has_no_decent_hour_is_invalid_and_told_the_remedy(
    ledger: CallLedger, row: dict[str, Any], window: str | None, says: str | None
) -> None:
    found = load(ledger, [*rows(BOB), row], window=window)
    assert stored(ledger)[1].skipped == (says and "invalid")
    if says:
        assert says in str(found.shown[0])
        assert str(found.shown[0]).endswith("pass timezone, or fill the column timezone")


def test_a_contact_in_a_region_that_the_window_does_not_name_is_invalid(ledger: CallLedger) -> None:
    both = "US-NY 09:00-20:00; US-FL 09:00-18:00"
    found = load(ledger, [*rows(BOB), *rows(CAT, region="US-FL")], window=both)
    assert found.counts == {"": 2}
    found = load(ledger, [*rows(BOB), *rows(ANN)], window="US-NY 09:00-20:00")
    assert "calling_window: the number may be in US-CA, for which the calling window has no part" in str(
        found.shown[0]
    )


def test_a_contact_for_whom_two_weeks_are_off_is_invalid(ledger: CallLedger) -> None:
    days = ", ".join(f"2027-03-{day:02d}" for day in range(1, 20))
    reader, window = ContactReader(**SETTINGS), CallingWindow.parse(f"09:00-20:00; US-NY off {days}")
    found = ContactLoader(
        rows(BOB, ANN),
        reader,
        lambda number: CallingHours((window,)),
        lambda: datetime(2027, 3, 2, tzinfo=timezone.utc),
    )
    found.load(ledger, Ownership(CAMPAIGN, running(ledger, CAMPAIGN)), loaded_by="run")
    assert str(found.shown[0]).endswith(
        "calling_window: is closed for all of the next 14 days, for its days off"
    )
    assert found.counts == {"": 1, "invalid": 1}


# Where they are, and that they agreed.


def test_region_and_consent_are_kept_and_are_no_variables(ledger: CallLedger) -> None:
    load(ledger, rows(ANN, region="us-fl", consent=" form 17, 2026-05-01 ", shop="x"))
    (found,) = stored(ledger)
    assert found.recipient == Recipient(None, "US-FL", "form 17, 2026-05-01")
    assert found.call.variables == {"shop": "x"}


@pytest.mark.parametrize(
    ("region", "says"),
    [
        ("Florida", "region 'Florida' is no region; write a code such as FR or US-FL"),
        ("FL", "did you mean 'US-FL'?"),
        ("UK", "did you mean 'GB'?"),
        ("US-FK", "did you mean 'US-"),
        ("DE-BY", "region 'DE-BY' is no region that is known; of DE write DE as a whole"),
        ("IN", "region 'IN' is a country, and not that of the number; for the state write US-IN"),
        ("CA", "for the state write US-CA"),
        (5, "region must be text, not int"),
    ],
)
def test_an_unknown_region_is_invalid_with_what_may_be_meant(
    ledger: CallLedger, region: object, says: str
) -> None:
    found = load(ledger, [*rows(BOB), *rows(ANN, region=region)])
    assert says in str(found.shown[0])
    assert str(found.shown[0]).startswith("row 2 (+1415***0142): region ")


def test_who_must_have_consented_is_invalid_without_a_proof(ledger: CallLedger) -> None:
    mixed = [*rows(ANN, consent="form 17"), *rows(BOB), *rows(CAT, consent=" ")]
    assert load(ledger, mixed).counts == {"": 3}
    found = load(ledger, mixed, require_consent=True)
    assert found.counts == {"": 1, "invalid": 2}
    assert str(found.shown[0]).startswith("row 2: consent is empty; write ")


def test_a_proof_of_consent_that_is_too_long_is_invalid(ledger: CallLedger) -> None:
    found = load(ledger, [*rows(ANN, consent="x" * 255), *rows(BOB, consent="x" * 256)])
    assert found.counts == {"": 1, "invalid": 1}
    assert "consent has 256 characters, and at most 255 are kept" in str(found.shown[0])


# As a whole.


@pytest.mark.parametrize("contacts", [rows("12"), rows("12", "13", "14", "15")])
def test_contacts_that_are_all_invalid_are_refused_with_the_first(ledger: CallLedger, contacts: Any) -> None:
    with pytest.raises(ContactsError) as caught:
        load(ledger, contacts)
    assert str(caught.value).startswith(
        f"none of the {len(contacts)} contacts can be called: row 1: to_number "
    )
    assert str(caught.value).count("row ") == min(3, len(contacts))
    assert not is_loaded(ledger)


@pytest.mark.parametrize("contacts", [[], rows(BOB), rows("12", BOB)])
def test_contacts_of_whom_nobody_is_to_be_called_are_no_error(ledger: CallLedger, contacts: Any) -> None:
    load(ledger, contacts, do_not_call=[BOB])
    assert len(stored(ledger)) == len(contacts)
    assert is_loaded(ledger)


def test_a_file_that_breaks_off_does_not_count_and_can_be_fixed(ledger: CallLedger, tmp_path: Path) -> None:
    path = tmp_path / "contacts.csv"
    many = "".join(f"+1{area}5550{line},x\n" for area in (212, 213, 214) for line in range(100, 200))
    path.write_bytes(f"to_number,name\n{many}".encode() + "+12155550100,Jos\u00e9\n".encode("cp1252"))
    with pytest.raises(ContactsError, match="row 302: column 2: the byte 0xE9 is not UTF-8"):
        load(ledger, str(path))
    assert not is_loaded(ledger)
    path.write_text("to_number,name\n+12155550100,Jos\u00e9\n", encoding="utf-8")
    load(ledger, str(path))
    assert [row.contact_key for row in stored(ledger) if not row.skipped] == ["+12155550100"]
    assert is_loaded(ledger)


# Refusing invalid rows.


def test_a_strict_load_lists_the_invalid_rows_and_stores_nothing(ledger: CallLedger) -> None:
    with pytest.raises(ContactsError) as caught:
        loader(rows(ANN, "12", ANN, "+1415")).refuse_invalid()
    text = str(caught.value)
    assert text.startswith("2 of the contacts are invalid, and nobody was called: row 2: to_number ")
    assert "; row 4" in text
    assert "row 3" not in text  # a duplicate is no mistake
    assert text.endswith("Fix them, or set invalid_contacts='skip' to call the others.")
    assert stored(ledger) == []


def test_a_strict_load_of_very_many_invalid_rows_says_how_many_more_there_are() -> None:
    with pytest.raises(ContactsError, match=r"50 of the contacts are invalid.*row 20: .*; and 30 more"):
        loader(rows(*["12"] * 50)).refuse_invalid()


def test_rows_that_can_be_read_once_are_stored_after_having_been_checked(ledger: CallLedger) -> None:
    found = loader(iter(rows(ANN, BOB)))
    found.refuse_invalid()
    found.load(ledger, Ownership(CAMPAIGN, running(ledger, CAMPAIGN)), loaded_by="run")
    assert [row.contact_key for row in stored(ledger)] == [ANN, BOB]
    assert found.counts == {"": 2}


# What people read.


@pytest.mark.parametrize(
    "row",
    [
        {"to_number": ANN, "timezone": BOB},
        {"to_number": ANN, "agent_id": BOB + "\n"},
        {"to_number": ANN, "from_number": "call +1 212 555 0101"},
        {"to_number": ANN, "first_message": {BOB: 1}},
        {"to_number": "not +12125550101", "x": 1},
        {"to_number": ANN, "x": {BOB}},
        {"to_number": ANN, BOB: {BOB}},
        # Names that no database holds do not stop a load.
        {"to_number": ANN, "half \ud800": [1, "\ud800"]},
        {"to_number": ANN, "nul \0": "\0"},
    ],
)
def test_no_number_is_shown_whatever_is_wrong_with_its_row(ledger: CallLedger, row: dict[str, Any]) -> None:
    found = load(ledger, [*rows(CAT), row])
    assert [one.skipped for one in stored(ledger)] == [None, "invalid"]
    said = json.dumps([str(one) for one in found.shown] + [one.reason for one in stored(ledger)])
    assert "5550101" not in said
    assert "555 0101" not in said
    assert ANN not in said
