"""The keys of one ledger while it is open, and the form in which values are stored under them.

What is stored begins with a mark, the id of the key and a colon; whatever begins with anything else is plain.
So a ledger can be read at any moment while its values are being encrypted, or rewritten under another key.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from cryptography.exceptions import InvalidTag

from airflow_provider_voiceinfra.exceptions import LedgerKeyError

HASH_DIGITS = 32
MARK = "~vi1:"
ID_DIGITS = 8
# In place of an id: what follows is plain, but begins with the mark itself.
PLAIN = "-" * ID_DIGITS
HEAD = len(MARK) + ID_DIGITS + 1
_NONCE = 12
_REMEMBERED = 1000  # hashes
OVERHEAD = HEAD + _NONCE + 16
"""By how many bytes an encrypted document is longer than itself."""
_BYTES_MARK = MARK.encode()


class UnknownDataKeyError(LedgerKeyError):
    """A value is encrypted under a key that this process has not read."""


def head_of(key_id: str) -> str:
    """Return what every value begins with that is encrypted under a key."""
    return f"{MARK}{key_id}:"


@dataclass(frozen=True)
class Keyring:
    """The keys of one ledger.

    :param index_key: under which numbers are hashed, so that equal ones can be found.
    :param ciphers: what encrypts and decrypts, by the ids of the data keys.
    :param current: the id of the key that new values are encrypted under; ``None`` to leave them plain.
    """

    index_key: bytes = field(repr=False)
    ciphers: Mapping[str, Any] = field(default_factory=dict, repr=False)
    current: str | None = None

    def hash_of(self, text: str) -> str:
        """Return what a number is found by, which cannot be worked out without the key."""
        return self._remembered(text)

    @cached_property
    def _remembered(self) -> Callable[[str], str]:
        # Calls come from few numbers, and the number of one is asked for several times.
        begun = hmac.new(self.index_key, digestmod=hashlib.sha256)

        def hash_of(text: str) -> str:
            hashing = begun.copy()
            hashing.update(text.encode("utf-8", "surrogatepass"))
            return hashing.hexdigest()[:HASH_DIGITS]

        return lru_cache(_REMEMBERED)(hash_of)

    def seal_text(self, text: str) -> str:
        """Return a text in the form in which it is stored."""
        if self.current is None:
            return text if not text.startswith(MARK) else f"{head_of(PLAIN)}{text}"
        sealed = self._encrypt(text.encode("utf-8", "surrogatepass"), self.current)
        return f"{MARK}{self.current}:{urlsafe_b64encode(sealed).decode('ascii')}"

    def seal(self, document: bytes) -> bytes:
        """Return bytes in the form in which they are stored."""
        if self.current is None:
            return document if not document.startswith(_BYTES_MARK) else head_of(PLAIN).encode() + document
        return head_of(self.current).encode() + self._encrypt(document, self.current)

    def open_text(self, stored: str) -> str:
        """Return the text of a stored one.

        :raises UnknownDataKeyError: if it is encrypted under a key that is not on this ring.
        """
        if not stored.startswith(MARK):
            return stored
        key_id, rest = stored[len(MARK) : HEAD - 1], stored[HEAD:]
        if key_id == PLAIN:
            return rest
        return self._decrypt(urlsafe_b64decode(rest), key_id).decode("utf-8", "surrogatepass")

    def open(self, stored: bytes) -> bytes:
        """Return the bytes of stored ones.

        :raises UnknownDataKeyError: if they are encrypted under a key that is not on this ring.
        """
        if not stored.startswith(_BYTES_MARK):
            return stored
        key_id, rest = stored[len(MARK) : HEAD - 1].decode("ascii", "replace"), stored[HEAD:]
        return rest if key_id == PLAIN else self._decrypt(rest, key_id)

    def _encrypt(self, document: bytes, key_id: str) -> bytes:
        nonce = os.urandom(_NONCE)
        sealed: bytes = nonce + self.ciphers[key_id].encrypt(nonce, document, None)
        return sealed

    def _decrypt(self, sealed: bytes, key_id: str) -> bytes:
        cipher = self.ciphers.get(key_id)
        if cipher is None:
            raise UnknownDataKeyError(
                f"The ledger holds a value under the data key {key_id!r}, which its table of keys does not "
                "have. If that table was restored from another backup than the rest, restore both together."
            )
        try:
            document: bytes = cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
        except InvalidTag as error:
            raise LedgerKeyError(
                "A value in the ledger is damaged: it does not decrypt under the key that it names. Restore "
                "the ledger from a backup."
            ) from error
        return document
