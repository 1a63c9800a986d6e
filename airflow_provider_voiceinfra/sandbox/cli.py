"""The options of ``voiceinfra-sandbox``: all settings, and what cannot change at run time."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from airflow_provider_voiceinfra.sandbox.faults import Fault
from airflow_provider_voiceinfra.sandbox.settings import SettingError, Settings

DEFAULT_PORT = 8700


def parse(argv: Sequence[str] | None = None) -> tuple[Settings, int, Path | None]:
    """Return settings, port and audit file, or end the process with a message on stderr.

    :param argv: the arguments; if not set, those of the process.
    """
    parser = _parser()
    given = vars(parser.parse_args(argv))
    port, host, audit_file = given.pop("port"), given.pop("host"), given.pop("audit_file")
    if host != "127.0.0.1":
        parser.error("--host: the sandbox listens on 127.0.0.1 only")
    if not 0 <= port <= 65_535:
        parser.error("--port: must be from 0 to 65535")
    try:
        settings = Settings().changed({name: value for name, value in given.items() if value is not None})
    except SettingError as error:
        name, _, rule = str(error).partition(":")
        parser.error(f"--{name.replace('_', '-')}:{rule}")
    return settings, port, audit_file


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="voiceinfra-sandbox",
        description="Imitates the VoiceInfra API on this machine: no phone rings, nothing leaves loopback.",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    port_help = f"TCP port; 0 picks a free one (default: {DEFAULT_PORT})"
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=port_help)
    parser.add_argument("--host", default="127.0.0.1", help="only 127.0.0.1 is taken (default: 127.0.0.1)")
    parser.add_argument(
        "--audit-file",
        type=Path,
        help="file to which the audit log is appended as JSON lines, each before the answer (default: none)",
    )
    for setting in fields(Settings):
        parser.add_argument("--" + setting.name.replace("_", "-"), **_option(setting))
    return parser


def _option(setting: Field[Any]) -> dict[str, Any]:
    default = setting.default
    shown = " ".join(default) if isinstance(default, tuple) else default
    if isinstance(default, bool):
        shown = "yes" if default else "no"
    elif isinstance(default, float):
        shown = f"{default:g}"
    option: dict[str, Any] = {
        "default": None,
        "help": f"{setting.metadata['help']} (default: {shown if shown != '' else 'none'})",
    }
    if isinstance(default, bool):
        return {**option, "action": argparse.BooleanOptionalAction}
    if isinstance(default, tuple):
        return {**option, "nargs": "*", "metavar": "WORD"}
    return {**option, "type": type(default), "metavar": "TEXT" if isinstance(default, str) else "NUMBER"}


def _epilog() -> str:
    numbers = [f"  {fault.digits}  {fault.value}: {fault.meaning}" for fault in Fault if fault.digits]
    others = [f"  {fault.value}: {fault.meaning}" for fault in Fault if not fault.digits]
    return "\n".join(
        [
            "The last digit of to_number chooses the outcome: 7 voicemail, 8 failed, any other answered.",
            "The last two digits choose what goes wrong, unless --no-fault-numbers is given:",
            *numbers,
            "Also known, through POST /_sandbox/faults or --faults with --fault-rate:",
            *others,
        ]
    )
