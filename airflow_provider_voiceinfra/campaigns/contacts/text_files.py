"""Text files, local or in object storage, gzipped or not; knows nothing of what they hold."""

from __future__ import annotations

import errno
import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_voiceinfra.exceptions import ContactsError
from airflow_provider_voiceinfra.masking import mask_numbers_in

MAX_LINE_BYTES = 1_000_000
AS_UTF8 = "save it as 'CSV UTF-8'"
# A path that leads to no file that can be read, however often it is tried.
_WRONG_PLACE = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP}
)
_BOM = b"\xef\xbb\xbf"
_WRONG_START = {
    b"\xff\xfe": f"is UTF-16; {AS_UTF8}",
    b"\xfe\xff": f"is UTF-16; {AS_UTF8}",
    b"PK\x03\x04": f"is a workbook or ZIP archive; {AS_UTF8}",
    b"\x1f\x8b": "is compressed; let its name end in .gz",
}


class UndecodableLineError(ContactsError):
    """A line is not UTF-8.

    :param before: what the line holds before the byte that is none.
    :param problem: what is wrong and how to fix it.
    """

    def __init__(self, message: str, before: str, problem: str) -> None:
        super().__init__(message)
        self.before, self.problem = before, problem


def is_location(contacts: object) -> bool:
    """Return whether this is a path or URL and not the contacts themselves."""
    return isinstance(contacts, (str, Path)) or hasattr(contacts, "open")


def shown(location: object) -> str:
    """Return a path or URL as errors show it: without what may be secret, and with numbers masked."""
    return mask_numbers_in(without_login(location))


def without_login(location: object) -> str:
    """Return a path or URL without what may be secret in it: user, password and query."""
    text = str(location)
    if "://" not in text:
        return text
    parts = urlsplit(text)
    host = parts.netloc if ":" not in parts.netloc.rpartition("@")[0] else parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def suffixes(location: object) -> tuple[str, bool]:
    """Return the format by a file's name, such as ``.csv``, and whether it is compressed."""
    name = without_login(location).lower()
    compressed = name.endswith(".gz")
    return Path(name[:-3] if compressed else name).suffix, compressed


# What brings a scheme to Airflow's ObjectStoragePath, as pip names it.
_PACKAGES = {
    **dict.fromkeys(("s3", "s3a", "s3n"), "apache-airflow-providers-amazon[s3fs]"),
    **dict.fromkeys(("gs", "gcs"), "apache-airflow-providers-google"),
    **dict.fromkeys(
        ("abfs", "abfss", "adl", "msgraph", "sharepoint", "onedrive", "msgd"),
        "apache-airflow-providers-microsoft-azure",
    ),
    **dict.fromkeys(("sftp", "ssh"), "apache-airflow-providers-sftp[sshfs]"),
}


def check_storage(name: str, location: object) -> None:
    """Refuse a URL whose scheme no installed package can open, before anybody is called.

    :param name: the parameter that holds it; what is no URL is passed over.
    :raises ContactsError: naming the parameter, the scheme and the package to install.
    """
    if not is_location(location) or "://" not in str(location):
        return
    # Imported late: it loads Airflow's task SDK, and only URLs need it.
    from airflow.sdk.exceptions import AirflowOptionalProviderFeatureException
    from airflow.sdk.io import has_fs

    scheme, cause = urlsplit(str(location)).scheme, None
    if has_fs(scheme):
        try:
            _ = path_of(location).fs  # a provider may lack a library of its own
            return
        except (ImportError, AirflowOptionalProviderFeatureException) as exc:
            cause = exc
    package = _PACKAGES.get(scheme)
    remedy = f"pip install '{package}' on each worker" if package else "install the provider of that storage"
    raise ContactsError(
        f"{name}: {shown(location)} cannot be opened: nothing that is installed knows {scheme}://; {remedy}, "
        "or name another place"
    ) from cause


class Lines:
    """The lines of a text file in UTF-8, with their line ends, in constant memory.

    :param field: the parameter that names it, as errors call it.
    :raises ContactsError: while iterating, if it cannot be read or is no UTF-8 text.
    """

    def __init__(self, location: Any, field: str) -> None:
        self.name = f"{field}: {shown(location)}"
        self.number = 0  # of the line that was read last, from 1
        self._location = location

    def __iter__(self) -> Iterator[str]:
        try:
            with ExitStack() as opened:
                stream: Any = opened.enter_context(path_of(self._location).open("rb"))
                if suffixes(self._location)[1]:
                    stream = opened.enter_context(gzip.GzipFile(fileobj=stream, mode="rb"))
                while line := stream.readline(MAX_LINE_BYTES + 1):
                    self.number += 1
                    yield self._decoded(line)
        except (gzip.BadGzipFile, EOFError, zlib.error) as exc:
            raise self.error(f"the gzip archive is damaged or cut off ({exc}); export it anew") from exc
        except OSError as exc:
            if exc.errno not in _WRONG_PLACE and not isinstance(exc, FileNotFoundError):
                raise
            # Without its cause, which quotes the path in full, and there may be a number in it.
            raise ContactsError(
                f"{self.name} cannot be read: {exc.strerror or 'no such file'}{_where(self._location)}"
            ) from None
        if self.number == 0:
            raise ContactsError(f"{self.name}: the file is empty; see whether its export failed")

    def error(self, problem: str, row: int | None = None) -> ContactsError:
        """Return an error that names the file and the row, by default the one after the last line."""
        return ContactsError(f"{self.name}, row {row or self.number + 1}: {problem}")

    def _decoded(self, line: bytes) -> str:
        if self.number == 1:
            line = line.removeprefix(_BOM)
            for start, problem in _WRONG_START.items():
                if line.startswith(start):
                    raise ContactsError(f"{self.name}: the file {problem}")
        if len(line) > MAX_LINE_BYTES:
            raise self.error(f"the line is longer than {MAX_LINE_BYTES:,} bytes; shorten it", self.number)
        if b"\0" in line:
            raise self.error(f"holds a NUL character, so it is no UTF-8 text; {AS_UTF8}", self.number)
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as exc:
            before = line[: exc.start].decode("utf-8")
            byte = f"0x{line[exc.start]:02X}"
            problem = f"the byte {byte} is not UTF-8, the file is perhaps in Windows-1252; {AS_UTF8}"
            message = str(self.error(f"character {len(before) + 1}: {problem}", self.number))
            raise UndecodableLineError(message, before, problem) from exc


def _where(location: Any) -> str:
    """Return where a relative path is looked for, as a part of a sentence."""
    text = str(location)
    if "://" in text or os.path.isabs(text):
        return ""
    return mask_numbers_in(f". It was looked for in {os.getcwd()} on this worker; write the path from / on")


def path_of(location: Any) -> Any:
    """Return what opens a path or URL."""
    if isinstance(location, str) and "://" in location:
        # Imported late: it loads Airflow's task SDK, and only URLs need it.
        from airflow.sdk import ObjectStoragePath

        return ObjectStoragePath(location)
    return Path(location) if isinstance(location, str) else location
