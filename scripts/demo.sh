#!/bin/sh
# The main job, by itself: a gateway, a sandbox, a refused request, a policy, an allowed one, and everything
# gone again. Every step checks what it sees; the first surprise ends it. demo.sh [BIN] (default build/bin)
set -eu
cd "$(dirname "$0")/.."
bin=$(cd "${1:-build/bin}" && pwd)
[ "$(id -u)" = 0 ] || {
    command -v sudo >/dev/null || { echo "error: local sandboxes need root; run this as root or install sudo" >&2; exit 1; }
    exec sudo "$0" "$bin"
}
PATH=$bin:$PATH
dir=$(mktemp -d /tmp/openshell-demo.XXXXXX)
chmod 711 "$dir"
address=10.98.$(($$ % 250 + 1)).$(($$ / 250 % 250 + 1)) # private, so the policy must name its host; on lo only while the demo runs
port=443
gateway_port=${DEMO_GATEWAY_PORT:-17671}
XDG_CONFIG_HOME=$dir/config XDG_STATE_HOME=$dir/state OPENSHELL_LOCAL_EXTRA_CA=$dir/ca.pem
OPENSHELL_LOCAL_EXTRA_HOSTS=$dir/hosts NO_COLOR=1
export PATH XDG_CONFIG_HOME XDG_STATE_HOME OPENSHELL_LOCAL_EXTRA_CA OPENSHELL_LOCAL_EXTRA_HOSTS NO_COLOR
origin=

clean_up() {
    status=$?
    trap - EXIT INT TERM
    [ $status -eq 0 ] || { echo; echo "--- gateway log"; tail -40 "$dir"/state/openshell/gateway/*.log 2>/dev/null; }
    openshell sandbox delete demo >/dev/null 2>&1 || true
    openshell gateway stop >/dev/null 2>&1 || true
    [ -z "$origin" ] || kill "$origin" 2>/dev/null || true
    ip address del $address/32 dev lo 2>/dev/null || true
    rm -rf "$dir"
    exit $status
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step() {
    echo
    echo "== $*"
}
fail() {
    echo "FAILED: $*" >&2
    exit 1
}
# run STATUS COMMAND...: shows the command and its output (kept in $dir/out), checks the exit status ("!" = any but 0).
run() {
    want=$1
    shift
    printf '$'
    for word; do
        case $word in *[!A-Za-z0-9_./:=-]*) printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac
    done
    echo
    got=0
    "$@" >"$dir/out" 2>&1 </dev/null || got=$?
    cat "$dir/out"
    case $want in
    !) [ $got -ne 0 ] || fail "this should not have succeeded" ;;
    *) [ $got -eq "$want" ] || fail "exit status $got, expected $want" ;;
    esac
}
# Events travel in batches: asks again for a moment until the log shows the pattern.
logs_show() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        openshell logs demo -n 200 | grep -q -e "$1" && break
        sleep 0.2
    done
    run 0 openshell logs demo -n 200
    shows "$1"
}
shows() { grep -q -e "$1" "$dir/out" || fail "the output does not show: $1"; }

step "an HTTPS API of our own: api.demo.test at $address, its certificate from our own authority"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=demo CA" \
    -keyout "$dir/ca.key" -out "$dir/ca.pem" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=api.demo.test" \
    -keyout "$dir/api.key" -out "$dir/api.csr" 2>/dev/null
printf 'subjectAltName=DNS:api.demo.test\n' >"$dir/ext"
openssl x509 -req -in "$dir/api.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -days 2 -extfile "$dir/ext" \
    -out "$dir/api.pem" 2>/dev/null
echo "$address api.demo.test" >"$dir/hosts"
ip address add $address/32 dev lo 2>/dev/null || true
mkfifo "$dir/ready"
python3 scripts/demo-origin.py $address $port "$dir/api.pem" "$dir/api.key" >"$dir/ready" &
origin=$!
read -r line <"$dir/ready" || true
[ "$line" = ready ] || fail "the API did not start"
echo "listening"

step "1. a gateway: certificates made on first start, SQLite, local driver"
run 0 openshell gateway start --port "$gateway_port"
run 0 openshell status
shows "[Cc]onnected\|[Hh]ealthy"

step "2. a sandbox with the default policy: nothing may leave it"
run 0 openshell sandbox create --name demo --detach -- sleep infinity
run 0 openshell sandbox get demo
shows "Ready"

step "3. a request is refused by the proxy, and the reason is shown"
run ! openshell sandbox exec -n demo -- curl -sS --max-time 20 https://api.demo.test/v1/hello
shows "403"
logs_show "DENIED.*api.demo.test"

step "4. a policy: read-only REST access to api.demo.test for curl, in force without a restart"
run 0 openshell policy set demo --policy examples/quickstart/policy.yaml --wait

step "5. the same GET is answered, a POST is not"
run 0 openshell sandbox exec -n demo -- curl -sS --max-time 20 https://api.demo.test/v1/hello
shows "hello from the API"
run 0 openshell sandbox exec -n demo -- curl -sS --max-time 20 -w '\nHTTP %{http_code}\n' -X POST -d x=1 https://api.demo.test/v1/hello
shows "HTTP 403"
shows "policy_denied"

step "6. files: outside the policy is refused, the workspace is writable; exit codes come through"
run ! openshell sandbox exec -n demo -- cat /etc/shadow
shows "Permission denied\|No such file"
run ! openshell sandbox exec -n demo -- ls /srv
shows "Permission denied"
run 0 openshell sandbox exec -n demo -- sh -c 'echo kept > /sandbox/note && cat /sandbox/note'
shows "kept"
run 7 openshell sandbox exec -n demo -- sh -c 'exit 7'

step "7. what happened, as OCSF events"
logs_show "POST.*DENIED.*api.demo.test\|DENIED.*POST.*api.demo.test"
shows "ALLOWED.*api.demo.test"

step "8. list, look, delete: nothing is left"
run 0 openshell sandbox list
shows "demo"
run 0 openshell sandbox get demo
run 0 openshell sandbox delete demo
run 0 openshell sandbox list
! grep -q '^demo ' "$dir/out" || fail "the sandbox is still listed"
[ -z "$(find "$dir/state/openshell/local" -mindepth 1 -maxdepth 1 -type d ! -name ".*" 2>/dev/null)" ] || fail "files are left behind"
! grep -q "$dir" /proc/self/mounts || fail "mounts are left behind"
run 0 openshell gateway stop

echo
echo "All steps passed. Next, with a terminal:"
echo "    $bin/openshell gateway start"
echo "    $bin/openshell sandbox create -- bash"
