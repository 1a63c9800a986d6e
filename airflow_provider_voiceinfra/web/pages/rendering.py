"""Turns what a page shows into HTML; all text is escaped, and nothing is loaded from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from functools import lru_cache
from importlib import resources
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from airflow_provider_voiceinfra import __version__
from airflow_provider_voiceinfra.web.pages.addresses import page_address, run_address, task_address
from airflow_provider_voiceinfra.web.pages.call.record_values import as_json, depth_of, word_for
from airflow_provider_voiceinfra.webhooks.reasons import in_words

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "font-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'self'",
}
NONE = "\N{EN DASH}"


def page(
    request: Request, template: str, *, status: int = 200, media: str | None = None, **shown: Any
) -> HTMLResponse:
    """Return a page, or a part of one.

    :param template: its file; of ``name.html``, htmx is given the part that it asks for, ``_name.html``.
    :param status: the answer's status code.
    :param media: the origin that sound may be played from, such as ``https://recordings.example``.
    :param shown: what the template is given.
    """
    if is_partial(request) and not template.startswith("_"):
        template = f"_{template}"
    html = _environment().get_template(template).render(**shown, version=__version__)
    return HTMLResponse(html, status, headers=security_headers(media))


def is_partial(request: Request) -> bool:
    """Return whether a page that is open asks for a part of itself."""
    return "hx-request" in request.headers and "hx-history-restore-request" not in request.headers


def security_headers(media: str | None = None) -> dict[str, str]:
    """Return the headers of every answer.

    :param media: the origin that sound may be played from.
    """
    policy = _POLICY | ({"media-src": media} if media else {})
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",  # of people, so neither a proxy nor the browser's disk keeps it
        "Vary": "HX-Request, Cookie",
    }


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("airflow_provider_voiceinfra.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "moment": moment,
        "seconds": seconds,
        "count": count,
        "data": data,
        "outcome_class": outcome_class,
        "in_words": in_words,
        "as_json": as_json,
        "depth": depth_of,
        "word": word_for,
        "rule_label": rule_label,
    }
    environment.globals.update(
        NONE=NONE, page_address=page_address, run_address=run_address, task_address=task_address
    )
    return environment


def moment(value: datetime | str | None) -> Markup:
    """Return a point in time, which the page's script writes in the time zone that Airflow is set to."""
    if value is None:
        return Markup(NONE)
    try:
        aware = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return Markup.escape(value)
    utc = aware.astimezone(timezone.utc)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        utc.isoformat(timespec="seconds"), utc.strftime("%Y-%m-%d %H:%M:%S")
    )


def seconds(value: float | None) -> str:
    """Return a duration as people say it."""
    if value is None:
        return NONE
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def count(value: float | None) -> str:
    """Return a number of things, with its thousands apart."""
    return NONE if value is None else f"{value:,}"


def data(value: Any) -> str:
    """Return a value as JSON, for an attribute that a script reads."""
    return json.dumps(value, ensure_ascii=True)


def rule_label(name: str) -> str:
    """Return what a rule is called, for people."""
    return name.replace("_", " ").capitalize()


_OUTCOMES = ("answered", "voicemail", "failed", "expired")
_STATES = ("claimed", "accepted", "refused", "unknown", "open")
_CAMPAIGN_STATES = ("running", "waiting", "no_heartbeat", "cancelled", "finished")
_VERDICTS = ("ok", "warning", "skipped")
_STYLED = frozenset((*_OUTCOMES, *_STATES, *_CAMPAIGN_STATES, *_VERDICTS))


def outcome_class(value: object) -> str:
    """Return the style class of a state or an outcome; one that nobody foresaw has that of none."""
    text = str(getattr(value, "value", value) or "")
    return f"is-{text}" if text in _STYLED else "is-other"


@lru_cache(maxsize=1)
def assets() -> Mapping[str, tuple[bytes, str]]:
    """Return the files that pages load, by name, with their content type."""
    types = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
    folder = resources.files("airflow_provider_voiceinfra.web") / "static"
    found = [*folder.iterdir(), *(folder / "vendor").iterdir()]
    return {
        file.name: (file.read_bytes(), types[suffix])
        for file in found
        if file.is_file() and (suffix := "." + file.name.rpartition(".")[2]) in types
    }
