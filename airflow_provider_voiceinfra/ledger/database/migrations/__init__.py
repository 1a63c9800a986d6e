"""Alembic's scripts for the ledger; ``migrate.upgrade`` runs them."""
