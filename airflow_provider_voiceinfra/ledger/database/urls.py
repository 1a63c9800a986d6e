"""Reads the ledger's URL, and refuses one under which a call could be forgotten."""

from __future__ import annotations

import importlib.util
import os
from urllib.parse import urlsplit

from sqlalchemy import URL, exc, make_url

from airflow_provider_voiceinfra.exceptions import ConfigurationError
from airflow_provider_voiceinfra.ledger.database.postgres import DRIVERS


def read_url(url: str) -> URL:
    """Return the ledger's URL with its driver.

    :raises ConfigurationError: if it cannot be used; the message does not hold its password.
    """
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        # The URL holds a password, so neither the message nor its cause may quote it.
        raise ConfigurationError(
            "[voiceinfra] sql_alchemy_conn is not a database URL; it looks like "
            "postgresql://user:password@host/database or sqlite:////path/to/ledger.db."
        ) from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        _check_file(parsed)
    elif parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername=f"postgresql+{_installed_driver()}")
    elif backend != "postgresql":
        raise ConfigurationError(
            f"[voiceinfra] sql_alchemy_conn names {parsed.drivername!r}; the ledger is kept in PostgreSQL "
            "(postgresql://user:password@host/database) or in a SQLite file (sqlite:////path/to/ledger.db)."
        )
    return parsed


def _check_file(url: URL) -> None:
    name = url.database or ""
    path = urlsplit(name).path if name.startswith("file:") else name
    modes, systems = (url.normalized_query.get(name, ()) for name in ("mode", "vfs"))
    if path in ("", ":memory:") or "memory" in map(str.lower, modes):
        raise ConfigurationError(
            "[voiceinfra] sql_alchemy_conn names a SQLite database in memory, which forgets every call when "
            "the process ends; name a file: sqlite:////path/to/ledger.db."
        )
    if systems:
        # One of them, memdb, keeps the file in memory.
        raise ConfigurationError(
            f"[voiceinfra] sql_alchemy_conn names vfs={systems[0]}, by which SQLite may keep its file in "
            "other places than on a disk; leave vfs out: sqlite:////path/to/ledger.db."
        )
    if not os.path.isabs(path):
        raise ConfigurationError(
            f"[voiceinfra] sql_alchemy_conn names the SQLite file {path!r} by a relative path, which is "
            "another file, and so another ledger, in each working directory. Write its absolute path, after "
            "four slashes: sqlite:////path/to/ledger.db."
        )


def _installed_driver() -> str:
    for name in DRIVERS:
        if importlib.util.find_spec(name):
            return name
    raise ConfigurationError(
        "[voiceinfra] sql_alchemy_conn names PostgreSQL, but no driver is installed: pip install "
        "'.[postgres]' in a clone of this package's repository, or pip install 'psycopg[binary]'."
    )
