"""A file that takes another's place: only once it is whole, and if its writer may still put it there."""

from __future__ import annotations

import glob
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import urlsplit
from uuid import uuid4

from airflow_provider_voiceinfra.campaigns.contacts.text_files import path_of

# What is entered while a file is put where it belongs.
Allowed = Callable[[], AbstractContextManager[object]]
# What the name of a file that is not whole yet ends in.
PART = ".part"


def local_path(location: object) -> Path | None:
    """Return a path of this machine's own; ``None`` if it is elsewhere."""
    if isinstance(location, Path):
        return location
    parts = urlsplit(str(location))
    if "://" not in str(location):
        return Path(str(location))
    return Path(parts.path) if parts.scheme == "file" and not parts.netloc else None


@contextmanager
def replacing(location: Any, *, family: str = "", allowed: Allowed = nullcontext) -> Iterator[IO[bytes]]:
    """Open a file beside a location, and put it there once all is written; if not, leave no trace of it.

    On this machine that is a renaming, and what was there before is whole until then. An object store is
    asked to move the object, which most do by copying it on their side; another process may come in between.

    :param family: what the files beside it are named after, so that those of killed processes are found and
        deleted; of one family, only one process may put its file there.
    :param allowed: entered while the file is put there, which takes no time on this machine; what it raises
        prevents that.
    """
    local = local_path(location)
    writing = _elsewhere(location, allowed) if local is None else _here(local, family or uuid4().hex, allowed)
    with writing as file:
        yield file


@contextmanager
def _here(path: Path, family: str, allowed: Allowed) -> Iterator[IO[bytes]]:
    target = Path(os.path.realpath(path))  # a link stays one
    if target.exists() and not target.is_file():  # nothing can take the place of a device
        with target.open("wb") as file:
            yield file
        return
    prefix = f".{target.name[:100]}.{family}."
    aside = target.with_name(f"{prefix}{uuid4().hex}{PART}")
    try:
        file = aside.open("xb")
    except PermissionError:  # a file that may be written in a folder that may not
        with _spooled(target, allowed) as spooled:
            yield spooled
        return
    try:
        with file:
            yield file
            if target.exists():
                # By its number: whoever has taken the campaign over may have deleted its name.
                os.fchmod(file.fileno(), stat.S_IMODE(target.stat().st_mode))
            file.flush()
            os.fsync(file.fileno())
        # Those of processes that had the place before: whoever gets it after this one is not among them.
        left = glob.glob(glob.escape(str(target.with_name(prefix))) + f"*{PART}")
        with allowed():  # others are kept waiting, for some seconds at most, so nothing else is done here
            os.replace(aside, target)
        for one in left:
            Path(one).unlink(missing_ok=True)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def _spooled(target: Path, allowed: Allowed) -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as file:
        yield file
        file.seek(0)
        with allowed(), target.open("r+b") as there:
            there.truncate()
            shutil.copyfileobj(file, there)


@contextmanager
def _elsewhere(location: Any, allowed: Allowed) -> Iterator[IO[bytes]]:
    path = path_of(location)
    folder, _, name = str(path.path).rpartition("/")
    aside = f"{folder}/.{name[:100]}.{uuid4().hex}{PART}"
    try:
        with path.fs.open(aside, "wb") as file:
            yield cast("IO[bytes]", file)
        with allowed():
            pass  # what follows may take long, so nobody is kept waiting for it
        path.fs.mv(aside, path.path)
    except BaseException:
        with suppress(Exception):  # what went wrong before is what people want to know
            path.fs.rm(aside)
        raise
