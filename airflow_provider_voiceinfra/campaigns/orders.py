"""Everything that one run of a campaign is told, checked, as plain values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_voiceinfra.campaigns.contacts.reader import ContactReader
from airflow_provider_voiceinfra.campaigns.plan import CampaignPlan
from airflow_provider_voiceinfra.connection import VoiceInfraConnection
from airflow_provider_voiceinfra.exceptions import ContactsError
from airflow_provider_voiceinfra.ledger.records import CallOrigin


@dataclass(frozen=True)
class CampaignOrders:
    """What a campaign is to do, and in which task.

    :param plan: lines, window, redials and times.
    :param origin: the task instance that runs it.
    :param conn_id: the connection that it goes through.
    :param contacts: an iterable of mappings, or the path or URL of a file.
    :param reading: the arguments of ``ContactReader``.
    :param refuse_invalid: whether one invalid contact stops the campaign before anybody is called.
    :param max_calls_per_second: never dial faster; ``None`` for the connection's limit.
    :param results_path: where to write one line for each contact; ``None`` for nowhere.
    """

    plan: CampaignPlan
    origin: CallOrigin
    conn_id: str
    contacts: Any = field(repr=False)
    reading: Mapping[str, Any] = field(repr=False)
    refuse_invalid: bool = False
    max_calls_per_second: float | None = None
    results_path: str | None = None

    @property
    def loader(self) -> str:
        """What names who brings the contacts: each try, since a person may have mended them before it."""
        return f"{self._task}/{self.origin.try_number}"

    def has_loaded(self, loaded_by: str | None, *, resumed: bool) -> bool:
        """Tell whether the contacts that the campaign has are those that this try is to call.

        :param resumed: whether this try goes on after a pause, and has read the contacts before it.
        """
        if resumed and loaded_by is not None:  # whether a pause counts as a try is Airflow's affair
            return loaded_by.rpartition("/")[0] == self._task
        return loaded_by == self.loader

    @property
    def _task(self) -> str:
        origin = self.origin
        task = json.dumps([origin.dag_id, origin.run_id, origin.task_id, origin.map_index])
        return hashlib.sha256(task.encode()).hexdigest()[:48]

    def reader(self, connection: VoiceInfraConnection) -> ContactReader:
        """Return what reads the contacts, with the connection's agent and caller ID where none are given."""
        values = dict(self.reading)
        values["agent_id"] = values.get("agent_id") or connection.agent_id
        values["from_number"] = values.get("from_number") or connection.from_number
        try:
            return ContactReader(**values)
        except ContactsError as error:
            for fault in connection.faulty_defaults():
                if not self.reading.get(fault.field) and str(error).startswith(f"{fault.field}:"):
                    raise ContactsError(str(connection.own(fault))) from error
            raise
