#!/usr/bin/env bash
# Runs the quick tests with the oldest packages that pyproject.toml allows, on the oldest Python.
#
# usage: scripts/test_lowest.sh VENV [PYTEST_ARGUMENT ...]
#
# VENV is a virtual environment whose pip is used to get uv, which resolves. What pyproject.toml does not name is
# as new as it was when the oldest Airflow was current, and the test tools are as for that Airflow.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$1 python=3.10 oldest=constraints/airflow-3.2.txt
venv=.venv-lowest pins=build/lowest.txt
shift

as_of=$(sed -nE '1s/.* as of ([0-9-]+);.*/\1/p' "$oldest")
"$tools/bin/python" -m pip install --quiet uv
mkdir -p build
UV_PYTHON_DOWNLOADS=never "$tools/bin/uv" pip compile --quiet --python-version "$python" --all-extras \
    --resolution lowest-direct --exclude-newer "$as_of" --no-annotate --no-header pyproject.toml >"$pins"
# The name in front of == is the first field; a package of the first file is left out of the second.
awk -F'==' 'NR == FNR { known[$1] = 1; print; next } !/^#/ && !($1 in known)' "$pins" "$oldest" >"$pins.new"
mv "$pins.new" "$pins"
scripts/setup_venv.sh "$venv" "$pins" test "$python"
echo "== $("$venv/bin/python" --version) with the lowest versions, of $as_of"
# Older packages warn of each other: only the newest makes errors of warnings.
"$venv/bin/python" -m pytest -m "not integration" -W default "$@"
