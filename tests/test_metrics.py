"""Metrics reach the backend that is configured, also in a process that Airflow has not prepared."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

# The one class of the package `statsd` that Airflow needs, since that package is an extra of Airflow.
STATSD = """
import socket

class StatsClient:
    def __init__(self, host, port, prefix, ipv6=False):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._address, self._prefix = (host, int(port)), prefix

    def incr(self, stat, count=1, rate=1):
        self._socket.sendto(f"{self._prefix}.{stat}:{count}|c".encode(), self._address)

    def timing(self, stat, delta):
        self._socket.sendto(f"{self._prefix}.{stat}:{delta}|ms".encode(), self._address)

    def timer(self, *_, **__):
        return self

    def start(self, *_): return self
    def stop(self, *_, **__): return self
    __enter__ = start
    __exit__ = stop
"""
REPORT = """
from datetime import timedelta
from airflow_provider_voiceinfra import metrics
metrics.prepare()
metrics.count("webhooks.accepted", conn_id="of/vendor")
metrics.time("calls.placing_to_completion", timedelta(seconds=3))
"""


def test_metrics_of_a_process_on_its_own_reach_statsd(tmp_path: Path) -> None:
    (tmp_path / "statsd.py").write_text(STATSD)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(20)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(listener.getsockname()[1]),
            "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
        }
        subprocess.run([sys.executable, "-c", REPORT], env=environment, check=True, timeout=120)
        seen: list[str] = []
        while len(seen) < 2:
            packet = listener.recv(2048).decode()
            if "voiceinfra" in packet:
                seen.append(packet)
    assert seen[0] == "airflow.voiceinfra.webhooks.accepted,conn_id=of_vendor:1|c"
    assert seen[1].startswith("airflow.voiceinfra.calls.placing_to_completion:")
