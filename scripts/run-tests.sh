#!/bin/sh
# Runs the test suites and counts their cases: run-tests.sh {all|fast|unit|e2e|sanitize|interop|fuzz}, or
# run-tests.sh case NAME...: the tests that have a case of that name, with their output, and of Python tests only that.
# Every case is one line "ok NAME", "not ok NAME: why" or "skip NAME: why" (cmocka's own output for the C
# tests). Logs stay in build/test-logs. The last line is "N passed, N failed, N skipped".
set -u
cd "$(dirname "$0")/.."
what=${1:-all}
python=$([ -x /usr/bin/python3 ] && echo /usr/bin/python3 || echo python3) # Debian's, which has the packages
logs=build/test-logs
mkdir -p "$logs"
passed=0 failed=0 skipped=0
counts=${TEST_COUNTS:-$logs/counts} # what programs that ran side by side add to: "passed failed skipped" each

# account NAME LOG STATUS: adds the cases of one log; a program that failed without naming a case is one failure.
account() {
    ok=$(grep -acE '^(ok |\[ +OK +\])' "$2")
    bad=$(grep -acE '^not ok ' "$2")
    cm=$(grep -aE '^ *[0-9]+ FAILED TEST\(S\)' "$2" | awk '{n += $1} END {print n + 0}')
    skip=$(grep -acE '^(skip |\[ +SKIPPED +\])' "$2")
    bad=$((bad + cm))
    if [ "$3" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    if [ "$3" -eq 0 ] && [ $((ok + bad + skip)) -eq 0 ]; then
        echo "not ok $1: the program ran no test case" >>"$2"
        bad=1
    fi
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
    printf '%-34s %4d ok %3d failed %3d skipped %4d s\n' "$1" "$ok" "$bad" "$skip" $(($(date +%s) - started))
    if [ "$bad" -ne 0 ]; then
        grep -aE '^not ok |\[  FAILED  \]|ERROR:|runtime error|^\[   LINE   \]' "$2" | head -20 | sed 's/^/    /'
        echo "    --- last lines of $2"
        tail -15 "$2" | sed 's/^/    /'
    fi
    grep -aE '^skip ' "$2" | sed 's/^/    /'
}

# one NAME COMMAND...: runs a test program under a time limit.
one() {
    name=$1
    shift
    log=$logs/$(echo "$name" | tr '/ ' '__').log
    started=$(date +%s)
    timeout -k 10 "${TEST_TIMEOUT:-300}" "$@" >"$log" 2>&1
    account "$name" "$log" $?
}

# side_by_side: the commands on stdin, "NAME COMMAND...", as many at a time as there are processors.
side_by_side() {
    : >"$counts"
    TEST_COUNTS=$counts xargs -P "$(nproc)" -L 1 scripts/run-tests.sh one
    while read -r ok bad skip; do
        passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
    done <"$counts"
}

unit() { # unit BUILD LABEL
    for t in $(find "$1/tests/unit" -type f -name 'test_*' -perm -u+x | sort); do
        one "$2/$(basename "$t")" "$t"
    done
}

sanitized() {
    started=$(date +%s)
    [ -f build-asan/build.ninja ] ||
        meson setup build-asan -Db_sanitize=address,undefined -Db_lundef=false >"$logs/build-asan.log" 2>&1
    if ! ninja -C build-asan >>"$logs/build-asan.log" 2>&1; then
        echo "not ok the sanitised build" >>"$logs/build-asan.log"
        account sanitize/build "$logs/build-asan.log" 1
        return
    fi
    ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
    export ASAN_OPTIONS UBSAN_OPTIONS
    unit build-asan sanitize
}

scripts_of() { # scripts_of DIRECTORY LABEL
    [ -d "$1" ] || return 0
    find "$1" -name 'test_*.py' -o -name 'test_*.sh' | sort | while read -r t; do
        case $t in
        *.py) echo "$2/$(basename "$t") $python $t" ;;
        *) echo "$2/$(basename "$t") sh $t" ;;
        esac
    done >"$logs/list"
    side_by_side <"$logs/list"
}

lint() {
    started=$(date +%s)
    scripts/lint.sh --quick >"$logs/lint.log" 2>&1
    status=$?
    [ $status -eq 0 ] && echo "ok lint" >>"$logs/lint.log"
    account lint "$logs/lint.log" $status
}

fuzz() {
    started=$(date +%s)
    scripts/run-fuzz.sh "${FUZZ_SECONDS:-5}" >"$logs/fuzz.log" 2>&1
    account fuzz "$logs/fuzz.log" $?
}

# case_named NAME...: the test programs that have a case of the last name, or with a part of it. Python tests run the
# cases named, in their own order: name those, too, that the last one builds on. C tests run whole.
case_named() {
    for name; do
        case $name in
        '' | *[!A-Za-z0-9_]*) echo "error: '$name' is no name of a case: letters, digits and _" >&2; exit 2 ;;
        esac
    done
    found='' status=0
    for pattern in "$name" "[A-Za-z0-9_]*$name[A-Za-z0-9_]*"; do
        [ -n "$found" ] || found=$(grep -rlE "(^def |[ (])$pattern\\(" tests/e2e tests/interop tests/unit \
            --include='test_*.py' --include='test_*.c' | sort)
    done
    [ -n "$found" ] || { echo "error: no test in tests/e2e, tests/interop or tests/unit has a case '$name'" >&2; exit 2; }
    for t in $found; do
        case $t in
        *.py) echo "$ $python $t $*"; "$python" "$t" "$@" ;;
        *) echo "$ build/${t%.c}"; "build/${t%.c}" ;;
        esac || status=1
    done
    exit $status
}

case $what in
one) # of side_by_side
    shift
    one "$@"
    echo "$passed $failed $skipped" >>"$counts"
    exit 0
    ;;
case)
    shift
    [ $# -gt 0 ] || { echo "usage: $0 case NAME..." >&2; exit 2; }
    case_named "$@"
    ;;
unit) unit build unit ;;
sanitize) sanitized ;;
e2e) scripts_of tests/e2e e2e ;;
interop) scripts_of tests/interop interop ;;
fuzz) fuzz ;;
fast)
    lint
    unit build unit
    ;;
all)
    lint
    unit build unit
    scripts_of tests/lint lint
    scripts_of tests/e2e e2e
    scripts_of tests/interop interop
    sanitized
    fuzz
    ;;
*)
    echo "usage: $0 {all|fast|unit|e2e|sanitize|interop|fuzz|case NAME...}" >&2
    exit 2
    ;;
esac
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
