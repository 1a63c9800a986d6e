"""Results -> a CSV or JSONL file, local or in object storage; safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import re
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

from airflow_provider_voiceinfra.campaigns.contacts.text_files import shown, suffixes
from airflow_provider_voiceinfra.campaigns.reporting.replacing import Allowed, local_path, replacing
from airflow_provider_voiceinfra.campaigns.reporting.results import COLUMNS, ContactResult
from airflow_provider_voiceinfra.exceptions import ContactsError

# A spreadsheet takes a cell that begins so for a formula, also with the wide forms of these characters; a
# plain number, such as a phone number, is harmless. Some ignore characters without width before it.
_FORMULA = re.compile(r"[\s\u200b-\u200f\u2060\ufeff]*[=+\-@|%\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
_HARMLESS = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)


def check_results_path(path: object, inputs: Iterable[object] = ()) -> None:
    """Refuse a path without a known format, or that cannot be written here, before anybody is called.

    Whether a place elsewhere can be written is not known before it is.

    :param inputs: files that the campaign reads; what is no path or URL is passed over.
    :raises ContactsError: naming what is wrong, and what is possible.
    """
    if suffixes(path)[0] not in _WRITERS:
        raise ContactsError(
            f"results_path: {shown(path)} must end in .csv or .jsonl, or one of them followed by .gz"
        )
    if any(_is_same(path, one) for one in inputs if isinstance(one, (str, Path))):
        raise ContactsError(f"results_path: {shown(path)} is a file that the campaign reads; name another")
    local = local_path(path)
    if local is None:
        return
    if not os.path.isdir(local.parent):
        raise ContactsError(
            f"results_path: there is no folder {local.parent} on this worker; create it, or name another"
        )
    if os.path.isdir(local):
        raise ContactsError(f"results_path: {local} is a folder; name a file in it")
    if not os.access(local if os.path.exists(local) else local.parent, os.W_OK):
        raise ContactsError(f"results_path: {local} must not be written by the user that runs this worker")


def _is_same(path: object, other: object) -> bool:
    local, other_local = local_path(path), local_path(other)
    if local is None or other_local is None:
        return str(path) == str(other)
    return os.path.realpath(local) == os.path.realpath(other_local)


def write_results(
    path: Any, results: Iterable[ContactResult], *, campaign_id: str = "", allowed: Allowed = nullcontext
) -> None:
    """Write one line for each contact; what is there is replaced once all lines are written.

    :param allowed: entered while the file is put there; what it raises prevents that.
    """
    check_results_path(path)
    kind, compressed = suffixes(path)
    family = hashlib.sha256(campaign_id.encode()).hexdigest()[:12] if campaign_id else ""
    with replacing(path, family=family, allowed=allowed) as file:
        packed = gzip.GzipFile(fileobj=file, mode="wb", filename="") if compressed else nullcontext(file)
        with packed as opened:
            _WRITERS[kind](opened, results)


def _write_csv(file: Any, results: Iterable[ContactResult]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for result in results:
        writer.writerow([spreadsheet_cell(value) for value in result.to_dict().values()])
    text.flush()
    text.detach()


def _write_jsonl(file: IO[bytes], results: Iterable[ContactResult]) -> None:
    for result in results:
        file.write(json.dumps(result.to_dict()).encode() + b"\n")


_WRITERS = {".csv": _write_csv, ".jsonl": _write_jsonl}


def spreadsheet_cell(value: object) -> str:
    """Return a value as a cell that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    if _FORMULA.match(text) and not _HARMLESS.fullmatch(text):
        return f"'{text}"
    return text
