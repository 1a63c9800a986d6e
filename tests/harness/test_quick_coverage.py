"""What is measured quickly is what coverage measures in its own way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.quick_coverage import FITS

ROOT = Path(__file__).parents[2]

# Of each branch one way, both, or none is taken, in turn.
SAMPLE = """
import contextlib, re

def ifs(a, b):
    if a and b:
        return 1
    elif a or b:
        x = 2 if a else 3
        return x
    return [y for y in range(a) if y % 2]

def loops(n):
    for i in range(n):
        if i == 1: continue
        if i == 5: break
    else:
        n += 1
    while n:
        n -= 1
        if n > 100:
            return
    for _ in (): n = 7
    return n

def errors(what):
    try:
        if what == "raise":
            raise ValueError(what)
        what = int(what)
    except ValueError as error:
        if error.args: return "value"
    except TypeError:
        return "type"
    else:
        return what
    finally:
        with contextlib.suppress(KeyError):
            {}["a"]
    return None

def matches(what):
    match what:
        case 1: return "one"
        case [a, *rest] if rest: return a
        case {"k": k}: return k
        case str(): return what
    return None

def makes(n):
    while True:
        n -= 1
        if n < 0:
            return
        yield n

class Thing:
    attribute = 1 if re else 2
    def method(self, *names):
        return any(
            name
            for name in names
            if name
        ) and all(names)

def never(a):
    if a:
        return 1
    return lambda: a
"""
USES = {
    "one way": "ifs(1, 1); loops(1); errors('1'); matches(1); list(makes(1)); Thing().method('a')",
    "both ways": """
ifs(0, 1); ifs(3, 0); ifs(0, 0); loops(0); loops(9); errors('raise'); errors('x'); errors([])
matches([1, 2]); matches({'k': 1}); matches('s'); matches(2.0); next(makes(3)); Thing().method('', 'a')
""",
    "none": "pass",
}


def measured(folder: Path, *first: str) -> dict[str, Any]:
    """Return what coverage finds missing in the sample, and what it says itself."""
    code = ";".join(
        (*first, "from coverage.cmdline import main", "import sys", "sys.exit(main(sys.argv[1:]))")
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "AIRFLOW"))}
    for words in (["run", "--branch", "use.py"], ["json", "-q", "--include", "sample.py"]):
        subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=folder,
            env={**kept, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
        )
    [found] = json.loads((folder / "coverage.json").read_text())["files"].values()
    wanted = ("executed_lines", "missing_lines", "executed_branches", "missing_branches")
    return {name: found[name] for name in wanted}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_branches_are_those_of_coverage_itself(tmp_path: Path, use: str) -> None:
    (tmp_path / "sample.py").write_text(SAMPLE)
    (tmp_path / "use.py").write_text(f"from sample import *\n{use}\n")
    slow = measured(tmp_path)
    quick = measured(tmp_path, "import tests.support.quick_coverage")
    assert quick == slow
    assert bool(slow["missing_branches"])


def test_it_is_really_what_measures(tmp_path: Path) -> None:
    code = (
        "import coverage, tests.support.quick_coverage\n"
        "one = coverage.Coverage(branch=True, data_file=None)\n"
        "one.start(); one.stop(); print(one._core.tracer_class.__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env={}
    )
    assert (done.stdout == "BranchMonitor\n") is FITS
