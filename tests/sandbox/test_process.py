from __future__ import annotations

import ast
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

import airflow_provider_voiceinfra.sandbox as package
from tests.sandbox_process import READY, SandboxProcess

integration = pytest.mark.integration
COMMAND = [sys.executable, "-m", "airflow_provider_voiceinfra.sandbox"]


@integration
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_signal_ends_it_cleanly_and_soon_whatever_hangs(how: signal.Signals) -> None:
    with SandboxProcess(webhook_url="http://127.0.0.1:9/", call_seconds=0) as sandbox:
        process = sandbox.process
        assert process is not None
        sandbox.post_call()

        def hang() -> None:
            with pytest.raises(requests.ConnectionError):
                sandbox.post_call(to_number="+12025550194", timeout=30)

        client = threading.Thread(target=hang)
        client.start()
        sandbox.wait_for(lambda audit: audit["requests"][-1]["fault"] == "hang")
        began = time.monotonic()
        process.send_signal(how)
        assert process.wait(timeout=5) == 0
        # A second on an idle machine; the rest is for one that has other things to do.
        assert time.monotonic() - began < 3
        client.join()
        # uvicorn would complain here if it had to cancel the request that hangs.
        assert sandbox.stderr() == ""


@integration
def test_ready_line_is_all_that_is_printed_and_true() -> None:
    with SandboxProcess() as sandbox:
        assert requests.get(f"{sandbox.url}/_sandbox/health").ok
        assert sandbox.base_url.startswith("http://127.0.0.1:")
        process = sandbox.process
        assert process is not None
        process.terminate()
        assert process.stdout is not None
        assert process.stdout.read() == ""


@integration
def test_taken_port_is_an_error_with_a_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = subprocess.run([*COMMAND, "--port", str(port)], capture_output=True, text=True, timeout=20)
    assert result.returncode == 1
    assert f"cannot listen on port {port}" in result.stderr
    assert READY not in result.stdout


@integration
def test_unwritable_audit_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "audit.jsonl"
    result = subprocess.run(
        [*COMMAND, "--port", "0", "--audit-file", str(path)], capture_output=True, text=True, timeout=20
    )
    assert result.returncode == 1
    assert str(path) in result.stderr
    assert "Traceback" not in result.stderr


@integration
def test_reading_the_options_loads_no_web_framework() -> None:
    code = (
        "import sys; from airflow_provider_voiceinfra.sandbox.cli import parse; parse([]); "
        "import airflow_provider_voiceinfra.sandbox.__main__; "
        "print([name for name in ('fastapi', 'uvicorn', 'httpx', 'airflow') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert result.stdout == "[]\n", result.stderr


def test_sandbox_imports_nothing_of_the_package_but_signing() -> None:
    prefix = "airflow_provider_voiceinfra."
    for path in Path(package.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                own = name.startswith((prefix + "sandbox", prefix + "webhooks.signing"))
                assert own or not name.startswith(prefix), f"{path.name} imports {name}"
