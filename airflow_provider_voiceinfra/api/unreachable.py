"""Why no connection to the API came about, in words, with a remedy, and whether another try can help."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

# An untrusted certificate is a TLS error as well, so it comes first.
_OBSTACLES: tuple[tuple[type[Exception], str, str], ...] = (
    (
        socket.gaierror,
        "its host name cannot be resolved",
        "Check how it is spelt, and whether this machine has a network.",
    ),
    (
        ConnectionRefusedError,
        "nothing listens there",
        "Check host and port of the base URL, and network and proxy of this machine.",
    ),
    (
        ssl.SSLCertVerificationError,
        "its certificate is not trusted",
        "Check the base URL. If a proxy here signs with a certificate of its own, set REQUESTS_CA_BUNDLE.",
    ),
    (
        ssl.SSLError,
        "what listens there does not speak https",
        "Check the port. The sandbox on this machine is reached by http://, which has to be written.",
    ),
    (
        TimeoutError,
        "no connection came about in time",
        "Check the base URL, and whether a firewall or a proxy stands in the way.",
    ),
)
# What OpenSSL calls an answer in another protocol than TLS, or in a version of it that is not spoken here.
_OTHER_PROTOCOL = frozenset(
    {
        "WRONG_VERSION_NUMBER",
        "RECORD_LAYER_FAILURE",
        "HTTP_REQUEST",
        "HTTPS_PROXY_REQUEST",
        "UNKNOWN_PROTOCOL",
        "UNSUPPORTED_PROTOCOL",
        "TLSV1_ALERT_PROTOCOL_VERSION",
    }
)


def reason_and_remedy(error: BaseException) -> tuple[str, str]:
    """Return why no connection came about, as a part of a sentence, and what to do, as one of its own."""
    # Imported late: whoever asks has loaded it, since the error is one of its own.
    from requests.exceptions import ProxyError

    found = list(causes(error))
    if any(isinstance(cause, ProxyError) for cause in found):
        return (
            "the proxy that this machine is set to use does not take the request",
            "Check the variables HTTPS_PROXY and NO_PROXY.",
        )
    for kind, why, remedy in _OBSTACLES:
        if any(isinstance(cause, kind) for cause in found):
            return why, remedy
    return (
        f"no connection came about ({type(error).__name__})",
        "Check the base URL, and network and proxy of this machine.",
    )


def is_lasting(error: BaseException) -> bool:
    """Return whether the next try would fail alike: at a certificate, or at what does not speak TLS."""
    return any(
        isinstance(cause, ssl.SSLCertVerificationError)
        or (isinstance(cause, ssl.SSLError) and cause.reason in _OTHER_PROTOCOL)
        for cause in causes(error)
    )


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, and what it came from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
