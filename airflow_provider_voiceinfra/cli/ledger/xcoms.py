"""Finds in Airflow's own database the XComs that speak of a number, and deletes them if asked to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from airflow_provider_voiceinfra.deployment import has_metadata
from airflow_provider_voiceinfra.ledger.retention.written import WrittenNumber

Run = tuple[str, str]
"""The ids of a DAG and of one of its runs."""
_AT_ONCE = 100


class HeldXCom(NamedTuple):
    """An XCom that speaks of a number, whichever task of a run has pushed it."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    key: str


class XComsUnavailableError(Exception):
    """Airflow's own database cannot be asked from here."""


def find_xcoms(runs: Iterable[Run], number: str) -> list[HeldXCom]:
    """Return the XComs of some runs that speak of a number; what a custom backend keeps is not seen.

    :raises XComsUnavailableError: if that cannot be said.
    """
    wanted = WrittenNumber(number)
    try:
        return [held for run in sorted(runs) for held in _of_run(run, wanted)] if _is_there() else []
    except XComsUnavailableError:
        raise
    except Exception as error:
        raise XComsUnavailableError(type(error).__name__) from error


def delete_xcoms(held: Iterable[HeldXCom]) -> int:
    """Delete XComs; return how many were there.

    :raises XComsUnavailableError: if that cannot be done; some may be gone.
    """
    try:
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session
        from sqlalchemy import delete

        gone = 0
        for one in held:
            same = [getattr(XComModel, name) == value for name, value in one._asdict().items()]
            with create_session() as session:
                result: Any = session.execute(
                    delete(XComModel).where(*same), execution_options={"synchronize_session": False}
                )
                gone += result.rowcount
        return gone
    except Exception as error:
        raise XComsUnavailableError(type(error).__name__) from error


def in_words(held: Iterable[HeldXCom]) -> list[str]:
    """Return a line for each run and task."""
    tasks = Counter((one.dag_id, one.run_id, one.task_id) for one in held)
    return [f"DAG {dag}, run {run}, task {task}: {number}" for (dag, run, task), number in tasks.items()]


def _is_there() -> bool:
    if not has_metadata():
        raise XComsUnavailableError("this process was given no metadata database")
    return True


def _of_run(run: Run, wanted: WrittenNumber) -> Iterator[HeldXCom]:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    columns = [getattr(XComModel, name) for name in HeldXCom._fields]
    query = select(*columns, XComModel.value).where(XComModel.dag_id == run[0], XComModel.run_id == run[1])
    with create_session() as session:
        for *names, value in session.execute(query.execution_options(yield_per=_AT_ONCE)):
            if wanted.without(value) != value:
                yield HeldXCom(*names)
