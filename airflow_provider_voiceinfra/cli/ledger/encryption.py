"""``airflow voiceinfra encrypt`` and ``rotate-key``: encrypt what is there, and rotate the ledger's keys."""

from __future__ import annotations

from argparse import Namespace

from airflow_provider_voiceinfra.cli.running import command, say
from airflow_provider_voiceinfra.deployment import open_ledger
from airflow_provider_voiceinfra.ledger import CallLedger

_SAID_EACH = 20_000  # rows


@command
def encrypt(args: Namespace) -> bool:
    """Bring all rows into the form in which new values are stored, or say how far that is."""
    ledger = open_ledger()
    if args.status:
        say(_standing(ledger))
        say(f"Rows that `airflow voiceinfra encrypt` would rewrite: {ledger.encryption.rows_left()}.")
        return True
    _rewrite(ledger)
    if args.vacuum:
        ledger.encryption.compact()
        say("The file was written anew.")
    return True


@command
def rotate_key(args: Namespace) -> bool:
    """Wrap the ledger's keys by the first of Airflow's Fernet keys; with ``--data``, have a new data key."""
    ledger = open_ledger()
    ledger.encryption.rotate(data_key=args.data)
    say(
        "The ledger's keys are wrapped by the first key of [core] fernet_key now. Once every process has "
        "that one, and `airflow rotate-fernet-key` has run as well, the former one can be left out."
    )
    if args.data:
        _rewrite(ledger)
    return True


def _rewrite(ledger: CallLedger) -> None:
    changed, said = 0, 0
    for number in ledger.encryption.rewrite():
        changed += number
        if changed - said >= _SAID_EACH:
            said = changed
            say(f"{changed} rows so far")
    say(f"{changed} rows were rewritten.")
    say(_standing(ledger))


def _standing(ledger: CallLedger) -> str:
    """Return how far the encryption is, and what there is left to do."""
    state = ledger.encryption.state()
    is_on = ledger.encryption.is_on
    form = "encrypted" if is_on else "plain"
    if state.is_whole and (is_on or not state.is_encrypted):
        return f"All of the ledger is {form}."
    if state.ends_at is not None:
        return (
            f"New values are {form}. Processes that have been running may store some as before until "
            f"{state.ends_at:%H:%M:%S} UTC: run `airflow voiceinfra encrypt` after that, for the rest."
        )
    return f"New values are {form}; what is older may not be. `airflow voiceinfra encrypt` sees to that."
