"""The filter of a list of calls is read from an address and written into one; what is wrong is said."""

from __future__ import annotations

from datetime import datetime, timezone
from urllib.parse import parse_qsl, urlsplit

import pytest
from fastapi import HTTPException

from airflow_provider_voiceinfra.ledger.lists.values import Order
from airflow_provider_voiceinfra.ledger.records import CallState
from airflow_provider_voiceinfra.web.pages.calls.filters import Wanted

EVERYTHING = {
    "conn_id": "sales",
    "dag_id": "nightly outreach & more",
    "run_id": "scheduled__2026-03-01T00:00:00+00:00",
    "campaign_id": "nightly/2026",
    "outcome": "voicemail",
    "state": "accepted",
    "digits": "0123",
    "since": "2026-03-01T08:00:00Z",
    "until": "2026-03-02T08:00:00.250000Z",
    "order": "longest",
}


def query_of(address: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(address).query, keep_blank_values=True))


def test_what_is_written_into_an_address_is_read_from_it() -> None:
    wanted = Wanted.read(EVERYTHING)
    assert query_of(wanted.address()) == EVERYTHING
    assert Wanted.read(query_of(wanted.address("charts"))) == wanted
    assert (wanted.state, wanted.order) == (CallState.ACCEPTED, Order.LONGEST)


def test_fields_that_are_left_empty_or_that_nobody_knows_ask_for_nothing() -> None:
    wanted = Wanted.read(dict.fromkeys(EVERYTHING, " ") | {"zone": "Europe/London", "utm": "x"})
    assert (wanted, wanted.filter, wanted.address()) == (Wanted(), {}, "calls")


@pytest.mark.parametrize(
    ("text", "zone", "utc"),
    [
        ("2026-03-01T08:00", "", (2026, 3, 1, 8)),
        ("2026-03-01T08:00", "America/New_York", (2026, 3, 1, 13)),
        ("2026-07-01T08:00:30", "America/New_York", (2026, 7, 1, 12, 0, 30)),
        ("2026-03-01T08:00:00+05:30", "America/New_York", (2026, 3, 1, 2, 30)),
        ("2026-03-01T08:00Z", "America/New_York", (2026, 3, 1, 8)),
        ("2026-03-01", "UTC", (2026, 3, 1)),
    ],
)
def test_a_time_is_of_the_zone_that_the_page_shows_unless_it_names_its_own(
    text: str, zone: str, utc: tuple[int, int, int]
) -> None:
    assert Wanted.read({"since": text, "zone": zone}).since == datetime(*utc, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"digits": "123"}, "Number (digits) .* last four digits, and no more"),
        ({"digits": "14155550123"}, "Number (digits) .* last four digits"),
        ({"digits": "٠١٢٣"}, "Number (digits) .* last four digits"),
        ({"digits": "0123' OR 1=1"}, "Number (digits) .* last four digits"),
        ({"state": "lost"}, "State (state) .* one of claimed, accepted, refused, unknown"),
        ({"order": "random"}, "Order (order) .* one of newest, oldest, longest, shortest"),
        ({"since": "yesterday"}, "From (since) .* such as 2026-03-01T08:00"),
        ({"since": "2026-02-30T08:00"}, "From (since) .* such as"),
        ({"since": "0001-01-01T00:00+14:00"}, "From (since) .* such as"),
        ({"until": "9999-12-31T23:59-14:00"}, "Until (until) .* such as"),
        ({"since": "2026-03-01T08:00", "zone": "Mars/Base"}, "Zone (zone) .* name of a time zone"),
        ({"since": "2026-03-01T08:00", "zone": "../../etc/passwd"}, "Zone (zone) .* name of a time zone"),
        ({"since": "2026-03-01T08:00", "until": "2026-03-01T08:00"}, "Until (until) .* later than From"),
        ({"dag_id": "x" * 251}, "DAG (dag_id) .* at most 250 characters"),
        ({"run_id": "a\x00b"}, "Run (run_id) .* a character that no name has"),
        ({"conn_id": "a\ud800b"}, "Connection (conn_id) .* a character that no name has"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_field_and_the_remedy(
    query: dict[str, str], says: str
) -> None:
    with pytest.raises(HTTPException) as refused:
        Wanted.read(query)
    assert refused.value.status_code == 400
    label, remedy = says.split(" .* ")
    assert str(refused.value.detail).startswith(f"{label} in this address cannot be used: ")
    assert remedy in str(refused.value.detail)


def test_each_part_of_a_filter_is_told_and_can_be_taken_away() -> None:
    chips = {chip[0]: chip for chip in Wanted.read(EVERYTHING).chips}
    assert list(chips) == [name for name in EVERYTHING if name != "order"]
    assert chips["digits"][1:3] == ("Number", "ends in 0123")
    assert chips["since"][2] == datetime(2026, 3, 1, 8, tzinfo=timezone.utc)
    for name, (_, _, _, without) in chips.items():
        assert query_of(without) == {key: value for key, value in EVERYTHING.items() if key != name}
    ((_, _, over, _),) = Wanted.read({"outcome": "open"}).chips
    assert over == "not over yet"
