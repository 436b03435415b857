/* libssh refers to the system's Kerberos library, of which there is no static build and for which the sandbox
 * has no use: every mechanism is absent, and every other call fails. */
#include <stddef.h>
#include <stdint.h>

#define GSS_COMPLETE 0u
#define GSS_FAILURE (13u << 16)

struct gss_oid_set {
    size_t count;
    void *elements;
};

uint32_t gss_create_empty_oid_set(uint32_t *minor, struct gss_oid_set **set);
uint32_t gss_indicate_mechs(uint32_t *minor, struct gss_oid_set **set);
uint32_t gss_test_oid_set_member(uint32_t *minor, void *oid, struct gss_oid_set *set, int *present);

static struct gss_oid_set none;

uint32_t gss_create_empty_oid_set(uint32_t *minor, struct gss_oid_set **set)
{
    *minor = 0;
    *set = &none;
    return GSS_COMPLETE;
}

uint32_t gss_indicate_mechs(uint32_t *minor, struct gss_oid_set **set)
{
    return gss_create_empty_oid_set(minor, set);
}

uint32_t gss_test_oid_set_member(uint32_t *minor, void *oid, struct gss_oid_set *set, int *present)
{
    *minor = 0;
    *present = 0;
    return GSS_COMPLETE;
}

/* The callers know these with their arguments; none is looked at. */
#define ABSENT(name)                                                                                         \
    uint32_t name(void);                                                                                     \
    uint32_t name(void)                                                                                      \
    {                                                                                                        \
        return GSS_FAILURE;                                                                                  \
    }
ABSENT(gss_accept_sec_context)
ABSENT(gss_acquire_cred)
ABSENT(gss_add_oid_set_member)
ABSENT(gss_display_name)
ABSENT(gss_display_status)
ABSENT(gss_get_mic)
ABSENT(gss_import_name)
ABSENT(gss_init_sec_context)
ABSENT(gss_inquire_cred)
ABSENT(gss_inquire_cred_by_mech)
ABSENT(gss_release_buffer)
ABSENT(gss_release_cred)
ABSENT(gss_release_name)
ABSENT(gss_release_oid_set)
ABSENT(gss_verify_mic)

extern void *const GSS_C_NT_USER_NAME, *const GSS_C_NT_HOSTBASED_SERVICE;
void *const GSS_C_NT_USER_NAME = NULL;
void *const GSS_C_NT_HOSTBASED_SERVICE = NULL;
