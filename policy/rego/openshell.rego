# Which process may reach which endpoint, and what it may send there: the stock rules of a sandbox policy.
#
# Input and data are those of the evaluation contract (docs/architecture/policy-contract.md). Queries:
# egress_authorization once per connection; allow_request and request_deny_reason once per request.
package openshell.sandbox

import rego.v1

# --- what a pattern or a rule says of a value

yes := 1

no := 0

broken := -1 # a pattern that cannot be evaluated: the request is refused

# One of them says yes; the first that says anything but no decides.
any_of(verdicts) := decisive[0] if {
	decisive := [v | some v in verdicts; v != no]
	count(decisive) > 0
} else := no

# All of them say yes; the first that says anything else decides.
all_of(verdicts) := decisive[0] if {
	decisive := [v | some v in verdicts; v != yes]
	count(decisive) > 0
} else := yes

verdict(true) := yes

verdict(false) := no

# --- the document

default policies := {}

policies := data.network_policies

default filesystem_policy := {"include_workdir": true, "read_only": [], "read_write": []}

filesystem_policy := data.filesystem_policy

default landlock_policy := {"compatibility": "best_effort"}

landlock_policy := data.landlock

default process_policy := {"run_as_user": "sandbox", "run_as_group": "sandbox"}

process_policy := data.process

default network_middlewares := {}

network_middlewares := data.network_middlewares

default require_binary_identity := true

require_binary_identity := data.runtime.require_binary_identity

text(object_, key) := object.get(object_, key, "")

list(object_, key) := object.get(object_, key, [])

# --- connections: who

process_paths := [p |
	some p in array.concat([text(input.exec, "path")], list(input.exec, "ancestors"))
	p != ""
]

binary_matches(binary) if {
	not contains(binary.path, "*")
	binary.path in process_paths
}

binary_matches(binary) if {
	contains(binary.path, "*")
	some path in process_paths
	glob_match(binary.path, "/", path) == yes
}

process_matches(_) if not require_binary_identity

process_matches(policy) if {
	some binary in list(policy, "binaries")
	binary_matches(binary)
}

# By something that a person wrote, not only by what the advisor proposed.
process_declared(_) if not require_binary_identity

process_declared(policy) if {
	some binary in list(policy, "binaries")
	not object.get(binary, "advisor_proposed", false)
	binary_matches(binary)
}

# --- connections: where

host_matches(endpoint) if {
	text(endpoint, "host") != ""
	not contains(endpoint.host, "*")
	ascii_lower(endpoint.host) == ascii_lower(input.network.host)
}

host_matches(endpoint) if {
	contains(text(endpoint, "host"), "*")
	glob_match(ascii_lower(endpoint.host), ".", ascii_lower(input.network.host)) == yes
}

host_matches(endpoint) if {
	text(endpoint, "host") == ""
	count(list(endpoint, "allowed_ips")) > 0
}

endpoint_matches(endpoint) if {
	input.network.port in endpoint.ports
	host_matches(endpoint)
}

# Endpoints that match host and port, whoever calls; policies by key, endpoints in list order.
endpoints_here := [{"policy_name": name, "endpoint_index": i, "endpoint": endpoint} |
	some name, policy in policies
	some i, endpoint in list(policy, "endpoints")
	endpoint_matches(endpoint)
]

matched_endpoints := [m |
	some m in endpoints_here
	process_matches(policies[m.policy_name])
]

endpoint_credential_guards := [m.endpoint | some m in matched_endpoints]

# Those that say more than that the connection is allowed.
extended(endpoint) if inspected(endpoint)

extended(endpoint) if count(list(endpoint, "allowed_ips")) > 0

extended(endpoint) if text(endpoint, "tls") != ""

_matching_endpoint_configs := [m.endpoint |
	some m in matched_endpoints
	extended(m.endpoint)
]

exact_declared_endpoint_host if {
	some m in matched_endpoints
	text(m.endpoint, "host") != ""
	not contains(m.endpoint.host, "*")
	not object.get(m.endpoint, "advisor_proposed", false)
	process_declared(policies[m.policy_name])
}

# --- connections: the answer

default allow_network := false

allow_network if count(matched_endpoints) > 0

default matched_network_policy := ""

matched_network_policy := matched_endpoints[0].policy_name

symlink_hint := concat("", [
	"SYMLINK HINT: the path compared is the one the kernel resolved for the running executable ",
	"(/proc/<pid>/exe), not the link it was started by. If the policy names a link (for example ",
	"/usr/bin/python3 while the executable is /usr/bin/python3.11), put the resolved path into the ",
	"policy (run 'readlink -f /usr/bin/python3' inside the sandbox), or look in the sandbox log for ",
	"'Cannot access container filesystem', which tells why links could not be resolved.",
])

binary_reason(name) := sprintf("binary '%s' not allowed in policy '%s' (ancestors: [%s], cmdline: [%s]). %s", [
	text(input.exec, "path"),
	name,
	concat(" -> ", list(input.exec, "ancestors")),
	concat(", ", list(input.exec, "cmdline_paths")),
	symlink_hint,
])

default deny_reason := "network connections not allowed by policy"

deny_reason := "" if {
	allow_network
} else := "missing input.network" if {
	not input.network
} else := "missing input.exec" if {
	not input.exec
} else := "network connections not allowed by policy" if {
	count(policies) == 0
} else := sprintf("endpoint %s:%d is not allowed by any policy", [input.network.host, input.network.port]) if {
	count(endpoints_here) == 0
} else := concat("; ", [binary_reason(name) |
	some name in [n | some n, _ in policies]
	name in {m.policy_name | some m in endpoints_here}
])

default declared_host := false

declared_host if exact_declared_endpoint_host

action := "allow" if {
	allow_network
} else := "deny"

egress_authorization := {
	"action": action,
	"deny_reason": deny_reason,
	"matched_policy": matched_network_policy,
	"endpoint_configs": _matching_endpoint_configs,
	"matched_endpoints": matched_endpoints,
	"exact_declared_endpoint_host": declared_host,
}

policy_dns_eligible_endpoint_records := [{"policy_name": name, "endpoint_index": i, "endpoint": endpoint} |
	some name, policy in policies
	some i, endpoint in list(policy, "endpoints")
	ascii_lower(text(endpoint, "protocol")) == "tcp"
	text(endpoint, "host") != ""
	count(list(endpoint, "ports")) > 0
	every port in endpoint.ports {
		port >= 1
		port <= 65535
	}
]

# --- requests: who parses them

inspected(endpoint) if text(endpoint, "protocol") in {"rest", "websocket", "graphql", "sql", "json-rpc", "mcp"}

# In bytes, and twice that.
path_weight(endpoint) := count(hex.encode(replace(text(endpoint, "path"), "*", "")))

parsers := [endpoint |
	some endpoint in _matching_endpoint_configs
	inspected(endpoint)
	path_selects(text(endpoint, "path"), input.request.path)
]

# The most specific path; the first of those that are equally specific.
request_config := [endpoint |
	some endpoint in parsers
	path_weight(endpoint) == max([path_weight(p) | some p in parsers])
][0]

# --- requests: method, path and query

method_matches("", _, true)

method_matches("*", _, _)

method_matches(rule, method, _) if {
	rule != ""
	ascii_lower(rule) == ascii_lower(method)
}

method_matches(rule, method, _) if {
	ascii_lower(rule) == "get"
	ascii_lower(method) == "head"
}

path_matches("", _) := yes

path_matches("**", _) := yes

path_matches(pattern, path) := glob_match(pattern, "/", path) if not pattern in {"", "**"}

patterns_of(matcher) := [matcher] if is_string(matcher)

patterns_of(matcher) := matcher.any if count(object.get(matcher, "any", [])) > 0

patterns_of(matcher) := [object.get(matcher, "glob", "")] if {
	is_object(matcher)
	count(object.get(matcher, "any", [])) == 0
}

any_pattern(patterns, value) := any_of([glob_match(p, ".", value) | some p in patterns])

query_values(key) := object.get(object.get(input.request, "query_params", {}), key, [])

# Allow: the key is there and every value matches. Deny: at least one value does.
query_matches(key, matcher, false) := all_of([any_pattern(patterns_of(matcher), v) | some v in query_values(key)]) if {
	count(query_values(key)) > 0
} else := no

query_matches(key, matcher, true) := any_of([any_pattern(patterns_of(matcher), v) | some v in query_values(key)])

clause_matches(clause, deny) := all_of(array.concat(
	[path_matches(text(clause, "path"), input.request.path)],
	[query_matches(key, matcher, deny) | some key, matcher in object.get(clause, "query", {})],
)) if {
	method_matches(text(clause, "method"), input.request.method, deny)
} else := no

# --- requests: GraphQL operations

graphql := object.get(input.request, "graphql", null)

# The persisted query it stands for, when it has no document of its own.
known_operation(endpoint, operation) := operation if {
	object.get(operation, "operation_type", null) != null
} else := registered if {
	text(endpoint, "persisted_queries") == "allow_registered"
	key := object.get(operation, "persisted_query_hash", object.get(operation, "persisted_query_id", null))
	registered := endpoint.graphql_persisted_queries[key]
}

type_matches("*", _)

type_matches(rule, type) if {
	rule != ""
	ascii_lower(rule) == ascii_lower(type)
}

name_matches("", _) := yes

name_matches(pattern, name) := glob_match(pattern, ".", name) if pattern != ""

fields_match([], _, _) := yes

fields_match(patterns, fields, false) := all_of([any_pattern(patterns, f) | some f in fields]) if {
	count(patterns) > 0
	count(fields) > 0
} else := no if {
	count(patterns) > 0
}

fields_match(patterns, fields, true) := any_of([any_pattern(patterns, f) | some f in fields]) if {
	count(patterns) > 0
}

operation_matches(clause, operation, deny) := all_of([
	name_matches(text(clause, "operation_name"), text(operation, "operation_name")),
	fields_match(list(clause, "fields"), list(operation, "fields"), deny),
]) if {
	type_matches(text(clause, "operation_type"), text(operation, "operation_type"))
} else := no

operation_verdict(endpoint, clauses, operation, deny) := any_of([operation_matches(c, known, deny) |
	some c in clauses
]) if {
	known := known_operation(endpoint, operation)
} else := no

# --- requests: JSON-RPC and MCP calls

jsonrpc := object.get(input.request, "jsonrpc", null)

no_call if object.get(jsonrpc, "method", null) == null

tool_matcher(clause) := object.get(object.get(clause, "params", {}), "name", object.get(clause, "tool", null))

call_method(clause) := clause.method if {
	text(clause, "method") != ""
} else := "tools/call" if {
	tool_matcher(clause) != null
} else := "*"

call_method_matches("*", _) := yes

call_method_matches(rule, "mcp") := glob_match(rule, ".", jsonrpc.method) if rule != "*"

call_method_matches(rule, "json-rpc") := verdict(rule == jsonrpc.method) if rule != "*"

call_tool_matches(null) := yes

call_tool_matches(matcher) := any_pattern(patterns_of(matcher), jsonrpc.tool) if {
	matcher != null
	is_string(object.get(jsonrpc, "tool", null))
} else := no if {
	matcher != null
}

call_tool(clause, "mcp") := tool_matcher(clause)

call_tool(_, "json-rpc") := null

call_matches(clause, protocol) := all_of([
	call_method_matches(call_method(clause), protocol),
	call_tool_matches(call_tool(clause, protocol)),
])

tools_narrowed(clauses) if {
	some clause in clauses
	tool_matcher(clause) != null
}

narrowed_call(clauses) if {
	jsonrpc.method == "tools/call"
	tools_narrowed(clauses)
}

# Answers to the server's requests, and the stream those come in on.
is_frame if object.get(jsonrpc, "has_response", false)

is_frame if object.get(jsonrpc, "receive_stream", false)

call_allowed(endpoint) := verdict(endpoint.protocol == "mcp") if {
	no_call
	is_frame
} else := no if {
	no_call
} else := yes if {
	endpoint.protocol == "mcp"
	object.get(endpoint, "mcp_allow_all_known_mcp_methods", false)
	not narrowed_call(allow_clauses(endpoint))
} else := any_of([call_matches(c, endpoint.protocol) | some c in allow_clauses(endpoint)])

call_denied(endpoint) := no if {
	no_call
} else := any_of([call_matches(c, endpoint.protocol) | some c in list(endpoint, "deny_rules")])

# --- requests: what one endpoint says of this one

allow_clauses(endpoint) := [object.get(rule, "allow", {}) | some rule in list(endpoint, "rules")]

speaks_of_operations(clause) if text(clause, "operation_type") != ""

speaks_of_operations(clause) if text(clause, "operation_name") != ""

speaks_of_operations(clause) if count(list(clause, "fields")) > 0

# On a websocket endpoint rules about operations and rules about messages stand side by side.
clauses_for(endpoint, clauses, operations) := clauses if {
	text(endpoint, "protocol") != "websocket"
} else := [c | some c in clauses; speaks_of_operations(c)] if {
	operations
} else := [c | some c in clauses; not speaks_of_operations(c)]

# "*" on a websocket endpoint speaks of the upgrade and of messages; it opens nothing to other requests.
foreign_to_websocket(endpoint) if {
	text(endpoint, "protocol") == "websocket"
	ascii_lower(input.request.method) != "get"
	input.request.method != "WEBSOCKET_TEXT"
}

judged_by_clauses(endpoint) if text(endpoint, "protocol") in {"", "rest", "sql"}

judged_by_clauses(endpoint) if {
	text(endpoint, "protocol") == "websocket"
	graphql == null
}

judged_by_operations(endpoint) if {
	text(endpoint, "protocol") in {"graphql", "websocket"}
	graphql != null
}

judged_by_calls(endpoint) if {
	text(endpoint, "protocol") in {"json-rpc", "mcp"}
	jsonrpc != null
}

# Calls are allowed only by endpoints that tell them apart: a broader endpoint would let all through.
allows(endpoint) := no if {
	judged_by_clauses(endpoint)
	jsonrpc != null
} else := no if {
	judged_by_clauses(endpoint)
	foreign_to_websocket(endpoint)
} else := any_of([clause_matches(c, false) | some c in clauses_for(endpoint, allow_clauses(endpoint), false)]) if {
	judged_by_clauses(endpoint)
} else := all_operations_allowed(endpoint) if {
	judged_by_operations(endpoint)
} else := call_allowed(endpoint) if {
	judged_by_calls(endpoint)
} else := no

denies(endpoint) := any_of([clause_matches(c, true) | some c in clauses_for(endpoint, list(endpoint, "deny_rules"), false)]) if {
	judged_by_clauses(endpoint)
} else := operations_denied(endpoint) if {
	judged_by_operations(endpoint)
} else := call_denied(endpoint) if {
	judged_by_calls(endpoint)
} else := no

all_operations_allowed(endpoint) := all_of([operation_verdict(endpoint, clauses, op, false) |
	clauses := clauses_for(endpoint, allow_clauses(endpoint), true)
	some op in graphql.operations
]) if {
	count(list(graphql, "operations")) > 0
	object.get(graphql, "error", null) == null
} else := no

some_operation_denied(endpoint) := any_of([operation_verdict(endpoint, clauses, op, true) |
	clauses := clauses_for(endpoint, list(endpoint, "deny_rules"), true)
	some op in list(graphql, "operations")
])

# What a GraphQL endpoint does not allow it denies, so that no broader endpoint lets it through.
operations_denied(endpoint) := yes if {
	some_operation_denied(endpoint) == no
	all_operations_allowed(endpoint) == no
} else := some_operation_denied(endpoint)

# --- requests: the answer

opinions := [{"allow": allow, "deny": deny} |
	some m in matched_endpoints
	place := path_matches(text(m.endpoint, "path"), input.request.path)
	place != no
	allow := min([place, allows(m.endpoint)])
	deny := min([place, denies(m.endpoint)])
]

undecidable if {
	some o in opinions
	broken in [o.allow, o.deny]
}

request_denied if {
	some o in opinions
	o.deny == yes
}

request_allowed if {
	some o in opinions
	o.allow == yes
}

# What is refused without asking the rules.
hard_deny_reason := "no L7 endpoint path matched request" if {
	not request_config
} else := sprintf("GraphQL request rejected: %s", [graphql.error]) if {
	object.get(graphql, "error", null) != null
} else := sprintf("JSON-RPC request rejected: %s", [jsonrpc.error]) if {
	object.get(jsonrpc, "error", null) != null
} else := "JSON-RPC response frames are not permitted from client to server" if {
	request_config.protocol == "json-rpc"
	object.get(jsonrpc, "has_response", false)
}

# Neither calls nor frames: nothing that a rule could allow.
nothing_asked if {
	jsonrpc != null
	no_call
	not is_frame
}

unregistered_query if {
	some op in graphql.operations
	not known_operation(request_config, op)
}

default allow_request := false

allow_request if {
	not hard_deny_reason
	not nothing_asked
	not undecidable
	not request_denied
	request_allowed
}

request_line := sprintf("%s %s", [input.request.method, input.request.path])

request_deny_reason := hard_deny_reason if {
	hard_deny_reason
} else := sprintf("%s not permitted by policy", [request_line]) if {
	nothing_asked
} else := "request denied by policy" if {
	undecidable
} else := "GraphQL persisted query is not registered" if {
	not allow_request
	unregistered_query
} else := "GraphQL operation blocked by endpoint policy" if {
	request_denied
	graphql != null
} else := sprintf("%s blocked by deny rule", [request_line]) if {
	request_denied
} else := "GraphQL operation not permitted by policy" if {
	not allow_request
	graphql != null
} else := sprintf("%s not permitted by policy", [request_line]) if {
	not allow_request
}

# --- patterns
#
# The published pattern functions: glob_match is G, path_selects is P. They count bytes, and regular expressions
# count characters: so pattern and value are compared as hex digits, two per byte.

ascii_lower(s) := lower(s) if {
	regex.match(`^[[:ascii:]]*$`, s)
} else := strings.replace_n(
	{
		"A": "a", "B": "b", "C": "c", "D": "d", "E": "e", "F": "f", "G": "g", "H": "h", "I": "i",
		"J": "j", "K": "k", "L": "l", "M": "m", "N": "n", "O": "o", "P": "p", "Q": "q", "R": "r",
		"S": "s", "T": "t", "U": "u", "V": "v", "W": "w", "X": "x", "Y": "y", "Z": "z",
	},
	s,
)

glob_match(pattern, delimiter, value) := verdict(matches) if {
	matches := regex.match(program(pattern, delimiter, "G"), hex.encode(value))
} else := broken

path_selects("", _)

path_selects("**", _)

path_selects("/**", _)

path_selects(path, path)

path_selects(pattern, path) if {
	endswith(pattern, "/**")
	prefix := trim_suffix(pattern, "/**")
	prefix != ""
	path_below(prefix, path)
}

path_selects(pattern, path) if {
	not endswith(pattern, "/**")
	regex.match(program(pattern, "/", "P"), hex.encode(path))
}

path_below(prefix, prefix)

path_below(prefix, path) if startswith(path, concat("", [prefix, "/"]))

# A pattern as a list of tokens: an escaped byte, a class, a run of stars, or one byte.
token_of := {
	"G": `5c..|5b(?:(?:21|5e)..|[013-46-9a-f].|2[02-9a-f]|5[0-9a-df])(?:[0-46-9a-f].|5[0-9abcef])*5d|(?:2a)+|..`,
	"P": `5b(?:21..|[013-9a-f].|2[02-9a-f])(?:[0-46-9a-f].|5[0-9abcef])*5d|(?:2a)+|..`,
}

tokens(pattern, flavour) := regex.find_n(token_of[flavour], hex.encode(pattern), -1)

not_delimiter := {
	"/": "(?:[013-9a-f].|2[0-9a-e])",
	".": "(?:[013-9a-f].|2[0-9a-df])",
}

delimiter_hex := {"/": "2f", ".": "2e"}

plain_byte(delimiter, "G") := not_delimiter[delimiter]

plain_byte(_, "P") := "(?:..)"

program(pattern, delimiter, flavour) := sprintf("^%s$", [hex.encode(pattern)]) if {
	not regex.match(`[][{}*?\\]`, pattern)
} else := sprintf("^%s$", [concat("", pieces)]) if {
	ts := tokens(pattern, flavour)
	not "5b" in ts
	not bare_backslash(ts, flavour)
	shape := shape_of(ts, flavour)
	shape.balanced
	pieces := [piece(ts, i, shape, delimiter, flavour) | some i, _ in ts]
	count(pieces) == count(ts)
}

bare_backslash(ts, "G") if "5c" in ts

# Where groups open and close, and which commas part alternatives.
shape_of(ts, flavour) := {"balanced": true, "groups": [], "commas": set()} if {
	not has_braces(ts, flavour)
} else := {"balanced": balanced(ts), "groups": groups(ts), "commas": {i |
	some i, "2c" in ts
	depth(ts, i) > 0
}}

has_braces(ts, "G") if {
	some brace in {"7b", "7d"}
	brace in ts
}

depth(ts, at) := count([i | some i, "7b" in ts; i < at]) - count([i | some i, "7d" in ts; i < at])

balanced(ts) if {
	depth(ts, count(ts)) == 0
	every i in [c | some c, "7d" in ts] {
		depth(ts, i) > 0
	}
} else := false

groups(ts) := [{"open": open, "close": close} |
	some open, "7b" in ts
	close := min([c | some c, "7d" in ts; c > open; depth(ts, c) == depth(ts, open) + 1])
]

# Groups around token at, the innermost first.
around(shape, at) := array.reverse([g | some g in shape.groups; g.open < at; at < g.close])

# A component starts in front of token at: begin, delimiter, or the same in front of the group.
component_starts(ts, at, shape, delimiter) if {
	places := array.concat([at], [g.open | some g in around(shape, at)])
	first := [x | some x in places; not opens_alternative(ts, x, shape)][0]
	after_delimiter(ts, first, delimiter)
}

opens_alternative(ts, x, _) if ts[x - 1] == "7b"

opens_alternative(_, x, shape) if (x - 1) in shape.commas

after_delimiter(_, 0, _)

after_delimiter(ts, x, delimiter) if ts[x - 1] == delimiter_hex[delimiter]

# A component ends behind token at: end, delimiter, or the same behind the group.
component_ends(ts, at, shape, delimiter) if {
	places := array.concat([at + 1], [after | some g in around(shape, at); after := g.close + 1])
	first := [x | some x in places; not closes_alternative(ts, x, shape)][0]
	before_delimiter(ts, first, delimiter)
}

closes_alternative(ts, x, shape) if {
	ts[x] == "7d"
	count(shape.groups) > 0
}

closes_alternative(_, x, shape) if x in shape.commas

before_delimiter(ts, x, _) if x == count(ts)

before_delimiter(ts, x, delimiter) if ts[x] == delimiter_hex[delimiter]

whole(ts, at, shape, delimiter) if {
	ts[at] == "2a2a"
	component_starts(ts, at, shape, delimiter)
	component_ends(ts, at, shape, delimiter)
}

# "**/" is any number of leading components, each with its delimiter.
leading(ts, at, shape, "/") if {
	whole(ts, at, shape, "/")
	ts[at + 1] == "2f"
}

# An alternative without content is dropped, and its comma with it.
has_content(ts, from, to, shape) if {
	some i in numbers.range(from + 1, to - 1)
	from + 1 <= to - 1
	not ts[i] in {"7b", "7d"}
	not i in shape.commas
}

parts_alternatives(ts, at, shape) if {
	group := around(shape, at)[0]
	next := min({group.close} | {i | some i in shape.commas; i > at; around(shape, i)[0] == group})
	has_content(ts, group.open, at, shape)
	has_content(ts, at, next, shape)
}

# Bytes that may mean more than themselves.
special := {"2a", "2c", "2f", "3f", "5b", "5c", "7b", "7d"}

piece(ts, at, shape, delimiter, flavour) := ts[at] if {
	count(ts[at]) == 2
	not ts[at] in special
} else := "(?:(?:..)*2f)?" if {
	leading(ts, at, shape, delimiter)
} else := "(?:..)*" if {
	whole(ts, at, shape, delimiter)
} else := concat("", [plain_byte(delimiter, flavour), "*"]) if {
	startswith(ts[at], "2a")
	star_is_good(ts[at], flavour)
} else := "" if {
	leading(ts, at - 1, shape, delimiter)
} else := plain_byte(delimiter, flavour) if {
	ts[at] == "3f"
} else := class(ts[at], delimiter, flavour) if {
	is_class(ts[at])
} else := substring(ts[at], 2, 2) if {
	count(ts[at]) == 4
	startswith(ts[at], "5c")
} else := "(?:" if {
	ts[at] == "7b"
	count(shape.groups) > 0
} else := ")" if {
	ts[at] == "7d"
	count(shape.groups) > 0
} else := "|" if {
	at in shape.commas
	parts_alternatives(ts, at, shape)
} else := "" if {
	at in shape.commas
} else := ts[at] if {
	count(ts[at]) == 2
	ts[at] != "2a"
}

star_is_good(_, "G")

star_is_good("2a", "P")

# --- classes

is_class(token) if {
	startswith(token, "5b")
	count(token) > 2
}

hex_digits := ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b", "c", "d", "e", "f"]

all_bytes := {concat("", [high, low]) | some high in hex_digits; some low in hex_digits}

negation := {"G": "^(?:21|5e)", "P": "^21"}

class_items(token, flavour) := regex.find_n(
	"..2d..|..",
	regex.replace(substring(token, 2, count(token) - 4), negation[flavour], ""),
	-1,
)

is_range(item) if count(item) == 6

bytes_of(item) := {item} if not is_range(item)

bytes_of(item) := {b |
	some b in all_bytes
	b >= substring(item, 0, 2)
	b <= substring(item, 4, 2)
} if {
	is_range(item)
}

reversed(item) if {
	is_range(item)
	substring(item, 0, 2) > substring(item, 4, 2)
}

class(token, delimiter, flavour) := class_of(all_bytes - listed, delimiter) if {
	regex.match(negation[flavour], substring(token, 2, -1))
	listed := class_bytes(token, flavour)
} else := class_of(class_bytes(token, flavour), delimiter) if {
	not regex.match(negation[flavour], substring(token, 2, -1))
}

# A reversed range is an error for G and empty for P.
class_bytes(token, flavour) := union({bytes_of(item) | some item in class_items(token, flavour)}) if {
	every item in class_items(token, flavour) {
		range_is_good(item, flavour)
	}
}

range_is_good(_, "P")

range_is_good(item, "G") if not reversed(item)

# A class never takes the delimiter of host names.
class_of(bytes, ".") := one_of(bytes - {"2e"})

class_of(bytes, "/") := one_of(bytes)

one_of(bytes) := "[^0-9a-f]" if {
	count(bytes) == 0
} else := sprintf("(?:%s)", [concat("|", bytes)])
