"""What a record holds can be pushed to XCom and pulled again, whatever the vendor's webhook says."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.execution_time.comms import SetXCom, _RequestFrame
from airflow.sdk.serde import deserialize
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_voiceinfra.calls import CompletionRecord
from airflow_provider_voiceinfra.tasks.xcom_values import for_xcom

RESERVED = ["__classname__", "__id__", "__version__", "__data__", "__type", "__var"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*RESERVED, "a", "field__id__", "__id___"]), inner, max_size=4)
    ),
    max_leaves=12,
)


def pulled(value: Any) -> Any:
    """Return a value after it went the way of an XCom: a task, its supervisor, the API server, and back."""
    message = SetXCom(
        key="return_value",
        value=BaseXCom.serialize_value(value),
        dag_id="d",
        run_id="r",
        task_id="t",
        map_index=-1,
    )
    frame = _RequestFrame(id=1, body=message.model_dump(exclude_unset=True)).as_bytes()
    body = msgspec.msgpack.decode(frame[4:])[1]
    return deserialize(json.loads(json.dumps(body["value"])))


def record(fields: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps({"call_id": "call_1", **fields}).encode()
    return CompletionRecord.from_body(body).to_dict()


@pytest.mark.parametrize(
    ("fields", "given_as"),
    [
        ({"score": 2**70}, {"score": "1180591620717411303424"}),
        ({"score": -(2**63) - 1}, {"score": "-9223372036854775809"}),
        ({"score": 2**64 - 1}, {"score": 2**64 - 1}),
        ({"score": -(2**63)}, {"score": -(2**63)}),
        (
            {"lead": {"scores": [1, {"high": 2**64}]}},
            {"lead": {"scores": [1, {"high": "18446744073709551616"}]}},
        ),
        (
            {"__classname__": "builtins.dict", "__version__": 1},
            {"field__classname__": "builtins.dict", "field__version__": 1},
        ),
        ({"lead": [{"__id__": 7}]}, {"lead": [{"field__id__": 7}]}),
        (
            {"lead": {"__type": "dict", "__var": {"a": 1}}},
            {"lead": {"field__type": "dict", "field__var": {"a": 1}}},
        ),
        ({"__id__": 1, "field__id__": 2}, {"field__id___": 1, "field__id__": 2}),
        (
            {"__id__": 1, "__id___": 2, "field__id__": 3},
            {"field__id___": 1, "field__id____": 2, "field__id__": 3},
        ),
        ({"_one": True, "two__": None, "": 0.5}, {"_one": True, "two__": None, "": 0.5}),
    ],
    ids=str,
)
def test_what_airflow_cannot_hold_is_text_or_named_otherwise(
    fields: dict[str, Any], given_as: dict[str, Any]
) -> None:
    assert record(fields) == {"call_id": "call_1", **given_as}
    assert pulled(record(fields)) == record(fields)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*RESERVED, "lead"]), VALUES))
def test_every_record_can_be_pushed_and_pulled(fields: dict[str, Any]) -> None:
    assert pulled(record(fields)) == record(fields)


@given(VALUES.filter(lambda value: not isinstance(value, dict)))
def test_nothing_is_lost(value: Any) -> None:
    def leaves(value: Any) -> list[str]:
        if isinstance(value, list):
            return [leaf for item in value for leaf in leaves(item)]
        if isinstance(value, dict):
            return [leaf for item in value.values() for leaf in leaves(item)]
        return [str(value)]

    assert leaves(for_xcom(value)) == leaves(value)
