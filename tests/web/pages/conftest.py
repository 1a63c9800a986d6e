"""What the tests of the pages share: a ledger with calls in it, visitors, and clients for them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy.orm  # noqa: F401  Airflow has loaded it long before; two threads may not do so at once
from fastapi import HTTPException, Request
from fastapi.testclient import TestClient

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin
from airflow_provider_voiceinfra.settings import Settings
from airflow_provider_voiceinfra.web.app import create_app
from tests.support.completions import complete

OWN = {"X-VoiceInfra-Request": "page", "Sec-Fetch-Site": "same-origin"}
"""The headers with which a page asks for a change."""
PARTIAL = {"HX-Request": "true"}
"""The header with which a page asks for a part of itself."""


@dataclass(frozen=True)
class FakeVisitor:
    """Somebody with just these permissions; ``None`` stands for all there are."""

    name: str = "somebody"
    pages: bool = True
    connections: Collection[str] | None = None
    editable_connections: Collection[str] | None = None
    dags: Collection[str] | None = None
    editable_dags: Collection[str] | None = None

    def may_see_pages(self) -> bool:
        return self.pages

    def readable_connections(self, conn_ids: Collection[str]) -> set[str]:
        return {one for one in conn_ids if self.connections is None or one in self.connections}

    def may_edit_connection(self, conn_id: str) -> bool:
        return self.editable_connections is None or conn_id in self.editable_connections

    def may_edit_connections(self) -> bool:
        return self.editable_connections is None

    def may_read_connections(self) -> bool:
        return self.connections is None

    def readable_dags(self, dag_ids: Collection[str]) -> set[str]:
        return {one for one in dag_ids if self.dags is None or one in self.dags}

    def may_edit_runs_of(self, dag_id: str) -> bool:
        return self.editable_dags is None or dag_id in self.editable_dags


VIEWER = FakeVisitor("viewer", connections=(), editable_connections=(), editable_dags=())
"""As the viewer of Airflow's simple auth manager: every DAG, no connection, no change."""
USER = FakeVisitor("user", connections=(), editable_connections=())
OP = FakeVisitor("op")


@pytest.fixture
def ledger(fresh_sqlite_url: str) -> CallLedger:
    return CallLedger(fresh_sqlite_url)


Client = Callable[..., TestClient]


@pytest.fixture
def client_of(ledger: CallLedger) -> Iterator[Client]:
    """Return what makes a client of the pages for a visitor; for nobody if that is ``None`` or a refusal."""
    opened: list[TestClient] = []

    def make(visitor: FakeVisitor | HTTPException | None = OP, **options: Any) -> TestClient:
        def found(request: Request) -> Any:
            if visitor is None:
                raise HTTPException(401, "Not authenticated")
            if isinstance(visitor, HTTPException):
                raise visitor
            return visitor

        defaults: dict[str, Any] = {
            "ledger": ledger,
            "settings": Settings(sql_alchemy_conn="sqlite:////nowhere.db"),
            "secrets_for": lambda _: ("secret-of-the-tests",),
        }
        app = create_app(**{**defaults, **options}, with_pages=True, visitor=found)
        opened.append(TestClient(app, base_url="http://testserver/ui/", follow_redirects=False))
        return opened[-1]

    yield make
    for client in opened:
        client.close()


@pytest.fixture
def client(client_of: Client) -> TestClient:
    """Return a client of the pages for somebody who may see and do everything."""
    return client_of()


@dataclass
class Calls:
    """Puts calls into the ledger as the real parts do."""

    ledger: CallLedger
    number: int = field(default=0)
    prefix: str = ""

    def place(
        self,
        to_number: str = "+14155550123",
        *,
        outcome: str | None = "answered",
        record: dict[str, Any] | None = None,
        **claim: Any,
    ) -> CallEntry:
        """Place a call, and end it if an outcome is given.

        :param record: further fields of the completion.
        :param claim: its ``conn_id`` and the ``account`` of that; ``call``, further fields of the request;
            where it comes from, by default a task of the DAG ``outreach``.
        """
        entry = self._claim(to_number, **claim)
        entry = self.ledger.accept(entry, f"{self.prefix}call_{self.number}")
        if outcome is not None:
            self.complete(entry, call_outcome=outcome, **(record or {}))
        return entry

    def refused(self, message: str, to_number: str = "+14155550123", **origin: Any) -> CallEntry:
        """Let the API refuse a call."""
        entry = self._claim(to_number, **origin)
        self.ledger.refuse(entry, "invalid_phone", message)
        return entry

    def unknown(self, to_number: str = "+14155550123", **origin: Any) -> CallEntry:
        """Lose the answer to a call."""
        entry = self._claim(to_number, **origin)
        self.ledger.mark_unknown(entry, "timeout", "no answer came within 30 s")
        return entry

    def _claim(
        self,
        to_number: str,
        conn_id: str = "voiceinfra_default",
        call: dict[str, Any] | None = None,
        account: str | None = None,
        **origin: Any,
    ) -> CallEntry:
        self.number += 1
        whence = {"dag_id": "outreach", "run_id": "run_1", "task_id": "call", "map_index": -1, **origin}
        entry, _ = self.ledger.claim(
            f"{self.prefix}key-{self.number}",
            OutboundCall(to_number, "agent_1", "+12025550100", **(call or {})),
            conn_id=conn_id,
            origin=CallOrigin(**whence),
            account=account,
        )
        return entry

    def complete(self, entry: CallEntry, **fields: Any) -> None:
        """Let the webhook of a call arrive."""
        said = {
            "agent_id": entry.agent_id,
            "from_number": entry.from_number,
            "to_number": entry.to_number,
            "duration_seconds": 42,
            "start_time": "2026-01-02T03:04:05Z",
            "end_time": "2026-01-02T03:04:47Z",
            "summary": "They will come.",
            "transcript": "Agent: Good morning.\nCaller: Hello.",
        }
        complete(self.ledger, str(entry.call_id), conn_id=entry.conn_id, **{**said, **fields})


@pytest.fixture
def calls(ledger: CallLedger) -> Calls:
    return Calls(ledger)
