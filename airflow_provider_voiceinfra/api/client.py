"""One HTTP request, one answer, one error tree; knows nothing of the ledger and never sends twice.

What can be known after a failure decides everything above this module: an error of the class
``CallNotPlacedError`` says that nothing rang, ``CallOutcomeUnknownError`` that somebody may be ringing.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urljoin

import requests
from urllib3 import Retry
from urllib3.exceptions import HTTPError

from airflow_provider_voiceinfra import __version__
from airflow_provider_voiceinfra.api.base_url import DEFAULT_BASE_URL
from airflow_provider_voiceinfra.api.transport import Deadline, Session, WatchedBody, read
from airflow_provider_voiceinfra.api.unreachable import is_lasting, reason_and_remedy
from airflow_provider_voiceinfra.calls import OutboundCall, PlacedCall, usable_call_id
from airflow_provider_voiceinfra.connection import VoiceInfraConnection
from airflow_provider_voiceinfra.exceptions import (
    ApiUnreachableError,
    CallOutcomeUnknownError,
    CallRefusedError,
    InvalidPhoneError,
    InvalidRequestError,
    NotFoundError,
    RateLimitedError,
    TryAgainError,
    UnauthorizedError,
    VoiceInfraError,
)
from airflow_provider_voiceinfra.masking import mask_numbers_in

Client = TypeVar("Client", bound="ApiClient")

OUTBOUND_PATH = "/calls/outbound"
MAX_MESSAGE_LENGTH = 500
# A connection that has been idle may be closed by the server at the very moment of the next request, and
# then nobody can tell whether that request was read; so an idle one is not used again.
MAX_IDLE = 2.0

_REFUSALS: dict[int, tuple[type[CallRefusedError], str]] = {
    400: (InvalidRequestError, "Correct the request; the same one would be refused again."),
    401: (
        UnauthorizedError,
        "Check the API key of the connection; it may have been revoked in the vendor's dashboard.",
    ),
    404: (
        NotFoundError,
        "Check agent_id: this account has none such, or it is inactive. If it is right, check the base URL.",
    ),
    422: (InvalidPhoneError, "Correct the number; E.164 form is needed, such as +1 and ten more digits."),
}
_OTHER_REFUSAL = (
    CallRefusedError,
    "Check the base URL of the connection, and gateways on the way to it.",
)
_WRONG_PATH = (
    f"Check the base URL of the connection: it ends in /v1, as {DEFAULT_BASE_URL} does. If it is right, "
    "check agent_id."
)
# Besides those that the API documents: answers by which HTTP says that the request was not acted upon. Not
# 303, 408 or 409, which may be sent after a request was passed on, nor any that HTTP does not define.
_REDIRECTS = frozenset({301, 302, 307, 308})
_NOT_ACTED_UPON = frozenset(
    {*_REFUSALS, *_REDIRECTS, 402, 403, 405, 406, 410, 411, 413, 414, 415, 417, 421, 426, 431, 451}
)


class ApiClient:
    """Speaks to the VoiceInfra API for one connection, and rings nobody; not to be shared between threads.

    :param connection: where the API is, and the key.
    :param monotonic: a clock in seconds, for tests.
    """

    def __init__(
        self, connection: VoiceInfraConnection, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._connection = connection
        self._monotonic = monotonic
        self._session = Session()
        self._session.headers.update(
            {
                "X-API-Key": connection.api_key,
                "Content-Type": "application/json",
                "Accept": "application/json",
                "User-Agent": f"airflow-provider-voiceinfra/{__version__}",
            }
        )
        # Proxies and certificates of the environment, looked up once: for each request it takes longer than
        # all else that requests does.
        found = self._session.merge_environment_settings(connection.base_url, {}, None, None, None)
        self._session.proxies, self._session.verify = found["proxies"], found["verify"]
        self._session.cert = found["cert"]
        self._session.trust_env = False
        self._last_used = -math.inf

    def __enter__(self: Client) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def probe(self) -> str | None:
        """Check the key without placing a call: a request that lacks every field can only be refused.

        :return: the code of the API's refusal; ``None`` if the answer was not the API's own.
        :raises UnauthorizedError: if the key is not taken.
        :raises VoiceInfraError: if the API cannot be reached or answers otherwise than documented.
        """
        answer = self._post({})
        if answer.status in (400, 422):
            return _error_fields(answer)[0]
        if 200 <= answer.status < 300:
            raise VoiceInfraError(
                f"{self._connection.base_url} took an empty request (HTTP {answer.status}), which the "
                "VoiceInfra API never does; the base URL leads somewhere else."
            )
        raise _error(answer)

    def _post(self, request: Mapping[str, Any], begin_by: float = math.inf) -> _Answer:
        # Its time runs from here, so that a pause after the look at the clock is limited, too.
        deadline = Deadline(self._connection.timeout)
        if deadline.began_at > begin_by:
            raise TryAgainError("This process was held up before the request, so nothing was sent.")
        now = self._monotonic()
        if now - self._last_used > MAX_IDLE:
            self._session.close()
        body = WatchedBody(json.dumps(request).encode(), begin_by)
        try:
            with self._session.send_post(
                f"{self._connection.base_url}{OUTBOUND_PATH}", body, deadline
            ) as response:
                content = read(response)
        except TryAgainError:  # the body's own: it was too late to send it
            raise
        # Nobody can list what a library raises for an answer that makes no sense, and what was sent decides,
        # not the error. What ends the task is no Exception, and goes on.
        except Exception as exc:  # noqa: BLE001
            failure = self._failure(exc, sent=body.sent)
            # The reason may quote the answer, and a number in it.
            raise failure from (None if body.sent else exc)
        finally:
            self._last_used = self._monotonic()
        return _Answer(response.status_code, response.headers, content)

    def _failure(self, exc: Exception, *, sent: bool) -> VoiceInfraError:
        if sent:
            what = type(exc).__name__
            return CallOutcomeUnknownError(
                f"The request was sent to {self._connection.base_url}, but no answer came back ({what}). "
                "The call may have been placed.",
                code="answer_lost",
            )
        why, remedy = reason_and_remedy(exc)
        return ApiUnreachableError(
            f"{self._connection.base_url} could not be reached: {why}. Nothing was sent. {remedy}",
            lasting=is_lasting(exc),
        )


class VoiceInfraClient(ApiClient):
    """One that places calls as well: only ``dialling`` sends, since it claims in the ledger before."""

    def place(self, call: OutboundCall, *, begin_by: float = math.inf) -> PlacedCall:
        """Send ``POST /calls/outbound`` once; if it is accepted, a phone rings.

        :param call: a complete call, see ``OutboundCall.validated``.
        :param begin_by: nothing that the API could act upon is sent after this moment, in seconds of
            ``time.monotonic``: a process may be paused right after it has made sure that it may call, and a
            connection may take long.
        :return: the accepted call.
        :raises CallNotPlacedError: if it is certain that nothing rang.
        :raises CallOutcomeUnknownError: if the call may have been placed.
        """
        answer = self._post(call.to_request(), begin_by)
        if 200 <= answer.status < 300:
            return _placed(answer)
        raise _error(answer)


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            return None


def _placed(answer: _Answer) -> PlacedCall:
    value = answer.json()
    call_id = usable_call_id(value.get("call_id")) if isinstance(value, dict) else None
    if call_id is None:
        raise CallOutcomeUnknownError(
            f"The API answered HTTP {answer.status}, but without a usable call_id. The call may have been "
            "placed.",
            code="no_call_id",
            http_status=answer.status,
        )
    status = value.get("status")
    return PlacedCall(call_id=call_id, status=status if isinstance(status, str) else "queued")


def _error(answer: _Answer) -> VoiceInfraError:
    status = answer.status
    code, said = _error_fields(answer)
    if status == 429:
        return RateLimitedError(
            f"HTTP 429: the account's rate limit was met{said}",
            code=code,
            http_status=status,
            retry_after=_retry_after(answer.headers.get("Retry-After")),
        )
    if status in _REDIRECTS and not _leads_somewhere(answer):
        return CallOutcomeUnknownError(
            f"HTTP {status}: a redirect to an address that cannot be read. The call may have been placed.",
            code="bad_redirect",
            http_status=status,
        )
    if status in _NOT_ACTED_UPON:
        kind, remedy = _REFUSALS.get(status, _OTHER_REFUSAL)
        if status == 404 and (code is None or OUTBOUND_PATH in said):
            remedy = _WRONG_PATH
        return kind(
            f"HTTP {status}: the call was refused{said}. Nobody was called. {remedy}",
            code=code,
            http_status=status,
        )
    return CallOutcomeUnknownError(
        f"HTTP {status}: the API failed{said}. The call may have been placed.",
        code=code or "server_error",
        http_status=status,
    )


def _leads_somewhere(answer: _Answer) -> bool:
    """Return whether an answer names an address to go to, as it must to be a redirect."""
    try:
        location = answer.headers["Location"].encode("latin-1").decode()
        requests.Request("GET", urljoin("https://host.example/", location)).prepare()
    except (KeyError, ValueError):  # of which requests' own errors about an address are a kind
        return False
    return location != ""


def _error_fields(answer: _Answer) -> tuple[str | None, str]:
    """Return the API's error code, and its message as a part of a sentence."""
    value = answer.json()
    error = value.get("error") if isinstance(value, dict) else None
    if not isinstance(error, dict):
        return None, " (the answer was not the API's own; a gateway may have sent it)"
    code, message = error.get("code"), error.get("message")
    said = "".join(f": {_harmless(text)}" for text in (code, message) if isinstance(text, str) and text)
    return (_harmless(code)[:255] if isinstance(code, str) and code else None), said


def _harmless(text: str) -> str:
    """Return the API's words fit for a log: one line, not too long, no full phone number."""
    line = " ".join(text.encode("utf-8", "replace").decode().replace("\x00", " ").split())
    return mask_numbers_in(line[:MAX_MESSAGE_LENGTH]).rstrip(".")


def _retry_after(value: str | None) -> float | None:
    """Return how long to wait in seconds; the header may hold seconds or an HTTP date."""
    with suppress(HTTPError, ValueError, OverflowError):
        # Decimals, which HTTP does not allow, are rounded up.
        whole = re.sub(r"^\d+\.\d+$", lambda found: str(math.ceil(float(found[0]))), value or "")
        return float(Retry().parse_retry_after(whole))
    return None
