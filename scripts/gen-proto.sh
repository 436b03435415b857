#!/bin/sh
# Generates protobuf-c code from proto/*.proto into one flat directory.
# The published method and field options are cut first: C code does not read them, and keeping them would
# pull descriptor.proto into every binary. Reflection uses the untouched files.
# Usage: gen-proto.sh OUTDIR GOOGLE_INCLUDE PROTO...
set -eu
out=$1; google=$2; shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for f in "$google/google/protobuf/struct.proto" "$google/google/protobuf/empty.proto" "$@"; do
    case $f in *options.proto) continue ;; esac
    sed -e 's|"google/protobuf/\([a-z]*\)\.proto"|"\1.proto"|' \
        -e '/^import "options.proto";/d' \
        -e '/option (openshell\.options/d' \
        -e 's/ \[(openshell\.options\.v1\.secret) = true\]//' "$f" > "$work/$(basename "$f")"
done
protoc-c --proto_path="$work" --c_out="$out" "$work"/*.proto
