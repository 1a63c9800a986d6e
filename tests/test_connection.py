"""An Airflow connection means what its form says, or is refused with the field and the remedy."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import redact

from airflow_provider_voiceinfra.connection import VoiceInfraConnection, webhook_secrets
from airflow_provider_voiceinfra.deployment import airflow_connection, open_ledger, read_connection
from airflow_provider_voiceinfra.exceptions import ConfigurationError

API_KEY = "vk_test_0123456789"


def airflow(*, password: Any = API_KEY, host: Any = None, port: Any = None, **extra: Any) -> Connection:
    return Connection(
        conn_id="vi",
        conn_type="voiceinfra",
        password=password,
        host=host,
        port=port,
        extra=json.dumps(extra),
    )


def read(**values: Any) -> VoiceInfraConnection:
    return VoiceInfraConnection.from_airflow(airflow(**values))


def test_only_the_api_key_is_needed() -> None:
    assert read() == VoiceInfraConnection(
        conn_id="vi",
        api_key=API_KEY,
        base_url="https://api.voiceinfra.ai/v1",
        webhook_secrets=(),
        agent_id=None,
        from_number=None,
        timeout=30.0,
        max_calls_per_second=None,
        account=read().account,
    )


def test_connections_with_the_same_key_or_account_are_one_account() -> None:
    assert read(host="https://gateway.example/v1").account == read().account is not None
    assert read(password="vk_another_key").account != read().account
    named = read(account=" sales ").account
    assert named == read(password="vk_another_key", account="sales").account
    assert named not in (None, read().account, read(account="support").account)


def test_account_tells_neither_key_nor_name() -> None:
    assert API_KEY not in str(read().account)
    assert "+14155550101" not in str(read(account="+14155550101").account)


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
    assert connection.base_url == "https://gateway.example/v1"
    assert connection.webhook_secrets == ("one", "two")
    assert (connection.agent_id, connection.from_number) == ("agent_demo", "+14155550101")
    assert (connection.timeout, connection.max_calls_per_second) == (12.5, 4.0)
    assert connection.api_key == API_KEY


@pytest.mark.parametrize(
    ("value", "secrets"),
    [(None, ()), ("", ()), ("  ", ()), ("a", ("a",)), ("a b\tc", ("a", "b", "c")), (123456, ("123456",))],
)
def test_webhook_secrets_are_separated_by_whitespace(value: Any, secrets: tuple[str, ...]) -> None:
    assert webhook_secrets(airflow(webhook_secret=value)) == secrets


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("gateway.example", None, "https://gateway.example"),
        ("gateway.example/v2/", None, "https://gateway.example/v2"),
        ("https://gateway.example", 8443, "https://gateway.example:8443"),
        ("https://gateway.example:9443/v1", 8443, "https://gateway.example:9443/v1"),
        ("http://127.0.0.1/v1", 8700, "http://127.0.0.1:8700/v1"),
        ("http://localhost:8700/v1", None, "http://localhost:8700/v1"),
        ("http://[::1]/v1", 8700, "http://[::1]:8700/v1"),
        ("  ", None, "https://api.voiceinfra.ai/v1"),
    ],
)
def test_base_url_is_made_of_host_and_port(host: str, port: int | None, url: str) -> None:
    assert read(host=host, port=port).base_url == url


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
    ],
)
def test_bad_value_is_refused_with_its_remedy(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(**values)
    assert message in str(caught.value)
    assert "'vi'" in str(caught.value)
    assert "hunter2" not in f"{caught.value}{caught.value.__cause__}"


@pytest.mark.parametrize("empty", [None, ""])
def test_empty_number_is_the_default(empty: Any) -> None:
    assert read(timeout=empty, max_calls_per_second=empty).timeout == 30.0


def test_repr_holds_no_secret() -> None:
    shown = repr(read(webhook_secret="whsec_1", from_number="+14155550101"))
    assert not any(part in shown for part in (API_KEY, "whsec_1", "4155550101"))


class TestDeployment:
    """What a task process gets from Airflow itself."""

    @pytest.fixture
    def define(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        def define(**values: Any) -> None:
            monkeypatch.setenv("AIRFLOW_CONN_VI", json.dumps({"conn_type": "voiceinfra", **values}))

        return define

    def test_connection_comes_from_airflow(self, define: Any) -> None:
        define(password=API_KEY, extra={"agent_id": "agent_demo"})
        assert read_connection("vi").agent_id == "agent_demo"

    def test_each_secret_is_masked_in_logs(self, define: Any) -> None:
        define(password=API_KEY, extra={"webhook_secret": "whsec_first_one whsec_second_one"})
        airflow_connection("vi")
        assert redact("signed with whsec_second_one") == "signed with ***"
        assert redact("signed with whsec_first_one") == "signed with ***"

    def test_connection_of_another_type_is_refused(self, define: Any) -> None:
        define(conn_type="http", password=API_KEY)
        with pytest.raises(ConfigurationError, match="is of type 'http'"):
            airflow_connection("vi")

    def test_unknown_connection_is_airflows_own_error(self) -> None:
        with pytest.raises(AirflowNotFoundException):
            airflow_connection("nobody_defined_this")

    def test_ledger_is_the_one_that_is_configured(
        self, monkeypatch: pytest.MonkeyPatch, ledger_url: str
    ) -> None:
        monkeypatch.setenv("AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN", ledger_url)
        assert open_ledger().check()
