"""``VoiceInfraCampaignOperator``: calls many contacts, each in calling hours, over few lines; resumable."""

from __future__ import annotations

import shlex
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_voiceinfra.connection import DEFAULT_CONN_ID
from airflow_provider_voiceinfra.deployment import deployment_rules, open_ledger, origin_of
from airflow_provider_voiceinfra.exceptions import VoiceInfraError
from airflow_provider_voiceinfra.hooks.voiceinfra import VoiceInfraHook
from airflow_provider_voiceinfra.masking import mask_numbers_in
from airflow_provider_voiceinfra.tasks import arguments
from airflow_provider_voiceinfra.tasks.authored import AuthoredArgumentsMixin
from airflow_provider_voiceinfra.tasks.limits import LIMITS, RULES, read_limit
from airflow_provider_voiceinfra.tasks.results import final_errors_fail_the_task
from airflow_provider_voiceinfra.tasks.template_fields import (
    MaskedNumbersMixin,
    check_list_or_location,
    check_location,
)
from airflow_provider_voiceinfra.tasks.trial_runs import check_trial_run
from airflow_provider_voiceinfra.triggers.events import earliest_wake_up

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_voiceinfra.campaigns.campaign import CampaignExecution
    from airflow_provider_voiceinfra.campaigns.engine.runner import Pause
    from airflow_provider_voiceinfra.campaigns.plan import CampaignSetup
    from airflow_provider_voiceinfra.campaigns.progress import Progress

# How often the log says how far the campaign is, in seconds.
_PROGRESS_INTERVAL = 30.0


class VoiceInfraCampaignOperator(AuthoredArgumentsMixin, MaskedNumbersMixin, BaseOperator):
    """Calls every contact of a list, and returns a summary.

    A killed, retried or cleared campaign goes on where it was: nobody is called twice for one attempt, and
    nobody is forgotten. The same ``campaign_id`` in a later run continues it with the contacts of that run.

    :param contacts: a list of mappings, or the path or URL of a ``.csv`` or ``.jsonl`` file, optionally with
        ``.gz``, that Airflow's ``ObjectStoragePath`` can read (templated).
    :param campaign_id: what names the campaign (templated); if not set, the task instance does.
    :param agent_id: the AI agent that talks (templated): a contact's own, else this, else the connection's.
    :param from_number: the caller ID, or a list, of which a contact sees that of their area (templated).
    :param first_message: the opening line (templated), which may hold ``{column}`` placeholders; likewise.
    :param call_context: text added to the agent's system prompt (templated), which may hold ``{column}``
        placeholders. It is the API's ``context``, and so is the contact's own column.
    :param variables: values for the agent's prompt template (templated); a contact's columns go before.
    :param voiceinfra_conn_id: id of a connection of the type ``voiceinfra`` (templated).
    :param contact_key: the column that identifies a contact.
    :param columns: columns that the contacts call otherwise, such as ``{"to_number": "Phone Number"}``
        (templated); the new names are those of variables and placeholders, too. If not set, none.
    :param max_active_calls: calls placed and not yet over, at most (templated).
    :param max_calls_per_second: never dial faster (templated); if not set, the connection's, and without that
        as fast as the API's 429 answers allow.
    :param calling_window: the days and hours at which people may be called, such as
        ``"mon-fri 09:00-20:00; sat 10:00-16:00"``, where they live or in a zone named at the end (templated).
        If not set, at any hour. Those of the connection and of the deployment must allow a call as well.
    :param call_cap: how often one number may be called, by whomever, such as ``"3/24h"`` (templated).
    :param redial: whom to call again, such as ``{"outcomes": ["voicemail", "failed"], "waits": [30, 60],
        "attempts": 3}``, the waits in minutes (templated). If not set, nobody.
    :param do_not_call: numbers that must not be called, or the path or URL of a file of them (templated).
    :param deadline: nobody is dialled at or after this moment, a datetime or ISO 8601 with an offset
        (templated); who was never called by then is ``expired``. If not set, there is none.
    :param completion_timeout: how long a call holds its line without a completion record, in seconds.
    :param unknown_timeout: how long to wait for the webhook of a call whose answer was lost, in seconds.
    :param results_path: a path or URL where one line for each contact is written, ``.csv`` or ``.jsonl``,
        optionally with ``.gz`` (templated). If not set, none is.
    :param invalid_contacts: ``"skip"`` leaves invalid rows out and reports them; ``"fail"`` calls nobody
        then.
    :param default_region: the country of numbers without a country code, such as ``US`` (templated).
    :param deferrable: whether to wait in the triggerer, without a worker, while nothing is to be dialled
        for a minute or longer. If not set, ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = (
        "contacts",
        "campaign_id",
        "agent_id",
        "from_number",
        "first_message",
        "call_context",
        "variables",
        "voiceinfra_conn_id",
        "columns",
        "max_active_calls",
        "max_calls_per_second",
        *RULES,
        "redial",
        "do_not_call",
        "deadline",
        "results_path",
        "default_region",
    )
    template_fields_renderers = {"variables": "json"}  # noqa: RUF012 # read by Airflow as a plain dict
    hidden_fields = frozenset({"contacts", "do_not_call"})
    must_not_vanish = (
        "campaign_id",
        "max_calls_per_second",
        *RULES,
        "redial",
        "do_not_call",
        "deadline",
        "results_path",
    )
    ui_color = "#cfe8d5"

    def __init__(
        self,
        *,
        contacts: Any,
        campaign_id: str | None = None,
        agent_id: str | None = None,
        from_number: str | Sequence[str] | None = None,
        first_message: str | None = None,
        call_context: str | None = None,
        variables: Mapping[str, Any] | None = None,
        voiceinfra_conn_id: str = DEFAULT_CONN_ID,
        contact_key: str = "to_number",
        columns: Mapping[str, str] | None = None,
        max_active_calls: int | str = 10,
        max_calls_per_second: float | str | None = None,
        calling_window: Any = None,
        call_cap: Any = None,
        redial: Mapping[str, Any] | str | None = None,
        do_not_call: Collection[str] | str | None = None,
        deadline: datetime | str | None = None,
        completion_timeout: float = 3600.0,
        unknown_timeout: float = 900.0,
        results_path: str | None = None,
        invalid_contacts: str = "skip",
        default_region: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.contacts = contacts
        self.campaign_id = campaign_id
        self.agent_id = agent_id
        self.from_number = from_number
        self.first_message = first_message
        self.call_context = call_context
        self.variables = variables
        self.voiceinfra_conn_id = voiceinfra_conn_id
        self.contact_key = contact_key
        self.columns = columns
        self.max_active_calls = max_active_calls
        self.max_calls_per_second = max_calls_per_second
        self.calling_window = calling_window
        self.call_cap = call_cap
        self.redial = redial
        self.do_not_call = do_not_call
        self.deadline = deadline
        self.completion_timeout = arguments.seconds("completion_timeout", completion_timeout)
        self.unknown_timeout = arguments.seconds("unknown_timeout", unknown_timeout)
        self.results_path = results_path
        self.invalid_contacts = arguments.one_of("invalid_contacts", invalid_contacts, ("skip", "fail"))
        self.default_region = default_region
        self.deferrable = deferrable
        self._note_left_out()
        for name in filter(self._is_literal, LIMITS):
            read_limit(name, getattr(self, name))
        self._execution: CampaignExecution | None = None
        self._told_at, self._killed = 0.0, False

    def execute(self, context: Context) -> Any:
        """Run the campaign, or go on with it."""
        with final_errors_fail_the_task():
            return self._run(context, resumed=False)

    def resume(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Go on after having slept."""
        with final_errors_fail_the_task():
            return self._run(context, resumed=True)

    def on_kill(self) -> None:
        """Dial nobody else; say that the calls under way go on."""
        self.log.warning("Nobody else is dialled; calls under way go on: the API cannot cancel a call.")
        self._killed = True
        if self._execution is not None:
            self._execution.stop()

    def _run(self, context: Context, *, resumed: bool) -> Any:
        # Loaded in the task's process; a DAG file that names this operator needs neither HTTP nor SQL.
        from airflow_provider_voiceinfra.campaigns.campaign import CampaignExecution
        from airflow_provider_voiceinfra.campaigns.engine.runner import End, Pause
        from airflow_provider_voiceinfra.campaigns.reporting.status import summary_in_words

        hook = VoiceInfraHook(self.voiceinfra_conn_id)
        check_trial_run(context["ti"].run_id, hook.connection.base_url, self.log)
        setup = self._campaign_setup(context)
        self._execution = CampaignExecution(
            setup,
            hook.connection,
            open_ledger(),
            resumed=resumed,
            may_pause=self.deferrable,
            report=self._report_progress,
            deployment=deployment_rules(),
        )
        hook.warn_of_missing_secret(self.log)
        if self._killed:  # before there was anything to stop
            self._execution.stop()
        result = self._execution.run()
        if isinstance(result, Pause):
            self._sleep(setup.plan.campaign_id, result)
        end, summary = result
        if end is End.STOPPED:
            raise VoiceInfraError("The task was killed. Nobody is forgotten: a retry goes on where it was.")
        campaign_id = mask_numbers_in(setup.plan.campaign_id)
        self.log.info("Campaign %r is over: %s.", campaign_id, summary_in_words(summary))
        if end is End.CANCELLED:
            # A failed task returns nothing, but whoever looks into it wants to know how far it got.
            context["ti"].xcom_push(key="return_value", value=summary)
            raise AirflowFailException(
                "The campaign was cancelled; its summary is in XCom. To go on with it, run `airflow "
                f"voiceinfra campaign {shlex.quote(campaign_id)} --resume` and clear this task."
            )
        return summary

    def _campaign_setup(self, context: Context) -> CampaignSetup:
        """Check what was passed, before anybody is called."""
        from airflow_provider_voiceinfra.campaigns.contacts.text_files import check_storage
        from airflow_provider_voiceinfra.campaigns.plan import CampaignPlan, CampaignSetup

        arguments.needed("contacts", self.contacts)
        for name in sorted(self.hidden_fields):
            check_list_or_location(name, getattr(self, name))
        check_location("results_path", self._given("results_path"))
        self._refuse_vanished(context)
        self._refuse_words_for_nothing()
        for name in ("variables", "columns"):
            arguments.mapping(name, getattr(self, name))
        for name in ("contacts", "do_not_call", "results_path"):
            check_storage(name, getattr(self, name))
        ti = context["ti"]
        limits = {name: read_limit(name, getattr(self, name)) for name in LIMITS}
        plan = CampaignPlan(
            campaign_id=arguments.campaign_id(self.campaign_id, ti),
            max_active_calls=limits["max_active_calls"],
            window=limits["calling_window"],
            call_caps=limits["call_cap"] or (),
            redial=limits["redial"],
            deadline=limits["deadline"],
            completion_timeout=timedelta(seconds=self.completion_timeout),
            unknown_timeout=timedelta(seconds=self.unknown_timeout),
        )
        return CampaignSetup(
            plan=plan,
            origin=origin_of(context),
            conn_id=self.voiceinfra_conn_id,
            contacts=self.contacts,
            reading=self._reading(),
            refuse_invalid=self.invalid_contacts == "fail",
            max_calls_per_second=limits["max_calls_per_second"],
            results_path=self._given("results_path"),
        )

    def _given(self, name: str) -> Any:
        """Return an argument; ``None`` if it is left out."""
        value = getattr(self, name)
        return None if arguments.is_nothing(value) else value

    def _reading(self) -> dict[str, Any]:
        names = ["agent_id", "from_number", "first_message", "variables", "default_region", "contact_key"]
        options = {name: getattr(self, name) for name in [*names, "columns"]}
        return {**options, "context": self.call_context, "do_not_call": self._given("do_not_call")}

    def _sleep(self, campaign_id: str, pause: Pause) -> NoReturn:
        # Triggers are loaded by a task that waits, not by each DAG file that is parsed.
        from airflow_provider_voiceinfra.triggers.campaign import VoiceInfraCampaignTrigger

        self.log.info("Nobody is to be dialled before %s; waiting in the triggerer.", pause.until)
        self.defer(
            trigger=VoiceInfraCampaignTrigger(
                campaign_id=campaign_id,
                deadline=pause.until.isoformat(),
                calls=pause.calls,
                not_before=earliest_wake_up(),
            ),
            method_name="resume",
        )

    def _report_progress(self, progress: Progress) -> None:
        from airflow_provider_voiceinfra.campaigns.reporting.status import progress_in_words

        if time.monotonic() - self._told_at < _PROGRESS_INTERVAL:
            return
        self._told_at = time.monotonic()
        self.log.info("%s", progress_in_words(progress))
