/* The reflection service (grpc.reflection.v1, and v1alpha with the same bytes): which services there are, and
 * the descriptors to speak to them. Loop thread; everything it says is static. */
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"
#include "gateway/health.h"
#include "gateway/reflection/table.h"
#include "gateway/rpc/handlers.h"
#include "reflection.pb-c.h"
#include "rpc/pb.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest request;
typedef Grpc__Reflection__V1__ServerReflectionResponse response;

#define FILES_MAX 64

struct reflection {
    struct rpc_call *call;
    bool answered;
};

/* --- what is served --- */

static const enum rpc_method_id served[] = {
#define UNARY(id, fn) RPC_##id,
#define STREAM(id, fn) RPC_##id,
#include "gateway/rpc/tbl/handlers.h"
};

bool reflection_serves(const char *service)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(served); i++)
        if (strcmp(rpc_method(served[i])->service, service) == 0)
            return true;
    return false;
}

static void list_services(struct os_arena *a, response *r)
{
    Grpc__Reflection__V1__ListServiceResponse *list = pb_new(a, grpc__reflection__v1__list_service_response);
    list->service = os_arena_alloc(a, OS_ARRAY_LEN(served) * sizeof(*list->service));
    for (size_t i = 0; i < OS_ARRAY_LEN(served); i++) {
        const char *name = rpc_method(served[i])->service;
        bool known = false;
        for (size_t k = 0; k < list->n_service && !known; k++)
            known = strcmp(list->service[k]->name, name) == 0;
        if (known)
            continue;
        Grpc__Reflection__V1__ServiceResponse *s = pb_new(a, grpc__reflection__v1__service_response);
        s->name = (char *)name;
        list->service[list->n_service++] = s;
    }
    r->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    r->list_services_response = list;
}

/* --- descriptors --- */

static void not_found(struct os_arena *a, response *r, const char *what, const char *name)
{
    Grpc__Reflection__V1__ErrorResponse *e = pb_new(a, grpc__reflection__v1__error_response);
    e->error_code = OS_NOT_FOUND;
    e->error_message = os_arena_printf(a, "%s not found: %.200s", what, name);
    r->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    r->error_response = e;
}

/* The file and all it needs, each once, itself first. */
static void give_file(struct os_arena *a, response *r, size_t file)
{
    size_t queue[FILES_MAX], n = 0;
    Grpc__Reflection__V1__FileDescriptorResponse *f =
        pb_new(a, grpc__reflection__v1__file_descriptor_response);
    f->file_descriptor_proto = os_arena_alloc(a, FILES_MAX * sizeof(*f->file_descriptor_proto));
    queue[n++] = file;
    for (size_t i = 0; i < n; i++) {
        const struct reflection_file *from = &reflection_files[queue[i]];
        f->file_descriptor_proto[f->n_file_descriptor_proto++] =
            (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)from->bytes, .len = from->n};
        for (size_t k = 0; k < from->n_needs; k++) {
            size_t seen = 0;
            while (seen < n && queue[seen] != from->needs[k])
                seen++;
            if (seen == n && n < FILES_MAX)
                queue[n++] = from->needs[k];
        }
    }
    r->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    r->file_descriptor_response = f;
}

static int compare_file(const void *key, const void *entry)
{
    return strcmp(key, ((const struct reflection_file *)entry)->name);
}

static int compare_symbol(const void *key, const void *entry)
{
    return strcmp(key, ((const struct reflection_symbol *)entry)->name);
}

static void give_named_file(struct os_arena *a, response *r, const char *name)
{
    const struct reflection_file *f =
        bsearch(name, reflection_files, reflection_n_files, sizeof(*f), compare_file);
    if (f)
        give_file(a, r, (size_t)(f - reflection_files));
    else
        not_found(a, r, "file", name);
}

static void give_file_of_symbol(struct os_arena *a, response *r, const char *name)
{
    const struct reflection_symbol *s =
        bsearch(name, reflection_symbols, reflection_n_symbols, sizeof(*s), compare_symbol);
    if (s)
        give_file(a, r, s->file);
    else
        not_found(a, r, "symbol", name);
}

static void give_file_of_extension(struct os_arena *a, response *r,
                                   const Grpc__Reflection__V1__ExtensionRequest *q)
{
    for (size_t i = 0; i < reflection_n_extensions; i++) {
        const struct reflection_extension *x = &reflection_extensions[i];
        if (strcmp(x->type, q->containing_type) == 0 && x->number == q->extension_number) {
            give_file(a, r, x->file);
            return;
        }
    }
    not_found(a, r, "extension of", q->containing_type);
}

static void give_extension_numbers(struct os_arena *a, response *r, const char *type)
{
    Grpc__Reflection__V1__ExtensionNumberResponse *e =
        pb_new(a, grpc__reflection__v1__extension_number_response);
    if (!bsearch(type, reflection_symbols, reflection_n_symbols, sizeof(*reflection_symbols),
                 compare_symbol)) {
        not_found(a, r, "type", type);
        return;
    }
    e->base_type_name = (char *)(uintptr_t)type;
    e->extension_number = os_arena_alloc(a, reflection_n_extensions * sizeof(*e->extension_number));
    for (size_t i = 0; i < reflection_n_extensions; i++)
        if (strcmp(reflection_extensions[i].type, type) == 0)
            e->extension_number[e->n_extension_number++] = reflection_extensions[i].number;
    r->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
    r->all_extension_numbers_response = e;
}

static void answer(struct os_arena *a, response *r, request *q)
{
    r->valid_host = q->host;
    r->original_request = q;
    switch (q->message_request_case) {
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        give_named_file(a, r, q->file_by_filename);
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        give_file_of_symbol(a, r, q->file_containing_symbol);
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
        give_file_of_extension(a, r, q->file_containing_extension);
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
        give_extension_numbers(a, r, q->all_extension_numbers_of_type);
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        list_services(a, r);
        break;
    default:
        not_found(a, r, "request", "none of the known kinds is set");
    }
}

/* --- the call --- */

static void on_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct reflection *f = ctx;
    cleanup_arena struct os_arena a = {0};
    if (f->answered)
        return;
    request *q =
        (request *)rpc_unpack(&a, &grpc__reflection__v1__server_reflection_request__descriptor, data, n);
    if (!q) {
        f->answered = true;
        rpc_call_finish(call, OS_INTERNAL, "failed to decode Protobuf message");
        return;
    }
    response *r = pb_new(&a, grpc__reflection__v1__server_reflection_response);
    answer(&a, r, q);
    rpc_call_send(call, &r->base);
    if (rpc_call_queued(call) >= OS_RELAY_WINDOW)
        rpc_call_pause(call);
}

static void on_writable(struct rpc_call *call, void *ctx)
{
    rpc_call_resume(call);
}

static void on_half_close(struct rpc_call *call, void *ctx)
{
    struct reflection *f = ctx;
    if (!f->answered)
        rpc_call_finish(call, OS_OK, NULL);
    f->answered = true;
}

static void on_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    free(ctx);
}

void reflection_rpc(void *ctx, struct rpc_call *call)
{
    static const struct rpc_call_ops ops = {.on_message = on_message,
                                            .on_half_close = on_half_close,
                                            .on_writable = on_writable,
                                            .on_done = on_done};
    struct reflection *f = os_calloc(1, sizeof(*f));
    f->call = call;
    rpc_call_set_ops(call, &ops, f);
}
