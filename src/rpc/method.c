/* The method table: rows of tbl/methods.h joined with the generated message descriptors. */
#include "rpc/method.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "compute.pb-c.h"
#include "core/cleanup.h"
#include "credentials.pb-c.h"
#include "gateway_interceptor.pb-c.h"
#include "health.pb-c.h"
#include "inference.pb-c.h"
#include "middleware.pb-c.h"
#include "openshell.pb-c.h"
#include "reflection.pb-c.h"
#include "reflection_v1alpha.pb-c.h"

static const ProtobufCServiceDescriptor *const services[] = {
    &grpc__health__v1__health__descriptor,
    &grpc__reflection__v1__server_reflection__descriptor,
    &grpc__reflection__v1alpha__server_reflection__descriptor,
    &openshell__compute__v1__compute_driver__descriptor,
    &openshell__credentials__v1__credential_driver__descriptor,
    &openshell__gateway_interceptor__v1__gateway_interceptor__descriptor,
    &openshell__inference__v1__inference__descriptor,
    &openshell__middleware__v1__supervisor_middleware__descriptor,
    &openshell__v1__open_shell__descriptor,
};

static struct rpc_method table[] = {
#define RPC_METHOD(id_, service_, name_, req_, cs_, resp_, ss_, auth_, scope_, wr_, gr_)                     \
    {.id = RPC_##id_,                                                                                        \
     .path = "/" service_ "/" name_,                                                                         \
     .service = service_,                                                                                    \
     .name = name_,                                                                                          \
     .client_stream = cs_,                                                                                   \
     .server_stream = ss_,                                                                                   \
     .auth = RPC_AUTH_##auth_,                                                                               \
     .scope = scope_,                                                                                        \
     .workspace_role = wr_,                                                                                  \
     .global_role = gr_},
#include "rpc/tbl/methods.h"
};

static const struct rpc_method *by_path[RPC_METHOD_COUNT];

static int compare_path(const void *a, const void *b)
{
    return strcmp((*(const struct rpc_method *const *)a)->path, (*(const struct rpc_method *const *)b)->path);
}

/* Descriptors come from the generated services; a row that the .proto files do not have is a build error
 * that nothing could run with. */
static void link_row(struct rpc_method *m)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(services); i++) {
        if (strcmp(services[i]->name, m->service) != 0)
            continue;
        const ProtobufCMethodDescriptor *d =
            protobuf_c_service_descriptor_get_method_by_name(services[i], m->name);
        if (d) {
            m->request = d->input;
            m->response = d->output;
            return;
        }
    }
    abort();
}

static void link_table(void)
{
    for (size_t i = 0; i < RPC_METHOD_COUNT; i++) {
        link_row(&table[i]);
        by_path[i] = &table[i];
    }
    qsort(by_path, RPC_METHOD_COUNT, sizeof(by_path[0]), compare_path);
}

static void link_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, link_table);
}

const struct rpc_method *rpc_method(enum rpc_method_id id)
{
    link_once();
    return &table[id];
}

const struct rpc_method *rpc_method_find(const char *path)
{
    link_once();
    struct rpc_method key = {.path = path};
    const struct rpc_method *k = &key;
    const struct rpc_method **found =
        bsearch(&k, by_path, RPC_METHOD_COUNT, sizeof(by_path[0]), compare_path);
    return found ? *found : NULL;
}
