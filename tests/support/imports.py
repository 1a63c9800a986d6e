"""Which modules a statement loads, in a fresh process; many statements share what they all begin with."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

# Each statement runs in a fork, so that none sees what another has loaded.
_CODE = """
import json, os, sys
base, *statements = json.loads(sys.argv[1])
exec(base, {})
print(json.dumps(sorted(sys.modules)), flush=True)
for statement in statements:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        exec(statement, {})
        with os.fdopen(writing, "w") as out:
            json.dump(sorted(sys.modules), out)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as found:
        modules = found.read()
    assert os.waitpid(child, 0)[1] == 0, statement
    print(modules, flush=True)
"""


def loaded_by(base: str, statements: Sequence[str] = ()) -> list[set[str]]:
    """Return all modules that are loaded after some base alone, and after each statement on top of it."""
    run = subprocess.run(
        [sys.executable, "-c", _CODE, json.dumps([base, *statements])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    # Airflow may have said something before.
    return [set(json.loads(line)) for line in run.stdout.splitlines() if line.startswith('["')]
