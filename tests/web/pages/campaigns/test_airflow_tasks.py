"""The state of a campaign's task comes from Airflow's database, if that can be asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, insert
from sqlalchemy.orm import Session

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.records import CampaignEntry
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from airflow_provider_voiceinfra.web.pages.campaigns.airflow_tasks import task_state


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what puts a task instance into the table that Airflow has for them."""
    from airflow.models import import_all_models
    from airflow.models.taskinstance import TaskInstance

    import_all_models()  # the tables that this one refers to
    engine = create_engine(f"sqlite:///{tmp_path / 'airflow.db'}")
    table = TaskInstance.__table__
    table.create(engine)

    @contextmanager
    def session() -> Iterator[Session]:
        with Session(engine) as opened:
            yield opened

    monkeypatch.setattr("airflow.utils.session.create_session", session)

    def put(state: str | None, map_index: int, run_id: str = "r1") -> None:
        values = {"dag_id": "outreach", "task_id": "call_all", "run_id": run_id, "map_index": map_index}
        needed = {"id": uuid4(), "pool": "default", "pool_slots": 1, "dag_version_id": uuid4()}
        with engine.begin() as connection:
            connection.execute(insert(table).values(**values, **needed, state=state))

    return put


def campaign(ledger: CallLedger, **origin: Any) -> CampaignEntry:
    whence = {"dag_id": "outreach", "run_id": "r1", "task_id": "call_all", "map_index": -1, **origin}
    id_ = f"spring {uuid4()}"
    return ledger.campaigns.take(id_, conn_id="voiceinfra_default", origin=CallOrigin(**whence))


def test_it_is_that_of_the_very_task_instance(ledger: CallLedger, tasks: Any) -> None:
    tasks("failed", -1)
    tasks("success", -1, run_id="r2")
    tasks("deferred", 0)
    assert task_state(campaign(ledger)) == "failed"
    assert task_state(campaign(ledger, map_index=0)) == "deferred"


def test_it_is_not_known_of_one_that_is_not_there_or_has_none(ledger: CallLedger, tasks: Any) -> None:
    tasks(None, 1)
    assert task_state(campaign(ledger, map_index=1)) is None
    assert task_state(campaign(ledger, map_index=2)) is None
    assert task_state(campaign(ledger, task_id=None)) is None


def test_it_is_not_known_if_airflows_database_cannot_be_asked(
    ledger: CallLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("no database")

    monkeypatch.setattr("airflow.utils.session.create_session", fail)
    assert task_state(campaign(ledger)) is None
