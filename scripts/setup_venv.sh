#!/usr/bin/env bash
# Makes a virtual environment with Airflow, this package (editable) and the development tools.
#
# usage: scripts/setup_venv.sh VENV CONSTRAINTS GROUPS VERSION [VERSION ...]
#
# GROUPS are dependency groups of pyproject.toml, separated by commas; VERSIONs are the Pythons to try.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$1 constraints=$2 groups=$3
shift 3
started=$SECONDS

# Without bytecode on disk, every Airflow process compiles some thousand modules anew: seconds each.
unset PYTHONDONTWRITEBYTECODE

# A half-made environment, or one whose base Python is gone, is made anew.
if ! "$venv/bin/python" -c "import pip" 2>/dev/null; then
    python=$(scripts/find_python.sh "$@")
    echo "Making $venv with $("$python" --version) and Airflow ($constraints); this takes a minute or two."
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi

pip=("$venv/bin/python" -m pip --disable-pip-version-check --quiet)
# Dependency groups need pip 25.1.
"${pip[@]}" install "pip>=25.1"

group_options=()
for group in ${groups//,/ }; do
    group_options+=(--group "$group")
done
# The pin on Airflow itself is in the constraints: named there once, for all.
"${pip[@]}" install --constraint "$constraints" --editable . "${group_options[@]}"
echo "$venv is ready ($((SECONDS - started)) s)."
