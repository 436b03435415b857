"""Keeps the documentation true: links lead somewhere, named files and functions exist, listings are those of the source,
policy examples validate.

One line per case: "ok NAME" or "not ok NAME: why". Needs a built tree for the policy examples (build/, or the
directory in $BUILD)."""
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build")
VALIDATOR = BUILD / "tests/unit/policy/validate_file"
FENCE = re.compile(r"^```(.*)\n((?:.*\n)*?)```$", re.M)
LINK = re.compile(r"(?<!!)\[(?:[^\]\[`]|`[^`]*`)*\]\(([^)\s]+)\)")
SOURCE_PATH = re.compile(r"(?<![\w./-])(?:src|tests|scripts|examples|bench|proto)/[\w./-]*[\w/]")
FUNCTIONS = re.compile(r"`([\w./-]+\.[ch]): (\w+\(\)(?:, \w+\(\))*)`")
LINKED_FUNCTIONS = re.compile(r"\[`([\w./-]+\.[ch]): (\w+\(\)(?:, \w+\(\))*)`\]\(([^)\s]+)\)")


def documents():
    skip = ("build", ".git", "node_modules")
    return sorted(p for p in ROOT.rglob("*.md") if not p.relative_to(ROOT).parts[0].startswith(skip))


def name(path):
    return str(path.relative_to(ROOT))


def without_code(text):
    """Blocks in fences are output or input, not prose."""
    return FENCE.sub("", text)


def slugs(text):
    """Anchors of the headings, as web front ends make them."""
    seen = {}
    for title in re.findall(r"^#{1,6} (.+)$", without_code(text), re.M):
        slug = re.sub(r"[^\w\- ]", "", title.replace("`", "").lower()).strip().replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        yield slug if count == 0 else f"{slug}-{count}"


def check_links(path, text):
    for target in LINK.findall(without_code(text)):
        if re.match(r"[a-z][a-z+.-]*:", target):
            continue
        file, _, anchor = target.partition("#")
        to = (path.parent / file).resolve() if file else path
        if not to.exists():
            yield f"link to {target}: no such file"
        elif ROOT not in to.parents:
            yield f"link to {target}: leads out of the repository"
        elif anchor and to.suffix == ".md" and anchor not in slugs(to.read_text()):
            yield f"link to {target}: no such heading"


def check_paths(_, text):
    for mention in SOURCE_PATH.findall(text):
        if "MODULE" in mention or "NAME" in mention:
            continue  # stands for many
        if not (ROOT / mention).exists():
            yield f"{mention}: no such file"


def defines(file, function):
    """A definition as clang-format lays it out: name at the left edge's declaration, brace on a line of its own."""
    return re.search(rf"^\w[^\n;]*\b{function}\([^;{{}}]*\)\n{{", file.read_text(), re.M)


def check_functions(path, text):
    linked = LINKED_FUNCTIONS.findall(text)
    if len(linked) != len(FUNCTIONS.findall(text)):
        known = {(f, names) for f, names, _ in linked}
        for f, names in FUNCTIONS.findall(text):
            if (f, names) not in known:
                yield f"{f}: {names}: make it a link to the file"
    for f, names, target in linked:
        to = (path.parent / target).resolve()
        if not to.is_file():
            continue  # the link check says so
        if not str(to).endswith("/" + f):
            yield f"{f}: {names}: the link leads to {name(to)}"
        for function in re.findall(r"\w+", names):
            if not defines(to, function):
                yield f"{function}() is not defined in {name(to)}"


CASES = re.compile(r"\[(test_\w+\.(?:py|c))\]\(([^)\s]+)\): ([\w, ]+)")


def check_cases(path, text):
    """`[test_x.py](path): case, case` in a table names cases that are there."""
    for file, target, names in CASES.findall(without_code(text)):
        to = (path.parent / target).resolve()
        if not to.is_file():
            continue  # the link check says so
        source = to.read_text()
        for case in re.findall(r"\b[a-z]\w*\b", names.replace(" and its like", "")):
            made = "one_decision_{name}" in source and f'("{case.removeprefix("one_decision_")}",' in source
            if not made and not re.search(rf"^(?:def |static void ){case}\(", source, re.M):
                yield f"{file}: there is no case '{case}'"


def check_listings(_, text):
    """```c src/path: the lines are in that file, one after the other; indentation does not count."""
    for info, body in FENCE.findall(text):
        words = info.split()
        if len(words) != 2 or "/" not in words[1]:
            continue
        file = ROOT / words[1]
        squeeze = lambda t: "\n".join(line.strip() for line in t.strip().splitlines())  # noqa: E731
        if not file.is_file():
            yield f"listing of {words[1]}: no such file"
        elif squeeze(body) + "\n" not in squeeze(file.read_text()) + "\n":
            yield f"listing of {words[1]}: the file no longer has '{body.strip().splitlines()[0]} ...'"


WHERE = "## Where is ...?"
ROW = re.compile(r"^\| ([^|]+\?) \| (.+) \|$", re.M)
LEAST_QUESTIONS = 10


def check_questions(path, text):
    """Each answer in the table of questions names at least one function, or a table of rows, that is there."""
    part = text.partition(WHERE)[2].partition("\n## ")[0]
    rows = ROW.findall(part)
    if len(rows) < LEAST_QUESTIONS:
        yield f"'{WHERE}' has {len(rows)} questions; at least {LEAST_QUESTIONS} are expected"
    for question, answer in rows:
        table = any("/tbl/" in target or target.endswith("limits.h") for target in LINK.findall(answer))
        if not table and not LINKED_FUNCTIONS.search(answer):
            yield f"{question}: names no function, write [`file.c: function()`](path)"
        for target in LINK.findall(answer):
            if not (path.parent / target.partition("#")[0]).resolve().exists():
                yield f"{question}: {target} does not exist"


def validate(document):
    run = subprocess.run([VALIDATOR], input=document, capture_output=True, text=True, timeout=30, check=False)
    return run.returncode, " ".join((run.stdout + run.stderr).split())


def check_examples(_, text):
    """```yaml must be accepted; ```yaml refused must be refused with the text of the block that follows."""
    blocks = FENCE.findall(text)
    for i, (info, body) in enumerate(blocks):
        if info.split()[:1] != ["yaml"]:
            continue
        title = f"policy example {sum(b[0].startswith('yaml') for b in blocks[:i + 1])}"
        status, said = validate(body)
        if info == "yaml":
            if status != 0:
                yield f"{title} is refused: {said}"
        elif info != "yaml refused" or i + 1 == len(blocks) or blocks[i + 1][0] != "text":
            yield f"{title}: write ```yaml refused, and the message in a ```text block behind it"
        elif status != 1:
            yield f"{title} should be refused (status {status}): {said}"
        elif said != " ".join(blocks[i + 1][1].split()):
            yield f"{title}: the message is: {said}"


def check_decisions():
    """Comments cite decisions by number."""
    page = ROOT / "docs/architecture/decisions.md"
    known = set(re.findall(r"^(\d+)\. \*\*", page.read_text(), re.M))
    for file in sorted(p for top in ("src", "tests", "bench") for p in (ROOT / top).rglob("*.[ch]")):
        for cited in re.findall(r"\bDESIGN ([\d, and]*\d)", file.read_text()):
            for number in re.findall(r"\d+", cited):
                if number not in known:
                    yield f"{name(file)} cites DESIGN {number}, which {name(page)} does not have"


RULE_TYPES = re.compile(r'"(opa|ssrf|tls|l7|l7-[a-z]+|request-authority|http-parser|credentials|credential-binding|'
                        r'nftables|policy-dns|middleware|supervisor-middleware)"')


def check_events():
    """What event lines are made of is in the guide: classes, engines, and reasons that are words."""
    page = ROOT / "docs/guide/logs.md"
    text = page.read_text()
    for file in sorted((ROOT / "src/supervisor").rglob("*.c")):
        if file.parent.name == "audit":
            continue
        source = file.read_text()
        words = set(re.findall(r"\bAUDIT_(NET|HTTP|SSH|PROC|FINDING|CONFIG|LIFECYCLE|API|EVENT)\b", source))
        words |= set(re.findall(r'"((?:policy_dns|transparent_tcp)_[a-z_]+)"', source)) - {"transparent_tcp_allowed"}
        if file.is_relative_to(ROOT / "src/supervisor/egress"):
            words |= set(RULE_TYPES.findall(source))
        for word in sorted(words):
            if f"`{word}`" not in text:
                yield f"{name(page)} does not explain `{word}`, which {name(file)} emits"


def report(case, problems):
    problems = list(dict.fromkeys(problems))
    for problem in problems:
        print(f"not ok {case}: {problem}")
    if not problems:
        print(f"ok {case}")
    return not problems


def main():
    good = True
    for path in documents():
        text = path.read_text()
        good &= report(f"links of {name(path)}", check_links(path, text))
        if path.is_relative_to(ROOT / "docs") or path.parent == ROOT:
            good &= report(f"paths in {name(path)}", check_paths(path, text))
            good &= report(f"functions in {name(path)}", check_functions(path, text))
            if re.search(r"^```\w+ \S*/", text, re.M):
                good &= report(f"listings in {name(path)}", check_listings(path, text))
            if WHERE in text:
                good &= report(f"questions in {name(path)}", check_questions(path, text))
            if CASES.search(text):
                good &= report(f"cases in {name(path)}", check_cases(path, text))
    good &= report("cited decisions", check_decisions())
    good &= report("words of event lines", check_events())
    policies = ROOT / "docs/guide/policies.md"
    if not VALIDATOR.exists():
        good &= report("policy examples", [f"{VALIDATOR} is not built; run make build"])
    elif not policies.exists() or "```yaml\n" not in policies.read_text():
        good &= report("policy examples", [f"{name(policies)} has none"])
    else:
        good &= report("policy examples", check_examples(policies, policies.read_text()))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
