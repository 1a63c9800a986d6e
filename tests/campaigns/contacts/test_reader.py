from __future__ import annotations

import csv
import gzip
import inspect
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
from airflow_provider_voiceinfra.campaigns.contacts.reader import (
    Contact,
    ContactReader,
    SkippedRow,
    open_rows,
)
from airflow_provider_voiceinfra.exceptions import ContactsError, InvalidCallError
from airflow_provider_voiceinfra.operators.voiceinfra import (
    VoiceInfraCampaignOperator,
    VoiceInfraOutboundCallOperator,
)

# Not the number that messages give as an example.
ANN, BOB, CAT = "+14155550142", "+14155550101", "+442079460123"
Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(content: str | bytes, name: str = "contacts.csv") -> str:
        data = content.encode() if isinstance(content, str) else content
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return str(tmp_path / name)

    return write_file


def read(contacts: object, **options: Any) -> list[Contact | SkippedRow]:
    return list(ContactReader(**options).read(contacts))


def contact(contacts: object, **options: Any) -> Contact:
    (found,) = read(contacts, **options)
    assert isinstance(found, Contact), found
    return found


def skipped(contacts: object, **options: Any) -> SkippedRow:
    found = [row for row in read(contacts, **options) if isinstance(row, SkippedRow)]
    assert len(found) == 1, found
    return found[0]


def numbers(found: list[Contact | SkippedRow]) -> list[tuple[int, str]]:
    return [(row.row, row.call.to_number if isinstance(row, Contact) else row.reason) for row in found]


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
    assert found.row == 1
    assert found.key == ANN
    assert found.timezone is None
    assert found.call.to_request() == {
        "to_number": ANN,
        "agent_id": "agent-1",
        "from_number": BOB,
        "first_message": "Hello Ann, visit 3.",
        "context": "Be brief.",
        "variables": {"shop": "X", "first_name": "Ann", "visits": 3},
    }
    assert found.call.validated() == found.call


def test_a_row_own_columns_go_before(write: Write) -> None:
    path = write(
        "to_number,agent_id,from_number,first_message,context,timezone\n"
        f"{ANN},agent-2,+44 20 7946 0123,Hi {{name}},Context,Europe/London\n"
    )
    found = contact(path, agent_id="agent-1", from_number=BOB, first_message="Hello", context="-")
    assert found.timezone == "Europe/London"
    assert found.call.to_request() == {
        "to_number": ANN,
        "agent_id": "agent-2",
        "from_number": CAT,
        "first_message": "Hi {name}",  # a cell is no template
        "context": "Context",
    }


def test_nothing_set_leaves_the_rest_to_the_connection() -> None:
    assert contact([{"to_number": ANN}]).call.to_request() == {"to_number": ANN}


def test_numbers_and_texts_do_not_show_in_a_repr() -> None:
    found = contact([{"to_number": ANN, "first_name": "Zebedee"}], first_message="Hi {first_name}")
    assert ANN not in repr(found)
    assert "Zebedee" not in repr(found)


# Files.


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["plain", "bom"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("name", ["contacts.csv", "contacts.csv.gz", "CONTACTS.CSV"])
def test_files_of_spreadsheets(write: Write, delimiter: str, bom: bytes, end: str, name: str) -> None:
    lines = [["to_number", "first name"], [ANN, "Zoë"], ["", ""], [f" {BOB} ", '"a;b,c\td"'], ["", ""], []]
    text = end.join(delimiter.join(line) for line in lines)
    found = read(write(bom + text.encode(), name), first_message="Hi {first name}")
    assert numbers(found) == [(2, ANN), (4, BOB)]
    assert [row.call.first_message for row in found if isinstance(row, Contact)] == ["Hi Zoë", "Hi a;b,c\td"]


def test_delimiter_is_the_one_around_to_number(write: Write) -> None:
    assert contact(write(f"name, first, middle;to_number\nAnn;{ANN}\n")).call.variables == {
        "name, first, middle": "Ann"
    }


def test_quoted_header_may_hold_other_delimiters(write: Write) -> None:
    assert contact(write(f'"a;b;c;d",to_number\n1,{ANN}\n')).call.variables == {"a;b;c;d": "1"}


def test_hint_of_a_spreadsheet_about_its_delimiter(write: Write) -> None:
    assert numbers(read(write(f"sep=;\nto_number;a\n{ANN};1\nx;1\n"))) == [(3, ANN), (4, "invalid")]


def test_columns_and_cells_that_a_spreadsheet_left_empty(write: Write) -> None:
    assert numbers(read(write(f"to_number,a,,\n{ANN},1,,\n,,,\n{BOB},2\n"))) == [(2, ANN), (4, BOB)]


def test_a_row_is_numbered_by_the_line_at_which_it_starts(write: Write) -> None:
    path = write(f'\nnote,to_number\n"two\nlines",{ANN}\n\n"three\r\n\r\nlines",{BOB}\n"end",x')
    assert numbers(read(path)) == [(3, ANN), (6, BOB), (9, "invalid")]


def test_json_lines(write: Write) -> None:
    path = write(
        f'{{"to_number": "{ANN}", "tags": ["a"], "n": 1}}\n\n'
        f'{{"to_number": \n[1]\n"x"\n{{"to_number": "{BOB}", "n": NaN}}\n{{"to_number": "{CAT}"}}',
        "contacts.jsonl.gz",
    )
    found = read(path)
    assert numbers(found) == [
        (1, ANN),
        (3, "invalid"),
        (4, "invalid"),
        (5, "invalid"),
        (6, "invalid"),
        (7, CAT),
    ]
    assert isinstance(found[0], Contact)
    assert found[0].call.variables == {"tags": ["a"], "n": 1}
    messages = [row.message for row in found if isinstance(row, SkippedRow)]
    assert "character" in messages[0]
    assert "one object per line" in messages[0]
    assert "not list" in messages[1]
    assert "not str" in messages[2]
    assert "NaN is no JSON value; write null" in messages[3]


def test_json_nested_too_deep_is_an_invalid_row(write: Write) -> None:
    deep = "[" * 200_000
    found = read(write(f'{{"to_number": "{ANN}"}}\n{deep}\n', "contacts.jsonl"))
    assert numbers(found) == [(1, ANN), (2, "invalid")]


def test_a_list_with_rows_that_are_none() -> None:
    found = read([{"to_number": ANN}, "x", {1: 2}, {"to_number": BOB}])
    assert numbers(found) == [(1, ANN), (2, "invalid"), (3, "invalid"), (4, BOB)]


def test_nobody_to_call_is_no_error(write: Write) -> None:
    assert read([], first_message="Hi {name}") == []
    assert read(write("to_number,name\n"), first_message="Hi {name}") == []


def test_an_iterator_of_mappings_and_a_path_object(write: Write) -> None:
    assert contact(iter([{"to_number": ANN}])).key == ANN
    assert contact(Path(write(f"to_number\n{ANN}\n"))).key == ANN


def test_open_rows_tells_number_and_cells(write: Write) -> None:
    rows = open_rows(write("a,b\n1,2\n"))
    assert rows.columns == ("a", "b")
    assert list(rows) == [(2, {"a": "1", "b": "2"})]


def test_object_storage_urls(write: Write) -> None:
    path = write(f"to_number\n{ANN}\n", "contacts.csv.gz")
    assert contact(f"file://{path}").key == ANN
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
REFUSED = {
    "empty": (b"", "contacts.csv", "the file is empty"),
    "empty gzip": (b"", "contacts.csv.gz", "the file is empty"),
    "empty jsonl": (b"", "contacts.jsonl", "the file is empty"),
    "only blank lines": (b"\n\r\n \n", "contacts.csv", "no header"),
    "only a hint": (b"sep=,\n", "contacts.csv", "no header"),
    "no to_number": (
        b"phone,name\n1,2\n",
        "contacts.csv",
        r"the column 'to_number' is missing; rename 'phone' to 'to_number', or pass "
        r"columns=\{'to_number': 'phone'\}; there are phone, name",
    ),
    "another header": (
        b"Name,Phone Number,Phone Type\n",
        "contacts.csv",
        r"rename 'Phone Number' to 'to_number', or pass columns=\{'to_number': 'Phone Number'\}; there are",
    ),
    "nothing like a number": (
        b"name,city\n",
        "contacts.csv",
        "the column 'to_number' is missing; add it; there are name, city",
    ),
    "other spelling": (b"To Number,name\n", "contacts.csv", "rename 'To Number' to 'to_number'"),
    "no header": (
        f"{ANN},Ann\n{BOB},Bob\n".encode(),
        "contacts.csv",
        r"row 1: looks like a contact \(\+1415\*\*\*0142, Ann",
    ),
    "duplicate column": (b"to_number,a,b,a\n", "contacts.csv", r"row 1: columns 2 and 4 are both named 'a'"),
    "nameless column": (b"to_number,,b\n", "contacts.csv", "row 1: column 2 has no name"),
    "windows-1252": (
        HEAD + b"1,x\n2,Zo\xeb\n",
        "contacts.csv",
        "row 3: column 2: the byte 0xEB is not UTF-8",
    ),
    "windows-1252 after quoted delimiters": (
        HEAD + b'"1,2;3",Zo\xeb\n',
        "contacts.csv",
        "row 2: column 2: the byte 0xEB is not UTF-8",
    ),
    "windows-1252 in a cell of several lines": (
        HEAD + b'1,"a,b\nc,d,Zo\xeb"\n',
        "contacts.csv",
        "row 3: column 2: the byte 0xEB is not UTF-8",
    ),
    "windows-1252 after a cell of several lines": (
        b"a,b,c,to_number\n" + b'1,"x\ny",Zo\xeb,2\n',
        "contacts.csv",
        "row 3: column 3: the byte 0xEB is not UTF-8",
    ),
    "windows-1252 after other delimiters": (
        b"to_number;name\n1,2,3;Zo\xeb\n",
        "contacts.csv",
        "row 2: column 2: the byte 0xEB is not UTF-8",
    ),
    "windows-1252 in the header": (
        b'"a,b";to_number;Zo\xeb\n',
        "contacts.csv",
        "row 1: column 3: the byte 0xEB is not UTF-8",
    ),
    "windows-1252 in json": (
        b'{"to_number": "1,2,Zo\xeb"}\n',
        "contacts.jsonl",
        "row 1: character 22: the byte 0xEB is not UTF-8",
    ),
    "utf-16": ("to_number\n".encode("utf-16"), "contacts.csv", "UTF-16; save it as 'CSV UTF-8'"),
    "utf-16 without mark": ("to_number\n".encode("utf-16-le"), "contacts.csv", "row 1: holds a NUL"),
    "nul": (HEAD + b"1,a\x00b\n", "contacts.csv", "row 2: holds a NUL"),
    "workbook": (b"PK\x03\x04....", "contacts.csv", "is a workbook"),
    "gzip by another name": (gzip.compress(HEAD), "contacts.csv", r"let its name end in \.gz"),
    "open quote": (HEAD + b'1,a\n2,"b\n3,c\n', "contacts.csv", "row 3: column 2: its quote is never closed"),
    "open quote after a quote in a bare cell": (
        HEAD + b'5" pipe,"b\n3,c\n',
        "contacts.csv",
        "row 2: column 2: its quote is never closed",
    ),
    "open quote after cells of several lines": (
        HEAD + b'"1,1\n2,2","x\n3,c\n',
        "contacts.csv",
        "row 2: column 2: its quote is never closed",
    ),
    "quote in quotes": (
        HEAD + b'1,"say "hi" now"\n',
        "contacts.csv",
        "row 2: not CSV: .*write a quote in it twice",
    ),
    "old mac": (b"to_number,name\r1,a\r", "contacts.csv", "row 1: its lines end as on old Macs"),
    "huge cell": (
        HEAD + b"1," + b"x" * 1_000_000 + b"\n",
        "contacts.csv",
        r"row 2.*longer than 1,000,000 bytes",
    ),
    "big cell": (
        HEAD + b"1,a\n1," + b"x" * 200_000 + b"\n",
        "contacts.csv",
        "row 3: column 2: more than 100,000 bytes",
    ),
    "big cell after quotes and delimiters": (
        HEAD + b'5" pipe,"1,2",' + b"x" * 200_000 + b"\n",
        "contacts.csv",
        "row 2: column 3: more than 100,000 bytes",
    ),
    "cell just too big": (
        HEAD + b"1," + b"x" * 100_001 + b"\n",
        "contacts.csv",
        "row 2: column 2: more than 100,000",
    ),
    "wide characters": (
        HEAD + b"1," + "é".encode() * 50_001,
        "contacts.csv",
        "row 2: column 2: more than 100,000",
    ),
    "cell of many lines": (
        HEAD + b'1,"' + b"x\n" * 600_000,
        "contacts.csv",
        "row 2: column 2: more than 100,000 bytes in one cell; .* closing quote is missing",
    ),
    "huge json line": (b'{"to_number": "' + b"1" * 1_000_000, "contacts.jsonl", r"row 1.*longer than"),
    "other suffix": (b"x", "contacts.txt", r"must end in \.csv or \.jsonl"),
    "spreadsheet": (
        b"x",
        "contacts.xlsx",
        r"contacts: .* is a spreadsheet's own file; save it as 'CSV UTF-8'",
    ),
}


@pytest.mark.parametrize(("content", "name", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_file_that_is_refused_as_a_whole(write: Write, content: bytes, name: str, message: str) -> None:
    path = write(content, name)
    with pytest.raises(ContactsError, match=message) as caught:
        read(path)
    assert path in str(caught.value)
    assert ANN not in str(caught.value)


def test_a_huge_row_of_small_cells_is_refused(write: Write) -> None:
    cells = ",".join(["x" * 900] * 1200)
    with pytest.raises(ContactsError, match="row 2: the line is longer"):
        read(write(f"to_number,name\n{cells}\n"))


def test_a_huge_row_is_refused_where_cells_may_be_any_size(write: Write) -> None:
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with pytest.raises(ContactsError, match="row 2: column 2: more than 100,000"):
            read(write(b'to_number,name\n1,"' + b"x\n" * 600_000))
        with pytest.raises(ContactsError, match="row 2: column 2: more than 100,000"):
            read(write(b"to_number,name\n1," + b"x" * 300_000))
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


@pytest.mark.parametrize("missing", ["none.csv", ".", "none/none.csv"])
def test_a_file_that_cannot_be_opened(tmp_path: Path, missing: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ContactsError):
        read(str(tmp_path / missing))
    with pytest.raises(ContactsError, match="cannot be read"):
        read(str(tmp_path / "folder.csv"))


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

INVALID = {
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
    first, found, last = read([{"to_number": BOB}, row, {"to_number": CAT}])
    assert isinstance(first, Contact)
    assert isinstance(last, Contact)
    assert isinstance(found, SkippedRow)
    assert (found.row, found.reason, found.field) == (2, "invalid", field)
    assert re.search(message, found.message), found.message
    assert ANN[2:] not in repr(found)


def test_a_broken_row_of_a_file(write: Write) -> None:
    found = read(write(f"to_number,a,b\n{ANN},1\n{BOB},1,2,3\n{CAT},1,2\n"))
    assert numbers(found) == [(2, "invalid"), (3, "invalid"), (4, CAT)]
    few, many, _ = found
    assert isinstance(few, SkippedRow)
    assert isinstance(many, SkippedRow)
    assert (few.field, many.field) == ("b", "column 4")
    assert "the row has 2 cells, the header 3" in few.message
    assert "must be in quotes" in many.message


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


@settings(max_examples=2000, deadline=None)
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
    expected: str | None = None
    try:
        parsed = phonenumbers.parse(written)
        if phonenumbers.is_possible_number_with_reason(parsed) == phonenumbers.ValidationResult.IS_POSSIBLE:
            expected = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    except phonenumbers.NumberParseException:
        pass
    if expected is not None and len(expected) > 16:
        expected = None
    for _ in range(2):  # the second time from what the first has taught
        try:
            found: str | None = reader.normalise(written)
        except InvalidCallError:
            found = None
        assert found == expected


def test_the_fast_way_agrees_when_it_has_learned_from_other_numbers() -> None:
    reader, chosen = NumberReader(), random.Random(7)
    for _ in range(20_000):
        size = chosen.choice([7, 8, 9, 10, 11])
        country = chosen.choice([1, 7, 39, 44, 49, 52, 54, 55, 61, 91, 598])
        written = f"+{country}{chosen.randrange(10**size):0{size}d}"
        try:
            found: str | None = reader.normalise(written)
        except InvalidCallError:
            found = None
        parsed = phonenumbers.parse(written)
        possible = (
            phonenumbers.is_possible_number_with_reason(parsed) == phonenumbers.ValidationResult.IS_POSSIBLE
        )
        assert found == (phonenumbers.format_number(parsed, 0) if possible else None)


@pytest.mark.parametrize("written", ["0014155550106", "00 1 (415) 555-0106", "001 415 555 0106"])
@pytest.mark.parametrize("region", [None, "US"])
def test_00_is_told_from_the_plus_sign_that_it_stands_for(written: str, region: str | None) -> None:
    row = skipped([{"to_number": written}], default_region=region)
    assert "begins with 00, which is dialled for calls abroad; write + in its place" in row.message
    assert "55501" not in row.message


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
@pytest.mark.parametrize("kind", ["csv", "jsonl", "list", "iterator"])
def test_the_operator_s_own_words_are_no_columns(write: Write, word: str, remedy: str, kind: str) -> None:
    rows: list[dict[str, Any]] = [{"to_number": ANN, "a": "1"}, {"to_number": BOB, word: {"name": "Ann"}}]
    contacts: object = rows
    if kind == "csv":
        contacts = write(f"to_number,{word}\n{ANN},x\n")
    elif kind == "jsonl":
        contacts = write("\n".join(map(json.dumps, rows)), "contacts.jsonl")
    elif kind == "iterator":
        contacts = iter(rows)
    with pytest.raises(ContactsError) as caught:
        read(contacts)
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


@pytest.mark.parametrize("kind", ["csv", "jsonl", "list", "iterator"])
def test_columns_by_another_name(write: Write, kind: str) -> None:
    rows = [{"Phone Number": ANN, "Customer": "Ann", "city": "X"}, {"Phone Number": "12"}]
    contacts: object = rows
    if kind == "csv":
        contacts = write(f"Phone Number;Customer;city\n{ANN};Ann;X\n12;;\n")
    elif kind == "jsonl":
        contacts = write("\n".join(map(json.dumps, rows)), "contacts.jsonl")
    elif kind == "iterator":
        contacts = iter(rows)
    columns = {"to_number": "Phone Number", "name": "Customer"}
    found, wrong = read(contacts, columns=columns, first_message="Hi {name} of {city}")
    assert isinstance(found, Contact)
    assert found.call.to_request() == {
        "to_number": ANN,
        "first_message": "Hi Ann of X",
        "variables": {"name": "Ann", "city": "X"},
    }
    assert isinstance(wrong, SkippedRow)
    assert wrong.field == "to_number"


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
    ],
)
@pytest.mark.parametrize("kind", ["csv", "iterator"])
def test_other_names_that_are_wrong_are_refused(write: Write, columns: Any, message: str, kind: str) -> None:
    contacts: object = iter([{"phone": ANN, "name": "Ann"}])
    if kind == "csv":
        contacts = write(f"phone,name\n{ANN},Ann\n")
    with pytest.raises(ContactsError, match=message):
        read(contacts, columns=columns)


def test_a_name_that_two_columns_would_have_makes_the_row_invalid() -> None:
    rows = [{"phone": ANN, "to_number": BOB}, {"phone": ANN}]
    first, second = read(rows, columns={"to_number": "phone"})
    assert first == SkippedRow(
        1, "invalid", "to_number", "is there twice: by this name, and as 'phone', which columns names"
    )
    assert isinstance(second, Contact)


# Keys, duplicates, do-not-call.


def test_duplicates_by_number_whatever_its_spelling() -> None:
    found = read([{"to_number": ANN}, {"to_number": "+1 415 555 0142"}, {"to_number": BOB}])
    assert numbers(found) == [(1, ANN), (2, "duplicate"), (3, BOB)]
    assert found[1] == SkippedRow(2, "duplicate", "to_number", "is that of an earlier row", "+1415***0142")


def test_an_invalid_row_does_not_make_a_later_one_a_duplicate() -> None:
    found = read([{"to_number": ANN, "timezone": "x"}, {"to_number": ANN}])
    assert numbers(found) == [(1, "invalid"), (2, ANN)]


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
    assert numbers(found) == [
        (1, ANN),
        (2, ANN),
        (3, "duplicate"),
        (4, "invalid"),
        (5, "invalid"),
        (6, "invalid"),
    ]
    assert [row.key for row in found if isinstance(row, Contact)] == ["1", "2"]
    assert contact(rows[:1], contact_key="customer").call.variables == {"customer": 1}


def test_a_reader_begins_anew_with_every_list() -> None:
    reader = ContactReader()
    assert [len([*reader.read([{"to_number": ANN}])]) for _ in range(2)] == [1, 1]
    assert all(isinstance(row, Contact) for row in reader.read([{"to_number": ANN}]))


def test_columns_the_wrong_way_round_are_told_so() -> None:
    says = r"columns: is the wrong way round: .* write \{'to_number': 'Phone Number', 'name': 'Customer'\}"
    with pytest.raises(ContactsError, match=says):
        read(
            [{"Phone Number": ANN, "Customer": "Ann"}],
            columns={"Phone Number": "to_number", "Customer": "name"},
        )


def test_a_missing_number_is_told_before_a_placeholder(write: Write) -> None:
    path = write("Phone Number,Customer,Time\n+14155550142,Ann,10:00\n")
    with pytest.raises(ContactsError, match=r"contacts: .*the column 'to_number' is missing.*columns="):
        read(path, first_message="Hello {name}.")


def test_a_file_without_a_header_is_told_so_before_a_placeholder(write: Write) -> None:
    with pytest.raises(ContactsError, match=r"row 1: looks like a contact \(\+1415\*\*\*0142, Ann\)"):
        read(write("+14155550142,Ann\n"), first_message="Hello {name}.")


def test_a_missing_key_column_is_refused(write: Write) -> None:
    with pytest.raises(ContactsError, match="the column 'customer' is missing"):
        read(write(f"to_number\n{ANN}\n"), contact_key="customer")


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
    assert numbers(found) == [(1, "do_not_call"), (2, CAT), (3, "do_not_call")]


def test_do_not_call_collections_are_compared_normalised() -> None:
    rows = [{"to_number": ANN}, {"to_number": CAT}]
    found = read(rows, do_not_call={"(415) 555-0142"}, default_region="US")
    assert numbers(found) == [(1, "do_not_call"), (2, CAT)]
    assert found[0] == SkippedRow(1, "do_not_call", "to_number", "is on the do-not-call list", "+1415***0142")
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


@pytest.mark.parametrize("wrong", [5, b"x", {"a": 1}])
def test_a_do_not_call_list_of_another_kind(wrong: Any) -> None:
    with pytest.raises(ContactsError, match="do_not_call: must be a list of numbers"):
        ContactReader(do_not_call=wrong)


# Placeholders.


def test_braces_written_twice_are_text() -> None:
    assert contact([{"to_number": ANN, "a": "1"}], context="{{a}} {a} {{").call.context == "{a} 1 {"


@pytest.mark.parametrize(
    "template",
    ["{a.__class__}", "{a[0]}", "{0}", "{b}", "{__class__}"],
)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "list"])
def test_an_unknown_placeholder_is_refused(write: Write, template: str, kind: str) -> None:
    contacts: object = [{"to_number": ANN, "a": "1"}]
    if kind == "csv":
        contacts = write(f"to_number,a\n{ANN},1\n")
    elif kind == "jsonl":
        contacts = write(json.dumps({"to_number": ANN, "a": "1"}), "contacts.jsonl")
    reader = ContactReader(first_message=f"Hi {template}")
    found: list[object] = []
    with pytest.raises(
        ContactsError, match=r"first_message: the placeholder .* is no column of.*to_number, a"
    ) as e:
        found.extend(reader.read(contacts))
    assert template in str(e.value)
    assert not [row for row in found if isinstance(row, Contact)]


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


@pytest.mark.parametrize("template", ["{}", "{a:>10}", "{a!r}", "{a:{b}}", "{a", "a}", "{a:%H}"])
def test_tricks_in_a_template_are_refused(template: str) -> None:
    with pytest.raises(ContactsError, match=r"context: .*brace that is text"):
        ContactReader(context=template)


def test_an_empty_placeholder_makes_the_row_invalid() -> None:
    rows = [{"to_number": ANN, "a": " "}, {"to_number": BOB, "a": ["x"]}, {"to_number": CAT, "a": 0}]
    found = read(rows, first_message="{a}")
    assert numbers(found) == [(1, "invalid"), (2, "invalid"), (3, CAT)]
    assert [(row.field, row.message) for row in found if isinstance(row, SkippedRow)] == [
        ("a", "is empty, and first_message needs it"),
        ("a", "is a list; first_message takes only text and numbers"),
    ]
    assert isinstance(found[2], Contact)
    assert found[2].call.first_message == "0"


def test_a_row_with_its_own_text_needs_no_placeholder() -> None:
    rows = [{"to_number": ANN, "a": "", "first_message": "Hello"}]
    assert contact(rows, first_message="{a}").call.first_message == "Hello"


def test_a_filled_text_that_is_too_long_is_invalid() -> None:
    row = skipped([{"to_number": ANN, "a": "x" * 60_000}], context="{a}{a}")
    assert (row.field, row.reason) == ("context", "invalid")


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
    ],
)
def test_what_holds_for_all_is_checked_first(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ContactsError, match=message):
        ContactReader(**options)


# Any input at all.

cells = st.one_of(st.none(), st.integers(), st.booleans(), st.floats(), st.text(max_size=12), st.just(ANN))
columns = st.sampled_from(["to_number", "agent_id", "from_number", "first_message", "timezone", "a", "b"])


@settings(max_examples=300, deadline=None)
@given(rows=st.lists(st.dictionaries(columns, cells, max_size=6), max_size=6))
def test_any_row_is_a_valid_call_or_says_why_not(rows: list[dict[str, Any]]) -> None:
    if rows and not any("to_number" in row for row in rows):
        rows = [{"to_number": None}, *rows]
    found = read(rows, agent_id="a", from_number=BOB, context="static")
    assert [row.row for row in found] == list(range(1, len(rows) + 1))
    keys = [row.key for row in found if isinstance(row, Contact)]
    assert len(keys) == len(set(keys))
    for row in found:
        if isinstance(row, Contact):
            row.call.validated()
        else:
            assert row.message
            assert ANN not in repr(row)


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
    found: list[Contact | SkippedRow] = []
    try:
        found = read(str(path))
    except ContactsError as exc:
        refusal = str(exc)
    assert ANN not in refusal
    assert [row.row for row in found] == sorted({row.row for row in found})


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
    found = [row for row in read(str(path)) if isinstance(row, Contact)]
    assert [(row.call.variables or {}).get("text", "") for row in found] == [text.strip() for text in texts]


def test_a_long_file_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    with path.open("w") as stream:
        stream.write("to_number,name\n")
        stream.writelines(
            f"+1{area}55501{number:02d},{'x' * 400}\n" for area in range(200, 400) for number in range(100)
        )
    assert contact([{"to_number": ANN}])  # everything is imported by now
    tracemalloc.start()
    try:
        assert sum(isinstance(row, Contact) for row in ContactReader().read(str(path))) == 20_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 8_000_000
    assert peak < 4_000_000
