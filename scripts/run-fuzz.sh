#!/bin/sh
# Builds every fuzz target (tests/fuzz/**/fuzz_*) and runs each for a while.
# Usage: run-fuzz.sh [SECONDS-PER-TARGET]    default 10
# Seeds come from tests/fuzz/<module>/corpus/<target>/; what the runs learn stays in build-fuzz/corpus and what
# breaks a target in build-fuzz/artifacts. The last line is "N passed, N failed, N skipped".
set -u
seconds=${1:-10}
case $seconds in
'' | *[!0-9]* | 0) echo "usage: $0 [SECONDS-PER-TARGET]" >&2; exit 2 ;;
esac
cd "$(dirname "$0")/.." || exit 2
build=build-fuzz
log=$build/build.log
passed=0 failed=0

finish() {
    echo "$passed passed, $failed failed, 0 skipped"
    [ $failed -eq 0 ] && [ $passed -gt 0 ]
    exit
}

build_failed() {
    echo "not ok fuzz build: see $log"
    tail -20 $log | sed 's/^/    /'
    failed=1
    finish
}

mkdir -p $build
if ! [ -f $build/build.ninja ]; then
    CC=clang meson setup $build -Dfuzz=true -Db_lundef=false >$log 2>&1 || build_failed
fi
ninja -C $build build.ninja >$log 2>&1 || build_failed
targets=$(ninja -C $build -t targets all | sed -n 's|^\(tests/fuzz/.*/fuzz_[a-z0-9_]*\): .*|\1|p' | sort)
if [ -z "$targets" ]; then
    echo "not ok fuzz: there are no fuzz targets"
    failed=1
    finish
fi
# shellcheck disable=SC2086 # a list of file names without spaces
ninja -C $build $targets >>$log 2>&1 || build_failed

mkdir -p $build/artifacts
# One at a time on every processor; a line of each goes to the results.
# shellcheck disable=SC2016 # expanded by the inner shell
printf '%s\n' $targets | xargs -P "$(nproc)" -n 1 sh -c '
    seconds=$1 build=$2 target=$3
    name=$(basename "$target")
    seeds=$(dirname "$target")/corpus/$name
    learnt=$build/corpus/$name
    run=$build/$name.log
    mkdir -p "$learnt"
    [ -d "$seeds" ] || seeds=
    # shellcheck disable=SC2086 # no argument at all without seeds
    timeout -k 10 $((seconds + 120)) "$build/$target" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=20 \
        -print_final_stats=1 -artifact_prefix="$build/artifacts/$name-" "$learnt" $seeds >"$run" 2>&1
    status=$?
    runs=$(sed -n "s/^stat::number_of_executed_units: *//p" "$run")
    if [ $status -eq 0 ] && [ "${runs:-0}" -gt 0 ]; then
        echo "ok fuzz $name: $runs runs"
    else
        echo "not ok fuzz $name: status $status, see $run
$(grep -aE "ERROR|SUMMARY|runtime error|Test unit written" "$run" | head -10 | sed "s/^/    /")"
    fi
' sh "$seconds" "$build" | tee $build/results
passed=$(grep -c '^ok ' $build/results)
failed=$(($(printf '%s\n' "$targets" | wc -l) - passed))
finish
