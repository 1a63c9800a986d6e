"""The routes that the vendor posts to: reads bytes within a limit, hands them on, answers with a status.

An answer tells a stranger nothing: neither which connections exist nor what was wrong.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio.to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect

from airflow_provider_voiceinfra import metrics, receiving, signing
from airflow_provider_voiceinfra.connection import DEFAULT_CONN_ID
from airflow_provider_voiceinfra.exceptions import ConfigurationError, LedgerError
from airflow_provider_voiceinfra.masking import mask_numbers_in
from airflow_provider_voiceinfra.receiving import Delivery, Outcome, Receipt
from airflow_provider_voiceinfra.settings import Settings
from airflow_provider_voiceinfra.web.connections import ConnectionsUnavailableError, SecretsFor
from airflow_provider_voiceinfra.web.rejections import TOO_LARGE, Rejections

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.ledger import CallLedger

RETRY_AFTER_SECONDS = 10
# Threads that deliveries may hold at a time. They are not those of the API server's other routes, which
# would stand still while a ledger that is locked or far away keeps deliveries waiting.
THREADS = 16
# Deliveries that may wait for a thread, each with its body in memory.
MAX_WAITING = 512

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
    """What a delivery needs; everything is looked up when the first one comes, in its thread.

    :param secrets_for: returns the webhook secrets of a connection, ``None`` if there is no such connection.
    """

    settings: Once[Settings]
    ledger: Once[CallLedger]
    secrets_for: SecretsFor
    rejections: Rejections = field(init=False)
    _limiter: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(THREADS))

    def __post_init__(self) -> None:
        self.rejections = Rejections(self.ledger, self.secrets_for)

    def after_rejection(self, conn_id: str, reason: str) -> BackgroundTask | None:
        """Return what is left to do once a rejection has been answered."""
        if not self.rejections.is_due(conn_id, reason):
            return None
        return BackgroundTask(self.in_thread, self.rejections.write, conn_id, reason)

    async def in_thread(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run blocking work in one of the receiver's own threads."""
        return await anyio.to_thread.run_sync(work, *args, limiter=self._limiter)

    @property
    def is_overloaded(self) -> bool:
        """Whether so many deliveries wait for a thread that no more should be taken."""
        return self._limiter.statistics().tasks_waiting >= MAX_WAITING

    def deliver(self, delivery: Delivery) -> Receipt:
        """Take a delivery from its bytes to the ledger; this is the one hop into a thread.

        :raises LedgerError: if it could not be stored.
        :raises ConnectionsUnavailableError: if its connection could not be looked up.
        :raises ConfigurationError: if this receiver is set up wrongly.
        """
        allow_unsigned = self.settings().allow_unsigned_webhooks
        rejection = receiving.shape_rejection(delivery, allow_unsigned=allow_unsigned)
        if rejection is not None:
            metrics.count("webhooks.rejected")
            return Receipt(Outcome.REJECTED, rejection.value)
        secrets = self.secrets_for(delivery.conn_id)
        return receiving.receive(
            delivery, secrets=secrets, allow_unsigned=allow_unsigned, ledger=self.ledger()
        )


class _BodyTooLargeError(Exception):
    """The body is larger than the limit."""


def build_router(receiver: Receiver) -> APIRouter:
    """Return the routes of the receiver."""
    router = APIRouter(redirect_slashes=False)

    @router.post("/webhooks")
    @router.post("/webhooks/{conn_id:path}")
    async def receive(request: Request) -> Response:
        return await _receive(request, receiver)

    return router


async def _receive(request: Request, receiver: Receiver) -> Response:
    if receiver.is_overloaded:
        log.warning("A webhook was put off: %d others wait to be stored", MAX_WAITING)
        return _try_again()
    try:
        settings = receiver.settings.made or await receiver.in_thread(receiver.settings)
        delivery = Delivery(
            conn_id=request.path_params.get("conn_id") or DEFAULT_CONN_ID,
            body=await _read_body(request, settings.max_webhook_bytes),
            signatures=request.headers.getlist(signing.SIGNATURE_HEADER),
            event=", ".join(request.headers.getlist(signing.EVENT_HEADER)) or None,
        )
        receipt = await receiver.in_thread(receiver.deliver, delivery)
    except _BodyTooLargeError:
        await receiver.in_thread(metrics.count, "webhooks.rejected")
        log.warning("A webhook was refused: %s", TOO_LARGE)
        conn_id = request.path_params.get("conn_id") or DEFAULT_CONN_ID
        return JSONResponse(
            {"error": "too_large"}, 413, background=receiver.after_rejection(conn_id, TOO_LARGE)
        )
    except ClientDisconnect:
        log.info("A webhook's sender hung up before its body was complete; nothing of it is stored")
        return Response(status_code=400)  # nobody is there to read it
    except (LedgerError, ConfigurationError, ConnectionsUnavailableError) as exc:
        log.error("A webhook could not be stored, and its sender was asked to send it again: %s", exc)
        return _try_again()
    except Exception as exc:  # noqa: BLE001  whatever it is, the sender has to try again, and learns no more
        log.error("A webhook could not be stored, for an error of ours: %s", place_of(exc))
        return _try_again()
    return _answer(delivery, receipt, receiver)


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
        # What nobody is known to have signed is a stranger's text: shown short, quoted, and without numbers.
        shown = mask_numbers_in(delivery.conn_id[:64])
        log.warning("A webhook for connection %r was refused: %s", shown, receipt.reason)
        later = receiver.after_rejection(delivery.conn_id, receipt.reason or "")
        return JSONResponse({"error": "unauthorized"}, 401, background=later)
    if receipt.outcome is Outcome.KEPT:
        log.warning(
            "A signed webhook for connection %r could not be used and was kept: %s. "
            "`airflow voiceinfra deliveries` lists what is kept",
            delivery.conn_id,
            receipt.reason,
        )
    return JSONResponse({"status": receipt.outcome.value})


def _try_again() -> Response:
    return JSONResponse({"error": "try_again"}, 503, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def place_of(exc: Exception) -> str:
    """Return an error's class and place for a log; its message could hold values out of a body."""
    frames = "".join(f" {frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(exc.__traceback__))
    return f"{type(exc).__name__} at{frames}"
