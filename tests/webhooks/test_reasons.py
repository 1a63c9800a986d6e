"""Reasons are stored as short codes and shown as words; one that nobody knows is shown as it is."""

from __future__ import annotations

import pickle

import pytest

from airflow_provider_voiceinfra.webhooks.reasons import (
    KeptReason,
    RejectionReason,
    UnusableRecordError,
    in_words,
)


@pytest.mark.parametrize("reason", [*RejectionReason, *KeptReason])
def test_every_code_is_short_and_has_words(reason: RejectionReason | KeptReason) -> None:
    assert reason.value.replace("_", "").isalpha()
    assert len(reason.value) < 30
    assert " " in reason.words
    assert in_words(reason.value) == reason.words


def test_detail_follows_the_words() -> None:
    assert in_words("unforeseen_value:TypeError") == "its values cannot be recorded: TypeError"
    assert in_words("unknown_connection:'a: {b}'").endswith("of type voiceinfra: 'a: {b}'")


@pytest.mark.parametrize("text", ["", "another_code", "a sentence: of another version", ":", "x:y"])
def test_what_nobody_knows_is_shown_as_it_is(text: str) -> None:
    assert in_words(text) == text


def test_error_of_a_body_says_its_reason_in_words_wherever_it_is_raised() -> None:
    error = pickle.loads(pickle.dumps(UnusableRecordError(KeptReason.NOT_JSON)))
    assert str(error) == "the body is not JSON"
    assert error.reason is KeptReason.NOT_JSON
