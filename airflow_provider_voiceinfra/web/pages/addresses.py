"""Builds every address that pages link to, and seals in it what nobody but Airflow's API servers may read.

All pages lie at one depth and take what they are about from the query, so each address is relative.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from fastapi import Request

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.ledger.campaigns.records import CampaignEntry
    from airflow_provider_voiceinfra.ledger.records import CallOrigin

# The hashed key of a call, and places in a list, which hold such keys. A key is often made of a campaign's
# id and a phone number: whoever sees its hash, or may ask for one, can try all numbers that a mask leaves
# open.
SEALED = ("key", "after", "before")
_PURPOSE = b"voiceinfra pages: names of calls in addresses\n"


def page_address(page: str, **query: str | int | None) -> str:
    """Return the address of a page, relative to another.

    :param query: what is asked of it, as it is: what has to be sealed is sealed here. What is ``None`` is
        left out.
    """
    asked = {name: str(value) for name, value in query.items() if value is not None}
    sealed = {name: seal(value) for name, value in asked.items() if name in SEALED}
    return f"{page}?{urlencode(asked | sealed)}" if asked else page


def run_address(place: CallOrigin | CampaignEntry) -> str | None:
    """Return where Airflow shows the DAG run that something comes from, relative to a page."""
    if place.dag_id is None or place.run_id is None:
        return None
    return f"../../dags/{quote(place.dag_id, safe='')}/runs/{quote(place.run_id, safe='')}"


def task_address(place: CallOrigin | CampaignEntry) -> str | None:
    """Return where Airflow shows the task instance that something comes from, relative to a page."""
    run = run_address(place)
    if run is None or place.task_id is None:
        return None
    mapped = "" if place.map_index is None or place.map_index < 0 else f"/mapped/{place.map_index}"
    return f"{run}/tasks/{quote(place.task_id, safe='')}{mapped}"


def login_address(request: Request) -> str:
    """Return the address of Airflow's login, relative to the page that is asked for, and back to that."""
    page = str(request.scope["path"]).removeprefix(request.scope.get("root_path", ""))
    login = "../" * (page.count("/") + 1) + "api/v2/auth/login"
    # Without what is asked of the page, so that nothing of it is repeated to somebody who is not logged in.
    return f"{login}?{urlencode({'next': request.url.path})}" if request.method == "GET" else login


def seal(text: str) -> str:
    """Return a text that only Airflow's API servers can read; the same for the same text."""
    return base64.urlsafe_b64encode(_cipher().encrypt(text.encode(), None)).decode().rstrip("=")


def unseal(sealed: str) -> str:
    """Return what was sealed.

    :raises ValueError: if it was not sealed here.
    """
    try:
        padded = sealed.encode("ascii") + b"=" * (-len(sealed) % 4)
        return _cipher().decrypt(base64.urlsafe_b64decode(padded), None).decode()
    except (InvalidTag, ValueError):
        raise ValueError("this was not sealed here") from None


@lru_cache(maxsize=1)
def _cipher() -> AESSIV:
    from airflow.configuration import conf

    # The same in all API servers of one Airflow, or a login at one would not hold at another.
    secret = str(conf.get("api", "secret_key", fallback="") or "").strip() or secrets.token_hex()
    return AESSIV(hashlib.sha512(_PURPOSE + secret.encode()).digest())
