"""The routes that the vendor posts to: reads bytes within a limit, hands them on, answers with a status.

An answer reveals nothing to an unauthenticated sender: neither which connections exist nor what was wrong.
"""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Generic, TypeVar

from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_provider_voiceinfra import deployment
from airflow_provider_voiceinfra.connection import DEFAULT_CONN_ID, WebhookSecrets
from airflow_provider_voiceinfra.exceptions import VoiceInfraError
from airflow_provider_voiceinfra.masking import mask_numbers_in
from airflow_provider_voiceinfra.settings import Settings
from airflow_provider_voiceinfra.web.receiver import storing
from airflow_provider_voiceinfra.web.receiver.rejections import Rejections
from airflow_provider_voiceinfra.web.receiver.secrets import SecretsFor
from airflow_provider_voiceinfra.web.receiver.storing import Storing
from airflow_provider_voiceinfra.web.workers import BusyError, TooSlowError, Workers
from airflow_provider_voiceinfra.webhooks import receiving, signing
from airflow_provider_voiceinfra.webhooks.reasons import RejectionReason, in_words
from airflow_provider_voiceinfra.webhooks.receiving import Delivery, Outcome, Receipt

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.ledger import CallLedger
    from airflow_provider_voiceinfra.rules.opt_out import OptOut

RETRY_AFTER_SECONDS = 10
# How long a delivery waits to be verified, and then to be stored: a sender takes slowness for a failure.
ANSWER_SECONDS = 10.0
# Threads that verify by what has to be looked up: what waits for the ledger keeps nobody from being refused.
THREADS = 16
# Deliveries that may wait to be verified, and as many to be stored, with their bodies in memory.
MAX_WAITING = 512
# Transactions whose deliveries are still to be reported to the metrics; what finds no room is left out.
MOST_UNREPORTED = 64
# A body of so many bytes is verified at once, without a thread, by a secret that is at hand.
SMALL_BODY = 65_536
# Threads that wait for the last requests to people who have opted out, and for how long, in seconds.
OPT_OUT_THREADS = 2
_OPT_OUT_PATIENCE = 3.0
LEDGER_CONNECTIONS = storing.THREADS + OPT_OUT_THREADS + 3
"""Connections to the ledger at most: beside those that store, for rejections, its health, and for names."""

# Written once: nearly all answers are one of these.
_STORED = {outcome: json.dumps({"status": outcome.value}) for outcome in Outcome}

T = TypeVar("T")

log = logging.getLogger(__name__)


class Once(Generic[T]):
    """Makes something when it is first asked for; a failure is not kept, so the next who asks tries again."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self.made: T | None = None

    def __call__(self) -> T:
        """Return it, making it if need be."""
        if self.made is None:
            self.made = self._make()
        return self.made


@dataclass
class Receiver:
    """What a delivery needs; everything is looked up when the first one comes, in threads of its own.

    :param secrets_for: returns the webhook secrets of a connection, ``None`` if there is no such connection.
    :param remembered: the same, at once; raises ``KeyError`` if they would have to be looked up.
    """

    settings: Once[Settings]
    ledger: Once[CallLedger]
    secrets_for: SecretsFor
    remembered: SecretsFor
    rejections: Rejections = field(init=False)
    _storing: Storing = field(init=False)
    _verifying: Workers = field(default_factory=lambda: _workers("verify", THREADS, MAX_WAITING))
    _reporting: Workers = field(default_factory=lambda: _workers("report", 1, MOST_UNREPORTED))
    _noting: Workers = field(default_factory=lambda: _workers("note", 1, 1))
    _settling: Workers = field(default_factory=lambda: _workers("opt-outs", OPT_OUT_THREADS, MAX_WAITING))
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.rejections = Rejections(self.ledger, self.secrets_for)
        self._storing = Storing(self._store, self._report, seconds=ANSWER_SECONDS, most_waiting=MAX_WAITING)

    @property
    def is_overloaded(self) -> bool:
        """Whether so many deliveries wait for a thread that no more should be taken."""
        return self._verifying.is_full or self._storing.is_full

    async def current_settings(self) -> Settings:
        """Return the settings; they are read once.

        :raises ConfigurationError: if this receiver is set up wrongly.
        """
        return self.settings.made or await self._verifying.run(self.settings)

    async def deliver(self, delivery: Delivery, settings: Settings) -> Receipt:
        """Take a delivery from its bytes to the ledger; what is not verified never comes near the ledger.

        :raises LedgerError: if it could not be stored.
        :raises ConnectionsUnavailableError: if its connection could not be looked up.
        :raises ConfigurationError: if this receiver is set up wrongly.
        :raises BusyError: if too much else is waiting.
        :raises TooSlowError: if one of these takes too long.
        """
        allow_unsigned = settings.allow_unsigned_webhooks
        rejection = receiving.shape_rejection(delivery, allow_unsigned=allow_unsigned)
        secrets = None
        if rejection is None:
            rejection, secrets = await self._verify(delivery, allow_unsigned)
        if rejection is not None:
            return Receipt(Outcome.REJECTED, rejection.value)
        spec, account = (None, None) if secrets is None else (secrets.opt_out, secrets.account)
        opt_outs = _opt_outs(delivery.conn_id, spec, settings.opt_out) if spec or settings.opt_out else ()
        if account or opt_outs:
            delivery = replace(delivery, account=account, opt_outs=opt_outs)
        receipt = await self._storing.store(delivery)
        if receipt.suppressed:
            await self._await_last_requests(receipt)
        return receipt

    async def _await_last_requests(self, receipt: Receipt) -> None:
        """Answer an opt-out only once no request can leave any more that was claimed before it was stored."""
        numbers = receipt.suppressed
        suppressions = self.ledger().suppressions
        if not await self._settling.run(
            lambda: suppressions.await_last_requests(numbers, patience=_OPT_OUT_PATIENCE)
        ):
            raise CallUnderWayError("a call to a number that has opted out is being placed at this moment")

    async def after_rejection(self, delivery: Delivery, receipt: Receipt) -> None:
        """Remember and report a rejection that was answered; if there is no time for it, it is left."""
        reason = receipt.reason or ""
        with suppress(BusyError, TooSlowError):
            if self.rejections.is_due(delivery.conn_id, reason):
                await self._noting.run(self.rejections.write, delivery.conn_id, reason)
        await self._report_each([delivery], [receipt])

    async def _verify(
        self, delivery: Delivery, allow_unsigned: bool
    ) -> tuple[RejectionReason | None, WebhookSecrets | None]:
        if len(delivery.body) <= SMALL_BODY:
            with suppress(KeyError):
                return _verified(delivery, self.remembered(delivery.conn_id), allow_unsigned)
        found: tuple[RejectionReason | None, WebhookSecrets | None] = await self._verifying.run(
            lambda: _verified(delivery, self.secrets_for(delivery.conn_id), allow_unsigned)
        )
        return found

    def _store(self, deliveries: Sequence[Delivery]) -> list[Receipt]:
        return receiving.store(deliveries, self.ledger())

    def _report(self, deliveries: Sequence[Delivery], receipts: Sequence[Receipt]) -> None:
        task = asyncio.create_task(self._report_each(deliveries, receipts))
        self._tasks.add(task)  # the loop itself holds it only weakly
        task.add_done_callback(self._tasks.discard)

    async def _report_each(self, deliveries: Sequence[Delivery], receipts: Sequence[Receipt]) -> None:
        def report() -> None:
            for delivery, receipt in zip(deliveries, receipts, strict=True):
                receiving.report(delivery, receipt)

        with suppress(BusyError, TooSlowError):
            await self._reporting.run(report)


def _verified(
    delivery: Delivery, secrets: tuple[str, ...] | None, allow_unsigned: bool
) -> tuple[RejectionReason | None, WebhookSecrets | None]:
    known = secrets if isinstance(secrets, WebhookSecrets) else None
    return receiving.verify(delivery, secrets, allow_unsigned=allow_unsigned), known


class CallUnderWayError(VoiceInfraError):
    """Somebody opted out while a call to them is being placed; the vendor is to send the webhook again."""


@lru_cache(maxsize=256)
def _opt_outs(conn_id: str, spec: object, everywhere: str) -> tuple[OptOut, ...]:
    return deployment.opt_outs(conn_id, spec, everywhere=everywhere)


def _workers(name: str, threads: int, most_waiting: int) -> Workers:
    return Workers(name, threads=threads, seconds=ANSWER_SECONDS, most_waiting=most_waiting)


class _BodyTooLargeError(Exception):
    """The body is larger than the limit."""


def build_routes(receiver: Receiver) -> list[Route]:
    """Return the routes of the receiver."""

    async def receive(request: Request) -> Response:
        return await _receive(request, receiver)

    # Starlette's own: what FastAPI's do beyond that, for parameters and documentation, is of no use here.
    return [Route(path, receive, methods=["POST"]) for path in ("/webhooks", "/webhooks/{conn_id:path}")]


async def _receive(request: Request, receiver: Receiver) -> Response:
    if receiver.is_overloaded:
        log.warning("A webhook was put off: %d others wait to be stored", MAX_WAITING)
        return _try_again()
    try:
        settings = await receiver.current_settings()
        delivery = _delivery(request, await _read_body(request, settings.max_webhook_bytes))
        receipt = await receiver.deliver(delivery, settings)
    except _BodyTooLargeError:
        delivery = _delivery(request, b"")
        receipt = Receipt(Outcome.REJECTED, RejectionReason.TOO_LARGE.value)
    except ClientDisconnect:
        log.info("A webhook's sender hung up before its body was complete; nothing of it is stored")
        return Response(status_code=400)  # nobody is there to read it
    except VoiceInfraError as exc:
        log.error("A webhook could not be stored, and its sender was asked to send it again: %s", exc)
        return _try_again()
    except Exception as exc:  # noqa: BLE001  whatever it is, the sender has to try again, and learns no more
        log.error("A webhook could not be stored, for an error of ours: %s", place_of(exc))
        return _try_again()
    return _answer(delivery, receipt, receiver)


def _delivery(request: Request, body: bytes) -> Delivery:
    return Delivery(
        conn_id=request.path_params.get("conn_id") or DEFAULT_CONN_ID,
        body=body,
        signatures=request.headers.getlist(signing.SIGNATURE_HEADER),
        event=", ".join(request.headers.getlist(signing.EVENT_HEADER)) or None,
    )


async def _read_body(request: Request, limit: int) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 15 or int(announced) > limit):
        raise _BodyTooLargeError
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:  # the announcement may be missing, or a lie
            raise _BodyTooLargeError
    return bytes(body)


def _answer(delivery: Delivery, receipt: Receipt, receiver: Receiver) -> Response:
    if receipt.outcome is Outcome.REJECTED:
        later = BackgroundTask(receiver.after_rejection, delivery, receipt)
        # What nobody is known to have signed may be any text: shown short, quoted, and without numbers.
        shown = mask_numbers_in(delivery.conn_id[:64])
        log.warning("A webhook for connection %r was rejected: %s", shown, in_words(receipt.reason or ""))
        if receipt.reason == RejectionReason.TOO_LARGE:
            return JSONResponse({"error": "too_large"}, 413, background=later)
        return JSONResponse({"error": "unauthorized"}, 401, background=later)
    if receipt.outcome is Outcome.KEPT:
        log.warning(
            "A signed webhook for connection %r could not be used and was kept: %s. "
            "`airflow voiceinfra deliveries` lists what is kept",
            delivery.conn_id,
            in_words(receipt.reason or ""),
        )
    return Response(_STORED[receipt.outcome], media_type="application/json")


def _try_again() -> Response:
    return JSONResponse({"error": "try_again"}, 503, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def place_of(exc: Exception) -> str:
    """Return an error's class and place for a log; its message could hold values out of a body."""
    frames = "".join(f" {frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(exc.__traceback__))
    return f"{type(exc).__name__} at{frames}"
