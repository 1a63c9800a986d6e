"""The example DAGs call in the daytime and give up soon, since people copy them as they are."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_voiceinfra.campaigns.plan import RedialPolicy
from airflow_provider_voiceinfra.operators.voiceinfra import (
    VoiceInfraCampaignOperator,
    VoiceInfraOutboundCallOperator,
)
from airflow_provider_voiceinfra.rules.calling_window.place import Place
from airflow_provider_voiceinfra.rules.calling_window.window import CallingWindow
from airflow_provider_voiceinfra.tasks.ages import parse_age

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "dags_examples").glob("*.py"))
CALLS_NOBODY = {"ledger_retention"}
DEMO = ROOT / "scripts" / "demo_dags" / "outreach.py"
CALLING = (VoiceInfraOutboundCallOperator, VoiceInfraCampaignOperator)
PARAM = re.compile(r"\{\{ *params\.(\w+) *(?:\| *tojson *)?\}\}")
UTC = Place((), ("UTC",))
MONDAY = datetime(2026, 3, 2, tzinfo=timezone.utc)
WEEK_BY_QUARTERS = [MONDAY + timedelta(minutes=15 * number) for number in range(7 * 24 * 4)]


def load(path: Path) -> DAG:
    """Return the DAG of a file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # A DAG function is named like its file.
    dag = getattr(module, path.stem)()
    assert isinstance(dag, DAG)
    return dag


def calling_tasks(dag: DAG) -> Iterator[Mapping[str, Any]]:
    """Yield what each task that calls people was given, with the DAG's params filled in."""
    for task in dag.tasks:
        if issubclass(task.operator_class, CALLING):
            # One that is mapped is not made yet.
            given = getattr(task, "partial_kwargs", None) or vars(task)
            yield {name: _filled_in(given.get(name), dag) for name in ("task_id", "calling_window", "redial")}


def _filled_in(value: Any, dag: DAG) -> Any:
    param = PARAM.fullmatch(value) if isinstance(value, str) else None
    return dag.params[param[1]] if param else value


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_call_between_eight_and_eight_where_the_person_is(path: Path) -> None:
    tasks = list(calling_tasks(load(path)))

    assert bool(tasks) is (path.stem not in CALLS_NOBODY), "an example without a call"
    for task in tasks:
        assert task["calling_window"], f"{task['task_id']} has no calling_window"
        window = CallingWindow.parse(task["calling_window"])
        # A zone for everybody would be somebody's night.
        assert window.rules.timezone is None
        open_at = {moment.hour for moment in WEEK_BY_QUARTERS if window.is_open(moment, UTC)}
        assert open_at
        assert open_at <= set(range(8, 20)), task


@pytest.mark.parametrize("path", [*EXAMPLES, DEMO], ids=lambda path: path.stem)
def test_nobody_is_called_more_than_three_times(path: Path) -> None:
    for task in calling_tasks(load(path)):
        assert task["redial"] is None or RedialPolicy.parse(task["redial"]).attempts <= 3, task


def test_what_belongs_to_no_connection_that_is_named_goes_last() -> None:
    given = [vars(task) for task in load(ROOT / "dags_examples" / "ledger_retention.py").tasks]
    ages = {task["voiceinfra_conn_id"]: parse_age(task["older_than"]) for task in given}
    assert ages[None] == max(filter(None, ages.values()))


def test_nine_o_clock_in_the_evening_and_a_missing_window_would_be_found(tmp_path: Path) -> None:
    text = (ROOT / "dags_examples" / "outbound_call.py").read_text()
    late, missing = tmp_path / "late", tmp_path / "missing"
    for folder, changed in (
        (late, text.replace("08:00-20:00", "08:00-21:00")),
        (missing, text.replace('calling_window="{{ params.calling_window }}"', "calling_window=None")),
    ):
        folder.mkdir()
        (folder / "outbound_call.py").write_text(changed)

        with pytest.raises(AssertionError):
            test_examples_call_between_eight_and_eight_where_the_person_is(folder / "outbound_call.py")
