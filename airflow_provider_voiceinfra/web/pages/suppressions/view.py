"""What the page /ui/suppressions shows of a suppression to one visitor, and what they may do with it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from airflow_provider_voiceinfra.dialling.clocks import utc_now
from airflow_provider_voiceinfra.ledger.rules.suppressions import Suppression, SuppressionSource
from airflow_provider_voiceinfra.masking import Privacy, mask_numbers_in
from airflow_provider_voiceinfra.web.pages.addresses import page_address
from airflow_provider_voiceinfra.web.pages.scope import Scope

ALL_CONNECTIONS = "all connections"

_SOURCES = {
    SuppressionSource.CLI.value: "command line",
    SuppressionSource.FILE.value: "a file",
    SuppressionSource.HOOK.value: "a task or script",
    SuppressionSource.PAGE.value: "these pages",
    SuppressionSource.WEBHOOK.value: "said in a call",
}


class Rights:
    """What one visitor may do with suppressions.

    What is for all connections is shown to everybody who may read one of them, with the number in full only
    to those who may read connections in general, and changed by those who may edit them in general.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._editable: dict[str, bool] = {}

    @cached_property
    def may_change_all(self) -> bool:
        """Whether they may change what is for all connections."""
        return self.scope.visitor.may_edit_connections()

    @cached_property
    def may_read_all(self) -> bool:
        """Whether they may read every connection."""
        return self.scope.visitor.may_read_connections()

    def may_see(self, conn_id: str | None) -> bool:
        """Return whether what is for a connection, or for all, is shown to them."""
        return conn_id is None or self.scope.may_read(conn_id)

    def may_change(self, conn_id: str | None) -> bool:
        """Return whether they may add or remove what is for a connection, or for all."""
        if conn_id is None:
            return self.may_change_all
        if conn_id not in self._editable:
            self._editable[conn_id] = self.scope.visitor.may_edit_connection(conn_id)
        return self._editable[conn_id]

    def shows_number(self, conn_id: str | None) -> bool:
        """Return whether numbers for a connection, or for all, are shown to them in full."""
        return self.may_read_all if conn_id is None else self.scope.may_read(conn_id)


@dataclass(frozen=True)
class SuppressionRow:
    """One suppression as a table shows it.

    :param number: as far as it is shown.
    :param may_remove: whether the visitor may end it, and it has not ended.
    """

    one: Suppression
    number: str | None
    reason: str | None
    is_over: bool
    may_remove: bool

    @property
    def place(self) -> str:
        """What it is for."""
        return ALL_CONNECTIONS if self.one.conn_id is None else self.one.conn_id

    @property
    def source(self) -> str:
        """Where it came from, for people."""
        return _SOURCES.get(self.one.source, self.one.source)

    @property
    def added_by(self) -> str:
        """Who added it, as far as it is shown."""
        return mask_numbers_in(self.one.added_by or "")

    @property
    def call_address(self) -> str | None:
        """The page of the call in which it was said."""
        if self.one.source != SuppressionSource.WEBHOOK.value or self.one.added_by is None:
            return None
        return page_address("call", id=self.one.added_by)


def rows_of(rights: Rights, found: list[Suppression]) -> list[SuppressionRow]:
    """Return suppressions as a table shows them, without those that the visitor must not see."""
    now = utc_now()
    return [_row(rights, one, one.is_in_force(now)) for one in found if rights.may_see(one.conn_id)]


def _row(rights: Rights, one: Suppression, is_in_force: bool) -> SuppressionRow:
    privacy = Privacy(show_numbers=rights.shows_number(one.conn_id))
    return SuppressionRow(
        one,
        number=privacy.number(one.number),
        reason=privacy.text(one.reason),
        is_over=not is_in_force,
        may_remove=is_in_force and rights.may_change(one.conn_id),
    )
