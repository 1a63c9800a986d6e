"""The page /ui/suppressions: who must not be called, how one is found, and who may change that."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from fastapi.testclient import TestClient

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.rules.suppressions import Suppression, SuppressionsLedger
from airflow_provider_voiceinfra.web.pages.suppressions import forms
from airflow_provider_voiceinfra.web.pages.suppressions.page import PAGE_SIZE
from tests.web.pages.conftest import OWN, PARTIAL, Client, FakeVisitor
from tests.web.pages.reading import elements_of, links_of, shown, text_of

NUMBER, OTHER = "+14155550123", "+14155550124"
SALES = FakeVisitor("sam", connections=("sales",), editable_connections=("sales",))
"""Somebody who may read and change one connection, and nothing in general."""
READER = FakeVisitor("rae", editable_connections=())
"""Somebody who may read every connection, and change none."""


@pytest.fixture(autouse=True)
def _connections(monkeypatch: pytest.MonkeyPatch) -> None:
    for conn_id in ("VOICEINFRA_DEFAULT", "SALES"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id}", '{"conn_type": "voiceinfra", "password": "key"}')


def change(client: TestClient, what: str, status: int = 200, **data: str) -> str:
    """Ask for a change as the page does, and return what a person reads of the answer."""
    answer = client.post(f"suppressions/{what}", data=data, headers=OWN | PARTIAL)
    assert answer.status_code == status, text_of(answer.text)
    return text_of(answer.text)


def upload(client: TestClient, name: str, content: bytes, status: int = 200, **data: str) -> str:
    """Import a file as the page does."""
    files = {"file": (name, content)}
    answer = client.post("suppressions/import", files=files, data=data, headers=OWN | PARTIAL)
    assert answer.status_code == status, text_of(answer.text)
    return text_of(answer.text)


def numbers_in(ledger: CallLedger, conn_id: str | None = None) -> set[str | None]:
    """Return the numbers that are suppressed for a connection, or for all."""
    return {one.number for one in ledger.suppressions.page(limit=1000) if one.conn_id == conn_id}


def test_list_is_of_those_in_force_with_all_that_is_known(client: TestClient, ledger: CallLedger) -> None:
    until = datetime.now(timezone.utc) + timedelta(days=1)
    ledger.suppressions.add(
        [
            Suppression(NUMBER, reason="opted out", source="webhook", added_by="call_7"),
            Suppression(OTHER, "sales", "asked by mail", "cli", "ada", ends_at=until),
        ]
    )
    text = shown(client, "suppressions")
    assert f"{NUMBER} all connections opted out said in a call: call_7" in text
    assert f"{OTHER} sales asked by mail command line, by ada" in text
    assert f"{until:%Y-%m-%d %H:%M}" in text
    assert "call?id=call_7" in links_of(client.get("suppressions").text)


def test_those_that_are_over_are_listed_only_on_request(client: TestClient, ledger: CallLedger) -> None:
    past = datetime.now(timezone.utc) - timedelta(days=1)
    ledger.suppressions.add([Suppression(NUMBER, ends_at=past), Suppression(OTHER)])
    [one] = ledger.suppressions.of_number(OTHER)
    ledger.suppressions.remove([one.id])

    assert "No number is suppressed" in shown(client, "suppressions")
    assert "suppressions?over=true" in links_of(client.get("suppressions").text)
    answer = client.get("suppressions?over=true")
    assert NUMBER in answer.text
    assert f"{OTHER} all connections" in text_of(answer.text)
    assert "removed" in text_of(answer.text)
    assert not [one for one in elements_of(answer.text, "button") if "remove-" in str(one.get("id"))]


def test_list_goes_on_page_by_page(client: TestClient, ledger: CallLedger) -> None:
    ledger.suppressions.add([Suppression(f"+1415555{number:04}") for number in range(PAGE_SIZE + 1)])
    first = client.get("suppressions").text
    [older] = [link for link in links_of(first) if "older_than" in link]
    assert "+14155550000" not in first
    second = client.get(older).text
    assert "+14155550000" in second
    assert "+14155550001" not in second
    assert "suppressions" in links_of(second)


def test_numbers_are_found_by_their_last_four_digits(client: TestClient, ledger: CallLedger) -> None:
    ledger.suppressions.add([Suppression(NUMBER), Suppression(OTHER), Suppression("+12125550123")])
    text = shown(client, "suppressions?digits=0123")
    assert NUMBER in text
    assert "+12125550123" in text
    assert OTHER not in text
    assert "No number that ends so is suppressed" in shown(client, "suppressions?digits=9999")


@pytest.mark.parametrize("digits", ["123", "50123", "%2B14155550123", "abcd"])
def test_address_takes_no_more_of_a_number(client: TestClient, digits: str) -> None:
    assert "last four digits" in shown(client, f"suppressions?digits={digits}", 400)


def test_whole_number_is_looked_for_without_an_address(client: TestClient, ledger: CallLedger) -> None:
    ledger.suppressions.add([Suppression(NUMBER), Suppression("+12125550123")])
    [one] = ledger.suppressions.of_number(NUMBER)
    ledger.suppressions.remove([one.id])

    text = change(client, "find", number="+1 (415) 555-0123")
    assert "Suppressions of +1415***0123, those that are over as well" in text
    assert f"{NUMBER} all connections" in text
    assert "+12125550123" not in text
    assert "never was" in change(client, "find", number=OTHER)
    assert "no country code" in change(client, "find", 400, number="4155550123")


def test_number_that_is_added_is_called_no_more(
    client: TestClient, ledger: CallLedger, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    text = change(client, "add", number="+1 415 555 0123", reason=" asked by mail ")
    assert "+1415***0123 is not called any more, for all connections." in text
    [one] = ledger.suppressions.of_number(NUMBER)
    assert (one.conn_id, one.reason, one.source) == (None, "asked by mail", "page")
    assert (one.added_by, one.ends_at) == ("op", None)
    assert "+1415***0123 was suppressed for all connections by 'op'." in caplog.messages
    assert NUMBER not in caplog.text
    assert "was suppressed already" in change(client, "add", number=NUMBER, conn_id="sales")


def test_end_is_of_the_zone_that_the_page_shows(client: TestClient, ledger: CallLedger) -> None:
    change(client, "add", number=NUMBER, until="2099-03-01T08:00", zone="Asia/Tokyo", conn_id="sales")
    [one] = ledger.suppressions.of_number(NUMBER)
    assert one.conn_id == "sales"
    assert one.ends_at == datetime(2099, 2, 28, 23, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"number": "0123"}, "no country code"),
        ({"number": ""}, "is not one phone number"),
        ({"number": NUMBER, "until": "2020-01-01T00:00"}, "Until is over already"),
        ({"number": NUMBER, "until": "soon"}, "Until is a date with a time"),
        ({"number": NUMBER, "until": "2099-01-01T00:00", "zone": "Mars"}, "is no time zone"),
        ({"number": NUMBER, "conn_id": "x" * 251}, "at most 250 characters"),
    ],
    ids=str,
)
def test_what_cannot_be_read_changes_nothing(
    client: TestClient, ledger: CallLedger, data: dict[str, str], said: str
) -> None:
    assert said in change(client, "add", 400, **data)
    assert numbers_in(ledger) == set()


def test_call_that_is_being_placed_is_reported(
    client: TestClient, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Sequence[str]] = []

    def await_last_requests(self: SuppressionsLedger, numbers: Sequence[str], **_: Any) -> bool:
        asked.append(numbers)
        return False

    monkeypatch.setattr(SuppressionsLedger, "await_last_requests", await_last_requests)
    assert "A call to such a number is being placed at this moment" in change(client, "add", number=NUMBER)
    assert asked == [[NUMBER]]
    assert numbers_in(ledger) == {NUMBER}


def test_file_is_imported(client: TestClient, ledger: CallLedger, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ledger.suppressions.add([Suppression(OTHER, "sales")])
    content = f"name,phone\nAda,{NUMBER}\nBob,(415) 555-0124\n".encode()
    text = upload(client, "list.csv", content, conn_id="sales", default_region="us", reason="list of March")
    assert "1 numbers are not called any more, for sales; 1 were suppressed already." in text
    assert numbers_in(ledger, "sales") == {NUMBER, OTHER}
    [one] = ledger.suppressions.of_number(NUMBER)
    assert (one.reason, one.source, one.added_by) == ("list of March", "file", "op")
    assert "1 numbers of a file were suppressed for sales by 'op'." in caplog.messages


def test_numbers_may_be_written_into_the_form(client: TestClient, ledger: CallLedger) -> None:
    change(client, "import", numbers=f"{NUMBER}\r\n\r\n+1 415 555 0124\r\n")
    assert numbers_in(ledger) == {NUMBER, OTHER}


def test_wrong_rows_of_a_file_are_named_and_nothing_is_changed(
    client: TestClient, ledger: CallLedger
) -> None:
    text = upload(client, "list.txt", f"{NUMBER}\n0123\nnobody\n{OTHER}\n".encode(), 400)
    assert "Nothing was changed: 2 of the numbers cannot be read" in text
    assert "list.txt, row 2: 01*** has no country code" in text
    assert "list.txt, row 3: the value is not one phone number" in text
    assert numbers_in(ledger) == set()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("list.csv", b"a,b\n1,2\n", "no column is named to_number or number"),
        ("list.xlsx", b"PK\x03\x04....", "is a workbook or ZIP archive"),
        ("list.txt", "+1415555012\N{EM SPACE}3é".encode("utf-16"), "is UTF-16"),
        ("list.txt", b"", "the file is empty"),
        ("list.csv.gz", b"\x1f\x8b", "is compressed; unpack it first"),
        ("../../+14155550123.txt", b"\x00", "file: +1415***0123.txt, row 1: holds a NUL character"),
    ],
)
def test_file_that_cannot_be_read_is_named(
    client: TestClient, ledger: CallLedger, name: str, content: bytes, said: str
) -> None:
    assert said in upload(client, name, content, 400)
    assert numbers_in(ledger) == set()


def test_form_without_a_file_says_what_is_missing(client: TestClient) -> None:
    assert "choose a file" in change(client, "import", 400, reason="none")


def test_file_that_is_too_large_is_not_read_to_its_end(
    client: TestClient, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"+14155550123\n" * (forms.LARGEST_FILE // 13 + 1)
    assert "larger than 2 MB" in upload(client, "list.txt", content, 413)
    assert "larger than 2 MB" in upload(client, "list.txt", content * 2, 413)
    assert numbers_in(ledger) == set()
    assert "1 numbers are not called" in upload(client, "list.txt", content[: forms.LARGEST_FILE // 13 * 13])


def test_nobody_uploads_without_a_login(client_of: Client) -> None:
    files = {"file": ("list.txt", b"+14155550123\n")}
    assert client_of(None).post("suppressions/import", files=files, headers=OWN).status_code == 401


def test_removed_number_may_be_called_again_and_the_proof_stays(
    client: TestClient, ledger: CallLedger, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ledger.suppressions.add([Suppression(NUMBER)])
    [one] = ledger.suppressions.of_number(NUMBER)
    assert "+1415***0123 may be called again" in change(client, "remove", id=str(one.id))
    assert numbers_in(ledger) == set()
    [kept] = ledger.suppressions.of_number(NUMBER, only_in_force=False)
    assert kept.removed_at is not None
    said = f"Suppression {one.id} of +1415***0123 for all connections was removed by 'op'."
    assert said in caplog.messages
    assert "it has been removed before" in change(client, "remove", id=str(one.id))


@pytest.mark.parametrize("id", ["", "x", "77", "9" * 30, "-1"])
def test_what_is_not_there_cannot_be_removed(client: TestClient, id: str) -> None:
    assert "There is no such suppression" in change(client, "remove", 404, id=id)


def test_visitor_of_one_connection_sees_and_changes_what_is_its_own(
    client_of: Client, ledger: CallLedger
) -> None:
    ledger.suppressions.add([Suppression(NUMBER), Suppression(OTHER, "sales")])
    ledger.suppressions.add([Suppression("+14155550125", "voiceinfra_default")])
    client = client_of(SALES)
    text = shown(client, "suppressions")
    # Who is suppressed for all is suppressed for them, too; whose number that is may be others' affair.
    assert "+1415***0123 all connections" in text
    assert f"{OTHER} sales" in text
    assert "0125" not in text
    buttons = [one["id"] for one in elements_of(client.get("suppressions").text, "button") if "id" in one]
    [own] = ledger.suppressions.of_number(OTHER)
    assert [one for one in buttons if "remove-" in str(one)] == [f"remove-{own.id}"]
    options = [one["value"] for one in elements_of(client.get("suppressions").text, "option")]
    assert set(options) == {"sales"}

    [for_all] = ledger.suppressions.of_number(NUMBER)
    [others] = ledger.suppressions.of_number("+14155550125")
    assert "edit connections in general" in change(client, "add", 403, number="+14155550126")
    assert "edit connections in general" in change(client, "import", 403, numbers="+14155550126")
    assert "edit connections in general" in change(client, "remove", 403, id=str(for_all.id))
    assert "no such connection" in change(client, "add", 404, number=NUMBER, conn_id="voiceinfra_default")
    assert "There is no such suppression" in change(client, "remove", 404, id=str(others.id))
    assert "never was" in change(client, "find", number="+14155550125")
    assert "is not called any more, for sales" in change(
        client, "add", number="+14155550126", conn_id="sales"
    )
    change(client, "remove", id=str(own.id))
    assert len(ledger.suppressions.page()) == 3


def test_visitor_who_may_only_read_is_offered_no_change(client_of: Client, ledger: CallLedger) -> None:
    ledger.suppressions.add([Suppression(NUMBER, "sales")])
    [one] = ledger.suppressions.of_number(NUMBER)
    client = client_of(READER)
    html = client.get("suppressions").text
    assert NUMBER in html
    assert "suppressions/add" not in html
    assert "suppressions/remove" not in html
    assert "edit the connection" in change(client, "remove", 403, id=str(one.id))
    assert "edit the connection" in change(client, "add", 403, number=OTHER, conn_id="sales")


def test_visitor_who_may_read_no_connection_is_told_why(client_of: Client) -> None:
    client = client_of(FakeVisitor("vera", connections=(), editable_connections=()))
    assert "may read none of them" in shown(client, "suppressions", 403)


def test_what_people_wrote_is_shown_as_text(client: TestClient) -> None:
    change(client, "add", number=NUMBER, reason="<script>alert(1)</script>")
    assert "<script>alert" not in client.get("suppressions").text


def test_reason_that_holds_a_number_is_masked_for_who_may_not_see_it(
    client_of: Client, ledger: CallLedger
) -> None:
    ledger.suppressions.add([Suppression(NUMBER, reason=f"{OTHER} asked for it")])
    assert OTHER not in client_of(SALES).get("suppressions").text
