"""Where skips are forbidden, each kind of skip fails the run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.no_skip import pytest_make_collect_report, pytest_runtest_makereport

ROOT = Path(__file__).parents[2]
SKIPS = {
    "test": "import pytest\ndef test_a(): pytest.skip('why')",
    "mark": "import pytest\n@pytest.mark.skip(reason='why')\ndef test_a(): ...",
    "module": "import pytest\npytest.skip('why', allow_module_level=True)",
    "fixture": "import pytest\n@pytest.fixture\ndef f(): pytest.skip('why')\ndef test_a(f): ...",
}
FAILS = "import pytest\n@pytest.mark.xfail\ndef test_a(): assert 0"


def _run(directory: Path, no_skip: str) -> str:
    for name, source in {**SKIPS, "expected": FAILS}.items():
        (directory / f"test_{name}.py").write_text(source)
    env = {**os.environ, "VOICEINFRA_TEST_NO_SKIP": no_skip, "PYTHONPATH": str(ROOT)}
    hooks = ["-p", "tests.support.no_skip", "-p", "no:cacheprovider", "--rootdir", str(directory)]
    command = [sys.executable, "-m", "pytest", *hooks, "-rN", "--continue-on-collection-errors", "."]
    return subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, check=False).stdout


def test_skips_and_no_expected_failures_fail_where_skips_are_forbidden(tmp_path: Path) -> None:
    said = _run(tmp_path, "1")
    assert "1 failed, 1 xfailed, 3 errors" in said
    assert said.count("VOICEINFRA_TEST_NO_SKIP=1 forbids: Skipped: why") == len(SKIPS)


def test_skip_is_a_skip_elsewhere(tmp_path: Path) -> None:
    assert "4 skipped, 1 xfailed" in _run(tmp_path, "0")


def test_these_tests_have_the_hooks(pytestconfig: pytest.Config) -> None:
    used = pytestconfig.hook.pytest_runtest_makereport.get_hookimpls()
    assert pytest_runtest_makereport in [hook.function for hook in used]
    collected = pytestconfig.hook.pytest_make_collect_report.get_hookimpls()
    assert pytest_make_collect_report in [hook.function for hook in collected]
