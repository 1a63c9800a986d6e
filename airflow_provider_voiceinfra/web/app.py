r"""Puts the receiver together; works inside Airflow's API server and in a process of its own.

On its own::

    AIRFLOW_CONN_VOICEINFRA_DEFAULT='{"conn_type": "voiceinfra", "extra": {"webhook_secret": "..."}}' \
    AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN=postgresql://user:password@host/database \
    uvicorn --factory airflow_provider_voiceinfra.web.app:create_app

There, connections come from the environment and from ``[secrets] backend``, and from Airflow's metadata
database too if ``[database] sql_alchemy_conn`` names one; no Airflow process has to run, and a connection
needs no API key. Airflow still creates its ``AIRFLOW_HOME`` when it is imported, so that must be writable.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from airflow_provider_voiceinfra import __version__, deployment, metrics
from airflow_provider_voiceinfra.exceptions import VoiceInfraError
from airflow_provider_voiceinfra.ledger.database.pools import Pool
from airflow_provider_voiceinfra.settings import Settings, load_settings
from airflow_provider_voiceinfra.web.receiver.secrets import CachedSecrets, SecretsFor, stored_names
from airflow_provider_voiceinfra.web.receiver.unread import CloseUnread
from airflow_provider_voiceinfra.web.receiver.webhook import (
    LEDGER_CONNECTIONS,
    Once,
    Receiver,
    build_routes,
    place_of,
)
from airflow_provider_voiceinfra.web.workers import BusyError, TooSlowError, Workers

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.ledger import CallLedger
    from airflow_provider_voiceinfra.web.pages.visitors import VisitorOf

HEALTH_SECONDS = 1.0
# Who asks for the health gives up soon, and a ledger that takes longer is not one to rely on.
HEALTH_ANSWER_SECONDS = 5.0
# To the ledger, for each part; a page reads with one, and a file that is sent holds one meanwhile.
CONNECTIONS = {"receiver": LEDGER_CONNECTIONS, "pages": 12}
# Seconds to wait for one of them, and then for what is locked in the ledger: shorter than anybody
# waits for an answer, and longer than PostgreSQL leaves locks to a process that is paused.
POOL_SECONDS = 5.0
LEDGER_SECONDS = 6.5

log = logging.getLogger(__name__)


def create_app(
    *,
    ledger: CallLedger | None = None,
    secrets_for: SecretsFor | None = None,
    settings: Settings | None = None,
    with_pages: bool = False,
    visitor: VisitorOf | None = None,
) -> FastAPI:
    """Return the receiver as an ASGI application; nothing is connected or read before it serves.

    A wrong setting does not keep the API server from starting: it is logged, webhooks are answered 503, and
    the vendor sends them again.

    :param ledger: if not set, the one that ``[voiceinfra] sql_alchemy_conn`` names.
    :param secrets_for: returns the webhook secrets of a connection, ``None`` if there is no such connection;
        if not set, Airflow's connections, remembered for some seconds.
    :param settings: if not set, the section ``[voiceinfra]`` of Airflow's configuration.
    :param with_pages: whether the pages are served too, under ``/ui``. They need Airflow's login, so only its
        API server can serve them.
    :param visitor: the dependency that returns who asks for a page; if not set, Airflow's login.
    """
    cached = CachedSecrets(names=lambda: _known_names(receiver))
    receiver = Receiver(
        Once(lambda: settings or load_settings()),
        _opened(ledger, "receiver"),
        secrets_for or cached,
        remembered=cached.remembered,
    )
    health = _Health(receiver.ledger)

    app = FastAPI(
        title="VoiceInfra receiver",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=health.lifespan,
    )
    app.router.redirect_slashes = False  # a vendor that follows no redirect would lose the webhook
    app.add_middleware(CloseUnread)
    app.router.routes.extend(build_routes(receiver))

    @app.get("/health")
    async def get_health() -> JSONResponse:
        return await health.answer()

    if with_pages:
        # Jinja and the pages are of no use to a receiver on its own.
        from airflow_provider_voiceinfra.web.pages.app import build_pages

        app.mount("/ui", build_pages(_opened(ledger, "pages"), visitor))
    return app


def _opened(ledger: CallLedger | None, part: str) -> Once[CallLedger]:
    """Return what opens the ledger with connections that no other part of the process uses."""

    def make() -> CallLedger:
        pool = Pool(
            part,
            CONNECTIONS[part],
            wait=POOL_SECONDS,
            lock_timeout=LEDGER_SECONDS,
            read_timeout=LEDGER_SECONDS,
        )
        return ledger.with_pool(pool) if ledger else deployment.open_ledger(pool)

    return Once(make)


def _known_names(receiver: Receiver) -> Iterator[str]:
    yield from stored_names() or ()
    yield from receiver.ledger().lists.known_connections()


class _Health:
    """Whether the ledger can be written, asked at most once in a while: everybody may ask for it."""

    def __init__(self, ledger: Once[CallLedger]) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._ok = False
        self._worker = Workers("health", threads=1, seconds=HEALTH_ANSWER_SECONDS, most_waiting=64)

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        # The first webhook should not wait for code to be loaded, nor for drivers and migrations; the server
        # should not wait for a slow database.
        deployment.load()
        threading.Thread(target=self._warm_up, name="voiceinfra-warm-up", daemon=True).start()
        yield

    async def answer(self) -> JSONResponse:
        """Say whether it can, waiting in a thread of its own, and not for long."""
        try:
            ok = await self._worker.run(self.is_ok)
        except (BusyError, TooSlowError) as exc:
            log.error("The receiver cannot write to the ledger: %s", exc)
            ok = False
        status = "ok" if ok else "ledger_unavailable"
        known_to_all = {"service": "voiceinfra", "status": status, "version": __version__}
        return JSONResponse(known_to_all, 200 if ok else 503)

    def is_ok(self) -> bool:
        """Return whether it can; all who ask at the same time wait for one answer."""
        with self._lock:
            if time.monotonic() - self._asked_at >= HEALTH_SECONDS:
                self._ok = self._check()
                self._asked_at = time.monotonic()
            return self._ok

    def _warm_up(self) -> None:
        self.is_ok()
        metrics.prepare()

    def _check(self) -> bool:
        try:
            self._ledger().check()
        except VoiceInfraError as exc:
            log.error("The receiver cannot write to the ledger: %s", exc)
            return False
        except Exception as exc:  # noqa: BLE001  a check must not fail with a 500 itself
            log.error("The receiver cannot write to the ledger, for an error of ours: %s", place_of(exc))
            return False
        return True
