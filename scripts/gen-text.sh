#!/bin/sh
# Turns text files into C: one array of characters per file, named after its extension.
# Usage: gen-text.sh PREFIX FILE... >HEADER
set -eu
prefix=$1
shift
for file; do
    echo "static const char ${prefix}_${file##*.}[] ="
    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/    "/' -e 's/$/\\n"/' "$file"
    echo "    \"\";"
done
