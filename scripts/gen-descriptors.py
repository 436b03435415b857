#!/usr/bin/env python3
"""Writes the descriptors that server reflection answers with (src/gateway/rpc/descriptors.h) as C source.

protoc makes one set of the given files and all they import; what is looked up at run time - symbols, extensions, what a
file needs - is worked out here. Only Python's standard library: the few fields that matter are read off the wire.
Usage: gen-descriptors.py OUTPUT GOOGLE_INCLUDE PROTO...
"""
import os
import subprocess
import sys
import tempfile


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    """(number, value) of one message: an int, or bytes."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 2:
            n, at = varint(data, at)
            value, at = data[at:at + n], at + n
        else:
            n = {1: 8, 5: 4}[key & 7]
            value, at = data[at:at + n], at + n
        yield key >> 3, value


def texts(data, number):
    return [v.decode() for k, v in fields(data) if k == number]


def messages(data, number):
    return [v for k, v in fields(data) if k == number]


class File:
    """FileDescriptorProto: name 1, package 2, dependency 3, message 4, enum 5, service 6, extension 7."""

    def __init__(self, data):
        self.data, self.name, self.needs = data, texts(data, 1)[0], texts(data, 3)
        self.symbols, self.extensions = {}, []
        package = (texts(data, 2) or [""])[0]
        for m in messages(data, 4):
            self.message(package, m)
        for e in messages(data, 5):
            self.enum(package, e)
        for s in messages(data, 6):
            name = self.symbol(package, s)
            for m in messages(s, 2):
                self.symbol(name, m)
        for x in messages(data, 7):
            self.extension(package, x)

    def symbol(self, scope, data, is_message=False):
        name = (scope + "." if scope else "") + texts(data, 1)[0]
        self.symbols[name] = is_message
        return name

    def enum(self, scope, data):
        """Values are named in the scope of the enum, not in the enum."""
        self.symbol(scope, data)
        for value in messages(data, 2):
            self.symbol(scope, value)

    def extension(self, scope, data):
        """FieldDescriptorProto: extendee 2, number 3."""
        self.symbol(scope, data)
        self.extensions.append((texts(data, 2)[0].lstrip("."), next(v for k, v in fields(data) if k == 3)))

    def message(self, scope, data):
        """DescriptorProto: nested message 3, enum 4, extension 6."""
        name = self.symbol(scope, data, True)
        for m in messages(data, 3):
            self.message(name, m)
        for e in messages(data, 4):
            self.enum(name, e)
        for x in messages(data, 6):
            self.extension(name, x)


def load(google, protos):
    with tempfile.TemporaryDirectory() as work:
        out = os.path.join(work, "set")
        subprocess.run(["protoc", "-I" + os.path.dirname(protos[0]), "-I" + google, "--include_imports",
                        "--descriptor_set_out=" + out, *protos], check=True)
        with open(out, "rb") as f:
            return [File(data) for data in messages(f.read(), 1)]


def closure(file, by_name):
    """The file, then all it needs, each once and before what it needs itself: a reader goes from the end."""
    done = []

    def visit(f):
        if f not in done:
            for name in f.needs:
                visit(by_name[name])
            done.append(f)
    visit(file)
    return done[::-1]


def main():
    output, google, *protos = sys.argv[1:]
    files = load(google, protos)
    at, by_name = {f: i for i, f in enumerate(files)}, {f.name: f for f in files}
    out = ["/* Made by scripts/gen-descriptors.py. */", '#include "gateway/rpc/descriptors.h"', ""]
    for f in files:
        rows = [", ".join(str(b) for b in f.data[i:i + 32]) for i in range(0, len(f.data), 32)]
        out += ["static const uint8_t data_%d[] = {" % at[f], ",\n".join(rows), "};"]
        out += ["static const uint16_t needs_%d[] = {%s};" % (at[f], ", ".join(str(at[n]) for n in closure(f, by_name)))]
    out += ["const struct descriptor_file descriptor_files[] = {"]
    out += ['    {"%s", data_%d, sizeof(data_%d), needs_%d, %d},' % (f.name, i, i, i, len(closure(f, by_name)))
            for f, i in at.items()]
    symbols = sorted((name.encode(), at[f], m) for f in files for name, m in f.symbols.items())
    out += ["};", "const size_t descriptor_n_files = %d;" % len(files), "const struct descriptor_symbol descriptor_symbols[] = {"]
    out += ['    {"%s", %d, %d},' % (name.decode(), i, m) for name, i, m in symbols]
    extensions = sorted((type_name, number, at[f]) for f in files for type_name, number in f.extensions)
    out += ["};", "const size_t descriptor_n_symbols = %d;" % len(symbols)]
    out += ["const struct descriptor_extension descriptor_extensions[] = {"]
    out += ['    {"%s", %d, %d},' % x for x in extensions]
    out += ["};", "const size_t descriptor_n_extensions = %d;" % len(extensions), ""]
    with open(output, "w") as f:
        f.write("\n".join(out))


main()
