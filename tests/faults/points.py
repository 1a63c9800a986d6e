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
from collections.abc import Iterator
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
        self._reached: Counter[tuple[str, str | None]] = Counter()
        self._lock = threading.Lock()
        self._writers = 0
        self._quiet = threading.Condition()
        self.local = threading.local()

    def note(self, event: str, **values: Any) -> None:
        """Write an event; its time is that of the host's monotonic clock, which all processes share."""
        line = json.dumps({"event": event, "at": time.monotonic(), **values}) + "\n"
        os.write(self._file, line.encode())

    def reach(self, name: str, mark: str | None = None) -> None:
        """Be at a point, and have happen what is to happen there."""
        with self._lock:
            self._reached[name, None] += 1
            if mark is not None:
                self._reached[name, mark] += 1
            due = [
                point
                for point in self._points
                if point["name"] == name and self._reached[name, point["mark"]] == point["nth"]
                and point["mark"] in (None, mark)
            ]  # fmt: skip
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
    """Have the package's public methods tell of themselves."""
    _around(CallLedger, "claim", diary, before="before_claim", after="after_claim")
    _around(CallLedger, "claim_many", diary, before="before_claim_many", after="after_claim_many")
    _around(CallLedger, "refuse", diary, before="before_refuse", after="after_refuse")
    _around(CampaignsLedger, "load_contacts", diary, before="before_load", after="after_load", tell="loaded")
    _around(CampaignsLedger, "take", diary, before="before_take", after="after_take")
    _around(CampaignsLedger, "untried_contacts", diary, before="before_untried")
    _around(CampaignsLedger, "finish", diary, before="before_finish", after="after_finish")
    _watch_stores(diary)
    _watch_redials(diary)
    _watch_sends(diary)
    _watch_looks(diary)
    _watch_reading(diary)


def _around(
    owner: type, name: str, diary: Diary, *, before: str = "", after: str = "", tell: str = ""
) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        if before:
            diary.reach(before)
        found = original(self, *args, **kwargs)
        if tell:
            diary.note(tell)
        if after:
            diary.reach(after)
        return found

    setattr(owner, name, wrapped)


def _watch_stores(diary: Diary) -> None:
    accept, settle_many = CallLedger.accept, CallLedger.settle_many

    def accepting(self: CallLedger, entry: Any, call_id: str) -> Any:
        mark = _mark_of(entry.request)
        diary.reach("before_store", mark)
        found = accept(self, entry, call_id)
        diary.note("stored", mark=mark, call_id=call_id)
        diary.reach("after_store", mark)
        return found

    def settling(self: CallLedger, settlements: Any) -> Any:
        diary.reach("before_settle")
        found = settle_many(self, settlements)
        for one in settlements:
            if one.state is CallState.ACCEPTED:
                diary.note("stored", mark=_mark_of(one.entry.request), call_id=one.call_id)
        diary.reach("after_settle")
        return found

    CallLedger.accept = accepting  # type: ignore[method-assign]
    CallLedger.settle_many = settling  # type: ignore[method-assign]


def _watch_redials(diary: Diary) -> None:
    claim_redial = CallLedger.claim_redial

    def claiming(self: CallLedger, entry: Any, **kwargs: Any) -> Any:
        mark = _mark_of(entry.request)
        diary.note("redials", mark=mark, looked_at=getattr(diary.local, "looked_at", None))
        diary.reach("before_redial", mark)
        found = claim_redial(self, entry, **kwargs)
        diary.reach("after_redial", mark)
        return found

    CallLedger.claim_redial = claiming  # type: ignore[method-assign]


def _watch_sends(diary: Diary) -> None:
    place = VoiceInfraClient.place

    def placing(self: VoiceInfraClient, call: Any, **options: Any) -> Any:
        mark = _mark_of({"variables": call.variables})
        # A process may be stopped between its last look and its request; that gap nobody can close.
        diary.note("sending", mark=mark, looked_at=getattr(diary.local, "looked_at", None))
        diary.reach("before_send", mark)
        found = place(self, call, **options)
        diary.note("answered", mark=mark, call_id=found.call_id)
        diary.reach("after_answer", mark)
        return found

    VoiceInfraClient.place = placing  # type: ignore[method-assign]


def _watch_looks(diary: Diary) -> None:
    """Note when each thread last began a transaction: it decides by what stood there then."""

    reading, writing = Database.reading, Database.writing

    def read(self: Database) -> Any:
        diary.local.looked_at = time.monotonic()
        return reading(self)

    @contextmanager
    def write(self: Database) -> Iterator[Any]:
        diary.local.looked_at = time.monotonic()
        with diary.writer(), writing(self) as connection:
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


def _mark_of(request: Any) -> str | None:
    variables = (request or {}).get("variables") or {}
    return variables.get("mark")
