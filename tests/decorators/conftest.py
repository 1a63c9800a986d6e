"""The same sandbox, connection and ledger as for operators."""

from tests.operators.conftest import connect, ledger, ledger_url, sandbox

__all__ = ["connect", "ledger", "ledger_url", "sandbox"]  # fixtures
