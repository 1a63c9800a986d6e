"""What a worker is told, and the environment of the processes of a run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from tests.faults.plan import Plan, Task


def job_of(plan: Plan, task: Task, try_number: int, folder: Path) -> dict[str, Any]:
    """Return what a try of a task is to do, as plain JSON."""
    conn_id = task.campaign.conn_id if task.campaign else task.keys[0].conn_id
    account = next(one for one in plan.accounts if one.conn_id == conn_id)
    job = {
        "account": dataclasses.asdict(account),
        "task": task.name,
        "try": try_number,
        "wait": task.wait,
        "keys": [dataclasses.asdict(key) for key in task.keys],
        "keyless": task.keyless,
        "by_hook": task.by_hook,
        "forked": task.forked,
        "campaign": None,
    }
    return job | (_campaign(task, try_number, folder) if task.campaign else {})


def _campaign(task: Task, try_number: int, folder: Path) -> dict[str, Any]:
    campaign = task.campaign
    assert campaign is not None
    number = max(load for first, load in {1: 0, **task.list_of_try}.items() if first <= try_number)
    contacts: Any = campaign.lists[number]
    if campaign.as_file:
        path = folder / f"{campaign.campaign_id}-{number}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in contacts))
        contacts = str(path)
    results = folder / "results"
    results.mkdir(exist_ok=True)
    return {
        "campaign": dataclasses.asdict(campaign),
        "contacts": contacts,
        "do_not_call": campaign.do_not_call[number],
        "results": str(results / f"{campaign.campaign_id}-{campaign.results}"),
    }


def environment_of(plan: Plan, ledger: str, vendor: str) -> dict[str, str]:
    """Return the settings of the package, and the connections."""
    env = {"AIRFLOW__VOICEINFRA__SQL_ALCHEMY_CONN": ledger}
    env |= {f"AIRFLOW__VOICEINFRA__{name.upper()}": value for name, value in plan.rules.items()}
    for account in plan.accounts:
        values = {"conn_type": "voiceinfra", "password": account.api_key, "host": vendor}
        values["extra"] = {"webhook_secret": account.secret}  # type: ignore[assignment]
        env[f"AIRFLOW_CONN_{account.conn_id.upper()}"] = json.dumps(values)
    return env
