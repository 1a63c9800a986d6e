"""How a command ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_reader_who_has_seen_enough_gets_no_traceback(tmp_path: Path) -> None:
    # A pipe that nobody reads any more, as after `| head`.
    code = (
        "import os, sys; from argparse import Namespace\n"
        "from airflow_provider_voiceinfra.cli.running import command, say\n"
        "command(lambda args: [say('line'), True][1])(Namespace(verbose=False))\n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    env = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    with os.fdopen(writing, "w") as out:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=out, stderr=subprocess.PIPE, text=True, env=env, check=False
        )
    assert "BrokenPipe" not in done.stderr
    assert done.returncode == 0
