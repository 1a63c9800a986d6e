"""How every command of this package is run: what it may log, and how it ends."""

from __future__ import annotations

import functools
import os
import sys
from argparse import Namespace
from collections.abc import Callable

from airflow.utils.cli import suppress_logs_and_warning
from airflow.utils.providers_configuration_loader import providers_configuration_loaded
from sqlalchemy.exc import SQLAlchemyError

from airflow_provider_voiceinfra.exceptions import VoiceInfraError
from airflow_provider_voiceinfra.ledger.database.connect import unavailable


def command(body: Callable[[Namespace], bool]) -> Callable[[Namespace], None]:
    """Make a command of a function that returns whether all is well; if not, the exit code is 1.

    Airflow's own decorator ``action_cli`` is left out on purpose: it stores the whole command line, which
    here may hold a phone number, in the metadata database.
    """

    @functools.wraps(body)
    @suppress_logs_and_warning
    @providers_configuration_loaded
    def run(args: Namespace) -> None:
        # As in Airflow's own commands: without it, connections in the metadata database are not found.
        os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
        try:
            well = body(args)
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever reads has seen enough, as `head` does; Python would complain again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            well = True
        except SQLAlchemyError as error:
            well = complain(str(unavailable(error)))
        except VoiceInfraError as error:
            well = complain(str(error))
        if not well:
            raise SystemExit(1)

    return run


def say(text: str) -> None:
    """Print a line for people."""
    sys.stdout.write(f"{text}\n")


def complain(text: str) -> bool:
    """Print what went wrong; return that not all is well."""
    sys.stdout.flush()
    sys.stderr.write(f"voiceinfra: {text}\n")
    return False
