#!/bin/sh
# Prints the benchmark table; run-bench.sh [BUILD]. Needs root (local sandboxes) and a quiet machine.
set -eu
cd "$(dirname "$0")/.."
OPENSHELL_BUILD=$(cd "${1:-build}" && pwd)
export OPENSHELL_BUILD
[ "$(id -u)" = 0 ] || exec sudo OPENSHELL_BUILD="$OPENSHELL_BUILD" python3 bench/run.py
exec python3 bench/run.py
