/* Helpers over the generated policy messages, and the document operations without a file of their own:
 * default, copy, baseline paths, static sections. */
#include "policy/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"

#define SANDBOX(name) (&openshell__sandbox__v1__##name##__descriptor)

void *policy_message_new(struct os_arena *arena, const ProtobufCMessageDescriptor *type)
{
    void *msg = os_arena_alloc(arena, type->sizeof_message);
    protobuf_c_message_init(type, msg);
    return msg;
}

static int by_key(const void *a, const void *b)
{
    const struct policy_map_entry *x = *(struct policy_map_entry *const *)a;
    const struct policy_map_entry *y = *(struct policy_map_entry *const *)b;
    return strcmp(policy_text(x->key), policy_text(y->key));
}

struct policy_map_entry **policy_map_sorted(struct os_arena *arena, const void *entries, size_t n)
{
    struct policy_map_entry **list = os_arena_memdup(arena, entries, n * sizeof(*list));
    if (n > 1)
        qsort(list, n, sizeof(*list), by_key);
    return list;
}

const struct policy_map_entry *policy_map_find(const void *entries, size_t n, const char *key)
{
    struct policy_map_entry *const *list = entries;
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(policy_text(list[i]->key), key))
            return list[i];
    }
    return NULL;
}

const char *policy_rule_name(const char *key, const policy_rule *rule)
{
    return rule && rule->name && *rule->name ? rule->name : policy_text(key);
}

bool policy_provider_key(const char *key)
{
    return os_str_starts(policy_text(key), "_provider_");
}

void policy_drop_provider_rules(policy_doc *doc)
{
    size_t kept = 0;
    for (size_t i = 0; i < doc->n_network_policies; i++)
        if (!policy_provider_key(doc->network_policies[i]->key))
            doc->network_policies[kept++] = doc->network_policies[i];
    doc->n_network_policies = kept;
}

bool policy_endpoint_allows_all_mcp(const policy_endpoint_doc *ep)
{
    return ep->mcp &&
           ep->mcp->_allow_all_known_mcp_methods_case ==
               OPENSHELL__SANDBOX__V1__MCP_OPTIONS___ALLOW_ALL_KNOWN_MCP_METHODS_ALLOW_ALL_KNOWN_MCP_METHODS &&
           ep->mcp->allow_all_known_mcp_methods;
}

const uint32_t *policy_endpoint_ports(const policy_endpoint_doc *ep, size_t *n)
{
    *n = ep->n_ports ? ep->n_ports : ep->port != 0;
    return ep->n_ports ? ep->ports : &ep->port;
}

char *policy_normal_host(struct os_arena *arena, const char *host)
{
    size_t n = strlen(host);
    if (n >= 2 && host[0] == '[' && host[n - 1] == ']' && strchr(host, ':')) {
        host++;
        n -= 2;
    }
    if (n > 1 && host[n - 1] == '.')
        n--;
    return os_str_lower(os_arena_strndup(arena, host, n));
}

bool policy_binary_advisor(const Openshell__Sandbox__V1__NetworkBinary *b)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    return b->harness;
#pragma GCC diagnostic pop
}

static void *arena_alloc(void *arena, size_t n)
{
    return os_arena_alloc(arena, n);
}

static void arena_keep(void *arena, void *p)
{
}

policy_doc *policy_copy(struct os_arena *arena, const policy_doc *doc)
{
    size_t n = openshell__sandbox__v1__sandbox_policy__get_packed_size(doc);
    cleanup_free uint8_t *bytes = os_calloc(1, n + 1);
    openshell__sandbox__v1__sandbox_policy__pack(doc, bytes);
    ProtobufCAllocator in_arena = {.alloc = arena_alloc, .free = arena_keep, .allocator_data = arena};
    return openshell__sandbox__v1__sandbox_policy__unpack(&in_arena, n, bytes);
}

static void set_list(struct os_arena *arena, char ***list, size_t *n, const char *const *from, size_t count)
{
    *list = os_arena_alloc(arena, count * sizeof(char *));
    *n = count;
    for (size_t i = 0; i < count; i++)
        (*list)[i] = os_arena_strdup(arena, from[i]);
}

policy_doc *policy_default(struct os_arena *arena)
{
    static const char *const read_only[] = {"/usr", "/lib", "/proc",   "/dev/urandom",
                                            "/app", "/etc", "/var/log"};
    static const char *const read_write[] = {"/tmp", "/dev/null"};
    policy_doc *doc = policy_message_new(arena, SANDBOX(sandbox_policy));
    doc->version = 1;
    doc->filesystem = policy_message_new(arena, SANDBOX(filesystem_policy));
    doc->filesystem->include_workdir = true;
    set_list(arena, &doc->filesystem->read_only, &doc->filesystem->n_read_only, read_only,
             OS_ARRAY_LEN(read_only));
    set_list(arena, &doc->filesystem->read_write, &doc->filesystem->n_read_write, read_write,
             OS_ARRAY_LEN(read_write));
    doc->landlock = policy_message_new(arena, SANDBOX(landlock_policy));
    doc->landlock->compatibility = os_arena_strdup(arena, "best_effort");
    return doc;
}

static bool listed(char *const *list, size_t n, const char *path)
{
    for (size_t i = 0; i < n; i++) {
        if (os_str_eq(list[i], path))
            return true;
    }
    return false;
}

static void append(struct os_arena *arena, char ***list, size_t *n, const char *path)
{
    char **grown = os_arena_alloc(arena, (*n + 1) * sizeof(char *));
    if (*n)
        memcpy(grown, *list, *n * sizeof(char *));
    grown[(*n)++] = os_arena_strdup(arena, path);
    *list = grown;
}

bool policy_path_inside(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    while (n > 0 && dir[n - 1] == '/')
        n--;
    return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* Rights unite: what the one list lets the agent write, the other cannot take back. */
static bool overlaps(const policy_filesystem *fs, const char *path, bool writable)
{
    for (size_t i = 0; writable && i < fs->n_read_only; i++)
        if (policy_path_inside(policy_text(fs->read_only[i]), path))
            return true;
    for (size_t i = 0; !writable && i < fs->n_read_write; i++)
        if (policy_path_inside(path, policy_text(fs->read_write[i])))
            return true;
    return false;
}

struct enrichment {
    struct os_arena *arena;
    policy_doc *doc;
    bool (*exists)(const char *path);
    bool changed;
};

static policy_filesystem *filesystem_of(struct enrichment *e)
{
    if (!e->doc->filesystem) {
        e->doc->filesystem = policy_message_new(e->arena, SANDBOX(filesystem_policy));
        e->doc->filesystem->include_workdir = true;
        e->changed = true;
    }
    return e->doc->filesystem;
}

static void enrich_path(struct enrichment *e, const char *path, bool writable)
{
    const policy_filesystem *have = e->doc->filesystem;
    if (have && (listed(have->read_only, have->n_read_only, path) ||
                 listed(have->read_write, have->n_read_write, path) || overlaps(have, path, writable)))
        return;
    if (!e->exists(path))
        return;
    policy_filesystem *fs = filesystem_of(e);
    if (writable)
        append(e->arena, &fs->read_write, &fs->n_read_write, path);
    else
        append(e->arena, &fs->read_only, &fs->n_read_only, path);
    e->changed = true;
}

static void enrich_gpu(struct enrichment *e)
{
    static const char *const read_only[] = {"/run/nvidia-persistenced", "/usr/lib/wsl"};
    static const char *const read_write[] = {
        "/dev/nvidiactl",      "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools",
        "/dev/nvidia-modeset", "/dev/dxg",        "/proc"};
    policy_filesystem *fs = e->doc->filesystem;
    for (size_t i = 0; fs && i < fs->n_read_only; i++) {
        /* GPU runtimes write below /proc: the read-only entry is moved, not doubled. */
        if (os_str_eq(fs->read_only[i], "/proc") && e->exists("/proc")) {
            memmove(&fs->read_only[i], &fs->read_only[i + 1],
                    (fs->n_read_only - i - 1) * sizeof(fs->read_only[0]));
            fs->n_read_only--;
            break;
        }
    }
    for (size_t i = 0; i < OS_ARRAY_LEN(read_only); i++)
        enrich_path(e, read_only[i], false);
    for (size_t i = 0; i < OS_ARRAY_LEN(read_write); i++)
        enrich_path(e, read_write[i], true);
    for (unsigned i = 0; i < 64; i++) {
        char path[32];
        snprintf(path, sizeof(path), "/dev/nvidia%u", i);
        enrich_path(e, path, true);
    }
}

bool policy_enrich(struct os_arena *arena, policy_doc *doc, bool (*exists)(const char *path))
{
    static const char *const read_only[] = {"/usr",     "/lib",  "/etc",        "/app",
                                            "/var/log", "/proc", "/dev/urandom"};
    struct enrichment e = {.arena = arena, .doc = doc, .exists = exists};
    if (exists("/dev/nvidiactl") || exists("/dev/dxg"))
        enrich_gpu(&e);
    if (doc->n_network_policies) {
        for (size_t i = 0; i < OS_ARRAY_LEN(read_only); i++)
            enrich_path(&e, read_only[i], false);
        enrich_path(&e, "/tmp", true);
    }
    return e.changed;
}

static bool hard(const policy_doc *doc)
{
    return doc->landlock && os_str_eq(doc->landlock->compatibility, "hard_requirement");
}

static bool same_process(const policy_doc *a, const policy_doc *b)
{
    const char *user[2] = {"", ""};
    const char *group[2] = {"", ""};
    const policy_doc *doc[2] = {a, b};
    for (size_t i = 0; i < 2; i++) {
        if (doc[i]->process) {
            user[i] = policy_text(doc[i]->process->run_as_user);
            group[i] = policy_text(doc[i]->process->run_as_group);
        }
    }
    return !strcmp(user[0], user[1]) && !strcmp(group[0], group[1]);
}

static int check_kept(const char *field, char *const *old, size_t n_old, char *const *now, size_t n_now,
                      struct os_error *err)
{
    for (size_t i = 0; i < n_old; i++) {
        if (!listed(now, n_now, old[i]))
            return os_error_set(err, OS_INVALID_ARGUMENT,
                                "filesystem %s path '%s' cannot be removed on a live sandbox", field, old[i]);
    }
    return 0;
}

int policy_check_static(const policy_doc *created, const policy_doc *update, struct os_error *err)
{
    if (!created)
        return 0;
    if (hard(created) != hard(update))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "landlock policy cannot be changed on a live sandbox (applied at startup)");
    if (!same_process(created, update))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "process policy cannot be changed on a live sandbox (applied at startup)");
    const policy_filesystem *old = created->filesystem;
    const policy_filesystem *now = update->filesystem;
    if (old && !now)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "filesystem policy cannot be removed on a live sandbox");
    bool workdir_before = old ? old->include_workdir : true;
    bool workdir_now = now ? now->include_workdir : true;
    if (workdir_before != workdir_now)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "filesystem include_workdir cannot be changed on a live sandbox");
    if (!old)
        return 0;
    if (check_kept("read_only", old->read_only, old->n_read_only, now->read_only, now->n_read_only, err))
        return -1;
    return check_kept("read_write", old->read_write, old->n_read_write, now->read_write, now->n_read_write,
                      err);
}
