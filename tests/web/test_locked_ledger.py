"""A ledger that does not answer: webhooks and pages are answered in time, and Airflow's own routes go on."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

import pytest
import requests
from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import NullPool, create_engine
from starlette.routing import Mount

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.settings import Settings
from airflow_provider_voiceinfra.web import app as receiver_app
from airflow_provider_voiceinfra.web.app import create_app
from airflow_provider_voiceinfra.web.pages.routes import PageRoute
from airflow_provider_voiceinfra.web.receiver import webhook
from airflow_provider_voiceinfra.webhooks import receiving
from airflow_provider_voiceinfra.webhooks.signing import SIGNATURE_HEADER
from tests.support.waiting import until
from tests.web.conftest import CONNECTIONS, Server, completion, signed
from tests.web.pages.conftest import OP

SECONDS = 6.0
"""How long the receiver and the pages wait for the ledger in these tests."""
PATIENCE = 25.0
"""How long a test waits for an answer: less than a connection pool, a driver or a lock would let it wait."""
BODY = completion()
FORGED = {SIGNATURE_HEADER: "0" * 64}

Lock = Callable[..., AbstractContextManager[Callable[[], int]]]


@pytest.fixture
def lock(postgres_database: str, ledger: CallLedger) -> Lock:
    """Return what locks tables of the ledger, as a long migration or a forgotten session would."""
    ledger.check()

    @contextmanager
    def locked(*tables: str) -> Iterator[Callable[[], int]]:
        """Hold the locks, and tell how many sessions wait for them."""
        engine = create_engine(postgres_database, poolclass=NullPool)
        with engine.connect() as holding, engine.connect() as watching:
            for table in tables:
                holding.exec_driver_sql(f"LOCK TABLE voiceinfra_{table} IN ACCESS EXCLUSIVE MODE")

            def waiting() -> int:
                query = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"
                return int(watching.exec_driver_sql(query).scalar_one())

            yield waiting

    return locked


@pytest.fixture
def ledger(postgres_database: str) -> CallLedger:
    return CallLedger(postgres_database)


@pytest.fixture
def server(
    ledger: CallLedger, postgres_database: str, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> Server:
    """Return an application as Airflow's: a route of its own that is not asynchronous, and the plugin."""
    monkeypatch.setattr(webhook, "ANSWER_SECONDS", SECONDS)
    monkeypatch.setattr(receiver_app, "HEALTH_ANSWER_SECONDS", SECONDS)
    monkeypatch.setattr(PageRoute.workers, "_seconds", SECONDS)
    airflow = FastAPI()

    @airflow.get("/own")
    def own() -> str:
        return "answered"

    plugin = create_app(
        ledger=ledger,
        secrets_for=CONNECTIONS.get,
        settings=Settings(sql_alchemy_conn=postgres_database),
        with_pages=True,
        visitor=lambda: OP,
    )
    airflow.mount("/voiceinfra", plugin)
    server = serve(airflow)
    # What is loaded and connected with the first request is not what is measured here.
    until(lambda: get(server, "/voiceinfra/health").status_code == 200)
    until(lambda: get(server, "/voiceinfra/ui/calls").status_code == 200)
    first = completion("call_0")
    until(lambda: post(server, first, signed(first)).status_code == 200)
    return server


def get(server: Server, path: str) -> requests.Response:
    return requests.get(server.url + path, timeout=PATIENCE)


def post(server: Server, body: bytes, headers: dict[str, str], conn_id: str = "") -> requests.Response:
    path = f"/voiceinfra/webhooks/{conn_id}" if conn_id else "/voiceinfra/webhooks"
    return requests.post(server.url + path, data=body, headers=headers, timeout=PATIENCE)


def test_webhook_is_answered_before_anything_is_reported_about_it(
    server: Server, ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    reportable = threading.Event()
    monkeypatch.setattr(receiving, "report", lambda *args: reportable.wait(PATIENCE))
    for number in range(1, 30):  # more than there are threads for what is done after an answer
        body = completion(f"call_{number}")
        answer = post(server, body, signed(body))
        assert (answer.status_code, answer.json()) == (200, {"status": "recorded"})
    assert get(server, "/voiceinfra/health").status_code == 200
    reportable.set()
    assert ledger.last_sequence() == 30


def test_webhooks_are_put_off_in_time_while_the_calls_cannot_be_read(
    server: Server, lock: Lock, ledger: CallLedger
) -> None:
    # Nobody can tell meanwhile whether the calls are those of another account.
    with lock("calls") as waiting, ThreadPoolExecutor(8) as pool:
        bodies = [completion(f"call_{number}") for number in range(1, 9)]
        answers = [pool.submit(post, server, body, signed(body)) for body in bodies]
        until(lambda: waiting() >= 1)
        assert get(server, "/own").json() == "answered"
        for answer in answers:
            assert answer.result().status_code == 503
            assert "Retry-After" in answer.result().headers
    for body in bodies:
        until(lambda body=body: post(server, body, signed(body)).status_code == 200)  # type: ignore[misc]
    assert ledger.last_sequence() == 9


def test_pages_that_wait_for_the_ledger_stop_neither_airflow_nor_webhooks(server: Server, lock: Lock) -> None:
    with lock("campaigns") as waiting, ThreadPoolExecutor(40) as pool:
        pages = [pool.submit(get, server, "/voiceinfra/ui/campaigns") for _ in range(40)]
        until(lambda: waiting() >= 4)
        assert get(server, "/own").json() == "answered"
        assert post(server, BODY, signed(BODY)).json() == {"status": "recorded"}
        for page in pages:
            assert page.result().status_code == 503
            assert "ledger of calls does not answer" in page.result().text
        # Those that were given up go on in their threads; a page that needs none is still there.
        assert get(server, "/voiceinfra/ui/static/icon.svg").status_code == 200
    until(lambda: get(server, "/voiceinfra/ui/campaigns").status_code == 200)


def test_webhooks_are_put_off_in_time_while_nothing_can_be_stored(
    server: Server, lock: Lock, ledger: CallLedger
) -> None:
    with lock("completions", "counters") as waiting, ThreadPoolExecutor(40) as pool:
        bodies = [completion(f"call_{number}") for number in range(1, 41)]
        genuine = [pool.submit(post, server, body, signed(body)) for body in bodies]
        until(lambda: waiting() >= 1)
        # Nothing can be stored; nothing of that is a forger's business.
        for headers in (FORGED, {}, {SIGNATURE_HEADER: "junk"}):
            for conn_id in ("", "nobody_knows_it", "no_secret"):
                answer = post(server, BODY, headers, conn_id)
                assert (answer.status_code, answer.json()) == (401, {"error": "unauthorized"})
        for one in genuine:
            assert one.result().status_code == 503
            assert "Retry-After" in one.result().headers
        health = get(server, "/voiceinfra/health")
        assert (health.status_code, health.json()["status"]) == (503, "ledger_unavailable")
        assert get(server, "/own").json() == "answered"
    for body in bodies:
        until(lambda body=body: post(server, body, signed(body)).status_code == 200)  # type: ignore[misc]
    assert ledger.last_sequence() == 41


def test_refusals_are_answered_while_they_cannot_be_noted(server: Server, lock: Lock) -> None:
    with lock("rejections", "counters"):
        for _ in range(30):
            assert post(server, BODY, FORGED).status_code == 401


def test_nothing_of_ours_runs_in_the_threads_of_airflows_routes() -> None:
    """A route that is no coroutine is run in the threads that all of the API server's applications share."""
    app = create_app(with_pages=True, visitor=lambda: OP)
    [pages] = [route.app for route in app.routes if isinstance(route, Mount)]
    assert isinstance(pages, FastAPI)
    ours = [route for route in (*app.routes, *pages.routes) if isinstance(route, APIRoute)]
    assert {"/health", "/calls", "/calls.csv", "/setup/check"} <= {route.path for route in ours}
    assert [route.path for route in ours if not inspect.iscoroutinefunction(route.endpoint)] == []
