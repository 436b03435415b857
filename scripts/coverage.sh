#!/bin/sh
# Line coverage per directory of src: builds with gcov into build-cov, runs the unit tests and a choice of end-to-end
# tests, prints a table. Usage: coverage.sh [TEST...]    default: those below
# Supervisors and launchers in sandboxes are those of build/: instrumented ones cannot write their counters from inside.
# Their code is counted by the unit, egress and isolation tests, whose programs run outside of a sandbox's file system.
set -eu
cd "$(dirname "$0")/.."
build=$PWD/build-cov
python=$([ -x /usr/bin/python3 ] && echo /usr/bin/python3 || echo python3)
command -v gcovr >/dev/null || {
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    echo "installing: gcovr"
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -q --no-install-recommends gcovr >/dev/null
}
[ $# -gt 0 ] || set -- tests/e2e/egress/test_*.py tests/e2e/isolation/test_isolation.py tests/e2e/test_stack.py \
    tests/e2e/test_lifecycle.py tests/e2e/test_settings.py tests/e2e/test_config_file.py tests/e2e/test_completion.py
# Threads count atomically, else figures are lost and even become negative. execve is no builtin here: gcov's own writes
# the counters first, and in a child that shares its memory with the gateway (launch.c) that would be the gateway's last
# time.
[ -f "$build/build.ninja" ] || meson setup "$build" -Db_coverage=true -Dbuildtype=debug -Dwerror=false \
    '-Dc_args=-fno-builtin-execve -fprofile-update=atomic' >/dev/null
ninja -C "$build" >"$build/build.log" 2>&1 || { tail -20 "$build/build.log" >&2; exit 1; }
ninja -C build >"$build/build.log" 2>&1 || { tail -20 "$build/build.log" >&2; exit 1; }
for program in openshell-sandbox openshell-local-launcher; do
    cp --remove-destination "build/bin/$program" "$build/bin/"
done
# Processes write their counters as the user they have become: every file is there already and anybody's. The directories
# are not, so nobody replaces one.
find "$build" -name '*.gcda' -delete
find "$build" -name '*.gcno' | sed 's/gcno$/gcda/' | while read -r counters; do
    : >"$counters"
    chmod 666 "$counters"
done
mkdir -p "$build/test-logs"
# run NAME COMMAND...: a test that fails is named, and what it covered counts all the same.
run() {
    name=$1
    shift
    timeout -k 10 600 "$@" >"$build/test-logs/$name.log" 2>&1 || {
        echo "failed under instrumentation: $name, see build-cov/test-logs/$name.log"
    }
}
for test in $(find "$build/tests/unit" -type f -name 'test_*' -perm -u+x | sort); do
    run "$(basename "$test")" "$test"
done
for test; do
    run "$(echo "$test" | tr / _)" env OPENSHELL_BUILD="$build" "$python" "$test"
done
find "$build" -name '*.gcda' -empty -delete
gcovr --root . --object-directory "$build" --filter 'src/' --gcov-ignore-parse-errors \
    --json-summary "$build/coverage.json" "$build" \
    >"$build/test-logs/gcovr.log" 2>&1 || { tail -5 "$build/test-logs/gcovr.log" >&2; exit 1; }
"$python" - "$build/coverage.json" <<'END'
import collections
import json
import os
import sys

# Directories where a mistake lets an agent out, or takes what no peer should be able to send.
AT_LEAST = {"policy": 85, "rpc": 85, "supervisor/egress": 85, "supervisor/isolation": 85}

directories = collections.defaultdict(lambda: [0, 0, 0])
for f in json.load(open(sys.argv[1]))["files"]:
    directory = os.path.dirname(f["filename"]).removeprefix("src/")
    with_rooms = [directory[:end] for end, c in enumerate(directory + "/") if c == "/"]
    for key in (*with_rooms, "all"):
        for i, n in enumerate((1, f["line_total"], f["line_covered"])):
            directories[key][i] += n
print(f"{'directory of src, with those inside':<36}{'files':>7}{'lines':>8}{'covered':>9}")
low = []
for name, (files, lines, covered) in sorted(directories.items(), key=lambda d: (d[0] == "all", d[0])):
    percent = 100 * covered / max(lines, 1)
    print(f"{name:<36}{files:>7}{lines:>8}{percent:>8.1f}%")
    if percent < AT_LEAST.get(name, 0):
        low.append(f"{name}: {percent:.1f} % of the lines are covered, at least {AT_LEAST[name]} % must be")
for line in low:
    print(line)
sys.exit(bool(low))
END
