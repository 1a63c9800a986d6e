"""Mounts the receiver and the pages in Airflow's API server.

Loads nothing in the many processes that serve no HTTP.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin


def _view(name: str, page: str, route: str, **place: str) -> dict[str, str]:
    # Without a slash in front, these addresses hold under a base_url with a path as well.
    icon = "voiceinfra/ui/static/icon.svg"
    return {"name": name, "href": f"voiceinfra/ui/{page}", "url_route": route, "icon": icon, **place}


_RUN = "run?dag_id={DAG_ID}&run_id={RUN_ID}"  # which Airflow fills in
_VIEWS = [
    _view("VoiceInfra Calls", "calls", "voiceinfra-calls", destination="nav", category="browse"),
    _view("VoiceInfra Campaigns", "campaigns", "voiceinfra-campaigns", destination="nav", category="browse"),
    _view(
        "VoiceInfra Suppressions",
        "suppressions",
        "voiceinfra-suppressions",
        destination="nav",
        category="browse",
    ),
    _view("VoiceInfra Setup", "setup", "voiceinfra-setup", destination="nav", category="admin"),
    _view("Calls", _RUN, "voiceinfra-run", destination="dag_run"),
]


class _Apps:
    # Airflow imports plugins in every process, tasks included, but reads this attribute only where it serves
    # HTTP. A FastAPI object, not a function that makes one, since only such a mount has its lifespan run.
    def __get__(self, instance: object, owner: type) -> list[dict[str, Any]]:
        from airflow_provider_voiceinfra.web.app import create_app

        return [{"name": "voiceinfra", "app": create_app(with_pages=True), "url_prefix": "/voiceinfra"}]


class VoiceInfraPlugin(AirflowPlugin):
    """The receiver of webhooks and the pages, under ``/voiceinfra``."""

    name = "voiceinfra"
    fastapi_apps: Any = _Apps()
    external_views: Any = _VIEWS
