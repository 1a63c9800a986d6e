"""A campaign against a real sandbox and a real ledger, with webhooks; its judge is the sandbox's audit."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_provider_voiceinfra.api.client import VoiceInfraClient
from airflow_provider_voiceinfra.campaigns.engine.runner import CampaignRunner, End, Pause
from airflow_provider_voiceinfra.campaigns.plan import CampaignPlan
from airflow_provider_voiceinfra.campaigns.reporting.results import Tally, contact_results
from airflow_provider_voiceinfra.connection import VoiceInfraConnection
from airflow_provider_voiceinfra.dialling.dialler import Dialler
from airflow_provider_voiceinfra.dialling.rate import AdaptivePace
from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.campaigns.ownership import Ownership
from airflow_provider_voiceinfra.ledger.campaigns.records import ContactEntry
from airflow_provider_voiceinfra.ledger.part import LedgerPart
from airflow_provider_voiceinfra.ledger.records import CallOrigin
from tests.sandbox_process import SandboxProcess

CONN_ID = "voiceinfra_default"
ORIGIN = CallOrigin("dag", "run", "task", -1, 1)
AREA_CODES = (202, 212, 213, 214, 215, 216, 217, 218, 219, 224)


def numbers(count: int, endings: Collection[int] = range(90)) -> list[str]:
    """Return different numbers; by default none of which stands for a fault."""
    return [f"+1{area}55501{line:02d}" for area in AREA_CODES for line in endings][:count]


def entries(called: Sequence[str], keys: Sequence[str] = (), zone: str | None = None) -> list[ContactEntry]:
    """Return contacts, which are told apart by their numbers unless there are keys."""
    request = {"agent_id": "agent_demo", "from_number": "+14155550199"}
    return [
        ContactEntry(0, row, key, {**request, "to_number": number}, zone)
        for row, (key, number) in enumerate(zip(keys or called, called, strict=True), 1)
    ]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a result file, whatever its format."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix.lower() == ".gz" else data).decode()
    if ".csv" in path.name:
        return list(csv.DictReader(io.StringIO(text, newline="")))
    return [json.loads(line) for line in text.splitlines()]


def adds_up(summary: Mapping[str, Any]) -> bool:
    """Return whether the numbers of outcomes and of skipped rows add up to that of the contacts."""
    apart = {"campaign_id", "contacts", "placed", "attempts", "started_at", "finished_at", "results_path"}
    apart.add("suppressed")  # which are among those of do_not_call
    return sum(value for name, value in summary.items() if name not in apart) == summary["contacts"]


class FlakyLedger:
    """A ledger whose database is away for some operations.

    :param fails: tells by an operation's name whether it fails now: ``"before"`` anything is done, or
        ``"after"`` it was done, as when a connection breaks during a commit; ``None`` if it works.
    """

    def __init__(self, ledger: LedgerPart, fails: Callable[[str], str | None]) -> None:
        self._ledger: Any = ledger
        self._fails = fails
        self._lock = threading.Lock()
        self.failures: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        work = getattr(self._ledger, name)
        if isinstance(work, LedgerPart):
            part = FlakyLedger(work, self._fails)
            part._lock, part.failures = self._lock, self.failures
            return part
        if not callable(work):
            return work

        def unreliable(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                how = self._fails(name)
                self.failures[name] += how is not None
            if how == "before":
                raise LedgerUnavailableError(f"the database is away before {name}")
            found = work(*args, **kwargs)
            if how == "after":
                raise LedgerUnavailableError(f"the database is away after {name}")
            return self._broken_stream(name, found) if isinstance(found, Generator) else found

        return unreliable

    def _broken_stream(self, name: str, rows: Generator[Any, None, None]) -> Generator[Any, None, None]:
        with closing(rows):
            for row in rows:
                with self._lock:
                    if self._fails(f"{name}, next") is not None:
                        raise LedgerUnavailableError(f"the database is away during {name}")
                yield row


def at_random(seed: int, share: float, after: float = 0.2) -> Callable[[str], str | None]:
    """Return what lets a share of all operations fail, and some of them after they were done."""
    chance = random.Random(seed)

    def fails(name: str) -> str | None:
        if chance.random() >= share / (20 if name.endswith(", next") else 1):
            return None
        return "after" if chance.random() < after else "before"

    return fails


class Bench:
    """One campaign.

    :param ledger: the real one.
    """

    def __init__(self, ledger: CallLedger, sandbox: SandboxProcess, campaign_id: str = "campaign") -> None:
        self.ledger = ledger
        self.sandbox = sandbox
        self.campaign_id = campaign_id
        self.told: list[dict[str, Any]] = []
        self.runner: CampaignRunner | None = None
        self.dialler: Dialler | None = None

    def plan(self, **values: Any) -> CampaignPlan:
        values = {"max_active_calls": 10, "completion_timeout": timedelta(seconds=30), **values}
        return CampaignPlan(self.campaign_id, **values)

    def load(self, called: list[str], keys: Sequence[str] = ()) -> list[str]:
        """Store contacts, see ``entries``; return their numbers."""
        runner = self.take()
        self.ledger.campaigns.load_contacts(
            self.campaign_id, entries(called, keys), loaded_by="load", runner=runner
        )
        return called

    def take(self, origin: CallOrigin = ORIGIN) -> str:
        entry = self.ledger.campaigns.take(self.campaign_id, conn_id=CONN_ID, origin=origin)
        return str(entry.runner)

    def make_dialler(self, ledger: Any = None, **options: Any) -> Dialler:
        connection = VoiceInfraConnection(
            CONN_ID,
            self.sandbox.api_key,
            options.pop("base_url", self.sandbox.base_url),
            timeout=options.pop("timeout", 5.0),
        )
        pace = AdaptivePace(start=options.pop("start", 200.0), most=options.pop("most", None))
        owner = options.pop("owner", None) or Ownership(self.campaign_id, self.take())
        options = {"owner": owner, "conn_id": CONN_ID, "threads": 8, "pace": pace, **options}
        make_client = options.pop("make_client", lambda: VoiceInfraClient(connection))
        return Dialler(ledger or self.ledger, make_client, **options)

    def run(
        self,
        plan: CampaignPlan,
        ledger: Any = None,
        *,
        origin: CallOrigin = ORIGIN,
        min_pause: timedelta | None = None,
        taken: str | None = None,
        **options: Any,
    ) -> End | Pause:
        """Run it in this thread, as one process would."""
        token = taken or self.take(origin)
        owner = Ownership(self.campaign_id, token)
        self.dialler = self.make_dialler(ledger, owner=owner, **options)
        try:
            self.runner = CampaignRunner(
                plan,
                ledger or self.ledger,
                self.dialler,
                runner=token,
                origin=origin,
                min_pause=min_pause,
                report=lambda progress: self.told.append(progress.to_json()),
            )
            return self.runner.run()
        finally:
            self.dialler.close()

    @contextmanager
    def running(self, plan: CampaignPlan, *args: Any, **options: Any) -> Iterator[list[Any]]:
        """Run it in a thread; yield a list that holds how it ended once the block is left."""
        ended: list[Any] = []

        def work() -> None:
            try:
                ended.append(self.run(plan, *args, **options))
            except Exception as error:  # noqa: BLE001 # the test looks at it
                ended.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield ended
            thread.join(60)
            assert not thread.is_alive(), f"the campaign hangs: {self.told[-1:]}"
        finally:
            if thread.is_alive() and self.runner is not None:
                with suppress(Exception):
                    self.runner.stop()
                thread.join(30)

    def stop(self) -> None:
        """Have the process that runs it stop."""
        assert self.runner is not None
        self.runner.stop()

    def summary(self, plan: CampaignPlan) -> dict[str, int]:
        """Return what the summary of the campaign says, but for what is 0."""
        tally = Tally()
        for _ in tally.count(contact_results(self.ledger, plan, unplaced="expired")):
            pass
        return {name: number for name, number in tally.summary().items() if number}

    def dialled(self) -> Counter[str]:
        """Return how often each number really rang."""
        return Counter(call["to_number"] for call in self.sandbox.audit()["calls"])

    def most_at_once(self) -> int:
        """Return how many calls were under way at a time, at most."""
        events = []
        for call in self.sandbox.audit()["calls"]:
            began = datetime.fromisoformat(call["time"])
            events += [(began, 1), (began + timedelta(seconds=call["seconds"]), -1)]
        active = most = 0
        for _, change in sorted(events):
            active += change
            most = max(most, active)
        return most
