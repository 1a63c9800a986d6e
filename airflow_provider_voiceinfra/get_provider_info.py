"""What Airflow knows about this package, as plain data; it is read while Airflow itself is being imported.

So nothing is imported here but the version. Tests hold the defaults equal to those of ``settings`` and
``connection``, and the module names to what exists.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_voiceinfra import __version__

_PACKAGE = "airflow_provider_voiceinfra"
_INTEGRATION = "VoiceInfra"


def _field(label: str, description: str, kind: str = "string", **schema: Any) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": [kind, "null"], **schema}}


def _option(kind: str, default: str, description: str, **more: Any) -> dict[str, Any]:
    option = {"version_added": "0.1.0", "type": kind, "default": default, "description": description}
    return {**option, "example": None, **more}


_CONNECTION_FORM: dict[str, Any] = {
    "connection-type": "voiceinfra",
    "hook-name": _INTEGRATION,
    "hook-class-name": f"{_PACKAGE}.hooks.voiceinfra.VoiceInfraHook",
    "ui-field-behaviour": {
        # The port stays: from Airflow 3.3 on, the Test button of a saved connection without a port is
        # answered "400 Bad Request", since the button sends port 0 and nothing is stored. A form can neither
        # have a default here nor explain it; a longer label would push its field out of line.
        "hidden-fields": ["login", "schema"],
        "relabeling": {"password": "API key", "host": "API base URL", "port": "Port (enter 443)"},
        "placeholders": {
            "password": "from the VoiceInfra dashboard",
            "host": "https://api.voiceinfra.ai/v1",
            "port": "or the Test button says: Bad Request",
        },
    },
    "conn-fields": {
        "webhook_secret": _field(
            "Webhook secret",
            "The secret typed into the VoiceInfra dashboard, to sign its webhooks with. While rotating: the "
            "old and the new one, separated by a space.",
            format="password",
        ),
        "agent_id": _field("Agent ID", "The AI agent for calls that name none."),
        "from_number": _field(
            "From number",
            "The caller ID for calls that name none: a number of your VoiceInfra account, in E.164 form such "
            "as +14155550100.",
        ),
        "timeout": _field(
            "Timeout (s)",
            "How long one request may take as a whole, its answer included, in seconds.",
            "number",
            default=30,
            minimum=1,
            maximum=300,
        ),
        "max_calls_per_second": _field(
            "Max calls per second",
            "Never place calls faster than this. Empty: as fast as the API's rate limit lets.",
            "number",
            minimum=0,
        ),
        "account": _field(
            "Account",
            "Any name. If several connections with different API keys are of one account, give all of them "
            "the same one: they share their webhooks then.",
        ),
        "calling_window": _field(
            "Calling window",
            "When people may be called, where they are, such as 08:00-20:00, or mon-fri 09:00-20:00; sat "
            "10:00-16:00. Empty: at any hour. It holds for every call through this connection.",
        ),
        "call_cap": _field(
            "Call cap",
            "How often one number may be called, by whomever, such as 3/24h or 7/7d. Empty: no cap.",
        ),
        "opt_out": _field(
            "Opt-out",
            "Which field of a completion record says that the person must not be called again, such as "
            "extracted_data.opt_out = true. The number is suppressed at once.",
        ),
        "exempt_numbers": _field(
            "Exempt numbers",
            "Numbers to which the calling window and the cap of this connection do not apply, such as those "
            "of staff, separated by spaces.",
        ),
        "require_consent": _field(
            "Require consent",
            "Whether nobody is called without a reference to their consent.",
            "boolean",
        ),
    },
}

_OPTIONS = {
    "sql_alchemy_conn": _option(
        "string",
        "",
        "URL of the ledger's database. Every worker, the triggerer and the webhook receiver must open the "
        "same one. Not Airflow's metadata database, which workers cannot reach. Empty: a SQLite file "
        "voiceinfra.db under AIRFLOW_HOME, for a single machine.",
        example="postgresql://user:password@host/voiceinfra",
        sensitive=True,
    ),
    "poll_interval": _option(
        "float",
        "2.0",
        "Seconds between two looks of a waiting process at the ledger; one look serves every call that it "
        "waits for.",
        example="5.0",
    ),
    "allow_unsigned_webhooks": _option(
        "boolean",
        "False",
        "Whether a connection without a webhook secret takes any webhook. Whoever finds the URL can then "
        "make calls look completed; for trials only.",
    ),
    "max_webhook_bytes": _option(
        "integer", "1048576", "Largest body of a webhook, in bytes; a larger one is answered 413."
    ),
    "encrypt_ledger": _option(
        "boolean",
        "True",
        "Whether phone numbers, requests, records and contacts are encrypted in the ledger, with Airflow's "
        "[core] fernet_key if there is one. All that opens the ledger must say the same.",
    ),
    "retention_days": _option(
        "integer",
        "0",
        "Age in days from which `airflow voiceinfra purge` deletes personal data when it is given no age. 0 "
        "sets none; nothing is ever purged by itself.",
        example="90",
    ),
    "calling_window": _option(
        "string",
        "",
        "When people may be called through any connection, where they are. Empty: at any hour. The windows "
        "of the connection and of the task must allow a call as well.",
        example="08:00-20:00",
    ),
    "call_cap": _option(
        "string",
        "",
        "How often one number may be called, over all connections, DAGs and campaigns of the ledger. Empty: "
        "no cap. Those of the connection and of the task must allow a call as well.",
        example="3/24h",
    ),
    "opt_out": _option(
        "string",
        "",
        "Which field of a completion record says that the person must not be called again, whichever the "
        "connection.",
        example="extracted_data.opt_out = true",
    ),
    "exempt_numbers": _option(
        "string",
        "",
        "Numbers to which no calling window and no cap applies, separated by spaces.",
        example="+14155550100 +14155550101",
    ),
    "require_consent": _option(
        "boolean", "False", "Whether nobody is called without a reference to their consent."
    ),
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description in the form of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-voiceinfra",
        "name": _INTEGRATION,
        "description": "AI phone calls as a step of a DAG: placed once, tracked to the end, never twice.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://voiceinfra.ai",
                "tags": ["service"],
            }
        ],
        "connection-types": [_CONNECTION_FORM],
        **{kind: [_modules(kind)] for kind in ("hooks", "operators", "sensors", "triggers")},
        "task-decorators": [
            {"name": f"voiceinfra_{kind}", "class-name": f"{_PACKAGE}.decorators.voiceinfra.{kind}_task"}
            for kind in ("call", "campaign")
        ],
        "extra-links": [f"{_PACKAGE}.links.voiceinfra.VoiceInfraRecordingLink"],
        "cli": [f"{_PACKAGE}.cli.definition.get_commands"],
        "config": {
            "voiceinfra": {
                "description": "Settings of the VoiceInfra provider.",
                "options": _OPTIONS,
            }
        },
    }


def _modules(kind: str) -> dict[str, Any]:
    return {"integration-name": _INTEGRATION, "python-modules": [f"{_PACKAGE}.{kind}.voiceinfra"]}
