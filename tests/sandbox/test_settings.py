from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from airflow_provider_voiceinfra.sandbox.cli import parse
from airflow_provider_voiceinfra.sandbox.faults import Fault
from airflow_provider_voiceinfra.sandbox.settings import SettingError, Settings, is_loopback


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:9000/hook", True),
        ("http://127.8.9.10/", True),
        ("http://[::1]:9000/", True),
        ("https://localhost/hook", True),
        ("http://example.com/", False),
        ("http://127.0.0.1@example.com/", False),
        ("http://localhost.example.com/", False),
        ("http://10.0.0.1/", False),
        ("http://0.0.0.0/", False),
        ("ftp://127.0.0.1/", False),
        ("http://[::1/", False),
        ("http://127.0.0.1:99999/", False),
        ("", False),
    ],
)
def test_only_loopback_urls_are_local(url: str, local: bool) -> None:
    assert is_loopback(url) is local


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"webhook_url": "https://example.com/"}, "webhook_url: must be an http"),
        ({"call_seconds": -1}, "call_seconds: must be a number from 0"),
        ({"call_seconds": "2"}, "call_seconds: must be a number"),
        ({"call_seconds": float("nan")}, "call_seconds: must be a number"),
        ({"fault_numbers": 1}, "fault_numbers: must be true or false"),
        ({"rate_burst": 1.5}, "rate_burst: must be a whole number"),
        ({"rate_burst": True}, "rate_burst: must be a whole number"),
        ({"retry_after": "maybe"}, "retry_after: must be one of seconds, date, none"),
        ({"api_keys": "vk_key"}, "api_keys: must be a list"),
        ({"faults": ["nothing"]}, "faults: 'nothing' is no fault; known are error_before"),
        ({"webhook_secret": ""}, "webhook_secret: must be a non-empty string"),
        ({"call_second": 2}, "call_second: no such setting; known are api_keys"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_setting_is_refused_by_name_and_rule(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings().changed(changes)
    assert str(caught.value).startswith(message)


def test_every_option_reaches_its_setting() -> None:
    words = (
        "--port 0 --rate-limit 5 --agents agent_a agent_b --no-fault-numbers --signature-form sha256=HEX "
        "--faults cut_after --fault-rate 0.5"
    )
    settings, port, _ = parse(words.split())
    assert port == 0
    assert settings == Settings(
        rate_limit=5.0,
        agents=("agent_a", "agent_b"),
        fault_numbers=False,
        signature_form="sha256=HEX",
        faults=("cut_after",),
        fault_rate=0.5,
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--webhook-url", "https://example.com/"], "--webhook-url: must be an http"),
        (["--host", "0.0.0.0"], "--host: the sandbox listens on 127.0.0.1 only"),
        (["--port", "70000"], "--port: must be from 0 to 65535"),
        (["--fault-rate", "2"], "--fault-rate: must be a number from 0 to 1"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_wrong_option_ends_with_a_message(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(argv)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_help_lists_every_fault_and_fault_number(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for fault in Fault:
        assert f"{fault.value}: " in text
        assert f"  {fault.digits}  {fault.value}" in text or not fault.digits


def test_docs_page_names_every_option_and_fault() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()
    for setting in fields(Settings):
        option = setting.name.replace("_", "-")
        assert f"`--{option}`" in page or f"`--[no-]{option}`" in page
    for fault in Fault:
        assert f"`{fault.value}`" in page
        assert f"| {fault.digits} | `{fault.value}` |" in page or not fault.digits
