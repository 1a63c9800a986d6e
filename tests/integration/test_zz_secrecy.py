"""After everything else has run: no secret in anything that was written, no full number in a log.

The name puts this file last; alone it still judges the calls that it places itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import requests

from tests.integration.conftest import API_KEY, WEBHOOK_SECRET, Deployment

pytestmark = pytest.mark.integration

NUMBER = re.compile(r"\+1\d{10}")
TRANSCRIPT = "Agent: "


@pytest.fixture(scope="module")
def deployment_with_calls(deployment: Deployment) -> Deployment:
    """Make sure that something was written: a call that worked, and one that was refused."""
    for to_number, agent_id in (("+14155550150", "agent_demo"), ("+14155550151", "unknown_agent")):
        run = deployment.run("it_waiting", to_number=to_number, agent_id=agent_id)
        deployment.airflow.api.wait_for_run("it_waiting", run)
    return deployment


def logs(deployment: Deployment) -> Iterator[tuple[str, str]]:
    for path in deployment.airflow.log_files():
        yield str(path), path.read_text(errors="replace")


def pages(deployment: Deployment) -> Iterator[tuple[str, str]]:
    """Everything that the API tells of runs: XComs, rendered templates, task instances, connections."""
    api = deployment.airflow.api
    for dag_run in api.request("GET", "/api/v2/dags/~/dagRuns", limit=100)["dag_runs"]:
        run = f"/api/v2/dags/{dag_run['dag_id']}/dagRuns/{dag_run['dag_run_id']}/taskInstances"
        for task in api.task_instances(dag_run["dag_id"], dag_run["dag_run_id"]):
            yield f"{run}/{task['task_id']}", str(task)
            entries = f"{run}/{task['task_id']}/xcomEntries"
            for entry in api.request("GET", entries, map_index=task["map_index"])["xcom_entries"]:
                path = f"{entries}/{entry['key']}"
                yield path, str(api.request("GET", path, map_index=task["map_index"], stringify=False))
    yield "connections", str(api.request("GET", "/api/v2/connections"))


def test_no_log_holds_a_secret_a_transcript_or_a_full_number(deployment_with_calls: Deployment) -> None:
    texts = dict(logs(deployment_with_calls))
    assert any("The API accepted the call to +1415***0150" in text for text in texts.values())
    for path, text in texts.items():
        assert API_KEY not in text, path
        assert WEBHOOK_SECRET not in text, path
        assert TRANSCRIPT not in text, path
        assert NUMBER.search(text) is None, f"{path}: {NUMBER.search(text)}"


def test_nothing_that_airflow_shows_holds_a_secret(deployment_with_calls: Deployment) -> None:
    texts = dict(pages(deployment_with_calls))
    assert len(texts) > 3
    for path, text in texts.items():
        assert API_KEY not in text, path
        assert WEBHOOK_SECRET not in text, path


def test_rendered_templates_hold_no_full_number(deployment_with_calls: Deployment) -> None:
    # Of our own tasks: one of the user's that is given a whole record shows it, as the README says.
    ours = ((path, text) for path, text in pages(deployment_with_calls) if "'operator': 'VoiceInfra" in text)
    rendered = {path: text for path, text in ours if "'rendered_fields'" in text}
    assert any("to_number" in text for text in rendered.values())
    for path, text in rendered.items():
        fields = text.partition("'rendered_fields': ")[2]
        assert NUMBER.search(fields) is None, path


def test_records_in_xcom_hold_no_transcript_unless_asked_for(deployment_with_calls: Deployment) -> None:
    for path, text in pages(deployment_with_calls):
        if "/with_transcript/" not in path:
            assert TRANSCRIPT not in text, path


def test_visitor_who_is_not_logged_in_gets_no_byte_of_data(deployment_with_calls: Deployment) -> None:
    root = f"{deployment_with_calls.airflow.base_url}/voiceinfra"
    for path in ("health", "webhooks", "webhooks/voiceinfra_default", "docs", "openapi.json", ""):
        text = requests.get(f"{root}/{path}", timeout=10).text
        assert API_KEY not in text
        assert WEBHOOK_SECRET not in text
        assert NUMBER.search(text) is None
