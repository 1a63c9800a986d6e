"""Every page as a browser asks for it, but in this process; for ``bench_pages.py``.

The visitor may see everything, and is not looked up in Airflow: what its auth manager takes for that is not
measured here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta
from typing import Any

from filled_ledger import KINDS, LOST, NIGHT, NIGHTS, RETIRED, campaign_of, night_of, run_of

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.keys import NO_ENCRYPTION, Encryption
from airflow_provider_voiceinfra.ledger.lists.values import CallFilter


@contextlib.contextmanager
def empty_airflow() -> Iterator[None]:
    """Let Airflow be an empty one that knows the ledger's connections; to be used before it is imported."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["AIRFLOW_HOME"] = home
        for conn_id in {kind[2] for kind in KINDS}:
            os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = "voiceinfra://:key-of-the-benchmark@localhost"
        migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
        subprocess.run(migrate, check=True, capture_output=True)
        logging.disable(logging.WARNING)
        yield


class Everybody:
    """A visitor who may see and do everything."""

    name = "somebody"

    def may_see_pages(self) -> bool:
        """Return that they may."""
        return True

    def readable_connections(self, conn_ids: Collection[str]) -> set[str]:
        """Return all of them."""
        return set(conn_ids)

    def may_edit_connection(self, conn_id: str) -> bool:
        """Return that they may."""
        return True

    def readable_dags(self, dag_ids: Collection[str]) -> set[str]:
        """Return all of them."""
        return set(dag_ids)

    def may_edit_runs_of(self, dag_id: str) -> bool:
        """Return that they may."""
        return True


class Routes:
    """Every page, with what may be asked of it.

    :param now: the present when the ledger was filled.
    """

    def __init__(self, url: str, now: datetime, encryption: Encryption = NO_ENCRYPTION) -> None:
        # These import Airflow, or may one day.
        import httpx

        from airflow_provider_voiceinfra.settings import Settings
        from airflow_provider_voiceinfra.web.app import create_app

        os.environ["AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN"] = url
        self._now = now
        self._ledger = CallLedger(url, encryption=encryption)
        app = create_app(
            ledger=self._ledger,
            settings=Settings(sql_alchemy_conn=url),
            secrets_for=lambda _: ("secret-of-the-benchmark",),
            with_pages=True,
            visitor=Everybody,
        )
        self._loop = asyncio.new_event_loop()
        transport = httpx.ASGITransport(app)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://localhost/ui/")

    def all(self) -> dict[str, Callable[[], object]]:
        """Return what asks for each of them, by name."""
        asked = {**self._lists(), **self._others()}
        return {name: self._asking(address) for name, address in asked.items()}

    def _lists(self) -> dict[str, str]:
        began = night_of(NIGHTS // 3, self._now)
        night = {"since": began, "until": began + NIGHT}
        filters: dict[str, dict[str, Any]] = {
            "": {},
            ", connection": {"conn_id": "voiceinfra_default"},
            ", connection of long ago": {"conn_id": RETIRED[1]},
            ", DAG": {"dag_id": "reminders"},
            ", run": {"dag_id": "reminders", "run_id": run_of(NIGHTS // 2)},
            ", campaign": {"campaign_id": campaign_of("surveys", NIGHTS // 2)},
            ", unknown": {"state": "unknown"},
            ", failed": {"outcome": "failed"},
            ", open": {"outcome": "open"},
            ", outcome that never was": {"outcome": "busy"},
            ", 4 digits": {"digits": "0123"},
            ", 4 digits of nobody": {"digits": "9999"},
            ", a night": night,
            ", a night and nobody": {**night, "outcome": "busy"},
            ", DAG, no such outcome": {"dag_id": "reminders", "outcome": "busy"},
            ", digits and a DAG": {"dag_id": "invoices", "digits": "0123"},
        }
        found = {f"calls{name}": self._address("calls", wanted) for name, wanted in filters.items()}
        for order in ("oldest", "longest", "shortest"):
            for name in ("", ", run", ", failed", ", a night", ", 4 digits"):
                wanted = {**filters[name], "order": order}
                found[f"calls, {order}{name}"] = self._address("calls", wanted)
        for name in ("", ", DAG", ", outcome that never was", ", 4 digits"):
            found[f"calls{name}, last page"] = self._address("calls", {**filters[name], "last": "1"})
        for direction in ("inbound", "elsewhere"):
            found[f"calls, {direction}"] = self._address("calls", {"direction": direction})
        for share, place in (("middle", 0.5), ("deep", 0.9)):
            found[f"calls, {share} page"] = self._address("calls", {"after": self._place(place)})
        for name in ("", ", DAG", ", run", ", failed", ", a night", ", 4 digits"):
            found[f"charts{name}"] = self._address("charts", filters[name])
        return found

    def _others(self) -> dict[str, str]:
        entry = self._ledger.call_by_id(LOST)
        assert entry is not None
        last, middle = campaign_of("reminders", NIGHTS - 1), campaign_of("reminders", NIGHTS // 2)
        return {
            "one call": self._address("call", {"key": entry.key_hash}),
            "campaigns": "campaigns",
            "campaigns, text of none": self._address("campaigns", {"text": "nowhere"}),
            "one campaign": self._address("campaign", {"id": middle}),
            "one campaign, running": self._address("campaign", {"id": last}),
            "tab of a DAG run": self._address("run", {"dag_id": "reminders", "run_id": run_of(NIGHTS // 2)}),
            "tab of a DAG run, mapped": self._address("run", {"dag_id": "invoices", "run_id": run_of(7)}),
            "setup": "setup",
        }

    def _place(self, share: float) -> str:
        until = self._now - timedelta(days=NIGHTS * share)
        return self._ledger.lists.page_of_calls(CallFilter(until=until)).after or ""

    @staticmethod
    def _address(page: str, query: dict[str, Any]) -> str:
        # It may import Airflow.
        from airflow_provider_voiceinfra.web.pages.addresses import page_address

        given = {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in query.items()
        }
        return page_address(page, **given)

    def _asking(self, address: str) -> Callable[[], object]:
        def ask() -> object:
            answer = self._loop.run_until_complete(self._client.get(address))
            if answer.status_code != 200:
                raise RuntimeError(f"{address} was answered {answer.status_code}: {answer.text[:300]}")
            return answer

        return ask
