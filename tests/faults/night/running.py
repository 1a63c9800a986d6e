"""Runs one night from its plan to its verdict, the audit command included."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from harness.processes import base_environment

from tests.faults import databases
from tests.faults.jobs import environment_of
from tests.faults.night import judge
from tests.faults.night.drawing import LEAD, Night, Size, night_of
from tests.faults.seeds import quieten
from tests.faults.stage import Stage
from tests.faults.zygote import ROOT, Zygote

AUDIT_SECONDS = 300.0


@dataclass
class Outcome:
    """What a night showed.

    :param violations: sentences, each beginning with its kind.
    :param figures: what it did, for people.
    """

    violations: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    folder: str = ""

    @property
    def kinds(self) -> set[str]:
        return {violation.partition(":")[0] for violation in self.violations}


def run_night(
    seed: int,
    size: Size,
    zygote: Zygote,
    server: databases.Postgres | None,
    *,
    plant: str | None = None,
    keep: bool = False,
) -> Outcome:
    """Run a night, on SQLite if there is no server.

    :param plant: a bug that the night must find, see ``plants``.
    :param keep: leave its files.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"voiceinfra-night-{seed}-"))
    name = f"night_{uuid.uuid4().hex}"
    url = f"sqlite:///{folder / 'ledger.db'}"
    if server is not None:
        url = server.create_database(name).replace("postgresql+psycopg2", "postgresql")
    night, began = night_of(seed, size, time.time()), time.monotonic()
    stage = Stage(night.plan, zygote, folder, url, server, plant)
    outcome = Outcome(folder=str(folder))
    try:
        _run(stage, night, size, outcome)
    finally:
        stage.stop()
        if server is not None:
            server.drop_database(name)
    outcome.figures["seconds"] = round(time.monotonic() - began, 1)
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _run(stage: Stage, night: Night, size: Size, outcome: Outcome) -> None:
    stage.start_receivers()
    stage.wait_for_receivers()
    stage.board.began += LEAD
    if not stage.run(night.plan.steps, 3 * size.seconds + 60):
        alive = [worker.name for worker in stage.workers if worker.process.poll() is None]
        outcome.violations.append(f"hangs: {', '.join(alive)} still run")
        return
    stage.calm()
    stage.wait_for_receivers()
    quieten(stage)
    audit, lines = audit_of(stage)
    outcome.violations += judge.violations(stage, night)
    outcome.violations += judge.against_audit(stage, audit, lines)
    outcome.figures = judge.figures(stage, night) | judge.audit_figures(stage, audit, lines)


def audit_of(stage: Stage) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Run ``airflow voiceinfra audit`` over the ledger; return what it prints, and its file."""
    now = datetime.now(timezone.utc)
    file = stage.folder / "audit.csv"
    since, until = ((now + timedelta(hours=hours)).isoformat(timespec="seconds") for hours in (-24, 24))
    command = ["voiceinfra", "audit", "--since", since, "--until", until, "--output", "json"]
    env = base_environment(str(stage.folder / "airflow")) | {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'scripts'}",
        "AIRFLOW_HOME": str(stage.folder / "airflow"),
        **environment_of(stage.plan, stage.url, stage.vendor.url),
    }
    ran = subprocess.run(
        [sys.executable, "-m", "airflow", *command, "--csv", str(file)],
        env=env, cwd=ROOT, capture_output=True, text=True, timeout=AUDIT_SECONDS, check=False,
    )  # fmt: skip
    if not file.exists():
        raise RuntimeError(f"the audit ended with {ran.returncode}: {ran.stderr[-2000:]}")
    with file.open(newline="") as text:
        return json.loads(ran.stdout), list(csv.DictReader(text))
