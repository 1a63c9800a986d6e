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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from airflow_provider_voiceinfra import __version__, deployment, metrics
from airflow_provider_voiceinfra.exceptions import VoiceInfraError
from airflow_provider_voiceinfra.settings import Settings, load_settings
from airflow_provider_voiceinfra.web.connections import CachedSecrets, SecretsFor
from airflow_provider_voiceinfra.web.webhook import Once, Receiver, build_router, place_of

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.ledger import CallLedger
    from airflow_provider_voiceinfra.web.pages.visitors import VisitorOf

HEALTH_SECONDS = 1.0

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
    :param visitor: the dependency that tells who asks for a page; if not set, Airflow's login.
    """
    receiver = Receiver(
        settings=Once(lambda: settings or load_settings()),
        ledger=Once(lambda: ledger or deployment.open_ledger()),
        secrets_for=secrets_for or CachedSecrets(),
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
    app.include_router(build_router(receiver))

    @app.get("/health")
    async def get_health() -> JSONResponse:
        return health.answer(await receiver.in_thread(health.is_ok))

    if with_pages:
        # Jinja and the pages are of no use to a receiver on its own.
        from airflow_provider_voiceinfra.web.pages.app import build_pages

        app.mount("/ui", build_pages(receiver, visitor))
    return app


class _Health:
    """Whether the ledger can be written, asked at most once in a while: everybody may ask for it."""

    def __init__(self, ledger: Once[CallLedger]) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._ok = False

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        # The first webhook should not wait for drivers and migrations, nor the server for a slow database.
        threading.Thread(target=self._warm_up, name="voiceinfra-warm-up", daemon=True).start()
        yield

    @staticmethod
    def answer(ok: bool) -> JSONResponse:
        status = "ok" if ok else "ledger_unavailable"
        known_to_all = {"service": "voiceinfra", "status": status, "version": __version__}
        return JSONResponse(known_to_all, 200 if ok else 503)

    def is_ok(self) -> bool:
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
