/* The fixed messages of the monitor: encoding and strict decoding. No I/O here; see transfer.c. */
#include "supervisor/monitor/protocol.h"

#include <netinet/in.h>
#include <signal.h>
#include <string.h>

#include "core/limits.h"

static const uint8_t *take(struct protocol_reader *r, size_t n)
{
    if (r->failed || n > r->n) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *at = r->p;
    r->p += n;
    r->n -= n;
    return at;
}

uint8_t protocol_get_u8(struct protocol_reader *r)
{
    const uint8_t *at = take(r, 1);
    return at ? *at : 0;
}

uint32_t protocol_get_u32(struct protocol_reader *r)
{
    uint32_t v = 0;
    const uint8_t *at = take(r, sizeof(v));
    if (at)
        memcpy(&v, at, sizeof(v));
    return v;
}

static bool get_bool(struct protocol_reader *r)
{
    uint8_t v = protocol_get_u8(r);
    if (v > 1)
        r->failed = true;
    return v == 1;
}

char *protocol_get_text(struct protocol_reader *r, struct os_arena *arena)
{
    uint32_t n = protocol_get_u32(r);
    const uint8_t *at = take(r, n);
    if (!at)
        return NULL;
    if (memchr(at, 0, n)) {
        r->failed = true;
        return NULL;
    }
    return os_arena_strndup(arena, (const char *)at, n);
}

struct protocol_list protocol_get_list(struct protocol_reader *r, struct os_arena *arena)
{
    static const char *const none[] = {NULL};
    struct protocol_list empty = {none, 0};
    uint32_t n = protocol_get_u32(r);
    /* Every text takes four bytes at least: a count that cannot be is not allocated for. */
    if (n > OS_MONITOR_LIST || n > r->n / sizeof(uint32_t))
        r->failed = true;
    if (r->failed)
        return empty;
    const char **v = os_arena_alloc(arena, (n + 1) * sizeof(*v));
    for (uint32_t i = 0; i < n; i++) {
        v[i] = protocol_get_text(r, arena);
        if (!v[i])
            return empty;
    }
    return (struct protocol_list){v, n};
}

void protocol_put_u8(struct os_buf *b, uint8_t v)
{
    os_buf_add(b, &v, sizeof(v));
}

void protocol_put_u32(struct os_buf *b, uint32_t v)
{
    os_buf_add(b, &v, sizeof(v));
}

void protocol_put_text(struct os_buf *b, const char *s)
{
    size_t n = strlen(s);
    protocol_put_u32(b, (uint32_t)n);
    os_buf_add(b, s, n);
}

void protocol_put_list(struct os_buf *b, const char *const *v, size_t n)
{
    protocol_put_u32(b, (uint32_t)n);
    for (size_t i = 0; i < n; i++)
        protocol_put_text(b, v[i]);
}

/* family u32, port u32 (host order), address 4 or 16 bytes */
static void put_address(struct os_buf *b, const struct sockaddr_storage *sa)
{
    protocol_put_u32(b, sa->ss_family);
    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)sa;
        protocol_put_u32(b, ntohs(v4->sin_port));
        os_buf_add(b, &v4->sin_addr, sizeof(v4->sin_addr));
    } else {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)sa;
        protocol_put_u32(b, ntohs(v6->sin6_port));
        os_buf_add(b, &v6->sin6_addr, sizeof(v6->sin6_addr));
    }
}

static void get_address(struct protocol_reader *r, struct sockaddr_storage *sa)
{
    memset(sa, 0, sizeof(*sa));
    uint32_t family = protocol_get_u32(r), port = protocol_get_u32(r);
    if ((family != AF_INET && family != AF_INET6) || port > UINT16_MAX) {
        r->failed = true;
        return;
    }
    const uint8_t *at = take(r, family == AF_INET ? 4 : 16);
    if (!at)
        return;
    if (family == AF_INET) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)sa;
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        memcpy(&v4->sin_addr, at, sizeof(v4->sin_addr));
    } else {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)sa;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        memcpy(&v6->sin6_addr, at, sizeof(v6->sin6_addr));
    }
}

static void require_absolute(struct protocol_reader *r, const struct protocol_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->v[i][0] != '/')
            r->failed = true;
}

static void decode_isolate(struct protocol_reader *r, struct os_arena *arena, struct protocol_request *out)
{
    out->isolate.read_only = protocol_get_list(r, arena);
    out->isolate.read_write = protocol_get_list(r, arena);
    out->isolate.hard_requirement = get_bool(r);
    out->isolate.workdir = protocol_get_text(r, arena);
    require_absolute(r, &out->isolate.read_only);
    require_absolute(r, &out->isolate.read_write);
    if (out->isolate.workdir && out->isolate.workdir[0] != '\0' && out->isolate.workdir[0] != '/')
        r->failed = true;
}

static void decode_spawn(struct protocol_reader *r, struct os_arena *arena, struct protocol_request *out)
{
    out->spawn.argv = protocol_get_list(r, arena);
    out->spawn.env = protocol_get_list(r, arena);
    bool has_workdir = get_bool(r);
    out->spawn.workdir = has_workdir ? protocol_get_text(r, arena) : NULL;
    out->spawn.tty = get_bool(r);
    out->spawn.main = get_bool(r);
    uint32_t cols = protocol_get_u32(r), rows = protocol_get_u32(r);
    if (cols > UINT16_MAX || rows > UINT16_MAX || out->spawn.argv.n == 0 || out->spawn.argv.v[0][0] == '\0')
        r->failed = true;
    out->spawn.cols = (uint16_t)cols;
    out->spawn.rows = (uint16_t)rows;
}

int protocol_decode(enum protocol_type type, const void *data, size_t n, struct os_arena *arena,
                    struct protocol_request *out)
{
    struct protocol_reader r = {.p = data, .n = n};
    memset(out, 0, sizeof(*out));
    out->type = type;
    switch (type) {
    case PROTOCOL_ISOLATE:
        decode_isolate(&r, arena, out);
        break;
    case PROTOCOL_SPAWN:
        decode_spawn(&r, arena, out);
        break;
    case PROTOCOL_SIGNAL:
        out->signal.child = protocol_get_u32(&r);
        out->signal.sig = (int32_t)protocol_get_u32(&r);
        if (out->signal.sig < 1 || out->signal.sig >= NSIG)
            r.failed = true;
        break;
    case PROTOCOL_SOCKET:
        out->family = (int32_t)protocol_get_u32(&r);
        if (out->family != AF_INET && out->family != AF_INET6)
            r.failed = true;
        break;
    case PROTOCOL_IDENTIFY:
        get_address(&r, &out->identify.agent);
        get_address(&r, &out->identify.local);
        break;
    case PROTOCOL_QUIT:
        out->status = (int32_t)protocol_get_u32(&r);
        break;
    default:
        return -1;
    }
    return r.failed || r.n > 0 ? -1 : 0;
}

void protocol_encode(const struct protocol_request *r, struct os_buf *out)
{
    switch (r->type) {
    case PROTOCOL_ISOLATE:
        protocol_put_list(out, r->isolate.read_only.v, r->isolate.read_only.n);
        protocol_put_list(out, r->isolate.read_write.v, r->isolate.read_write.n);
        protocol_put_u8(out, r->isolate.hard_requirement);
        protocol_put_text(out, r->isolate.workdir);
        break;
    case PROTOCOL_SPAWN:
        protocol_put_list(out, r->spawn.argv.v, r->spawn.argv.n);
        protocol_put_list(out, r->spawn.env.v, r->spawn.env.n);
        protocol_put_u8(out, r->spawn.workdir != NULL);
        if (r->spawn.workdir)
            protocol_put_text(out, r->spawn.workdir);
        protocol_put_u8(out, r->spawn.tty);
        protocol_put_u8(out, r->spawn.main);
        protocol_put_u32(out, r->spawn.cols);
        protocol_put_u32(out, r->spawn.rows);
        break;
    case PROTOCOL_SIGNAL:
        protocol_put_u32(out, r->signal.child);
        protocol_put_u32(out, (uint32_t)r->signal.sig);
        break;
    case PROTOCOL_SOCKET:
        protocol_put_u32(out, (uint32_t)r->family);
        break;
    case PROTOCOL_IDENTIFY:
        put_address(out, &r->identify.agent);
        put_address(out, &r->identify.local);
        break;
    case PROTOCOL_QUIT:
        protocol_put_u32(out, (uint32_t)r->status);
        break;
    default:
        out->failed = true;
    }
}
