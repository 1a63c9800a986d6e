"""The page of one call: what it tells, to whom, and what it does with whatever a webhook may hold."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, text

from airflow_provider_voiceinfra.calls import OutboundCall
from airflow_provider_voiceinfra.ledger import CallLedger
from airflow_provider_voiceinfra.ledger.records import CallEntry, CallOrigin
from airflow_provider_voiceinfra.web.pages.addresses import seal
from tests.support.completions import complete
from tests.web.pages.conftest import OP, PARTIAL, VIEWER, Calls, Client, FakeVisitor
from tests.web.pages.reading import Element, elements_of, links_of, shown, text_of, texts_of

NUMBER, MASKED = "+14155550123", "+1415***0123"
FROM, FROM_MASKED = "+12025550100", "+1202***0100"
ACCOUNT = "account-of-both"  # of the vendor: another connection of it may bring a call's webhook
ORIGIN = CallOrigin(dag_id="outreach", run_id="scheduled__2026-01-02T03:00:00+00:00", task_id="call")
TOLD = {
    "first_message": "Good morning from the clinic.",
    "context": "Be brief with them.",
    "variables": {"visit": {"day": "Monday"}, "seats": 2},
}
SAID: dict[str, Any] = {
    "summary": "They will come.",
    "transcript": "Agent: Will you come?\nCaller: Certainly.",
    "recording_url": "https://recordings.example/calls/1.wav",
    "extracted_data": {"will_come": True, "wishes": ["ground floor"]},
    "lead_source": "a form",
}
PERSONAL = (
    *(NUMBER, FROM, "Good morning from", "Be brief", "Monday", "They will come", "Certainly", "will_come"),
    *("ground floor", "recordings.example", "lead_source", "a form", "key-1"),
)


def address(entry: CallEntry) -> str:
    return f"call?key={seal(entry.key_hash)}"


def undecided(ledger: CallLedger, key: str = "lost", number: str = NUMBER, **options: Any) -> CallEntry:
    call = OutboundCall(number, "agent_1", FROM)
    origin = options.get("origin", ORIGIN)
    entry, _ = ledger.claim(key, call, conn_id="voiceinfra_default", origin=origin, account=ACCOUNT)
    return entry


def unknown(ledger: CallLedger, **options: Any) -> CallEntry:
    return ledger.mark_unknown(undecided(ledger, **options), "answer_lost", "the connection was cut")


def webhook(ledger: CallLedger, call_id: str, *, conn_id: str = "voiceinfra_default", **fields: Any) -> None:
    complete(ledger, call_id, conn_id=conn_id, account=ACCOUNT, **fields)


def test_all_that_is_known_of_a_call_is_shown(client: TestClient, calls: Calls) -> None:
    entry = calls.place(NUMBER, call=TOLD, record=SAID)
    told = shown(client, address(entry))
    for part in (
        *(f"Call to {NUMBER}", "answered", "42 s", "agent_1", FROM, "call_1", "voiceinfra_default", "key-1"),
        *("They will come.", "Good morning from the clinic.", "Be brief with them."),
        *("visit day Monday", "seats 2"),
        *("will_come yes", "wishes ground floor", "lead_source a form", "outreach", "run_1"),
        *("Agent Will you come?", "Caller Certainly.", "Started 2026-01-02 03:04:05 UTC"),
        *("Ended 2026-01-02 03:04:47 UTC", "Claimed", "Sent", "Answered by the API", "Webhook received"),
    ):
        assert part in told
    assert shown(client, "call?id=call_1") == told
    part = client.get(address(entry), headers=PARTIAL).text
    assert "<html" not in part
    assert "They will come." in part
    speakers = [one["class"] for one in elements_of(part, "li") if "class" in one]
    assert speakers == ["agent", "caller"]


HEBREW = "\u05d1\u05d5\u05e7\u05e8 \u05d8\u05d5\u05d1"
"""Good morning, from right to left."""


def has_own_direction(around: list[Element]) -> bool:
    return any(name == "bdi" or attributes.get("dir") == "auto" for name, attributes in around)


@pytest.mark.parametrize(
    "transcript", [f"Agent: {HEBREW}\nCaller: {HEBREW}", HEBREW], ids=["conversation", "text"]
)
def test_what_was_said_runs_in_its_own_direction(client: TestClient, calls: Calls, transcript: str) -> None:
    told = {"first_message": HEBREW, "context": HEBREW, "variables": {HEBREW: HEBREW}}
    said = {
        **{"summary": HEBREW, "transcript": transcript, "note": HEBREW},
        "extracted_data": {HEBREW: HEBREW, "wishes": [HEBREW], "deep": {HEBREW: [HEBREW]}},
    }
    campaign: dict[str, Any] = {"campaign_id": HEBREW, "contact_key": HEBREW, "position": 1, "attempt": 1}
    entry = calls.place(NUMBER, outcome=HEBREW, call=told, record=said, **campaign)
    calls.refused(HEBREW, **{**campaign, "attempt": 2})
    for where in (address(entry), "calls"):
        found = [around for one, around in texts_of(client.get(where).text) if HEBREW in one]
        found = [around for around in found if around[-1][0] not in ("title", "option")]
        assert found
        assert all(has_own_direction(around) for around in found), where


def test_links_lead_to_its_run_its_task_and_its_campaign(client: TestClient, calls: Calls) -> None:
    campaign: dict[str, Any] = {"campaign_id": "night & day", "position": 1, "attempt": 2}
    task: dict[str, Any] = {"dag_id": "my dag", "task_id": "group.call", "map_index": 3}
    entry = calls.place(run_id="scheduled__2026-01-02T03:00:00+00:00/1", **task, **campaign)
    links = {one.get("id"): one for one in elements_of(client.get(address(entry)).text, "a")}
    run = "../../dags/my%20dag/runs/scheduled__2026-01-02T03%3A00%3A00%2B00%3A00%2F1"
    assert links["to-run"]["href"] == run
    assert links["to-task"]["href"] == f"{run}/tasks/group.call/mapped/3"
    assert links["to-campaign"]["href"] == "campaign?id=night+%26+day"
    assert "data-out" in links["to-run"]
    assert "data-out" in links["to-task"]


def test_recording_is_played_from_its_origin_and_no_other(client: TestClient, calls: Calls) -> None:
    answer = client.get(address(calls.place(record=SAID)))
    [audio] = elements_of(answer.text, "audio")
    assert (audio["src"], audio["preload"]) == (SAID["recording_url"], "none")
    assert "controls" in audio
    policy = answer.headers["content-security-policy"]
    assert policy.endswith("; media-src https://recordings.example")
    link = next(one for one in elements_of(answer.text, "a") if one.get("id") == "open-recording")
    assert (link["href"], link["data-out"]) == (SAID["recording_url"], "new")
    assert link["rel"] == "noopener noreferrer"
    assert [one["data-copy"] for one in elements_of(answer.text, "button")] == ["recording-address"]


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "https://user:pw@recordings.example/a", "https://*/a; script-src *", 12]
)
def test_recording_elsewhere_than_on_the_web_is_text(client: TestClient, calls: Calls, url: Any) -> None:
    answer = client.get(address(calls.place(record={**SAID, "recording_url": url})))
    assert "media-src" not in answer.headers["content-security-policy"]
    assert not elements_of(answer.text, "audio")
    assert str(url) in text_of(answer.text)
    assert not [one for one in elements_of(answer.text, "a") if str(url) in (one.get("href") or "")]


def test_without_permission_on_the_connection_nothing_personal_is_shown(
    client_of: Client, calls: Calls
) -> None:
    entry = calls.place(NUMBER, call=TOLD, record=SAID, contact_key=NUMBER, campaign_id="c", position=1)
    for headers in ({}, PARTIAL):
        answer = client_of(VIEWER).get(address(entry), headers=headers)
        assert not [part for part in PERSONAL if part in answer.text]
        assert "media-src" not in answer.headers["content-security-policy"]
        assert not elements_of(answer.text, "audio")
    told = shown(client_of(VIEWER), address(entry))
    for part in (f"Call to {MASKED}", FROM_MASKED, "answered", "42 s", "outreach", "call_1", "agent_1"):
        assert part in told
    assert "permission to read the connection voiceinfra_default" in told
    assert "permission to read" not in shown(client_of(OP), address(entry))


def test_error_is_shown_without_numbers_to_those_who_may_not_read_the_connection(
    client_of: Client, ledger: CallLedger
) -> None:
    entry = undecided(ledger)
    ledger.refuse(entry, "invalid_phone", f"{NUMBER} is not a valid number")
    assert f"{NUMBER} is not a valid number" in shown(client_of(OP), address(entry))
    told = shown(client_of(VIEWER), address(entry))
    assert NUMBER not in told
    assert f"{MASKED} is not a valid number" in told


def test_what_came_through_another_connection_needs_permission_on_both(
    client_of: Client, calls: Calls
) -> None:
    entry = calls.place(outcome=None, conn_id="sales", account=ACCOUNT, call=TOLD)
    webhook(calls.ledger, "call_1", conn_id="support", **SAID)
    for one, other in (("sales", "support"), ("support", "sales")):
        told = shown(client_of(FakeVisitor(connections=[one])), address(entry))
        assert not [part for part in PERSONAL if part in told]
        assert f"permission to read the connection {other} ;" in told
    assert "They will come." in shown(client_of(OP), address(entry))


def test_call_of_a_hidden_dag_does_not_exist(client_of: Client, calls: Calls) -> None:
    entry = calls.place(dag_id="secret")
    client = client_of(FakeVisitor(dags=["outreach"]))
    missing = client.get(f"call?key={seal('0' * 64)}")
    assert missing.status_code == 404
    for where in (address(entry), "call?id=call_1", "call?id=none"):
        answer = client.get(where)
        assert (answer.status_code, answer.text) == (404, missing.text)


def test_call_without_a_dag_needs_permission_on_its_connection(client_of: Client, calls: Calls) -> None:
    entry = calls.place(dag_id=None, run_id=None, task_id=None)
    assert client_of(VIEWER).get(address(entry)).status_code == 404
    assert "No task of Airflow placed it" in shown(client_of(OP), address(entry))


def test_completion_without_a_call_is_shown_to_those_who_may_read_its_connection(
    client_of: Client, ledger: CallLedger
) -> None:
    webhook(ledger, "inbound/1 &", to_number=FROM, from_number=NUMBER, agent_id="agent_in", **SAID)
    where = "call?id=inbound%2F1%20%26"
    told = shown(client_of(OP), where)
    for part in ("agent_in", "inbound/1 &", "They will come.", "was not placed from here"):
        assert part in told
    assert client_of(VIEWER).get(where).status_code == 404
    assert client_of(FakeVisitor(connections=["another"])).get(where).status_code == 404


def test_call_that_was_not_placed_from_here_says_which_way_it_went(client: TestClient, calls: Calls) -> None:
    calls.place(NUMBER)  # from FROM
    webhook(calls.ledger, "in", from_number=NUMBER, to_number=FROM)
    webhook(calls.ledger, "other", from_number="+12025550199", to_number=NUMBER)
    webhook(calls.ledger, "bare")
    told = shown(client, "call?id=in")
    assert f"Call from {NUMBER} to {FROM}" in told
    assert "it came in, to a number that calls are placed from here" in told
    told = shown(client, "call?id=other")
    assert f"Call from +12025550199 to {NUMBER}" in told
    assert "an inbound call, or one that another system placed" in told
    assert "A call" in shown(client, "call?id=bare")


@pytest.mark.parametrize(
    ("query", "field"),
    [("", "key"), ("key=&id=", "key"), ("key=1&id=2", "id"), ("key=xyz", "key"), (f"key={'a' * 64}", "key")],
)
def test_address_that_names_no_call_is_refused(client: TestClient, query: str, field: str) -> None:
    answer = client.get(f"call?{query}")
    assert answer.status_code == 400
    assert field in text_of(answer.text)
    assert "the list of calls" in text_of(answer.text).lower()


@pytest.mark.parametrize("call_id", ["%20", "x" * 300, "%ED%A0%80", "%F0%9F", "'; drop table--"])
def test_id_that_the_api_cannot_have_given_is_not_found(client: TestClient, call_id: str) -> None:
    assert client.get(f"call?id={call_id}").status_code == 404


def refused(ledger: CallLedger) -> CallEntry:
    message = "HTTP 404: there is no such agent. Correct agent_id."
    return ledger.refuse(undecided(ledger), "invalid_agent", message)


CAMPAIGN = CallOrigin(dag_id="outreach", campaign_id="night", position=1, attempt=1)
STANDINGS: dict[str, tuple[Callable[[CallLedger], CallEntry], tuple[str, ...], str]] = {
    "open": (
        lambda ledger: ledger.accept(undecided(ledger), "call_1"),
        ("not over yet", "sends a webhook when it ends", "Setup"),
        "no phone rang",
    ),
    "claimed": (undecided, ("being sent", "clear the task in Airflow"), "Sent 20"),
    "refused": (
        refused,
        (
            "no phone rang",
            "HTTP 404: there is no such agent. Correct agent_id.",
            "invalid_agent",
            "clear the task",
        ),
        "on_unknown",
    ),
    "unknown": (
        unknown,
        (
            *("It is not known whether this call was placed.", "the connection was cut"),
            *('on_unknown="redial"', "No webhook that could be its own has arrived."),
        ),
        "no phone rang",
    ),
    "unknown, of a campaign": (
        lambda ledger: unknown(ledger, origin=CAMPAIGN),
        ("The campaign reports the contact as unknown",),
        "on_unknown",
    ),
}


@pytest.mark.parametrize(("put", "present", "absent"), STANDINGS.values(), ids=STANDINGS)
def test_call_without_an_outcome_says_what_that_means_and_what_to_do(
    client: TestClient, ledger: CallLedger, put: Callable[[CallLedger], CallEntry], present: Any, absent: str
) -> None:
    told = shown(client, address(put(ledger)))
    assert [words for words in present if words not in told] == []
    assert absent not in told


@pytest.mark.parametrize("outcome", ["open", "claimed", "refused", "unknown"])
def test_outcome_is_not_taken_for_what_is_known_as_long_as_there_is_none(
    client: TestClient, calls: Calls, outcome: str
) -> None:
    entry = calls.place(outcome=outcome)
    webhook(calls.ledger, "inbound", call_outcome=outcome)
    for where in (address(entry), "call?id=inbound"):
        assert "what-to-do" not in client.get(where).text
        assert f"Outcome {outcome} Duration" in shown(client, where)


def candidates(ledger: CallLedger, conn_id: str = "voiceinfra_default") -> CallEntry:
    entry = unknown(ledger)
    moment = (datetime.now(timezone.utc) + timedelta(seconds=5)).isoformat()
    fields = {"agent_id": "agent_1", "from_number": FROM, "to_number": NUMBER, "start_time": moment}
    for call_id in ("one & only", "other"):
        webhook(ledger, call_id, conn_id=conn_id, **fields)
    return entry


def test_unknown_call_names_the_webhooks_that_could_be_its_own(
    client: TestClient, ledger: CallLedger
) -> None:
    page = client.get(address(candidates(ledger))).text
    links = [link for link in links_of(page) if link.startswith("call?id=")]
    assert links == ["call?id=one+%26+only", "call?id=other"]
    for link in links:
        assert client.get(link).status_code == 200


def test_candidates_of_a_hidden_connection_are_only_counted(client_of: Client, ledger: CallLedger) -> None:
    entry = candidates(ledger, "hidden")
    told = shown(client_of(FakeVisitor(connections=["voiceinfra_default"])), address(entry))
    assert "2 webhooks that could be its own came through connections that you may not read" in told
    assert "one & only" not in told
    # Their numbers are the call's: who may not see that one learns nothing of them.
    assert "could be its own" not in shown(client_of(VIEWER), address(entry))


def test_adopted_call_says_how_its_id_was_learned(client: TestClient, ledger: CallLedger) -> None:
    entry = unknown(ledger)
    fields = {"agent_id": "agent_1", "from_number": FROM, "to_number": NUMBER}
    webhook(ledger, "call_found", **fields)
    ledger.adopt(entry)
    told = shown(client, address(entry))
    assert "Found by its webhook" in told
    assert "call_found" in told


def test_redialled_call_says_that_the_phone_may_have_rung_before(
    client: TestClient, ledger: CallLedger
) -> None:
    entry = ledger.claim_redial(unknown(ledger))
    ledger.accept(entry, "call_again")
    told = shown(client, address(entry))
    assert "dialled once more" in told
    assert "Earlier dial" in told


def test_purged_call_says_what_is_left(client: TestClient, calls: Calls) -> None:
    entry = calls.place(NUMBER, call=TOLD, record=SAID)
    calls.ledger.purge(datetime.now(timezone.utc) + timedelta(days=1))
    page = client.get(address(entry)).text
    assert not [part for part in PERSONAL if part in page]
    told = text_of(page)
    assert "personal data of this call was deleted" in told
    assert "call_1" in told
    assert "sends a webhook when it ends" not in told


def test_all_attempts_of_a_campaign_to_the_contact_are_listed(client_of: Client, calls: Calls) -> None:
    first = calls.place(NUMBER, outcome="voicemail", campaign_id="night", position=7, attempt=1)
    second = calls.place(NUMBER, campaign_id="night", position=7, attempt=2)
    calls.place(NUMBER, campaign_id="night", position=8, attempt=1)
    for visitor in (OP, VIEWER):
        page = client_of(visitor).get(address(first)).text
        assert [link for link in links_of(page) if link.startswith("call?")] == [address(second)]
        assert "(this call)" in text_of(page)


def test_calls_to_the_same_number_are_listed_for_those_who_may_see_it(
    client_of: Client, calls: Calls
) -> None:
    first, second = calls.place(NUMBER), calls.place(NUMBER)
    calls.place(NUMBER, conn_id="another")
    hidden = calls.place(NUMBER, dag_id="secret")
    page = client_of(FakeVisitor(dags=["outreach"])).get(address(first)).text
    assert address(second) in page
    assert hidden.key_hash not in page
    assert "All calls to this number through this connection" in text_of(page)
    assert second.key_hash not in client_of(VIEWER).get(address(first)).text


def test_body_that_is_no_record_any_more_does_no_harm(
    client: TestClient, calls: Calls, tmp_path: Path
) -> None:
    entry = calls.place(record=SAID)
    engine = create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    for body in (b"", b"\xff\xfe", b"[]", b"{", b'{"call_id": "other"', b'"text"', b"[" * 100_000, b"{}"):
        with engine.begin() as connection:
            connection.execute(text("update voiceinfra_completions set body = :body"), {"body": body})
        told = shown(client, address(entry))
        for words in ("cannot be read any more", "answered", "42 s"):
            assert words in told, body[:20]
    engine.dispose()


ODD: tuple[Any, ...] = (None, 0, -1, 1e300, True, "", "text", [], {}, [[]], [None], {"": None}, {"a": [{}]})


@pytest.mark.parametrize(
    "field",
    [
        *("summary", "transcript", "recording_url", "extracted_data", "from_number", "to_number", "agent_id"),
        *("call_outcome", "duration_seconds", "start_time", "end_time", "event", "", "something"),
    ],
)
def test_field_may_hold_any_json(client: TestClient, calls: Calls, field: str) -> None:
    for number, value in enumerate(ODD):
        entry = calls.place(outcome=None)
        for call_id in (str(entry.call_id), f"inbound_{number}"):
            webhook(calls.ledger, call_id, **{field: value})
            assert client.get(f"call?id={call_id}").status_code == 200, value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("start_time", "soon"), ("end_time", 12), ("duration_seconds", "42 s"), ("call_outcome", ["a"])),
        *(("from_number", "+14155550199"), ("agent_id", "another agent"), ("recording_url", ["a.wav"])),
    ],
    ids=str,
)
def test_documented_field_that_says_something_else_is_shown_too(
    client: TestClient, calls: Calls, field: str, value: Any
) -> None:
    entry = calls.place(outcome=None)
    webhook(calls.ledger, "call_1", **{field: value})
    told = shown(client, address(entry))
    assert field in told
    assert (value[0] if isinstance(value, list) else str(value)) in told


def nested(depth: int) -> Any:
    value: Any = "inmost"
    for _ in range(depth):
        value = {"deeper": value}
    return value


@pytest.mark.parametrize(
    "fields",
    [
        {"extracted_data": nested(48)},
        {"extracted_data": [[1] * 1000] * 300},
        {"transcript": "Agent: x\n" * 110_000},
        {"transcript": "<" * 1_000_000},
        {"summary": "long " * 200_000},
        {f"field_{number}": number for number in range(50_000)},
        {"extracted_data": {f"field {number}": [number] for number in range(40_000)}},
    ],
    ids=range(7),
)
def test_megabyte_or_deep_nesting_makes_no_huge_page(client: TestClient, calls: Calls, fields: Any) -> None:
    entry = calls.place(record=fields)
    answer = client.get(address(entry))
    assert answer.status_code == 200
    assert answer.text.count("<") < 10_000
    assert len(answer.text) < 6_000_000


def test_nested_data_is_shown_to_the_inmost(client: TestClient, calls: Calls) -> None:
    assert "inmost" in shown(client, address(calls.place(record={"extracted_data": nested(48)})))
