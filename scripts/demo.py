"""The demo: a real Airflow places a phone call through the sandbox, waits for it, and reads how it went.

``demo.py run`` does that and stops everything; ``demo.py run --keep`` leaves the servers running, and
``demo.py stop`` stops those. Nothing leaves this machine and no phone rings: the sandbox imitates the API.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from harness.airflow import STANDALONE, AirflowStack
from harness.processes import HarnessError, end_all, find, tail
from harness.rest import ApiError
from harness.sandbox import SandboxProcess, connection_json

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / ".demo"
AIRFLOW_HOME = DEMO / "airflow"
SANDBOX_HOME = DEMO / "sandbox"
DAG_ID = "voiceinfra_outbound_call"
CALL_SECONDS = 3
FINISHED = frozenset({"success", "failed", "skipped", "upstream_failed"})
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STARTED = time.monotonic()


class DemoError(Exception):
    """The demo did not show what it should."""


EXPECTED = (DemoError, HarnessError, ApiError, TimeoutError, LookupError)  # these speak for themselves


def say(text: str) -> None:
    """Print a line of the story, with the seconds since the start."""
    print(f"[{time.monotonic() - STARTED:5.1f} s] {text}", flush=True)


def mask(number: str) -> str:
    """Return a phone number with its middle hidden."""
    return f"{number[:5]}***{number[-4:]}"


class Demo:
    """The servers of one demo, and the story told while they work."""

    def __init__(self) -> None:
        shutil.rmtree(DEMO, ignore_errors=True)
        SANDBOX_HOME.mkdir(parents=True)
        self.airflow = AirflowStack(AIRFLOW_HOME, dags_folder=ROOT / "dags_examples", standalone=True)
        self.sandbox: SandboxProcess | None = None

    def start(self) -> None:
        """Start the sandbox and Airflow."""
        secret = secrets.token_hex(24)  # on a command line, nothing that begins with a dash
        say("Starting the sandbox, which imitates the VoiceInfra API on this machine ...")
        self.sandbox = SandboxProcess(
            SANDBOX_HOME,
            *("--webhook-url", self.airflow.webhook_url()),
            *("--webhook-secret", secret),
            *("--call-seconds", str(CALL_SECONDS)),
        )
        say(f"The sandbox listens on {self.sandbox.base_url}.")
        self.airflow.env |= {
            "AIRFLOW_CONN_VOICEINFRA_DEFAULT": connection_json(
                self.sandbox.base_url, secret, agent_id="agent_demo", from_number="+14155550199"
            ),
            "AIRFLOW__VOICEINFRA__POLL_INTERVAL": "1",
        }
        say("Starting Airflow (`airflow standalone`); this can take a minute ...")
        self.airflow.start()
        say(f"Airflow is up: scheduler, triggerer, DAG processor, and web server on {self.airflow.base_url}.")
        say(f"Its web server also takes the webhooks, at {self.airflow.webhook_url()}.")

    def run_dag(self) -> dict[str, Any]:
        """Run the example DAG, tell what happens, and return the record of its call."""
        api = self.airflow.api
        self.airflow.wait_for_dag(DAG_ID)
        run_id = api.trigger(DAG_ID)
        say(f"Started the DAG {DAG_ID}, run {run_id}: its tasks are call, wait, report.")
        self._expect_success(run_id, "call")
        self._tell_placed(api.xcom(DAG_ID, run_id, "call"))
        waiting = api.wait_for_task(DAG_ID, run_id, "wait", FINISHED | {"deferred"})
        if waiting["state"] == "deferred":
            say("Task `wait` is deferred: the triggerer watches for the webhook, and no worker is occupied.")
        self._expect_success(run_id, "wait")
        record = api.xcom(DAG_ID, run_id, "wait")
        self._tell_over(record)
        self._expect_success(run_id, "report")
        say("Task `report`, plain Python, has read the record from XCom. The run is complete.")
        return dict(record)

    def _expect_success(self, run_id: str, task_id: str) -> None:
        state = self.airflow.api.wait_for_task(DAG_ID, run_id, task_id, FINISHED)["state"]
        if state != "success":
            raise DemoError(f"Task `{task_id}` ended as {state}.\n{self._task_logs(task_id)}")

    def _task_logs(self, task_id: str) -> str:
        logs = [path for path in self.airflow.log_files() if f"task_id={task_id}" in path.parts]
        return "\n".join(f"--- {path}\n{tail(path, 30)}" for path in logs)

    def _audit(self) -> dict[str, Any]:
        assert self.sandbox is not None
        return self.sandbox.audit()

    def _tell_placed(self, call_id: str) -> None:
        calls = self._audit()["calls"]
        if [call["call_id"] for call in calls] != [call_id]:
            raise DemoError(f"Task `call` returned {call_id}, but the sandbox accepted {calls}.")
        say(f"Task `call` has placed a call to {mask(calls[0]['to_number'])}; the API named it {call_id}.")
        say(f"The person is on the phone for {CALL_SECONDS} s. The API can't be asked; it sends a webhook.")

    def _tell_over(self, record: dict[str, Any]) -> None:
        delivered = [delivery for delivery in self._audit()["deliveries"] if delivery["delivered"]]
        say(f"The call is over. Airflow took {len(delivered)} signed webhook and stored it in the ledger.")
        say(f"Task `wait` woke up and put the record into XCom; the outcome is {record['call_outcome']!r}.")

    def keep(self) -> None:
        """Leave the servers running and tell how to use and stop them."""
        assert self.sandbox is not None
        self.airflow.detach()
        self.sandbox.detach()
        print(f"\nStill running, as asked:\n  Airflow   {self.airflow.base_url}")
        print(f"  login     {self.airflow.username} / {self.airflow.password}")
        print(f"  sandbox   {self.sandbox.base_url}  (audit log: /_sandbox/audit on the same port)")
        print(f"  logs      {self.airflow.logs}, {AIRFLOW_HOME / 'logs'}\nStop them with:  make demo-stop")

    def stop(self) -> None:
        """Stop the servers."""
        self.airflow.stop()
        if self.sandbox:
            self.sandbox.stop()

    def logs(self) -> str:
        """Return the end of what the servers have written, and where it is."""
        paths = [SANDBOX_HOME / "sandbox.log", self.airflow.logs / f"{STANDALONE}.log"]
        return "\n".join(f"--- the end of {path}:\n{tail(path)}" for path in paths)


def stop_leftovers() -> int:
    """Stop what an earlier demo has left running; return how many processes there were."""
    markers = [str(AIRFLOW_HOME), str(SANDBOX_HOME)]
    running = sum(len(find(marker)) for marker in markers)
    for marker in markers:
        end_all(marker)
    return running


def run(keep: bool) -> int:
    """Show everything once.

    :param keep: leave the servers running afterwards.
    :return: the exit code: 0 only if the call was answered.
    """
    if stop_leftovers():
        say("An earlier demo was still running; it has been stopped.")
    demo = Demo()
    kept = False
    try:
        demo.start()
        record = demo.run_dag()
        print("\nThe record of the call, as the DAG's tasks see it:")
        print(json.dumps(record, indent=2, ensure_ascii=False))
        if record["call_outcome"] != "answered":
            raise DemoError("The call was not answered.")
        if keep:
            demo.keep()
            kept = True
        return 0
    except Exception as exc:
        print(f"\n{demo.logs()}\n\nThe demo failed: {exc}\nAll logs: {DEMO}", file=sys.stderr)
        if isinstance(exc, EXPECTED):
            return 1
        raise
    except KeyboardInterrupt:
        print("\nInterrupted; stopping the servers, which takes up to 20 s ...", file=sys.stderr)
        return 130
    finally:
        # A second Ctrl-C must not interrupt the clean-up.
        for number in INTERRUPTS:
            signal.signal(number, signal.SIG_IGN)
        if not kept:
            demo.stop()
            say("Sandbox and Airflow are stopped.")


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("command", choices=["run", "stop"])
    parser.add_argument("--keep", action="store_true", help="leave the servers running after the run")
    arguments = parser.parse_args()
    if arguments.command == "stop":
        print(f"Stopped {stop_leftovers()} processes of the demo.")
        return 0
    # SIGINT among them: a shell starts background jobs with that signal ignored, and it would stay so.
    for number in INTERRUPTS:
        signal.signal(number, signal.default_int_handler)
    return run(arguments.keep)


if __name__ == "__main__":
    sys.exit(main())
