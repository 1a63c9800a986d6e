"""Numbers in rendered template fields: masked, wherever they stand and whatever their form."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_voiceinfra import rendering
from airflow_provider_voiceinfra.rendering import MaskedNumbersMixin


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
    monkeypatch.setattr(rendering, "mask_secret", seen.add)
    Operator(**fields)._do_render_template_fields()
    assert seen == masked
