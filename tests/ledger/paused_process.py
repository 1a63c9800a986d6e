"""A process that is paused in the middle of a transaction, run by ``test_limits``: URL, statement, table.

It says what became of it once it goes on.
"""

from __future__ import annotations

import os
import signal
import sys

from airflow_provider_voiceinfra.exceptions import LedgerUnavailableError
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.database import postgres
from tests.ledger.examples import claim, complete
from tests.ledger.racing import after_statement


def main(url: str, begin: str, table: str) -> None:
    ledger = CallLedger(url)
    after_statement(ledger, begin, table, lambda: os.kill(os.getpid(), signal.SIGSTOP))
    postgres.IDLE_TIMEOUT = 1.0  # what it is set to is another test's
    try:
        complete(ledger, "call_paused") if table == "counters" else claim(ledger)
    except LedgerUnavailableError as error:
        sys.stdout.write(f"unavailable: {error}")
    else:
        sys.stdout.write("stored")


if __name__ == "__main__":
    main(*sys.argv[1:])
