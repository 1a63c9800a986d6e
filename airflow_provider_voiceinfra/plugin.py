"""Mounts the receiver in Airflow's API server; loads nothing in the many processes that serve no HTTP."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin


class _Apps:
    # Airflow imports plugins in every process, tasks included, but reads this attribute only where it serves
    # HTTP. A FastAPI object, not a function that makes one, since only such a mount has its lifespan run.
    def __get__(self, instance: object, owner: type) -> list[dict[str, Any]]:
        from airflow_provider_voiceinfra.web.app import create_app

        return [{"name": "voiceinfra", "app": create_app(), "url_prefix": "/voiceinfra"}]


class VoiceInfraPlugin(AirflowPlugin):
    """The receiver of webhooks, under ``/voiceinfra``."""

    name = "voiceinfra"
    fastapi_apps: Any = _Apps()
