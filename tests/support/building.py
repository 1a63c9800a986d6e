"""Builds the wheel and the source distribution as a release does, in a process of its own."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMIT_TIME = "1767225600"  # what a release takes from its commit


def build(root: Path, folder: Path, *, umask: int = 0o022, **env: str) -> dict[str, Path]:
    """Build both files of a repository, and return them by their kind, ``wheel`` and ``sdist``.

    :param umask: which permissions a build takes from the files that it makes.
    :param env: further environment variables.
    """
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)],
        cwd=root,
        env={**os.environ, "SOURCE_DATE_EPOCH": COMMIT_TIME, **env},
        umask=umask,
        check=True,
        capture_output=True,
        timeout=300,
    )
    [wheel], [sdist] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return {"wheel": wheel, "sdist": sdist}


def digests(files: dict[str, Path]) -> dict[str, str]:
    """Return the SHA-256 of each file with its name, by its kind."""
    return {
        kind: f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for kind, path in files.items()
    }
