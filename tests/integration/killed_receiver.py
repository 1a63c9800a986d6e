"""A vendor that sends until it is answered, one who reads along, and one who kills what both use."""

from __future__ import annotations

import http.client
import json
import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from harness.postgres import PostgresServer

from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CompletionEntry
from airflow_provider_voiceinfra.waiting.following import Follower
from airflow_provider_voiceinfra.webhooks.signing import EVENT_HEADER, SIGNATURE_HEADER, sign
from tests.receiver_process import ReceiverProcess

SECRET = "it-killed-secret-2b61"
CONNECTIONS = 32
ANSWER_SECONDS = 30.0
# Of so many deliveries, one is sent twice at the same time.
TWICE = 20
PAUSE = 0.02
_Connections = Sequence[http.client.HTTPConnection]
_LOST = (OSError, http.client.HTTPException)


@dataclass(frozen=True)
class Sent:
    """One webhook.

    :param call_id: empty if it is of no use.
    """

    call_id: str
    body: bytes
    event: str = "call.completed"


def make_deliveries(number: int, *, useless_each: int) -> list[Sent]:
    """Return different webhooks.

    :param useless_each: of so many, one is no usable completion; 0 for none.
    """
    return [
        _useless(place) if useless_each and place % useless_each == 0 else _completion(place)
        for place in range(number)
    ]


def _completion(place: int) -> Sent:
    call_id = f"call_{place:07d}"
    record = {"event": "call.completed", "call_id": call_id, "transcript": "-" * 500}
    return Sent(call_id, json.dumps(record).encode())


def _useless(place: int) -> Sent:
    record = {"event": "call.completed", "place": place}
    kinds = [
        Sent("", json.dumps(record).encode()),
        Sent("", f"no JSON {place}".encode()),
        Sent("", json.dumps({**record, "call_id": f"other_{place}"}).encode(), "call.started"),
    ]
    return kinds[place // 10 % len(kinds)]


class Vendor:
    """Sends webhooks over kept-alive connections; each again and again until it was answered 200.

    :param ports: of the receivers; who gets no answer from one goes on with the next.
    """

    def __init__(self, deliveries: Sequence[Sent], ports: Sequence[int]) -> None:
        self._todo = [one for place, one in enumerate(deliveries) for _ in range(1 + (place % TWICE == 1))]
        self._ports = ports
        self._next = self._open = 0
        self._changed = threading.Condition()
        self.total = len(self._todo)
        self.answered = 0
        self.answers: Counter[tuple[Sent, str]] = Counter()
        self.resent: Counter[str] = Counter()
        self.errors: list[BaseException] = []

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Send meanwhile; what was let go is answered once this ends."""
        threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        try:
            yield
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            for thread in threads:
                thread.join()
        assert not self.errors

    def let_go(self, number: int) -> None:
        """Have the first so many of the webhooks sent, at full speed."""
        with self._changed:
            self._open = number
            self._changed.notify_all()

    def wait(self, answered: int) -> None:
        """Wait until so many were answered 200."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.errors or self.answered >= answered, 120)
        assert not self.errors

    def _run(self, number: int) -> None:
        connections = [
            http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS) for port in self._ports
        ]
        try:
            for turn, one in enumerate(self._take(), number):
                status = self._send(one, turn, connections)
                with self._changed:
                    self.answers[one, status] += 1
                    self.answered += 1
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001  the test fails of it
            self._fail(error)
        finally:
            for connection in connections:
                connection.close()

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self.errors.append(error)
            self._changed.notify_all()

    def _take(self) -> Iterator[Sent]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self.errors or self._next < self._open or self._is_over)
                if self.errors or self._is_over:
                    return
                one = self._todo[self._next]
                self._next += 1
            yield one

    @property
    def _is_over(self) -> bool:
        return self._next >= self.total

    def _send(self, one: Sent, turn: int, connections: _Connections) -> str:
        headers = {SIGNATURE_HEADER: sign(SECRET, one.body), EVENT_HEADER: one.event}
        while True:
            connection = connections[turn % len(connections)]
            try:
                connection.request("POST", "/webhooks", one.body, headers)
                answer = connection.getresponse()
                status, said = answer.status, answer.read()
            except _LOST:
                status, said = 0, b""
                connection.close()  # the next request opens it anew
            if status == 200:
                return str(json.loads(said)["status"])
            assert status in {0, 503}, (status, said)
            turn += 1
            with self._changed:
                self.resent["answered 503" if status else "not answered"] += 1
            threading.Event().wait(PAUSE)  # as one who was told to come again later


class Reader:
    """Follows a ledger as whoever waits for calls does, without a break."""

    def __init__(self, ledger: CallLedger) -> None:
        self._ledger = ledger
        self._follower = Follower(ledger, 500)
        self._over = threading.Event()
        self.seen: list[CompletionEntry] = []
        self.lost_its_place = 0
        self.failed_looks = 0

    @contextmanager
    def following(self) -> Iterator[None]:
        """Follow meanwhile, and until nothing is left to see."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _run(self) -> None:
        found: list[CompletionEntry] | None = []
        while True:
            was_over = self._over.is_set()
            try:
                found = self._follower.look()
            except LedgerUnavailableError:
                self.failed_looks += 1
                self._over.wait(PAUSE)
                continue
            if found is None:
                self.lost_its_place += 1
            self.seen += found or []
            if found == []:
                if was_over:
                    return
                self._over.wait(PAUSE)


def kill_while_sending(
    vendor: Vendor,
    receivers: Sequence[ReceiverProcess],
    server: PostgresServer,
    kills: int,
    chance: random.Random,
) -> None:
    """Kill receivers, and the database, so many times each, at random moments while webhooks are sent.

    Before each, what is to be killed is up, and more webhooks are let go than are answered by then.
    """
    victims: list[ReceiverProcess | PostgresServer] = [server] * kills
    victims += [receivers[number % len(receivers)] for number in range(kills)]
    chance.shuffle(victims)
    each = vendor.total // (len(victims) + 1)
    for number, victim in enumerate(victims, 1):
        if isinstance(victim, ReceiverProcess):
            victim.wait()
        vendor.let_go(number * each)
        most = number * each - CONNECTIONS
        vendor.wait(chance.randint(min(vendor.answered, most), most))
        if isinstance(victim, ReceiverProcess):
            victim.kill()
            victim.start()
        else:
            victim.crash()
    vendor.let_go(vendor.total)
