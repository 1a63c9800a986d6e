"""A sound set-up passes every check; each broken one gets the finding that tells what to do."""

from __future__ import annotations

import http.server
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from airflow_provider_voiceinfra import __version__
from airflow_provider_voiceinfra.diagnosis import Finding, Verdict, diagnose, outside
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.settings import Settings
from airflow_provider_voiceinfra.web.app import create_app
from tests.api.test_client import answering
from tests.api.test_client import server as raw_server
from tests.api.test_transport import Dripper
from tests.cli.conftest import Run, ledger_file, run
from tests.support.serving import Server

__all__ = ["ledger_file", "run"]  # fixtures

CONN_ID, VARIABLE = "voiceinfra_default", "AIRFLOW_CONN_VOICEINFRA_DEFAULT"
SECRET = "a-long-secret-of-no-meaning"
OTHER_SECRET = "another-long-secret-of-no-meaning"
API_KEY = "vk_good_key_of_no_meaning"
NOWHERE = "http://127.0.0.1:1"

Answer = tuple[int, str, bytes]
Respond = Callable[[str, str, bytes], Answer]


@contextmanager
def http_server(respond: Respond) -> Iterator[str]:
    """Run a server that answers method, path and body with status, type and body; yield its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, kind, answer = respond(self.command, self.path, body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = handle_any  # noqa: N815  names that http.server looks for

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Run an ASGI application on a port of its own; yield its address."""
    server = Server(app, lifespan="on")
    try:
        yield server.url
    finally:
        server.stop()


def api(status: int) -> Respond:
    """Return an API that answers every request in one way."""
    body = json.dumps({"error": {"code": "some_code", "message": "no"}}).encode()
    return lambda method, path, sent: (status, "application/json", body)


@pytest.fixture(scope="module")
def good_api() -> Iterator[str]:
    with http_server(api(400)) as address:
        yield address


@pytest.fixture(autouse=True)
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CallLedger:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN", url)
    return CallLedger(url)


@pytest.fixture
def receiver_url(ledger: CallLedger) -> Iterator[str]:
    with receiving(ledger) as address:
        yield address


@contextmanager
def receiving(ledger: CallLedger, *secrets: str) -> Iterator[str]:
    """Run the real receiver."""
    known = secrets or (SECRET, OTHER_SECRET)
    app = create_app(
        ledger=ledger,
        secrets_for=lambda conn_id: known if conn_id == CONN_ID else None,
        settings=Settings(sql_alchemy_conn=""),
    )
    with serving(app) as address:
        yield address


Connect = Callable[..., None]


@pytest.fixture(autouse=True)
def connect(monkeypatch: pytest.MonkeyPatch, good_api: str) -> Connect:
    def connect(*, secret: str | None = SECRET, key: str | None = API_KEY, **rest: Any) -> None:
        extra = {"webhook_secret": secret, "timeout": 5}
        connection = {"conn_type": "voiceinfra", "host": good_api, "password": key, "extra": extra, **rest}
        monkeypatch.setenv(VARIABLE, json.dumps(connection))

    connect()
    return connect


def found(receiver_url: str = NOWHERE, conn_id: str = CONN_ID) -> dict[str, Finding]:
    return {finding.name: finding for finding in diagnose(conn_id, receiver_url=receiver_url)}


def assert_failed(finding: Finding, words: str) -> None:
    assert finding.verdict is Verdict.FAILED
    assert words in finding.found
    assert finding.remedy


def test_a_sound_set_up_passes_and_the_test_delivery_leaves_nothing_open(
    receiver_url: str, ledger: CallLedger
) -> None:
    findings = found(receiver_url)
    verdicts = {name: finding.verdict for name, finding in findings.items()}
    names = ("connection", "defaults", "API key", "settings", "ledger", "rules", "webhook secret", "receiver")
    # The address is of this machine: the vendor could not reach it.
    expected = {**dict.fromkeys((*names, "test delivery"), Verdict.OK), "receiver address": Verdict.WARNING}
    assert verdicts == expected
    (kept,) = ledger.deliveries.kept(include_replayed=True)
    assert ledger.deliveries.kept() == []
    assert json.loads(kept.body)["event"] == "voiceinfra.doctor"
    assert ledger.last_sequence() == 0


def test_rules_that_are_set_are_named(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found()["rules"].found == f"for every connection: none; for {CONN_ID!r}: none"
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__CALL_CAP", "3/24h")
    connect(extra={"webhook_secret": SECRET, "opt_out": "a = true", "require_consent": True})
    expected = f"for every connection: call_cap; for {CONN_ID!r}: opt_out, require_consent"
    assert found()["rules"].found == expected


def test_rules_that_cannot_be_read_are_a_failure(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__CALLING_WINDOW", "9 to 5")
    assert_failed(found()["rules"], "[voiceinfra] calling_window")
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__CALLING_WINDOW", "")
    connect(extra={"webhook_secret": SECRET, "call_cap": "often"})
    assert_failed(found()["connection"], "extra 'call_cap' 'often' is none; write calls and a span")


@pytest.mark.parametrize("place", ["every connection", f"{CONN_ID!r}"])
@pytest.mark.parametrize("is_missing", [False, True], ids=["calendar", "library"])
def test_calendar_that_calls_would_miss_is_a_failure(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, place: str, is_missing: bool
) -> None:
    window, said = "09:00-20:00; US off 2026-12-25; FR holidays US-ZZ", "does not have; write the days"
    if is_missing:
        monkeypatch.setitem(sys.modules, "holidays", None)
        window, said = (
            window.replace("US-ZZ", "TV"),
            "which the library 'holidays' knows: pip install holidays",
        )
    if place == "every connection":
        monkeypatch.setenv("AIRFLOW__VOICEINFRA__CALLING_WINDOW", window)
    else:
        connect(extra={"webhook_secret": SECRET, "calling_window": window})
    assert_failed(found()["rules"], f"for {place}: calling_window names the holidays of ")
    assert said in found()["rules"].found
    assert "wherever calls are placed" in found()["rules"].remedy


@pytest.mark.parametrize(
    ("extra", "verdict", "words"),
    [
        ({}, Verdict.OK, "no agent_id and no from_number is set, so each task has to name its own"),
        ({"agent_id": "a"}, Verdict.OK, "no from_number is set, so each task"),
        ({"from_number": "+14155550199"}, Verdict.OK, "no agent_id is set, so each task"),
        (
            {"from_number": "+14155550199", "agent_id": "a"},
            Verdict.OK,
            "agent and caller ID are set, and well",
        ),
        ({"from_number": "0301234"}, Verdict.FAILED, "from_number: 03*** is not in E.164 form"),
        ({"from_number": "+1 (415) 555-0199", "agent_id": "a"}, Verdict.FAILED, "is not in E.164 form"),
        ({"from_number": 14155550199}, Verdict.FAILED, "is not in E.164 form"),
        ({"agent_id": "a" * 256}, Verdict.FAILED, "agent_id: must be printable text of at most 255"),
    ],
    ids=str,
)
def test_agent_and_caller_id_are_judged_as_those_of_a_call(
    connect: Connect, extra: dict[str, Any], verdict: Verdict, words: str
) -> None:
    connect(extra={"webhook_secret": SECRET, **extra})
    finding = found()["defaults"]
    assert finding.verdict is verdict
    assert words in finding.found
    assert bool(finding.remedy) is (verdict is Verdict.FAILED)
    assert "5550199" not in str(finding)


def test_base_url_that_a_uri_gives_is_shown(good_api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = good_api.replace("http://", f"voiceinfra://:{API_KEY}@")
    monkeypatch.setenv(VARIABLE, f"{uri}/v1?scheme=http")
    findings = found()
    assert findings["connection"].found.endswith(f"the API is at {good_api}/v1")
    assert findings["API key"].found.startswith(f"The API key is accepted at {good_api}/v1, so calls")


TWO_SECRETS = {"webhook_secret": f"{SECRET} {OTHER_SECRET}"}
SPLIT = "a + in the connection's URI is a space, so there are 2 secrets"


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (f"webhook_secret={SECRET}+{OTHER_SECRET}", SPLIT),
        ("webhook_secret=abc+def", SPLIT),
        ("webhook_secret=abc%20def", "there are 2 webhook secrets, and one is shorter than 16"),
        (f"webhook_secret={SECRET}%2B{OTHER_SECRET}", "one is set"),
        (f"webhook_secret={SECRET}%20{OTHER_SECRET}", "2 are set, as while rotating"),
        # As Airflow writes it: the plus signs are blanks of its JSON.
        (urlencode({"__extra__": json.dumps(TWO_SECRETS)}), "2 are set, as while rotating"),
    ],
    ids=["plus", "short", "short and spaced", "%2B", "%20", "Airflow"],
)
def test_plain_plus_in_the_secret_of_a_uri_is_pointed_out(
    monkeypatch: pytest.MonkeyPatch, query: str, says: str
) -> None:
    monkeypatch.setenv(VARIABLE, f"voiceinfra://:{API_KEY}@127.0.0.1:1/v1?scheme=http&timeout=5&{query}")
    finding = found()["webhook secret"]
    assert says in finding.found
    assert ("write it %2B" in finding.remedy) == (says is SPLIT)
    assert finding.verdict is (Verdict.OK if says.endswith(("set", "rotating")) else Verdict.WARNING)


def test_extras_that_mean_nothing_are_named(connect: Connect) -> None:
    connect(extra={"webhook_secret": SECRET, "owner": "x", "call +14155550199": "y"})
    finding = found()["connection"]
    assert finding.verdict is Verdict.WARNING
    assert finding.found.endswith("unknown extras 'owner', 'call +1415***0199', which nothing reads")
    assert "agent_id" in finding.remedy


@pytest.mark.parametrize(
    ("change", "check", "words"),
    [
        ({"key": None}, "connection", "the API key is missing"),
        ({"host": "http://api.example.com"}, "connection", "in clear"),
        ({"conn_type": "http"}, "connection", "is of type 'http'"),
        ({"extra": {"timeout": "soon"}}, "connection", "'timeout' must be a number"),
        ({"extra": {"webhook_secrets": SECRET}}, "connection", "rename it to 'webhook_secret'"),
        ({"extra": [SECRET]}, "connection", "the extras are a JSON list; they must be a JSON object"),
        ({"extra": SECRET}, "connection", "the extras are not JSON; they must be a JSON object"),
        ({"extra": {"webhook_secret": {"new": SECRET}}}, "connection", "must be text, or a list of texts"),
        ({"host": NOWHERE}, "API key", "network and proxy"),
        ({"secret": None}, "webhook secret", "every webhook is answered 401"),
    ],
    ids=[
        *("no key", "plain http", "other type", "bad timeout", "misspelt", "list", "text", "object"),
        *("no API there", "no secret"),
    ],
)
def test_a_connection_with_a_fault(connect: Connect, change: dict[str, Any], check: str, words: str) -> None:
    connect(**change)
    findings = found()
    assert_failed(findings[check], words)
    assert findings["test delivery"].verdict is Verdict.SKIPPED
    assert SECRET not in str(findings)


def test_a_key_that_the_api_does_not_know(connect: Connect) -> None:
    with http_server(api(401)) as address:
        connect(host=address)
        assert_failed(found()["API key"], "not accepted")


def test_a_connection_that_airflow_cannot_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, '{"conn_type": ')
    assert_failed(found()["connection"], "is set and cannot be read")


@pytest.mark.parametrize(
    ("secret", "unsigned", "words"),
    [
        (None, "True", "none is set, and unsigned webhooks are taken"),
        ("short", "False", "shorter than 16 characters"),
    ],
)
def test_webhooks_that_many_could_forge_are_a_warning(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, secret: str | None, unsigned: str, words: str
) -> None:
    connect(secret=secret)
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__ALLOW_UNSIGNED_WEBHOOKS", unsigned)
    findings = found()
    assert findings["webhook secret"].verdict is Verdict.WARNING
    assert words in findings["webhook secret"].found
    assert findings["settings"].verdict is (Verdict.WARNING if unsigned == "True" else Verdict.OK)


def test_each_secret_is_tried(connect: Connect, receiver_url: str) -> None:
    connect(secret=f"{SECRET} a-secret-that-the-receiver-lacks")
    findings = found(receiver_url)
    assert findings["webhook secret"].verdict is Verdict.OK
    assert findings["test delivery, secret 1 of 2"].verdict is Verdict.OK
    assert_failed(findings["test delivery, secret 2 of 2"], "answers 401")
    connect(secret=None)
    findings = found(receiver_url)
    assert findings["test delivery"].verdict is Verdict.SKIPPED
    assert "no webhook secret to sign it with" in findings["test delivery"].found


def test_no_secret_and_no_key_are_ever_shown(connect: Connect, receiver_url: str) -> None:
    connect(secret=f"{SECRET} {OTHER_SECRET}")
    with http_server(api(401)) as address:
        for change in ({}, {"host": address}):
            connect(secret=f"{SECRET} {OTHER_SECRET}", **change)
            shown = str(list(diagnose(CONN_ID, receiver_url=receiver_url)))
            assert not [word for word in (SECRET, OTHER_SECRET, API_KEY) if word in shown]


def test_a_missing_connection(receiver_url: str) -> None:
    findings = found(receiver_url, "nowhere")
    assert_failed(findings["connection"], "there is no connection 'nowhere'")
    assert findings["API key"].verdict is Verdict.SKIPPED
    assert findings["receiver"].verdict is Verdict.OK
    assert findings["test delivery"].verdict is Verdict.SKIPPED


def test_a_connection_that_airflow_cannot_decrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise RuntimeError("the words of a key")

    monkeypatch.setattr("airflow_provider_voiceinfra.deployment.airflow_connection", fail)
    finding = found()["connection"]
    assert_failed(finding, "it cannot be read (RuntimeError)")
    assert "fernet_key" in finding.remedy
    assert "the words" not in str(finding)


def test_who_looks_on_need_not_wait_as_long_as_the_connection_may(connect: Connect) -> None:
    gone = threading.Event()

    def never(method: str, path: str, sent: bytes) -> Answer:
        gone.wait(20)
        return api(400)(method, path, sent)

    with http_server(never) as address:
        connect(host=address, extra={"timeout": 300})
        key = next(
            one for one in diagnose(CONN_ID, receiver_url=address, patience=0.2) if one.name == "API key"
        )
        deaf = outside.check_receiver(address, patience=0.2)
        gone.set()
    assert_failed(key, "gave no answer in 0.2 s")
    assert_failed(deaf, "cannot be reached")


def test_a_sqlite_ledger_with_workers_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    findings = found()
    assert_failed(findings["settings"], "CeleryExecutor runs tasks on other machines")
    assert findings["ledger"].verdict is Verdict.SKIPPED


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:////no/such/folder/ledger.db", "cannot be used"),
        ("postgresql://user:hidden-word@127.0.0.1:1/ledger", "cannot be used"),
        ("postgres user:hidden-word@host", "is not a database URL"),
        ("sqlite:///ledger.db", "by a relative path"),
    ],
    ids=["no folder", "no server", "no URL", "relative path"],
)
def test_a_ledger_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch, url: str, words: str) -> None:
    monkeypatch.setenv("AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN", url)
    findings = found()
    assert_failed(findings["ledger"], words)
    assert "hidden-word" not in str(findings)
    assert findings["test delivery"].verdict is Verdict.SKIPPED


def test_a_ledger_that_can_only_be_read(ledger: CallLedger, tmp_path: Path) -> None:
    ledger.upgrade()
    url = f"sqlite:///file:{tmp_path / 'ledger.db'}?mode=ro&uri=true"
    finding, opened = _check_ledger(url)
    assert_failed(finding, "readonly database")
    assert opened is None


def test_a_ledger_that_was_restored_warns_until_its_quarantine_is_released(ledger: CallLedger) -> None:
    url, backup = ledger._database.url, datetime(2026, 3, 1, 23, 30, tzinfo=timezone.utc)
    ledger.quarantines.begin(backup, datetime(2026, 3, 2, 9, 0, tzinfo=timezone.utc))
    finding, _ = _check_ledger(url)
    assert finding.verdict is Verdict.WARNING
    assert "2026-03-01 23:30 UTC" in finding.found
    assert "airflow voiceinfra quarantine --release" in finding.remedy
    ledger.quarantines.release()
    assert "restored" not in _check_ledger(url)[0].found


def _check_ledger(url: str) -> tuple[Finding, CallLedger | None]:
    from airflow_provider_voiceinfra.diagnosis.inside import check_ledger

    return check_ledger(Settings(sql_alchemy_conn=url))


def test_the_ledger_s_place_is_named_without_its_password(postgres_database: str) -> None:
    finding, _ = _check_ledger(postgres_database)
    assert finding.verdict is Verdict.OK
    assert finding.found.startswith("postgresql ")
    assert "@" not in finding.found


JSON, HTML = "application/json", "text/html"


@pytest.mark.parametrize(
    ("answer", "verdict", "words"),
    [
        # The API server answers every path that it does not know with its page, and 200.
        (
            (200, HTML, b"<!DOCTYPE html><html>Airflow</html>"),
            Verdict.FAILED,
            "the plugin is not mounted here",
        ),
        ((404, JSON, b'{"detail": "Not Found"}'), Verdict.FAILED, "not by the receiver"),
        ((200, JSON, b'["voiceinfra"]'), Verdict.FAILED, "not by the receiver"),
        ((200, JSON, b'{"service": "another"}'), Verdict.FAILED, "not by the receiver"),
        ((302, HTML, b""), Verdict.FAILED, "not by the receiver"),
        ((200, "text/plain", b"\xff\xfe"), Verdict.FAILED, "not by the receiver"),
        (
            (200, JSON, b'{"service": "voiceinfra", "version": "0.0.1"}'),
            Verdict.WARNING,
            "of another version",
        ),
    ],
    ids=["Airflow", "404", "list", "other service", "redirect", "no text", "other version"],
)
def test_somebody_else_at_the_address(answer: Answer, verdict: Verdict, words: str) -> None:
    with http_server(lambda method, path, sent: answer) as address:
        finding = outside.check_receiver(f"{address}/voiceinfra")
    assert finding.verdict is verdict
    assert words in finding.found
    assert finding.remedy


def test_a_receiver_without_its_ledger() -> None:
    with receiving(CallLedger("sqlite:////no/such/folder/ledger.db")) as address:
        assert_failed(found(address)["receiver"], "answers 503")


def test_no_receiver_at_all() -> None:
    finding = outside.check_receiver(NOWHERE)
    assert_failed(finding, "cannot be reached from this machine")
    assert "not be let out to its own public address" in finding.remedy


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /\xff\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello",
    ],
    ids=["redirect to nowhere", "redirect that is no text", "negative chunk"],
)
def test_an_answer_that_makes_no_sense(raw: bytes) -> None:
    with raw_server(answering(raw)) as url:
        assert outside.check_receiver(url.removesuffix("/v1")).verdict is Verdict.FAILED


def test_an_answer_that_drips() -> None:
    dripper = Dripper(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{", b" ")
    with raw_server(dripper) as url:
        finding = outside.check_receiver(url, patience=0.5)
    assert_failed(finding, "cannot be reached from this machine")
    assert dripper.left_alone.is_set()


def test_a_receiver_with_another_ledger(ledger: CallLedger, tmp_path: Path) -> None:
    other = CallLedger(f"sqlite:///{tmp_path / 'other.db'}")
    ledger.upgrade()
    other.upgrade()
    with receiving(other) as address:
        assert_failed(found(address)["test delivery"], "it writes to another one")


@pytest.mark.parametrize("status", [301, 404, 405, 413, 502, 503])
def test_a_proxy_that_lets_only_the_health_through(status: int) -> None:
    healthy = (200, JSON, json.dumps({"service": "voiceinfra", "version": __version__}).encode())
    refused = (status, HTML, b"")
    with http_server(lambda method, path, sent: healthy if method == "GET" else refused) as address:
        assert_failed(found(address)["test delivery"], f"answers {status}")


@pytest.mark.parametrize("suffix", ["/", "/health"])
def test_the_address_may_be_written_in_several_ways(receiver_url: str, suffix: str) -> None:
    assert found(receiver_url + suffix)["test delivery"].verdict is Verdict.OK


@pytest.mark.parametrize(
    ("address", "verdict"),
    [
        ("https://airflow.example.com/voiceinfra", Verdict.OK),
        ("http://airflow.example.com/voiceinfra", Verdict.WARNING),
        ("https://localhost/voiceinfra", Verdict.WARNING),
        ("https://10.0.0.1/voiceinfra", Verdict.WARNING),
        ("airflow.example.com", Verdict.FAILED),
        ("https://[::1/voiceinfra", Verdict.FAILED),
        ("", Verdict.FAILED),
    ],
)
def test_what_the_vendor_could_reach(address: str, verdict: Verdict) -> None:
    assert outside.check_address(address).verdict is verdict


@pytest.mark.parametrize(
    ("base_url", "address", "words"),
    [
        ("", "http://localhost:8080/voiceinfra", "[api] base_url is not set"),
        ("http://airflow.example.com", "http://airflow.example.com/voiceinfra", "{0} is plain http"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/voiceinfra", "{0} is one of this machine"),
        (
            "https://airflow.example.com/af/",
            "https://airflow.example.com/af/voiceinfra",
            "{0}; the vendor sends",
        ),
    ],
)
def test_what_is_missing_in_the_default_address(
    monkeypatch: pytest.MonkeyPatch, base_url: str, address: str, words: str
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    finding = outside.check_default_address()
    assert outside.default_address() == address
    assert words.format(address) in finding.found
    assert ("Set [api] base_url" in finding.remedy) == (finding.verdict is Verdict.WARNING)


def test_the_command_prints_what_was_found(run: Run, receiver_url: str) -> None:
    ran = run("doctor", "--receiver-url", receiver_url)
    assert ran.code == 0, ran.out
    lines = ran.out.splitlines()
    assert lines[0].startswith("ok       connection: 'voiceinfra_default' is well formed")
    assert lines[-1] == "ok       test delivery: a signed webhook arrived in this ledger"
    rows = run("doctor", "--receiver-url", receiver_url, "--output", "json").json
    assert rows[0].keys() == {"name", "verdict", "found", "remedy"}
    assert {row["verdict"] for row in rows} == {"ok", "warning"}


def test_the_command_says_what_to_do(run: Run, receiver_url: str) -> None:
    ran = run("doctor", "--conn-id", "nowhere", "--receiver-url", receiver_url)
    assert ran.code == 1
    assert "failed   connection: there is no connection 'nowhere'" in ran.out
    assert "         -> Add one of type 'voiceinfra'" in ran.out
