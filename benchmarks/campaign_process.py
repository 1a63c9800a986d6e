"""One campaign in a process of its own, with the sandbox and the receiver that it needs; for benchmarks.

Run as ``python campaign_process.py JOB`` it is that process, and prints what it has measured.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

# What is imported up here is in the memory that is measured, too; so only the standard library is.
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

SECRET = "bench-webhook-secret"

Job = dict[str, Any]


def write_contacts(path: Path, rows: int) -> None:
    """Write contacts as a gzipped CSV; numbers repeat after 80,000, ids don't."""
    numbers = itertools.cycle(f"+1{area}55501{line:02d}" for area in range(200, 1000) for line in range(100))
    with gzip.open(path, "wt", encoding="utf-8", newline="") as stream:
        stream.write("id,to_number,first_name,city,appointment\r\n")
        for row, number in enumerate(itertools.islice(numbers, rows)):
            stream.write(f"{row},{number},Ann{row},Springfield,10:{row % 60:02d}\r\n")


# ---- in the process that runs the campaign


def memory_mb(kind: str) -> float:
    """Return this process's resident memory in MB: ``VmRSS``, or the peak since it began, ``VmHWM``."""
    # Not getrusage, whose peak begins with that of the process which has started this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{kind}:"))


def run_campaign(job: Job) -> Job:
    """Run a campaign until it is over or this process gets a SIGTERM, and return what was measured."""
    from airflow.sdk import DAG, BaseOperator  # noqa: F401

    from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraCampaignOperator  # noqa: F401

    airflow_mb = memory_mb("VmRSS")
    execution, measured = make_execution(job)
    signal.signal(signal.SIGTERM, lambda *_: execution.stop())
    measured["began"], cpu = time.time(), time.process_time()
    end, summary = execution.run()
    ended = time.perf_counter()
    return {
        **measured,
        "dial_seconds": measured["progress"][-1][0] - measured["loaded_at"],
        "results_seconds": ended - measured["progress"][-1][0],
        "cpu": time.process_time() - cpu,
        "end": end.value,
        "contacts": summary.get("contacts"),
        "airflow_mb": airflow_mb,
        "loaded_mb": measured["loaded_mb"] - airflow_mb,
        "peak_mb": memory_mb("VmHWM") - airflow_mb,
    }


def make_execution(job: Job) -> tuple[Any, Job]:
    """Return a campaign to run, and where what it measures will be."""
    from airflow_provider_voiceinfra.campaigns.campaign import CampaignExecution
    from airflow_provider_voiceinfra.campaigns.plan import CampaignPlan, CampaignSetup
    from airflow_provider_voiceinfra.connection import VoiceInfraConnection
    from airflow_provider_voiceinfra.ledger import CallLedger
    from airflow_provider_voiceinfra.ledger.records import CallOrigin

    measured: Job = {"progress": []}

    ledger = CallLedger(job["ledger_url"])
    load = ledger.campaigns.load_contacts

    def timed(*args: Any, **options: Any) -> None:
        began, cpu = time.perf_counter(), time.process_time()
        load(*args, **options)
        now = time.perf_counter()
        measured.update(load_seconds=now - began, load_cpu=time.process_time() - cpu)
        measured.update(loaded_at=now, loaded_mb=memory_mb("VmHWM"))

    ledger.campaigns.load_contacts = timed  # type: ignore[method-assign]

    setup = CampaignSetup(
        plan=CampaignPlan("bench", max_active_calls=job["lines"]),
        origin=CallOrigin("bench", "bench", "campaign", -1, 1),
        conn_id="voiceinfra_default",
        contacts=job["contacts"],
        reading={"contact_key": "id", "first_message": "Hello {first_name}, see you at {appointment}."},
        results_path=job["results"],
    )
    connection = VoiceInfraConnection(
        conn_id="voiceinfra_default",
        api_key="vk_sandbox_key",
        base_url=job["base_url"],
        agent_id="agent_demo",
        from_number="+14155550199",
    )

    def tell(progress: Any) -> None:
        measured["progress"].append((time.perf_counter(), progress.done))

    return CampaignExecution(setup, connection, ledger, report=tell), measured


# ---- in the process that measures it


class Campaign:
    """A campaign in a process of its own, in a ``with`` statement, with the servers that it needs.

    :param rows: how many contacts it has.
    :param settings: of the sandbox.
    """

    def __init__(self, ledger_url: str, rows: int, *, lines: int, **settings: Any) -> None:
        self._job: Job = {"ledger_url": ledger_url, "lines": lines}
        self._rows = rows
        self._settings = settings
        self._stack = contextlib.ExitStack()
        self._first: list[str] = []

    def __enter__(self) -> Campaign:
        with contextlib.ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def _start(self, stack: contextlib.ExitStack) -> None:
        from airflow_provider_voiceinfra.ledger import CallLedger
        from tests.receiver_process import ReceiverProcess
        from tests.sandbox_process import SandboxProcess

        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        contacts = folder / "contacts.csv.gz"
        write_contacts(contacts, self._rows)
        CallLedger(self._job["ledger_url"]).upgrade()  # as in an Airflow that has used it before
        receiver = stack.enter_context(ReceiverProcess(self._job["ledger_url"], SECRET))
        self.sandbox = SandboxProcess(
            webhook_url=receiver.webhook_url,
            webhook_secret=SECRET,
            call_seconds=0,
            fault_numbers=False,
            **self._settings,
        )
        stack.enter_context(self.sandbox)
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        self._job |= {"base_url": self.sandbox.base_url, "contacts": str(contacts)}
        self._job["results"] = str(folder / "results.csv.gz")
        self.process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(self._job)],
            env={**os.environ, "AIRFLOW_HOME": str(folder)},
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(self.process.wait)
        stack.callback(self.process.kill)

    def _watch(self) -> None:
        """Learn when the first request came, from the sandbox's own clock."""
        for _ in range(20):
            with contextlib.suppress(Exception):  # the run has ended before any call
                entries = self.sandbox.control("GET", "audit", wait=50, kinds="requests")["requests"]
                if entries:
                    self._first.append(entries[0]["time"])
                    return

    def result(self, timeout: float | None) -> Job:
        """Return what was measured, after having stopped the campaign if the time is over.

        :param timeout: in seconds from now; ``None`` waits for its end.
        """
        try:
            output, _ = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            output, _ = self.process.communicate(timeout=120)
        if self.process.returncode:
            raise RuntimeError(f"the campaign's process ended with {self.process.returncode}")
        measured: Job = json.loads(output.splitlines()[-1])
        self._watcher.join(timeout=60)
        first = datetime.fromisoformat(self._first[0]).timestamp() - measured["began"]
        return {**measured, "first": first, **{f"api_{k}": v for k, v in self.sandbox.counts().items()}}


if __name__ == "__main__":
    print(json.dumps(run_campaign(json.loads(sys.argv[1]))))
