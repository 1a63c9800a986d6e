"""Each way that a connection test can go: the right verdict, and a sentence that the documentation has."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from airflow_provider_voiceinfra.api.client import ApiClient
from airflow_provider_voiceinfra.connection import LEAST_SECRET_LENGTH, VoiceInfraConnection
from airflow_provider_voiceinfra.hooks.connection_test import judge
from tests.api.test_client import answering, http, server
from tests.sandbox_process import SandboxProcess

KEY = "vk_sandbox_key"
SECRET = "a-webhook-secret-of-some-length"
DOCUMENTED = " ".join((Path(__file__).parents[2] / "docs" / "connection.md").read_text().split())
OWN_400 = b'{"error": {"code": "validation_error", "message": "agent_id is missing"}}'


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    # A proxy of this machine would be asked for hosts that are not there, and answer in its own way.
    monkeypatch.setenv("no_proxy", "*")


def verdict(base_url: str, **values: Any) -> tuple[bool, str]:
    """Judge a connection; whatever is said of it names no secret, and is documented as it is said."""
    values = {"api_key": KEY, "webhook_secrets": (SECRET,), "timeout": 5.0, **values}
    connection = VoiceInfraConnection("c", base_url=base_url, **values)
    good, sentence = judge(connection, lambda: ApiClient(connection))
    assert all(secret == "***" or secret not in sentence for secret in (KEY, *connection.webhook_secrets))
    general = re.sub(r"HTTP \d+", "HTTP N", sentence.replace(base_url, "`URL`"))
    row = f"| {'good' if good else 'bad'} | {re.sub(r'in [0-9.]+ s,', 'in N s,', general)} |"
    assert row in DOCUMENTED
    return good, sentence


def refused(base_url: str, *says: str, **values: Any) -> str:
    """Judge a connection that cannot place calls; return the sentence that says so."""
    good, sentence = verdict(base_url, **values)
    assert not good
    assert all(part in sentence for part in says), sentence
    return sentence


def test_good_key_is_good_and_calls_nobody(sandbox: SandboxProcess) -> None:
    said = f"The API key is accepted at {sandbox.base_url}, and a webhook secret is set."
    assert verdict(sandbox.base_url) == (True, said)
    assert sandbox.counts()["calls"] == 0


@pytest.mark.parametrize(
    ("secrets", "says"),
    [
        ((SECRET, SECRET[::-1]), "is accepted at URL, and 2 webhook secrets are set."),
        ((), "calls can be placed. But the webhook secret is missing: completions cannot be verified"),
        (("***",), "calls can be placed. But the webhook secret is '***', which Airflow shows"),
        (("x" * (LEAST_SECRET_LENGTH - 1),), "shorter than 16 characters and could be guessed"),
        ((SECRET, "hunter2"), "shorter than 16 characters"),
    ],
    ids=["two", "missing", "masked", "short", "one of two is short"],
)
def test_good_key_works_and_what_is_wrong_with_its_secrets_is_said(
    sandbox: SandboxProcess, secrets: tuple[str, ...], says: str
) -> None:
    good, sentence = verdict(sandbox.base_url, webhook_secrets=secrets)
    assert good
    assert says in sentence.replace(sandbox.base_url, "URL")


def test_mask_instead_of_a_key_is_not_sent(sandbox: SandboxProcess) -> None:
    refused(sandbox.base_url, "Give the key itself", api_key="***")
    assert sandbox.counts()["requests"] == 0


def test_revoked_key_is_bad(sandbox: SandboxProcess) -> None:
    sandbox.configure(api_keys=[])
    refused(sandbox.base_url, "not accepted (401)", "revoked")


NOT_THE_API = "but not in the words of the VoiceInfra API"


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (http(404, b"<html>Not here</html>"), "There is no VoiceInfra API at"),
        (http(200, b"<html>Welcome</html>"), "took an empty request (HTTP 200)"),
        (http(400, b"<html>What?</html>"), NOT_THE_API),
        (http(422, b'{"detail": "no"}'), NOT_THE_API),
        (http(405), f"answered HTTP 405, {NOT_THE_API}"),
        (http(301, Location="https://nothing.invalid/"), f"answered HTTP 301, {NOT_THE_API}"),
    ],
    ids=["404", "page", "400 page", "422 of another API", "405", "redirect"],
)
def test_server_that_is_not_the_api_is_bad_and_the_key_is_not_blamed(raw: bytes, says: str) -> None:
    with server(answering(raw)) as url:
        refused(url, says, "base URL")


def test_refusal_in_the_words_of_the_api_is_good() -> None:
    with server(answering(http(400, OWN_400))) as url:
        assert verdict(url)[0]


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (http(429), "rate limit is met (429), so the key was not tried"),
        (http(503, b"<html>Down</html>"), "failed (HTTP 503), so the key could not be tested"),
        (b"", "broke the connection off without an answer"),
    ],
    ids=["429", "503", "cut"],
)
def test_failure_that_says_nothing_of_the_key_is_told_as_such(raw: bytes, says: str) -> None:
    with server(answering(raw)) as url:
        sentence = refused(url, says)
    assert "may have been placed" not in sentence, "an empty request places no call"


def test_answer_that_does_not_come_is_told_with_the_time(sandbox: SandboxProcess) -> None:
    sandbox.fault("hang_before")
    refused(sandbox.base_url, "gave no answer in 0.3 s", timeout=0.3)


def test_port_on_which_nothing_listens_is_told() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        refused(url, "could not be reached: nothing listens there. Nothing was sent.")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://nothing.invalid/v1", "its host name cannot be resolved"),
        ("https://*.invalid/v1", "no connection came about (InvalidURL)"),
    ],
)
def test_host_that_cannot_be_found_is_told(url: str, says: str) -> None:
    refused(url, says)


def test_plain_http_behind_an_https_url_is_told(sandbox: SandboxProcess) -> None:
    refused(sandbox.base_url.replace("http:", "https:"), "what listens there does not speak https")


def self_signed(folder: Path) -> ssl.SSLContext:
    """Return the means to serve https with a certificate that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(private + certificate.public_bytes(encoding))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def test_certificate_that_nobody_vouches_for_is_told(tmp_path: Path) -> None:
    context = self_signed(tmp_path)

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the client turns away
            context.wrap_socket(connection, server_side=True).close()

    with server(answer) as url:
        refused(url.replace("http:", "https:"), "its certificate is not trusted")


def test_proxy_that_is_not_there_is_blamed_instead_of_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.delenv("no_proxy")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.setenv("https_proxy", f"http://user:proxy-password@127.0.0.1:{unused.getsockname()[1]}")
        sentence = refused("https://nothing.invalid/v1", "the proxy that this machine is set to use")
    assert "proxy-password" not in sentence


def test_host_that_takes_no_connection_is_told_in_time() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        refused(url, "no connection came about in time", timeout=0.3)
        for filler in fillers:
            filler.close()
