from __future__ import annotations

import csv
import gzip
import inspect
import io
import json
import random
import re
import sys
import tracemalloc
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_voiceinfra.campaigns.contacts.columns import FIELDS, OPERATORS_OWN
from airflow_provider_voiceinfra.campaigns.contacts.phone_numbers import NumberReader
from airflow_provider_voiceinfra.campaigns.contacts.reader import ContactReader
from airflow_provider_voiceinfra.campaigns.contacts.rows import open_rows
from airflow_provider_voiceinfra.exceptions import ContactsError, InvalidCallError
from airflow_provider_voiceinfra.ledger.campaigns.records import ContactEntry
from airflow_provider_voiceinfra.operators.voiceinfra import (
    VoiceInfraCampaignOperator,
    VoiceInfraOutboundCallOperator,
)

# Not the number that messages give as an example.
ANN, BOB, CAT = "+14155550142", "+14155550101", "+442079460123"
Write = Callable[..., str]
Rows = list[dict[str, Any]]
Put = Callable[[str, Rows], object]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(content: str | bytes, name: str = "contacts.csv") -> str:
        data = content.encode() if isinstance(content, str) else content
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return str(tmp_path / name)

    return write_file


@pytest.fixture
def put(write: Write) -> Put:
    """Return what turns rows into contacts of some kind."""

    def contacts(kind: str, rows: Rows) -> object:
        if kind == "csv":
            text = io.StringIO()
            writer = csv.DictWriter(text, dict.fromkeys(name for row in rows for name in row))
            writer.writeheader()
            writer.writerows(rows)
            return write(text.getvalue())
        if kind == "jsonl":
            return write("\n".join(map(json.dumps, rows)), "contacts.jsonl")
        return iter(rows) if kind == "iterator" else rows

    return contacts


of_every_kind = pytest.mark.parametrize("kind", ["csv", "jsonl", "list", "iterator"])


def read(contacts: object, **options: Any) -> list[ContactEntry]:
    return list(ContactReader(**options).read(contacts))


def contact(contacts: object, **options: Any) -> ContactEntry:
    (found,) = read(contacts, **options)
    assert not found.skipped, found
    return found


def told(found: list[ContactEntry]) -> list[tuple[int, str]]:
    """Return the number of each row, and whom it calls, or as what it is skipped."""
    return [(row.row_number, row.skipped or row.call.to_number) for row in found]


# What a row says, and what holds for all.


def test_a_row_becomes_a_call() -> None:
    found = contact(
        [{"to_number": ANN, "first_name": "Ann", "visits": 3, "note": "", "gone": None}],
        agent_id="agent-1",
        from_number=BOB,
        first_message="Hello {first_name}, visit {visits}.",
        context="Be brief.",
        variables={"shop": "X", "first_name": "you"},
    )
    assert (found.row_number, found.contact_key, found.timezone) == (1, ANN, None)
    assert found.call.to_request() == {
        "to_number": ANN,
        "agent_id": "agent-1",
        "from_number": BOB,
        "first_message": "Hello Ann, visit 3.",
        "context": "Be brief.",
        "variables": {"shop": "X", "first_name": "Ann", "visits": 3},
    }
    assert found.call.validated() == found.call
    assert ANN not in repr(found)
    assert "Ann" not in repr(found)
    # What is not set is left to the connection.
    assert contact([{"to_number": ANN}]).call.to_request() == {"to_number": ANN}


def test_a_row_own_columns_go_before(write: Write) -> None:
    path = write(
        "to_number,agent_id,from_number,first_message,context,timezone,region,consent\n"
        f"{ANN},agent-2,+44 20 7946 0123,Hi {{name}},Context,Europe/London,gb,form 17\n"
    )
    found = contact(path, agent_id="agent-1", from_number=BOB, first_message="Hello", context="-")
    assert found.recipient == ("Europe/London", "GB", "form 17")
    assert "form 17" not in repr(found)
    assert found.call.to_request() == {
        "to_number": ANN,
        "agent_id": "agent-2",
        "from_number": CAT,
        "first_message": "Hi {name}",  # a cell is no template
        "context": "Context",
    }


# Files.


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["plain", "bom"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("name", ["contacts.csv", "contacts.csv.gz", "CONTACTS.CSV"])
def test_files_of_spreadsheets(write: Write, delimiter: str, bom: bytes, end: str, name: str) -> None:
    lines = [["to_number", "first name"], [ANN, "Zoë"], ["", ""], [f" {BOB} ", '"a;b,c\td"'], ["", ""], []]
    text = end.join(delimiter.join(line) for line in lines)
    found = read(write(bom + text.encode(), name), first_message="Hi {first name}")
    assert told(found) == [(2, ANN), (4, BOB)]
    assert [row.call.first_message for row in found if not row.skipped] == ["Hi Zoë", "Hi a;b,c\td"]


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        (f"name, first, middle;to_number\nAnn;{ANN}\n", {"name, first, middle": "Ann"}),
        (f'"a;b;c;d",to_number\n1,{ANN}\n', {"a;b;c;d": "1"}),
    ],
    ids=["around to_number", "others in quotes"],
)
def test_delimiter_is_told_by_the_header(write: Write, text: str, variables: dict[str, str]) -> None:
    assert contact(write(text)).call.variables == variables


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"sep=;\nto_number;a\n{ANN};1\nx;1\n", [(3, ANN), (4, "invalid")]),
        (f"to_number,a,,\n{ANN},1,,\n,,,\n{BOB},2\n", [(2, ANN), (4, BOB)]),
        (
            f'\nnote,to_number\n"two\nlines",{ANN}\n\n"three\r\n\r\nlines",{BOB}\n"end",x',
            [(3, ANN), (6, BOB), (9, "invalid")],
        ),
    ],
    ids=["hint about the delimiter", "empty columns and rows", "cells of several lines"],
)
def test_a_row_is_numbered_by_the_line_at_which_it_starts(write: Write, text: str, expected: Any) -> None:
    assert told(read(write(text))) == expected


def test_json_lines(write: Write) -> None:
    path = write(
        f'{{"to_number": "{ANN}", "tags": ["a"], "n": 1}}\n\n'
        f'{{"to_number": \n[1]\n"x"\n{{"to_number": "{BOB}", "n": NaN}}\n{{"to_number": "{CAT}"}}\n'
        + "["
        * 200_000,
        "contacts.jsonl.gz",
    )
    found = read(path)
    invalid = [(row, "invalid") for row in (3, 4, 5, 6)]
    assert told(found) == [(1, ANN), *invalid, (7, CAT), (8, "invalid")]
    assert found[0].call.variables == {"tags": ["a"], "n": 1}
    said = ("not JSON: .* at character .*; write one object per line", "not list", "not str")
    for row, words in zip(found[1:], (*said, "NaN is no JSON value; write null"), strict=False):
        assert re.search(words, str(row.reason))


def test_nobody_to_call_is_no_error(write: Write) -> None:
    assert read([], first_message="Hi {name}") == []
    assert read(write("to_number,name\n"), first_message="Hi {name}") == []


def test_an_iterator_of_mappings_and_a_path_object(write: Write) -> None:
    assert contact(iter([{"to_number": ANN}])).contact_key == ANN
    assert contact(Path(write(f"to_number\n{ANN}\n"))).contact_key == ANN


def test_object_storage_urls(write: Write) -> None:
    path = write(f"to_number\n{ANN}\n", "contacts.csv.gz")
    assert contact(f"file://{path}").contact_key == ANN
    with pytest.raises(ContactsError, match="cannot be read"):
        read(f"file://{path[:-7]}-none.csv")


def test_a_file_is_closed_by_a_reader_that_stops_early(write: Write) -> None:
    path = write(f"to_number\n{ANN}\n{BOB}\n")
    rows = ContactReader().read(path)
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    with pytest.raises(StopIteration):
        next(rows)


HEAD = b"to_number,name\n"
NOT_UTF_8 = "the byte 0xEB is not UTF-8"
NEVER_CLOSED = "its quote is never closed"
TOO_BIG = "more than 100,000 bytes"
REFUSED: dict[str, tuple[Any, ...]] = {
    "empty": (b"", "the file is empty"),
    "empty gzip": (b"", "the file is empty", "contacts.csv.gz"),
    "empty jsonl": (b"", "the file is empty", "contacts.jsonl"),
    "only blank lines": (b"\n\r\n \n", "no header"),
    "only a hint": (b"sep=,\n", "no header"),
    "no to_number": (
        b"phone,name\n1,2\n",
        r"the column 'to_number' is missing; rename 'phone' to 'to_number', or pass "
        r"columns=\{'to_number': 'phone'\}; there are phone, name",
    ),
    "another header": (
        b"Name,Phone Number,Phone Type\n",
        r"rename 'Phone Number' to 'to_number', or pass columns=\{'to_number': 'Phone Number'\}; there are",
    ),
    "nothing like a number": (b"name,city\n", "'to_number' is missing; add it; there are name, city"),
    "other spelling": (b"To Number,name\n", "rename 'To Number' to 'to_number'"),
    "no header": (f"{ANN},Ann\n{BOB},Bob\n".encode(), r"row 1: looks like a contact \(\+1415\*\*\*0142, Ann"),
    "duplicate column": (b"to_number,a,b,a\n", r"row 1: columns 2 and 4 are both named 'a'"),
    "nameless column": (b"to_number,,b\n", "row 1: column 2 has no name"),
    "1252": (HEAD + b"1,x\n2,Zo\xeb\n", f"row 3: column 2: {NOT_UTF_8}"),
    "1252 after quoted delimiters": (HEAD + b'"1,2;3",Zo\xeb\n', f"row 2: column 2: {NOT_UTF_8}"),
    "1252 in a cell of several lines": (HEAD + b'1,"a,b\nc,d,Zo\xeb"\n', f"row 3: column 2: {NOT_UTF_8}"),
    "1252 after a cell of several lines": (
        b'a,b,c,to_number\n1,"x\ny",Zo\xeb,2\n',
        f"row 3: column 3: {NOT_UTF_8}",
    ),
    "1252 after other delimiters": (b"to_number;name\n1,2,3;Zo\xeb\n", f"row 2: column 2: {NOT_UTF_8}"),
    "1252 in the header": (b'"a,b";to_number;Zo\xeb\n', f"row 1: column 3: {NOT_UTF_8}"),
    "1252 in json": (b'{"to_number": "1,2,Zo\xeb"}\n', f"row 1: character 22: {NOT_UTF_8}", "contacts.jsonl"),
    "utf-16": ("to_number\n".encode("utf-16"), "UTF-16; save it as 'CSV UTF-8'"),
    "utf-16 without mark": ("to_number\n".encode("utf-16-le"), "row 1: holds a NUL"),
    "nul": (HEAD + b"1,a\x00b\n", "row 2: holds a NUL"),
    "workbook": (b"PK\x03\x04....", "is a workbook"),
    "gzip by another name": (gzip.compress(HEAD), r"let its name end in \.gz"),
    "open quote": (HEAD + b'1,a\n2,"b\n3,c\n', f"row 3: column 2: {NEVER_CLOSED}"),
    "open quote after a bare one": (HEAD + b'5" pipe,"b\n3,c\n', f"row 2: column 2: {NEVER_CLOSED}"),
    "open quote after long cells": (HEAD + b'"1,1\n2,2","x\n3,c\n', f"row 2: column 2: {NEVER_CLOSED}"),
    "quote in quotes": (HEAD + b'1,"say "hi" now"\n', "row 2: not CSV: .*write a quote in it twice"),
    "old mac": (b"to_number,name\r1,a\r", "row 1: its lines end as on old Macs"),
    "huge cell": (HEAD + b"1," + b"x" * 1_000_000 + b"\n", r"row 2.*longer than 1,000,000 bytes"),
    "big cell": (HEAD + b"1,a\n1," + b"x" * 200_000 + b"\n", f"row 3: column 2: {TOO_BIG}"),
    "big cell after quotes": (HEAD + b'5" pipe,"1,2",' + b"x" * 200_000, f"row 2: column 3: {TOO_BIG}"),
    "cell just too big": (HEAD + b"1," + b"x" * 100_001 + b"\n", f"row 2: column 2: {TOO_BIG}"),
    "wide characters": (HEAD + b"1," + "é".encode() * 50_001, f"row 2: column 2: {TOO_BIG}"),
    "cell of many lines": (
        HEAD + b'1,"' + b"x\n" * 600_000,
        f"row 2: column 2: {TOO_BIG} in one cell; .* closing quote is missing",
    ),
    "huge json line": (b'{"to_number": "' + b"1" * 1_000_000, r"row 1.*longer than", "contacts.jsonl"),
    "huge row of small cells": (HEAD + b",".join([b"x" * 900] * 1200), "row 2: the line is longer"),
    "other suffix": (b"x", r"must end in \.csv or \.jsonl", "contacts.txt"),
    "spreadsheet": (
        b"x",
        "contacts: .* is a spreadsheet's own file; save it as 'CSV UTF-8'",
        "contacts.xlsx",
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_a_file_that_is_refused_as_a_whole(write: Write, case: tuple[Any, ...]) -> None:
    content, message, *name = case
    path = write(content, *name)
    with pytest.raises(ContactsError, match=message) as caught:
        read(path)
    assert path in str(caught.value)
    assert ANN not in str(caught.value)


def test_a_huge_row_is_refused_where_cells_may_be_any_size(write: Write) -> None:
    limit = csv.field_size_limit(sys.maxsize)
    try:
        for cell in (b'"' + b"x\n" * 600_000, b"x" * 300_000):
            with pytest.raises(ContactsError, match=f"row 2: column 2: {TOO_BIG}"):
                read(write(HEAD + b"1," + cell))
    finally:
        csv.field_size_limit(limit)


@pytest.mark.parametrize("cut", [5, 40, -4])
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, cut: int) -> None:
    whole = gzip.compress("".join(["to_number\n", *(f"+1415555{n:04d}\n" for n in range(100, 200))]).encode())
    (tmp_path / "contacts.csv.gz").write_bytes(whole[:cut])
    with pytest.raises(ContactsError, match=r"row 1.*the gzip archive is damaged or cut off"):
        read(str(tmp_path / "contacts.csv.gz"))
    broken = bytearray(whole)
    broken[len(broken) // 2] ^= 0xFF
    (tmp_path / "contacts.csv.gz").write_bytes(bytes(broken))
    with pytest.raises(ContactsError, match=r"the gzip archive is damaged"):
        read(str(tmp_path / "contacts.csv.gz"))


@pytest.mark.parametrize("name", ["none.csv", "none/none.csv", "folder.csv"])
def test_a_file_that_cannot_be_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ContactsError, match="cannot be read"):
        read(str(tmp_path / name))


@pytest.mark.parametrize("contacts", [None, 5, b"x", {"to_number": ANN}])
def test_something_else_than_contacts(contacts: object) -> None:
    with pytest.raises(ContactsError, match="contacts: must be a list of mappings"):
        read(contacts)


def test_urls_are_shown_without_secrets() -> None:
    with pytest.raises(ContactsError) as caught:
        open_rows("https://user:secret@host/a.txt?signature=secret")
    assert "https://host/a.txt" in str(caught.value)
    assert "secret" not in str(caught.value)


# Rows.

INVALID: dict[str, tuple[Any, str, str]] = {
    "no mapping": ("x", "", "must be a mapping from column to value, not str"),
    "names that are no text": ({1: 2}, "", "the names of its columns must be text"),
    "no number": ({"to_number": " "}, "to_number", "is empty"),
    "word": ({"to_number": "call me"}, "to_number", "is not one phone number"),
    "too short": ({"to_number": "+1415555"}, "to_number", "cannot be a phone number"),
    "without area code": ({"to_number": "+15550100"}, "to_number", "cannot be a phone number"),
    "too long": ({"to_number": "+141555501001"}, "to_number", "cannot be a phone number"),
    "no such country": ({"to_number": "+9991234567"}, "to_number", "cannot be a phone number"),
    "no country": ({"to_number": "415 555 0142"}, "to_number", "no country code.*set default_region"),
    "00 for +": ({"to_number": "0014155550106"}, "to_number", "begins with 00, .*; write \\+ in its place"),
    "only a plus": ({"to_number": "+"}, "to_number", "phone number"),
    "two numbers": ({"to_number": f"{ANN} / {BOB}"}, "to_number", "is not one phone number"),
    "extension": ({"to_number": f"{ANN} ext. 5"}, "to_number", "is not one phone number"),
    "powers of ten": ({"to_number": "1.41556E+10"}, "to_number", "powers of ten by a spreadsheet"),
    "decimals": ({"to_number": "14155550142.0"}, "to_number", "number with decimals"),
    "float": ({"to_number": 14155550142.0}, "to_number", "must be text, not float"),
    "true": ({"to_number": True}, "to_number", "must be text, not bool"),
    "agent": ({"to_number": ANN, "agent_id": "a\nb"}, "agent_id", "printable text"),
    "long agent": ({"to_number": ANN, "agent_id": "a" * 256}, "agent_id", "at most 255"),
    "caller": ({"to_number": ANN, "from_number": "12"}, "from_number", "no country code"),
    "message": ({"to_number": ANN, "first_message": 5}, "first_message", "must be text, not int"),
    "zone": ({"to_number": ANN, "timezone": "Mars/Base"}, "timezone", "IANA name"),
    "zone number": ({"to_number": ANN, "timezone": 5}, "timezone", "must be text, not int"),
    "date": ({"to_number": ANN, "day": date(2026, 6, 1)}, "day", r"\(date\) is not JSON; write it as text"),
    "infinity": ({"to_number": ANN, "n": float("inf")}, "n", "not JSON"),
    "half a character": ({"to_number": ANN, "name": "\ud800"}, "name", "lone surrogate"),
    "half a character inside": ({"to_number": ANN, "name": ["\ud800"]}, "name", "lone surrogate"),
    "nul": ({"to_number": ANN, "name": "\0"}, "name", "NUL"),
    "nul inside": ({"to_number": ANN, "name": {"a": "\0"}}, "name", "NUL"),
    "long": ({"to_number": ANN, "name": "x" * 100_001}, "name", "more than 100,000 bytes"),
    "long inside": ({"to_number": ANN, "name": ["x" * 100_001]}, "name", "more than 100,000 bytes"),
}


@pytest.mark.parametrize(("row", "field", "message"), INVALID.values(), ids=INVALID.keys())
def test_an_invalid_row_is_reported_and_the_others_are_read(
    row: dict[str, Any], field: str, message: str
) -> None:
    found = read([{"to_number": BOB}, row, {"to_number": CAT}])
    assert told(found) == [(1, BOB), (2, "invalid"), (3, CAT)]
    assert re.match(f"{field}.*{message}", str(found[1].reason)), found[1]
    assert ANN[2:] not in repr(found[1]) + str(found[1])


def test_a_broken_row_of_a_file(write: Write) -> None:
    found = read(write(f"to_number,a,b\n{ANN},1\n{BOB},1,2,3\n{CAT},1,2\n"))
    assert told(found) == [(2, "invalid"), (3, "invalid"), (4, CAT)]
    assert "b is missing: the row has 2 cells, the header 3" in str(found[0])
    assert re.search("column 4 has no header: .* must be in quotes", str(found[1]))


@pytest.mark.parametrize(
    ("written", "region", "number"),
    [
        ("+1 (415) 555-0142", None, ANN),
        ("+1.415.555.0142", None, ANN),
        ("\u202a+1\u00a0415\u2011555\u20110142\u202c", None, ANN),
        ("\uff0b14155550142", None, ANN),
        ("tel:+1-415-555-0142", None, ANN),
        ("'+14155550142", None, ANN),
        ("+44 (0)20 7946 0123", None, CAT),
        ("+4402079460123", None, CAT),
        ("020 7946 0123", "GB", CAT),
        ("(415) 555-0142", "US", ANN),
        (14155550142, "US", ANN),
        ("00 44 20 7946 0123", "GB", CAT),
        ("+390612345678", None, "+390612345678"),
    ],
)
def test_numbers_are_normalised(written: object, region: str | None, number: str) -> None:
    assert contact([{"to_number": written}], default_region=region).call.to_number == number


COUNTRIES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)


def by_the_library(written: str) -> str | None:
    try:
        parsed = phonenumbers.parse(written)
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_possible_number_with_reason(parsed) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    number = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    return number if len(number) <= 16 else None


def normalised(reader: NumberReader, written: str) -> str | None:
    try:
        return reader.normalise(written)
    except InvalidCallError:
        return None


@settings(max_examples=500, deadline=None)
@given(
    country=st.one_of(st.sampled_from(COUNTRIES), st.integers(1, 999)),
    rest=st.one_of(
        st.text("0123456789", max_size=13),
        st.tuples(
            st.sampled_from(["0", "1", "8", "15", "01", "90", "044"]), st.text("0123456789", max_size=10)
        ).map("".join),
    ),
)
def test_the_fast_way_agrees_with_the_library(country: int, rest: str) -> None:
    written = f"+{country}{rest}"[:16]
    reader = NumberReader()
    for _ in range(2):  # the second time from what the first has taught
        assert normalised(reader, written) == by_the_library(written)


def test_the_fast_way_agrees_when_it_has_learned_from_other_numbers() -> None:
    reader, chosen = NumberReader(), random.Random(7)
    for _ in range(4_000):
        size = chosen.choice([7, 8, 9, 10, 11])
        country = chosen.choice([1, 7, 39, 44, 49, 52, 54, 55, 61, 91, 598])
        written = f"+{country}{chosen.randrange(10**size):0{size}d}"
        assert normalised(reader, written) == by_the_library(written)


@pytest.mark.parametrize("written", ["0014155550106", "00 1 (415) 555-0106", "001 415 555 0106"])
@pytest.mark.parametrize("region", [None, "US"])
def test_00_is_told_from_the_plus_sign_that_it_stands_for(written: str, region: str | None) -> None:
    (row,) = read([{"to_number": written}], default_region=region)
    assert "begins with 00, which is dialled for calls abroad; write + in its place" in str(row)
    assert "55501" not in str(row)


# What columns are called.

WORDS = {
    "variables": "write each of the values in a column of its own",
    "call_context": "write a contact's own in a column 'context'",
    "idempotency_key": "name the column that identifies a contact in the operator's contact_key",
    "wait_for_completion": "it holds for the whole campaign; set it on the operator",
    "do_not_call": "leave such rows out, or give their numbers to the operator's do_not_call",
    "Do Not Call": "leave such rows out",
    "deadline": "it holds for the whole campaign",
    "Calling Window": "it holds for the whole campaign",
}


@pytest.mark.parametrize(("word", "remedy"), WORDS.items())
@of_every_kind
def test_the_operator_s_own_words_are_no_columns(put: Put, word: str, remedy: str, kind: str) -> None:
    rows: Rows = [{"to_number": ANN, "a": "1"}, {"to_number": BOB, word: {"name": "Ann"}}]
    with pytest.raises(ContactsError) as caught:
        read(put(kind, rows))
    assert f"the column {word!r} is a parameter of the operator and not of a contact: {remedy}" in str(
        caught.value
    )
    assert "give it another name" in str(caught.value)


def test_every_parameter_of_the_operators_is_a_field_or_refused() -> None:
    of_both = {
        name
        for operator in (VoiceInfraOutboundCallOperator, VoiceInfraCampaignOperator)
        for name in inspect.signature(operator.__init__).parameters
    }
    # The results name these two as they are, and may be the contacts of another campaign.
    assert of_both - FIELDS - {"self", "kwargs", "campaign_id", "contact_key"} == set(OPERATORS_OWN)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("Timezone", "timezone"),
        ("Time Zone", "timezone"),
        ("Region", "region"),
        ("CONSENT", "consent"),
        ("From-Number", "from_number"),
        ("CONTEXT", "context"),
    ],
)
def test_a_column_that_is_nearly_a_field_is_no_variable(write: Write, name: str, field: str) -> None:
    path = write(f"to_number,{name}\n{ANN},UTC\n")
    with pytest.raises(
        ContactsError, match=f"rename '{name}' to '{field}', or pass columns={{'{field}': '{name}'}}"
    ):
        read(path)
    assert contact(path, columns={"about": name}).call.variables == {"about": "UTC"}


def test_a_field_and_a_column_that_is_nearly_it() -> None:
    found = contact([{"to_number": ANN, "timezone": "UTC", "Time Zone": "ours"}])
    assert (found.timezone, found.call.variables) == ("UTC", {"Time Zone": "ours"})


@of_every_kind
def test_columns_by_another_name(put: Put, kind: str) -> None:
    contacts = put(kind, [{"Phone Number": ANN, "Customer": "Ann", "city": "X"}, {"Phone Number": "12"}])
    columns = {"to_number": "Phone Number", "name": "Customer"}
    found, wrong = read(contacts, columns=columns, first_message="Hi {name} of {city}")
    assert found.call.to_request() == {
        "to_number": ANN,
        "first_message": "Hi Ann of X",
        "variables": {"name": "Ann", "city": "X"},
    }
    assert str(wrong.reason).startswith("to_number ")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["to_number"], "columns: must be a mapping from the names used here"),
        ({"to_number": None}, "columns: must be a mapping"),
        ({"to_number": "phone", "number": "phone"}, "columns: one column .* cannot have two names"),
        ({"to_number": "Phone"}, "columns: 'Phone' is no column of .*; there are phone, name"),
        (
            {"to_number": "phone", "variables": "name"},
            "the column 'variables' is a parameter of the operator",
        ),
        (
            {"phone": "to_number", "name": "customer"},
            r"columns: is the wrong way round: .* write \{'to_number': 'phone', 'customer': 'name'\}",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "iterator"])
def test_other_names_that_are_wrong_are_refused(put: Put, columns: Any, message: str, kind: str) -> None:
    with pytest.raises(ContactsError, match=message):
        read(put(kind, [{"phone": ANN, "name": "Ann"}]), columns=columns)


def test_a_name_that_two_columns_would_have_makes_the_row_invalid() -> None:
    found = read([{"phone": ANN, "to_number": BOB}, {"phone": ANN}], columns={"to_number": "phone"})
    assert told(found) == [(1, "invalid"), (2, ANN)]
    assert found[0].reason == "to_number is there twice: by this name, and as 'phone', which columns names"


# Keys, duplicates, do-not-call.


def test_duplicates_by_number_whatever_its_spelling() -> None:
    again = {"to_number": "+1 415 555 0142"}
    found = read([{"to_number": ANN}, again, {"to_number": BOB, "timezone": "x"}, {"to_number": BOB}])
    assert told(found) == [(1, ANN), (2, "duplicate"), (3, "invalid"), (4, BOB)]
    assert str(found[1]) == "row 2 (+1415***0142): to_number is that of an earlier row"


def test_duplicates_by_another_column() -> None:
    rows = [
        {"to_number": ANN, "customer": 1},
        {"to_number": ANN, "customer": "2"},
        {"to_number": BOB, "customer": " 1 "},
        {"to_number": BOB, "customer": ""},
        {"to_number": BOB, "customer": 1.5},
        {"to_number": BOB, "customer": "x" * 251},
    ]
    found = read(rows, contact_key="customer")
    assert told(found) == [(1, ANN), (2, ANN), (3, "duplicate"), *((row, "invalid") for row in (4, 5, 6))]
    assert [row.contact_key for row in found if not row.skipped] == ["1", "2"]
    assert contact(rows[:1], contact_key="customer").call.variables == {"customer": 1}


def test_a_reader_begins_anew_with_every_list() -> None:
    reader = ContactReader()
    for _ in range(2):
        assert told(list(reader.read([{"to_number": ANN}]))) == [(1, ANN)]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (
            "Phone Number,Customer,Time\n+14155550142,Ann,10:00\n",
            {"first_message": "Hello {name}."},
            r"contacts: .*the column 'to_number' is missing.*columns=",
        ),
        (
            "+14155550142,Ann\n",
            {"first_message": "Hello {name}."},
            r"row 1: looks like a contact \(\+1415\*\*\*0142, Ann\)",
        ),
        (f"to_number\n{ANN}\n", {"contact_key": "customer"}, "the column 'customer' is missing"),
    ],
    ids=["a number before a placeholder", "a header before a placeholder", "the key"],
)
def test_a_missing_column_is_told_of(write: Write, content: str, options: Any, message: str) -> None:
    with pytest.raises(ContactsError, match=message):
        read(write(content), **options)


LISTS = {
    "numbers.txt": f"# since May\n\n{BOB}\n+1 415 555 0142\n",
    "numbers": f"{ANN}\n{BOB}",
    "numbers.csv": f"name;phone\nAnn;{ANN}\n;{BOB}\nnobody;\n",
    "one_column.csv": f"blocked\n{ANN}\n{BOB}\n",
    "no_header.csv": f"{ANN}\n{BOB}\n",
    "numbers.jsonl": f'{{"number": "{ANN}"}}\n{{"number": "{BOB}", "why": "asked"}}\n',
    "numbers.txt.gz": f"{ANN}\n{BOB}\n",
}


@pytest.mark.parametrize("name", LISTS)
def test_do_not_call_files(write: Write, name: str) -> None:
    path = write(LISTS[name], name)
    found = read([{"to_number": ANN}, {"to_number": CAT}, {"to_number": BOB}], do_not_call=path)
    assert told(found) == [(1, "do_not_call"), (2, CAT), (3, "do_not_call")]


def test_do_not_call_collections_are_compared_normalised() -> None:
    rows = [{"to_number": ANN}, {"to_number": CAT}]
    found = read(rows, do_not_call={"(415) 555-0142"}, default_region="US")
    assert told(found) == [(1, "do_not_call"), (2, CAT)]
    assert str(found[0]) == "row 1 (+1415***0142): to_number is on the do-not-call list"
    assert len(read(rows, do_not_call=[])) == 2


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (f"{ANN}\nnobody\n", "numbers.txt", "row 2: the value is not one phone number.*Fix it"),
        (f"{ANN},{BOB}\n", "numbers.txt", "row 1: .*is not one phone number"),
        (f"a,b\n{ANN},1\n", "numbers.csv", "no column is named to_number or number"),
        (
            f"Name,Phone Number\nx,{ANN}\n",
            "numbers.csv",
            "rename 'Phone Number'; there are Name, Phone Number",
        ),
        (f"phone,a\n{ANN}\n", "numbers.csv", "row 2: a is missing"),
        (f'"{ANN}"\n', "numbers.jsonl", "row 1: .*must be a JSON object"),
        ("", "numbers.txt", "empty"),
    ],
)
def test_a_do_not_call_list_that_is_unreadable_refuses_everything(
    write: Write, content: str, name: str, message: str
) -> None:
    with pytest.raises(ContactsError, match=message) as caught:
        ContactReader(do_not_call=write(content, name))
    assert ANN not in str(caught.value)


# Placeholders.


def test_braces_written_twice_are_text() -> None:
    assert contact([{"to_number": ANN, "a": "1"}], context="{{a}} {a} {{").call.context == "{a} 1 {"


@pytest.mark.parametrize(
    "template",
    ["{a.__class__}", "{a[0]}", "{0}", "{b}", "{__class__}"],
)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "list"])
def test_an_unknown_placeholder_is_refused(put: Put, template: str, kind: str) -> None:
    contacts = put(kind, [{"to_number": ANN, "a": "1"}])
    found: list[ContactEntry] = []
    says = rf"first_message: the placeholder {re.escape(template)} is no column of.*to_number, a"
    with pytest.raises(ContactsError, match=says):
        found.extend(ContactReader(first_message=f"Hi {template}").read(contacts))
    assert all(row.skipped for row in found)


@pytest.mark.parametrize(
    ("template", "columns"),
    [("{name}", "to_number,NAME"), ("{first_name}", "to_number,First Name"), ("{id}", "to_number,I-D")],
)
def test_a_placeholder_beside_its_column_is_told_apart(write: Write, template: str, columns: str) -> None:
    meant = columns.rpartition(",")[2]
    with pytest.raises(
        ContactsError, match=rf"is no column of .*; write \{{{meant}\}}; there are {columns[:9]}"
    ):
        read(write(f"{columns}\n{ANN},x\n"), first_message=f"Hi {template}")


def test_an_empty_placeholder_makes_the_row_invalid() -> None:
    rows = [{"to_number": ANN, "a": " "}, {"to_number": BOB, "a": ["x"]}, {"to_number": CAT, "a": 0}]
    found = read(rows, first_message="{a}")
    assert told(found) == [(1, "invalid"), (2, "invalid"), (3, CAT)]
    assert [row.reason for row in found[:2]] == [
        "a is empty, and first_message needs it",
        "a is a list; first_message takes only text and numbers",
    ]
    assert found[2].call.first_message == "0"


def test_a_row_with_its_own_text_needs_no_placeholder() -> None:
    rows = [{"to_number": ANN, "a": "", "first_message": "Hello"}]
    assert contact(rows, first_message="{a}").call.first_message == "Hello"


def test_a_filled_text_that_is_too_long_is_invalid() -> None:
    (row,) = read([{"to_number": ANN, "a": "x" * 60_000}], context="{a}{a}")
    assert (row.skipped, str(row.reason)[:8]) == ("invalid", "context ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"default_region": "UK"}, "default_region: 'UK' is no country"),
        ({"from_number": "12"}, "from_number: .*no country code"),
        ({"agent_id": "\n1\n2"}, "agent_id: "),
        ({"variables": {"a": date(2026, 6, 1)}}, "a: the value"),
        ({"variables": ["a"]}, "variables: must be a mapping"),
        ({"variables": {1: "a"}}, "variables: must be a mapping"),
        ({"first_message": 5}, "first_message: must be text"),
        *(
            ({"do_not_call": wrong}, "do_not_call: must be a list of numbers")
            for wrong in (5, b"x", {"a": 1})
        ),
        *(
            ({"context": trick}, "context: .*brace that is text")
            for trick in ("{}", "{a:>10}", "{a!r}", "{a:{b}}", "{a", "a}", "{a:%H}")
        ),
    ],
)
def test_what_holds_for_all_is_checked_first(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ContactsError, match=message):
        ContactReader(**options)


# Any input at all.

cells = st.one_of(st.none(), st.integers(), st.booleans(), st.floats(), st.text(max_size=12), st.just(ANN))
columns = st.sampled_from(
    ["to_number", "agent_id", "from_number", "first_message", "timezone", "region", "consent", "a", "b"]
)


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.dictionaries(columns, cells, max_size=6), max_size=6))
def test_any_row_is_a_valid_call_or_says_why_not(rows: list[dict[str, Any]]) -> None:
    if rows and not any("to_number" in row for row in rows):
        rows = [{"to_number": None}, *rows]
    found = read(rows, agent_id="a", from_number=BOB, context="static")
    assert [row.row_number for row in found] == list(range(1, len(rows) + 1))
    keys = [row.contact_key for row in found if not row.skipped]
    assert len(keys) == len(set(keys))
    for row in found:
        if not row.skipped:
            row.call.validated()
        else:
            assert row.reason
            assert ANN not in repr(row) + str(row)


@settings(max_examples=300, deadline=None)
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(lambda text: f"to_number,a\n{text}".encode("utf-8", "replace")),
        st.lists(
            st.sampled_from([ANN, BOB, ",", ";", '"', "\n", "\r\n", "x", "\x00", "\t", " "]), max_size=40
        ).map(lambda parts: ("to_number,a\n" + "".join(parts)).encode()),
    ),
    name=st.sampled_from(["a.csv", "a.jsonl", "a.csv.gz"]),
    packed=st.booleans(),
)
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str, packed: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(gzip.compress(content, 1) if packed and name.endswith(".gz") else content)
    refusal = ""
    found: list[ContactEntry] = []
    try:
        found = read(str(path))
    except ContactsError as exc:
        refusal = str(exc)
    assert ANN not in refusal
    assert [row.row_number for row in found] == sorted({row.row_number for row in found})


@settings(max_examples=150, deadline=None)
@given(
    texts=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20), max_size=8),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
)
def test_what_a_csv_writer_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], delimiter: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "written.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerow(["to_number", "text"])
        writer.writerows([f"+14155550{number + 100}", text] for number, text in enumerate(texts))
    found = [row for row in read(str(path)) if not row.skipped]
    assert [(row.call.variables or {}).get("text", "") for row in found] == [text.strip() for text in texts]


def test_a_long_file_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    with path.open("w") as stream:
        stream.write("to_number,name\n")
        stream.writelines(
            f"+1{area}55501{number:02d},{'x' * 400}\n" for area in range(200, 300) for number in range(100)
        )
    assert contact([{"to_number": ANN}])  # everything is imported by now
    tracemalloc.start()
    try:
        assert sum(not row.skipped for row in ContactReader().read(str(path))) == 10_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 4_000_000
    assert peak < 2_000_000
