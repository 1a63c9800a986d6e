"""Where in a worker something can happen to it, and what it tells of itself.

Points are reached by public methods of the package, before and after: ``before_claim``, ``after_claim``,
``before_send``, ``after_answer``, ``after_store``, ``before_untried``, ``contact_read``, and so on. There the
process can kill itself, or stop itself until it is continued from outside, as a host that is out of memory or
a virtual machine that is moved would do to it, but at a moment that can be named.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from airflow_provider_voiceinfra.api.client import VoiceInfraClient
from airflow_provider_voiceinfra.ledger.campaigns.turns import CampaignsLedger
from airflow_provider_voiceinfra.ledger.database.connect import Database
from airflow_provider_voiceinfra.ledger.records import CallState
from airflow_provider_voiceinfra.ledger.store import CallLedger


class Diary:
    """The events of one process, a line each; what a line says has happened when it can be read.

    :param points: at which points to stop or to die, see ``plan.Point``.
    """

    def __init__(self, path: str, points: list[dict[str, Any]]) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._points = points
        self._reached: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._writers = 0
        self._quiet = threading.Condition()
        self.local = threading.local()

    def note(self, event: str, **values: Any) -> None:
        """Write an event; its time is that of the host's monotonic clock, which all processes share."""
        line = json.dumps({"event": event, "at": time.monotonic(), **values}) + "\n"
        os.write(self._file, line.encode())

    def reach(self, name: str) -> None:
        """Be at a point, and have happen what is to happen there."""
        with self._lock:
            self._reached[name] += 1
            here = (name, self._reached[name])
            due = [point for point in self._points if (point["name"], point["nth"]) == here]
            self._points = [point for point in self._points if point not in due]
        for point in due:
            if point["seconds"]:
                self._stop(name, point)
            else:
                self.note("dies", point=name)
                os.kill(os.getpid(), signal.SIGKILL)

    def _stop(self, name: str, point: dict[str, Any]) -> None:
        # Not while another thread holds the ledger, or the others could only wait for this process to go on;
        # that comes about as well, when a process is stopped from outside.
        with self._quiet:
            self._quiet.wait_for(lambda: self._writers == 0, 5)
            self.note("stopped", point=name, seconds=point["seconds"], until=point["until"])
            os.kill(os.getpid(), signal.SIGSTOP)

    def forget_points(self) -> None:
        """Go on without anything happening."""
        self._points = []

    @contextmanager
    def writer(self) -> Iterator[None]:
        """Know of a transaction that writes."""
        with self._quiet:
            self._writers += 1
        try:
            yield
        finally:
            with self._quiet:
                self._writers -= 1
                self._quiet.notify_all()


def install(diary: Diary) -> None:
    """Have the package's public methods tell of themselves, and be at a point before and after each."""

    def looks(event: str, request: Any) -> None:
        diary.note(event, mark=mark_of(request), looked_at=getattr(diary.local, "looked_at", None))

    def stores(_: Any, entry: Any, call_id: str) -> None:
        diary.note("stored", mark=mark_of(entry.request), call_id=call_id)

    def settles(_: Any, settlements: Any) -> None:
        for one in settlements:
            if one.state is CallState.ACCEPTED:
                stores(_, one.entry, one.call_id)

    def answers(found: Any, call: Any) -> None:
        diary.note("answered", mark=mark_of(vars(call)), call_id=found.call_id)

    around = functools.partial(_around, diary, CallLedger)
    around_campaigns = functools.partial(_around, diary, CampaignsLedger)
    around("claim", "before_claim", "after_claim")
    around("claim_many", "before_claim_many", "after_claim_many")
    around("refuse", "before_refuse", "after_refuse")
    around_campaigns("load_contacts", "before_load", "after_load", then=lambda *_: diary.note("loaded"))
    around_campaigns("take", "before_take", "after_take")
    around_campaigns("untried_contacts", "before_untried", "after_untried")
    around_campaigns("finish", "before_finish", "after_finish")
    around("accept", "before_store", "after_store", then=stores)
    around("settle_many", "before_settle", "after_settle", then=settles)
    around("claim_redial", "before_redial", "after_redial", first=lambda one: looks("redials", one.request))
    # A process may be stopped between its last look and its request; that gap nobody can close.
    _around(
        diary,
        VoiceInfraClient,
        "place",
        "before_send",
        "after_answer",
        first=lambda call: looks("sending", vars(call)),
        then=answers,
    )
    _watch_looks(diary)
    _watch_reading(diary)


def _around(
    diary: Diary,
    owner: type,
    name: str,
    before: str,
    after: str,
    *,
    first: Callable[..., None] = lambda *_: None,
    then: Callable[..., None] = lambda *_: None,
) -> None:
    """Wrap a method.

    :param first: is given its arguments, before anything happens.
    :param then: is given what it returned, and its arguments.
    """
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        first(*args)
        diary.reach(before)
        found = original(self, *args, **kwargs)
        then(found, *args)
        diary.reach(after)
        return found

    setattr(owner, name, wrapped)


def _watch_looks(diary: Diary) -> None:
    """Note when each thread last began a transaction: it decides by what stood there then."""
    reading, writing = Database.reading, Database.writing

    def read(self: Database) -> Any:
        diary.local.looked_at = time.monotonic()
        return reading(self)

    @contextmanager
    def write(self: Database, **options: Any) -> Iterator[Any]:
        diary.local.looked_at = time.monotonic()
        with diary.writer(), writing(self, **options) as connection:
            yield connection

    Database.reading = read  # type: ignore[method-assign]
    Database.writing = write  # type: ignore[method-assign,assignment]


def _watch_reading(diary: Diary) -> None:
    all_contacts = CampaignsLedger.all_contacts

    def reading(self: CampaignsLedger, campaign_id: str) -> Iterator[Any]:
        diary.note("reading_results")
        for contact in all_contacts(self, campaign_id):
            diary.reach("contact_read")
            yield contact
        diary.reach("contacts_read")

    CampaignsLedger.all_contacts = reading  # type: ignore[method-assign]


def mark_of(request: Any) -> str | None:
    """Return what the variables of a request were marked with."""
    return ((request or {}).get("variables") or {}).get("mark")
