"""Campaigns for the pages to show: real ones, placed by a DAG against the sandbox."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

from harness.processes import wait_for

from tests.integration.conftest import CALL_SECONDS, Deployment
from tests.integration.test_campaigns import DAG_ID, numbers, start

NEVER = 3600.0  # seconds that a call takes which a test ends itself


@dataclass
class Night:
    """A campaign that was started by Airflow's API.

    :param since: the last entry of the sandbox's audit log before it.
    """

    deployment: Deployment
    campaign_id: str
    run_id: str
    called: list[str]
    since: int

    def placed(self) -> list[dict[str, str]]:
        """Return the calls that the API accepted for it: the truth."""
        found = self.deployment.sandbox.control("GET", "audit", since=self.since, kinds="calls")["calls"]
        return [call for call in found if call["to_number"] in self.called]

    def await_placed(self, number: int) -> None:
        """Wait until so many calls are placed."""
        wait_for(f"{number} calls", lambda: len(self.placed()) >= number, 90)

    def end(self, number: int | None = None) -> None:
        """End calls that are under way, all of them or some."""
        ids = None if number is None else [call["call_id"] for call in self.placed()][:number]
        self.deployment.sandbox.end_calls(ids)


def begin(
    deployment: Deployment, folder: Path, name: str, contacts: int, *, call_seconds: float, **conf: str
) -> Night:
    """Start a campaign, and wait until the ledger has it.

    :param name: what its id begins with.
    :param call_seconds: how long its calls take; :func:`calm` puts that back.
    :param conf: further parameters of the DAG.
    """
    deployment.sandbox.configure(fault_numbers=False, call_seconds=call_seconds)
    since = deployment.sandbox.audit()["last_seq"]
    campaign_id, called = f"{name}-{uuid.uuid4().hex[:6]}", numbers(contacts)
    run, _ = start(
        deployment, folder, [{"to_number": one} for one in called], campaign_id=campaign_id, **conf
    )
    wait_for(f"the campaign {campaign_id}", lambda: deployment.ledger.campaigns.get(campaign_id), 90)
    return Night(deployment, campaign_id, run, called, since)


def calm(deployment: Deployment) -> None:
    """Set the sandbox back to what it was started with."""
    deployment.sandbox.configure(fault_numbers=True, call_seconds=CALL_SECONDS)


__all__ = ["DAG_ID", "NEVER", "Night", "begin", "calm"]
