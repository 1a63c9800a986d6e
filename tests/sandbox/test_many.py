from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.sandbox.conftest import Receiver
from tests.sandbox_process import SandboxProcess

CALLS = 600


@pytest.mark.integration
def test_many_calls_at_once_each_get_one_webhook(signed: SandboxProcess, receiver: Receiver) -> None:
    signed.configure(call_seconds=0.2, call_seconds_jitter=0.5)
    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=16))

    def place(number: int) -> str:
        response = signed.post_call(session=session, to_number=f"+120255501{number % 90:02}", timeout=20)
        return str(response.json()["call_id"])

    with ThreadPoolExecutor(16) as pool:
        placed = list(pool.map(place, range(CALLS)))
    webhooks = receiver.wait_for(CALLS)
    assert Counter(json.loads(webhook.body)["call_id"] for webhook in webhooks) == Counter(placed)
    assert {call["call_id"] for call in signed.audit()["calls"]} == set(placed)
    assert signed.counts()["calls_in_flight"] == 0
