"""Sends signed webhooks through a fixed number of workers, and again until the receiver takes them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from airflow_provider_voiceinfra.sandbox.audit import AuditLog
from airflow_provider_voiceinfra.sandbox.completion import EVENT
from airflow_provider_voiceinfra.sandbox.settings import Settings
from airflow_provider_voiceinfra.webhooks.signing import EVENT_HEADER, SIGNATURE_HEADER, sign

# Enough to keep a receiver busy, and far below its connection limits.
WORKERS = 48


@dataclass
class Delivery:
    """One copy of one webhook on its way; what is ``None`` comes from the settings in force at each attempt.

    :param copy: 1, or higher for a duplicate.
    :param bad_first: sign the first attempt with a wrong secret.
    :param signature: sent as it is instead of a computed one; an empty one leaves the header out.
    :param retry: whether a failed attempt is followed by another.
    """

    call_id: str | None
    body: bytes
    copy: int = 1
    bad_first: bool = False
    event: str = EVENT
    url: str | None = None
    secret: str | None = None
    signature: str | None = None
    signature_form: str | None = None
    retry: bool = True
    attempts: int = 0
    first: dict[str, Any] = field(default_factory=dict)
    tried: asyncio.Event = field(default_factory=asyncio.Event)


class Sender:
    """Owns the deliveries that are waiting, held or under way."""

    def __init__(self, settings: Callable[[], Settings], audit: AuditLog) -> None:
        self._settings = settings
        self._audit = audit
        self._queue: asyncio.Queue[Delivery] = asyncio.Queue()
        self._held: list[Delivery] = []
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._workers: list[asyncio.Task[None]] = []
        self._random = random.Random(settings().seed)
        self._cleared = 0

    def start(self) -> None:
        """Open the HTTP client and start the workers; to be called within the event loop."""
        # Only loopback is ever contacted, so certificates prove nothing and no proxy may be asked.
        self._client = httpx.AsyncClient(
            trust_env=False,
            verify=False,
            limits=httpx.Limits(max_connections=WORKERS, keepalive_expiry=2.0),
        )
        self._workers = [asyncio.create_task(self._work()) for _ in range(WORKERS)]

    async def stop(self) -> None:
        """Drop what is waiting and close the client."""
        self.clear()
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        await self._client.aclose()

    @property
    def waiting(self) -> int:
        """Deliveries that are queued or wait for their next attempt; held ones are not counted."""
        return self._queue.qsize() + len(self._timers)

    @property
    def held(self) -> int:
        """Deliveries that are kept back by the setting ``webhook_hold``."""
        return len(self._held)

    def submit(self, delivery: Delivery) -> None:
        """Send as soon as a worker is free, unless webhooks are held."""
        if self._settings().webhook_hold:
            self._held.append(delivery)
        else:
            self.submit_now(delivery)

    def submit_now(self, delivery: Delivery) -> None:
        """Send as soon as a worker is free, even if webhooks are held."""
        self._queue.put_nowait(delivery)

    def submit_later(self, seconds: float, delivery: Delivery) -> None:
        """Send after a while."""
        self._later(seconds, self.submit, delivery)

    def release(self) -> None:
        """Send everything that was held, in the order that the settings ask for."""
        held, self._held = self._held, []
        if self._settings().webhook_order == "reversed":
            held.reverse()
        elif self._settings().webhook_order == "shuffled":
            self._random.shuffle(held)
        for delivery in held:
            self.submit_now(delivery)

    def clear(self) -> None:
        """Forget every delivery; what an attempt that is under way comes to is no longer recorded."""
        self._cleared += 1
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for delivery in self._held:
            delivery.tried.set()
        self._held.clear()
        while not self._queue.empty():
            self._queue.get_nowait().tried.set()

    def _later(self, seconds: float, submit: Callable[[Delivery], None], delivery: Delivery) -> None:
        def run() -> None:
            self._timers.pop(id(delivery), None)
            submit(delivery)

        self._timers[id(delivery)] = asyncio.get_running_loop().call_later(seconds, run)

    async def _work(self) -> None:
        while True:
            delivery = await self._queue.get()
            await self._attempt(delivery)

    async def _attempt(self, delivery: Delivery) -> None:
        settings = self._settings()
        url = delivery.url or settings.webhook_url
        if not url:
            delivery.tried.set()
            return
        delivery.attempts += 1
        cleared_before = self._cleared
        began = time.monotonic()
        status, error = await self._post(delivery, url, settings)
        wrongly_signed = delivery.bad_first and delivery.attempts == 1
        delivered = status is not None and 200 <= status < 300 and not wrongly_signed
        if self._cleared != cleared_before:
            delivery.tried.set()
            return
        result = {
            "call_id": delivery.call_id,
            "attempt": delivery.attempts,
            "copy": delivery.copy,
            "url": url,
            "status": status,
            "error": error,
            "delivered": delivered,
            "wrongly_signed": wrongly_signed,
            "seconds": round(time.monotonic() - began, 6),
        }
        self._audit.add("deliveries", **result)
        delivery.first = delivery.first or result
        delivery.tried.set()
        if not delivered and delivery.retry and delivery.attempts < settings.webhook_max_tries:
            wait = settings.webhook_retry_first * 2 ** (delivery.attempts - 1)
            self._later(wait, self.submit_now, delivery)

    async def _post(self, delivery: Delivery, url: str, settings: Settings) -> tuple[int | None, str | None]:
        try:
            # The limit is on the whole exchange: a receiver that trickles its answer has failed as well.
            response = await asyncio.wait_for(
                self._client.post(
                    url,
                    content=delivery.body,
                    headers=self._headers(delivery, settings),
                    timeout=settings.webhook_timeout,
                ),
                settings.webhook_timeout,
            )
        except asyncio.TimeoutError:
            return None, "timeout"
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            return None, f"{type(error).__name__}: {error}"
        return response.status_code, None

    def _headers(self, delivery: Delivery, settings: Settings) -> dict[str, str]:
        headers = {"Content-Type": "application/json", EVENT_HEADER: delivery.event}
        signature = delivery.signature
        if signature is None:
            secret = delivery.secret or settings.webhook_secret
            if delivery.bad_first and delivery.attempts == 1:
                secret = f"not-{secret}"
            form = delivery.signature_form or settings.signature_form
            digest = sign(secret, delivery.body)
            signature = form.replace("hex", digest).replace("HEX", digest.upper())
        if signature:
            headers[SIGNATURE_HEADER] = signature
        return headers
