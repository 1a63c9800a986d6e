"""Remembers which webhook was rejected last, and why, so that the page Setup can say so.

Most rejected webhooks come from unauthenticated senders, who can send as many as they like. So few are
written, one at a time, and never in the way of a genuine webhook.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cachetools import LRUCache, TTLCache

from airflow_provider_voiceinfra.exceptions import VoiceInfraError
from airflow_provider_voiceinfra.ledger.lists.values import NO_CONNECTION
from airflow_provider_voiceinfra.masking import mask_numbers_in
from airflow_provider_voiceinfra.webhooks.reasons import RejectionReason

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.ledger import CallLedger
    from airflow_provider_voiceinfra.web.receiver.secrets import SecretsFor

EVERY_SECONDS = 1.0
EVERY_SECONDS_PER_CONNECTION = 5.0
_CONNECTIONS = 1000
_LONGEST_ID = 64
_ONLY_OF_CONNECTIONS = frozenset({RejectionReason.NO_SECRET.value, RejectionReason.WRONG_SIGNATURE.value})

log = logging.getLogger(__name__)


class Rejections:
    """Writes rejections into the ledger, seldom.

    :param ledger: returns the ledger.
    :param secrets_for: returns whether there is such a connection.
    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        ledger: Callable[[], CallLedger],
        secrets_for: SecretsFor,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._secrets_for = secrets_for
        self._clock = clock
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._last = float("-inf")
        self._recent: TTLCache[str, None] = TTLCache(_CONNECTIONS, EVERY_SECONDS_PER_CONNECTION, timer=clock)
        self._existing: LRUCache[str, None] = LRUCache(_CONNECTIONS)

    def is_due(self, conn_id: str, reason: str) -> bool:
        """Return whether a rejection is to be written; costs nothing, and counts as done if so.

        :param conn_id: the connection that the webhook named, which need not exist.
        :param reason: the same as for ``write``.
        """
        with self._lock:
            if reason in _ONLY_OF_CONNECTIONS:
                self._existing[conn_id] = None
            # Ids that nobody knows share one turn, so that no flood of them uses up those of real ones.
            whose = conn_id if conn_id in self._existing else NO_CONNECTION
            if self._clock() - self._last < EVERY_SECONDS or whose in self._recent:
                return False
            self._last = self._clock()
            self._recent[whose] = None
            return True

    def write(self, conn_id: str, reason: str) -> None:
        """Write a rejection; whatever goes wrong with that is of no consequence to anybody.

        :param conn_id: the connection that the webhook named, which need not exist.
        :param reason: why it was rejected, see ``webhooks.reasons``.
        """
        # One that waits for a ledger that is down must not take the threads of genuine webhooks.
        if not self._writing.acquire(blocking=False):
            return
        try:
            if self._secrets_for(conn_id) is None:
                # Anybody may have typed it: short, quoted, and without numbers.
                typed = mask_numbers_in(conn_id[: 4 * _LONGEST_ID])[:_LONGEST_ID]
                unknown = f"{RejectionReason.UNKNOWN_CONNECTION.value}:{typed!r}"
                self._ledger().deliveries.note_rejection(NO_CONNECTION, unknown)
            else:
                with self._lock:
                    self._existing[conn_id] = None
                    self._recent[conn_id] = None
                self._ledger().deliveries.note_rejection(conn_id, reason)
        except VoiceInfraError as error:
            log.info("A rejected webhook is not remembered: %s", error)
        except Exception as error:  # noqa: BLE001  a note, after the answer: nobody waits for it
            log.warning("A rejected webhook is not remembered: %s", type(error).__name__)
        finally:
            self._writing.release()
