#!/usr/bin/env bash
# Builds the sdist, unpacks it elsewhere, and runs its quick tests as somebody would who has nothing but it.
#
# usage: scripts/test_sdist.sh VENV
#
# VENV has hatchling. The environment of the tests is made anew, by the unpacked Makefile.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$PWD/$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$venv/bin/python" -m hatchling build -t sdist -d "$folder" >/dev/null
tar -xzf "$folder"/*.tar.gz -C "$folder"
rm "$folder"/*.tar.gz
make -C "$folder"/* unit VENV=.venv
