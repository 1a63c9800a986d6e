from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

from tests.sandbox_process import READY, SandboxProcess

integration = pytest.mark.integration
COMMAND = [sys.executable, "-m", "airflow_provider_voiceinfra.sandbox"]


@integration
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_signal_ends_it_cleanly_and_soon_whatever_hangs(how: signal.Signals) -> None:
    with SandboxProcess(webhook_url="http://127.0.0.1:9/", call_seconds=0) as sandbox:
        process = sandbox.process
        assert process is not None
        assert sandbox.base_url.startswith("http://127.0.0.1:")
        assert sandbox.control("GET", "health") == {"status": "ok"}
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
        # Nothing but the ready line; uvicorn would complain here if it had to cancel the request that hangs.
        assert sandbox.output() == f"{READY}{sandbox.base_url}\n"


@integration
def test_taken_port_and_unwritable_audit_file_are_errors_that_name_them(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "audit.jsonl"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for options, said in (
            (["--port", port], f"cannot listen on port {port}"),
            (["--port", "0", "--audit-file", str(path)], str(path)),
        ):
            result = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=20)
            assert result.returncode == 1
            assert said in result.stderr
            assert "Traceback" not in result.stderr
            assert READY not in result.stdout


@integration
def test_reading_the_options_loads_no_web_framework() -> None:
    code = (
        "import sys; from airflow_provider_voiceinfra.sandbox.cli import parse; parse([]); "
        "import airflow_provider_voiceinfra.sandbox.__main__; "
        "print([name for name in ('fastapi', 'uvicorn', 'httpx', 'airflow') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert result.stdout == "[]\n", result.stderr
