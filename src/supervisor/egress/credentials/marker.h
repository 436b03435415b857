/* Finds reserved credential markers in what leaves the sandbox (spec/proxy.md 9.1): the texts that
 * placeholders begin with, raw or with any of their bytes percent-encoded. Placeholders that nobody resolved
 * must not get out, wherever they stand and however the bytes arrive. Bytes in, a verdict out; no I/O, no
 * allocation. */
#ifndef SUPERVISOR_EGRESS_MARKER_H
#define SUPERVISOR_EGRESS_MARKER_H

#include <stdbool.h>
#include <stddef.h>

#define MARKER_TEXT "openshell:resolve:env:"
#define MARKER_ALIAS "OPENSHELL-RESOLVE-ENV-"
/* Longest form of a marker in bytes, every byte percent-encoded. What could still become one is at most one
 * byte shorter. */
#define MARKER_WIDTH 66

/* True when a marker stands anywhere in the n bytes. */
bool marker_in(const char *p, size_t n);
/* The same for a header value: also in what "Basic" credentials decode to (RFC 7617). */
bool marker_in_header(const char *value, size_t n);

/* A body that passes in pieces. */
struct marker_scan {
    char held[MARKER_WIDTH]; /* the end of what was fed, not released yet */
    size_t n_held;
    bool found;
};

/* Takes the next piece. How many of its last bytes, and those held before it, must be held back: the piece
 * may go on up to there once the bytes held before it went on. See marker_scan_feed's result.
 *
 * Returns how many bytes of held + piece (in this order) may go on now; the rest is kept in held for the next
 * call. On a marker nothing more may go on: 0, and found is set for good. `ready` has to have room for
 * MARKER_WIDTH + n bytes and gets the bytes that may go on. */
size_t marker_scan_feed(struct marker_scan *s, const char *p, size_t n, char *ready);
/* The body ended: the bytes still held may go on (none when a marker was found). */
size_t marker_scan_end(struct marker_scan *s, char *ready);

#endif
