/* grpc.reflection.v1 and v1alpha, which are the same on the wire: a client asks for services, files and
 * symbols, one question after the other on one stream. Answers come from descriptors.h; nothing of it is
 * secret, so anyone may ask. A client that does not read is not asked for its next question. */
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"
#include "gateway/rpc/descriptors.h"
#include "gateway/rpc/handlers.h"
#include "gateway/rpc/reflection.h"
#include "gateway/rpc/services.h"
#include "rpc/pb.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;

struct reflection {
    struct gateway *gw;
    unsigned answered;
};

/* --- answers --- */

static void not_found(struct os_arena *a, reflection_response *r, const char *what, const char *name)
{
    Grpc__Reflection__V1__ErrorResponse *e = pb_new(a, grpc__reflection__v1__error_response);
    cleanup_free char *text = os_asprintf("%s '%.256s' is not known to this server", what, name);
    e->error_code = OS_NOT_FOUND;
    e->error_message = os_arena_strdup(a, text);
    r->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    r->error_response = e;
}

/* The bytes are borrowed from static data. */
static void add_file(struct os_arena *a, reflection_response *r, const struct descriptor_file *file)
{
    Grpc__Reflection__V1__FileDescriptorResponse *f =
        pb_new(a, grpc__reflection__v1__file_descriptor_response);
    f->n_file_descriptor_proto = file->n_needs;
    f->file_descriptor_proto = os_arena_alloc(a, file->n_needs * sizeof(f->file_descriptor_proto[0]));
    for (size_t i = 0; i < file->n_needs; i++) {
        const struct descriptor_file *needed = &descriptor_files[file->needs[i]];
        f->file_descriptor_proto[i] =
            (ProtobufCBinaryData){.data = (uint8_t *)needed->data, .len = needed->n};
    }
    r->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    r->file_descriptor_response = f;
}

static void by_filename(struct os_arena *a, reflection_response *r, const char *name)
{
    for (size_t i = 0; i < descriptor_n_files; i++) {
        if (strcmp(descriptor_files[i].name, name) == 0) {
            add_file(a, r, &descriptor_files[i]);
            return;
        }
    }
    not_found(a, r, "file", name);
}

static int compare_symbol(const void *name, const void *symbol)
{
    return strcmp(name, ((const struct descriptor_symbol *)symbol)->name);
}

static const struct descriptor_symbol *find_symbol(const char *name)
{
    return bsearch(name, descriptor_symbols, descriptor_n_symbols, sizeof(descriptor_symbols[0]),
                   compare_symbol);
}

static void by_symbol(struct os_arena *a, reflection_response *r, const char *name)
{
    const struct descriptor_symbol *s = find_symbol(name);
    if (s)
        add_file(a, r, &descriptor_files[s->file]);
    else
        not_found(a, r, "symbol", name);
}

static void by_extension(struct os_arena *a, reflection_response *r,
                         const Grpc__Reflection__V1__ExtensionRequest *want)
{
    for (size_t i = 0; i < descriptor_n_extensions; i++) {
        const struct descriptor_extension *x = &descriptor_extensions[i];
        if (x->number == want->extension_number && strcmp(x->type, want->containing_type) == 0) {
            add_file(a, r, &descriptor_files[x->file]);
            return;
        }
    }
    cleanup_free char *name = os_asprintf("%d of %.240s", want->extension_number, want->containing_type);
    not_found(a, r, "extension", name);
}

static void extension_numbers(struct os_arena *a, reflection_response *r, const char *type)
{
    const struct descriptor_symbol *s = find_symbol(type);
    if (!s || !s->is_message) {
        not_found(a, r, "message type", type);
        return;
    }
    Grpc__Reflection__V1__ExtensionNumberResponse *e =
        pb_new(a, grpc__reflection__v1__extension_number_response);
    e->base_type_name = (char *)s->name;
    e->extension_number = os_arena_alloc(a, descriptor_n_extensions * sizeof(e->extension_number[0]));
    for (size_t i = 0; i < descriptor_n_extensions; i++)
        if (strcmp(descriptor_extensions[i].type, type) == 0)
            e->extension_number[e->n_extension_number++] = descriptor_extensions[i].number;
    r->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
    r->all_extension_numbers_response = e;
}

static void list_services(struct os_arena *a, reflection_response *r)
{
    Grpc__Reflection__V1__ListServiceResponse *l = pb_new(a, grpc__reflection__v1__list_service_response);
    const char *const *names = services_served(&l->n_service);
    l->service = os_arena_alloc(a, l->n_service * sizeof(l->service[0]));
    for (size_t i = 0; i < l->n_service; i++) {
        l->service[i] = pb_new(a, grpc__reflection__v1__service_response);
        l->service[i]->name = (char *)names[i];
    }
    r->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    r->list_services_response = l;
}

bool reflection_answer(struct os_arena *a, reflection_request *q, reflection_response *r)
{
    r->valid_host = q->host;
    r->original_request = q;
    switch (q->message_request_case) {
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        by_filename(a, r, q->file_by_filename);
        return true;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        by_symbol(a, r, q->file_containing_symbol);
        return true;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
        by_extension(a, r, q->file_containing_extension);
        return true;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
        extension_numbers(a, r, q->all_extension_numbers_of_type);
        return true;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        list_services(a, r);
        return true;
    default:
        return false;
    }
}

/* --- the stream --- */

static void refuse(struct rpc_call *call, enum os_code code, const char *why, unsigned limit)
{
    cleanup_free char *text = os_asprintf("%s %u", why, limit);
    rpc_call_finish(call, code, text);
}

static void on_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct reflection *s = ctx;
    cleanup_arena struct os_arena a = {0};
    if (n > OS_LIMIT_REFLECTION_REQUEST) {
        refuse(call, OS_INVALID_ARGUMENT,
               "a reflection request is larger than the limit; bytes allowed:", OS_LIMIT_REFLECTION_REQUEST);
        return;
    }
    if (s->answered++ >= OS_LIMIT_REFLECTION_ANSWERS) {
        refuse(call, OS_RESOURCE_EXHAUSTED,
               "too many reflection requests on one stream, open another; allowed:",
               OS_LIMIT_REFLECTION_ANSWERS);
        return;
    }
    reflection_request *q = (reflection_request *)rpc_unpack(
        &a, &grpc__reflection__v1__server_reflection_request__descriptor, data, n);
    if (!q) {
        rpc_call_finish(call, OS_INTERNAL,
                        "failed to decode Protobuf message: malformed ServerReflectionRequest");
        return;
    }
    reflection_response *r = pb_new(&a, grpc__reflection__v1__server_reflection_response);
    if (!reflection_answer(&a, q, r)) {
        rpc_call_finish(call, OS_INVALID_ARGUMENT,
                        "the reflection request asks for nothing this server knows");
        return;
    }
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
    rpc_call_finish(call, OS_OK, NULL);
}

static void on_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    struct reflection *s = ctx;
    s->gw->reflections--;
    free(s);
}

void reflection_rpc(void *ctx, struct rpc_call *call)
{
    static const struct rpc_call_ops ops = {.on_message = on_message,
                                            .on_half_close = on_half_close,
                                            .on_writable = on_writable,
                                            .on_done = on_done};
    struct reflection *s = os_calloc(1, sizeof(*s));
    s->gw = ctx;
    rpc_call_set_ops(call, &ops, s);
    if (s->gw->reflections++ >= OS_LIMIT_REFLECTION_STREAMS)
        refuse(call, OS_RESOURCE_EXHAUSTED,
               "too many reflection streams are open, try later; allowed:", OS_LIMIT_REFLECTION_STREAMS);
}
