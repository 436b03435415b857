/* A bare HTTP/2 client that says exactly what a test wants, over a plaintext socket. */
#ifndef TEST_RPC_PROBE_H
#define TEST_RPC_PROBE_H

#include <nghttp2/nghttp2.h>

#include "fixture.h"

struct probe {
    struct fixture *f;
    int fd;
    nghttp2_session *h2;
    struct os_buf headers; /* "name: value\n" of responses and trailers */
    struct os_buf body;
    unsigned closed;     /* streams */
    uint32_t reset_code; /* of the last closed stream */
    bool gone, goaway;
    uint32_t goaway_code;
    unsigned goaways;
    int32_t goaway_last[4]; /* last stream ids of the first ones */
    const char *send;       /* request body still to send */
    size_t send_len;
};

void probe_open(struct probe *p, struct fixture *f);
void probe_close(struct probe *p);
/* POST with "name: value" lines in extra (NULL-terminated); names starting with ':' replace the defaults.
 * body NULL = headers only. Returns the stream. */
int32_t probe_request(struct probe *p, const char *path, const char *const *extra, const void *body,
                      size_t n);
/* Moves bytes until `closed` reached want or the server left. */
void probe_run(struct probe *p, unsigned want);
/* Moves what there is in both directions, once. */
void probe_step(struct probe *p);

#endif
