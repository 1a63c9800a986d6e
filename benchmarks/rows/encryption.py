"""What an encrypted ledger costs beside a plain one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime, timezone
from typing import ClassVar

import filled_ledger
from cryptography.fernet import Fernet
from framework import AT_MOST, Aim, Line, Measured, Row
from servers import DATABASES, databases

from airflow_provider_voiceinfra.ledger.database.keys import NO_ENCRYPTION, Encryption
from rows.growth import ANSWER, AT_ONCE, BATCH, CLAIM, PAGES, TICK, WEBHOOK, LedgerAtWork

SIZE = 10_000
TURNS, SHOWN = 16, 8
INBOUND = ("calls, inbound", "calls, elsewhere")
ALL_PAGES = f"{len(PAGES)} pages"
WHAT = (WEBHOOK, CLAIM, ANSWER, TICK, ALL_PAGES, *INBOUND)


class EncryptedLedger(Row):
    """The same work in an encrypted ledger and in a plain one, in turns."""

    name = "encryption"
    what = (
        f"Milliseconds in an encrypted ledger of {SIZE:,} calls (ours) beside a plain one (peer): "
        f"a signed webhook, {AT_ONCE} at a time, to the receiver in this process, a claim and an answer in "
        f"batches of {BATCH}, a look at what is new, {len(PAGES)} kinds of pages, one after the other, and "
        "the lists of calls that were not placed from here."
    )
    lines: ClassVar = tuple(
        Line(f"{what}, {database}", "ms", (Aim(AT_MOST, 1.15, "peer"),))
        for database in DATABASES
        for what in WHAT
    )
    seconds = 150

    def open(self, stack: ExitStack) -> None:
        """Fill the ledgers."""
        from page_routes import empty_airflow

        stack.enter_context(empty_airflow())
        make, now = databases(stack), datetime.now(timezone.utc)
        forms = {"ours": Encryption((Fernet.generate_key().decode(),)), "peer": NO_ENCRYPTION}
        self._ledgers = {}
        for database in DATABASES:
            for form, encryption in forms.items():
                url = make[database]()
                filled_ledger.fill(url, SIZE, now, encryption)
                ledger = LedgerAtWork(url, now, encryption, also=INBOUND)
                self._ledgers[database, form] = ledger
                for _ in range(3):
                    ledger.work()
                    ledger.show()
                ledger.found()

    def measure(self, number: int) -> Mapping[str, Measured]:
        """Have all ledgers do the same in turn, the last one first every other time."""
        for turn in range(TURNS):
            order = list(self._ledgers.values())
            for ledger in order if turn % 2 == 0 else reversed(order):
                ledger.work()
                if turn < SHOWN:
                    ledger.show()
        medians = {key: ledger.found() for key, ledger in self._ledgers.items()}
        return {
            f"{what}, {database}": Measured(
                medians[database, "ours"][what], peer=medians[database, "peer"][what]
            )
            for database in DATABASES
            for what in WHAT
        }


ROWS = (EncryptedLedger,)
