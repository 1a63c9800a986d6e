"""Prints rows in the form that ``--output`` asks for, and hides what of them is personal."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from airflow.cli.simple_table import AirflowConsole
from rich.markup import escape

from airflow_provider_voiceinfra.cli.running import say
from airflow_provider_voiceinfra.masking import Privacy


def print_rows(rows: Sequence[Mapping[str, Any]], output: str, columns: Sequence[str] | None = None) -> None:
    """Print rows of plain JSON values.

    :param rows: all with the same keys.
    :param output: ``table``, ``plain``, ``json`` or ``yaml``; the latter two keep the types of values.
    :param columns: what a table shows; if not set, everything.
    """
    if output in ("json", "yaml"):
        _print_document([dict(row) for row in rows], output)
        return
    if not rows:
        say("No data found")
        return
    shown = [{name: cell(row[name]) for name in columns or row} for row in rows]
    if output == "plain":
        # Not Airflow's own printer: it takes texts for numbers, and then +14155550100 loses its plus sign
        # and a call_id of 0012 its zeros.
        lines = [list(shown[0]), *(list(row.values()) for row in shown)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            say("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    else:
        AirflowConsole().print_as_table([{name: escape(text) for name, text in row.items()} for row in shown])


def print_document(document: Mapping[str, Any], output: str) -> None:
    """Print one thing: as a document, or as a table of its fields.

    :param document: plain JSON values; in a table, fields of an inner mapping are named ``outer.inner``.
    """
    if output in ("json", "yaml"):
        _print_document(dict(document), output)
        return
    fields: dict[str, Any] = {}
    for name, value in document.items():
        inner = {f"{name}.{key}": item for key, item in value.items()} if isinstance(value, Mapping) else {}
        fields.update(inner or {name: value})
    print_rows([{"field": name, "value": value} for name, value in fields.items()], output)


def cell(value: object) -> str:
    """Return a value as a cell; nothing in it can steer a terminal."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def moment(when: datetime | None) -> str | None:
    """Return a moment as all commands print it, to the second."""
    return when.isoformat(timespec="seconds") if when else None


def _print_document(document: Any, output: str) -> None:
    # A webhook may hold half a character, which neither YAML nor most readers of JSON take.
    text = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace").decode()
    document, console = json.loads(text), AirflowConsole()
    if output == "json":
        console.print_as_json(document)
    else:
        console.print_as_yaml(document)


def privacy_of(args: Namespace) -> Privacy:
    """Return what of the ledger's personal data a command line allows to be shown."""
    return Privacy(
        show_numbers=bool(getattr(args, "show_numbers", False)),
        include_transcript=bool(getattr(args, "include_transcript", False)),
    )
