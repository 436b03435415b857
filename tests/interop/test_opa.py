#!/usr/bin/env python3
"""The compiled policy and the Rego rules of policy/rego, run by a real Open Policy Agent, decide alike: random policies
and requests, every answer compared.

OPENSHELL_OPA_CASES: pairs of policy and request (20000). OPENSHELL_OPA_SEED: repeats a run. A difference prints the policy,
the input and both answers."""
import concurrent.futures
import http.client
import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1] / "e2e" / "lib")]

from harness import BUILD, ROOT, Private, Suite, check, wait_for  # noqa: E402
from opa import find_opa  # noqa: E402
from opa_cases import Cases  # noqa: E402

suite = Suite()
case = suite.case
private = Private("opa")
RULES = ROOT / "policy/rego"
INPUTS = 10  # requests per policy
BATCH = 25  # policies per query
WHY_NO_PATH, WHY_NEEDS_UPGRADE, WHY_ERROR = 1, 4, 11  # enum policy_l7_why
WHY_HARD = {WHY_NO_PATH, WHY_NEEDS_UPGRADE, 5, 9, 10, WHY_ERROR}

# One query answers for many policies and requests.
BATCH_RULES = """
package test.batch

import rego.v1

answers := [[answer |
    some ask in c.asks
    answer := {
        "l4": data.openshell.sandbox.egress_authorization,
        "allow": [a | some r in ask.requests; a := data.openshell.sandbox.allow_request with input.request as r],
        "reason": [a | some r in ask.requests; a := reason with input.request as r],
        "config": [a | some r in ask.requests; a := config with input.request as r],
    } with input as ask.input with data.network_policies as c.policies with data.runtime as c.runtime
] | some c in input.cases]

default reason := ""

reason := data.openshell.sandbox.request_deny_reason

default config := null

config := data.openshell.sandbox.request_config
"""


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("opa", timeout=120)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Opa:
    def __init__(self):
        rules = private.dir / "batch.rego"
        rules.write_text(BATCH_RULES)
        self.socket = str(private.dir / "opa.sock")
        private.spawn(find_opa(), "run", "--server", "--addr", f"unix://{self.socket}", "--log-level", "error",
                      "--disable-telemetry", RULES, rules)
        wait_for("opa", self.answers, 30)

    def answers(self):
        try:
            return self.ask([]) == []
        except OSError:
            return False

    def ask(self, cases):
        connection = UnixConnection(self.socket)
        try:
            connection.request("POST", "/v1/data/test/batch/answers", json.dumps({"input": {"cases": cases}}).encode())
            answer = connection.getresponse()
            body = json.loads(answer.read())
        finally:
            connection.close()
        check(answer.status == 200 and "result" in body, f"{answer.status} {body}")
        return body["result"]


class Engine:
    """The compiled policy, asked over a pipe."""

    def __init__(self):
        self.p = private.spawn(BUILD / "tests/interop/decide_cases", stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, c):
        self.p.stdin.write(json.dumps(c).encode() + b"\n")
        self.p.stdin.flush()
        line = self.p.stdout.readline()
        check(line, f"decide_cases ended: {json.dumps(c)}")
        return json.loads(line)


def rego_requests(asked, answer):
    """What is asked of the rules for one request: one query per call of a batch, responses first."""
    query = {}
    for key, value in asked["query"]:
        query.setdefault(key, []).append(value)
    base = {"method": asked["method"], "path": asked["path"], "query_params": query,
            "graphql": asked["graphql"] if answer["graphql"] else None, "jsonrpc": None}
    if not answer["jsonrpc"]:
        return [base]
    rpc = asked["jsonrpc"]
    frames = {"method": None, "params": None, "tool": None, "receive_stream": rpc["receive_stream"], "has_response": rpc["has_response"],
              "error": rpc["error"]}
    alone = rpc["error"] or rpc["has_response"] or rpc["receive_stream"] or not rpc["calls"]
    requests = [dict(base, jsonrpc=frames)] if alone else []
    for call in rpc["calls"] if not rpc["error"] else []:
        params = {"name": call["tool"]} if call["tool"] is not None else {}
        requests.append(dict(base, jsonrpc={"method": call["method"], "params": params, "tool": call["tool"], "receive_stream": False,
                                            "has_response": False, "error": None}))
    return requests


def decided_natively(answer):
    """Needs what no input says: the upgrade headers; or a body that was not parsed."""
    return answer["why"] == WHY_NEEDS_UPGRADE


def differences(data, asked, engine, rego):
    """(what, engine, rego) for everything that differs."""
    l4 = rego["l4"]

    def at(place):
        return data["network_policies"][place[0]]["endpoints"][place[1]]

    pairs = [("action", "allow" if engine["allow"] else "deny", l4["action"]), ("matched_policy", engine["policy"], l4["matched_policy"]),
             ("deny_reason", engine["reason"], l4["deny_reason"]),
             ("exact_declared_endpoint_host", engine["declared"], l4["exact_declared_endpoint_host"]),
             ("matched_endpoints", engine["matched"], [[m["policy_name"], m["endpoint_index"]] for m in l4["matched_endpoints"]]),
             ("matched_endpoints", [at(p) for p in engine["matched"]], [m["endpoint"] for m in l4["matched_endpoints"]]),
             ("endpoint_configs", [at(p) for p in engine["configs"]], l4["endpoint_configs"])]
    r = engine.get("request")
    if r and engine["inspects"] and not decided_natively(r):
        allow = all(rego["allow"]) and len(rego["allow"]) > 0
        reason = "" if allow else next(x for a, x in zip(rego["allow"], rego["reason"]) if not a)
        config = rego["config"][0]
        audits = config and config.get("enforcement") != "enforce" and r["why"] not in WHY_HARD
        pairs += [("allow_request", r["allow"], allow), ("request_deny_reason", r["reason"], reason),
                  ("config", at(r["config"]) if r["config"] else None, config), ("audit", r["audit"], bool(not allow and audits))]
    return [p for p in pairs if p[1] != p[2]]


def prepare(engine, c, counts):
    """(case, engine's answer, what OPA is asked); None for a policy that is refused."""
    answer = engine.ask(c)
    counts["policies"] += 1
    if "refused" in answer:
        counts["refused"] += 1
        counts.setdefault("why", []).append(answer["refused"])
        return None
    asks = []
    for asked, got in zip(c["inputs"], answer["results"]):
        requests = rego_requests(asked["request"], got["request"]) if got.get("request") and got["inspects"] else []
        asks.append({"input": {"network": asked["network"], "exec": asked["exec"]}, "requests": requests})
        r = got.get("request")
        counts["pairs"] += 1
        counts["allowed"] += got["allow"]
        counts["requests"] += bool(requests)
        counts["requests allowed"] += bool(requests) and r["allow"]
        counts["native"] += bool(requests) and decided_natively(r)
    return c, answer, {"policies": answer["data"]["network_policies"], "runtime": answer["data"]["runtime"], "asks": asks}


def report(c, i, answer, rego, found):
    text = "\n".join([f"seed {SEED}", "policy: " + c["policy"], "case: " + json.dumps({k: c[k] for k in c if k not in ("policy", "inputs")}),
                      "input: " + json.dumps(c["inputs"][i], ensure_ascii=False)] +
                     [f"{what}: compiled {mine!r}, rego {theirs!r}" for what, mine, theirs in found])
    print(text, flush=True)


SEED = int(os.environ.get("OPENSHELL_OPA_SEED") or time.time_ns() % 1_000_000_007)
WANTED = int(os.environ.get("OPENSHELL_OPA_CASES") or 20000)


def compare(batch, answers):
    wrong = 0
    for (c, answer, _), regos in zip(batch, answers):
        for i, rego in enumerate(regos):
            found = differences(answer["data"], c["inputs"][i], answer["results"][i], rego)
            if found:
                wrong += 1
                report(c, i, answer, rego, found)
    return wrong


@case
def compiled_policy_and_rego_decide_alike():
    opa = Opa()
    engine = Engine()
    cases = Cases(random.Random(SEED))
    counts = dict.fromkeys(["policies", "refused", "pairs", "allowed", "requests", "requests allowed", "native"], 0)
    wrong = 0
    pending = []
    print(f"# seed {SEED}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        while counts["pairs"] < WANTED and wrong < 10:
            batch = [p for p in (prepare(engine, cases.case(INPUTS), counts) for _ in range(BATCH)) if p]
            pending.append((batch, pool.submit(opa.ask, [p[2] for p in batch])))
            while pending and (len(pending) > 3 or counts["pairs"] >= WANTED):
                done, answers = pending.pop(0)
                wrong += compare(done, answers.result())
    why = counts.pop("why", [])
    print("# " + ", ".join(f"{counts[k]} {k}" for k in counts), flush=True)
    if os.environ.get("OPENSHELL_OPA_REFUSALS"):
        print("\n".join(why))
    check(wrong == 0, f"{wrong} differences; OPENSHELL_OPA_SEED={SEED} repeats them")
    check(counts["refused"] < 0.2 * counts["policies"], f"too many policies refused: {counts}")


suite.run()
