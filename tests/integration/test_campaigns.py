"""Campaigns in a real Airflow: from a file to a result file, asleep, cancelled, killed again and again."""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from harness.processes import wait_for

from airflow_provider_voiceinfra.ledger.campaigns.records import CampaignEntry
from tests.integration.conftest import CALL_SECONDS, Deployment, Sleeper

pytestmark = pytest.mark.integration

DAG_ID = "it_campaign"
# The long form, which `make test-kills` runs, kills 100 times during a campaign of 2,000 contacts.
KILLS = int(os.environ.get("VOICEINFRA_TEST_KILLS", "3"))
CONTACTS = int(os.environ.get("VOICEINFRA_TEST_CONTACTS", "60"))
CALLS_PER_SECOND = 10
AREA_CODES = (
    202,
    212,
    213,
    214,
    215,
    216,
    217,
    218,
    219,
    224,
    225,
    228,
    229,
    231,
    234,
    239,
    240,
    248,
    251,
    252,
)
REDIAL = {"outcomes": ["voicemail"], "waits": [0.05], "attempts": 2}


@pytest.fixture(autouse=True)
def _sandbox(deployment: Deployment) -> Iterator[None]:
    yield
    deployment.sandbox.configure(rate_limit=0, fault_numbers=True, call_seconds=CALL_SECONDS)


def numbers(count: int) -> list[str]:
    """Return different numbers, none of which stands for a fault; those that end in 7 are voicemail."""
    found = [f"+1{area}55501{line:02d}" for area in AREA_CODES for line in range(100)]
    return found[:count]


def write_contacts(path: Path, rows: list[dict[str, str]]) -> str:
    """Write a gzipped CSV file and return its path."""
    with gzip.open(path, "wt", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def read_results(path: str) -> list[dict[str, str]]:
    """Return the lines of a result file."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def start(deployment: Deployment, folder: Path, rows: list[dict[str, str]], **conf: Any) -> tuple[str, str]:
    """Start a campaign; return the run's id and the path of its results."""
    results = str(folder / "results.csv")
    contacts = write_contacts(folder / "contacts.csv.gz", rows)
    run = deployment.run(DAG_ID, contacts=contacts, results_path=results, **conf)
    return run, results


def summary(deployment: Deployment, run: str) -> dict[str, Any]:
    """Return what the campaign has put into XCom."""
    return dict(deployment.airflow.api.xcom(DAG_ID, run, "campaign"))


def calls_to(deployment: Deployment, wanted: list[str], since: int) -> list[dict[str, Any]]:
    """Return the calls that the API accepted for these numbers, by its audit log: the truth."""
    calls = deployment.sandbox.control("GET", "audit", since=since, kinds="calls")["calls"]
    return [call for call in calls if call["to_number"] in set(wanted)]


def await_campaign(deployment: Deployment, campaign_id: str, what: str, condition: Any) -> CampaignEntry:
    """Wait until a campaign is as wanted, and return it."""
    found: list[CampaignEntry] = []

    def is_so() -> bool:
        entry = deployment.ledger.campaigns.get(campaign_id)
        found[:] = [entry] if entry else []
        return entry is not None and condition(entry)

    wait_for(what, is_so, 90)
    return found[0]


def test_a_campaign_sleeps_without_a_worker_while_its_window_is_closed(
    deployment: Deployment, sleeper: Sleeper
) -> None:
    asleep = deployment.airflow.api.wait_for_task(
        DAG_ID, sleeper.run, "campaign", {"deferred", "success", "failed"}
    )

    assert asleep["state"] == "deferred"
    wait_for("the worker to be free", lambda: not deployment.airflow.task_processes(asleep["id"]), 30)
    assert deployment.accepted(sleeper.to_number) == []


@pytest.mark.every_airflow
def test_from_a_file_to_a_result_file(deployment: Deployment, tmp_path: Path) -> None:
    deployment.sandbox.configure(fault_numbers=False, call_seconds=1)
    since = deployment.sandbox.audit()["last_seq"]
    called = numbers(30)
    rows = [{"to_number": number, "name": f"person {row}"} for row, number in enumerate(called)]
    rows += [{"to_number": called[0], "name": "again"}, {"to_number": "12", "name": "no number"}]
    rows += [{"to_number": "+15125550100", "name": "asked not to be called"}]
    do_not_call = tmp_path / "do_not_call.csv"
    do_not_call.write_text("to_number\n+15125550100\n")
    run, path = start(
        deployment,
        tmp_path,
        rows,
        campaign_id="it-file",
        do_not_call=str(do_not_call),
        redial=json.dumps(REDIAL),
    )

    assert deployment.airflow.api.wait_for_run(DAG_ID, run) == "success"

    calls = calls_to(deployment, [row["to_number"] for row in rows], since)
    dialled = Counter(call["to_number"] for call in calls)
    assert dialled == {number: 2 if number.endswith("7") else 1 for number in called}
    results = read_results(path)
    assert len(results) == len(rows)
    assert {line["call_id"] for line in results if line["call_id"]} <= {call["call_id"] for call in calls}
    for line in results:
        if line["to_number"]:
            assert int(line["attempts"]) == dialled[line["to_number"]]
    told = summary(deployment, run)
    outcomes = Counter(line["outcome"] for line in results)
    assert {name: told[name] for name in ("answered", "voicemail", "failed", "invalid", "do_not_call")} == {
        name: outcomes[name] for name in ("answered", "voicemail", "failed", "invalid", "do_not_call")
    }
    assert (told["contacts"], told["duplicates"], told["attempts"]) == (33, 1, len(calls))


def test_cancelling_stops_dialling_at_once_and_leaves_the_summary(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.sandbox.configure(rate_limit=5, fault_numbers=False)
    since = deployment.sandbox.audit()["last_seq"]
    called = numbers(200)
    rows = [{"to_number": number} for number in called]
    run, path = start(deployment, tmp_path, rows, campaign_id="it-cancel", max_active_calls="100")
    await_campaign(deployment, "it-cancel", "some calls", lambda entry: (entry.progress or {}).get("placed"))

    said = deployment.airflow.run_cli("voiceinfra", "campaign", "it-cancel", "--cancel").stdout
    entry = deployment.ledger.campaigns.get("it-cancel")

    assert "cancel" in said.lower()
    assert deployment.airflow.api.wait_for_run(DAG_ID, run) == "failed"
    assert deployment.airflow.api.task_instance(DAG_ID, run, "campaign")["try_number"] == 1
    calls = calls_to(deployment, called, since)
    last = max(datetime.fromisoformat(call["time"]) for call in calls)
    assert entry is not None
    assert entry.cancelled_at is not None
    assert last < entry.cancelled_at + timedelta(seconds=2)
    told = summary(deployment, run)
    assert told["attempts"] == len(calls)
    assert told["cancelled"] == len(called) - len(calls)
    assert Counter(line["outcome"] for line in read_results(path))["cancelled"] == told["cancelled"]


def test_killed_again_and_again_nobody_is_called_twice_and_nobody_is_lost(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.sandbox.configure(rate_limit=CALLS_PER_SECOND, fault_numbers=False)
    since = deployment.sandbox.audit()["last_seq"]
    chance = random.Random(2026)
    called = numbers(CONTACTS)
    rows = [{"to_number": number} for number in called]
    run, path = start(
        deployment,
        tmp_path,
        rows,
        campaign_id="it-killed",
        max_active_calls="50",
        redial=json.dumps(REDIAL),
    )
    runners: set[str | None] = {None}
    killed = 0
    while killed < KILLS:
        entry = await_campaign(
            deployment, "it-killed", "another try", lambda entry: entry.runner not in runners or entry.summary
        )
        if entry.summary:
            break
        runners.add(entry.runner)
        time.sleep(chance.uniform(0.0, 7.0))  # the random moment itself, not a wait for something
        killed += _kill(deployment, run)

    assert deployment.airflow.api.wait_for_run(DAG_ID, run, 60 + CONTACTS / 2) == "success"

    assert killed == KILLS, "the campaign was over too soon"
    calls = calls_to(deployment, called, since)
    results = {line["to_number"]: line for line in read_results(path)}
    assert list(results) == called
    dialled = Counter(call["to_number"] for call in calls)
    for number in called:
        expected, line = 2 if number.endswith("7") else 1, results[number]
        assert dialled[number] <= expected
        assert line["outcome"] == "unknown" or dialled[number] == expected == int(line["attempts"])
        assert line["call_id"] in {"", *(call["call_id"] for call in calls if call["to_number"] == number)}
    told = summary(deployment, run)
    assert told["contacts"] == CONTACTS
    unknown = [line for line in results.values() if line["outcome"] == "unknown"]
    assert told["unknown"] == len(unknown)
    print(  # noqa: T201 # the long form is run for these figures
        f"{killed} kills, {len(calls)} calls, {len(unknown)} reported as unknown, {told}"
    )


def _kill(deployment: Deployment, run: str) -> int:
    """Kill the process that runs the campaign; return how many were hit."""
    instance = deployment.airflow.api.task_instance(DAG_ID, run, "campaign")
    processes = deployment.airflow.task_processes(instance["id"])
    if len(processes) < 2:
        return 0
    try:
        processes[-1].send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return 0
    return 1
