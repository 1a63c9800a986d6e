"""The list of calls can be taken along as a file, which holds no more than the page shows, and no formula."""

from __future__ import annotations

import csv
import gc
import io
import re
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
import requests
from fastapi.testclient import TestClient
from harness.processes import wait_for

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.lists import calls as listing
from airflow_provider_voiceinfra.ledger.lists.calls import CallLists
from airflow_provider_voiceinfra.web.pages.calls import export
from tests.web.conftest import Server
from tests.web.pages.conftest import VIEWER, Calls, Client, FakeVisitor
from tests.web.pages.reading import text_of

NUMBER = "+14155550123"


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_file_is_a_table_with_a_name_of_its_own_that_no_cache_keeps(
    client: TestClient, calls: Calls
) -> None:
    entry = calls.place(NUMBER, campaign_id="night", contact_key="k1", attempt=2)
    answer = client.get("calls.csv")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    named = r"attachment; filename=voiceinfra-calls-\d{8}T\d{6}Z\.csv"
    assert re.fullmatch(named, answer.headers["content-disposition"])
    assert answer.headers["cache-control"] == "no-store"
    (row,) = rows_of(answer.text)
    assert tuple(row) == export.COLUMNS
    assert row == {
        "claimed_at": entry.claimed_at.isoformat(timespec="seconds"),
        **{"state": "accepted", "call_id": "call_1", "outcome": "answered", "duration_seconds": "42"},
        **{"to_number": NUMBER, "from_number": "+12025550100", "agent_id": "agent_1"},
        **{"conn_id": "voiceinfra_default", "dag_id": "outreach", "run_id": "run_1", "task_id": "call"},
        **{"map_index": "-1", "campaign_id": "night", "contact_key": "k1", "attempt": "2"},
        **{"started_at": "2026-01-02T03:04:05+00:00", "ended_at": "2026-01-02T03:04:47+00:00"},
        **{"error_code": "", "error_message": "", "direction": "outbound"},
    }


def test_the_file_holds_what_the_page_lists(client: TestClient, calls: Calls) -> None:
    calls.place("+14155550101", outcome="failed", record={"duration_seconds": 5})
    calls.place("+14155550102", outcome="voicemail", record={"duration_seconds": 9})
    calls.place("+14155550103", outcome="voicemail", record={"duration_seconds": 7})
    listed = rows_of(client.get("calls.csv?outcome=voicemail&order=longest").text)
    assert [row["to_number"] for row in listed] == ["+14155550102", "+14155550103"]


def test_without_permission_on_the_connection_numbers_are_hidden_and_contacts_left_out(
    client_of: Client, calls: Calls
) -> None:
    calls.place(NUMBER, contact_key=NUMBER, campaign_id="night")
    entry = calls.place(NUMBER, outcome=None, contact_key=NUMBER)
    calls.refused(f"{NUMBER} is not valid")
    text = client_of(VIEWER).get("calls.csv").text
    assert NUMBER not in text
    assert f"{NUMBER} is not valid" in client_of().get("calls.csv").text
    assert {row["to_number"] for row in rows_of(text)} == {"'+1415***0123"}
    assert {row["contact_key"] for row in rows_of(text)} == {""}
    assert str(entry.call_id) in text


def test_calls_that_the_visitor_may_not_see_are_left_out(client_of: Client, calls: Calls) -> None:
    calls.place(NUMBER, dag_id="open")
    calls.place("+14155550101", dag_id="closed")
    calls.place("+14155550102", dag_id=None, run_id=None, task_id=None)
    text = client_of(FakeVisitor(connections=(), dags=("open",))).get("calls.csv").text
    assert [row["dag_id"] for row in rows_of(text)] == ["open"]


@pytest.mark.parametrize("cell", ['a","b', "<script>alert(1)</script>", "two\nlines"])
def test_a_cell_never_breaks_out_of_its_place(client: TestClient, calls: Calls, cell: str) -> None:
    calls.place(NUMBER, campaign_id=cell)
    (row,) = rows_of(client.get("calls.csv").text)
    assert row["campaign_id"] == cell


def test_a_file_that_is_cut_off_says_so_and_does_not_end_well(
    client: TestClient,
    calls: Calls,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    serve: Callable[..., Server],
) -> None:
    for _ in range(5):
        calls.place(NUMBER)
    monkeypatch.setattr(export, "_CHUNK", 2)
    whole = CallLists.stream_calls

    def breaks(self: CallLists, *args: Any, **options: Any) -> Iterator[Any]:
        yield from islice(whole(self, *args, **options), 4)
        raise ValueError(f"about {NUMBER}")

    monkeypatch.setattr(CallLists, "stream_calls", breaks)
    with pytest.raises(export.CutOffError):  # so that the server breaks the connection off
        client.get("calls.csv")
    assert NUMBER not in caplog.text
    assert "ValueError at" in caplog.text
    parts: list[bytes] = []
    answer = requests.get(f"{serve(client.app).url}/ui/calls.csv", stream=True, timeout=60)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        parts.extend(answer.iter_content(None))
    text = b"".join(parts).decode()
    assert len(rows_of(text)) == 5
    assert text.splitlines()[-1] == export.CUT_OFF


def test_a_long_list_is_read_and_sent_in_parts(
    client: TestClient, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(7):
        calls.place(NUMBER)
    monkeypatch.setattr(export, "_CHUNK", 3)
    monkeypatch.setattr(listing, "_STREAM_CHUNK", 2)
    ids = [row["call_id"] for row in rows_of(client.get("calls.csv?order=oldest").text)]
    assert ids == [f"call_{number}" for number in range(1, 8)]


@pytest.fixture
def endless(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every file go on until somebody ends it."""
    calls.place(NUMBER)
    whole = CallLists.stream_calls

    def stream(self: CallLists, *args: Any, **options: Any) -> Iterator[Any]:
        yield from cycle(list(whole(self, *args, **options)))

    monkeypatch.setattr(CallLists, "stream_calls", stream)


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Let no test pass thanks to the garbage collector, which runs when it pleases."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def url(client: TestClient, serve: Callable[..., Server], endless: None, uncollected: None) -> str:
    """Return the address of a file without end on a server."""
    return f"{serve(client.app).url}/ui/calls.csv"


def download(url: str) -> requests.Response:
    """Begin to load a file."""
    answer = requests.get(url, stream=True, timeout=60)
    if answer.ok:
        assert answer.raw.read(100)
    return answer


def await_a_turn(url: str) -> None:
    """Wait until another file is made, which is then left."""

    def is_made() -> bool:
        with download(url) as answer:
            assert answer.status_code in (200, 503)
            return answer.ok

    wait_for("another file", is_made, 60)


def test_no_more_files_are_made_at_a_time_than_a_server_can_bear(url: str) -> None:
    under_way = [download(url) for _ in range(export.AT_ONCE)]
    assert all(answer.ok for answer in under_way)
    with download(url) as refused:
        assert refused.status_code == 503
        assert "made already" in text_of(refused.text)
    under_way[0].close()
    await_a_turn(url)
    under_way[1].close()


def test_downloads_that_break_off_make_room_for_others(url: str) -> None:
    for _ in range(3):
        for answer in [download(url) for _ in range(export.AT_ONCE)]:
            answer.close()
        await_a_turn(url)


def test_a_browser_that_stops_reading_does_not_keep_others_out(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_MOST_PATIENCE", 0.5)
    stalled = [download(url) for _ in range(export.AT_ONCE)]
    await_a_turn(url)
    for answer in stalled:
        answer.close()


@pytest.mark.usefixtures("uncollected")
def test_files_that_cannot_be_made_make_room_for_others(
    client_of: Client, client: TestClient, calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls.place(NUMBER)
    (tmp_path / "no-ledger").mkdir()
    broken = client_of(ledger=CallLedger(f"sqlite:///{tmp_path / 'no-ledger'}"))
    for _ in range(export.AT_ONCE + 1):
        assert broken.get("calls.csv").status_code == 503
    with monkeypatch.context() as patched:
        patched.setattr(export, "_row", lambda *_: 1 / 0)
        for _ in range(export.AT_ONCE + 1):
            with pytest.raises(export.CutOffError):
                client.get("calls.csv")
    assert client.get("calls.csv").status_code == 200


@pytest.mark.usefixtures("endless", "uncollected")
def test_a_server_that_is_stopped_leaves_no_file_under_way(
    client: TestClient, serve: Callable[..., Server]
) -> None:
    server, other = serve(client.app), serve(client.app)
    under_way = [download(f"{server.url}/ui/calls.csv") for _ in range(export.AT_ONCE)]
    server.stop(waits=False)
    await_a_turn(f"{other.url}/ui/calls.csv")
    for answer in under_way:
        answer.close()
