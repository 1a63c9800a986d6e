"""Where the API is, of what a connection says; looks nothing up."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from airflow_provider_voiceinfra.exceptions import ConfigurationError

DEFAULT_BASE_URL = "https://api.voiceinfra.ai/v1"


def base_url(where: str, *, scheme: str | None, host: str | None, port: object, path: str | None) -> str:
    """Return where the API is: of the host alone, as the form has it, or of the parts of a connection URI.

    :param where: what errors begin with.
    :param path: Airflow calls it the schema of a connection.
    :raises ConfigurationError: naming what is wrong, and the remedy.
    """
    path = (path or "").strip("/")
    if path in ("http", "https"):  # as in Airflow's own HTTP connections
        scheme, path = scheme or path, ""
    if host is None and not path and scheme in (None, "https"):
        return DEFAULT_BASE_URL
    default = urlsplit(DEFAULT_BASE_URL)
    if host is None:
        host, path = str(default.hostname), path or default.path.strip("/")
    own_scheme, separator, rest = host.partition("://")
    if not separator:
        own_scheme, rest = scheme or default.scheme, _bracketed(host)
    url = f"{own_scheme}://{rest}".rstrip("/")
    try:
        own_path = urlsplit(url).path.strip("/")
        url = f"{url}/{path}" if path and not own_path else url
        parts = urlsplit(url)
        hostname, own_port = parts.hostname, parts.port
    except ValueError:
        # The reason quotes the URL, in which somebody may have put a login.
        raise ConfigurationError(
            f"{where}: the API base URL cannot be read; it must look like {DEFAULT_BASE_URL}."
        ) from None
    if scheme not in (None, own_scheme) or path not in ("", own_path or path):
        raise ConfigurationError(
            f"{where}: the API base URL is given twice, and differently: the host holds a scheme or a path, "
            f"and so does another field. Write it in one, such as {DEFAULT_BASE_URL} as host."
        )
    _check_base_url(where, url)
    if port and own_port is None:
        return f"{parts.scheme}://{_bracketed(str(hostname))}:{port}{parts.path}"
    return url


def _check_base_url(where: str, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ConfigurationError(
            f"{where}: the API base URL must look like {DEFAULT_BASE_URL}; leave it empty for that default."
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigurationError(
            f"{where}: the API base URL must hold neither a login nor a query; the API key has its own field."
        )
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ConfigurationError(
            f"{where}: a plain-http API base URL would send the API key in clear; use https. "
            "Plain http is taken for loopback addresses only."
        )


def _bracketed(host: str) -> str:
    """Return a host as a URL has it."""
    try:
        return f"[{ipaddress.IPv6Address(host)}]"
    except ValueError:
        return host


def _is_loopback(hostname: str) -> bool:
    if hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False
