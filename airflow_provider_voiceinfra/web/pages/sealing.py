"""Hides what pages put into addresses: the hashed keys of calls, and places in a list, which hold them.

A key is often made of a campaign's id and a phone number. Whoever sees its hash, or may ask for one, can try
all numbers that a mask leaves open.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

_PURPOSE = b"voiceinfra pages: names of calls in addresses\n"


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
