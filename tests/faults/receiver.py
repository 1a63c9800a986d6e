"""The stand-alone receiver as one process of a run: ``uvicorn --factory tests.faults.receiver:app``."""

from __future__ import annotations

import os
from typing import Any

from tests.faults import clocks

clocks.shift(float(os.environ.get("FAULTS_CLOCK", "0")))


def app() -> Any:
    """Return the receiver that a user would start, with the connections in its environment."""
    from airflow_provider_voiceinfra.ledger import connect
    from airflow_provider_voiceinfra.web.app import create_app
    from tests.faults.plan import SCALE
    from tests.faults.plants import RECEIVER, plant

    connect.BUSY_TIMEOUT /= SCALE
    plant(os.environ.get("FAULTS_PLANT"), RECEIVER)
    return create_app()
