#!/usr/bin/env python3
"""Lists what a user may be told, to be read in one go: every text of two words or more in the C sources, with the place
and the call it stands in. Adjacent literals are one text; a conversion's PRI macro is shown as its name.

Usage: list-messages.py [--all] [DIRECTORY...]    default: src; --all with the manual pages, help and SQL texts, too
Output, one a line, tab-separated: FILE:LINE, the innermost call ("-" outside of any), the text."""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOKEN = re.compile(r"""
    (?P<skip>/\*.*?\*/|//[^\n]*|\s+|'(?:\\.|[^'\\])*'|^[ \t]*\#(?:[^\n\\]|\\.|\\\n)*)
  | "(?P<text>(?:\\.|[^"\\])*)"
  | (?P<word>[A-Za-z_]\w*)
  | (?P<mark>.)""", re.X | re.S | re.M)
WORDS = re.compile(r"[A-Za-z%][^ ]* +\S*[A-Za-z%]")
NOT_A_CALL = {"if", "while", "for", "switch", "return", "sizeof"}
# Pages and statements, not messages.
PAGES = re.compile(r"^src/cli/(man/|commands\.c|completions\.c|help\.c|tbl/)|/tbl/(options|config_keys)\.h$")
QUIET_CALLS = re.compile(r"^(man_\w+|flags?|flag_block|sqlite3_\w+|query_open|json_pack|json_unpack\w*|sscanf|strftime|strcmp|strspn|"
                         r"strcspn|strpbrk|strchr|strstr|strtok_r|os_str_starts|static_assert|_Static_assert|volatile|__attribute__)$")
SQL = re.compile(r"^(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|PRAGMA|BEGIN|COMMIT|ROLLBACK) ?")


def texts(source):
    """Yields (line, call, text); adjacent literals and macros between them are one text."""
    calls, before, held = [], None, None
    line = 1
    for m in TOKEN.finditer(source):
        at, line = line, line + m[0].count("\n")
        if m["skip"] is not None:
            continue
        if m["text"] is not None:
            held = held or [at, next((c for c in reversed(calls) if c), "-"), ""]
            held[2] += m["text"]
            before = None
            continue
        if held and m["word"] and m["word"].isupper() or held and m["word"] and m["word"].startswith("PRI"):
            held[2] += f"<{m['word']}>"
            continue
        if held:
            yield tuple(held)
            held = None
        if m["mark"] == "(":
            calls.append(before if before not in NOT_A_CALL else None)
        elif m["mark"] == ")" and calls:
            calls.pop()
        before = m["word"]


def files(names):
    for name in names:
        top = ROOT / name
        yield from sorted(p for p in top.rglob("*.[ch]")) if top.is_dir() else [top]


def main(argv):
    everything = "--all" in argv
    for path in files([a for a in argv if a != "--all"] or ["src"]):
        name = str(path.relative_to(ROOT))
        if PAGES.search(name) and not everything:
            continue
        for line, call, text in texts(path.read_text()):
            if WORDS.search(text) and (everything or not (QUIET_CALLS.match(call) or SQL.match(text))):
                print(f"{name}:{line}\t{call}\t{text}")


if __name__ == "__main__":
    main(sys.argv[1:])
