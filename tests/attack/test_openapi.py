"""The receiver's OpenAPI description against a receiver that runs: signed by the vendor, and by nobody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from requests import PreparedRequest
from requests.auth import AuthBase
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from airflow_provider_voiceinfra.webhooks.signing import SIGNATURE_HEADER, sign
from tests.attack.messages import SECRET
from tests.receiver_process import ReceiverProcess

pytestmark = pytest.mark.integration

DESCRIPTION = Path(__file__).resolve().parents[2] / "docs" / "examples" / "receiver.openapi.yaml"
SCHEMA = schemathesis.openapi.from_path(DESCRIPTION)
# Not whether what the description forbids is refused: what is signed is kept, whatever it is.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = settings(
    max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)


class Vendor(AuthBase):
    """Signs requests as the vendor does."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        body = request.body or b""
        request.headers[SIGNATURE_HEADER] = sign(SECRET, body.encode() if isinstance(body, str) else body)
        return request


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    ledger = tmp_path_factory.mktemp("openapi") / "ledger.db"
    with ReceiverProcess(f"sqlite:///{ledger}", SECRET) as receiver:
        yield f"http://127.0.0.1:{receiver.port}"


@SCHEMA.parametrize()
@EXAMPLES
def test_what_nobody_has_signed(case: schemathesis.Case[Any], address: str) -> None:
    response = case.call(base_url=address)
    case.validate_response(response, checks=CHECKS)
    assert response.status_code != 200 or case.method == "GET"


@SCHEMA.include(method="POST", path="/webhooks").parametrize()
@EXAMPLES
def test_what_the_vendor_has_signed(case: schemathesis.Case[Any], address: str) -> None:
    response = case.call(base_url=address, auth=Vendor())
    case.validate_response(response, checks=CHECKS)
    # It also sends methods that are not described.
    assert response.status_code in {200, 400} or case.method != "POST"
