#!/usr/bin/env bash
# Writes the wheel and the sdist into dist/, and the software bill of materials into build/.
#
# usage: scripts/dist.sh VENV
#
# VENV has hatchling in the version of constraints/, and its pip is used to get uv. The same commit gives the same
# bytes wherever Python compresses alike: each time in the files is that of the commit, or SOURCE_DATE_EPOCH where
# that is set. The bill is of an environment with nothing but Airflow and the wheel; only dist/ is uploaded.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$1 constraints=constraints/airflow-3.3.txt bare=.venv-bare tools=.venv-release
"$venv/bin/python" -m pip install --quiet uv
uv=("$venv/bin/uv" --quiet)
export UV_PYTHON_DOWNLOADS=never

# Without a repository, which an unpacked sdist is, hatchling takes a time of its own that never changes.
if [ -z "${SOURCE_DATE_EPOCH:-}" ] && commit=$(git log -1 --format=%ct 2>/dev/null); then
    export SOURCE_DATE_EPOCH=$commit
fi
rm -rf dist build/*.cdx.json
mkdir -p build
"$venv/bin/python" -m hatchling build -d dist >/dev/null
version=$("$venv/bin/python" -m hatchling version)

"${uv[@]}" venv --clear --python "$venv/bin/python" "$bare"
"${uv[@]}" pip install --python "$bare" --constraint "$constraints" dist/*.whl
"${uv[@]}" venv --clear --python "$venv/bin/python" "$tools"
"${uv[@]}" pip install --python "$tools" --constraint "$constraints" --group release
"$tools/bin/cyclonedx-py" environment "$bare" --pyproject pyproject.toml --mc-type library \
    --output-reproducible --spec-version 1.6 --output-format JSON --output-file build/environment.cdx.json
"$tools/bin/python" scripts/sbom.py build/environment.cdx.json "$version" \
    "build/airflow_provider_voiceinfra-$version.cdx.json"
rm build/environment.cdx.json
(cd dist && sha256sum ./*)
