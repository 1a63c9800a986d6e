"""After everything else has run: no secret in anything that was written, no full number in a log.

The name puts this file last; alone it still judges the calls that it places itself. What is logged later, and
by Airflows of other tests, is judged when each of them ends.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from tests.integration.conftest import (
    API_KEY,
    NUMBER,
    TRANSCRIPT,
    WEBHOOK_SECRET,
    Deployment,
    assert_nothing_secret_was_logged,
)

pytestmark = [pytest.mark.integration, pytest.mark.every_airflow]


@pytest.fixture(scope="module")
def deployment_with_calls(deployment: Deployment) -> Deployment:
    """Make sure that something was written: a call that worked, and one that was refused."""
    for to_number, agent_id in (("+14155550150", "agent_demo"), ("+14155550151", "unknown_agent")):
        run = deployment.run("it_waiting", to_number=to_number, agent_id=agent_id)
        deployment.airflow.api.wait_for_run("it_waiting", run)
    return deployment


@pytest.fixture(scope="module")
def shown(deployment_with_calls: Deployment) -> dict[str, str]:
    """Everything that the API tells of runs: XComs, rendered templates, task instances, connections."""
    return dict(pages(deployment_with_calls))


def pages(deployment: Deployment) -> Iterator[tuple[str, str]]:
    api = deployment.airflow.api
    for dag_run in api.request("GET", "/api/v2/dags/~/dagRuns", limit=100)["dag_runs"]:
        run = f"/api/v2/dags/{dag_run['dag_id']}/dagRuns/{dag_run['dag_run_id']}/taskInstances"
        for task in api.task_instances(dag_run["dag_id"], dag_run["dag_run_id"]):
            instance = f"{run}/{task['task_id']}"
            if task["map_index"] >= 0:
                instance += f"/{task['map_index']}"
            # Airflow 3.2 shows what was rendered of one alone, and leaves it out of a list.
            yield instance, str(api.request("GET", instance))
            entries = f"{run}/{task['task_id']}/xcomEntries"
            for entry in api.request("GET", entries, map_index=task["map_index"])["xcom_entries"]:
                path = f"{entries}/{entry['key']}"
                yield path, str(api.request("GET", path, map_index=task["map_index"], stringify=False))
    yield "connections", str(api.request("GET", "/api/v2/connections"))


def test_no_log_holds_a_secret_a_transcript_or_a_full_number(deployment_with_calls: Deployment) -> None:
    texts = [path.read_text(errors="replace") for path in deployment_with_calls.airflow.log_files()]
    assert any("The API accepted the call to +1415***0150" in text for text in texts)
    assert_nothing_secret_was_logged(deployment_with_calls.airflow)


def test_nothing_that_airflow_shows_holds_a_secret(shown: dict[str, str]) -> None:
    assert len(shown) > 3
    for path, text in shown.items():
        assert API_KEY not in text, path
        assert WEBHOOK_SECRET not in text, path


def test_rendered_templates_hold_no_full_number(shown: dict[str, str]) -> None:
    # Of our own tasks: one of the user's that is given a whole record shows it, as the README says.
    ours = ((path, text) for path, text in shown.items() if "'operator': 'VoiceInfra" in text)
    rendered = {path: text for path, text in ours if "'rendered_fields'" in text}
    assert any("to_number" in text for text in rendered.values())
    for path, text in rendered.items():
        fields = text.partition("'rendered_fields': ")[2]
        assert NUMBER.search(fields) is None, path


def test_records_in_xcom_hold_no_transcript_unless_asked_for(shown: dict[str, str]) -> None:
    for path, text in shown.items():
        if "/with_transcript/" not in path:
            assert TRANSCRIPT not in text, path


def test_visitor_who_is_not_logged_in_gets_no_byte_of_data(deployment_with_calls: Deployment) -> None:
    root = f"{deployment_with_calls.airflow.base_url}/voiceinfra"
    for path in ("health", "webhooks", "webhooks/voiceinfra_default", "docs", "openapi.json", ""):
        text = requests.get(f"{root}/{path}", timeout=10).text
        assert API_KEY not in text
        assert WEBHOOK_SECRET not in text
        assert NUMBER.search(text) is None
