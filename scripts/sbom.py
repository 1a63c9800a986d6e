"""Completes the software bill of materials that cyclonedx-py has made of an environment, and checks it.

usage: python scripts/sbom.py ENVIRONMENT.cdx.json VERSION OUTPUT.cdx.json

The environment holds what is installed from package indexes. What is added here: the version of this package,
and the scripts for browsers that it brings with it. Needs the module ``cyclonedx`` of cyclonedx-bom.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
VENDORED = ROOT / "airflow_provider_voiceinfra/web/static/vendor/vendored.cdx.json"
NAME = "airflow-provider-voiceinfra"


def completed(environment: dict[str, Any], vendored: dict[str, Any], version: str) -> dict[str, Any]:
    """Return the bill of an environment with the package's version and its vendored scripts."""
    parts = vendored["components"]
    own = environment["metadata"]["component"]
    root = {**own, "version": version, "purl": f"pkg:pypi/{NAME}@{version}"}
    kept = [part for part in environment["components"] if part["name"] != NAME]
    edges = {edge["ref"]: edge.get("dependsOn", []) for edge in environment["dependencies"]}
    brought = {ref for edge in vendored["dependencies"] for ref in edge["dependsOn"]}
    edges[own["bom-ref"]] = sorted(
        {*edges[own["bom-ref"]], *(part["bom-ref"] for part in parts if part["bom-ref"] not in brought)}
    )
    edges |= {part["bom-ref"]: [] for part in parts}
    edges |= {edge["ref"]: edge["dependsOn"] for edge in vendored["dependencies"]}
    return {
        **environment,
        "metadata": {**environment["metadata"], "component": root},
        "components": [*kept, *parts],
        "dependencies": [
            {"ref": ref, **({"dependsOn": needed} if needed else {})} for ref, needed in sorted(edges.items())
        ],
    }


def check(text: str) -> None:
    """End the program if this is no bill after CycloneDX 1.6."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error is not None:
        sys.exit(f"The software bill of materials is not valid: {error}")


def main() -> None:
    """Write the completed bill."""
    environment, version, output = sys.argv[1:]
    bill = completed(json.loads(Path(environment).read_text()), json.loads(VENDORED.read_text()), version)
    text = json.dumps(bill, indent=2, sort_keys=True) + "\n"
    check(text)
    Path(output).write_text(text)
    print(f"{output}: {len(bill['components'])} components")


if __name__ == "__main__":
    main()
