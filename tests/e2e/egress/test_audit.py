#!/usr/bin/env python3
"""What a sandbox writes down: every decision is one event, in the text log, in the JSON log when that is asked for and at
the gateway; with the published fields, without secrets and queries."""
import json
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
from harness import Private, Suite, check, equal, wait_for  # noqa: E402
from lab import Lab  # noqa: E402
from origins import Origin, WebSocketOrigin  # noqa: E402

suite = Suite()
case = suite.case
private = Private("audit")
NAMES = ("api.test", "audit.test", "plain.test", "gql.test", "rpc.test", "ws.test", "denied.test")
SECRET = "s3cr3t-t0ken"
POLICY = """
network_policies:
  web:
    endpoints:
      - {host: api.test, port: 443, protocol: rest, enforcement: enforce, rules: [
          {allow: {method: GET, path: "/**"}}], deny_rules: [{method: "*", path: "/admin/**"}]}
      - {host: audit.test, port: 443, protocol: rest, access: read-only}
      - {host: plain.test, port: 8080, protocol: rest, enforcement: enforce, access: read-only}
      - {host: gql.test, port: 443, protocol: graphql, enforcement: enforce, rules: [{allow: {operation_type: query, fields: [viewer]}}]}
      - {host: rpc.test, port: 443, protocol: json-rpc, enforcement: enforce, rules: [{allow: {method: reports.list}}]}
      - {host: ws.test, port: 4443, protocol: websocket, enforcement: enforce, rules: [{allow: {method: GET, path: "/chat/*"}}]}
    binaries: [{path: "/**"}]
"""
# Name, arguments of curl, what the event says: class, activity, action, rule type. The status is that of curl's answer.
DECISIONS = [
    ("allowed", ["https://api.test/allowed"], 200, ("HTTP Activity", "Get", "Allowed", "l7")),
    ("not_allowed", ["-X", "PUT", "https://api.test/not_allowed"], 403, ("HTTP Activity", "Put", "Denied", "l7")),
    ("deny_rule", ["https://api.test/admin/deny_rule"], 403, ("HTTP Activity", "Get", "Denied", "l7")),
    ("only_logged", ["-d", SECRET, "https://audit.test/only_logged"], 200, ("HTTP Activity", "Post", "Observed", "l7")),
    ("absolute_form", ["http://plain.test:8080/absolute_form"], 200, ("HTTP Activity", "Get", "Allowed", "l7")),
    ("absolute_denied", ["-d", SECRET, "http://plain.test:8080/absolute_denied"], 403, ("HTTP Activity", "Post", "Denied", "l7")),
    ("graphql", ["-H", "Content-Type: application/json", "-d", '{"query":"mutation{remove(key:\\"%s\\")}"}' % SECRET, "https://gql.test/graphql"], 403,
     ("HTTP Activity", "Post", "Denied", "l7-graphql")),
    ("json_rpc", ["-H", "Content-Type: application/json", "-d", '{"jsonrpc":"2.0","id":1,"method":"reports.delete","params":{"key":"%s"}}' % SECRET, "https://rpc.test/json_rpc"],
     403, ("HTTP Activity", "Post", "Denied", "l7-jsonrpc")),
    ("no_upgrade", ["https://ws.test:4443/chat/no_upgrade"], 403, ("HTTP Activity", "Get", "Denied", "l7")),
    ("bad_target", ["--path-as-is", "https://api.test/%2e%2e/%2e%2e/bad_target"], 400, ("HTTP Activity", "Get", "Denied", "http-parser")),
]


class World(Lab):
    def __init__(self):
        super().__init__(private, 99, NAMES, POLICY)
        self.web = Origin(self.address, 443, self.cert, self.key)
        self.plain = Origin(self.address, 8080)
        self.ws = WebSocketOrigin(self.address, 4443, self.cert, self.key)
        self.start()

    def file(self, kind):
        return self.good("sh", "-c", f"cat /var/log/{kind}.[0-9]*.log")

    def json(self, enabled):
        self.gateway.must("settings", "set", "box", "--key", "ocsf_json_enabled", "--value", "true" if enabled else "false")
        wait_for("the setting", lambda: self.last_setting() == enabled, 15, 0.1)

    def last_setting(self):
        lines = [line for line in self.gateway.must("logs", "box", "-n", "500").out.splitlines() if "ocsf_json_enabled = " in line]
        return bool(lines) and lines[-1].endswith("true")

    def curl(self, *argv):
        return self.run("curl", "-sS", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Authorization: Bearer {SECRET}", *argv)

    def events(self):
        return [json.loads(line) for line in self.file("openshell-ocsf").splitlines()]


@case
def the_json_log_is_there_and_empty_until_it_is_asked_for(w):
    w.curl("https://api.test/")
    equal(w.file("openshell-ocsf"), "", "JSON log")
    w.json(True)


def asked(argv):
    """The same request with a secret in its query."""
    return [f"{a}?token={SECRET}" if a.startswith("http") else a for a in argv]


@case
def every_decision_is_one_event(w):
    for name, argv, status, want in DECISIONS:
        before = len(w.events())
        equal(w.curl(*asked(argv)).out, str(status), name)
        path = "/[INVALID_REQUEST_TARGET]" if name == "bad_target" else argv[-1].split("/", 3)[3]
        found = [e for e in w.events()[before:] if "http_request" in e and e["http_request"]["url"].get("path", "").endswith(path)]
        if name == "absolute_form":  # what the tunnel's event is to the others: the way out was allowed
            equal(found.pop()["message"], "FORWARD allowed GET plain.test:8080/absolute_form", "second event")
        equal(len(found), 1, f"events of {name}: {[e.get('message') for e in w.events()[before:]]}")
        e = found[0]
        equal((e["class_name"], e["activity_name"], e["action"], e["firewall_rule"]["type"]), want, name)
        check(e["actor"]["process"]["name"] == "/usr/bin/curl" and e["actor"]["process"]["pid"] > 0, e)
        check(e["src_endpoint"]["ip"].startswith("10.200.0.") and e["src_endpoint"]["port"] > 0, e)
        equal(e["dst_endpoint"]["domain"], argv[-1].split("/")[2].split(":")[0], "destination")
        if want[2] == "Denied":
            check(e["status_detail"] and e["status"] == "Failure" and e["disposition"] == "Blocked", e)


@case
def a_refused_connection_is_one_event(w):
    before = len(w.events())
    check(w.curl(f"https://denied.test/?token={SECRET}").code == 56, "it was allowed")
    found = [e for e in w.events()[before:] if e.get("dst_endpoint", {}).get("domain") == "denied.test"]
    equal([(e["class_name"], e["activity_name"], e["action"], e["severity"]) for e in found],
          [("Network Activity", "Open", "Denied", "Medium")], "events")


def nulls(value):
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(nulls(v) for v in parts)


@case
def every_event_has_the_published_fields(w):
    events = w.events()
    check(len(events) > len(DECISIONS), events)
    for e in events:
        for field in ("class_uid", "class_name", "category_uid", "category_name", "activity_id", "activity_name", "type_uid", "type_name",
                      "time", "severity_id", "severity", "metadata", "device", "container"):
            check(field in e, f"no {field} in {e}")
        equal(e["type_uid"], e["class_uid"] * 100 + e["activity_id"], "type_uid")
        equal((e["metadata"]["version"], e["metadata"]["product"]["vendor_name"], e["container"]["name"]), ("1.8.0", "OpenShell", "box"), "origin")
        if e["class_uid"] in (4001, 4002):
            for field in ("proxy_endpoint", "observation_point_id", "is_src_dst_assignment_known"):
                check(field in e, f"no {field} in {e}")
        check(not nulls(e), f"a null in {e}")


@case
def the_text_log_has_events_and_the_program_log(w):
    lines = w.file("openshell").splitlines()
    for part in ("Z OCSF HTTP:PUT [MED] DENIED /usr/bin/curl(", "Z OCSF NET:LISTEN [INFO]", "Z OCSF PROC:LAUNCH [INFO] sleep(",
                 "Z INFO supervisor: Starting sandbox", "Z INFO supervisor: setting changed: ocsf_json_enabled = true"):
        check(any(part in line for line in lines), f"no line with {part!r}")
    events = [line.split(" OCSF ")[1] for line in lines if " OCSF " in line]
    def missing():
        pushed = w.gateway.must("logs", "box", "-n", "2000").out
        return [line for line in events if line not in pushed]
    wait_for("the events at the gateway", lambda: not missing(), 15, 0.2)


@case
def where_denied_file_accesses_are_is_said_once(w):
    lines = [line for line in w.file("openshell").splitlines() if "denied file accesses" in line]
    equal(len(lines), 1, f"lines: {lines}")
    check("LANDLOCK_ACCESS" in lines[0] or "ABI" in lines[0], lines[0])


@case
def nothing_secret_is_written_down(w):
    for name, text in (("text", w.file("openshell")), ("JSON", w.file("openshell-ocsf")), ("gateway", w.gateway.must("logs", "box", "-n", "2000").out)):
        check(SECRET not in text, f"{name}: the secret")
        check("token=" not in text, f"{name}: a query")


@case
def the_json_log_ends_with_its_setting(w):
    w.json(False)
    before = w.file("openshell-ocsf")
    w.curl("https://api.test/after")
    equal(w.file("openshell-ocsf"), before, "JSON log")


def main():
    if os.geteuid() != 0:
        print("skip audit: the local driver needs root to set up what the tests look at")
        return
    suite.run(World())


main()
