"""``VoiceInfraCampaignPreviewOperator``: what a campaign would do, for a person to look at; calls nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_voiceinfra.deployment import deployment_rules, open_ledger
from airflow_provider_voiceinfra.hooks.voiceinfra import VoiceInfraHook
from airflow_provider_voiceinfra.operators.campaign import VoiceInfraCampaignOperator
from airflow_provider_voiceinfra.tasks import arguments

if TYPE_CHECKING:
    from airflow.sdk import Context


class VoiceInfraCampaignPreviewOperator(VoiceInfraCampaignOperator):
    """Reads and checks everything that a campaign is given, and returns what it would do; nobody is called.

    It takes the arguments of ``VoiceInfraCampaignOperator``, so that both can be given the same.

    :param samples: how many opening lines to return as they would be spoken; they may be personal. 0 for
        none.
    :param call_seconds: how long a call takes on average, in seconds, for the expected duration.
    :return: counts of contacts to call and left out by reason, the first rows that are left out, opening
        lines, when people can be called by zone, lines, rate, expected minutes; and all of it under
        ``text``, in Markdown.
    :raises ContactsError: if the contacts as a whole would be refused.
    """

    def __init__(self, *, samples: int = 3, call_seconds: float = 60.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(samples, int) or samples < 0:
            raise ValueError(f"samples must be a whole number from 0 on, not {samples!r}")
        self.samples = samples
        self.call_seconds = arguments.seconds("call_seconds", call_seconds)

    def on_kill(self) -> None:
        """Do nothing: nobody is called."""

    def _run(self, context: Context, *, resumed: bool) -> Any:
        # Loaded in the task's process; a DAG file that names this operator needs neither HTTP nor SQL.
        from airflow_provider_voiceinfra.campaigns.preview import CampaignPreview, in_markdown
        from airflow_provider_voiceinfra.dialling.clocks import utc_now
        from airflow_provider_voiceinfra.dialling.guard import Guard
        from airflow_provider_voiceinfra.rules.rule_set import RuleSet

        hook, setup = VoiceInfraHook(self.voiceinfra_conn_id), self._campaign_setup(context)
        guard = Guard(RuleSet(deployment_rules(), hook.connection.rules, setup.plan.rules))
        preview = CampaignPreview(setup, hook.connection, guard, utc_now(), self.samples)
        preview.read(open_ledger(), utc_now)
        summary = preview.summary(self.call_seconds)
        self.log.info(
            "%d contacts would be called, %d of them now. Nobody was called: this is a preview.",
            summary["contacts"],
            summary["open_now"],
        )
        return {**summary, "text": in_markdown(summary)}
