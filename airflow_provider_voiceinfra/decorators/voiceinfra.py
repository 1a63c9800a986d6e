"""``@task.voiceinfra_call`` and ``@task.voiceinfra_campaign``: a function says who is called, and with what.

The function runs before anybody is called, and again whenever the task goes on: in a retry, and after it has
waited in the triggerer. What it has returned is not kept, since it is personal.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.decorator import DecoratedOperator, determine_kwargs, task_decorator_factory
from airflow.sdk.definitions._internal.types import SET_DURING_EXECUTION
from airflow.sdk.definitions.context import context_merge

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.exceptions import InvalidCallError
from airflow_provider_voiceinfra.masking import quoted
from airflow_provider_voiceinfra.operators.campaign import VoiceInfraCampaignOperator
from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraOutboundCallOperator
from airflow_provider_voiceinfra.tasks.results import final_errors_fail_the_task
from airflow_provider_voiceinfra.tasks.template_fields import mask_numbers_of

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.bases.decorator import TaskDecorator

CALL_FIELDS = (
    "to_number",
    "agent_id",
    "from_number",
    "first_message",
    "call_context",
    "variables",
    "idempotency_key",
    "timezone",
    "region",
    "consent",
)
"""What the function of a call may return, under the names of the operator's arguments."""


class _DecoratedMixin(DecoratedOperator):
    """Asks a function for one argument of an operator, whenever the operator's task begins or goes on.

    It comes before the operator in the order of inheritance.
    """

    from_function: str
    """The argument that the function returns."""

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if self.from_function in kwargs:
            raise TypeError(f"{self.from_function}: comes from the function; leave it out of the decorator")
        if iscoroutinefunction(python_callable):
            raise TypeError(f"{python_callable.__name__}: must be a plain function, not an async one")
        kwargs |= {self.from_function: SET_DURING_EXECUTION}
        super().__init__(python_callable=python_callable, op_args=op_args, op_kwargs=op_kwargs, **kwargs)

    def _run(self, context: Context, **options: Any) -> Any:
        returned = self._returned(context)
        with final_errors_fail_the_task():
            self._take(returned)
        return super()._run(context, **options)  # type: ignore[misc]  # the operator's

    def _returned(self, context: Context) -> Any:
        context_merge(context, self.op_kwargs)
        kwargs = determine_kwargs(self.python_callable, self.op_args, context)
        return self.python_callable(*self.op_args, **kwargs)

    def _take(self, returned: Any) -> None:
        raise NotImplementedError


class DecoratedCallOperator(_DecoratedMixin, VoiceInfraOutboundCallOperator):
    """Calls whom a function names; every other argument is that of ``VoiceInfraOutboundCallOperator``.

    :param python_callable: returns a phone number in E.164 form, a mapping of ``CALL_FIELDS``, or an
        ``OutboundCall``. What it returns goes before what the decorator says.
    :param op_args: the function's positional arguments (templated).
    :param op_kwargs: its keyword arguments (templated).
    :raises InvalidCallError: if it returns something else; nobody is called then.
    """

    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *VoiceInfraOutboundCallOperator.template_fields,
    )
    template_fields_renderers = {  # noqa: RUF012 # read by Airflow as a plain dict
        **DecoratedOperator.template_fields_renderers,
        **VoiceInfraOutboundCallOperator.template_fields_renderers,
    }
    custom_operator_name = "@task.voiceinfra_call"
    from_function = "to_number"

    def _take(self, returned: Any) -> None:
        values = _call_fields(returned)
        mask_numbers_of(values)
        for name, value in values.items():
            setattr(self, name, value)


class DecoratedCampaignOperator(_DecoratedMixin, VoiceInfraCampaignOperator):
    """Calls the contacts that a function returns; all else is that of ``VoiceInfraCampaignOperator``.

    :param python_callable: returns what the operator takes as ``contacts``: a list of mappings, or the path
        or URL of a file. For a long list return the path of a file: the function runs again after each pause.
    :param op_args: the function's positional arguments (templated).
    :param op_kwargs: its keyword arguments (templated).
    """

    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *VoiceInfraCampaignOperator.template_fields,
    )
    template_fields_renderers = {  # noqa: RUF012 # read by Airflow as a plain dict
        **DecoratedOperator.template_fields_renderers,
        **VoiceInfraCampaignOperator.template_fields_renderers,
    }
    custom_operator_name = "@task.voiceinfra_campaign"
    from_function = "contacts"

    def _take(self, returned: Any) -> None:
        self.contacts = returned


def call_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """Make a task of a function that returns whom to call.

    :param python_callable: see ``DecoratedCallOperator``.
    :param kwargs: the operator's other arguments.
    """
    return _task(python_callable, DecoratedCallOperator, kwargs)


def campaign_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """Make a task of a function that returns the contacts of a campaign.

    :param python_callable: see ``DecoratedCampaignOperator``.
    :param kwargs: the operator's other arguments.
    """
    return _task(python_callable, DecoratedCampaignOperator, kwargs)


def _task(function: Callable[..., Any] | None, operator: type, kwargs: dict[str, Any]) -> TaskDecorator:
    # What the task returns is not what the function returns, whatever the function says of that.
    return task_decorator_factory(
        python_callable=function, multiple_outputs=False, decorated_operator_class=operator, **kwargs
    )


def _call_fields(returned: Any) -> dict[str, Any]:
    """Return what a function says of a call, by the names of the operator's arguments."""
    if isinstance(returned, str):
        return {"to_number": returned}
    if isinstance(returned, OutboundCall):
        names = {
            field.name: "call_context" if field.name == "context" else field.name
            for field in fields(returned)
        }
        values = {ours: getattr(returned, name) for name, ours in names.items()}
        return {name: value for name, value in values.items() if value is not None}
    if not isinstance(returned, Mapping):
        raise InvalidCallError(
            "to_number",
            f"the function returned {type(returned).__name__}. Return a phone number, a mapping with "
            "to_number, or an OutboundCall. Nobody was called",
        )
    for name in returned:
        if name not in CALL_FIELDS:
            raise InvalidCallError(
                quoted(str(name)),
                f"is nothing that the function can return of a call; that is {', '.join(CALL_FIELDS)}. "
                "Nobody was called",
            )
    if "to_number" not in returned:
        raise InvalidCallError("to_number", "is missing in what the function returned. Nobody was called")
    return dict(returned)
