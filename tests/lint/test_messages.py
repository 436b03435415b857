#!/usr/bin/env python3
"""Every message that refuses a policy is in a test: its longest piece without placeholders is looked for in the strings of
the unit tests. Stays true when a message is added."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = ("src/policy/validate*.c", "src/policy/admit.c", "src/policy/ambiguity.c", "src/policy/cidr.c", "src/policy/compile*.c",
           "src/policy/merge*.c", "src/policy/yaml_*.c", "src/policy/target.c", "src/cli/policy/*update*.c")
TESTS = ("tests/unit/policy/*.c", "tests/unit/cli/**/*.c", "tests/unit/gateway/**/*.c", "tests/unit/supervisor/**/*.c")
# No document leads to these: the system is out of memory, libyaml names no problem; the last two are of stages that a policy
# passes only without middlewares.
NEVER = ("out of memory", "not valid YAML", "no middleware is registered with this gateway", "middlewares are not built into this program")
TOKENS = re.compile(r'(?P<comment>/\*.*?\*/|//[^\n]*)|(?P<char>\'(?:[^\'\\\n]|\\.)+\')|(?P<text>"(?:[^"\\\n]|\\.)*")|(?P<gap>\s+)|(?P<other>.)',
                    re.S)
PLACEHOLDER = re.compile(r"%[-+ #0]*(?:\*|\d+)?(?:\.(?:\*|\d+))?(?:[hlz]*[a-zA-Z]|%)")


def strings(path):
    """The string literals of a C file, neighbours joined."""
    joined, out = None, []
    for token in TOKENS.finditer(path.read_text().replace("\\\n", "\n")):
        if token["text"]:
            joined = (joined or "") + token["text"][1:-1]
        elif token["other"] or token["char"]:
            if joined is not None:
                out.append(joined.replace('\\"', '"').replace("\\\\", "\\"))
            joined = None
    return out


def main():
    corpus = "\n".join(s for pattern in TESTS for p in sorted(ROOT.glob(pattern)) for s in strings(p))
    corpus += "\n".join(p.read_text() for p in sorted(ROOT.glob("tests/**/test_*.py")))
    missing = total = 0
    for pattern in SOURCES:
        for path in sorted(ROOT.glob(pattern)):
            for message in strings(path):
                if any(n in message for n in NEVER) or message.count(" ") < 2 or not re.search("[a-z]{3}", message):
                    continue
                piece = max((p.strip("%\n '`:.(") for p in PLACEHOLDER.split(message)), key=len)
                if len(piece) < 10:
                    continue
                total += 1
                if piece not in corpus:
                    missing += 1
                    print(f"not ok {path.relative_to(ROOT)}: no test has {message!r}")
    if not missing:
        print(f"ok all {total} messages about policies are in tests")
    sys.exit(1 if missing else 0)


main()
