#!/usr/bin/env bash
# Runs seeds of `make faults` that nobody has chosen, until the time is up.
#
# usage: scripts/faults_long.sh MINUTES DATABASE [VARIABLE=VALUE ...]
#
# VARIABLEs are those of `make faults`. Ends with an error after the first seeds that showed a violation; what they
# print has the command that replays them.
set -euo pipefail
cd "$(dirname "$0")/.."

minutes=$1 database=$2 batch=20 runs=0
shift 2
until [ "$SECONDS" -ge $((minutes * 60)) ]; do
    start=$((RANDOM * 32768 + RANDOM))
    make --no-print-directory faults SEEDS="$batch" SEED_START="$start" DATABASE="$database" "$@"
    runs=$((runs + 1))
done
echo "== $((runs * batch)) random seeds on $database in $((SECONDS / 60)) min, none with a violation"
