"""A short flood, and some noise; at length: ``make flood`` and ``make fuzz``."""

from __future__ import annotations

import random

import pytest

from tests.attack.flood import Flood, flood_receiver
from tests.attack.fuzz import Fuzzed, fuzz_receiver
from tests.attack.messages import FORGED, genuine, replayed


@pytest.mark.integration
def test_flood_of_forged_requests_keeps_no_genuine_webhook_from_the_ledger(ledger_url: str) -> None:
    flood = flood_receiver(ledger_url, seconds=4.0, seed=1)
    assert flood.genuine
    assert not flood.missing
    assert not flood.wrong
    # What is forged costs the ledger nothing: see how few transactions there were for how many requests.
    assert flood.transactions is None or flood.transactions < sum(flood.sent.values()) / 2


@pytest.mark.integration
def test_noise_is_answered_as_such(ledger_url: str) -> None:
    fuzzed = fuzz_receiver(ledger_url, number=2_000, seed=1)
    assert not fuzzed.violations()
    assert {401, 400, 200} <= {status for _, status in fuzzed.statuses}


class TestVerdicts:
    @pytest.mark.parametrize("status", [500, 503, 401, 0])
    def test_genuine_webhook_that_is_not_served_is_a_violation(self, status: int) -> None:
        flood = Flood(memory=[1])
        flood.note(genuine("call_1"), status, 0.1)
        assert any("genuine" in found for found in flood.violations())

    def test_forged_request_that_is_taken_is_a_violation(self) -> None:
        rng, flood = random.Random(1), Flood(memory=[1])
        flood.note(genuine("call_1"), 200, 0.1)
        for make in FORGED:
            flood.note(make(rng), 200, 0.1)
        assert len(flood.wrong) == len(FORGED)

    def test_what_is_replayed_may_be_answered_200(self) -> None:
        flood = Flood(memory=[1])
        flood.note(genuine("call_1"), 200, 0.1)
        flood.note(replayed(genuine("call_1")), 200, 0.1)
        assert not flood.violations()

    def test_lost_record_lateness_and_work_for_forged_ones_are_violations(self) -> None:
        flood = Flood(memory=[100] * 9, missing={"call_1"}, transactions=1_000)
        flood.note(genuine("call_1"), 200, 2.0)
        assert len(flood.violations()) == 3

    def test_memory_that_grows_is_a_violation(self) -> None:
        growing = [number * 50 * 2**20 for number in range(1, 13)]
        flood = Flood(memory=growing)
        flood.note(genuine("call_1"), 200, 0.1)
        assert any("memory" in found for found in flood.violations())
        fuzzed = Fuzzed(memory=growing, is_healthy=True)
        assert any("memory" in found for found in fuzzed.violations())

    def test_server_error_and_a_receiver_that_is_gone_are_violations(self) -> None:
        fuzzed = Fuzzed(log="Traceback (most recent call last):")
        fuzzed.statuses["JSON", 500] += 1
        assert len(fuzzed.violations()) == 3
