"""The rows of ``run.py``: each module has a tuple ``ROWS`` of classes derived from ``framework.Row``."""

from __future__ import annotations

import importlib
import pkgutil

from framework import Row


def all_rows() -> dict[str, type[Row]]:
    """Return all rows by name, in the order in which they run."""
    found: dict[str, type[Row]] = {}
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda one: one.name):
        for row in importlib.import_module(f"rows.{module.name}").ROWS:
            if row.name in found:
                raise ValueError(f"two rows are called {row.name}")
            found[row.name] = row
    return found
