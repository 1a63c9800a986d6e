"""Markup, script and worse, from webhooks and the API's answers, are shown on every page as text.

Each page is made twice, once with hostile words in it and once with plain ones. The two must be built of the
same elements with the same attributes, whatever the words are; and the words must be there to be read.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from airflow_provider_voiceinfra.api.client import VoiceInfraClient
from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.campaigns.reporting.results import Tally
from airflow_provider_voiceinfra.connection import VoiceInfraConnection
from airflow_provider_voiceinfra.dialling.outcomes import UnknownPolicy
from airflow_provider_voiceinfra.dialling.placing import CallPlacer
from airflow_provider_voiceinfra.exceptions import VoiceInfraError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.lists.values import NO_CONNECTION
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from airflow_provider_voiceinfra.web.pages.addresses import seal
from airflow_provider_voiceinfra.webhooks.signing import SIGNATURE_HEADER, sign
from tests.test_diagnosis import http_server
from tests.web.pages.conftest import OP, OWN, PARTIAL, VIEWER, Client, FakeVisitor
from tests.web.pages.reading import Page, text_of

SECRET = "secret-of-the-tests"
FROM = "+12025550100"
SHORT = 60  # what is longer is cut off in its column, so that the page shows it twice
NUMBERS = {"answered": "+14155550100", "refused": "+14155550101", "lost": "+14155550102"}

# Each would do harm somewhere if it were not escaped there; how a word begins makes a difference, too.
TRICKS = {
    "markup": (
        "<script>alert(1)</script>\"><img src=x onerror=alert(1)>' onfocus='alert(1)' autofocus='"
        "</textarea></title></style></script><svg/onload=alert(1)>"
    ),
    "script": "javascript:alert(1)//{{7*7}}{%raw%}${7*7}#{7*7}<%=7*7%>",
    "data": "data:text/html,<script>alert(1)</script>\u202egnp.exe\u2066\u200b",
    "entities": "&lt;b&gt;&amp;amp;&#x3c;<!--]]>--!><?php ?>",
    "path": "../../x?y=1&z=2#a%00%2e%2e\\",
    "formula": '=HYPERLINK("http://127.0.0.1/")',
}
# Where a browser would follow, load or send something.
ADDRESSES = ("href", "src", "action", "formaction", "hx-get", "hx-post", "data", "poster", "srcset")
# What holds words of data; only that they are there is compared.
WORDS = ("title", "aria-label", "value", "placeholder", "data-chart", "datetime", *ADDRESSES)
SAFE_ADDRESS = re.compile(r"(?!/)[\w./%~-]*(\?[\w./~+%&=:*-]*)?(#[\w-]+)?", re.ASCII)

# What a spreadsheet calculates, and what looks like it and is a plain number.
FORMULA = re.compile(r"\s*[=+\-@|%\uff1d]|[\t\r\n]")
NUMBER = re.compile(r"[+-]?\d+", re.ASCII)

Word = Callable[[str], str]


class _Structure(HTMLParser):
    """What a page is built of: its elements, and their attributes but for the words in them."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ADDRESSES]
        kept = sorted((name, None if name in WORDS else value) for name, value in attrs)
        self.elements.append((tag, tuple(kept)))

    def handle_comment(self, data: str) -> None:
        self.elements.append(("comment", ((data, None),)))

    def handle_decl(self, decl: str) -> None:
        self.elements.append(("declaration", ((decl, None),)))

    def handle_pi(self, data: str) -> None:
        self.elements.append(("instruction", ((data, None),)))


def structure(html: str) -> _Structure:
    parser = _Structure()
    parser.feed(html)
    parser.close()
    return parser


def told(html: str) -> str:
    """Return all that can be read of a page, in its text and in its attributes."""
    attributes = [value or "" for _, found in Page(html).elements for value in found.values()]
    return " ".join([text_of(html), *(" ".join(one.split()) for one in attributes)])


# --- Where the words come from ---------------------------------------------------------------------------


@pytest.fixture
def api() -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the address of an API that answers whatever a test wants: ``status`` and ``body``."""
    answer: dict[str, Any] = {}
    kind = "application/json"
    with http_server(lambda *_: (answer["status"], kind, json.dumps(answer["body"]).encode())) as address:
        yield f"{address}/v1", answer


@dataclass
class World:
    """A ledger that was filled with words as they come in, and a client of its pages."""

    word: Word
    ledger: CallLedger
    client: TestClient
    api: tuple[str, dict[str, Any]]

    def origin(self, **more: Any) -> CallOrigin:
        names = ("dag_id", "run_id", "task_id")
        whence = {name: self.word(name) for name in names}
        return CallOrigin(**{**whence, "map_index": -1, "try_number": 1, **more})

    def place(self, name: str, status: int, body: dict[str, Any], **origin: Any) -> str:
        """Let the API answer a call, and return its key."""
        base_url, answer = self.api
        answer |= {"status": status, "body": body}
        # What is sent is checked before it is, so that the worst characters never get into an agent's id.
        agent_id = "".join(one for one in self.word("agent_id") if one.isprintable())
        call = OutboundCall(
            NUMBERS[name],
            agent_id,
            FROM,
            first_message=self.word("first_message"),
            context=self.word("context"),
            variables={self.word("variable"): [self.word("variable's value"), {self.word("inner"): 1}]},
        )
        connection = VoiceInfraConnection(self.word("conn_id"), "vk_key", base_url=base_url)
        with VoiceInfraClient(connection) as client:
            placer = CallPlacer(self.ledger, client, conn_id=self.word("conn_id"))
            try:
                placer.step(self.word(name), call, UnknownPolicy(), origin=self.origin(**origin))
            except VoiceInfraError:
                assert status == 404
        entry = self.ledger.call_by_key(self.word(name))
        assert entry is not None
        return seal(entry.key_hash)

    def receive(self, body: dict[str, Any] | bytes, *, secret: str = SECRET, event: str | None = None) -> int:
        """Send a webhook to the receiver's own route."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {SIGNATURE_HEADER: sign(secret, raw)}
        if event is not None:
            headers["X-VoiceInfra-Event"] = event.encode("ascii", "ignore").decode()
        where = f"http://testserver/webhooks/{quote(self.word('conn_id'), safe='')}"
        return self.client.post(where, content=raw, headers=headers).status_code


def fill(world: World) -> dict[str, str]:
    """Fill a ledger, and return the addresses of all pages by what they are about."""
    word, ledger = world.word, world.ledger
    campaign = {"campaign_id": word("campaign_id"), "position": 1, "attempt": 1}
    campaign["contact_key"] = word("contact_key")
    entry = ledger.campaigns.take(word("campaign_id"), conn_id=word("conn_id"), origin=world.origin())
    accepted = {"call_id": word("call_id"), "status": word("status")}
    error = {"error": {"code": word("code"), "message": word("message")}}
    keys = {
        "answered": world.place("answered", 200, accepted, **campaign),
        "refused": world.place("refused", 404, error, **campaign),
        "lost": world.place("lost", 500, error),
    }
    record = {
        "event": "call.completed",
        "agent_id": word("agent"),
        "from_number": FROM,
        "to_number": NUMBERS["answered"],
        "call_outcome": word("outcome")[:SHORT],
        "duration_seconds": 7,
        "start_time": word("start_time"),
        "summary": word("summary"),
        "transcript": f"Agent: {word('said')}\nCaller: {word('answer')}",
        "recording_url": word("recording_url"),
        word("field"): {word("name"): [word("value"), {word("deep"): word("deepest")}]},
        word("plain"): word("text"),
    }
    assert world.receive({**record, "call_id": word("call_id")}) == 200
    numbers = {"from_number": word("from")[:SHORT], "to_number": word("to")[:SHORT]}
    assert world.receive({**record, **numbers, "call_id": word("inbound")}) == 200
    kept = {"call_id": "kept", word("kept field"): word("kept value")}
    assert world.receive(kept, event=word("event")) == 200
    assert world.receive(word("no JSON").encode("utf-8", "surrogatepass")) == 200
    assert world.receive({"call_id": "believed by nobody"}, secret="wrong") == 401
    # As the campaign's own parts write it: what it met, and what came of it.
    refusals = [{name: word(name) for name in ("at", "code", "message", "to_number")}]
    progress = {
        **{"contacts": 9, "done": 2, "placed": 2, "active": 1, "max_active_calls": 5, "rate": 1.0},
        **{"outcomes": {word("outcome"): 2}, "skipped": {word("reason"): 1}, "waiting": {word("why"): 1}},
        **{"obstacle": word("obstacle"), "refusals": refusals, "next_at": "2026-01-02T03:04:05+00:00"},
    }
    assert entry.runner is not None
    ledger.campaigns.heartbeat(word("campaign_id"), entry.runner, progress)
    over = ledger.campaigns.take(word("over"), conn_id=word("conn_id"), origin=world.origin())
    summary = {**Tally().summary(), "results_path": word("results_path")}
    ledger.campaigns.finish(word("over"), str(over.runner), summary)
    ledger.deliveries.note_rejection(word("conn_id"), word("rejected"))
    ledger.deliveries.note_rejection(NO_CONNECTION, word("stray"))
    return addresses(world, keys)


def addresses(world: World, keys: dict[str, str]) -> dict[str, str]:
    def asked(**query: str) -> str:
        return "&".join(f"{name}={quote(world.word(value), safe='')}" for name, value in query.items())

    [delivery, *_] = world.ledger.deliveries.kept()
    by = {
        f"calls of this {name}": f"calls?{asked(**{name: name})}"
        for name in ("dag_id", "run_id", "campaign_id")
    }
    return {
        "calls": "calls",
        "longest calls": "calls?order=longest",
        **by,
        "calls of nobody": f"calls?{asked(run_id='of another run', outcome='another outcome')}",
        "charts": "charts",
        **{f"call that was {name}": f"call?key={key}" for name, key in keys.items()},
        "call by its id": f"call?{asked(id='call_id')}",
        "inbound call": f"call?{asked(id='inbound')}",
        "campaigns": "campaigns",
        "campaigns found": f"campaigns?{asked(text='campaign_id')}",
        "campaign": f"campaign?{asked(id='campaign_id')}",
        "campaign that is over": f"campaign?{asked(id='over')}",
        "run": f"run?{asked(dag_id='dag_id', run_id='run_id')}",
        "run without calls": f"run?{asked(dag_id='dag_id', run_id='another run')}",
        "setup": "setup",
        "kept delivery": f"setup?show={delivery.id}",
        # What is refused may say what it was asked for.
        "no such call": f"call?{asked(id='none')}",
        "no such key": f"call?{asked(key='none')}",
        "no such campaign": f"campaign?{asked(id='none')}",
        "no such order": f"calls?{asked(order='none')}",
        "no such state": f"calls?{asked(state='none')}",
        "no such place": f"calls?{asked(after='none')}",
        "no such zone": f"calls?since=2026-01-01T00:00&{asked(zone='none')}",
        "no such state of campaigns": f"campaigns?{asked(state='none')}",
        "no such page": quote(world.word("none"), safe=""),
        "no such file": "static/" + quote(world.word("none").replace("/", ""), safe=""),
    }


# What a reader must find on each page, word for word.
EXPECTED = {
    "calls": ("campaign_id", "dag_id", "run_id", "task_id", "conn_id", "code", "message"),
    "calls of this dag_id": ("dag_id", "conn_id"),
    "calls of nobody": ("of another run", "another outcome"),
    "charts": ("outcome",),
    "call that was answered": (
        *("call_id", "agent_id", "conn_id", "dag_id", "run_id", "task_id", "campaign_id", "contact_key"),
        *("first_message", "context", "variable", "variable's value", "inner", "answered", "agent"),
        *("start_time", "summary", "said", "answer", "recording_url"),
        *("field", "name", "value", "deep", "deepest", "plain", "text"),
    ),
    "call that was refused": ("code", "message", "refused", "first_message"),
    "call that was lost": ("message", "lost"),
    "inbound call": ("inbound", "agent", "from", "to", "said", "deepest"),
    "campaigns": ("campaign_id", "dag_id", "run_id", "conn_id"),
    "campaign": ("campaign_id", "message", "code", "reason", "to_number"),
    "campaign that is over": ("over", "results_path"),
    "run": ("dag_id", "run_id", "campaign_id", "task_id"),
    "run without calls": ("dag_id", "another run"),
    "setup": ("conn_id", "rejected", "stray"),
}


def hostile(trick: str) -> Word:
    # A connection's id is part of a path, which the client of the tests decodes twice.
    return lambda name: f"{trick.replace('%', '') if name == 'conn_id' else trick}{name}"


def plain(name: str) -> str:
    return f"{name} plain"


def readable(word: Word, name: str) -> str:
    text = word(name)[:SHORT] if name in ("from", "to", "outcome") else word(name)
    if name == "agent_id":
        text = "".join(one for one in text if one.isprintable())
    return " ".join(text.split()).rstrip(".") if name in ("code", "message") else " ".join(text.split())


@pytest.fixture
def world_of(client_of: Client, tmp_path: Path, api: tuple[str, dict[str, Any]]) -> Callable[..., World]:
    def make(word: Word, visitor: FakeVisitor = OP) -> World:
        ledger = CallLedger(f"sqlite:///{tmp_path / str(id(word))}.db")
        return World(word, ledger, client_of(visitor, ledger=ledger), api)

    return make


@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS)
def test_page_is_built_of_the_same_elements_whatever_the_words_are_and_shows_them(
    world_of: Callable[..., World], trick: str
) -> None:
    bad, good = world_of(hostile(trick)), world_of(plain)
    ours, theirs = fill(bad), fill(good)
    for name, address in ours.items():
        for headers in (PARTIAL, {}):
            answer = bad.client.get(address, headers=headers)
            twin = good.client.get(theirs[name], headers=headers)
            assert answer.status_code == twin.status_code < 500, (name, answer.text)
            assert (answer.status_code >= 400) == name.startswith("no such"), (name, answer.text)
            found = structure(answer.text)
            assert found.elements == structure(twin.text).elements, name
            assert [one for one in found.addresses if not SAFE_ADDRESS.fullmatch(one)] == [], name
            assert "media-src" not in answer.headers["content-security-policy"], name
        text = told(answer.text)
        assert [word for word in EXPECTED.get(name, ()) if readable(bad.word, word) not in text] == [], name
    cells = {cell.removeprefix("'") for row in csv_of(bad) for cell in row}
    for name in ("call_id", "conn_id", "dag_id", "run_id", "task_id", "campaign_id"):
        assert bad.word(name).removeprefix("'") in cells, name
    for path, field in (
        *(("campaign/cancel", "id"), ("campaign/resume", "id")),
        *(("setup/check", "conn_id"), ("setup/test", "conn_id"), ("setup/replay", "id")),
    ):
        refused, twin = (
            world.client.post(path, data={field: world.word("none")}, headers=OWN | PARTIAL)
            for world in (bad, good)
        )
        assert refused.status_code == twin.status_code < 500, path
        assert structure(refused.text).elements == structure(twin.text).elements, path


def csv_of(world: World) -> list[list[str]]:
    answer = world.client.get("calls.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["x-content-type-options"] == "nosniff"
    return list(csv.reader(io.StringIO(answer.text, newline="")))


def test_those_who_may_read_less_get_no_more_elements(world_of: Callable[..., World]) -> None:
    bad, good = world_of(hostile(TRICKS["markup"]), VIEWER), world_of(plain, VIEWER)
    ours, theirs = fill(bad), fill(good)
    for name, address in ours.items():
        answer, twin = bad.client.get(address), good.client.get(theirs[name])
        assert answer.status_code == twin.status_code, name
        assert structure(answer.text).elements == structure(twin.text).elements, name


@pytest.mark.parametrize(
    "formula",
    ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1+1", "\r=1+1", "\n=1+1", " =1+1", "\uff1d1+1", "|x", "%x"],
)
def test_no_cell_of_the_file_is_a_formula(world_of: Callable[..., World], formula: str) -> None:
    # No address holds a line break.
    world = world_of(lambda name: f"{formula.lstrip() if name == 'conn_id' else formula} {name}")
    fill(world)
    rows = csv_of(world)
    assert len(rows) == 1 + len(NUMBERS)
    cells = [cell for row in rows for cell in row]
    assert [cell for cell in cells if FORMULA.match(cell) and not NUMBER.fullmatch(cell)] == []
    assert any(formula.strip() in cell for cell in cells)
