#!/usr/bin/env python3
"""Writes the descriptors of all .proto files as a C table for gRPC reflection (src/gateway/reflection/).

Usage: gen-reflection.py OUT.c GOOGLE_INCLUDE PROTO...

The files are the untouched ones, with their options. protoc makes the descriptor set; of it only names and symbols are read
here, with a reader of protobuf's wire format of its own, so that nothing but Python and protoc is needed.
"""
import os
import subprocess
import sys
import tempfile


def fields(data):
    """(number, value) of every field; messages and strings as bytes, numbers as int."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    while at < len(data):
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
        elif kind == 2:
            n = varint()
            yield key >> 3, data[at:at + n]
            at += n
        else:
            n = {1: 8, 5: 4}[kind]
            yield key >> 3, int.from_bytes(data[at:at + n], "little")
            at += n


def text(data, number):
    return next((v.decode() for n, v in fields(data) if n == number), "")


def symbols(data, prefix, kind):
    """Full names declared in a message (kind 'm'), enum ('e'), service ('s') or extension ('x')."""
    name = (prefix + "." if prefix else "") + text(data, 1)
    yield name
    if kind == "m":
        for n, v in fields(data):
            if n == 3:
                yield from symbols(v, name, "m")
            elif n == 4:
                yield from symbols(v, name, "e")
            elif n in (2, 6):
                yield from symbols(v, name, "x")
    elif kind == "s":
        for n, v in fields(data):
            if n == 2:
                yield from symbols(v, name, "x")


def declared(data):
    package = text(data, 2)
    kinds = {4: "m", 5: "e", 6: "s", 7: "x"}
    for n, v in fields(data):
        if n in kinds:
            yield from symbols(v, package, kinds[n])


def extensions(data):
    """(extended type, number) of the extensions a file declares at its top."""
    for n, v in fields(data):
        if n == 7:
            yield text(v, 2).lstrip("."), next(x for k, x in fields(v) if k == 3)


def main(out, google, *protos):
    with tempfile.TemporaryDirectory() as work:
        target = os.path.join(work, "set")
        subprocess.run(["protoc", f"--proto_path={os.path.dirname(protos[0])}", f"--proto_path={google}", "--include_imports",
                        f"--descriptor_set_out={target}", *map(os.path.basename, protos)], check=True)
        with open(target, "rb") as f:
            files = sorted((v for _, v in fields(f.read())), key=lambda v: text(v, 1))
    names = [text(f, 1) for f in files]
    lines = ["/* Made by scripts/gen-reflection.py. */", '#include "gateway/reflection/table.h"', ""]
    for i, f in enumerate(files):
        lines.append(f"static const uint8_t bytes{i}[] = {{{','.join(map(str, f))}}};")
        needs = [names.index(v.decode()) for n, v in fields(f) if n == 3]
        lines.append(f"static const uint16_t needs{i}[] = {{{','.join(map(str, needs + [0]))}}};")
    lines.append("const struct reflection_file reflection_files[] = {")
    for i, f in enumerate(files):
        count = sum(1 for n, _ in fields(f) if n == 3)
        lines.append(f'    {{"{names[i]}", bytes{i}, sizeof(bytes{i}), needs{i}, {count}}},')
    lines += ["};", f"const size_t reflection_n_files = {len(files)};"]
    table = sorted((name, i) for i, f in enumerate(files) for name in declared(f))
    lines.append("const struct reflection_symbol reflection_symbols[] = {")
    lines += [f'    {{"{name}", {i}}},' for name, i in table]
    lines += ["};", f"const size_t reflection_n_symbols = {len(table)};"]
    lines.append("const struct reflection_extension reflection_extensions[] = {")
    found = sorted((type, number, i) for i, f in enumerate(files) for type, number in extensions(f))
    lines += [f'    {{"{type}", {number}, {i}}},' for type, number, i in found]
    lines += ["};", f"const size_t reflection_n_extensions = {len(found)};", ""]
    with open(out, "w") as f:
        f.write("\n".join(lines))


main(*sys.argv[1:])
