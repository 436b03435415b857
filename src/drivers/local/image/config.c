/* What an image says about how it wants to be run: see config.h. */
#include "drivers/local/image/config.h"

#include <jansson.h>
#include <string.h>

#include "core/cleanup.h"
#include "drivers/local/image/stream.h"

static const char *text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

static int parse_env(const json_t *env, struct image_config *out, struct os_error *err)
{
    size_t i;
    const json_t *v;
    json_array_foreach(env, i, v)
    {
        const char *s = json_string_value(v), *eq = s ? strchr(s, '=') : NULL;
        if (!eq || eq == s)
            return os_error_set(err, OS_FAILED_PRECONDITION,
                                "the image's configuration has a malformed variable in Env");
        os_strv_add(&out->env, s);
    }
    return 0;
}

static int parse_diff_ids(const json_t *rootfs, struct image_config *out, struct os_error *err)
{
    size_t i;
    const json_t *v;
    const json_t *ids = json_object_get(rootfs, "diff_ids");
    if (!json_is_array(ids))
        return os_error_set(err, OS_FAILED_PRECONDITION, "the image's configuration has no rootfs.diff_ids");
    json_array_foreach(ids, i, v)
    {
        char hex[DIGEST_LEN];
        if (!json_is_string(v) || !digest_parse(json_string_value(v), hex))
            return os_error_set(err, OS_FAILED_PRECONDITION,
                                "rootfs.diff_ids of the image is no list of SHA-256 digests");
        os_strv_add(&out->diff_ids, hex);
    }
    return 0;
}

int image_config_parse(const char *json, size_t n, struct image_config *out, struct os_error *err)
{
    json_error_t why;
    json_t *j = json_loadb(json, n, JSON_REJECT_DUPLICATES, &why);
    const json_t *config = json_object_get(j, "config");
    const char *arch = text_of(j, "architecture"), *os = text_of(j, "os");
    int rc = 0;
    *out = (struct image_config){.workdir = os_strdup(text_of(config, "WorkingDir")),
                                 .user = os_strdup(text_of(config, "User"))};
    if (!json_is_object(j))
        rc = os_error_set(err, OS_FAILED_PRECONDITION, "the image's configuration is not JSON: %s", why.text);
    else if ((*arch && strcmp(arch, IMAGE_ARCHITECTURE) != 0) || (*os && strcmp(os, "linux") != 0))
        rc = os_error_set(err, OS_FAILED_PRECONDITION,
                          "the image is made for %.32s/%.32s; this machine runs linux/" IMAGE_ARCHITECTURE,
                          os, arch);
    else if (parse_diff_ids(json_object_get(j, "rootfs"), out, err) < 0 ||
             parse_env(json_object_get(config, "Env"), out, err) < 0)
        rc = -1;
    json_decref(j);
    return rc;
}

void image_config_clear(struct image_config *c)
{
    os_strv_free(&c->env);
    os_strv_free(&c->diff_ids);
    free(c->workdir);
    free(c->user);
    *c = (struct image_config){0};
}

/* --- user --- */

/* Field `wanted` of the line whose field `key` is this text, as a number. */
static bool find(const char *text, size_t key, const char *value, size_t n, size_t wanted, uint32_t *out)
{
    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n"), field = 0;
        const char *at[4] = {0};
        size_t size[4] = {0};
        for (const char *p = line; field < 4 && p <= line + len; field++) {
            const char *colon = memchr(p, ':', (size_t)(line + len - p));
            at[field] = p;
            size[field] = (size_t)((colon ? colon : line + len) - p);
            p += size[field] + 1;
        }
        uint64_t v;
        if (at[key] && at[wanted] && size[key] == n && memcmp(at[key], value, n) == 0 &&
            os_str_u64n(at[wanted], size[wanted], UINT32_MAX - 1, &v)) {
            *out = (uint32_t)v;
            return true;
        }
        line += len + (line[len] == '\n');
    }
    return false;
}

int image_user_resolve(const char *user, const char *passwd, const char *group, uint32_t *uid, uint32_t *gid,
                       struct os_error *err)
{
    size_t n = strcspn(user, ":");
    uint64_t v;
    *uid = *gid = 0;
    if (!*user)
        return 0;
    if (os_str_u64n(user, n, UINT32_MAX - 1, &v)) {
        *uid = (uint32_t)v;
        if (!find(passwd, 2, user, n, 3, gid))
            *gid = *uid;
    } else if (!find(passwd, 0, user, n, 2, uid) || !find(passwd, 0, user, n, 3, gid)) {
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "the image wants to run as user '%.64s', which its /etc/passwd does not have",
                            user);
    }
    const char *name = user[n] ? user + n + 1 : "";
    if (!*name)
        return 0;
    if (os_str_u64(name, UINT32_MAX - 1, &v))
        *gid = (uint32_t)v;
    else if (!find(group, 0, name, strlen(name), 2, gid))
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "the image wants to run as group '%.64s', which its /etc/group does not have",
                            name);
    return 0;
}
