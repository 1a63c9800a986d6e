"""An answer that makes no sense is one call of unknown outcome, and the campaign goes on."""

from __future__ import annotations

import socket

import pytest

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CallState
from tests.api.test_client import ODD, http, read_request, server
from tests.campaigns.live import Bench
from tests.dialling.conftest import ledger, sandbox
from tests.dialling.test_dialler import all_of, bench, closing, jobs

__all__ = ["bench", "ledger", "sandbox"]  # fixtures


@pytest.mark.parametrize("odd", ["location that is no address", "negative chunk", "location that is no text"])
def test_campaign_goes_on_after_an_answer_without_sense(bench: Bench, ledger: CallLedger, odd: str) -> None:
    answers = [ODD[odd], ODD[odd], http(200, b'{"call_id": "call_1"}')]

    def answer(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(answers.pop(0))

    with server(answer) as url, closing(bench.make_dialler(base_url=url)) as dialler:
        dialler.submit(jobs(3))
        found = all_of(dialler)
    assert len(found) == 3
    states = [entry.state for entry in ledger.calls(limit=10)]
    assert sorted(states) == [CallState.ACCEPTED, CallState.UNKNOWN, CallState.UNKNOWN]
    codes = {entry.error_code for entry in ledger.calls(limit=10) if entry.state is CallState.UNKNOWN}
    assert codes <= {"bad_redirect", "answer_lost"}
