"""What is known of the person who is called besides the number: where they are, and that they agreed."""

from __future__ import annotations

from typing import NamedTuple

MAX_CONSENT = 255
"""Characters."""


class Recipient(NamedTuple):
    """The person who is called.

    :param timezone: the IANA name of the zone that the person is in; if not set, the number says.
    :param region: where the person is, such as ``US-FL`` or ``FR``; if not set, the number says.
    :param consent: what proves that the person agreed to be called, in the user's own words.
    """

    timezone: str | None = None
    region: str | None = None
    consent: str | None = None


ANYBODY = Recipient()
"""Somebody of whom no more than the number is known."""
