"""Waits for completions: one watcher per process and ledger; never asks once per call."""
