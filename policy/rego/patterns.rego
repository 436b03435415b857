# The published pattern functions: glob_match is G, path_selects is P. They count bytes, and regular expressions
# count characters: so pattern and value are compared as hex digits, two per byte.
package openshell.sandbox

import rego.v1

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
