"""The vendor's webhooks: lost, late, early, doubled, reordered, altered, and sent again until they get a 200.

``acks`` is the truth about what the receiver has taken upon itself.
"""

from __future__ import annotations

import hashlib
import heapq
import hmac
import itertools
import json
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import requests

from tests.faults.plan import Account

if TYPE_CHECKING:
    from tests.faults.vendor import Rung

RETRY = (0.3, 0.8)  # seconds until a delivery without a 200 is sent again
POST_TIMEOUT = 4.0
MOST_TRIES = 60


@dataclass(frozen=True)
class Ack:
    """A delivery that was answered 200."""

    call_id: str
    conn_id: str
    body: bytes
    genuine: bool
    at: float


@dataclass(frozen=True)
class _Delivery:
    rung: Rung
    account: Account
    body: bytes
    signature: str
    genuine: bool = True
    again: bool = True
    tries: int = 0


class Deliveries:
    """Sends webhooks from a few threads."""

    def __init__(self, receivers: list[str], accounts: list[Account], tell: Callable[[str], None]) -> None:
        self.acks: list[Ack] = []
        self.wrongly_taken: list[str] = []
        """Calls of which a delivery with a bad signature was answered 200."""
        self._receivers = receivers
        self._accounts = {account.conn_id: account for account in accounts}
        self._tell = tell
        self._queue: list[tuple[float, int, _Delivery]] = []
        self._number = itertools.count()
        self._changed = threading.Condition()
        self._under_way = 0
        self._sent: set[str] = set()
        self._stopped = False
        self._pool = ThreadPoolExecutor(6)
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def schedule(self, rung: Rung, chance: random.Random, *, crossed: bool) -> None:
        """Plan the webhooks of a call; it is called with everything else locked, and returns at once."""
        account = self._accounts[rung.conn_id]
        seconds = chance.uniform(0.05, 0.6)
        if rung.webhook == "early":
            seconds = 0.0
        elif rung.webhook in ("late", "reordered"):
            seconds += chance.uniform(1.0, 5.0)
        kind, _, exactly = rung.webhook.partition(":")
        if exactly:
            seconds = float(exactly)
        body = _body(rung, seconds)
        if crossed:
            seconds = max(seconds, 1.0)
            self._cross(rung, chance)
        if kind == "lost":
            return
        rung.bodies.append(body)
        if kind == "altered":  # a stranger changed the body, and cannot sign it
            changed = body.replace(rung.outcome.encode(), b"answered, twice")
            signature = _sign(account.secret, body)
            self._put(seconds / 2, _Delivery(rung, account, changed, signature, genuine=False, again=False))
        if kind == "variant":  # the vendor's own retry, written otherwise
            other = json.dumps(dict(sorted(json.loads(body).items(), reverse=True)), indent=1).encode()
            rung.bodies.append(other)
            self._put(seconds + 0.2, _Delivery(rung, account, other, _sign(account.secret, other)))
        for delay in (seconds, seconds + 0.05) if kind == "doubled" else (seconds,):
            self._put(delay, _Delivery(rung, account, body, _sign(account.secret, body)))

    def _cross(self, rung: Rung, chance: random.Random) -> None:
        """Have another account tell of this call, correctly signed with that account's own secret."""
        other = next(one for one in self._accounts.values() if one.conn_id != rung.conn_id)
        said = {"call_outcome": "failed", "summary": f"said by {other.conn_id}"}
        body = json.dumps({**json.loads(_body(rung, 1.0)), **said}).encode()
        delivery = _Delivery(rung, other, body, _sign(other.secret, body), genuine=False)
        self._put(chance.uniform(0.2, 0.6), delivery)

    def is_quiet(self) -> bool:
        """Whether nothing is left to send."""
        with self._changed:
            return not self._queue and not self._under_way

    def wait_until_sent(self, call_id: str, seconds: float) -> None:
        """Return when a call's webhook has had an answer, whatever it was, or after some seconds."""
        with self._changed:
            self._changed.wait_for(lambda: call_id in self._sent, seconds)

    def hurry(self) -> None:
        """Send everything that is still to be sent at once."""
        with self._changed:
            self._queue = [(0.0, number, delivery) for _, number, delivery in self._queue]
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._queue.clear()
            self._changed.notify_all()
        self._thread.join()
        self._pool.shutdown()

    def _put(self, delay: float, delivery: _Delivery) -> None:
        with self._changed:
            heapq.heappush(self._queue, (time.monotonic() + delay, next(self._number), delivery))
            self._changed.notify_all()

    def _work(self) -> None:
        with self._changed:
            while not self._stopped:
                wait = self._queue[0][0] - time.monotonic() if self._queue else 1.0
                if wait > 0:
                    self._changed.wait(wait)
                    continue
                delivery = heapq.heappop(self._queue)[2]
                self._under_way += 1
                self._pool.submit(self._send, delivery)

    def _send(self, delivery: _Delivery) -> None:
        rung, status = delivery.rung, 0
        headers = {"Content-Type": "application/json", "X-VoiceInfra-Event": "call.completed",
                   "X-VoiceInfra-Signature": delivery.signature}  # fmt: skip
        # As a proxy would pick one.
        receiver = random.Random(f"{rung.call_id}/{delivery.tries}/to").choice(self._receivers)
        url = f"{receiver}/webhooks/{delivery.account.conn_id}"
        if delivery.genuine and rung.told_at is None:
            rung.told_at = time.monotonic()
        with suppress(requests.RequestException):
            status = requests.post(url, data=delivery.body, headers=headers, timeout=POST_TIMEOUT).status_code
        now = time.monotonic()
        if status == 200:
            self._tell(f"vendor:ack:{rung.mark}:{rung.number}")
            self._tell("vendor:ack")
            if not delivery.genuine and not delivery.again:
                self.wrongly_taken.append(rung.call_id)
            self.acks.append(
                Ack(rung.call_id, delivery.account.conn_id, delivery.body, delivery.genuine, now)
            )
        elif delivery.again and delivery.tries < MOST_TRIES:
            delay = random.Random(f"{rung.call_id}/{delivery.tries}").uniform(*RETRY)
            self._put(delay, replace(delivery, tries=delivery.tries + 1))
        with self._changed:
            self._under_way -= 1
            self._sent.add(rung.call_id)
            self._changed.notify_all()


def _sign(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _body(rung: Rung, seconds: float) -> bytes:
    values: dict[str, Any] = {
        "event": "call.completed",
        "call_id": rung.call_id,
        **{name: rung.request.get(name) for name in ("from_number", "to_number", "agent_id")},
        "duration_seconds": 7,
        "start_time": rung.started.isoformat(),
        "end_time": (rung.started + timedelta(seconds=seconds)).isoformat(),
        "call_outcome": rung.outcome,
        "transcript": "Agent: hello. Caller: hello.",
        "summary": f"call {rung.number} of {rung.mark}",
        **({"extracted_data": {"opt_out": True}} if rung.opts_out else {}),
    }
    return json.dumps(values).encode()
