"""``VoiceInfraHook``: an Airflow connection becomes a client, and a task of one's own can place calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_provider_voiceinfra import metrics
from airflow_provider_voiceinfra.calls import CompletionRecord, OutboundCall, PlacedCall
from airflow_provider_voiceinfra.connection import CONN_TYPE, DEFAULT_CONN_ID, VoiceInfraConnection
from airflow_provider_voiceinfra.deployment import deployment_rules, open_ledger, read_connection
from airflow_provider_voiceinfra.exceptions import ConfigurationError, InvalidCallError
from airflow_provider_voiceinfra.tasks import arguments
from airflow_provider_voiceinfra.tasks.trial_runs import current_run_id, refuse_in_another_test

if TYPE_CHECKING:
    from airflow_provider_voiceinfra.api.client import ApiClient, VoiceInfraClient
    from airflow_provider_voiceinfra.dialling.placing import CallPlacer
    from airflow_provider_voiceinfra.dialling.rate import AdaptivePace
    from airflow_provider_voiceinfra.ledger.records import CallOrigin
    from airflow_provider_voiceinfra.rules.rule_set import Rules, RuleSet

# A claim is left to its owner for as long as its request may take, all of its patience, since the API may ask
# for one long wait, and this margin for what no timeout bounds, such as looking up a host name, in seconds.
_LEASE_MARGIN = 60.0


@lru_cache(maxsize=64)
def _shared_pace(conn_id: str, calls_per_second: float | None) -> AdaptivePace:
    """Return the pace that all hooks of this process keep together for one connection."""
    from airflow_provider_voiceinfra.dialling.rate import FASTEST, AdaptivePace

    return AdaptivePace(most=calls_per_second, start=calls_per_second or FASTEST)


class VoiceInfraHook(BaseHook):
    """Speaks to VoiceInfra with the API key of an Airflow connection.

    :param voiceinfra_conn_id: id of a connection of the type ``voiceinfra``.
    """

    conn_name_attr = "voiceinfra_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = CONN_TYPE
    hook_name = "VoiceInfra"

    def __init__(self, voiceinfra_conn_id: str = DEFAULT_CONN_ID, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.voiceinfra_conn_id = voiceinfra_conn_id
        self._placers: dict[str, CallPlacer] = {}

    @cached_property
    def connection(self) -> VoiceInfraConnection:
        """The connection's values, checked.

        :raises ConfigurationError: naming the field that is wrong, and the remedy.
        """
        return read_connection(self.voiceinfra_conn_id)

    @cached_property
    def _client(self) -> VoiceInfraClient:
        # requests is loaded when a call is placed, not when a DAG file that names the hook is parsed.
        from airflow_provider_voiceinfra.api.client import VoiceInfraClient

        return VoiceInfraClient(self.connection)

    def get_conn(self) -> ApiClient:
        """Return what asks the API without placing a call; calls are placed by ``place_call`` alone."""
        from airflow_provider_voiceinfra.api.client import ApiClient

        return ApiClient(self.connection)

    def rule_set(self, rules: Mapping[str, Any] | None = None) -> RuleSet:
        """Return all rules that are in force for a call through this connection.

        :param rules: the task's own ``calling_window`` and ``call_cap``, which can only tighten the others.
        :raises InvalidCallError: naming the one that is wrong.
        :raises ConfigurationError: if one of the connection's or the deployment's is.
        """
        from airflow_provider_voiceinfra.rules.rule_set import Rules, RuleSet

        return RuleSet(self._of_deployment, self.connection.rules, Rules.parse(rules or {}))

    @cached_property
    def _of_deployment(self) -> Rules:
        return deployment_rules()

    def placer(
        self,
        *,
        before_send: Callable[[], None] = lambda: None,
        rules: Mapping[str, Any] | None = None,
    ) -> CallPlacer:
        """Return what places calls of this connection through the ledger.

        :param rules: the task's own, see ``rule_set``.
        :param before_send: called before each request; what it raises keeps the request from being sent.
        """
        from airflow_provider_voiceinfra.dialling.guard import Guard
        from airflow_provider_voiceinfra.dialling.placing import CallPlacer
        from airflow_provider_voiceinfra.dialling.retrying import RetryBounds

        bounds = RetryBounds()
        pace = _shared_pace(self.voiceinfra_conn_id, self.connection.max_calls_per_second)

        def wait_for_turn() -> None:
            pace.acquire()
            before_send()

        return CallPlacer(
            open_ledger(),
            self._client,
            conn_id=self.voiceinfra_conn_id,
            account=self.connection.account,
            lease=self.connection.timeout + bounds.patience + _LEASE_MARGIN,
            bounds=bounds,
            before_send=wait_for_turn,
            count=lambda name: metrics.count(name, conn_id=self.voiceinfra_conn_id),
            guard=Guard(self.rule_set(rules)),
        )

    def _placer_by(self, calling_window: Any, call_cap: Any) -> CallPlacer:
        """Return what places calls under such rules; made once: to read them takes as long as a call."""
        key = repr((calling_window, call_cap))
        if key not in self._placers:
            rules = {"calling_window": calling_window, "call_cap": call_cap}
            for name, value in rules.items():
                # A value that came to nothing, as of a template, must not take the limit away.
                if value is not None and arguments.is_nothing(value):
                    raise InvalidCallError(name, "is empty; leave it out if it is not to limit this call")
            self._placers[key] = self.placer(rules=rules)
        return self._placers[key]

    def warn_of_missing_secret(self, log: Any) -> None:
        """Say in the log of a task that places calls if nobody will learn how they go."""
        if not self.connection.webhook_secrets:
            log.warning(
                "Connection %r has no webhook secret, so its webhooks are refused and nobody will learn how "
                "its calls go; `airflow voiceinfra doctor` says what to do.",
                self.voiceinfra_conn_id,
            )

    def place_call(
        self,
        call: OutboundCall,
        *,
        idempotency_key: str | None = None,
        unknown_timeout: float = 900.0,
        on_unknown: str = "fail",
        origin: CallOrigin | None = None,
        calling_window: Any = None,
        call_cap: Any = None,
        timezone: str | None = None,
        region: str | None = None,
        consent: str | None = None,
    ) -> PlacedCall:
        """Place a call, if all rules that are in force allow it now.

        With an idempotency key it goes through the ledger, as the operator's calls do: whatever is retried,
        at most one call is placed for the key. Without one a retry is a new call: **if your
        task is retried, or calls this again after an error, the person is called again.** The ledger keeps
        it all the same, so that its completion is never taken for another call's.

        :param call: the call; ``agent_id`` and ``from_number`` fall back to the connection's.
        :param idempotency_key: what names this call for ever.
        :param unknown_timeout: with a key: how long to wait for the webhook of a call whose answer was lost,
            in seconds.
        :param on_unknown: with a key: ``"fail"`` or ``"redial"`` when that time is over.
        :param origin: which task instance asks, for the ledger.
        :param calling_window: when the person may be called, such as ``"08:00-20:00"``; it can only tighten
            the windows of the connection and of the deployment, as ``call_cap`` can, such as ``"3/24h"``.
        :param timezone: the IANA name of the zone that the person is in; if not set, the number says.
        :param region: where the person is, such as ``US-FL``; if not set, the number says.
        :param consent: what proves that the person agreed to be called, kept with the call.
        :return: the accepted call.
        :raises InvalidCallError: if the request is wrong; nothing was sent.
        :raises ConfigurationError: if the scheduler runs this task in the run of an `airflow tasks test`.
        :raises CallNotAllowedError: if a rule does not allow it; a kind of ``CallNotPlacedError``.
        :raises CallNotPlacedError: if it is certain that nothing rang.
        :raises CallOutcomeUnknownError: if the call may have been placed.
        :raises IdempotencyConflictError: if the key was used before for another request.
        :raises LedgerUnavailableError: if the ledger cannot be written.
        """
        refuse_in_another_test(current_run_id())
        call = self.connection.completed(call)
        recipient = arguments.recipient(timezone, region, consent)
        placer = self._placer_by(calling_window, call_cap)
        if idempotency_key is None:
            return placer.place_without_key(call, origin=origin, recipient=recipient).call
        from airflow_provider_voiceinfra.dialling.outcomes import OnUnknown, UnknownPolicy

        decided = OnUnknown(arguments.one_of("on_unknown", on_unknown, [one.value for one in OnUnknown]))
        policy = UnknownPolicy(arguments.seconds("unknown_timeout", unknown_timeout), decided)
        key = arguments.idempotency_key(idempotency_key)
        return placer.place(key, call, policy, origin=origin, recipient=recipient).call

    def suppress(
        self,
        number: str,
        *,
        reason: str | None = None,
        until: datetime | str | None = None,
        all_connections: bool = False,
    ) -> bool:
        """Have a number called no more: from when this returns, no request to it is sent.

        :param number: in E.164 form.
        :param reason: why, for people.
        :param until: when that ends by itself, an aware moment to come; if not set, never.
        :param all_connections: whether it is for every connection, and not for this one alone.
        :return: whether it is sure that no request is leaving at this moment, either.
        :raises InvalidCallError: if it is no phone number, or ``until`` is no moment to come.
        :raises LedgerUnavailableError: if the ledger cannot be written.
        """
        from airflow_provider_voiceinfra.calls import check_number
        from airflow_provider_voiceinfra.ledger.rules.suppressions import PATIENCE, Suppression

        check_number("number", number)
        ends_at = None if until is None else arguments.moment("until", until)
        if ends_at is not None and ends_at <= datetime.now(timezone.utc):
            raise InvalidCallError("until", f"must be a moment to come, not {ends_at:%Y-%m-%d %H:%M:%S} UTC")
        suppressions = open_ledger().suppressions
        conn_id = None if all_connections else self.voiceinfra_conn_id
        suppressions.add([Suppression(number, conn_id, reason, ends_at=ends_at)])
        return suppressions.await_last_requests([number], patience=PATIENCE)

    def completion(self, call_id: str) -> CompletionRecord | None:
        """Return how a call went, transcript included; ``None`` while that is not known.

        :param call_id: the call.
        """
        entry = open_ledger().completion(call_id)
        return None if entry is None else entry.record()

    def test_connection(self) -> tuple[bool, str]:
        """Check the connection and its API key without placing a call.

        :return: whether calls could be placed, and a sentence for the user.
        """
        from airflow_provider_voiceinfra.hooks.connection_test import judge_with_defaults

        try:
            return judge_with_defaults(self.connection, self.get_conn)
        except ConfigurationError as error:
            # Airflow's Test button makes up an id, which says nothing to anybody.
            message = str(error).removeprefix(f"Connection {self.voiceinfra_conn_id!r}: ")
            return False, message[0].upper() + message[1:]
