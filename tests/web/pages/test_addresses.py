"""Addresses of pages are relative, hold any text, and seal what would tell a number."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_provider_voiceinfra.ledger.records import CallOrigin
from airflow_provider_voiceinfra.web.pages.addresses import (
    SEALED,
    page_address,
    run_address,
    task_address,
    unseal,
)


def test_address_asks_for_what_is_set_and_holds_any_text() -> None:
    assert page_address("calls") == page_address("calls", dag_id=None) == "calls"
    address = page_address("calls", dag_id="a&b=c #ü/..", limit=3)
    assert parse_qs(urlsplit(address).query) == {"dag_id": ["a&b=c #ü/.."], "limit": ["3"]}


@pytest.mark.parametrize("name", SEALED)
def test_what_would_tell_a_number_is_sealed_in_every_address(name: str) -> None:
    address = page_address("any", **{name: "campaign/+14155550123"})
    assert "4155550123" not in address
    [sealed] = parse_qs(urlsplit(address).query)[name]
    assert unseal(sealed) == "campaign/+14155550123"


def test_run_and_task_are_addressed_as_far_as_they_are_known() -> None:
    assert run_address(CallOrigin()) is task_address(CallOrigin()) is None
    run = CallOrigin(dag_id="a/b", run_id="x:y")
    assert run_address(run) == "../../dags/a%2Fb/runs/x%3Ay"
    assert task_address(run) is None
    mapped = CallOrigin(dag_id="d", run_id="r", task_id="t", map_index=2)
    assert task_address(mapped) == "../../dags/d/runs/r/tasks/t/mapped/2"
    plain = CallOrigin(dag_id="d", run_id="r", task_id="t", map_index=-1)
    assert task_address(plain) == "../../dags/d/runs/r/tasks/t"
