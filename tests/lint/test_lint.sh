#!/bin/sh
# Proves that every check of scripts/lint.sh can fail: each case puts one flaw into a small clean tree.
set -u
here=$(cd "$(dirname "$0")/../.." && pwd)
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0

# A tree without a flaw: one file per module that the cases touch.
clean_tree() {
    rm -rf "$tmp/tree"
    mkdir -p "$tmp/tree/src/core" "$tmp/tree/src/net" "$tmp/tree/src/gateway" "$tmp/tree/src/supervisor/egress" \
        "$tmp/tree/src/rpc/tbl" "$tmp/tree/src/sys" "$tmp/tree/tests"
    cp "$here/.clang-format" "$tmp/tree/"
    cd "$tmp/tree" || exit 1
    printf '#ifndef CORE_A_H\n#define CORE_A_H\nint core_a(void);\n#endif\n' >src/core/a.h
    printf '#include "core/a.h"\n\nint core_a(void)\n{\n    return 1;\n}\n' >src/core/a.c
    printf '#ifndef NET_N_H\n#define NET_N_H\nint net_n(void);\n#endif\n' >src/net/n.h
    printf '#include "net/n.h"\n\n#include <sys/random.h>\n\n#include "core/a.h"\n\nint net_n(void)\n{\n    return core_a();\n}\n' >src/net/n.c
    printf '#ifndef GATEWAY_G_H\n#define GATEWAY_G_H\n#include "net/n.h"\n#endif\n' >src/gateway/g.h
    printf '#ifndef EGRESS_E_H\n#define EGRESS_E_H\n#include "net/n.h"\n#endif\n' >src/supervisor/egress/e.h
    printf 'ROW(one)\n' >src/rpc/tbl/rows.h
    printf 'Words that only look alike: todos, a FIXMEish word, a workshop.\n' >README.md
}

verdict() { # verdict OK NAME WHY
    if [ "$1" = yes ]; then
        echo "ok $2"
        passed=$((passed + 1))
    else
        echo "not ok $2: $3"
        sed 's/^/    /' "$tmp/out"
        failed=$((failed + 1))
    fi
}

# refuses NAME CHECK TEXT [OPTION]: the lint must fail in CHECK and say TEXT.
refuses() {
    "$here/scripts/lint.sh" ${4---quick} --root "$tmp/tree" >"$tmp/out" 2>&1
    status=$?
    if [ $status -eq 1 ] && grep -q "^not ok lint $2:" "$tmp/out" && grep -qF -- "$3" "$tmp/out" &&
        [ "$(grep -c '^not ok' "$tmp/out")" -eq 1 ]; then
        verdict yes "$1"
    else
        verdict no "$1" "status $status, wanted a failure of '$2' alone that says '$3'"
    fi
    clean_tree
}

accepts() {
    if "$here/scripts/lint.sh" --quick --root "$tmp/tree" >"$tmp/out" 2>&1; then
        verdict yes "$1"
    else
        verdict no "$1" "the lint failed"
    fi
    clean_tree
}

clean_tree
accepts a_clean_tree_passes

printf 'int  core_b( void );\n' >>src/core/a.c
refuses bad_format format "src/core/a.c:7:"

printf 'int  x;\n' >tests/t.c
refuses bad_format_in_tests format "tests/t.c:1:"

printf 'BasedOnStyle: Nonsense\n' >.clang-format
refuses a_broken_format_file format ""

printf '#include "net/n.h"\n' >src/core/b.c
refuses core_includes_net includes "src/core/b.c:1: core must not include net/n.h"

printf '#include <net/n.h>\n' >src/core/b.c
refuses core_includes_net_in_angle_brackets includes "core must not include net/n.h"

printf '#include "net/n.h"\n' >src/sys/b.c
refuses sys_includes_net includes "sys must not include net/n.h"

printf '#include "gateway/g.h"\n' >src/supervisor/egress/b.c
refuses supervisor_includes_gateway includes "supervisor must not include gateway/g.h"

printf '#include "supervisor/egress/e.h"\n' >src/gateway/b.c
refuses gateway_includes_supervisor includes "gateway must not include supervisor/egress/e.h"

printf '#include "../core/a.h"\n' >src/net/b.c
refuses relative_include includes "write it from src/"

mkdir src/utils && printf 'int x;\n' >src/utils/b.c
refuses unknown_module includes "module utils is not in the direction table"

printf 'int x;\n' >src/b.c
refuses file_outside_modules includes "belongs into a module directory"

mkdir -p src/cli src/drivers && printf '#include "core/a.h"\n' >src/drivers/d.c
printf '#include "gateway/g.h"\n#include "supervisor/egress/e.h"\n' >src/cli/c.c
accepts the_cli_may_include_all

printf 'int core_b(void);\n' >src/core/b.h
refuses no_guard guards "src/core/b.h: no include guard"

printf '#ifndef CORE_B_H\n#define CORE_C_H\n#endif\n' >src/core/b.h
refuses guard_that_guards_nothing guards "src/core/b.h: no include guard"

printf '#ifndef CORE_A_H\n#define CORE_A_H\n#endif\n' >src/core/b.h
refuses guard_used_twice guard-names "src/core/b.h: guard CORE_A_H is also that of src/core/a.h"

yes '' | head -801 | sed 's|.*|// line|' >>src/core/b.c
refuses long_file sizes "src/core/b.c: 801 lines, at most 800"

long_function() {
    echo 'int core_long(int n)'
    echo '{'
    yes '    n++;' | head -"$1"
    echo '    return n;'
    echo '}'
}
long_function 117 >src/core/b.c
refuses long_function sizes "src/core/b.c:1 core_long(): 121 lines, at most 120"

long_function 116 >src/core/b.c
accepts a_function_at_the_limit

# The report names what is above the aim without failing.
long_function 57 >src/core/b.c
"$here/scripts/lint.sh" --quick --root "$tmp/tree" >"$tmp/out" 2>&1
[ $? -eq 0 ] && grep -q '^sizes: 3 functions, median 4 lines, 1 above 60$' "$tmp/out" &&
    grep -qx '    src/core/b.c:1 core_long(): 61' "$tmp/out" && r=yes || r=no
verdict $r sizes_are_reported "the report is not what it should be"
clean_tree

printf '// %s: later\n' TO''DO >>src/core/a.c
refuses forbidden_todo words "src/core/a.c:7:"

printf '%s\n' FIX''ME >>README.md
refuses forbidden_fixme words "README.md:2:"

mkdir scripts && printf 'cd /wo%s/main\n' rk >scripts/x.sh
refuses machine_path words "scripts/x.sh:1:"

printf "project('t', 'c', default_options: ['werror=true', 'warning_level=2'])\nstatic_library('t', 'src/core/w.c')\n" >meson.build
printf 'static int unused_here(void)\n{\n    return 1;\n}\n' >src/core/w.c
refuses clang_warning clang "unused function" ""

rm -r src
"$here/scripts/lint.sh" --quick --root "$tmp/tree" >"$tmp/out" 2>&1
[ $? -eq 1 ] && grep -q 'no C source' "$tmp/out" && r=yes || r=no
verdict $r an_empty_tree_fails "the lint passed a tree without sources"

cd / && echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
