"""Of what somebody uploads no more is read than is taken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import HTTPException, Request

from airflow_provider_voiceinfra.web.pages.suppressions.forms import read_form

CHUNK = 50_000


def test_upload_without_an_end_is_refused_once_it_is_too_large() -> None:
    received = 0

    async def receive() -> dict[str, Any]:
        nonlocal received
        received += 1
        assert received < 100, "it is read on and on"
        return {"type": "http.request", "body": b"x" * CHUNK, "more_body": True}

    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    with pytest.raises(HTTPException) as refused:
        asyncio.run(read_form(request, 4 * CHUNK))
    assert refused.value.status_code == 413
    assert received == 5
