"""The requests of an attack as the bytes that go over the wire, and how each may be answered."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from airflow_provider_voiceinfra.webhooks.signing import EVENT_HEADER, SIGNATURE_HEADER, sign
from tests.support.completions import completion_body

SECRET = "attack-webhook-secret-91c4"
FOREIGN_SECRET = "attack-other-secret-77e0"
PATH = "/webhooks/voiceinfra_default"
# The receiver's own limit, see ``[voiceinfra] max_webhook_bytes``.
LIMIT = 1_048_576
_REJECTED = frozenset({401})


@dataclass(frozen=True)
class Message:
    """One request.

    :param kind: what it is, for the report.
    :param parts: what is sent, piece by piece.
    :param pause: between two pieces, in seconds; who pauses hangs up in the end.
    :param allowed: the statuses that it may be answered with; 0 for a connection that is closed.
    :param is_last: whether the connection is half closed behind it, so that no more of it is awaited.
    :param call_id: of a genuine completion record, which has to be in the ledger once it was answered.
    """

    kind: str
    parts: tuple[bytes, ...] = field(repr=False)
    allowed: frozenset[int]
    pause: float = 0.0
    is_last: bool = False
    call_id: str | None = None


def request(
    body: bytes,
    headers: Mapping[str, str],
    *,
    method: str = "POST",
    path: str = PATH,
    length: int | None = None,
) -> bytes:
    """Return a request as bytes.

    :param length: what its header says; if not set, the truth.
    """
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: receiver",
        f"Content-Length: {len(body) if length is None else length}",
    ]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def genuine(call_id: str) -> Message:
    """Return a completion record as the vendor sends it."""
    body = completion_body(call_id, transcript="Agent: Hello.\nCaller: Yes.\n" * 20)
    return Message("genuine", (request(body, _signed(body)),), frozenset({200}), call_id=call_id)


def _signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {SIGNATURE_HEADER: sign(secret, body), EVENT_HEADER: "call.completed"}


def _body(rng: random.Random) -> bytes:
    return completion_body(f"call_forged_{rng.randrange(10**9)}", transcript="-" * rng.randrange(2000))


def _wrong_secret(rng: random.Random) -> Message:
    body = _body(rng)
    return Message("signed with another secret", (request(body, _signed(body, FOREIGN_SECRET)),), _REJECTED)


def _unsigned(rng: random.Random) -> Message:
    return Message("unsigned", (request(_body(rng), {}),), _REJECTED)


def _odd_signature(rng: random.Random) -> Message:
    text = "".join(
        rng.choices(string.printable.replace("\r", "").replace("\n", "").strip(), k=rng.randrange(1, 200))
    )
    return Message(
        "with a signature that is none",
        (request(_body(rng), {SIGNATURE_HEADER: text}),),
        frozenset({400, 401, 0}),
    )


def _changed_body(rng: random.Random) -> Message:
    body = _body(rng)
    return Message("changed on the way", (request(body + b" ", _signed(body)),), _REJECTED)


def _unknown_connection(rng: random.Random) -> Message:
    body, name = _body(rng), f"/webhooks/nobody_{rng.randrange(10**6)}"
    return Message("for an unknown connection", (request(body, _signed(body), path=name),), _REJECTED)


def _huge(rng: random.Random) -> Message:
    # The answer comes, and the connection ends, before all of it is sent.
    body = b"x" * (LIMIT + rng.randrange(1, LIMIT))
    return Message("larger than the limit", (request(body, _signed(b"")),), frozenset({413, 0}))


def _announced_huge(rng: random.Random) -> Message:
    length = 10 ** rng.randrange(8, 30)
    return Message(
        "announced as huge", (request(b"", _signed(b""), length=length),), frozenset({400, 413, 0})
    )


def _endless(rng: random.Random) -> Message:
    head = f"POST {PATH} HTTP/1.1\r\nHost: receiver\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    return Message("without an end", (head, *[chunk] * 40), frozenset({413, 0}))


def _many_headers(rng: random.Random) -> Message:
    headers = {f"X-{number}": "x" * rng.randrange(1, 100) for number in range(rng.randrange(500, 3000))}
    return Message("with a bomb of headers", (request(b"{}", headers),), frozenset({400, 401, 431, 0}))


def _long_header(rng: random.Random) -> Message:
    return Message(
        "with a header without an end",
        (request(b"{}", {"X-Long": "x" * rng.randrange(10_000, 300_000)}),),
        frozenset({400, 401, 431, 0}),
    )


def _other_method(rng: random.Random) -> Message:
    method = rng.choice(("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"))
    return Message("with another method", (request(b"", {}, method=method),), frozenset({405}))


def _nested(rng: random.Random) -> Message:
    body = b'{"call_id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    return Message("nested deeply", (request(body, _signed(body, FOREIGN_SECRET)),), _REJECTED)


def _slow(rng: random.Random) -> Message:
    body = _body(rng)
    sent = request(body, _signed(body, FOREIGN_SECRET))
    # Some of it, and then no more for a long time: the client hangs up in the end.
    return Message(
        "from a slow client", tuple(sent[at : at + 1] for at in range(20)), frozenset({0}), pause=0.5
    )


_Make = Callable[[random.Random], Message]
FORGED: tuple[_Make, ...] = (
    *(_wrong_secret, _unsigned, _odd_signature, _changed_body, _unknown_connection) * 4,
    *(_huge, _announced_huge, _endless, _many_headers, _long_header, _other_method, _nested),
)
"""What makes the requests of an attack, the cheap ones more often."""
slow = _slow


def replayed(message: Message) -> Message:
    """Return the same genuine request once more."""
    return Message("replayed", message.parts, frozenset({200}))


def genuine_but_odd(rng: random.Random) -> Message:
    """Return a request that the vendor signed, of which no record can be made: it is kept."""
    depth = rng.randrange(1000, 20_000)
    bodies = (
        b'{"event": "call.completed", "call_id": ' + b"[" * depth + b"]" * depth + b"}",
        json.dumps({"event": "call.completed", "call_id": rng.randrange(10**9)}).encode(),
        json.dumps({"event": f"call.{rng.randrange(1000)}", "call_id": "call_odd"}).encode(),
        b"\xff\xfe" + rng.randbytes(100),
    )
    body = rng.choice(bodies)
    return Message("genuine and of no use", (request(body, _signed(body)),), frozenset({200}))
