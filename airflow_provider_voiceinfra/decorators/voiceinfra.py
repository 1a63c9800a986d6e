"""``@task.voiceinfra_call`` and ``@task.voiceinfra_campaign``: a function says who is called, and with what.

The function runs before anybody is called: that of a call in each try, and whenever the task goes on with an
unknown call; that of a campaign whenever the contacts are to be read. What it has returned is not kept, since
it is personal.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Sized
from dataclasses import fields
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.decorator import DecoratedOperator, determine_kwargs, task_decorator_factory
from airflow.sdk.definitions._internal.types import SET_DURING_EXECUTION
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.exceptions import ContactsError, InvalidCallError
from airflow_provider_voiceinfra.masking import is_phone_number, quoted
from airflow_provider_voiceinfra.operators.campaign import VoiceInfraCampaignOperator
from airflow_provider_voiceinfra.operators.voiceinfra import VoiceInfraOutboundCallOperator
from airflow_provider_voiceinfra.tasks import arguments
from airflow_provider_voiceinfra.tasks.results import final_errors_fail_the_task
from airflow_provider_voiceinfra.tasks.template_fields import (
    check_list_or_location,
    hidden,
    mask_numbers_of,
)

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
    "timezone",
    "region",
    "consent",
)
"""What the function of a call may return, under the names of the operator's arguments.

Neither a limit nor the key: what they are must be the same in each try, and be seen in the DAG file.
"""
_NOT_EMPTY = ("timezone", "region", "consent")


class _DecoratedMixin(DecoratedOperator):
    """Asks a function for one argument of an operator; comes before the operator in its bases.

    What the function is given is hidden from Airflow's page of rendered templates, since it may be personal.
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

    def _hide_rows(self) -> None:
        super()._hide_rows()  # type: ignore[misc]  # the operator's
        self._passed_on = list(self.op_args), dict(self.op_kwargs)
        self.op_args = [hidden(value) for value in self.op_args]
        self.op_kwargs = {name: hidden(value) for name, value in self.op_kwargs.items()}
        given = [*self.op_args, *self.op_kwargs.values()]
        # In whatever form: of a function's own arguments nobody knows which is a number.
        mask_numbers_of(
            {"to_number": [one for one in given if isinstance(one, str) and is_phone_number(one)]}
        )

    def _returned(self, context: Context) -> Any:
        """Return what the function returns."""
        args, kwargs = getattr(self, "_passed_on", (self.op_args, self.op_kwargs))
        given: Any = {**context, **kwargs}
        return self.python_callable(*args, **determine_kwargs(self.python_callable, args, given))


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

    def _run(self, context: Context, *, seen: bool = False, **options: Any) -> Any:
        try:
            returned = self._returned(context)
        except AirflowSkipException as error:
            if not seen:
                raise
            raise AirflowFailException(
                "The function skips the task, but the outcome of its call is unknown: somebody may have been "
                "called. Clear the task to look again."
            ) from error
        with final_errors_fail_the_task():
            values = _call_fields(returned)
            mask_numbers_of(values)
            for name, value in values.items():
                setattr(self, name, value)
        return super()._run(context, seen=seen, **options)


class DecoratedCampaignOperator(_DecoratedMixin, VoiceInfraCampaignOperator):
    """Calls the contacts that a function returns; all else is that of ``VoiceInfraCampaignOperator``.

    :param python_callable: returns what the operator takes as ``contacts``: a list of mappings, or the path
        or URL of a file. It runs in each try, but not again after a pause.
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

    def _run(self, context: Context, *, resumed: bool) -> Any:
        # A campaign that has its contacts reads none: whatever the function would say, it goes on.
        self.contacts = partial(self._contacts, context)
        return super()._run(context, resumed=resumed)

    def _contacts(self, context: Context) -> Any:
        returned = self._returned(context)
        if arguments.is_nothing(returned) and not isinstance(returned, Sized):
            raise ContactsError(
                "contacts: the function returned nothing. Return a list, or the path of a file"
            )
        check_list_or_location("contacts", returned)
        return returned


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


def _checked(kwargs: Mapping[str, Any]) -> None:
    if "multiple_outputs" in kwargs:
        raise TypeError("multiple_outputs: the task returns one value; a task after it can take it apart")


def _task(function: Callable[..., Any] | None, operator: type, kwargs: dict[str, Any]) -> TaskDecorator:
    _checked(kwargs)
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
    for name in _NOT_EMPTY:
        if name in returned and arguments.is_nothing(returned[name]):
            rule = "is empty in what the function returned. Leave it out there if there is none"
            raise InvalidCallError(name, f"{rule}. Nobody was called")
    return {name: value for name, value in returned.items() if value is not None or name == "to_number"}
