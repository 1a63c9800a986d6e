"""Follows the completions of a ledger in their order, each once; notices when the ledger was restored."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.ledger.records import CompletionEntry
    from airflow_provider_voiceinfra.ledger.store import CallLedger


class Follower:
    """Follows one ledger, from the newest completion on; one query a look.

    The completion that was seen last is read again each time. If it is not there any more, the ledger has
    been restored, or purged, which is rare and only costs the lookups. Numbers alone would not show it, since
    a ledger that was restored gives them a second time.

    :param limit: completions of one look, at most.
    """

    def __init__(self, ledger: CallLedger, limit: int) -> None:
        self._ledger = ledger
        self._limit = limit
        self.cursor = ledger.last_sequence()
        """The sequence number of the completion that was seen last."""
        self._last: str | None = None

    def look(self) -> list[CompletionEntry] | None:
        """Return what has come since the last look; as many as the limit if there may be more.

        :return: ``None`` if the ledger is another one than before, such as a backup of it: what came between
            is unknown, so each call that is waited for has to be looked up anew.
        :raises LedgerUnavailableError: if the ledger cannot be read; the next look finds it all.
        """
        if self.cursor <= 0:
            found = self._ledger.completions_after(0, limit=self._limit)
        else:
            found = self._ledger.completions_after(self.cursor - 1, limit=self._limit + 1)
            if not found or not self._is_last(found[0]):
                self.cursor, self._last = self._ledger.last_sequence(), None
                return None
            self._last = found.pop(0).call_id
        if found:
            self.cursor, self._last = found[-1].sequence, found[-1].call_id
        return found

    def _is_last(self, entry: CompletionEntry) -> bool:
        return entry.sequence == self.cursor and self._last in (None, entry.call_id)
