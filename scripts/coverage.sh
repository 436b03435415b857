#!/bin/sh
# Line coverage per module: builds with gcov into build-cov, runs the unit tests and a choice of end-to-end tests, prints
# a table. Usage: coverage.sh [E2E-TEST...]    default: the tests of the whole stack and of the command line
# Supervisors and launchers in sandboxes are those of build/: instrumented ones cannot write their counters from inside, and
# their code is counted by its unit tests.
set -eu
cd "$(dirname "$0")/.."
build=$PWD/build-cov
python=$([ -x /usr/bin/python3 ] && echo /usr/bin/python3 || echo python3)
command -v gcovr >/dev/null || {
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    echo "installing: gcovr"
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -q --no-install-recommends gcovr >/dev/null
}
[ $# -gt 0 ] || set -- tests/e2e/test_stack.py tests/e2e/test_lifecycle.py tests/e2e/test_settings.py \
    tests/e2e/test_config_file.py tests/e2e/test_completion.py
# execve is no builtin here: gcov's own writes the counters first, and in a child that shares its memory with the gateway
# (launch.c) that would be the gateway's last time.
[ -f "$build/build.ninja" ] || meson setup "$build" -Db_coverage=true -Dbuildtype=debug -Dwerror=false \
    -Dc_args=-fno-builtin-execve >/dev/null
ninja -C "$build" >"$build/build.log" 2>&1 || { tail -20 "$build/build.log" >&2; exit 1; }
ninja -C build >"$build/build.log" 2>&1 || { tail -20 "$build/build.log" >&2; exit 1; }
for program in openshell-sandbox openshell-local-launcher; do
    cp --remove-destination "build/bin/$program" "$build/bin/"
done
find "$build" -name '*.gcda' -delete
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
    run "$(basename "$test")" env OPENSHELL_BUILD="$build" "$python" "$test"
done
gcovr --root . --object-directory "$build" --filter 'src/' --json-summary "$build/coverage.json" "$build" \
    >"$build/test-logs/gcovr.log" 2>&1 || { tail -5 "$build/test-logs/gcovr.log" >&2; exit 1; }
"$python" - "$build/coverage.json" <<'END'
import collections
import json
import sys

modules = collections.defaultdict(lambda: [0, 0, 0])
for f in json.load(open(sys.argv[1]))["files"]:
    parts = f["filename"].split("/")
    name = "/".join(parts[1:3]) if parts[1] in ("supervisor", "drivers", "net", "gateway") and len(parts) > 3 else parts[1]
    for key in (name, "all"):
        for i, n in enumerate((1, f["line_total"], f["line_covered"])):
            modules[key][i] += n
print(f"{'module':<24}{'files':>7}{'lines':>8}{'covered':>9}")
for name, (files, lines, covered) in sorted(modules.items(), key=lambda m: (m[0] == "all", m[0])):
    print(f"{name:<24}{files:>7}{lines:>8}{100 * covered / max(lines, 1):>8.1f}%")
END
