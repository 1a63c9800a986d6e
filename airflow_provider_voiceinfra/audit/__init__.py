"""Recomputes from the ledger whether each call was allowed, by code that shares nothing with the guard."""
