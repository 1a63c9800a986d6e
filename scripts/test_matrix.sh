#!/usr/bin/env bash
# Runs some of the tests once for each combination of Python and Airflow.
#
# usage: scripts/test_matrix.sh MARKERS PYTHON-AIRFLOW ... [-- PYTEST_ARGUMENT ...]
#
# MARKERS say which tests, as pytest's -m takes them. 3.10-3.2, for example, is Python 3.10 with
# constraints/airflow-3.2.txt, in .venv-3.10-3.2. A Python that this machine lacks is left out; having none of
# them is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
unset PYTHON

markers=$1
shift
combinations=()
while [ $# -gt 0 ] && [ "$1" != "--" ]; do
    combinations+=("$1")
    shift
done
[ $# -eq 0 ] || shift

tested=()
for combination in "${combinations[@]}"; do
    python=${combination%-*} airflow=${combination#*-}
    if ! scripts/find_python.sh "$python" >/dev/null 2>&1; then
        echo "== Python $python: not on this machine, left out"
        continue
    fi
    started=$SECONDS
    venv=.venv-$combination
    scripts/setup_venv.sh "$venv" "constraints/airflow-$airflow.txt" test "$python"
    echo "== $("$venv/bin/python" --version), Airflow $("$venv/bin/python" -c \
        'from importlib.metadata import version; print(version("apache-airflow"))')"
    # An older Airflow brings older packages, which warn of each other: only the newest makes errors of warnings.
    "$venv/bin/python" -m pytest -m "$markers" -W default "$@"
    tested+=("$combination ($((SECONDS - started)) s)")
done

if [ ${#tested[@]} -eq 0 ]; then
    echo "None of the Pythons of the matrix was found: ${combinations[*]}" >&2
    exit 1
fi
echo "== Passed on: ${tested[*]}"
