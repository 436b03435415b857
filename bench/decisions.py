"""Policy decisions by number of rules, beside a real Open Policy Agent that answers the same questions."""
import json
import re

from table import BENCH, ROOT, add, check, run
from harness import Skip
from opa import find_opa

RULES = ROOT / "policy/rego"
BARS = {"L4": 1000, "L7": 3000}  # nanoseconds
# The questions are part of the input; one evaluation answers all of them.
QUERIES = {"L4": "[x | some i in input.connections; x := data.openshell.sandbox.egress_authorization with input as i]",
           "L7": "[x | some i in input.requests; x := data.openshell.sandbox.allow_request with input as i]"}


class Opa:
    """Times of `opa bench`: queries prepared, data in memory, no server between."""

    def __init__(self, private):
        self.dir = private.dir
        try:
            self.program, self.why = find_opa(), None
        except Skip as why:
            self.program, self.why = None, str(why)[:60]

    def answers(self, kind, files):
        r = run(self.program, "eval", "--format", "raw", *files, QUERIES[kind], timeout=120)
        check(r.code == 0, r)
        return json.loads(r.out)

    def nanoseconds(self, rules):
        """{kind: nanoseconds of a decision}."""
        r = run(BENCH / "bench_decide", "--json", rules)
        check(r.code == 0, r)
        case = json.loads(r.out)
        case["connections"] = case["connections"][::17]  # four of them: it takes long
        data, asks = self.dir / "opa-data.json", self.dir / "opa-input.json"
        data.write_text(json.dumps(case.pop("data")))
        asks.write_text(json.dumps(case))
        files = ("--data", RULES, "--data", data, "--input", asks)
        check(all(x["action"] == "allow" for x in self.answers("L4", files)), "the agent refuses a connection")
        check(self.answers("L7", files) == [True, True, True, False], "the agent decides otherwise")
        took = {}
        for kind, count in (("L4", len(case["connections"])), ("L7", len(case["requests"]))):
            r = run(self.program, "bench", "--format", "json", "--optimize-store-for-read-speed", *files,
                    QUERIES[kind], timeout=120)
            check(r.code == 0, r)
            found = json.loads(r.out)
            took[kind] = found["T"] / found["N"] / count
        return took


def decisions(private):
    opa = Opa(private)
    for rules in (10, 100, 1000):
        r = run(BENCH / "bench_decide", rules, timeout=120)
        check(r.code == 0, r)
        found = re.search(r"L4 (\d+) ns, L7 (\d+) ns, (\d+) allocations", r.out)
        check(found, r)
        theirs = opa.nanoseconds(rules) if opa.program else None
        for kind, ns in zip(("L4", "L7"), map(int, found.groups())):
            beside = f"OPA: {theirs[kind] / 1e6:.1f} ms" if theirs else f"no OPA: {opa.why}"
            add(f"policy decision, {rules} rules, {kind}", f"{ns} ns, {found.group(3)} allocations", beside,
                f"<= {BARS[kind]} ns", ns <= BARS[kind])
