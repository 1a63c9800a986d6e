#!/usr/bin/env bash
# Writes constraints/airflow-*.txt: every package that development and CI install, with its version.
#
# usage: scripts/constraints.sh VENV
#
# VENV is a virtual environment whose pip is used to get uv, which resolves for all supported Pythons
# at once. The second column is the date as of which packages are looked up.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$1
"$venv/bin/python" -m pip install --quiet uv

resolve() {
    local airflow=$1 as_of=$2 file=$3
    shift 3
    echo "apache-airflow==$airflow" |
        UV_PYTHON_DOWNLOADS=never "$venv/bin/uv" pip compile --quiet --universal --python-version 3.10 \
            --exclude-newer "$as_of" --all-extras "$@" --no-annotate --no-header pyproject.toml - >"$file.new"
    {
        echo "# Airflow $airflow with all packages as of $as_of; made by scripts/constraints.sh"
        cat "$file.new"
    } >"$file"
    rm "$file.new"
    echo "$file: $(grep -c == "$file") pins"
}

resolve 3.3.2 2026-11-22 constraints/airflow-3.3.txt --group test --group lint --group deployment
resolve 3.2.0 2026-05-15 constraints/airflow-3.2.txt --group test
