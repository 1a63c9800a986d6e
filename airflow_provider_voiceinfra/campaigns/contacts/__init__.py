"""Rows and files -> checked contacts in the ledger; never asks what time it is, and calls nobody."""
