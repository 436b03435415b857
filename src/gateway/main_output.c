/* Kept output of main processes: the report itself is the stored object. */
#include "gateway/main_output.h"

#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/str.h"
#include "gateway/store/store.h"
#include "rpc/call.h"
#include "rpc/pb.h"

/* Ids are unique over all types of objects. */
static const char *object_id(struct os_arena *a, const char *sandbox_id)
{
    return os_arena_printf(a, "%s/main_output", sandbox_id);
}

static int replace(struct store *s, const struct store_object *o, struct os_error *err)
{
    if (store_begin(s, err) < 0)
        return -1;
    if (store_delete(s, o->type, o->id, err) == 0 && store_insert(s, o, err) == 0)
        return store_commit(s, err);
    store_rollback(s);
    return -1;
}

void main_output_store(struct gateway *gw, const Openshell__V1__ReportMainProcessExitRequest *report)
{
    cleanup_arena struct os_arena a = {0};
    cleanup_error struct os_error err = {0};
    struct store_object o = {.id = object_id(&a, report->sandbox_id),
                             .type = STORE_MAIN_OUTPUT,
                             .workspace = "",
                             .scope = report->sandbox_id};
    o.created_at_ms = o.updated_at_ms = os_clock_ms();
    o.payload = pb_pack(&a, &report->base, &o.payload_len);
    if (replace(gw->store, &o, &err) < 0)
        os_log_warn("sandbox", "%s: the output of its main process cannot be kept: %s", report->sandbox_id,
                    os_error_text(&err));
}

const Openshell__V1__ReportMainProcessExitRequest *
main_output_load(struct gateway *gw, const sandbox_row *row, struct os_arena *a)
{
    cleanup_error struct os_error err = {0};
    struct store_object o;
    if (store_get(gw->store, STORE_MAIN_OUTPUT, object_id(a, row->metadata->id), a, &o, &err) < 0)
        return NULL;
    const Openshell__V1__ReportMainProcessExitRequest *report =
        (const Openshell__V1__ReportMainProcessExitRequest *)rpc_unpack(
            a, &openshell__v1__report_main_process_exit_request__descriptor, o.payload, o.payload_len);
    return report && strcmp(report->instance_id, row->status->main_process_instance_id) == 0 ? report : NULL;
}
