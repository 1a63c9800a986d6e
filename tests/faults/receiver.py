"""The stand-alone receiver as one process of a run."""

from __future__ import annotations

from typing import Any

from tests.faults import clocks, ledger_faults
from tests.faults.plants import RECEIVER, plant


def main(request: dict[str, Any]) -> None:
    """Serve what a user would serve with ``uvicorn --factory``, with the connections in the environment."""
    import uvicorn

    from airflow_provider_voiceinfra.web.app import create_app

    clocks.shift_all(request["all_clocks"])
    clocks.shift(request["clock"], request["jumps"])
    ledger_faults.obey(request["ledger"])
    plant(request["plant"], RECEIVER)
    uvicorn.run(create_app(), host="127.0.0.1", port=request["port"], log_level="warning", access_log=False)
