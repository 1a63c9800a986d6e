"""The audit reads a window as the guard does, whose code it shares no line of, whatever is written."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_voiceinfra.audit.window import closed_in
from airflow_provider_voiceinfra.audit.window_text import read_window
from airflow_provider_voiceinfra.rules.calling_window.place import place_of
from airflow_provider_voiceinfra.rules.calling_window.window import CallingWindow
from airflow_provider_voiceinfra.rules.recipient import Recipient
from tests.rules.calling_window.oracle import Window
from tests.rules.calling_window.test_against_oracle import moments, people, windows


@settings(max_examples=200, deadline=None)
@given(
    window=windows,
    as_text=st.booleans(),
    person=people,
    at=moments,
    seconds=st.integers(0, 299),
)
def test_it_is_open_at_the_same_moments(
    window: Window,
    as_text: bool,
    person: tuple[str, str | None, str | None],
    at: datetime,
    seconds: int,
) -> None:
    number, zone, region = person
    place = place_of(number, Recipient(zone, region))
    real = CallingWindow.parse(str(window) if as_text else window.mappings())
    ours = read_window(real.spec)
    for hour in range(0, 48, 3):
        moment = at + timedelta(hours=hour, seconds=seconds, milliseconds=seconds)
        if place.zones or ours.timezone:
            is_open = not closed_in(ours, moment, place.regions, place.zones or ())
            assert is_open is real.is_open(moment, place), (moment, place)
