"""Reads what people fill in to suppress numbers; of a file no more than is taken is read."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import NamedTuple

from fastapi import HTTPException, Request
from starlette.datastructures import FormData, UploadFile

from airflow_provider_voiceinfra.dialling.clocks import utc_now
from airflow_provider_voiceinfra.exceptions import ContactsError, InvalidCallError
from airflow_provider_voiceinfra.rules.calling_window.zones import zone_named

LARGEST_FILE = 2_000_000
"""Bytes of a file that is imported; somebody looks on, and the command line takes larger ones."""
_AROUND_IT = 20_000  # bytes of a form beside its file
_LONGEST_REASON = 1000
_LONGEST_CONN_ID = 250  # as Airflow's own column
_LONGEST_NAME = 100


@dataclass(frozen=True)
class Wanted:
    """What somebody wants of suppressions.

    :param conn_id: the connection that they are for; empty for all.
    :param until: when they end, as a local time in ``zone``; empty for never.
    """

    conn_id: str = ""
    given_reason: str = ""
    until: str = ""
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if len(self.conn_id) > _LONGEST_CONN_ID:
            raise HTTPException(
                400, f"conn_id: ids of connections have at most {_LONGEST_CONN_ID} characters."
            )
        if any("\0" in value for value in (self.conn_id, self.given_reason)):
            raise HTTPException(400, "The form holds a NUL character, which no database takes.")

    @property
    def place(self) -> str | None:
        """The connection that they are for; ``None`` for all."""
        return self.conn_id.strip() or None

    @property
    def reason(self) -> str:
        """Why, for people; at most 1000 characters."""
        return self.given_reason.strip()[:_LONGEST_REASON]

    def ends_at(self) -> datetime | None:
        """Return when they end, aware UTC; ``None`` for never.

        :raises InvalidCallError: if that is no time to come.
        """
        if not self.until.strip():
            return None
        place = zone_named(self.zone.strip() or "UTC")
        try:
            moment = datetime.fromisoformat(self.until.strip().replace("Z", "+00:00"))
            aware = moment if moment.tzinfo else moment.replace(tzinfo=place)
            ends_at = aware.astimezone(timezone.utc)
        except (ValueError, OverflowError):
            raise InvalidCallError("Until", "is a date with a time, such as 2027-03-01T08:00") from None
        if ends_at <= utc_now():
            raise InvalidCallError("Until", "is over already; choose a time to come, or leave it empty")
        return ends_at


@dataclass(frozen=True)
class Upload:
    """A file that came with a form; opened as any other file that is read.

    :param name: as the visitor's computer calls it, without folders.
    """

    name: str
    content: bytes = field(repr=False)

    def __str__(self) -> str:
        return self.name

    def open(self, mode: str = "rb") -> io.BytesIO:
        """Open it anew."""
        return io.BytesIO(self.content)

    def checked(self) -> Upload:
        """Return it, unless it is of a kind that is not taken here.

        :raises ContactsError: if so.
        """
        if self.name.lower().endswith(".gz"):
            raise ContactsError(f"file: {self.name} is compressed; unpack it first")
        return self


class Form(NamedTuple):
    """What is to be imported, and how."""

    upload: Upload
    wanted: Wanted
    region: str | None


async def read_form(request: Request, most: int) -> Form:
    """Read a form with a file, or with numbers in a text.

    :param most: bytes of the file.
    :raises HTTPException: 413 if there is more; 400 if there is none.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most + _AROUND_IT:
            raise _too_large(most)
    request._body = bytes(body)  # what has been read is not read again
    async with request.form(max_files=1, max_fields=10, max_part_size=most + _AROUND_IT) as form:
        upload = await _upload(form)
        wanted = Wanted(*(_text(form, name) for name in ("conn_id", "reason", "until", "zone")))
        region = _text(form, "default_region").strip().upper() or None
    if len(upload.content) > most:
        raise _too_large(most)
    return Form(upload, wanted, region)


async def _upload(form: FormData) -> Upload:
    file, text = form.get("file"), _text(form, "numbers")
    if isinstance(file, UploadFile) and file.filename:
        name = file.filename.replace("\\", "/").rpartition("/")[2][-_LONGEST_NAME:]
        return Upload(name, await file.read())
    if not text.strip():
        raise HTTPException(400, "file: choose a file, or write numbers into the field, one on each line.")
    return Upload("numbers.txt", text.encode("utf-8", "replace"))


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value if isinstance(value, str) else ""


def _too_large(most: int) -> HTTPException:
    return HTTPException(
        413,
        f"file: it is larger than {most // 1_000_000} MB, so nothing was changed. `airflow voiceinfra "
        "suppress --file` takes files of any size.",
    )
