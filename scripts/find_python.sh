#!/usr/bin/env bash
# Prints the path of a Python that can make the virtual environment.
#
# usage: scripts/find_python.sh [VERSION ...]
#
# VERSIONs such as 3.12 are tried in the order given. $PYTHON, if set, is the only one considered.
# A candidate has to run and to hold what a virtual environment needs: a version manager's shim may be
# found on PATH without any Python behind it, and Debian packages venv apart from Python.
set -euo pipefail

probe='
import sys
if not (3, 10) <= sys.version_info[:2] < (3, 15):
    sys.exit("is Python %d.%d; 3.10 to 3.14 is needed" % sys.version_info[:2])
try:
    import ctypes, ensurepip, sqlite3, ssl, venv
except ImportError as error:
    sys.exit("lacks the module " + str(error.name))
print(sys.executable)
'
rejected=""

try() {
    local found
    if found=$("$@" -c "$probe" 2>&1); then
        tail -n 1 <<<"$found"
        exit 0
    fi
    rejected+="  $1: $(tail -n 1 <<<"$found")"$'\n'
}

if [ -n "${PYTHON:-}" ]; then
    try "$PYTHON"
else
    for version in "$@"; do
        if command -v "python$version" >/dev/null; then
            try "python$version"
        fi
        for built in "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
            if [ -x "$built" ]; then
                try "$built"
            fi
        done
    done
    # A request for one version is about that version; with several, any Python will do.
    if [ $# -gt 1 ] && command -v python3 >/dev/null; then
        try python3
    fi
fi

{
    echo "No usable Python found (looked for: ${PYTHON:-$*}). Tried:"
    echo "${rejected:-  nothing: none is on PATH}"
    echo "Install Python 3.10 or newer with its venv module, for example"
    echo "  Debian, Ubuntu:  apt-get install python3 python3-venv"
    echo "  Fedora:          dnf install python3.12"
    echo "  macOS:           brew install python@3.12"
    echo "or name one yourself:  make PYTHON=/path/to/python3.12 ..."
} >&2
exit 1
