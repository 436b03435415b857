"""Random policies and requests for test_opa.py. The weights favour corners, and names come from small pools, so that
rules overlap and requests meet them."""
import json
import re

HOSTS = ["api.x.com", "API.X.com", "db.lan", "a.api.x.com", "x.com", "us-ai.x.com", "api.x.com.", "10.0.0.9", "[fd00::1]"]
HOST_GLOBS = ["*.x.com", "**.x.com", "*-ai.x.com", "api.*.com", "{api,db}*.x.com", "[a-c]*.x.com", "[!a]*.x.com", "*.{x,y}.com",
              "a?i*.x.com", "**.api.x.com", "*.*.x.com", "A*.X.com"]
ASKED_HOSTS = ["api.x.com", "API.x.COM", "a.api.x.com", "x.com", "us-ai.x.com", "us.b-ai.x.com", "db.lan", "db1.x.com",
               "api.y.com", "10.0.0.9", "fd00::1", "b.c.x.com", ".x.com", "q.org"]
PORTS = [443, 80, 8443]
BINARIES = ["/usr/bin/curl", "/usr/bin/wget", "/usr/bin/*", "/usr/**", "/**", "/usr/bin/c?rl*", "/usr/bin/{curl,wget}*",
            "/usr/bin/c?rl", "/usr/bin/[!c]*", "/usr/*/curl", "/opt/**/run", "/usr/bin/caf\u00e9*", "/usr/bin"]
PROCESSES = ["/usr/bin/curl", "/usr/bin/wget", "/usr/bin/node", "/usr/bin/sub/node", "/usr/local/curl", "/opt/a/b/run", "/opt/run",
             "/usr/bin/caf\u00e9", "/usr/bin", "/bin/sh"]
SELECTORS = ["", "", "", "**", "/**", "/v1/**", "/graphql", "/mcp", "/a/*", "/*/b", "/**/x", "/v[12]/*", "/{a,b}", "/v1/**/z"]
RULE_PATHS = ["", "**", "/**", "/v1/*", "/v1/**", "/a/{b,c}", "/a/[!b]", "/a?", "/**/x", "**/x", "/a/**/b", "/a**", "/v1.2",
              "/{v1,v2/**}/x", "/x{,y}", "/x{y,}", "/x{y,,a}", "/a{{},b}", "/a\\*b", "/[a-c]/*", "/[a-c-]*", "/[]a]*", "/a/***", "/caf\u00e9?", "/{**,a}/b", "/{a,{b,c}}/*",
              "/graphql", "/mcp", "/*"]
BAD_GLOBS = ["/[a", "/{a", "/a}", "/a\\", "/[b-a]", "/[!]"]
PATHS = ["/", "/a", "/b", "/a/b", "/a/c", "/a/d", "/a/b/c", "/v1", "/v1/", "/v1/a", "/v1/a/b", "/v1.2", "/x", "/xy", "/a/x", "/a/b/x",
         "/graphql", "/mcp", "/a*b", "/axb", "/v2/q/x", "/v1/x", "/caf%C3%A9", "/@s%2Fn", "/]a", "/v1/a/z", "/v2/a", "/A/b"]
METHODS = ["GET", "get", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "*", "WEBSOCKET_TEXT", "QUERY"]
QUERY_KEYS = ["tag", "q", "Tag", "f.g", ""]
QUERY_GLOBS = ["foo-*", "*", "**", "v1.*", "a b", "tr?e", "{a,b}", "[!a]*", "", "*.b", "**.c", "a.**.d", "[.a]b", "\u00e9?"]
QUERY_VALUES = ["foo-a", "foo-1.2", "v1.2", "v1.2.3", "a b", "true", "a", "b", "", "a.b", "a.b.c", "a.x.d", ".b", "ab", "\u00e9a"]
TYPES = ["query", "mutation", "subscription"]
NAMES = ["Get.*", "Get*", "*", "**", "Viewer", "{A,B}", "[!A]*"]
ASKED_NAMES = ["GetIt", "Get.It", "Viewer", "A", "B"]
FIELDS = ["viewer", "delete*", "*", "repo", "{a,b}", "[a-c]*", "rep?"]
ASKED_FIELDS = ["viewer", "deleteRepo", "repo", "a", "b", "cat"]
QUERY_IDS = ["abc", "del", "x"]
RPC = ["reports.list", "reports.delete", "*", "ping"]
MCP_METHODS = ["tools/call", "tools/list", "initialize", "ping", "tools/*", "vendor/x"]
TOOLS = ["search", "rm", "a.b", "search2"]
TOOL_GLOBS = ["search", "s*", "*", "**", "{rm,ls}", "a.*", "[!r]*"]
PROTOCOLS = ["rest"] * 4 + ["websocket", "websocket", "graphql", "json-rpc", "mcp", "sql"]
PIECES = ["a", "b", "c", "/", "/", ".", "*", "**", "**", "?", "[ab]", "[!a]", "[^b]", "[a-c]", "[]a]", "[!-/]", "{", "}", ",", "{a,b}",
          "{a/,b}", "{**,a}", "\\*", "\\/", "***", "[}]", "[,]", "\u00e9", "-", "]"]


def balanced(pattern):
    """The pattern with the braces that it lacks, and without those that have no partner."""
    out, depth = "", 0
    for token in re.findall(r"\\.|\[[!^]?\]?[^\]]*\]|.", pattern):
        if token == "}" and not depth:
            continue
        depth += {"{": 1, "}": -1}.get(token, 0)
        out += token
    return out + "}" * depth


class Cases:
    def __init__(self, random):
        self.r = random

    def chance(self, p):
        return self.r.random() < p

    def pick(self, pool):
        return self.r.choice(pool)

    def some(self, pool, least=0, most=2):
        return [self.pick(pool) for _ in range(self.r.randint(least, most))]

    def glob(self, pool, start=""):
        """From the pool, made up, or malformed."""
        x = self.r.random()
        if x < 0.002:
            return self.pick(BAD_GLOBS)
        if x < 0.25:
            return start + balanced("".join(self.some(PIECES, 1, 7)))
        return self.pick(pool)

    def word(self, start=""):
        return start + "".join(self.some(["a", "b", "c", "/", ".", "*", "-", "\u00e9", "}", ","], 0, 6))

    # --- policies

    def matcher(self, pool):
        if self.chance(0.3):
            return {"any": [self.glob(pool) for _ in range(self.r.randint(1, 3))]}
        return self.glob(pool)

    def http_rule(self, deny, methods=METHODS):
        rule = {"method": self.pick(methods)}
        if self.chance(0.1) and deny:
            del rule["method"]
        if self.chance(0.9):
            rule["path"] = self.glob(RULE_PATHS, "/")
        if self.chance(0.3):
            rule["query"] = {k: self.matcher(QUERY_GLOBS) for k in self.some(QUERY_KEYS, 1, 2)}
        if not rule.get("path") and not rule.get("method"):
            rule["path"] = "/v1/**"
        return rule

    def operation_rule(self):
        rule = {"operation_type": self.pick(TYPES + ["query", "mutation", "Query" if self.chance(0.05) else "query"])}
        if self.chance(0.3):
            rule["operation_name"] = self.glob(NAMES)
        if self.chance(0.5):
            rule["fields"] = [self.glob(FIELDS) or "a" for _ in range(self.r.randint(1, 2))]
        return rule

    def mcp_rule(self, state):
        if state["tools"] and self.chance(0.6):
            tool = self.pick(["search", "rm", "a.b"]) if state["loose"] else self.matcher(TOOL_GLOBS)
            rule = {"tool": tool, "method": "tools/call"}
            if state["all"] and self.chance(0.5):
                del rule["method"]
            return rule
        pool = ["tools/list", "initialize", "ping"] if state["tools"] else MCP_METHODS
        return {"method": self.pick(pool)}

    def rules(self, protocol, state, deny):
        make = {"graphql": self.operation_rule, "json-rpc": lambda: {"method": self.pick(RPC)}, "mcp": lambda: self.mcp_rule(state),
                "websocket": lambda: self.operation_rule() if state["operations"] and self.chance(0.7) else
                self.http_rule(deny, ["GET", "get", "HEAD"] if state["operations"] else ["GET", "WEBSOCKET_TEXT", "*", "POST"])}
        return [make.get(protocol, lambda: self.http_rule(deny))() for _ in range(self.r.randint(1, 3))]

    def endpoint(self, shape):
        e = {"host": self.pick(HOST_GLOBS) if self.chance(0.4) else self.pick(HOSTS)}
        if self.chance(0.5):
            e["port"] = self.pick(PORTS)
        else:
            e["ports"] = self.some(PORTS, 1, 3)
        if shape["allowed_ips"]:
            e["allowed_ips"] = shape["allowed_ips"]
            if self.chance(0.3):
                e["host"] = ""
        if shape["tls"]:
            e["tls"] = shape["tls"]
        if shape["tcp"]:
            if e["host"] in ("", "10.0.0.9", "[fd00::1]", "api.x.com.") or set(e["host"]) & set("[{?"):
                e["host"] = "db.lan"
            return dict(e, protocol="tcp")
        if self.chance(0.15):
            return e
        path = self.pick(SELECTORS)
        weight = len(path.replace("*", ""))
        if weight not in shape["by_weight"]:
            shape["by_weight"][weight] = (self.pick(PROTOCOLS), self.pick(["enforce", "enforce", "audit", ""]), self.chance(0.3))
        protocol, enforcement, loose = shape["by_weight"][weight]
        if self.chance(0.03):
            protocol = self.pick(PROTOCOLS)
        if enforcement and protocol != "sql":
            e["enforcement"] = enforcement
        if path:
            e["path"] = path
        e["protocol"] = protocol.upper() if self.chance(0.05) else protocol
        self.inspection(e, protocol, loose, shape)
        return e

    def inspection(self, e, protocol, loose, shape):
        state = {"tools": self.chance(0.5), "all": self.chance(0.4), "loose": loose, "operations": shape["operations"]}
        if protocol == "mcp" and (state["all"] or loose):
            e["mcp"] = {"allow_all_known_mcp_methods": True} if state["all"] else {}
            if loose:
                e["mcp"]["strict_tool_names"] = False
        if protocol == "mcp" and state["all"] and self.chance(0.4):
            state["tools"] = False
        elif protocol not in ("json-rpc", "mcp") and self.chance(0.4):
            e["access"] = self.pick(["read-only", "read-write", "full", "full", "read-only" if self.chance(0.99) else "weird"])
        else:
            e["rules"] = [{"allow": c} for c in self.rules(protocol, state, False)]
        if self.chance(0.35):
            narrowed = protocol == "mcp" and any("tool" in r["allow"] for r in e.get("rules", []))
            e["deny_rules"] = self.rules(protocol, dict(state, tools=narrowed or state["tools"]), True)
        if protocol in ("graphql", "websocket") and (protocol == "graphql" or shape["operations"]) and self.chance(0.4):
            e["persisted_queries"] = self.pick(["allow_registered", "allow_registered", "deny"])
            e["graphql_persisted_queries"] = {k: self.registered() for k in self.some(QUERY_IDS, 1, 2)}

    def registered(self):
        entry = {"operation_type": self.pick(TYPES)}
        if self.chance(0.3):
            entry["operation_name"] = self.pick(ASKED_NAMES)
        if self.chance(0.6):
            entry["fields"] = sorted(set(self.some(ASKED_FIELDS, 1, 2)))
        return entry

    def policy(self):
        """(policy object, endpoints and binaries that the advisor proposed)"""
        advisor = self.chance(0.1)
        shape = {"tls": "skip" if self.chance(0.05) else "terminate" if self.chance(0.05) else "",
                 "allowed_ips": ["10.0.0.0/24"] if self.chance(0.1) else [], "tcp": self.chance(0.04), "by_weight": {},
                 "operations": self.chance(0.5)}
        rules = {}
        proposed = ([], [])
        for key in self.r.sample(["a_rule", "B", "k", "k1", "\u00e9", "_z"], self.r.choice([0, 1, 1, 2, 2, 3]) if self.chance(0.5) else 2):
            rule = {"endpoints": [self.endpoint(shape) for _ in range(self.r.choice([1, 1, 2, 3]))]}
            rule["binaries"] = [{"path": self.glob(BINARIES, "/usr/")} for _ in range(self.r.choice([0, 1, 1, 2, 3]))]
            if self.chance(0.4):
                rule["binaries"].append({"path": "/**"})
            proposed[0].extend([key, i] for i, _ in enumerate(rule["endpoints"]) if advisor)
            proposed[1].extend([key, i] for i, _ in enumerate(rule["binaries"]) if self.chance(0.1))
            rules[key] = rule
        return {"version": 1, "network_policies": rules}, proposed

    # --- requests

    def instance(self, glob):
        """A value that the pattern may match."""
        for special, words in (("**", ["a", "a/b", "a.b", ""]), ("*", ["a", "us", "q1", ""]), ("{api,db}", ["api", "db"]),
                               ("{x,y}", ["x", "y"]), ("{,y}", ["y", ""]), ("{y,}", ["y", ""]), ("{y,,a}", ["y", "a", ""]), ("{a,b}", ["a", "b"]), ("{b,c}", ["b", "c"]),
                               ("{curl,wget}", ["curl", "wget"]), ("[a-c]", ["a", "c", "d"]), ("[!a]", ["b", "a", "/", "."]),
                               ("[ab]", ["a", "b"]), ("[]a]", ["]", "a"]), ("[^b]", ["a", "b"]), ("?", ["p", "a", "/"]), ("\\", [""])):
            while special in glob:
                glob = glob.replace(special, self.pick(words), 1)
        return glob

    def asked_host(self, endpoint):
        if not endpoint.get("host") or self.chance(0.1):
            return self.pick(ASKED_HOSTS)
        host = self.instance(endpoint["host"].strip("[]") if ":" in endpoint["host"] else endpoint["host"]).rstrip(".").lower()
        return host.upper() if self.chance(0.1) else host

    def asked_path(self, endpoint, clause):
        x = self.r.random()
        glob = clause.get("path") if x < 0.5 else endpoint.get("path")
        if glob and x < 0.7:
            path = self.instance(glob)
            return path if path.startswith("/") else "/" + path
        return self.word("/") if x < 0.8 else self.pick(PATHS)

    def asked_query(self, clause):
        query = [[self.pick(QUERY_KEYS), self.pick(QUERY_VALUES) if self.chance(0.8) else self.word()] for _ in
                 range(self.r.choice([0, 0, 1, 2]))]
        for key, matcher in clause.get("query", {}).items():
            globs = matcher["any"] if isinstance(matcher, dict) else [matcher]
            query += [[key, self.instance(self.pick(globs))] for _ in range(self.r.choice([0, 1, 1, 2]))]
        self.r.shuffle(query)
        return query

    def operation(self, clause):
        op = {"operation_type": self.pick(TYPES), "persisted_query": False, "fields": sorted(set(self.some(ASKED_FIELDS, 0, 3)))}
        if clause.get("operation_type") and self.chance(0.7):
            op["operation_type"] = clause["operation_type"].lower()
            if clause.get("fields"):
                op["fields"] = sorted({self.instance(self.pick(clause["fields"])) for _ in range(2)})
        if self.chance(0.5):
            op["operation_name"] = self.instance(clause["operation_name"]) if "operation_name" in clause else self.pick(ASKED_NAMES)
        if self.chance(0.25):
            op["persisted_query"] = True
            op[self.pick(["persisted_query_hash", "persisted_query_id"])] = self.pick(QUERY_IDS)
            if self.chance(0.7):
                del op["operation_type"]
        return op

    def call(self, clause, methods):
        call = {"method": self.pick(methods), "tool": None}
        if clause.get("method") and self.chance(0.5):
            call["method"] = clause["method"].replace("*", "call")
        if call["method"] == "tools/call" and self.chance(0.95):
            tool = clause.get("tool")
            globs = tool["any"] if isinstance(tool, dict) else [tool]
            call["tool"] = self.instance(self.pick(globs)) if tool and self.chance(0.6) else self.pick(TOOLS)
        return call

    def request(self, endpoint):
        clauses = [r["allow"] for r in endpoint.get("rules", [])] + endpoint.get("deny_rules", [])
        clause = self.pick(clauses) if clauses else {}
        protocol = endpoint.get("protocol", "").lower()
        kind = self.pick(["request", "upgrade", "message", "message"] if protocol == "websocket" else ["request"] * 8 + ["upgrade", "message"])
        method = {"upgrade": "GET", "message": "WEBSOCKET_TEXT"}.get(kind) or self.pick(["POST", "POST"] + METHODS[:10])
        if kind == "request" and clause.get("method") in METHODS and self.chance(0.5):
            method = clause["method"]
        calls = [self.call(clause, RPC if protocol == "json-rpc" else ["tools/call", "tools/call"] + MCP_METHODS)
                 for _ in range(self.r.choice([0, 1, 1, 1, 2, 3]))]
        jsonrpc = {"calls": calls, "has_response": self.chance(0.15), "receive_stream": not calls and self.chance(0.5), "error": None}
        graphql = {"operations": [self.operation(clause) for _ in range(self.r.choice([0, 1, 1, 1, 2, 3]))], "error": None}
        if self.chance(0.05):
            jsonrpc = dict(jsonrpc, calls=[], error="MCP tool name must match ^[A-Za-z0-9_.-]{1,128}$ when strict_tool_names is enabled")
            graphql = {"operations": [], "error": "syntax error"}
        return {"method": method, "path": self.asked_path(endpoint, clause), "query": self.asked_query(clause), "kind": kind,
                "graphql": graphql, "jsonrpc": jsonrpc}

    def process(self, rule):
        paths = [self.instance(b["path"]) for b in rule.get("binaries", []) if self.chance(0.9)] or PROCESSES
        near = [self.pick(paths), self.pick(PROCESSES)]
        return {"path": self.pick(near), "ancestors": self.some(near + PROCESSES, 0, 2), "cmdline_paths": self.some(near, 0, 2)}

    def input(self, policy):
        rules = list(policy["network_policies"].values())
        rule = self.pick(rules) if rules else {}
        endpoint = self.pick(rule["endpoints"]) if rule else {}
        ports = endpoint.get("ports") or [endpoint.get("port", 443)]
        return {"network": {"host": self.asked_host(endpoint), "port": self.pick(ports if self.chance(0.9) else PORTS)},
                "exec": self.process(rule), "request": self.request(endpoint) if self.chance(0.95) else None}

    def case(self, inputs):
        policy, (endpoints, binaries) = self.policy()
        return {"policy": json.dumps(policy, ensure_ascii=False), "identity": self.chance(0.9), "advisor_endpoints": endpoints,
                "advisor_binaries": binaries, "inputs": [self.input(policy) for _ in range(inputs)]}
