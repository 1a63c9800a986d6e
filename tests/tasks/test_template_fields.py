"""Numbers in rendered template fields: masked, wherever they stand and whatever their form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from airflow.sdk.execution_time.task_runner import _serialize_rendered_fields

from airflow_provider_voiceinfra.exceptions import ContactsError
from airflow_provider_voiceinfra.operators.campaign import VoiceInfraCampaignOperator
from airflow_provider_voiceinfra.tasks import template_fields
from airflow_provider_voiceinfra.tasks.template_fields import (
    Hidden,
    MaskedNumbersMixin,
    check_list_or_location,
)


class Fields:
    """Stands in for an operator whose fields have just been rendered."""

    template_fields = ("to_number", "match", "variables", "first_message")

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def _do_render_template_fields(self) -> None:
        return None


class Operator(MaskedNumbersMixin, Fields):
    """An operator with masked numbers."""


@pytest.mark.parametrize(
    ("fields", "masked"),
    [
        ({"to_number": "+14155550100"}, {"+14155550100"}),
        ({"to_number": "14155550100"}, {"14155550100"}),
        ({"to_number": "(415) 555-0100"}, {"(415) 555-0100"}),
        ({"match": {"to_number": "415-555-0100"}}, {"415-555-0100"}),
        ({"variables": {"callers": [{"+14155550100": 3}]}}, {"+14155550100"}),
        ({"first_message": "Call +14155550100."}, {"+14155550100"}),
        ({"to_number": "nobody", "first_message": "At 8 on 2026-03-01 10:00"}, set()),
    ],
)
def test_numbers_are_masked(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], masked: set[str]
) -> None:
    seen: set[str] = set()
    monkeypatch.setattr(template_fields, "mask_secret", seen.add)
    Operator(**fields)._do_render_template_fields()
    assert seen == masked


# Fields that hold many numbers.


NUMBER = "+14155550100"


class Rows(Sequence[Any]):
    """Stands in for the outputs of a mapped task, which are fetched one by one."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: Any) -> Any:
        return [{"to_number": NUMBER}, {"to_number": "+14155550101"}][index]


def rendered(**fields: Any) -> VoiceInfraCampaignOperator:
    operator = VoiceInfraCampaignOperator(task_id="call", **{"contacts": [], **fields})
    operator.render_template_fields({})
    return operator


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ([{"to_number": NUMBER}], "1 rows, not shown"),
        (({"to_number": NUMBER},) * 3, "3 rows, not shown"),
        ([], "0 rows, not shown"),
        ({NUMBER, "+14155550101"}, "2 rows, not shown"),
        (frozenset({NUMBER}), "1 rows, not shown"),
        (Rows(), "2 rows, not shown"),
        ({"to_number": NUMBER}, "dict, not shown"),
        (NUMBER.encode(), "bytes, not shown"),
        (f"[{{'to_number': '{NUMBER}'}}]", "str, not shown"),
        (f'{{"to_number": "{NUMBER}"}}', "str, not shown"),
        (f"{NUMBER}\n+14155550101", "str, not shown"),
    ],
)
@pytest.mark.parametrize("name", ["contacts", "do_not_call"])
def test_what_airflow_stores_of_many_numbers_is_how_many_there_are(name: str, value: Any, shown: str) -> None:
    stored = _serialize_rendered_fields(rendered(**{name: value}))
    assert stored[name] == shown


def test_a_path_is_shown_as_it_is_and_a_number_in_its_place_is_masked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: set[str] = set()
    monkeypatch.setattr(template_fields, "mask_secret", seen.add)
    operator = rendered(contacts="s3://lists/today.csv", do_not_call=NUMBER)
    assert operator.contacts == "s3://lists/today.csv"
    assert seen == {NUMBER}


def test_hidden_rows_are_read_like_any_list() -> None:
    rows = [{"to_number": NUMBER}, {"to_number": "+14155550101"}]
    hidden = Hidden(rows)
    assert list(hidden) == rows
    assert (hidden[1], hidden[-1:], len(hidden)) == (rows[1], rows[1:], 2)
    assert set(Hidden({1, 2})) == {1, 2}
    assert list(Hidden(Rows())) == list(Rows())


def test_rendering_twice_hides_once() -> None:
    operator = rendered(contacts=[{"to_number": "{{ 1 }}"}])
    operator._do_render_template_fields(operator, ["campaign_id"], {}, operator.get_template_env(), set())
    assert list(operator.contacts) == [{"to_number": "1"}]


@pytest.mark.parametrize("value", [[], (), Rows(), Hidden([1]), "s3://lists/today.csv", "/lists/a.csv", None])
def test_lists_and_locations_are_taken(value: Any) -> None:
    check_list_or_location("contacts", value)


@pytest.mark.parametrize("hide", [lambda value: value, Hidden], ids=["as given", "as rendered"])
@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("[{'to_number': '+14155550100'}]", "is a list written out as text.*render_template_as_native_obj"),
        ("to_number\n+14155550100\n", "is a list written out as text"),
        ({"to_number": NUMBER}, "must be a list, or the path or URL of a file, not dict"),
        (b"+14155550100", "must be a list, or the path or URL of a file, not bytes"),
    ],
)
def test_what_is_neither_is_refused_without_being_shown(hide: Any, value: Any, says: str) -> None:
    with pytest.raises(ContactsError, match=f"contacts: {says}") as caught:
        check_list_or_location("contacts", hide(value))
    assert NUMBER not in str(caught.value)
