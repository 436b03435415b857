"""Requests that are judged by what they say: GraphQL operations, JSON-RPC and MCP calls. What is allowed arrives as it was
sent; what is refused never reaches the origin."""
import json
import pathlib
import sys
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
from harness import Suite, check, contains, equal  # noqa: E402
from origins import Response  # noqa: E402
from world import nothing_seen, main  # noqa: E402

suite = Suite()
BLOCKED = "GraphQL operation blocked by endpoint policy"


def post(w, host, path, body, more="", type="application/json"):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {type}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return w.egress.request(f"{host}:443", head.encode() + body)


def graphql(w, query, **more):
    return post(w, "gql.test", "/graphql", {"query": query, **more})


def arrived(w, body):
    equal([b for _, _, b in w.tls.seen], [body if isinstance(body, bytes) else json.dumps(body).encode()], "body at the origin")


def refused(w, response, detail, status=403):
    equal((response.status, json.loads(response.body)["detail"]), (status, detail), "answer")
    nothing_seen(w.tls)


def call(method, id=1, **params):
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


# --- GraphQL ---

@suite.case
def operations_pass_by_type_and_fields(w):
    w.fresh()
    since = w.egress.mark()
    equal(graphql(w, "{ viewer { id } r: repository(name: \"secret\") { id } }").status, 200, "status")
    arrived(w, {"query": "{ viewer { id } r: repository(name: \"secret\") { id } }"})
    line = w.egress.audit("HTTP:POST [INFO] ALLOWED", since)
    contains(line, "[policy:bodies engine:l7-graphql]")


@suite.case
def operations_are_refused_by_their_root_fields(w):
    for query in ("mutation { deleteRepo }", "{ viewer other }", "{ a: other }", "{ viewer ... on Query { other } }",
                  "query { ...F } fragment F on Query { viewer other }", "subscription { viewer }", "{ viewer secret }",
                  "query Safe { other }", "{ viewer @include(if: false) other }"):
        w.fresh()
        refused(w, graphql(w, query), BLOCKED)
    since = w.egress.mark()
    graphql(w, "mutation Bad { deleteRepo }")
    w.egress.audit("HTTP:POST [MED] DENIED /usr/bin/curl(64) -> POST https://gql.test/graphql [policy:bodies engine:l7-graphql] "
                   f"[reason:{BLOCKED}]", since)


@suite.case
def the_operation_that_runs_is_the_one_judged(w):
    both = "query A { viewer } mutation B { deleteRepo }"
    w.fresh()
    equal(graphql(w, both, operationName="A").status, 200, "A")
    w.fresh()
    refused(w, graphql(w, both, operationName="B"), BLOCKED)
    refused(w, graphql(w, both), "GraphQL request rejected: GraphQL document has multiple operations but no operationName")
    w.fresh()
    equal(graphql(w, "mutation Safe { anything }").status, 200, "by name")


@suite.case
def one_bad_operation_spoils_a_batch(w):
    good, bad = {"query": "{ viewer }"}, {"query": "mutation { deleteRepo }"}
    w.fresh()
    equal(post(w, "gql.test", "/graphql", [good, good]).status, 200, "two good ones")
    w.fresh()
    refused(w, post(w, "gql.test", "/graphql", [good, bad]), BLOCKED)


@suite.case
def persisted_queries_have_to_be_registered(w):
    w.fresh()
    known = {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "abc"}}}
    equal(post(w, "gql.test", "/graphql", known).status, 200, "registered")
    w.fresh()
    unknown = {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "xyz"}}}
    refused(w, post(w, "gql.test", "/graphql", unknown), "GraphQL persisted query is not registered")


@suite.case
def the_get_form_is_judged_alike(w):
    w.fresh()
    good, bad = urllib.parse.quote("{ viewer }"), urllib.parse.quote("{ other }")
    equal(w.egress.get("gql.test", f"/graphql?query={good}").status, 200, "allowed")
    w.fresh()
    refused(w, w.egress.get("gql.test", f"/graphql?query={bad}"), BLOCKED)
    refused(w, w.egress.get("gql.test", f"/graphql?query={good}&query={bad}"),
            'GraphQL request rejected: GraphQL GET parameter "query" must not appear more than once')
    refused(w, w.egress.get("gql.test", "/graphql", "PUT"), "GraphQL request rejected: unsupported GraphQL HTTP method PUT")


@suite.case
def what_is_no_graphql_is_refused(w):
    w.fresh()
    for body in (b"", b"{", b"[]", b'"x"', b'{"query": "{ viewer"}', b'{"query": "{ viewer }", "query": "{ other }"}',
                 b"\xff\xfe", b'{"query": 1}', b"{}", b'{"query": "{ viewer }\\u0000"}'):
        r = post(w, "gql.test", "/graphql", body)
        equal(r.status, 403, body)
        contains(json.loads(r.body)["detail"], "GraphQL request rejected: ")
    nothing_seen(w.tls)


@suite.case
def codings_that_hide_the_body_are_refused(w):
    w.fresh()
    good = {"query": "{ viewer }"}
    r = post(w, "gql.test", "/graphql", good, "Content-Encoding: gzip\r\n")
    equal((r.status, json.loads(r.body)["reason"]), (400, 'GraphQL request content-encoding "gzip" is not supported'), "gzip")
    r = post(w, "gql.test", "/graphql", good, type="multipart/form-data; boundary=x")
    equal((r.status, json.loads(r.body)["reason"]), (400, "GraphQL multipart requests are not supported"), "multipart")
    nothing_seen(w.tls)


@suite.case
def what_servers_read_otherwise_than_it_was_judged_is_refused(w):
    """Each of these is harmless JSON to us and something else to a usual server."""
    w.fresh()
    form = b'{"query":"{viewer}","x":"&query=mutation{evil}&"}'
    utf7 = b'{"query":"{viewer}#+ACI-,+ACI-query+ACI-:+ACI-mutation{evil}"}'
    for body, type in ((form, "application/x-www-form-urlencoded"), (utf7, "application/json; charset=utf-7"),
                       (utf7, "application/json; charset=utf-8; charset=utf-7"), (form, "text/plain"),
                       (form, "application/json\r\nContent-Type: application/x-www-form-urlencoded")):
        r = post(w, "gql.test", "/graphql", body, type=type)
        equal(r.status, 400, type)
        contains(json.loads(r.body)["reason"], "content-type")
    for name in ("query", "operationName", "extensions", "id", "documentId", "queryId", "query[]", "Query"):
        refused(w, post(w, "gql.test", f"/graphql?{name}=x", {"query": "{ viewer }"}),
                f'GraphQL request rejected: GraphQL POST request must not have "{name[0].lower() + name[1:].rstrip("[]")}" in its URL')
    for host, path, message in (("rpc.test", "/", call("reports.list")), ("mcp.test", "/mcp", call("tools/call", name="search"))):
        for more, type in (("Content-Encoding: br\r\n", "application/json"), ("", "application/json; charset=utf-16"),
                           ("", "text/plain")):
            equal(post(w, host, path, message, more, type).status, 400, f"{host} {more} {type}")
    nothing_seen(w.tls)
    equal(post(w, "gql.test", "/graphql?trace=1", {"query": "{ viewer }"}, type='application/graphql+json; charset="UTF-8"').status,
          200, "another spelling")


@suite.case
def such_an_endpoint_becomes_no_websocket(w):
    w.fresh()
    upgrade = ("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
    query = urllib.parse.quote("{ viewer }")
    equal(w.egress.get("gql.test", f"/graphql?query={query}", more=upgrade).status, 200, "GraphQL")
    equal(w.egress.get("mcp.test", "/mcp", more=upgrade + "Accept: text/event-stream\r\n").status, 200, "MCP")
    equal(len(w.tls.seen), 2, "requests")
    for _, head, _ in w.tls.seen:
        check(b"upgrade:" not in head.lower(), head)


@suite.case
def bodies_are_bounded(w):
    w.fresh()
    long = {"query": "{ viewer }" + " " * 2000}
    r = post(w, "gql.test", "/graphql", long)
    equal((r.status, json.loads(r.body)["reason"]), (400, "GraphQL request body exceeds 2000 byte inspection limit"), "length")
    chunks = b"".join(b"400\r\n" + b" " * 1024 + b"\r\n" for _ in range(2)) + b"0\r\n\r\n"
    r = w.egress.request("gql.test:443", b"POST /graphql HTTP/1.1\r\nHost: gql.test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
    equal((r.status, json.loads(r.body)["reason"]), (400, "GraphQL request body exceeds 2000 byte inspection limit"), "chunked")
    nothing_seen(w.tls)


@suite.case
def chunked_bodies_are_read_and_sent_on_by_length(w):
    w.fresh()
    body = json.dumps({"query": "{ viewer }"}).encode()
    chunks = b"".join(b"%x;a=b\r\n%c\r\n" % (1, c) for c in body) + b"0\r\nX: t\r\n\r\n"
    r = w.egress.request("gql.test:443", b"POST /graphql HTTP/1.1\r\nHost: gql.test\r\nTransfer-Encoding: chunked\r\n"
                         b"Trailer: X\r\nExpect: 100-continue\r\n\r\n" + chunks)
    equal(r.status, 200, "status")
    arrived(w, body)
    head = w.tls.seen[0][1].lower()
    contains(head.decode(), f"content-length: {len(body)}")
    for gone in (b"transfer-encoding", b"trailer", b"expect"):
        check(gone not in head, f"{gone} went upstream")


@suite.case
def a_client_that_waits_is_told_to_go_on(w):
    w.fresh()
    body = json.dumps({"query": "{ viewer }"}).encode()
    with w.egress.tls("gql.test:443") as s:
        s.sendall(b"POST /graphql HTTP/1.1\r\nHost: gql.test\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        equal(Response(s).status, 100, "interim")
        s.sendall(body)
        equal(Response(s).status, 200, "final")
        s.sendall(b"GET /other HTTP/1.1\r\nHost: gql.test\r\n\r\n")
        equal(Response(s).status, 200, "the connection goes on")


@suite.case
def other_paths_of_the_host_follow_their_own_rules(w):
    w.fresh()
    equal(post(w, "gql.test", "/upload", b"mutation").status, 200, "rest")
    w.fresh()
    refused(w, post(w, "gql.test", "/%67raphql", {"query": "mutation { x }"}), BLOCKED)
    refused(w, post(w, "gql.test", "/a/../graphql", {"query": "mutation { x }"}), BLOCKED)


@suite.case
def absolute_form_is_judged_alike(w):
    w.fresh()
    for query, status in (("{ viewer }", 200), ("mutation { x }", 403)):
        body = json.dumps({"query": query}).encode()
        answer = w.egress.ask(b"POST http://gql.test/graphql HTTP/1.1\r\nHost: gql.test\r\nContent-Length: %d\r\n\r\n%s"
                              % (len(body), body))
        equal(int(answer.split(b" ")[1]), status, query)
    equal(w.plain.requests(), ["POST /graphql HTTP/1.1"], "origin")


# --- JSON-RPC ---

@suite.case
def calls_pass_by_method(w):
    w.fresh()
    since = w.egress.mark()
    equal(post(w, "rpc.test", "/api", call("reports.list")).status, 200, "listed")
    arrived(w, call("reports.list"))
    contains(w.egress.audit("HTTP:POST [INFO] ALLOWED", since), "engine:l7-jsonrpc")
    w.fresh()
    refused(w, post(w, "rpc.test", "/api", call("reports.delete")), "POST /api not permitted by policy")
    refused(w, post(w, "rpc.test", "/api", [call("reports.list"), call("reports.delete", 2)]),
            "POST /api not permitted by policy")


@suite.case
def what_is_no_call_is_refused(w):
    w.fresh()
    for body, why in ((b"", "invalid JSON"), (b"[]", "empty batch"), (b'{"method": "reports.list"}', "missing or non-string 'jsonrpc' field"),
                      (b'{"jsonrpc": "1.0", "method": "reports.list", "id": 1}', "unsupported JSON-RPC version '1.0'"),
                      (b'{"jsonrpc": "2.0", "id": 1}', "missing or non-string 'method' field")):
        refused(w, post(w, "rpc.test", "/api", body), f"JSON-RPC request rejected: {why}")
    refused(w, post(w, "rpc.test", "/api", {"jsonrpc": "2.0", "id": 1, "result": {}}),
            "JSON-RPC response frames are not permitted from client to server")
    twice = b'{"jsonrpc": "2.0", "id": 1, "method": "reports.list", "method": "reports.delete"}'
    equal(post(w, "rpc.test", "/api", twice).status, 403, "a member twice")
    r = post(w, "rpc.test", "/api", b" " * 1001)
    equal((r.status, json.loads(r.body)["reason"]), (400, "HTTP request body exceeds 1000 byte inspection limit"), "too long")
    equal(w.egress.get("rpc.test", "/api", more="Accept: text/event-stream\r\n").status, 403, "stream")
    nothing_seen(w.tls)


# --- MCP ---

@suite.case
def tools_pass_by_name(w):
    for tool, status in (("search", 200), ("search_all", 200), ("search.all", 403), ("send", 403), ("Search", 403)):
        w.fresh()
        equal(post(w, "mcp.test", "/mcp", call("tools/call", name=tool, arguments={"q": "x"})).status, status, tool)
        equal(len(w.tls.seen), status == 200, tool)
    since = w.egress.mark()
    post(w, "mcp.test", "/mcp", call("tools/call", name="send"))
    w.egress.audit("engine:l7-mcp] [reason:POST /mcp not permitted by policy]", since)


@suite.case
def strict_tool_names(w):
    w.fresh()
    refused(w, post(w, "mcp.test", "/mcp", call("tools/call", name="search all")),
            "JSON-RPC request rejected: MCP tool name must match ^[A-Za-z0-9_.-]{1,128}$ when strict_tool_names is enabled")


@suite.case
def a_session_from_initialize_to_the_end(w):
    w.fresh()
    client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    equal(post(w, "mcp.test", "/mcp", call("initialize", **client)).status, 200, "initialize")
    equal(post(w, "mcp.test", "/mcp", call("initialize")).status, 403, "initialize without its parameters")
    equal(post(w, "mcp.test", "/mcp", {"jsonrpc": "2.0", "method": "notifications/initialized"}).status, 403, "not listed")
    equal(w.egress.get("mcp.test", "/mcp", more="Accept: text/event-stream\r\n").status, 200, "receive stream")
    equal(post(w, "mcp.test", "/mcp", {"jsonrpc": "2.0", "id": 7, "result": {}}).status, 200, "answer to the server")
    equal(w.egress.get("mcp.test", "/mcp", "DELETE", "Mcp-Session-Id: x\r\n").status, 200, "end")
    equal(w.egress.get("mcp.test", "/mcp", "DELETE").status, 403, "end of no session")
    equal(w.egress.get("mcp.test", "/mcp").status, 403, "GET that opens no stream")
    equal(w.egress.get("mcp.test", "/other", "POST").status, 403, "another path")


# --- SQL ---

@suite.case
def sql_passes_unread_and_says_so(w):
    since = w.egress.mark()
    with w.egress.open("sql.test:7") as s:
        s.sendall(b"select 1;")
        equal(s.recv(100), b"select 1;", "echo")
    w.egress.audit("NET:OPEN [LOW] OBSERVED /usr/bin/curl(64) -> sql.test:7 [policy:bodies engine:l7]", since)


if __name__ == "__main__":
    main(suite)
