"""The ``voiceinfra-sandbox`` command: reads the options and runs the server until it is asked to stop."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sandbox and return the process's exit code.

    :param argv: the arguments; if not set, those of the process.
    """
    from airflow_provider_voiceinfra.sandbox.cli import parse

    settings, port, audit_file = parse(argv)
    # The server is imported only now, so that ``--help`` and a mistyped option answer at once.
    from airflow_provider_voiceinfra.sandbox.server import run

    return run(settings, port=port, audit_file=audit_file)


if __name__ == "__main__":
    sys.exit(main())
