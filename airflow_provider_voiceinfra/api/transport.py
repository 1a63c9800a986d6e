"""What requests and urllib3 leave open when a server misbehaves: one deadline, one redirect, one size.

Their timeouts are for each read, so an answer that drips never ends; a session follows up cookies and
redirects that the server makes up; and lines of an answer may have any length.
"""

from __future__ import annotations

import functools
import http.client
import io
import math
import socket
import time
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, PoolManager, Retry, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, NameResolutionError
from urllib3.util.connection import allowed_gai_family

from airflow_provider_voiceinfra.exceptions import TryAgainError

# More than any answer of the API can need.
MAX_ANSWER_BYTES = 1_048_576
# The same before it is unpacked, its headers and the lines between its chunks included.
MAX_RECEIVED_BYTES = 8 * 1_048_576
# How long what has come in before the deadline may be read after it, in seconds.
_LATE_READING = 1.0
# A socket's timeout of 0 s would mean something else: not to wait at all.
_LEAST_TIMEOUT = 0.001


class Deadline(Timeout):
    """The end of one request, from the look for an address to the last byte of the answer.

    urllib3 takes it wherever it takes a time-out, and asks it before each step for what is left.

    :param seconds: how long the request may take from now on.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(total=seconds)
        self.began_at = time.monotonic()
        """In seconds of ``time.monotonic``."""
        self._end = self.began_at + seconds

    def clone(self) -> Deadline:
        """Return this one: it belongs to one request already."""
        return self

    def start_connect(self) -> float:
        """Change nothing: the time has been running from the start."""
        return self._end

    @property
    def connect_timeout(self) -> float:
        """The seconds that are left, before anything is sent.

        :raises TimeoutError: if none are: the least that a socket takes would do to send a request.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for this request is over")
        return max(_LEAST_TIMEOUT, left)

    @property
    def read_timeout(self) -> float:
        """The seconds that are left for an answer; what came in time may be read later."""
        return max(_LEAST_TIMEOUT, self._end - time.monotonic())


class Session(requests.Session):
    """A session whose ``timeout``, a ``Deadline`` or seconds, is for a request as a whole.

    An answer changes nothing in it: no redirect is looked at, and no cookie is kept.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        adapter = _Adapter(max_retries=Retry(total=0, redirect=False))
        self.mount("https://", adapter)
        self.mount("http://", adapter)
        self._prepared: dict[str, requests.PreparedRequest] = {}

    def send_post(self, url: str, body: WatchedBody, deadline: Deadline) -> requests.Response:
        """Send a request whose answer is still to be read; its address and headers are prepared once."""
        if url not in self._prepared:
            self._prepared[url] = self.prepare_request(requests.Request("POST", url))
        request = self._prepared[url].copy()
        request.prepare_body(body, None)
        # A redirected POST would be sent again, or become a GET.
        return self.send(
            request,
            timeout=deadline,  # type: ignore[arg-type]  # as the adapter takes it
            allow_redirects=False,
            stream=True,
        )

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return none: requests reads and follows up a redirect even if it was asked not to follow any."""


class WatchedBody(io.BytesIO):
    """A request body that knows whether any of it was handed to the network.

    Until then the API has at most the headers of a request that promises a body, and cannot have acted. No
    error class shows this: a TLS error, for example, may come from the handshake or from the answer.

    :param send_by: nothing of it is sent after this moment, in seconds of ``time.monotonic``.
    """

    sent = False

    def __init__(self, body: bytes, send_by: float = math.inf) -> None:
        super().__init__(body)
        self._send_by = send_by

    def read(self, size: int | None = -1) -> bytes:
        """Return what comes next; whoever asks is about to send it.

        :raises TryAgainError: if it is too late to begin with it, as after a connection that took long.
        """
        if not self.sent and time.monotonic() > self._send_by:
            raise TryAgainError("This process was held up before the request, so nothing was sent.")
        self.sent = True
        return super().read(size)


def read(response: requests.Response, most: int = MAX_ANSWER_BYTES) -> bytes:
    """Return the answer's body, or enough of it to see that it is larger than anything that is expected."""
    content = b""
    for chunk in response.iter_content(65_536):
        content += chunk
        if len(content) > most:
            break
    return content


class _Adapter(HTTPAdapter):
    """Sends over connections that keep a deadline, through whatever proxy."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        # A session hands over what is not positional here by name.
        timeout = kwargs.pop("timeout", None)
        if timeout is not None:
            kwargs["timeout"] = timeout if isinstance(timeout, Deadline) else Deadline(timeout)
        return super().send(request, *args, **kwargs)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _bind(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        return _bind(super().proxy_manager_for(proxy, **kwargs))


def _bind(manager: PoolManager) -> PoolManager:
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _bound(pool) for scheme, pool in pools.items()}
    return manager


@functools.cache
def _bound(pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
    """Return a kind of pool of the same kind, whose connections keep a deadline."""
    kind = pool.ConnectionCls
    if issubclass(kind, _Bound):
        return pool
    # Another kind comes from a SOCKS proxy's library, which connects in a way of its own.
    direct = kind in (HTTPConnection, HTTPSConnection)
    bases = (_Direct if direct else _Bound, kind)
    return type(pool.__name__, (pool,), {"ConnectionCls": type(kind.__name__, bases, {})})


class _Bound(HTTPConnection):
    """A connection whose ``timeout``, once it is set, runs out, whatever is sent or received meanwhile."""

    _end = math.inf

    @property
    def timeout(self) -> float | None:
        """The seconds that are left."""
        return None if math.isinf(self._end) else max(_LEAST_TIMEOUT, self._end - time.monotonic())

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        self._end = math.inf if seconds is None else time.monotonic() + seconds

    @property
    def overdue(self) -> float:
        """The seconds since the time was over; negative before that."""
        return time.monotonic() - self._end

    def arm(self, sock: socket.socket, *, late: float = 0.0) -> None:
        """Let the socket's next step take no longer than what is left.

        :param late: for how many seconds afterwards a step is allowed that need not wait.
        :raises TimeoutError: if nothing is left.
        """
        if self.overdue >= late:
            raise TimeoutError("the time for this request is over")
        sock.settimeout(self.timeout)

    def connect(self) -> None:
        super().connect()
        self.arm(self.sock)

    def _tunnel(self) -> None:
        super()._tunnel()
        self.arm(self.sock)  # for the handshake that comes next

    def send(self, data: Any) -> None:
        if self.sock is not None:
            self.arm(self.sock)
        super().send(data)

    def response_class(  # type: ignore[override]  # called as the class would be
        self, sock: socket.socket, *args: Any, **kwargs: Any
    ) -> _Response:
        """Return what reads an answer; the name is the standard library's."""
        return _Response(self, sock, *args, **kwargs)


class _Direct(_Bound):
    """One that tries the addresses of a host in turn, instead of giving the whole time to each."""

    _dns_host: str

    def _new_conn(self) -> socket.socket:
        name, port, end = self._dns_host, self.port, self._end
        try:
            found = socket.getaddrinfo(name, port, allowed_gai_family(), socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        for left in range(len(found), 0, -1):
            # An equal share for each address that is left, and one for the answer: a connection that comes
            # about at the last moment would carry a request whose answer nobody waits for.
            self._dns_host = str(found[-left][4][0])
            if math.isfinite(end):
                self.timeout = max(_LEAST_TIMEOUT, end - time.monotonic()) / (left + 1)
            try:
                sock: socket.socket = super()._new_conn()
            except (HTTPError, OSError):
                if left == 1:
                    raise
            else:
                break
            finally:
                self._dns_host, self._end = name, end
        sock.settimeout(self.timeout)
        return sock


class _Response(http.client.HTTPResponse):
    def __init__(self, connection: _Bound, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Received(connection, sock, self.fp.detach()))

    def begin(self) -> None:
        super().begin()
        # urllib3 would log whatever stands in lines that are no headers.
        self.msg.set_payload("")
        self.msg.defects.clear()


class _Received(io.RawIOBase):
    """The bytes of one answer as they come in."""

    def __init__(self, connection: _Bound, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._connection = connection
        self._sock = sock
        self._raw = raw
        self._count = 0
        self._late: float | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        # A process may be paused past its deadline, and find an answer that came in time.
        if self._late is None and self._connection.overdue >= 0:
            self._late = self._connection.overdue + _LATE_READING
        self._connection.arm(self._sock, late=self._late or 0.0)
        if self._count > MAX_RECEIVED_BYTES:
            raise OSError(f"more than {MAX_RECEIVED_BYTES} bytes were received")
        received = self._raw.readinto(buffer)
        self._count += received or 0
        return received

    def close(self) -> None:
        self._raw.close()
        super().close()
