"""The demo: a small nightly outreach in a real Airflow, whose calls go to the sandbox.

A list of forty rows, eight lines, an API with a rate limit and bad moments, and redials; told while it runs,
and at the end compared with what the sandbox has really seen. ``demo.py run`` does that and stops everything;
``demo.py run --keep`` leaves the servers running, and ``demo.py stop`` stops those. Nothing leaves this
machine and no phone rings: the sandbox imitates the API.
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

import demo_outreach as outreach
from harness.airflow import STANDALONE, AirflowStack
from harness.processes import HarnessError, end_all, find, tail
from harness.rest import ApiError
from harness.sandbox import SandboxProcess, connection_json

from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database.keys import Encryption

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / ".demo"
AIRFLOW_HOME = DEMO / "airflow"
SANDBOX_HOME = DEMO / "sandbox"
OUTREACH = DEMO / "outreach"
CONTACTS, DO_NOT_CALL, RESULTS = (OUTREACH / n for n in ("contacts.csv", "do_not_call.txt", "results.csv"))
DEMO_DAGS = Path(__file__).with_name("demo_dags")
EXAMPLES = ROOT / "dags_examples"
DAG_ID = "voiceinfra_demo_outreach"
CAMPAIGN = "call_everybody"
RUN_ID = "tonight"
CALLS_PER_SECOND = 2
SHORTEST_CALL, LONGEST_CALL = 2, 5
TOLD_EVERY = 2.0
ASKED_AT = 8  # contacts that are done
TIMEOUT = 180.0
FINISHED = frozenset({"success", "failed", "skipped", "upstream_failed"})
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STARTED = time.monotonic()


class DemoError(Exception):
    """The demo did not show what it should."""


EXPECTED = (DemoError, HarnessError, ApiError, TimeoutError, LookupError)  # these speak for themselves


def say(text: str) -> None:
    """Print a line of the story, with the seconds since the start."""
    print(f"[{time.monotonic() - STARTED:5.1f} s] {text}", flush=True)


def _bundles(folders: dict[str, Path]) -> str:
    """Return the folders of DAG files as Airflow's configuration wants them."""
    path = "airflow.dag_processing.bundles.local.LocalDagBundle"
    return json.dumps(
        [
            {"name": name, "classpath": path, "kwargs": {"path": str(folder)}}
            for name, folder in folders.items()
        ]
    )


class Demo:
    """The servers of one demo, and the story told while they work.

    :param keep: whether somebody will look around afterwards, and so finds the example DAGs as well.
    """

    def __init__(self, keep: bool) -> None:
        shutil.rmtree(DEMO, ignore_errors=True)
        SANDBOX_HOME.mkdir(parents=True)
        OUTREACH.mkdir()
        for path in (CONTACTS, DO_NOT_CALL):
            shutil.copy(DEMO_DAGS / path.name, path)
        self.airflow = AirflowStack(AIRFLOW_HOME, dags_folder=DEMO_DAGS, standalone=True)
        # On two cores, DAG files that nobody looks at cost seconds of the start.
        self.folders = {"demo": DEMO_DAGS} | ({"examples": EXAMPLES} if keep else {})
        self.sandbox: SandboxProcess | None = None

    def start(self) -> None:
        """Start the sandbox and Airflow."""
        secret = secrets.token_hex(24)  # on a command line, nothing that begins with a dash
        say("Starting the sandbox, which imitates the VoiceInfra API on this machine ...")
        self.sandbox = SandboxProcess(
            SANDBOX_HOME,
            *("--webhook-url", self.airflow.webhook_url()),
            *("--webhook-secret", secret),
            *("--call-seconds", str(SHORTEST_CALL)),
            *("--call-seconds-jitter", str(LONGEST_CALL - SHORTEST_CALL)),
            *("--rate-limit", str(CALLS_PER_SECOND)),
        )
        say(f"The sandbox listens on {self.sandbox.base_url}.")
        self.airflow.env |= {
            "AIRFLOW_CONN_VOICEINFRA_DEFAULT": connection_json(
                self.sandbox.base_url, secret, agent_id="agent_demo", from_number="+14155550199"
            ),
            "AIRFLOW_VAR_OUTREACH_FOLDER": str(OUTREACH),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": _bundles(self.folders),
        }
        say("Starting Airflow (`airflow standalone`); this can take a minute ...")
        self.airflow.start()
        say(f"Airflow is up: scheduler, triggerer, DAG processor, and web server on {self.airflow.base_url}.")
        say(f"Its web server also takes the webhooks, at {self.airflow.webhook_url()}.")

    def run_outreach(self) -> None:
        """Call everybody on the list, tell how far it is, and compare the results with the truth.

        :raises DemoError: if the task failed, or something differs.
        """
        assert self.sandbox is not None
        self.airflow.wait_for_dag(DAG_ID)
        self.airflow.api.trigger(DAG_ID, run_id=RUN_ID)
        say(
            f"Started the DAG {DAG_ID}: {outreach.MAX_ACTIVE_CALLS} lines, calls of {SHORTEST_CALL}-"
            f"{LONGEST_CALL} s; the API takes {CALLS_PER_SECOND} calls/s and breaks some of them on purpose."
        )
        self._follow()
        self._expect_success(RUN_ID, CAMPAIGN)
        summary = self.airflow.api.xcom(DAG_ID, RUN_ID, CAMPAIGN)
        self._expect_success(RUN_ID, "report")
        said = self.airflow.api.xcom(DAG_ID, RUN_ID, "report")
        say(f"Task `report`, plain Python, has read the summary from XCom: {said}")
        rows = outreach.read_rows(CONTACTS, RESULTS)
        print(
            f"\nThe results, also in {RESULTS.relative_to(ROOT)}; the seconds are those of the last call:\n"
        )
        print(outreach.table(rows))
        print(f"\n{outreach.summary_text(rows, summary)}")
        audit = self.sandbox.audit()
        print("\nWhat the sandbox did wrong on purpose:")
        print("\n".join(f"  - {trick}" for trick in outreach.tricks(audit)))
        self._compare(rows, summary, audit)

    def _follow(self) -> None:
        """Tell how far the campaign is until its task has ended."""
        api, encryption = self.airflow.api, Encryption((self.airflow.fernet_key,))
        ledger = CallLedger(f"sqlite:///{AIRFLOW_HOME / 'voiceinfra.db'}", encryption=encryption)
        told, asked = "", False
        api.wait_for_task(DAG_ID, RUN_ID, CAMPAIGN, FINISHED | {"running"})
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            over = api.task_instance(DAG_ID, RUN_ID, CAMPAIGN)["state"] in FINISHED
            campaign = ledger.campaigns.get(RUN_ID)
            if campaign and campaign.progress:
                line = outreach.progress_line(campaign.progress)
                if line != told:
                    say(line)
                told = line
                if not asked and not over and campaign.progress["done"] >= ASKED_AT:
                    asked = True
                    self._ask()
            if over:
                return
            time.sleep(TOLD_EVERY)
        raise DemoError(f"The campaign is not over after {TIMEOUT:.0f} s.\n{self._task_logs(CAMPAIGN)}")

    def _ask(self) -> None:
        """Show what anybody can ask at any time."""
        said = self.airflow.run_cli("voiceinfra", "campaign", RUN_ID).stdout.rstrip()
        say(f"Meanwhile, `airflow voiceinfra campaign {RUN_ID}` says:\n")
        print("\n".join(f"    {line}".rstrip() for line in said.splitlines()) + "\n", flush=True)

    def _compare(self, rows: list[outreach.Row], summary: dict[str, Any], audit: dict[str, Any]) -> None:
        numbers = outreach.read_numbers(DO_NOT_CALL)
        if different := outreach.disagreements(rows, summary, numbers, audit):
            listed = "\n".join(f"  - {text}" for text in different)
            raise DemoError(f"The results and the sandbox's audit log disagree:\n{listed}")
        print(
            f"\nCompared with the sandbox's audit log, line for line: all {len(rows)} rows and "
            f"{len(audit['calls'])} calls agree; nobody was\ncalled who should not be, nobody too soon, and "
            f"never more than {outreach.MAX_ACTIVE_CALLS} at once."
        )

    def _expect_success(self, run_id: str, task_id: str) -> None:
        state = self.airflow.api.wait_for_task(DAG_ID, run_id, task_id, FINISHED)["state"]
        if state != "success":
            raise DemoError(f"Task `{task_id}` ended as {state}.\n{self._task_logs(task_id)}")

    def _task_logs(self, task_id: str) -> str:
        logs = [path for path in self.airflow.log_files() if f"task_id={task_id}" in path.parts]
        return "\n".join(f"--- {path}\n{tail(path, 30)}" for path in logs)

    def keep(self) -> None:
        """Leave the servers running and tell how to use and stop them."""
        assert self.sandbox is not None
        self.airflow.detach()
        self.sandbox.detach()
        print(f"\nStill running, as asked:\n  Airflow   {self.airflow.base_url}")
        print(f"  login     {self.airflow.username} / {self.airflow.password}")
        print(f"  sandbox   {self.sandbox.base_url}  (audit log: /_sandbox/audit on the same port)")
        print(f"  logs      {self.airflow.logs}, {AIRFLOW_HOME / 'logs'}")
        print(f"  files     {OUTREACH}")
        airflow = f"AIRFLOW_HOME={AIRFLOW_HOME} {Path(sys.executable).with_name('airflow')}"
        print(f"  commands  {airflow} voiceinfra campaign {RUN_ID}\nStop them with:  make demo-stop")

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
    :return: the exit code: 0 only if everything was as the sandbox has seen it.
    """
    if stop_leftovers():
        say("An earlier demo was still running; it has been stopped.")
    demo = Demo(keep)
    kept = False
    try:
        demo.start()
        demo.run_outreach()
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
