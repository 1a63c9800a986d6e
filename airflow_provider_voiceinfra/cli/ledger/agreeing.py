"""Asks whether to go on with what cannot be undone."""

from __future__ import annotations


def agreed() -> bool:
    """Return whether whoever is at the terminal says yes."""
    try:
        return input("This cannot be undone. Proceed? (y/n) ").strip().lower() == "y"
    except EOFError:  # no terminal: only --yes counts as an answer
        return False
