"""Parts of pages that keep themselves up to date leave alone what somebody looks at or has moved to."""

from __future__ import annotations

import re
from importlib import resources

import pytest

TEMPLATES = resources.files("airflow_provider_voiceinfra.web") / "templates"
POLLING = sorted(one.name for one in TEMPLATES.iterdir() if 'hx-trigger="every' in one.read_text())


def test_there_are_such_parts() -> None:
    assert POLLING == ["_campaign.html", "_campaigns.html", "_run.html"]


@pytest.mark.parametrize("name", POLLING)
def test_only_what_is_new_in_them_is_changed(name: str) -> None:
    for attributes in re.findall(r'hx-get="[^>]*hx-trigger="every[^>]*', (TEMPLATES / name).read_text()):
        assert 'hx-ext="morph"' in attributes
        assert 'hx-swap="morph:outerHTML"' in attributes
    assert "static/idiomorph-ext.min.js" in (TEMPLATES / name.removeprefix("_")).read_text()
