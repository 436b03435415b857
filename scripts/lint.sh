#!/bin/sh
# Checks what the compiler does not: formatting, include direction, include guards, forbidden words; then
# builds everything with clang, warnings as errors. One line per check, the places under a failed one.
# Usage: lint.sh [--quick] [--root DIR]    --quick leaves the clang build out; DIR is another tree to look at.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
quick=no
while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=yes ;;
    --root) root=$2; shift ;;
    *) echo "usage: $0 [--quick] [--root DIR]" >&2; exit 2 ;;
    esac
    shift
done
cd "$root" || exit 2
out=$(mktemp -d) || exit 2
trap 'rm -rf "$out"' EXIT
failed=0

# verdict NAME: the check's findings are in $out/found, one a line.
verdict() {
    if [ -s "$out/found" ]; then
        echo "not ok lint $1: $(wc -l <"$out/found") problem(s)"
        head -40 "$out/found" | sed 's/^/    /'
        failed=1
    else
        echo "$1: clean"
    fi
}

find src tests bench include \( -name '*.c' -o -name '*.h' \) 2>/dev/null | sort >"$out/sources"
grep -E '^(src|include)/' "$out/sources" >"$out/product"
if ! [ -s "$out/product" ]; then
    echo "not ok lint: no C source under $root/src"
    exit 1
fi

# --- format ---
xargs clang-format --dry-run -Werror <"$out/sources" >"$out/format" 2>&1
status=$?
grep -E 'error:' "$out/format" | sed 's/: error: code should be.*/: not formatted; run clang-format -i/' | sort -u >"$out/found"
if [ $status -ne 0 ] && ! [ -s "$out/found" ]; then
    sed 's/^/clang-format: /' "$out/format" >"$out/found"
    [ -s "$out/found" ] || echo "clang-format failed with status $status" >"$out/found"
fi
verdict format

# --- include direction ---
# A module may include itself and what stands on its line. A directory without a line is a finding.
cat >"$out/directions" <<'END'
core
sys core
net core sys
rpc core sys net
policy core sys net rpc
middleware core sys net rpc policy
prover core sys net rpc policy
sdk core sys net rpc policy
drivers core sys net rpc policy
supervisor core sys net rpc policy middleware
gateway core sys net rpc policy middleware drivers
cli core sys net rpc policy prover sdk drivers supervisor gateway tui
tui core sys net rpc policy prover sdk
END
grep -E '^src/' "$out/sources" | xargs awk '
    FILENAME == ARGV[1] { known[$1] = 1; for (i = 1; i <= NF; i++) allowed[$1, $i] = 1; next }
    FILENAME == ARGV[2] { ours[$0] = 1; next }
    FNR == 1 {
        n = split(FILENAME, part, "/"); module = part[2]
        if (n < 3) print FILENAME ": belongs into a module directory"
        else if (!(module in known)) print FILENAME ": module " module " is not in the direction table of the lint"
    }
    /^[ \t]*#[ \t]*include[ \t]*["<]/ {
        path = $0; quoted = path ~ /^[^<]*"/; sub(/^[^"<]*["<]/, "", path); sub(/[">].*/, "", path)
        if (path ~ /(^|\/)\.\.\//) print FILENAME ":" FNR ": include " path ": write it from src/"
        split(path, to, "/")
        if (!quoted && !(("src/" path) in ours)) next # <sys/stat.h> is not ours
        if (path ~ /\// && (to[1] in known) && (module in known) && !((module, to[1]) in allowed))
            print FILENAME ":" FNR ": " module " must not include " path
    }' "$out/directions" "$out/product" >"$out/found"
verdict includes

# --- include guards ---
# Table headers (tbl/) are expanded several times and have none.
grep -E '\.h$' "$out/sources" | grep -v '/tbl/' | while read -r header; do
    awk -v file="$header" '
        /^[ \t]*#/ {
            seen++
            if (seen == 1 && $1 == "#ifndef") name = $2
            if (seen == 2 && $1 == "#define" && name != "" && $2 == name) guarded = 1
        }
        END { if (!guarded) print file ": no include guard (#ifndef and #define first)" }' "$header"
done >"$out/found"
verdict guards
# Two headers with the same guard hide each other.
grep -E '\.h$' "$out/product" | grep -v '/tbl/' | xargs -r awk '
    FNR == 1 { seen = 0 }
    /^[ \t]*#/ && !seen { seen = 1; if ($1 == "#ifndef") { if ($2 in first) print FILENAME ": guard " $2 " is also that of " first[$2]; else first[$2] = FILENAME } }
    ' >"$out/found"
verdict guard-names

# --- sizes ---
# Listed above the first figure, refused above the second.
file_aim=400 file_limit=800 function_aim=60 function_limit=120
xargs wc -l <"$out/product" | awk '$2 != "total" {print $1, $2}' | sort -rn >"$out/files"
xargs ctags -o - --sort=no --languages=C --langmap=C:.c.h --c-kinds=f --fields=+ne <"$out/product" 2>/dev/null | awk -F '\t' '{
        for (i = 4; i <= NF; i++) if ($i ~ /^line:/) line = substr($i, 6); else if ($i ~ /^end:/) end = substr($i, 5)
        if (end) print end - line + 1, $2 ":" line " " $1 "()"
        end = ""
    }' | sort -rn >"$out/functions"
sizes() { # sizes WHAT LIST AIM LIMIT: one line, then what is above the aim; what is above the limit is a finding
    n=$(wc -l <"$2")
    if [ "$n" -eq 0 ]; then
        [ "$1" != functions ] || echo "ctags found no function; is universal-ctags installed?" >>"$out/found"
        return
    fi
    echo "sizes: $n $1, median $(sed -n "$(((n + 1) / 2))p" "$2" | cut -d' ' -f1) lines, $(awk -v aim="$3" '$1 > aim' "$2" | wc -l) above $3"
    awk -v aim="$3" '$1 > aim {n = $1; sub(/^[0-9]+ /, ""); print "    " $0 ": " n}' "$2"
    awk -v limit="$4" '$1 > limit {n = $1; sub(/^[0-9]+ /, ""); print $0 ": " n " lines, at most " limit}' "$2" >>"$out/found"
}
: >"$out/found"
sizes files "$out/files" $file_aim $file_limit
sizes functions "$out/functions" $function_aim $function_limit
verdict sizes

# --- forbidden words ---
# Spelled in two pieces here, so that this file passes its own check.
words='(^|[^[:alnum:]_])(TO''DO|FIX''ME|XX''X)([^[:alnum:]_]|$)|/wo''rk/(main|shared|\.)|/tm''p/wt/'
find . \( -name .git -o -name 'build*' -type d -o -name __pycache__ \) -prune -o -type f -print |
    sed 's|^\./||' | sort | tr '\n' '\0' | xargs -0 grep -nIE "$words" /dev/null |
    cut -c1-160 >"$out/found"
verdict words

# --- clang ---
if [ $quick = no ]; then
    : >"$out/found"
    {
        [ -f build-clang/build.ninja ] || CC=clang meson setup build-clang
        ninja -C build-clang
    } >"$out/clang" 2>&1 || {
        grep -E 'error:|warning:|ERROR' "$out/clang" >"$out/found"
        [ -s "$out/found" ] || tail -20 "$out/clang" >"$out/found"
    }
    verdict clang
fi
exit $failed
