"""Signs and verifies the raw bytes of a webhook; never parses them, and never looks a secret up.

The vendor signs with HMAC-SHA256 and does not document how the digest is written. Lower- and upper-case
hexadecimal are accepted, each with or without the prefix ``sha256=``, and nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable

SIGNATURE_HEADER = "X-VoiceInfra-Signature"
EVENT_HEADER = "X-VoiceInfra-Event"

_SIGNATURE = re.compile(r"(?:sha256=)?([0-9a-fA-F]{64})", re.ASCII)


def sign(secret: str, body: bytes) -> str:
    """Return the signature of a body as lower-case hexadecimal without a prefix.

    :param secret: the secret typed into the vendor's dashboard; an empty one is refused.
    :param body: the raw bytes of the request.
    :raises ValueError: if the secret is empty.
    """
    if not secret:
        raise ValueError("an empty webhook secret signs nothing")
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def digest_in(header: str) -> str | None:
    """Return the digest that a signature header holds, in lower case; ``None`` if it has no known form."""
    form = _SIGNATURE.fullmatch(header)
    return None if form is None else form.group(1).lower()


def verify(secrets: Iterable[str], body: bytes, digest: str) -> bool:
    """Return whether a digest belongs to a body under any of the secrets.

    :param secrets: all secrets in force; several while they are being rotated.
    :param body: the raw bytes as received.
    :param digest: from ``digest_in``.
    """
    # Every secret is compared, so that the time taken does not tell which one matched.
    matches = [hmac.compare_digest(sign(secret, body), digest) for secret in secrets]
    return any(matches)
