"""Transcripts in every form that the API, or a later version of it, may write."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_voiceinfra.web.pages.call.conversation import (
    MOST_TURNS,
    Turn,
    conversation,
)


def test_lines_with_speakers_are_turns() -> None:
    assert conversation("Agent: Good morning.\nCaller: Hello.\r\nAgent: Goodbye.") == [
        Turn("Good morning.", "Agent", "agent"),
        Turn("Hello.", "Caller", "caller"),
        Turn("Goodbye.", "Agent", "agent"),
    ]


def test_line_without_a_speaker_goes_on_with_what_was_being_said() -> None:
    [turn, answer] = conversation("Agent: One.\nTwo.\n\nNote: three.\nCaller: Yes.")
    assert turn == Turn("One.\nTwo.\n\nNote: three.", "Agent", "agent")
    assert answer.text == "Yes."


def test_what_stands_before_the_first_speaker_is_shown_as_nobodys() -> None:
    assert conversation("Connected.\nAgent: Hello.")[0] == Turn("Connected.", None, "other")


@pytest.mark.parametrize(
    ("label", "who", "side"),
    [
        ("agent:", "agent", "agent"),
        ("AI Agent :", "AI Agent", "agent"),
        ("Assistant:", "Assistant", "agent"),
        ("USER:", "USER", "caller"),
        ("Customer:", "Customer", "caller"),
        ("  Caller 2:", "Caller 2", "caller"),
        ("Speaker 1:", "Speaker 1", "other"),
        ("[00:12] Agent:", "Agent, 00:12", "agent"),
        ("(1:02:03) Caller:", "Caller, 1:02:03", "caller"),
    ],
)
def test_speakers_are_known_however_they_are_called(label: str, who: str, side: str) -> None:
    assert conversation(f"{label} Hello: you.\nAgent: x") == [
        Turn("Hello: you.", who, side),
        Turn("x", "Agent", "agent"),
    ]


def test_turns_in_a_single_line_are_told_apart() -> None:
    found = conversation("Agent: Hi there! Caller: The agent: is he in? Yes. Agent: He is.")
    assert [(turn.who, turn.text) for turn in found] == [
        ("Agent", "Hi there!"),
        ("Caller", "The agent: is he in? Yes."),
        ("Agent", "He is."),
    ]


@pytest.mark.parametrize(
    "text", ["Just a text.", "Summary: of it\nAgenda: none", "12:30 and on", "::", "Agent"]
)
def test_text_without_speakers_stays_as_it_is(text: str) -> None:
    turns = conversation(text)
    assert turns == [Turn(text)]
    assert {turn.who for turn in turns} == {None}


@pytest.mark.parametrize(
    "item",
    [
        {"role": "agent", "text": "Hello."},
        {"speaker": "agent", "content": "Hello.", "start": 1.5},
        {"role": "agent", "message": "Hello."},
    ],
    ids=str,
)
def test_list_of_turns_is_understood(item: dict[str, Any]) -> None:
    found = conversation([item, {"role": "user", "content": "Yes."}])
    assert found == [Turn("Hello.", "agent", "agent"), Turn("Yes.", "user", "caller")]


def test_list_of_lines_is_understood() -> None:
    assert [turn.side for turn in conversation(["Agent: Hello.", "Caller: Yes."])] == ["agent", "caller"]


@pytest.mark.parametrize(
    "transcript",
    [{"turns": 3}, [1, {"role": "agent"}], [{"text": {"a": 1}}], 12, True, [None], [[]]],
    ids=str,
)
def test_anything_else_is_shown_as_it_was_written(transcript: Any) -> None:
    turns = conversation(transcript)
    assert {turn.who for turn in turns} == {None}
    assert "".join(turn.text for turn in turns)


@pytest.mark.parametrize("transcript", [None, "", [], {}, "\n\n"])
def test_nothing_is_no_conversation(transcript: Any) -> None:
    assert conversation(transcript) == []


@pytest.mark.parametrize(
    "transcript",
    [
        "AI:x\n" * 200_000,
        "AI: x. " * 150_000,
        ["AI:x"] * 100_000,
        [{"role": "ai", "content": "x"}] * 50_000,
        [{"a": "x"}] * 100_000,
        "." + " " * 1_000_000,
        " " * 1_000_000 + "Agent:",
        "Agent:. " + ". " * 500_000,
        "[" * 1_000_000,
        "AI 12 " * 150_000,
    ],
    ids=range(10),
)
def test_megabyte_is_shown_whole_in_a_bounded_number_of_turns(transcript: Any) -> None:
    turns = conversation(transcript)  # which would take hours if it were searched again and again
    assert len(turns) <= MOST_TURNS + 1
    assert sum(turn.text.count("x") for turn in turns) == str(transcript).count("x")
