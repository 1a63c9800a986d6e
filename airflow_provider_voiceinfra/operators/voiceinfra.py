"""``VoiceInfraOutboundCallOperator``: places a call once, whatever is retried, and can wait for its end."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.configuration import conf

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.connection import DEFAULT_CONN_ID
from airflow_provider_voiceinfra.deployment import origin_of
from airflow_provider_voiceinfra.exceptions import (
    CallNotAllowedError,
    CallNotPlacedError,
)
from airflow_provider_voiceinfra.hooks.voiceinfra import VoiceInfraHook
from airflow_provider_voiceinfra.links.voiceinfra import VoiceInfraRecordingLink
from airflow_provider_voiceinfra.operators.awaiting import AwaitsCompletionMixin
from airflow_provider_voiceinfra.operators.campaign import VoiceInfraCampaignOperator
from airflow_provider_voiceinfra.operators.preview import VoiceInfraCampaignPreviewOperator
from airflow_provider_voiceinfra.operators.purge import VoiceInfraPurgeOperator
from airflow_provider_voiceinfra.tasks import arguments
from airflow_provider_voiceinfra.tasks.authored import AuthoredArgumentsMixin
from airflow_provider_voiceinfra.tasks.identity import TaskIdentity
from airflow_provider_voiceinfra.tasks.limits import RULES, read_limit
from airflow_provider_voiceinfra.tasks.permission import ON_NOT_ALLOWED, skip_or_wait
from airflow_provider_voiceinfra.tasks.results import final_errors_fail_the_task
from airflow_provider_voiceinfra.tasks.template_fields import MaskedNumbersMixin
from airflow_provider_voiceinfra.tasks.trial_runs import check_trial_run
from airflow_provider_voiceinfra.triggers.events import earliest_wake_up, read_event

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_voiceinfra.dialling.outcomes import Pending, Placement, UnknownPolicy

UTC = timezone.utc  # the operator has an argument of that name

__all__ = [
    "VoiceInfraCampaignOperator",
    "VoiceInfraCampaignPreviewOperator",
    "VoiceInfraOutboundCallOperator",
    "VoiceInfraPurgeOperator",
]


class VoiceInfraOutboundCallOperator(
    AwaitsCompletionMixin, AuthoredArgumentsMixin, MaskedNumbersMixin, BaseOperator
):
    """Places a phone call, pushes its ``call_id`` to XCom, and waits for its end if asked to.

    A retry, or a cleared task, takes up the call that exists instead of dialling again. A new DAG run, or
    another ``idempotency_key``, dials anew.

    :param to_number: who is called, in E.164 form such as ``+14155550100`` (templated).
    :param agent_id: the AI agent that talks (templated); if not set, the connection's.
    :param from_number: the caller ID in E.164 form (templated); if not set, the connection's.
    :param first_message: the opening line for this call (templated).
    :param call_context: text added to the agent's system prompt for this call (templated). It is the
        API's ``context``; that word is Airflow's own here.
    :param variables: values for the agent's prompt template (templated).
    :param voiceinfra_conn_id: id of a connection of the type ``voiceinfra`` (templated).
    :param idempotency_key: what names this call (templated); if not set, DAG id, run id, task id and map
        index.
    :param wait_for_completion: whether to wait until the call is over, and return its record.
    :param deferrable: whether to wait in the triggerer, without a worker. If not set,
        ``[operators] default_deferrable``.
    :param completion_timeout: how long to wait for the call's end, in seconds.
    :param poke_interval: without ``deferrable``: seconds between two looks at the ledger.
    :param fail_on_outcomes: with ``wait_for_completion``: outcomes that fail the task, after the record was
        pushed.
    :param include_transcript: whether the record in XCom holds ``transcript``, which is long and personal.
    :param unknown_timeout: how long to wait for the webhook of a call whose answer was lost, in seconds
        after the last request that was sent for it.
    :param on_unknown: what to do then: ``"fail"`` without retry, or ``"redial"``, once.
    :param calling_window: the days and hours at which the person may be called, such as ``"08:00-20:00"``
        (templated); those of the connection and of the deployment must allow it as well.
    :param call_cap: how often the number may be called, such as ``"3/24h"`` (templated); likewise.
    :param timezone: the time zone that the person is in, by its IANA name (templated); if not set, the number
        says.
    :param region: where the person is, such as ``US-FL`` or ``FR`` (templated); if not set, the number says.
    :param consent: what proves that the person agreed to be called, kept with the call (templated).
    :param on_not_allowed: what to do if a rule does not allow the call: ``"fail"`` without retry, ``"skip"``
        the task, or ``"wait"`` in the triggerer until it is allowed, unless the number is suppressed.
    :param not_allowed_timeout: how long to wait at most, in seconds.
    """

    template_fields: Sequence[str] = (
        "to_number",
        "agent_id",
        "from_number",
        "first_message",
        "call_context",
        "variables",
        "voiceinfra_conn_id",
        "idempotency_key",
        "calling_window",
        "call_cap",
        "timezone",
        "region",
        "consent",
    )
    template_fields_renderers = {"variables": "json"}  # noqa: RUF012 # read by Airflow as a plain dict
    must_not_vanish = ("idempotency_key", "fail_on_outcomes", *RULES, "timezone", "region", "consent")
    operator_extra_links = (VoiceInfraRecordingLink(),)
    ui_color = "#cfe8d5"

    def __init__(
        self,
        *,
        to_number: str,
        agent_id: str | None = None,
        from_number: str | None = None,
        first_message: str | None = None,
        call_context: str | None = None,
        variables: Mapping[str, Any] | None = None,
        voiceinfra_conn_id: str = DEFAULT_CONN_ID,
        idempotency_key: str | None = None,
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        completion_timeout: float = 3600.0,
        poke_interval: float = 10.0,
        fail_on_outcomes: Collection[str] | None = ("failed",),
        include_transcript: bool = False,
        unknown_timeout: float = 900.0,
        on_unknown: str = "fail",
        calling_window: Any = None,
        call_cap: Any = None,
        timezone: str | None = None,
        region: str | None = None,
        consent: str | None = None,
        on_not_allowed: str = "fail",
        not_allowed_timeout: float = 86_400.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.to_number = to_number
        self.agent_id = agent_id
        self.from_number = from_number
        self.first_message = first_message
        self.call_context = call_context
        self.variables = variables
        self.voiceinfra_conn_id = voiceinfra_conn_id
        self.idempotency_key = idempotency_key
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.completion_timeout = arguments.seconds("completion_timeout", completion_timeout)
        self.poke_interval = arguments.seconds("poke_interval", poke_interval)
        self.fail_on_outcomes = arguments.outcomes("fail_on_outcomes", fail_on_outcomes) or ()
        self.include_transcript = include_transcript
        self.unknown_timeout = arguments.seconds("unknown_timeout", unknown_timeout)
        self.on_unknown = arguments.one_of("on_unknown", on_unknown, ("fail", "redial"))
        self.calling_window = calling_window
        self.call_cap = call_cap
        self.timezone = timezone
        self.region = region
        self.consent = consent
        self.on_not_allowed = arguments.one_of("on_not_allowed", on_not_allowed, ON_NOT_ALLOWED)
        self.not_allowed_timeout = arguments.seconds("not_allowed_timeout", not_allowed_timeout)
        if wait_for_completion and not self.completion_timeout:
            raise ValueError(
                "completion_timeout must be above 0 with wait_for_completion=True: the call would be placed, "
                "and the task would fail at once"
            )
        self._note_left_out()
        for name in filter(self._is_literal, RULES):
            read_limit(name, getattr(self, name))
        self._killed = False

    def execute(self, context: Context) -> Any:
        """Place the call, or take up the one that exists; wait for its end if asked to."""
        return self._run(context)

    def resume_placing(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Go on after waiting for the webhook of a call whose answer was lost."""
        read_event(event)
        return self._run(context, seen=True)

    def resume_when_allowed(
        self, context: Context, event: Any = None, *, since: str | None = None, seen: bool = False
    ) -> Any:
        """Go on after waiting until a rule allows the call; it is asked again."""
        # A run by ``dag.test()`` hands on the event alone: the time-out counts from now then.
        return self._run(context, seen=seen, since=datetime.fromisoformat(since) if since else None)

    def on_kill(self) -> None:
        """Dial no more; say that a call that was placed goes on, and which one."""
        self._killed = True
        call = f"Call {self._call_id}" if self._call_id else "If a call was placed it"
        self.log.warning("%s goes on: the API cannot cancel a call.", call)

    def _run(self, context: Context, *, seen: bool = False, since: datetime | None = None) -> Any:
        with final_errors_fail_the_task():
            self._refuse_vanished(context)
            for doubt in arguments.doubtful_outcomes("fail_on_outcomes", self.fail_on_outcomes):
                self.log.warning(doubt)
            placement = self._place_or_wait(context, seen=seen, since=since or datetime.now(UTC))
            self._call_id = placement.call.call_id
            self._tell(placement)
            # Pushed before any waiting, so that other tasks and people can find the call meanwhile.
            context["ti"].xcom_push(key="call_id", value=self._call_id)
            return self._wait(context, self._call_id) if self.wait_for_completion else self._call_id

    def _place_or_wait(self, context: Context, *, seen: bool, since: datetime) -> Placement:
        try:
            return self._place(context, seen=seen)
        except CallNotAllowedError as error:
            skip_or_wait(self, error, since=since, seen=seen, method_name="resume_when_allowed")
            raise

    def _place(self, context: Context, *, seen: bool) -> Placement:
        # Loaded in the task's process; a DAG file that names this operator needs neither HTTP nor SQL.
        from airflow_provider_voiceinfra.dialling.outcomes import OnUnknown, Pending, UnknownPolicy

        hook = VoiceInfraHook(self.voiceinfra_conn_id)
        check_trial_run(context["ti"].run_id, hook.connection.base_url, self.log)
        call = hook.connection.completed(self._call())
        hook.warn_of_missing_secret(self.log)
        policy = UnknownPolicy(self.unknown_timeout, OnUnknown(self.on_unknown))
        placer = hook.placer(
            before_send=self._refuse_if_killed, rules={name: getattr(self, name) for name in RULES}
        )
        key, origin = self._key(context), origin_of(context)
        recipient = arguments.recipient(self.timezone, self.region, self.consent)
        if not self.deferrable:
            return placer.place(key, call, policy, origin=origin, recipient=recipient)
        result = placer.step(key, call, policy, origin=origin, recipient=recipient, seen=seen)
        if isinstance(result, Pending):
            self._defer_until_known(result, policy)
        return result

    def _refuse_if_killed(self) -> None:
        # Airflow only tells a task that it is killed, and lets it run for some seconds more.
        if self._killed:
            raise CallNotPlacedError(
                "The task was killed before the call was placed; nobody was called.", code="killed"
            )

    def _call(self) -> OutboundCall:
        arguments.needed("to_number", self.to_number)
        self._refuse_words_for_nothing()
        for name in ("first_message", "call_context"):
            for doubt in arguments.placeholders(name, getattr(self, name)):
                self.log.warning(doubt)
        arguments.mapping("variables", self.variables)
        return OutboundCall(
            to_number=self.to_number,
            agent_id=self.agent_id,
            from_number=self.from_number,
            first_message=self.first_message,
            context=self.call_context,
            variables=self.variables,
        )

    def _key(self, context: Context) -> str:
        if not arguments.is_nothing(self.idempotency_key):
            return arguments.idempotency_key(self.idempotency_key)
        return TaskIdentity.of(context["ti"]).path

    def _tell(self, placement: Placement) -> None:
        entry = placement.entry
        story = {
            "taken_up": f"accepted at {entry.answered_at}, exists already",
            "adopted": f"begun at {entry.claimed_at}, was found by its webhook",
        }.get(placement.how.value)
        if story:
            self.log.info("Call %s, %s; taking it up instead of dialling again.", entry.call_id, story)

    def _defer_until_known(self, pending: Pending, policy: UnknownPolicy) -> NoReturn:
        from airflow_provider_voiceinfra.triggers.voiceinfra import VoiceInfraUnknownCallTrigger

        self.log.warning(
            "It is unknown whether the call was placed; waiting in the triggerer for its webhook until %s.",
            pending.deadline,
        )
        self.defer(
            trigger=VoiceInfraUnknownCallTrigger(
                key_hash=pending.entry.key_hash,
                deadline=pending.deadline.isoformat(),
                window=policy.timeout,
                not_before=earliest_wake_up(),
            ),
            method_name="resume_placing",
        )
