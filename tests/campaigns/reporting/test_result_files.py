"""Result files: every line there, readable again, and harmless in a spreadsheet."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_voiceinfra.campaigns import outcomes
from airflow_provider_voiceinfra.campaigns.reporting.result_files import check_results_path, write_results
from airflow_provider_voiceinfra.campaigns.reporting.results import COLUMNS, ContactResult, Tally
from airflow_provider_voiceinfra.exceptions import CampaignBusyError, ContactsError
from airflow_provider_voiceinfra.ledger.campaigns.records import ContactEntry
from airflow_provider_voiceinfra.ledger.records import CompletionEntry
from tests.campaigns.live import read_lines
from tests.support.records import build

NUMBER = "+14155550100"
REQUEST = {"to_number": NUMBER, "agent_id": "agent_demo", "from_number": "+12025550100"}


def result(key: str = NUMBER, reason: str | None = None, **payload: Any) -> ContactResult:
    agent_id = payload.pop("agent_id", "agent_demo")
    contact = ContactEntry(1, 2, key, {**REQUEST, "agent_id": agent_id}, None)
    body = json.dumps({"call_id": "call-1", **payload}).encode()
    received = datetime(2026, 3, 1, tzinfo=timezone.utc)
    record = build(CompletionEntry, call_id="call-1", received_at=received, body=body) if payload else None
    return ContactResult(contact, "answered", reason, 1, "call-1", record)


def written(tmp_path: Path, *results: ContactResult) -> list[dict[str, str]]:
    write_results(str(tmp_path / "results.csv"), results)
    return read_lines(tmp_path / "results.csv")


# The form.


@pytest.mark.parametrize("name", ["results.csv", "results.csv.gz", "results.jsonl", "RESULTS.JSONL.GZ"])
@pytest.mark.parametrize(
    "location",
    [str, lambda path: path, lambda path: f"file://{path}", lambda path: ObjectStoragePath(f"file://{path}")],
    ids=["text", "path", "url", "object storage"],
)
def test_every_format_is_written_to_every_kind_of_place(tmp_path: Path, name: str, location: Any) -> None:
    path = tmp_path / name
    path.write_text("what was there before, longer than what comes " * 100)
    record: dict[str, Any] = {
        "summary": "Said yes.\nAt 5.",
        "duration_seconds": 12,
        "lead_score": 87,
        "transcript": "Hello.",
    }
    write_results(location(path), [result(**record), result(key="x")])

    lines = read_lines(path)
    if ".csv" in name:
        lines[0]["data"] = json.loads(lines[0]["data"])
        assert lines[1] == {**dict.fromkeys(COLUMNS, ""), **_common(str), "contact_key": "x"}
    else:
        assert lines[1] == {**dict.fromkeys(COLUMNS), **_common(), "contact_key": "x"}
    kind: Any = str if ".csv" in name else int
    assert tuple(lines[0]) == COLUMNS
    assert lines[0]["summary"] == "Said yes.\nAt 5."
    assert lines[0]["duration_seconds"] == kind(12)
    assert lines[0]["data"] == {"lead_score": 87, "received_at": "2026-03-01T00:00:00+00:00"}


def _common(kind: Any = int) -> dict[str, Any]:
    return {**REQUEST, "row": kind(2), "outcome": "answered", "attempts": kind(1), "call_id": "call-1"}


@pytest.mark.parametrize("where", ["here", "memory://results"])
def test_what_is_there_stays_until_all_is_written_and_nothing_is_left(tmp_path: Path, where: str) -> None:
    attach("memory", fs=MemoryFileSystem())  # Airflow knows only the schemes of providers
    folder = ObjectStoragePath(where if "://" in where else f"file://{tmp_path}")
    path = folder / "results.csv"
    write_results(path, [result(key="before")])
    before = path.read_bytes()

    def break_off() -> Iterator[ContactResult]:
        yield result()
        raise ZeroDivisionError

    @contextmanager
    def lost() -> Iterator[None]:
        raise CampaignBusyError("c", None, None, None)
        yield

    with pytest.raises(ZeroDivisionError):
        write_results(path, break_off())
    with pytest.raises(CampaignBusyError):
        write_results(path, [result()], allowed=lost)
    assert path.read_bytes() == before
    assert [str(found) for found in folder.iterdir()] == [str(path)]

    write_results(path, [result(), result()])
    assert len(path.read_bytes().splitlines()) == 3
    assert [str(found) for found in folder.iterdir()] == [str(path)]


def test_a_link_and_the_rights_of_a_file_outlast_its_replacement(tmp_path: Path) -> None:
    real, link = tmp_path / "real.csv", tmp_path / "link.csv"
    real.touch(mode=0o640)
    link.symlink_to(real)
    write_results(link, [result()])
    assert link.is_symlink()
    assert len(read_lines(real)) == 1
    assert real.stat().st_mode & 0o777 == 0o640


def test_all_but_the_renaming_is_done_before_others_are_kept_away(tmp_path: Path) -> None:
    """They are kept away for some seconds at most, so whatever may take time comes first, or after it."""
    path = tmp_path / "results.csv"
    path.touch(mode=0o640)
    seen: list[int] = []

    @contextmanager
    def held() -> Iterator[None]:
        [aside] = tmp_path.glob("*.part")
        seen.append(aside.stat().st_mode & 0o777)
        yield
        left = [found.name for found in tmp_path.iterdir()]
        assert left == [path.name]
        tmp_path.joinpath(f".results.csv.{family}.of_the_next.part").touch()

    family = hashlib.sha256(b"c").hexdigest()[:12]
    write_results(path, [result()], campaign_id="c", allowed=held)
    assert seen == [0o640]
    assert len(list(tmp_path.iterdir())) == 2  # what a process writes that has just taken over stays


def test_what_a_killed_process_left_is_deleted_by_the_next_one_of_its_campaign(tmp_path: Path) -> None:
    def be_killed() -> Iterator[ContactResult]:
        yield result()
        [left] = tmp_path.iterdir()
        left.with_name(left.name.replace(".part", "x.part")).write_bytes(left.read_bytes())
        other = left.with_name(".results.csv.of_another.part")
        other.touch()

    write_results(tmp_path / "results.csv", be_killed(), campaign_id="c")
    assert {found.name for found in tmp_path.iterdir()} == {"results.csv", ".results.csv.of_another.part"}


def test_no_results_make_a_file_with_its_header_alone(tmp_path: Path) -> None:
    write_results(tmp_path / "results.csv", [])
    assert (tmp_path / "results.csv").read_text().strip() == ",".join(COLUMNS)


def test_a_gzipped_file_is_the_same_whenever_it_is_written(tmp_path: Path) -> None:
    for name in ("a.csv.gz", "b.csv.gz"):
        write_results(tmp_path / name, [result()])
    first, second = ((tmp_path / name).read_bytes() for name in ("a.csv.gz", "b.csv.gz"))
    assert first[:4] == second[:4]
    assert first[10:] == second[10:]


# Formulas.

FORMULAS = [
    *("=1+1", "+1+1", "-2+3", "@SUM(A1)", '=HYPERLINK("http://x","y")', "\t=1+1", "\r=1+1", "\n=1+1", "\tx"),
    *("  =1+1", "\u00a0=1+1", "\u200b=1+1", "\ufeff=1+1", "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20x"),
    *("|calc", "%0A", "+14155550100=1", "+1\uff11"),
]


@pytest.mark.parametrize("text", FORMULAS)
def test_what_a_spreadsheet_would_run_is_harmless_in_every_column(tmp_path: Path, text: str) -> None:
    texts = dict.fromkeys(("summary", "recording_url", "start_time", "note"), text)
    found = result(key=text, reason=text, agent_id=text, **texts)
    write_results(tmp_path / "results.jsonl", [found])
    [line], [plain] = written(tmp_path, found), read_lines(tmp_path / "results.jsonl")
    for column in ("contact_key", "reason", "agent_id", "summary", "recording_url", "start_time"):
        assert (line[column], plain[column]) == (f"'{text}", text)
    assert line["data"].startswith("{")
    assert json.loads(line["data"])["note"] == plain["data"]["note"] == text


@pytest.mark.parametrize(
    "text", [NUMBER, "-5", "+1.5", "answered", "a=b", "2026-03-01T12:00:00+00:00", "Höhe: 5", "'quoted'"]
)
def test_numbers_and_plain_text_stay_as_they_are(tmp_path: Path, text: str) -> None:
    [line] = written(tmp_path, result(key=text, summary=text))
    assert (line["contact_key"], line["summary"], line["to_number"]) == (text, text, NUMBER)


@given(texts=st.lists(st.text(max_size=12) | st.text("=+-@ \t\r\n\u200b'\",;5", max_size=6), max_size=5))
def test_any_text_is_one_harmless_cell_of_one_line(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "results.csv"
    # A record's texts went through JSON, which replaces what no file can hold.
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    write_results(path, [result(summary=text) for text in texts])
    lines = read_lines(path)
    assert [line["summary"].removeprefix("'") for line in lines] == [
        text.removeprefix("'").replace("\0", "\ufffd") for text in texts
    ]
    for line in lines:
        assert line["summary"].lstrip()[:1] not in tuple("=@") or line["summary"].startswith("'")


def test_halves_of_characters_do_not_keep_the_file_from_being_written(tmp_path: Path) -> None:
    [line] = written(tmp_path, result(summary="a\ud800b", note="c\udfffd"))
    assert line["summary"] == "a?b"


# The place.


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("results", "results must end in .csv or .jsonl, or one of them followed by .gz"),
        ("results.xlsx", "results.xlsx must end in"),
        ("results.gz", "results.gz must end in"),
        ("s3://bucket/results", "s3://bucket/results must end in"),
        ("https://user:secret@host/results?token=secret", "https://host/results must end in"),
        ("None", "None must end in"),
    ],
)
def test_a_path_that_tells_no_format_is_refused_without_its_secrets(path: str, says: str) -> None:
    with pytest.raises(ContactsError, match="results_path: ") as caught:
        check_results_path(path)
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("location", ["{}", "file://{}"])
def test_a_place_of_this_machine_that_cannot_be_written_is_refused(
    tmp_path: Path, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").touch()
    for name, says in (
        ("missing/results.csv", "there is no folder .*/missing on this worker; create it"),
        ("file/results.csv", "there is no folder .*/file on"),
        ("folder.csv", "folder.csv is a folder; name a file in it"),
    ):
        with pytest.raises(ContactsError, match=f"results_path: .*{says}"):
            check_results_path(location.format(tmp_path / name))
    check_results_path(location.format(tmp_path / "results.csv"))
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # root may write anywhere
    with pytest.raises(ContactsError, match="must not be written by the user that runs this worker"):
        check_results_path(location.format(tmp_path / "results.csv"))


@pytest.mark.parametrize("path", ["s3://bucket/no/such/results.csv", "file://host/no/such/results.csv"])
def test_a_place_elsewhere_is_not_looked_at(path: str) -> None:
    check_results_path(path)


@pytest.mark.parametrize("word", ["cancelled", "expired", "invalid", "do_not_call", "withdrawn"])
def test_outcomes_of_the_api_are_never_counted_as_words_of_our_own(word: str) -> None:
    called = replace(result(summary="Said yes."), outcome=word)
    tally = Tally()
    assert list(tally.count([called])) == [called]
    assert {name: tally.summary()[name] for name in outcomes.ALL if tally.summary()[name]} == {"other": 1}
