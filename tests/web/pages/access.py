"""Who gets what from every route of the web application; asked with fakes, and of a real Airflow.

``NOBODY`` is not logged in; the others are the roles of Airflow's simple auth manager.
"""

from __future__ import annotations

from dataclasses import dataclass, field

NOBODY, VIEWER, USER, OP, ADMIN = "nobody", "viewer", "user", "op", "admin"
ROLES = (NOBODY, VIEWER, USER, OP, ADMIN)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass(frozen=True)
class Access:
    """What a request is answered, by who asks.

    :param path: from where the application is mounted; ``{...}`` stands for what a test has put there.
    :param answers: the status for each role.
    :param data: the form that is sent.
    """

    method: str
    path: str
    answers: dict[str, int]
    data: dict[str, str] = field(default_factory=dict)

    @property
    def route(self) -> str:
        """The path without its query."""
        return self.path.partition("?")[0]


def everybody(status: int) -> dict[str, int]:
    """Return the answers of a route that needs a login, and nothing else."""
    return {NOBODY: 401, **dict.fromkeys((VIEWER, USER, OP, ADMIN), status)}


def at_least(role: str, status: int = 200) -> dict[str, int]:
    """Return the answers of a route that needs a role."""
    needed = ROLES.index(role)
    allowed = {one: status if ROLES.index(one) >= needed else 403 for one in ROLES}
    return {**allowed, NOBODY: 401}


TABLE = (
    # Open to the world: the vendor's webhooks, verified by their signature, and the receiver's health.
    Access("POST", "/webhooks", dict.fromkeys(ROLES, 401)),
    Access("POST", "/webhooks/voiceinfra_default", dict.fromkeys(ROLES, 401)),
    Access("GET", "/health", dict.fromkeys(ROLES, 200)),
    # The pages.
    Access("GET", "/ui/", everybody(307)),
    Access("GET", "/ui/calls", everybody(200)),
    Access("GET", "/ui/calls.csv", everybody(200)),
    Access("GET", "/ui/charts", everybody(200)),
    Access("GET", "/ui/call?key={key}", everybody(200)),
    Access("GET", "/ui/campaigns", everybody(200)),
    Access("GET", "/ui/campaign?id={campaign}", everybody(200)),
    Access("GET", "/ui/run?dag_id={dag}&run_id={run}", everybody(200)),
    Access("GET", "/ui/static/pages.css", everybody(200)),
    Access("GET", "/ui/setup", at_least(OP)),
    Access("GET", "/ui/suppressions", at_least(OP)),
    # As a change, though it is none: a whole number stands in no address.
    Access("POST", "/ui/suppressions/find", at_least(OP), {"number": "+14155550123"}),
    # What changes something.
    Access("POST", "/ui/campaign/cancel", at_least(USER), {"id": "{campaign}"}),
    Access("POST", "/ui/campaign/resume", at_least(USER), {"id": "{campaign}"}),
    Access("POST", "/ui/setup/check", at_least(OP), {"conn_id": "voiceinfra_default"}),
    Access("POST", "/ui/setup/test", at_least(OP), {"conn_id": "voiceinfra_default"}),
    Access("POST", "/ui/setup/replay", at_least(OP), {"id": "{delivery}"}),
    Access(
        "POST",
        "/ui/suppressions/add",
        at_least(OP),
        {"number": "+14155550144", "conn_id": "voiceinfra_default"},
    ),
    Access("POST", "/ui/suppressions/add", at_least(OP), {"number": "+14155550145"}),
    Access("POST", "/ui/suppressions/import", at_least(OP), {"numbers": "+14155550146"}),
    Access("POST", "/ui/suppressions/remove", at_least(OP), {"id": "{suppression}"}),
)
