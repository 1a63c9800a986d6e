"""An Airflow connection means what its form says, or is refused with the field and the remedy."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import redact  # type: ignore[attr-defined]

from airflow_provider_voiceinfra.connection import VoiceInfraConnection, webhook_secrets
from airflow_provider_voiceinfra.deployment import airflow_connection, open_ledger, read_connection
from airflow_provider_voiceinfra.exceptions import ConfigurationError

API_KEY = "vk_test_0123456789"
FIELDS = {"password", "host", "port", "schema", "extra"}


def airflow(**values: Any) -> Connection:
    """Return a connection; what is no field of one is an extra."""
    fields = {name: values.pop(name) for name in FIELDS & values.keys()}
    fields = {"password": API_KEY, "extra": json.dumps(values), **fields}
    return Connection(conn_id="vi", conn_type="voiceinfra", **fields)


def read(**values: Any) -> VoiceInfraConnection:
    return VoiceInfraConnection.from_airflow(airflow(**values))


def test_only_the_api_key_is_needed() -> None:
    assert read() == VoiceInfraConnection("vi", API_KEY, "https://api.voiceinfra.ai/v1", timeout=30.0)
    assert read(timeout=None, max_calls_per_second="") == read(timeout="") == read()


def test_connections_with_the_same_key_or_account_are_one_account() -> None:
    assert read(host="https://gateway.example/v1").account == read().account is not None
    assert read(password="vk_another_key").account != read().account
    named = read(account=" sales ").account
    assert named == read(password="vk_another_key", account="sales").account
    assert named not in (None, read().account, read(account="support").account)


def test_every_field_of_the_form_is_read() -> None:
    connection = read(
        host="https://gateway.example/v1/",
        webhook_secret=" one\ntwo ",
        agent_id=" agent_demo ",
        from_number="+14155550101",
        timeout="12.5",
        max_calls_per_second=4,
        password=f" {API_KEY}\n",
    )
    assert connection == VoiceInfraConnection(
        "vi", API_KEY, "https://gateway.example/v1", ("one", "two"), "agent_demo", "+14155550101", 12.5, 4.0
    )


@pytest.mark.parametrize(
    ("value", "secrets"),
    [
        (None, ()),
        ("", ()),
        ("  ", ()),
        ("a", ("a",)),
        ("a b\tc", ("a", "b", "c")),
        (123456, ("123456",)),
        ([], ()),
        (["a", "b"], ("a", "b")),
        (["a", 7, None, "", " b\n"], ("a", "7", "b")),
    ],
)
def test_webhook_secrets_are_separated_by_whitespace(value: Any, secrets: tuple[str, ...]) -> None:
    assert webhook_secrets(airflow(webhook_secret=value)) == secrets


API = "api.voiceinfra.ai"


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        (f"{API}/v1", f"https://{API}/v1"),
        (f"{API}/v1/?timeout=5", f"https://{API}/v1"),
        ("gateway.example:8443/voice%2Fv1", "https://gateway.example:8443/voice/v1"),
        ("127.0.0.1:8700/v1?scheme=http", "http://127.0.0.1:8700/v1"),
        ("[::1]:8700/v1?scheme=http", "http://[::1]:8700/v1"),
        ("127.0.0.1:8700/v1", "https://127.0.0.1:8700/v1"),
        ("/v2", f"https://{API}/v2"),
        ("", f"https://{API}/v1"),
        ("/?scheme=https", f"https://{API}/v1"),
        (f"{API}", f"https://{API}"),
        (f"https%3A%2F%2F{API}%2Fv1", f"https://{API}/v1"),
    ],
)
def test_base_url_is_that_of_a_connection_uri(uri: str, url: str) -> None:
    conn = Connection.from_uri(f"voiceinfra://:{API_KEY}@{uri}", conn_id="vi")
    connection = VoiceInfraConnection.from_airflow(conn)
    assert (connection.base_url, connection.api_key, connection.unknown_extras) == (url, API_KEY, ())


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"port": 443},
        {"host": "http://127.0.0.1:8700/v1", "port": 443},
        {"host": "http://[::1]/v1", "port": 8700},
        {"host": "gateway.example/v1"},
        {"host": "gateway.example", "schema": "v1", "port": 8443},
    ],
    ids=str,
)
def test_connection_means_the_same_as_the_uri_that_airflow_makes_of_it(values: dict[str, Any]) -> None:
    conn = airflow(webhook_secret="first+one second/one", from_number="+14155550101", **values)
    again = Connection.from_uri(conn.get_uri(), conn_id="vi")
    assert VoiceInfraConnection.from_airflow(again) == VoiceInfraConnection.from_airflow(conn)


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({"host": "gateway.example"}, "https://gateway.example"),
        ({"host": "gateway.example/v2/"}, "https://gateway.example/v2"),
        ({"host": "https://gateway.example", "port": 8443}, "https://gateway.example:8443"),
        ({"host": "https://gateway.example:9443/v1", "port": 8443}, "https://gateway.example:9443/v1"),
        ({"host": "http://127.0.0.1/v1", "port": 8700}, "http://127.0.0.1:8700/v1"),
        ({"host": "http://localhost:8700/v1"}, "http://localhost:8700/v1"),
        ({"host": "http://[::1]/v1", "port": 8700}, "http://[::1]:8700/v1"),
        ({"host": "  "}, f"https://{API}/v1"),
        ({"host": API, "schema": "https"}, f"https://{API}"),
        ({"host": "127.0.0.1/v1", "schema": "http", "port": 8700}, "http://127.0.0.1:8700/v1"),
        ({"host": f"https://{API}/v1", "schema": "v1"}, f"https://{API}/v1"),
        ({"host": f"https://{API}/v1", "schema": "/"}, f"https://{API}/v1"),
    ],
)
def test_base_url_is_made_of_host_port_and_schema(values: dict[str, Any], url: str) -> None:
    assert read(**values).base_url == url


@pytest.mark.parametrize("extra", [None, "", "{}", "null", " "])
def test_no_extras_are_none(extra: str | None) -> None:
    assert read(extra=extra).webhook_secrets == webhook_secrets(airflow(extra=extra)) == ()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("webhook_secrets", "webhook_secret"),
        ("extra__voiceinfra__webhook_secret", "webhook_secret"),
        ("Webhook Secret", "webhook_secret"),
        ("max_call_per_second", "max_calls_per_second"),
        ("fromnumber", "from_number"),
        ("agent-id", "agent_id"),
        ("secret", "webhook_secret"),
        ("agent", "agent_id"),
        ("from", "from_number"),
        ("Caller ID", "from_number"),
    ],
)
def test_another_spelling_of_an_extra_is_refused_unless_that_is_set(name: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match=f"there is no extra {name!r}; rename it to {meant!r}"):
        read(**{name: "7"})
    assert read(**{name: None, meant: None}).unknown_extras == ()
    assert read(**{name: "7", meant: "7"}).unknown_extras == (name,)


def test_extras_that_mean_nothing_here_are_named() -> None:
    assert read(account="main", owner="team of the night", agent_id="a").unknown_extras == ("owner",)


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ({}, []),
        ({"from_number": "+14155550199", "agent_id": "agent_demo"}, []),
        ({"from_number": "0301234"}, ["from_number"]),
        ({"from_number": "+1 (415) 555-0199"}, ["from_number"]),
        ({"from_number": 14155550199}, ["from_number"]),
        ({"from_number": "+99999999999999", "agent_id": "x" * 256}, ["agent_id", "from_number"]),
    ],
    ids=str,
)
def test_defaults_with_which_each_call_would_fail_are_found(
    values: dict[str, Any], fields: list[str]
) -> None:
    faults = read(**values).faulty_defaults()
    assert [fault.field for fault in faults] == fields
    assert "5550199" not in str(faults)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"password": None}, "API key is missing"),
        ({"password": "  "}, "API key is missing"),
        ({"password": "key\nX-Other: 1"}, "a header cannot carry"),
        ({"password": "schl\N{LATIN SMALL LETTER U WITH DIAERESIS}ssel"}, "a header cannot carry"),
        ({"host": "http://gateway.example/v1"}, "use https"),
        ({"host": "http://10.0.0.1"}, "use https"),
        ({"host": "http://localhost.example"}, "use https"),
        ({"host": "ftp://gateway.example"}, "must look like https://"),
        ({"host": "https://"}, "must look like https://"),
        ({"host": "https://user:hunter2@gateway.example"}, "neither a login nor a query"),
        ({"host": "https://gateway.example/v1?key=hunter2"}, "neither a login nor a query"),
        ({"host": "https://gateway.example:99999"}, "cannot be read"),
        ({"host": "https://[gateway"}, "cannot be read"),
        ({"host": "https://user:hunter2@gateway\N{CARE OF}.example"}, "cannot be read"),
        ({"timeout": 0}, "'timeout' must be a number above 0 and at most 300"),
        ({"timeout": 301}, "at most 300"),
        ({"timeout": "soon"}, "not 'soon'"),
        ({"timeout": True}, "above 0"),
        ({"timeout": [1]}, "above 0"),
        ({"max_calls_per_second": -1}, "'max_calls_per_second' must be a number above 0, not"),
        ({"max_calls_per_second": "inf"}, "above 0"),
        ({"max_calls_per_second": "nan"}, "above 0"),
        ({"webhook_secret": {"old": "hunter2"}}, "'webhook_secret' must be text, or a list of texts while"),
        ({"webhook_secret": ["hunter2", ["hunter2"]]}, "a list of texts while rotating, and has a JSON list"),
        ({"webhook_secret": True}, "and has a JSON boolean"),
        ({"agent_id": ["hunter2"]}, "'agent_id' must be text, not a JSON list"),
        ({"from_number": 1.5}, "'from_number' must be text, not a JSON number"),
        ({"scheme": {}}, "'scheme' must be text, not a JSON object"),
        ({"host": f"https://{API}/v1", "schema": "v2"}, "given twice, and differently"),
        ({"host": f"https://{API}/v1", "scheme": "http"}, "given twice, and differently"),
        ({"host": API, "schema": "v1", "scheme": "http"}, "use https"),
        ({"scheme": "http"}, "use https"),
        ({"host": API, "scheme": "ftp"}, "must look like https://"),
        ({"host": API, "schema": "v1?key=hunter2"}, "neither a login nor a query"),
        ({"extra": "webhook_secret=hunter2"}, "the extras are not JSON; they must be a JSON object such as"),
        ({"extra": '["hunter2"]'}, "the extras are a JSON list; they must be a JSON object"),
        ({"extra": '"hunter2"'}, "the extras are a JSON text; they must be a JSON object"),
        ({"extra": "7"}, "the extras are a JSON number; they must be a JSON object"),
        ({"extra": "true"}, "the extras are a JSON boolean; they must be a JSON object"),
    ],
)
def test_bad_value_is_refused_with_its_remedy(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(**values)
    assert message in str(caught.value)
    assert "'vi'" in str(caught.value)
    assert "hunter2" not in f"{caught.value}{caught.value.__cause__}"


def test_neither_repr_nor_account_holds_a_secret_or_a_name() -> None:
    connection = read(webhook_secret="whsec_1", from_number="+14155550101")
    for shown in (repr(connection), str(connection.account), str(read(account="4155550101").account)):
        assert not any(part in shown for part in (API_KEY, "whsec_1", "4155550101"))


class TestDeployment:
    """What a task process gets from Airflow itself."""

    def test_connection_comes_from_airflow_with_each_secret_masked_in_logs(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        secrets = ("whsec_first_one", "whsec_second_one")
        values = {
            "conn_type": "voiceinfra",
            "password": API_KEY,
            "extra": {"webhook_secret": " ".join(secrets)},
        }
        monkeypatch.setenv("AIRFLOW_CONN_VI", json.dumps(values))
        assert read_connection("vi").webhook_secrets == secrets
        assert redact("signed with whsec_second_one, whsec_first_one") == "signed with ***, ***"

    def test_connection_of_another_type_and_an_unknown_one_are_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_VI", json.dumps({"conn_type": "http", "password": API_KEY}))
        with pytest.raises(ConfigurationError, match="is of type 'http'"):
            airflow_connection("vi")
        with pytest.raises(AirflowNotFoundException):
            airflow_connection("nobody_defined_this")

    def test_ledger_is_the_one_that_is_configured(
        self, monkeypatch: pytest.MonkeyPatch, ledger_url: str
    ) -> None:
        monkeypatch.setenv("AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN", ledger_url)
        assert open_ledger().check()
