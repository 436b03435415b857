/* The operator's forward proxy as it is written down: URL, exceptions, credential. */
#include "net/forward_proxy.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/encode.h"
#include "core/str.h"

/* --- URL --- */

static bool is_host(const char *p, size_t n)
{
    struct net_addr a;
    char text[OS_LIMIT_HOST_NAME + 1];
    if (!n || n > OS_LIMIT_HOST_NAME)
        return false;
    memcpy(text, p, n);
    text[n] = '\0';
    if (strchr(text, ':'))
        return net_addr_parse(text, &a) == 0;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)p[i]) && !strchr("-._", p[i]))
            return false;
    return p[0] != '.';
}

/* "host:port" or "[v6]:port" of n bytes. */
static int read_authority(const char *p, size_t n, struct forward_proxy_url *out, struct os_error *err)
{
    const char *host = p, *end = p + n, *colon = memchr(p, ':', n);
    size_t host_n = colon ? (size_t)(colon - p) : n;
    if (memchr(p, '@', n))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "proxy URL must not contain credentials; put them into the credential file");
    if (n && p[0] == '[') {
        const char *close = memchr(p, ']', n);
        if (!close)
            return os_error_set(err, OS_INVALID_ARGUMENT, "proxy URL has an unclosed '['");
        host = p + 1;
        host_n = (size_t)(close - host);
        colon = close + 1 < end && close[1] == ':' ? close + 1 : NULL;
        if (!colon && close + 1 < end)
            return os_error_set(err, OS_INVALID_ARGUMENT, "proxy URL has an invalid proxy host");
    }
    if (!host_n)
        return os_error_set(err, OS_INVALID_ARGUMENT, "proxy URL is missing a proxy host");
    if (!colon || colon + 1 == end)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "proxy URL must include an explicit proxy port, e.g. http://proxy.corp.com:3128");
    uint64_t port;
    if (!os_str_u64n(colon + 1, (size_t)(end - colon - 1), 65535, &port))
        return os_error_set(err, OS_INVALID_ARGUMENT, "proxy URL port must be a number from 1 to 65535");
    if (!port)
        return os_error_set(err, OS_INVALID_ARGUMENT, "proxy URL port must not be 0");
    if (!is_host(host, host_n) || !memchr(host, ':', host_n) != (*p != '['))
        return os_error_set(err, OS_INVALID_ARGUMENT, "proxy URL has an invalid proxy host");
    memcpy(out->host, host, host_n);
    out->host[host_n] = '\0';
    os_str_lower(out->host);
    out->port = (uint16_t)port;
    return 0;
}

int forward_proxy_url_parse(const char *text, struct forward_proxy_url *out, struct os_error *err)
{
    const char *after = strstr(text, "://");
    *out = (struct forward_proxy_url){0};
    if (!after || after == text)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "proxy URL must include an explicit scheme, e.g. http://proxy.corp.com:3128");
    size_t scheme = (size_t)(after - text);
    out->tls = scheme == 5 && !strncasecmp(text, "https", 5);
    if (!out->tls && (scheme != 4 || strncasecmp(text, "http", 4))) {
        bool shown = scheme <= 16; /* what is longer is no scheme, and perhaps a secret */
        for (size_t i = 0; i < scheme; i++)
            shown = shown && isalnum((unsigned char)text[i]);
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "unsupported proxy scheme%s%.*s%s: only http:// and https:// forward proxies are "
                            "supported by the sandbox supervisor",
                            shown ? " '" : "", shown ? (int)scheme : 0, text, shown ? "'" : "");
    }
    after += 3;
    size_t n = strcspn(after, "/?#");
    const char *rest = after + n;
    if (*rest == '/' && rest[1] && rest[1] != '?' && rest[1] != '#')
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "proxy URL must not contain a path; use scheme://host:port only");
    if (*rest == '/')
        rest++;
    if (*rest)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "proxy URL must not contain a %s; use scheme://host:port only",
                            *rest == '?' ? "query" : "fragment");
    if (read_authority(after, n, out, err) < 0) {
        *out = (struct forward_proxy_url){0};
        return -1;
    }
    return 0;
}

/* --- exceptions --- */

static struct net_addr plain(const struct net_addr *a)
{
    struct net_addr v4 = {.family = AF_INET};
    if (a->family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&a->v6))
        return *a;
    memcpy(&v4.v4, a->v6.s6_addr + 12, 4);
    return v4;
}

/* "address" or "address/prefix" of n bytes. */
static bool read_net(const char *p, size_t n, struct no_proxy_entry *out)
{
    char text[INET6_ADDRSTRLEN + 2];
    const char *slash = memchr(p, '/', n);
    size_t addr_n = slash ? (size_t)(slash - p) : n;
    struct net_addr a;
    uint64_t prefix;
    if (!addr_n || addr_n >= sizeof(text))
        return false;
    memcpy(text, p, addr_n);
    text[addr_n] = '\0';
    if (net_addr_parse(text, &a) < 0)
        return false;
    out->kind = NO_PROXY_NET;
    out->addr = plain(&a);
    unsigned bits = out->addr.family == AF_INET ? 32 : 128;
    out->prefix = bits;
    if (!slash)
        return true;
    if (out->addr.family != a.family || !os_str_u64n(slash + 1, n - addr_n - 1, bits, &prefix))
        return false;
    out->prefix = (unsigned)prefix;
    return true;
}

static bool read_domain(const char *p, size_t n, struct no_proxy_entry *out)
{
    if (n > 2 && p[0] == '*' && p[1] == '.') {
        p += 2;
        n -= 2;
    } else if (n > 1 && p[0] == '.') {
        p++;
        n--;
    }
    if (n > 1 && p[n - 1] == '.')
        n--;
    if (!is_host(p, n) || memchr(p, ':', n))
        return false;
    out->kind = NO_PROXY_DOMAIN;
    out->domain = os_str_lower(os_strndup(p, n));
    return true;
}

static bool read_exception(const char *p, size_t n, struct no_proxy_entry *out)
{
    uint64_t port = 0;
    *out = (struct no_proxy_entry){0};
    if (read_net(p, n, out)) /* also what has colons of its own */
        return true;
    const char *colon = memrchr(p, ':', n);
    if (colon) {
        if (!os_str_u64n(colon + 1, n - (size_t)(colon - p) - 1, 65535, &port) || !port)
            return false;
        n = (size_t)(colon - p);
    }
    out->port = (uint16_t)port;
    if (n == 1 && *p == '*') {
        out->kind = NO_PROXY_ALL;
        return true;
    }
    return read_net(p, n, out) || read_domain(p, n, out);
}

int forward_proxy_add_exceptions(struct forward_proxy *p, const char *list, struct os_error *err)
{
    for (const char *at = list; *at;) {
        size_t n = strcspn(at, ",");
        const char *next = at + n + (at[n] == ',');
        while (n && isspace((unsigned char)*at))
            at++, n--;
        while (n && isspace((unsigned char)at[n - 1]))
            n--;
        struct no_proxy_entry e;
        if (n && p->n_direct == OS_NO_PROXY_ENTRIES)
            return os_error_set(err, OS_OUT_OF_RANGE, "has more than %d entries", OS_NO_PROXY_ENTRIES);
        if (n && !read_exception(at, n, &e))
            return os_error_set(err, OS_INVALID_ARGUMENT,
                                "entry '%.*s' is neither '*' nor an address, CIDR or domain, with an "
                                "optional :port",
                                (int)(n < 64 ? n : 64), at);
        if (n) {
            p->direct = os_realloc(p->direct, p->n_direct + 1, sizeof(*p->direct));
            p->direct[p->n_direct++] = e;
        }
        at = next;
    }
    return 0;
}

static bool in_net(const struct no_proxy_entry *e, const struct net_addr *addr)
{
    const struct net_addr a = plain(addr);
    if (a.family != e->addr.family)
        return false;
    const uint8_t *x = a.family == AF_INET ? (const uint8_t *)&a.v4 : a.v6.s6_addr;
    const uint8_t *y = a.family == AF_INET ? (const uint8_t *)&e->addr.v4 : e->addr.v6.s6_addr;
    unsigned whole = e->prefix / 8, rest = e->prefix % 8;
    if (memcmp(x, y, whole))
        return false;
    return !rest || (x[whole] >> (8 - rest)) == (y[whole] >> (8 - rest));
}

static bool in_domain(const char *host, const char *domain)
{
    size_t h = strlen(host), d = strlen(domain);
    return h >= d && !strcmp(host + h - d, domain) && (h == d || host[h - d - 1] == '.');
}

bool forward_proxy_bypasses(const struct forward_proxy *p, const char *host, uint16_t port)
{
    struct net_addr a;
    bool literal = net_addr_parse(host, &a) == 0;
    if (literal && net_addr_is_loopback(&a))
        return true;
    for (size_t i = 0; i < p->n_direct; i++) {
        const struct no_proxy_entry *e = &p->direct[i];
        if (e->port && e->port != port)
            continue;
        if (e->kind == NO_PROXY_ALL || (e->kind == NO_PROXY_NET && literal && in_net(e, &a)) ||
            (e->kind == NO_PROXY_DOMAIN && in_domain(host, e->domain)))
            return true;
    }
    return false;
}

void forward_proxy_direct_addresses(const struct forward_proxy *p, const struct net_addrs *in, uint16_t port,
                                    struct net_addrs *out)
{
    *out = (struct net_addrs){0};
    for (size_t k = 0; k < in->n; k++)
        for (size_t i = 0; i < p->n_direct; i++) {
            const struct no_proxy_entry *e = &p->direct[i];
            if (e->kind == NO_PROXY_NET && (!e->port || e->port == port) && in_net(e, &in->v[k])) {
                net_addrs_add(out, &in->v[k]);
                break;
            }
        }
}

/* --- credential --- */

int forward_proxy_set_credential(struct forward_proxy *p, const char *text, size_t n, struct os_error *err)
{
    while (n && isspace((unsigned char)*text))
        text++, n--;
    while (n && isspace((unsigned char)text[n - 1]))
        n--;
    if (!n)
        return os_error_set(err, OS_INVALID_ARGUMENT, "credential is empty");
    for (size_t i = 0; i < n; i++)
        if (iscntrl((unsigned char)text[i]))
            return os_error_set(err, OS_INVALID_ARGUMENT, "credential contains control characters");
    if (!memchr(text, ':', n))
        return os_error_set(err, OS_INVALID_ARGUMENT, "credential must use the user:pass form (missing ':')");
    if (*text == ':')
        return os_error_set(err, OS_INVALID_ARGUMENT, "credential must use the user:pass form (empty user)");
    os_buf_reserve(&p->authorization, 2 * n + 16); /* growing would leave copies behind */
    os_buf_adds(&p->authorization, "Basic ");
    os_base64_encode(&p->authorization, text, n);
    return p->authorization.failed
               ? os_error_set(err, OS_RESOURCE_EXHAUSTED, "credential does not fit memory")
               : 0;
}

static int read_credential(struct forward_proxy *p, const char *path, struct os_error *err)
{
    char text[OS_PROXY_CREDENTIAL + 1];
    struct stat st;
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0)
        return os_error_sys(err, errno, "cannot read '%s'", path);
    if (!S_ISREG(st.st_mode))
        return os_error_set(err, OS_INVALID_ARGUMENT, "'%s' is not a regular file", path);
    size_t n = 0;
    ssize_t got = 1;
    while (n < sizeof(text) && (got = read(fd, text + n, sizeof(text) - n)) > 0)
        n += (size_t)got;
    int rc = got < 0                   ? os_error_sys(err, errno, "cannot read '%s'", path)
             : n > OS_PROXY_CREDENTIAL ? os_error_set(err, OS_OUT_OF_RANGE, "'%s' is larger than %d bytes",
                                                      path, OS_PROXY_CREDENTIAL)
                                       : forward_proxy_set_credential(p, text, n, err);
    explicit_bzero(text, sizeof(text));
    return rc;
}

/* --- together --- */

/* Puts the option's name in front. */
static int name_error(struct os_error *err, const char *name)
{
    cleanup_free char *text = os_strdup(err ? os_error_text(err) : "");
    return os_error_set(err, err ? err->code : OS_INTERNAL, "%s %s", name, text);
}

/* Options that say nothing without another one. */
static int check_dependent(const struct forward_proxy_given *g, const struct forward_proxy_names *names,
                           struct os_error *err)
{
    const struct {
        const char *name;
        bool given;
    } auxiliary[] = {{names->no_proxy, g->no_proxy != NULL},
                     {names->auth_file, g->auth_file != NULL},
                     {names->auth_allow_insecure, g->auth_allow_insecure},
                     {names->connect_by_hostname, g->connect_by_hostname}};
    const struct {
        const char *name, *value;
    } texts[] = {{names->url, g->url}, {names->no_proxy, g->no_proxy}, {names->auth_file, g->auth_file}};
    for (size_t i = 0; i < OS_ARRAY_LEN(texts); i++)
        if (texts[i].value && !texts[i].value[strspn(texts[i].value, " \t")])
            return os_error_set(err, OS_INVALID_ARGUMENT, "%s must not be empty when set", texts[i].name);
    for (size_t i = 0; !g->url && i < OS_ARRAY_LEN(auxiliary); i++)
        if (auxiliary[i].given)
            return os_error_set(err, OS_INVALID_ARGUMENT, "%s is set but no %s is configured",
                                auxiliary[i].name, names->proxy);
    if (g->auth_allow_insecure && !g->auth_file)
        return os_error_set(err, OS_INVALID_ARGUMENT, "%s is set but no %s is configured",
                            names->auth_allow_insecure, names->auth_file);
    return 0;
}

static int load(struct forward_proxy *out, const struct forward_proxy_given *g,
                const struct forward_proxy_names *names, struct os_error *err)
{
    if (check_dependent(g, names, err) < 0)
        return -1;
    if (!g->url)
        return 0;
    if (forward_proxy_url_parse(g->url, &out->url, err) < 0)
        return name_error(err, names->url);
    if (g->no_proxy && forward_proxy_add_exceptions(out, g->no_proxy, err) < 0)
        return name_error(err, names->no_proxy);
    if (g->auth_file && !out->url.tls && !g->auth_allow_insecure)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "%s would send the credential to an http:// proxy in the clear; that needs %s",
                            names->auth_file, names->auth_allow_insecure);
    if (g->auth_file && read_credential(out, g->auth_file, err) < 0)
        return os_error_wrap(err, "%s", names->auth_file);
    out->by_hostname = g->connect_by_hostname;
    return 0;
}

int forward_proxy_load(struct forward_proxy *out, const struct forward_proxy_given *given,
                       const struct forward_proxy_names *names, struct os_error *err)
{
    *out = (struct forward_proxy){0};
    if (load(out, given, names, err) == 0)
        return 0;
    forward_proxy_clear(out);
    return -1;
}

void forward_proxy_clear(struct forward_proxy *p)
{
    for (size_t i = 0; i < p->n_direct; i++)
        free(p->direct[i].domain);
    free(p->direct);
    if (p->authorization.data)
        explicit_bzero(p->authorization.data, p->authorization.cap);
    os_buf_free(&p->authorization);
    *p = (struct forward_proxy){0};
}
