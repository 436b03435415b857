#!/bin/sh
# The demo of `make run`, as a test.
cd "$(dirname "$0")/../.."
if DEMO_GATEWAY_PORT=$((20000 + $$ % 20000)) scripts/demo.sh; then
    echo "ok demo"
else
    echo "not ok demo: see above"
    exit 1
fi
