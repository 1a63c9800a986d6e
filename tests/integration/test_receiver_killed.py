"""The receiver and PostgreSQL, killed again and again at full speed: nothing answered 200 is lost."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest
from harness.postgres import PostgresServer, find_binaries

from airflow_provider_voiceinfra.ledger import CallLedger
from tests.integration.killed_receiver import SECRET, Reader, Vendor, kill_while_sending, make_deliveries
from tests.receiver_process import ReceiverProcess
from tests.support.ledgers import forget_ledger

pytestmark = pytest.mark.integration

# The long form, which `make test-kills` runs, kills each 20 times during 100,000 deliveries.
KILLS = int(os.environ.get("VOICEINFRA_TEST_KILLS", "3"))
DELIVERIES = int(os.environ.get("VOICEINFRA_TEST_DELIVERIES", "3000"))


class DurablePostgres(PostgresServer):
    """A server with its own defaults: what it has committed is to outlive it."""

    settings = ("max_connections=200",)


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    server = DurablePostgres(binaries)
    yield server
    server.stop()


@pytest.mark.parametrize("useless_each", [0, 10], ids=["all usable", "one in ten unusable"])
def test_killed_again_and_again_it_loses_nothing_that_it_answered_200(
    server: PostgresServer, useless_each: int
) -> None:
    url = server.create_database("killed")
    ledger = CallLedger(url)
    ledger.check()
    deliveries = make_deliveries(DELIVERIES, useless_each=useless_each)
    reader = Reader(ledger)
    with ReceiverProcess(url, SECRET) as one, ReceiverProcess(url, SECRET) as other:
        vendor = Vendor(deliveries, [one.port, other.port])
        began = time.monotonic()
        with reader.following(), vendor.sending():
            kill_while_sending(vendor, [one, other], server, KILLS, random.Random(2026))
        seconds = time.monotonic() - began

    rows = ledger.completions_after(0, limit=2 * DELIVERIES)
    kept = [one.body for one in ledger.deliveries.kept(include_replayed=True, limit=2 * DELIVERIES)]
    forget_ledger(url)
    print(  # noqa: T201 # the long form is run for these figures
        f"{DELIVERIES} deliveries, {vendor.answered} of {vendor.total} answered 200 in {seconds:.0f} s, "
        f"{KILLS} kills of each, sent again: {dict(vendor.resent)}, {len(rows)} completions, "
        f"{len(kept)} kept, {reader.failed_looks} looks that failed"
    )
    assert vendor.answered == vendor.total
    said = {(bool(sent.call_id), status) for sent, status in vendor.answers}
    assert said <= {(True, "recorded"), (True, "duplicate"), (False, "kept")}
    assert max(vendor.answers[one, "recorded"] for one in deliveries) <= 1
    usable = [one.call_id for one in deliveries if one.call_id]
    assert _differences(usable, [row.call_id for row in rows]) == []
    useless = [one.body for one in deliveries if not one.call_id]
    assert _differences(useless, kept) == []
    in_order = [(row.sequence, row.call_id) for row in rows]
    seen = [(row.sequence, row.call_id) for row in reader.seen]
    assert _differences(in_order, seen) == []
    assert seen == in_order
    assert len({row.sequence for row in rows}) == len(rows)
    assert reader.lost_its_place == 0


def _differences(wanted: Iterable[object], found: Iterable[object]) -> list[tuple[str, object]]:
    """Return what is missing and what is there too often, of which a failure can show the first few."""
    wanted_count, found_count = Counter(wanted), Counter(found)
    return [
        *(("missing", one) for one in (wanted_count - found_count).elements()),
        *(("too many", one) for one in (found_count - wanted_count).elements()),
    ]
