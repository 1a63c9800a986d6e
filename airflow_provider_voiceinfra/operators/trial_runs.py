"""Runs that somebody makes to try a task: says that their calls are real, and keeps others out of them."""

from __future__ import annotations

import logging
import os
import sys

from airflow_provider_voiceinfra.exceptions import ConfigurationError

# How `airflow tasks test` names the run that it makes, and deletes when the task has ended. Where the DAG is
# switched on, a running scheduler takes it for a run like any other, and runs the other tasks of it.
TEMPORARY_RUN = "__airflow_temporary_run_"
# Set by `airflow tasks test` in its own process, where the tested task runs, and nowhere else.
_TEST_MODE = "AIRFLOW_TEST_MODE"


def check_trial_run(run_id: str, places_calls_at: str, log: logging.Logger) -> None:
    """Refuse to dial in a run that was made to test another task; say so if it is this one that is tested.

    :param run_id: the task instance's.
    :param places_calls_at: the connection's base URL.
    :raises ConfigurationError: if the scheduler runs this task in another task's test.
    """
    temporary = run_id.startswith(TEMPORARY_RUN)
    if temporary and os.environ.get(_TEST_MODE) != "True":
        raise ConfigurationError(
            "nobody is called: `airflow tasks test` made this run to test another task, and the scheduler "
            "took it up because the DAG is switched on. Pause the DAG while you test its tasks; to call, "
            "trigger a run, or test this task itself."
        )
    if temporary or _is_tested_in_process():
        log.warning(
            "This is a test run, and its calls are real: they go to %s. Each further test run is a run of "
            "its own, and calls everybody anew.",
            places_calls_at,
        )


def _is_tested_in_process() -> bool:
    """Tell whether `dag.test()` or `airflow dags test` runs this task."""
    # Airflow's own name for what it does so with; if it changes, no more than the warning is lost.
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    comms = getattr(runner, "SUPERVISOR_COMMS", None)
    return type(comms).__name__ == "InProcessSupervisorComms"
