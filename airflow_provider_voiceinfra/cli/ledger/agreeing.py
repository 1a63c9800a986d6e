"""Asks whether to go on with what cannot be undone."""

from __future__ import annotations


def refusal() -> str:
    """Ask whoever is at the terminal; return why not to go on, and nothing if they say yes."""
    try:
        agrees = input("This cannot be undone. Proceed? (y/n) ").strip().lower() == "y"
    except EOFError:
        return "cancelled, since nobody is there to answer; --yes goes on without asking"
    return "" if agrees else "cancelled"
