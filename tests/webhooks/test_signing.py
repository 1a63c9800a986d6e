"""Webhooks are verified if they are signed with one of the secrets, and never otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_voiceinfra.webhooks.signing import digest_in, sign
from airflow_provider_voiceinfra.webhooks.signing import verify as verify_digest

# Computed with another implementation: printf '%s' "$BODY" | openssl dgst -sha256 -hmac "$SECRET"
SECRET = "whsec_example"
BODY = b'{"call_id": "call_1", "event": "call.completed"}'
SIGNATURE = "a520cf2ea776264920834f7a54986c3c8e89ee1496737a79ce14a4c1a2130289"


def verify(secrets: Sequence[str], body: bytes, header: str) -> bool:
    """Return whether a header signs a body."""
    digest = digest_in(header)
    return digest is not None and verify_digest(secrets, body, digest)


def test_signature_is_hmac_sha256_of_the_raw_body() -> None:
    assert sign(SECRET, BODY) == SIGNATURE
    # RFC 4231, test case 2.
    signature = sign("Jefe", b"what do ya want for nothing?")
    assert signature == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"


@pytest.mark.parametrize(
    "header",
    [SIGNATURE, SIGNATURE.upper(), f"sha256={SIGNATURE}", f"sha256={SIGNATURE.upper()}"],
    ids=["hex", "HEX", "sha256=hex", "sha256=HEX"],
)
def test_each_accepted_form_is_valid(header: str) -> None:
    assert verify([SECRET], BODY, header)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "sha256=",
        SIGNATURE[:-1],
        SIGNATURE + "0",
        f" {SIGNATURE}",
        f"{SIGNATURE}\n",
        f"{SIGNATURE}, {SIGNATURE}",
        f"SHA256={SIGNATURE}",
        f"sha1={SIGNATURE}",
        f"v1,{SIGNATURE}",
        SIGNATURE[:-1] + "g",
        SIGNATURE[:-1] + "\N{ARABIC-INDIC DIGIT ONE}",
        "\udcff" * 64,
        "0" * 64,
    ],
)
def test_every_other_header_is_invalid(header: str) -> None:
    assert not verify([SECRET], BODY, header)


def test_both_secrets_are_valid_while_they_are_rotated() -> None:
    secrets = ("whsec_new", SECRET)
    assert verify(secrets, BODY, sign("whsec_new", BODY))
    assert verify(secrets, BODY, SIGNATURE)


@pytest.mark.parametrize(("secrets", "body"), [([SECRET], BODY + b" "), (["whsec_other"], BODY), ([], BODY)])
def test_altered_body_and_other_secret_or_none_are_invalid(secrets: list[str], body: bytes) -> None:
    assert not verify(secrets, body, SIGNATURE)


def test_empty_secret_signs_nothing() -> None:
    with pytest.raises(ValueError, match="empty"):
        sign("", BODY)


@given(secret=st.text(min_size=1).filter(lambda text: text.isprintable()), body=st.binary(), header=st.text())
def test_whatever_an_unauthenticated_sender_sends_is_merely_invalid(
    secret: str, body: bytes, header: str
) -> None:
    assert not verify([secret], body, header)
    assert verify([secret], body, sign(secret, body))
