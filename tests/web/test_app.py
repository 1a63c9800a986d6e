"""The receiver as a whole: its health, its start, its lookups, and what it survives."""

from __future__ import annotations

import json
import os
import string
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import requests
from fastapi import FastAPI
from fastapi.testclient import TestClient
from harness.processes import end, free_port, spawn, wait_for
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_voiceinfra import __version__
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.connect import database
from airflow_provider_voiceinfra.web.receiver import secrets
from airflow_provider_voiceinfra.web.receiver.secrets import (
    CACHE_SECONDS,
    MAX_UNKNOWN_LOOKUPS,
    UNKNOWN_AT_ONCE,
    CachedSecrets,
    ConnectionsUnavailableError,
    KnownNames,
    find_secrets,
)
from airflow_provider_voiceinfra.webhooks.signing import SIGNATURE_HEADER, sign
from tests.support.ledgers import ON_SQLITE
from tests.support.waiting import until
from tests.web.conftest import MAX_BYTES, SECRET, Server, completion, signed

MakeApp = Callable[..., FastAPI]


def test_health_names_service_status_and_version_and_nothing_else(make_app: MakeApp) -> None:
    with TestClient(make_app()) as client:
        answer = client.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {"service": "voiceinfra", "status": "ok", "version": __version__}


@ON_SQLITE
def test_health_says_that_the_ledger_is_away_and_that_it_is_back(make_app: MakeApp, tmp_path: Path) -> None:
    folder = tmp_path / "not there yet"
    with TestClient(make_app(f"sqlite:///{folder / 'ledger.db'}")) as client:
        answer = client.get("/health")
        assert (answer.status_code, answer.json()["status"]) == (503, "ledger_unavailable")
        assert answer.json().keys() == {"service", "status", "version"}
        folder.mkdir()
        until(lambda: client.get("/health").status_code == 200)


@ON_SQLITE
def test_there_is_nothing_else(make_app: MakeApp) -> None:
    with TestClient(make_app(), follow_redirects=False) as client:
        for path in ("/", "/docs", "/redoc", "/openapi.json", "/webhook", "/webhooksx", "/health/"):
            assert client.get(path).status_code == client.post(path).status_code == 404, path


# --- whatever anybody sends -----------------------------------------------------------------------------

ODD_TEXTS = (
    *("\x00", "a\x00b", "\ud800", "x" * 5000, "2026-99-99T00:00:00Z", "0001-01-01T00:00:00+14:00", "P1Y"),
    *("9999-12-31T23:59:59-12:00", "2026-W01-1/P1D", "12:00", "1", "+14155550100", "answered"),
    "call.completed",
)
hostile_text = st.text(max_size=40) | st.sampled_from(ODD_TEXTS)
hostile_json: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        *(st.none(), st.booleans(), st.integers(), st.floats(), hostile_text),
        st.sampled_from([10**400, -(10**400), 2**63, 1e308]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile_text, inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["call_id", "event", "from_number", "to_number", "agent_id", "duration_seconds", "start_time"]
FIELDS += ["end_time", "call_outcome", "recording_url", "transcript", "summary", "extracted"]
records = st.dictionaries(st.sampled_from(FIELDS), hostile_json).map(
    lambda record: json.dumps(record).encode("utf-8", "surrogatepass")
)
usable_records = st.fixed_dictionaries(
    {"call_id": hostile_text | st.integers()}, optional=dict.fromkeys(FIELDS[1:], hostile_json)
).map(lambda record: json.dumps(record).encode())
ODD_BODIES = (
    *(b"", b"[" * 9000, b'{"a":' * 3000, b'{"call_id":"c","n":1e999}', b'{"call_id":"c","n":NaN}'),
    *(b'{"call_id":"\\ud800"}', b'{"call_id":"c\\u0000"}', b'{"call_id": 1' + b"0" * 400 + b"}"),
    *(b'\xef\xbb\xbf{"call_id":"c"}', '{"call_id":"c"}'.encode("utf-16"), b'{"call_id":"a","call_id":"b"}'),
    b'{"call_id":"d","n":1' + b"0" * 5000 + b"}",
)
bodies = st.one_of(
    st.binary(max_size=200),
    records,
    usable_records,
    st.sampled_from(ODD_BODIES),
    st.just(b"x" * (MAX_BYTES + 1)),
)
header_text = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=80
)
paths = st.one_of(
    st.sampled_from(["/webhooks", "/webhooks/", "/webhooks/voiceinfra_default", "/webhooks/rotating"]),
    st.text(string.printable.replace("?", "").replace("#", "").strip() + "%", max_size=30).map(
        lambda text: "/webhooks/" + text
    ),
    st.binary(max_size=20).map(lambda data: "/webhooks/" + "".join(f"%{byte:02x}" for byte in data)),
    st.just("/webhooks/" + "x" * 10_000),
)


@pytest.fixture
def client(make_app: MakeApp) -> Iterator[TestClient]:
    with TestClient(make_app(), follow_redirects=False) as client:
        yield client


relaxed = settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])


@ON_SQLITE
@relaxed
@given(
    body=bodies,
    path=paths,
    signature=st.none() | header_text,
    event=st.none() | header_text,
    method=st.sampled_from(["POST", "POST", "POST", "GET", "PUT"]),
)
def test_unauthenticated_sender_only_ever_gets_documented_answers(
    client: TestClient, body: bytes, path: str, signature: str | None, event: str | None, method: str
) -> None:
    headers = {SIGNATURE_HEADER: signature, "X-VoiceInfra-Event": event}
    answer = client.request(
        method,
        "http://testserver" + path,
        content=body,
        headers=[(name, text.encode("latin-1")) for name, text in headers.items() if text is not None],  # type: ignore[misc]
    )
    # A path with a line break is none of ours.
    assert answer.status_code in {404 if "\n" in unquote(path) else 401, 401, 405, 413}
    assert answer.status_code != 413 or len(body) > MAX_BYTES


@relaxed
@given(body=bodies, event=st.none() | st.just("call.completed") | header_text)
def test_whatever_is_signed_is_in_the_ledger_once_it_was_answered(
    client: TestClient, ledger_url: str, body: bytes, event: str | None
) -> None:
    headers: list[Any] = [(SIGNATURE_HEADER, sign(SECRET, body))]
    if event is not None:
        headers.append(("X-VoiceInfra-Event", event.encode("latin-1")))
    answer = client.post("/webhooks", content=body, headers=headers)
    assert answer.status_code == (413 if len(body) > MAX_BYTES else 200)
    if answer.status_code == 200:
        table = "deliveries" if answer.json()["status"] == "kept" else "completions"
        with database(ledger_url).reading() as connection:
            query = f"SELECT body FROM voiceinfra_{table}"
            assert body in [bytes(row[0]) for row in connection.exec_driver_sql(query)]


# --- lookups ----------------------------------------------------------------------------------------------


class Connections:
    """Connections that can change, and that count how often they are asked for."""

    def __init__(self, **known: tuple[str, ...]) -> None:
        self.known = known
        self.asked: list[str] = []
        self.now = 0.0
        self.cached = CachedSecrets(self.find, clock=lambda: self.now)

    def find(self, conn_id: str) -> tuple[str, ...] | None:
        self.asked.append(conn_id)
        return self.known.get(conn_id)


def test_found_and_missing_connections_are_remembered_for_some_seconds() -> None:
    connections = Connections(vendor=("one",))
    for _ in range(3):
        assert connections.cached("vendor") == ("one",)
        assert connections.cached("nobody") is None
    assert connections.asked == ["vendor", "nobody"]
    connections.known = {"vendor": ("one", "two"), "nobody": ("three",)}
    connections.now += CACHE_SECONDS + 0.1
    assert connections.cached("vendor") == ("one", "two")
    assert connections.cached("nobody") == ("three",)


def test_flood_of_made_up_ids_reaches_airflow_a_bounded_number_of_times(
    caplog: pytest.LogCaptureFixture,
) -> None:
    connections = Connections(vendor=("one",))
    connections.cached("vendor")
    for number in range(5000):
        assert connections.cached(f"made_up_{number}") is None
    assert len(connections.asked) == MAX_UNKNOWN_LOOKUPS
    assert caplog.text.count("no more are looked up") == 1
    connections.now += CACHE_SECONDS - 0.1
    assert connections.cached("vendor") == ("one",)
    # Its own memory has run out, yet a connection that is known does not queue behind unknown ids.
    connections.now += 0.05
    connections.cached._found.clear()
    assert connections.cached("vendor") == ("one",)


def test_flood_looks_the_same_for_every_id_and_holds_up_no_genuine_webhook(
    serve: Callable[..., Server], make_app: MakeApp
) -> None:
    known = {"met_before": (SECRET,), "listed": (SECRET,)}
    kept = CachedSecrets(known.get, names=lambda: ["listed"])
    server = serve(make_app(secrets_for=kept))

    def post(conn_id: str, number: int = 0, secret: str = "another-secret") -> tuple[int, Any]:
        body = completion(f"call_{number}")
        path = f"{server.url}/webhooks/{conn_id}"
        answer = requests.post(path, data=body, headers=signed(body, secret), timeout=30)
        return answer.status_code, answer.json()

    assert post("met_before", 1, SECRET) == (200, {"status": "recorded"})
    flood = {repr(post(f"made_up_{number}")) for number in range(MAX_UNKNOWN_LOOKUPS + 100)}
    probes = {repr(post(conn_id)) for conn_id in ("met_before", "listed", "made_up_1", "made_up_too")}
    assert flood == probes == {repr((401, {"error": "unauthorized"}))}
    assert post("met_before", 2, SECRET) == (200, {"status": "recorded"})
    assert post("listed", 3, SECRET) == (200, {"status": "recorded"})


def test_slow_look_ups_of_made_up_ids_keep_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OF_A_VARIABLE", "voiceinfra://")
    go_on, slow = threading.Event(), threading.Semaphore(0)
    existing = {"met_before", "listed", "of_a_variable"}

    def find(conn_id: str) -> tuple[str, ...] | None:
        if conn_id in existing:
            return (SECRET,)
        slow.release()
        go_on.wait(60)
        return None

    kept = CachedSecrets(find, names=lambda: ["listed"])
    assert kept("met_before") == (SECRET,)
    with ThreadPoolExecutor(UNKNOWN_AT_ONCE) as pool:
        held = [pool.submit(kept, f"made_up_{number}") for number in range(UNKNOWN_AT_ONCE)]
        for _ in held:
            assert slow.acquire(timeout=30)
        assert kept("made_up_too") is None  # at once, as one that does not exist
        kept._found.clear()
        assert [kept(conn_id) for conn_id in sorted(existing)] == [(SECRET,)] * 3
        go_on.set()
        assert [one.result(30) for one in held] == [None] * UNKNOWN_AT_ONCE


@pytest.mark.parametrize("names", [list, lambda: 1 / 0], ids=["empty", "broken"])
def test_connection_that_nothing_lists_is_found_by_its_look_up(names: Any) -> None:
    kept = CachedSecrets({"of_a_secrets_backend": ("one",)}.get, names=names)
    assert kept("of_a_secrets_backend") == ("one",)


def test_names_that_cannot_be_read_hold_up_a_flood_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, waits = threading.Event(), []

    def never() -> Iterator[str]:
        yield "listed"
        go_on.wait(60)

    monkeypatch.setattr(secrets, "NAMES_SECONDS", 0.2)
    kept = CachedSecrets({"listed": ("one",)}.get, names=never)
    wait = kept._names._first.wait

    def wait_and_note(patience: float) -> bool:
        waits.append(patience)
        return wait(patience)

    monkeypatch.setattr(kept._names._first, "wait", wait_and_note)
    for number in range(MAX_UNKNOWN_LOOKUPS + 50):
        assert kept(f"made_up_{number}") is None
    assert kept("listed") == ("one",)
    go_on.set()
    assert waits == [0.2] + [0.0] * 49


def test_lack_of_threads_keeps_names_from_being_read_only_while_it_lasts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    known = KnownNames(lambda: ["listed"], lambda: 0.0)

    def no_thread(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        known.refresh()  # whoever asks goes on without
    assert "cannot be listed: can't start new thread" in caplog.text
    known.refresh()
    known.wait()
    assert "listed" in known


def test_what_cannot_be_the_id_of_a_connection_is_never_looked_up() -> None:
    connections = Connections()
    for conn_id in ("", "a\x00b", "a b", "ü\ud800", "x" * 251, "a%b", "a\nb", "\N{SNOWMAN}"):
        assert connections.cached(conn_id) is None
    assert connections.asked == []


def test_failure_is_not_remembered() -> None:
    answers: list[Any] = [ConnectionsUnavailableError("database"), ("one",)]

    def find(_: str) -> tuple[str, ...]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    cached = CachedSecrets(find)
    with pytest.raises(ConnectionsUnavailableError):
        cached("vendor")
    assert cached("vendor") == ("one",)


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        (
            '{"conn_type": "voiceinfra", "extra": {"webhook_secret": "one-secret another"}}',
            ("one-secret", "another"),
        ),
        ('{"conn_type": "http", "extra": {"webhook_secret": "abcdef"}}', None),
        (None, None),
        *(
            (text, ConnectionsUnavailableError)
            for text in (
                "{not json",
                '{"conn_type": "voiceinfra", "extra": ["webhook_secret"]}',
                '{"conn_type": "voiceinfra", "extra": "webhook_secret=abcdef"}',
                '{"conn_type": "voiceinfra", "extra": {"webhook_secret": {"new": "abcdef"}}}',
            )
        ),
    ],
    ids=[
        "no API key",
        "other type",
        "none",
        *(f"unreadable {one}" for one in ("JSON", "list", "text", "secret")),
    ],
)
def test_connection_is_read_and_an_unreadable_one_is_not_taken_for_a_missing_one(
    monkeypatch: pytest.MonkeyPatch, connection: str | None, expected: Any
) -> None:
    # As in a process of its own: other tests of this run may have played an Airflow server.
    monkeypatch.delenv("_AIRFLOW_PROCESS_CONTEXT", raising=False)
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "sqlite:////nonexistent/airflow.db")
    if connection is not None:
        monkeypatch.setenv("AIRFLOW_CONN_VENDOR", connection)
    if expected is ConnectionsUnavailableError:
        with pytest.raises(ConnectionsUnavailableError):
            find_secrets("vendor")
    else:
        assert find_secrets("vendor") == expected


@ON_SQLITE
def test_unreadable_connection_is_answered_503(make_app: MakeApp) -> None:
    def find(_: str) -> None:
        raise ConnectionsUnavailableError("MetastoreBackend: OperationalError")

    with TestClient(make_app(secrets_for=find)) as client:
        body = completion()
        answer = client.post("/webhooks", content=body, headers=signed(body))
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers
    assert "Metastore" not in answer.text


# --- in a process of its own -------------------------------------------------------------------------------


@pytest.fixture
def stand_alone(ledger_url: str, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Start `uvicorn --factory` with nothing but environment variables; return its URL."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(**environment: str) -> str:
        port = free_port()
        app = "airflow_provider_voiceinfra.web.app:create_app"
        command = [sys.executable, "-m", "uvicorn", "--factory", "--port", str(port), app]
        env = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        env |= {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN": ledger_url}
        process = spawn(command, env=env | environment, log=tmp_path / "log", cwd=Path(__file__).parents[2])
        processes.append(process)

        def answers() -> bool:
            assert process.poll() is None, "the receiver ended"
            with suppress(requests.ConnectionError):
                return bool(requests.get(f"http://127.0.0.1:{port}/health", timeout=60).content)
            return False

        wait_for("the receiver", answers, 120)
        return f"http://127.0.0.1:{port}"

    yield start
    for process in processes:
        end(process)


def deliver(url: str, conn_id: str = "voiceinfra_default", secret: str = SECRET) -> int:
    """Send a webhook, and return the status of its answer."""
    headers = signed(completion(), secret)
    return requests.post(
        f"{url}/webhooks/{conn_id}", data=completion(), headers=headers, timeout=60
    ).status_code


def test_receiver_runs_on_its_own_with_two_environment_variables(
    stand_alone: Callable[..., str], ledger: CallLedger
) -> None:
    extra = {"webhook_secret": SECRET}
    url = stand_alone(AIRFLOW_CONN_VOICEINFRA_DEFAULT=json.dumps({"conn_type": "voiceinfra", "extra": extra}))
    assert deliver(url) == 200
    assert ledger.completion("call_1") is not None
    assert deliver(url, "nobody") == 401


@ON_SQLITE
def test_metadata_database_that_is_down_is_no_missing_connection(stand_alone: Callable[..., str]) -> None:
    down = "postgresql+psycopg2://nobody:no@127.0.0.1:1/airflow"
    assert deliver(stand_alone(AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=down)) == 503


METADATA = """
import sys
from airflow import settings
from airflow.models import Connection, import_all_models
from airflow.models.team import Team
import_all_models()
Connection.metadata.create_all(settings.engine)
with settings.Session() as session:
    session.add_all([Team(name="blue"), Team(name="green")])
    session.flush()
    extra = {"webhook_secret": sys.argv[1]}
    session.add(Connection("of_blue", conn_type="voiceinfra", extra=extra, team_name="blue"))
    session.add(Connection("of_all", conn_type="voiceinfra", extra=extra))
    session.commit()
"""


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment of a deployment whose metadata database holds connections."""
    folder = tmp_path_factory.mktemp("metadata")
    environment = {
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder / 'airflow.db'}",
        "AIRFLOW__CORE__FERNET_KEY": "",
    }
    command = [sys.executable, "-c", METADATA, SECRET]
    subprocess.run(command, env={**os.environ, **environment}, check=True, timeout=120)
    return environment


def of_variable(secret: str) -> str:
    return json.dumps({"conn_type": "voiceinfra", "password": "key", "extra": {"webhook_secret": secret}})


@pytest.fixture
def of_teams(metadata: dict[str, str]) -> dict[str, str]:
    """Return the environment of a deployment with teams."""
    return {
        **metadata,
        "AIRFLOW__CORE__MULTI_TEAM": "True",
        "AIRFLOW_CONN__GREEN___OF_GREEN": of_variable(SECRET),
        "AIRFLOW_CONN__GREEN___TWICE": of_variable(SECRET),
        "AIRFLOW_CONN__BLUE___TWICE": of_variable("another-secret-of-the-tests"),
    }


@ON_SQLITE
def test_receiver_on_its_own_finds_connections_of_a_metadata_database_also_in_a_flood(
    stand_alone: Callable[..., str], ledger: CallLedger, metadata: dict[str, str]
) -> None:
    post = partial(deliver, stand_alone(**metadata))
    while post("nobody") != 401:  # until Airflow is loaded there, which takes long on a busy machine
        pass
    made_up = [f"made_up_{number}" for number in range(MAX_UNKNOWN_LOOKUPS + 200)]
    with ThreadPoolExecutor(16) as pool:
        flood = pool.map(post, made_up)
        for _ in range(MAX_UNKNOWN_LOOKUPS):
            assert next(flood) == 401
        # It was never looked up before, and there are no lookups left for ids that nobody knows.
        assert post("of_all") == 200
        assert set(flood) == {401}
    assert post("of_all", "another-secret") == post("nobody") == 401
    assert ledger.last_sequence() == 1


@ON_SQLITE
@pytest.mark.parametrize("context", ["", "server"], ids=["on its own", "in the API server"])
def test_connections_of_teams_are_found_by_their_id(
    stand_alone: Callable[..., str], of_teams: dict[str, str], context: str
) -> None:
    url = stand_alone(**of_teams, _AIRFLOW_PROCESS_CONTEXT=context)
    expected = {"of_all": 200, "of_blue": 200, "of_green": 200, "nobody": 401, "_green___of_green": 401}
    for conn_id, status in {**expected, "twice": 503}.items():
        assert deliver(url, conn_id) == status, conn_id
    assert deliver(url, "of_blue", "another-secret") == 401


SEEN = """
import json
from airflow import settings
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.team import Team
from airflow_provider_voiceinfra.diagnosis.inside import check_connection
from airflow_provider_voiceinfra.web.pages.setup.conn_ids import find_conn_ids
from airflow_provider_voiceinfra.web.pages.visitors import Visitor

with settings.Session() as session:
    bundle = DagBundleModel(name="bundle_of_blue")
    bundle.teams.append(session.get(Team, "blue"))
    session.add_all([bundle, DagBundleModel(name="bundle_of_all")])
    session.flush()
    for owner in ("blue", "all"):
        session.add(DagModel(dag_id=f"dag_of_{owner}", bundle_name=f"bundle_of_{owner}", timetable_type="x"))
    session.commit()

visitor = object.__new__(Visitor)
visitor._manager = SimpleAuthManager()
conns, dags = ["of_all", "of_blue", "of_green", "nobody"], ["dag_of_blue", "dag_of_all"]
seen = {}
for team in ("blue", "green"):
    visitor._user = SimpleAuthManagerUser(username="somebody", role="op", teams=[team])
    seen[team] = [
        sorted(visitor.readable_connections(conns)),
        [one for one in conns if visitor.may_edit_connection(one)],
        sorted(visitor.readable_dags(dags)),
        [one for one in dags if visitor.may_edit_runs_of(one)],
    ]
seen["listed"] = find_conn_ids(()).conn_ids
seen["found"] = [check_connection(one)[0].found for one in ("of_blue", "of_green", "twice", "nobody")]
print(json.dumps(seen))
"""


def test_pages_and_doctor_know_the_connections_of_teams_and_keep_them_apart(of_teams: dict[str, str]) -> None:
    command = [sys.executable, "-W", "ignore", "-c", SEEN]
    environment = {**os.environ, **of_teams, "_AIRFLOW_PROCESS_CONTEXT": "server"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    conns, dags = ["nobody", "of_all", "of_blue"], ["dag_of_all", "dag_of_blue"]
    assert seen["blue"] == [conns, ["of_all", "of_blue", "nobody"], dags, ["dag_of_blue", "dag_of_all"]]
    conns, dags = ["nobody", "of_all", "of_green"], ["dag_of_all"]
    assert seen["green"] == [conns, ["of_all", "of_green", "nobody"], dags, dags]
    assert seen["listed"] == ["voiceinfra_default", "of_all", "of_blue", "of_green", "twice"]
    of_blue, of_green, twice, nobody = seen["found"]
    assert "API key is missing" in of_blue
    assert "'of_green' is well formed" in of_green
    assert "several teams have a connection of this id" in twice
    assert "there is no connection 'nobody'" in nobody
