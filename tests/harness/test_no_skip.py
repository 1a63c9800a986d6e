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


def _run(directory: Path, source: str, no_skip: str) -> subprocess.CompletedProcess[str]:
    (directory / "test_it.py").write_text(source)
    env = {**os.environ, "VOICEINFRA_TEST_NO_SKIP": no_skip, "PYTHONPATH": str(ROOT)}
    hooks = ["-p", "tests.support.no_skip", "-p", "no:cacheprovider"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *hooks, "--rootdir", str(directory), "."],
        cwd=directory,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("source", SKIPS.values(), ids=SKIPS.keys())
def test_skip_fails_where_skips_are_forbidden(tmp_path: Path, source: str) -> None:
    done = _run(tmp_path, source, "1")
    assert done.returncode != 0
    assert "VOICEINFRA_TEST_NO_SKIP=1 forbids: Skipped: why" in done.stdout


def test_skip_is_a_skip_elsewhere(tmp_path: Path) -> None:
    done = _run(tmp_path, SKIPS["test"], "0")
    assert "1 skipped" in done.stdout


def test_expected_failure_is_not_a_skip(tmp_path: Path) -> None:
    done = _run(tmp_path, "import pytest\n@pytest.mark.xfail\ndef test_a(): assert 0", "1")
    assert "1 xfailed" in done.stdout


def test_these_tests_have_the_hooks(pytestconfig: pytest.Config) -> None:
    used = pytestconfig.hook.pytest_runtest_makereport.get_hookimpls()
    assert pytest_runtest_makereport in [hook.function for hook in used]
    collected = pytestconfig.hook.pytest_make_collect_report.get_hookimpls()
    assert pytest_make_collect_report in [hook.function for hook in collected]
