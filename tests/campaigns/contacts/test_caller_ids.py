"""Caller IDs: a contact sees one of their own area code, else one of all, and always the same."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from airflow_provider_voiceinfra.campaigns.contacts.caller_ids import CallerIds, area_of
from airflow_provider_voiceinfra.campaigns.contacts.reader import ContactReader
from airflow_provider_voiceinfra.exceptions import ContactsError

FROM_415, FROM_212, FROM_ABROAD = "+14155550199", "+12125550199", "+442071838750"
SEVERAL = [FROM_415, FROM_212, FROM_ABROAD]


@pytest.mark.parametrize(
    ("number", "area"),
    [("+14155550100", "+1415"), ("+442071838750", "+4420"), ("+4915112345678", None), ("+18005550100", None)],
)
def test_area_is_country_and_area_code(number: str, area: str | None) -> None:
    assert area_of(number) == area


def test_contact_is_called_from_their_own_area() -> None:
    chosen = CallerIds(SEVERAL)

    assert chosen.of("+14155550100") == FROM_415
    assert chosen.of("+12125550123") == FROM_212
    assert chosen.of("+442079460000") == FROM_ABROAD


def test_contacts_elsewhere_are_spread_evenly_and_see_the_same_number_each_time() -> None:
    numbers = [f"+1303555{line:04d}" for line in range(300)]
    first = [CallerIds(SEVERAL).of(number) for number in numbers]

    assert first == [CallerIds([*reversed(SEVERAL), FROM_415]).of(number) for number in numbers]
    assert min(Counter(first).values()) > 70
    assert Counter(first).keys() == set(SEVERAL)


def test_one_more_caller_id_changes_few_contacts() -> None:
    numbers = [f"+1303555{line:04d}" for line in range(300)]
    before, after = CallerIds(SEVERAL[:2]), CallerIds(SEVERAL)

    changed = {after.of(number) for number in numbers if before.of(number) != after.of(number)}
    assert changed == {SEVERAL[2]}


def test_several_of_one_area_share_its_contacts() -> None:
    chosen = CallerIds([FROM_415, "+14155550198", FROM_212])

    assert {chosen.of(f"+1415555{line:04d}") for line in range(10)} == {FROM_415, "+14155550198"}


def read(caller_ids: Any, **row: str) -> Any:
    reader = ContactReader(agent_id="agent", from_number=caller_ids)
    [entry] = reader.read([{"to_number": "+12125550100", **row}])
    assert entry.request is not None
    return entry.request["from_number"]


def test_row_gets_the_caller_id_of_its_area_unless_it_names_one() -> None:
    assert read(SEVERAL) == FROM_212
    assert read(tuple(SEVERAL)) == read(frozenset(SEVERAL)) == FROM_212
    assert read(SEVERAL, from_number="+13125550100") == "+13125550100"
    assert read(FROM_415) == FROM_415


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ([], "from_number is an empty list"),
        ([FROM_415, ""], "from_number is a list with an empty value"),
        ([FROM_415, "12"], "from_number"),
    ],
)
def test_list_that_cannot_be_used_is_refused(written: Any, words: str) -> None:
    with pytest.raises(ContactsError, match=words.replace(" is", ":? is")):
        read(written)
