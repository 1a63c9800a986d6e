"""Runs that somebody makes to try a task: says that their calls are real, and keeps others out of them."""

from __future__ import annotations

import os
import sys
from typing import Any

from airflow_provider_voiceinfra.exceptions import ConfigurationError

# How `airflow tasks test` names the run that it makes, and deletes when the task has ended. Where the DAG is
# switched on, a running scheduler takes it for a run like any other, and runs the other tasks of it.
TEMPORARY_RUN = "__airflow_temporary_run_"
# Set by `airflow tasks test` in its own process, where the tested task runs, and nowhere else.
_TEST_MODE = "AIRFLOW_TEST_MODE"


def refuse_in_another_test(run_id: str) -> None:
    """Raise ``ConfigurationError`` in a run that was made to test a task, where this is not the test."""
    if run_id.startswith(TEMPORARY_RUN) and os.environ.get(_TEST_MODE) != "True":
        raise ConfigurationError(
            "nobody is called: `airflow tasks test` made this run for a test, and this is not the test: the "
            "scheduler took the run up because the DAG is switched on. Pause the DAG while you test its "
            "tasks; to call, trigger a run, or test this task itself."
        )


def check_trial_run(run_id: str, places_calls_at: str, log: Any) -> None:
    """Refuse as above, and say of a test that its calls are real, and at which base URL they are placed."""
    refuse_in_another_test(run_id)
    if run_id.startswith(TEMPORARY_RUN) or _is_tested_in_process():
        log.warning(
            "This is a test run, and its calls are real: they go to %s. Each further test run is a run of "
            "its own, and calls everybody anew.",
            places_calls_at,
        )


def current_run_id() -> str:
    """Return the id of the run whose task this process executes; empty outside of one."""
    from airflow.sdk import get_current_context

    try:
        return str(get_current_context().get("run_id", ""))
    except RuntimeError:
        return ""


def _is_tested_in_process() -> bool:
    """Return whether `dag.test()` or `airflow dags test` runs this task."""
    # Airflow's own name for what it does so with; if it changes, no more than the warning is lost.
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    comms = getattr(runner, "SUPERVISOR_COMMS", None)
    return type(comms).__name__ == "InProcessSupervisorComms"
