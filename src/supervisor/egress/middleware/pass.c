/* The chain on the thread of a connection: HTTP/1 inside tunnels and absolute-form requests. */
#include "core/clock.h"
#include "supervisor/egress/middleware/internal.h"

static bool answered(const struct middleware_front *f, const struct deny_answer *a)
{
    f->answer(f->ctx, f->r, a);
    return false;
}

/* Reads the body; false when the request ended here. */
static bool collect(const struct middleware_front *f, struct middleware_job *j)
{
    struct os_error err cleanup_error = {0};
    struct deny_answer a cleanup_answer = {0};
    struct egress_request *r = f->r;
    if (r->body_read || r->head->framing == HTTP1_NO_BODY)
        return true;
    r->body_end_ms = j->limit.end_ms;
    if (body_collect(r, "middleware", j->chain.max_payload, &err) == 0)
        return true;
    if (err.code == OS_OUT_OF_RANGE || err.code == OS_DEADLINE_EXCEEDED) {
        if (err.code == OS_OUT_OF_RANGE)
            middleware_body_too_long(j, &a);
        else
            middleware_body_too_late(j, &a);
        return answered(f, &a);
    }
    if (err.code != OS_UNAVAILABLE)
        f->malformed(f->ctx, r, &err);
    return false;
}

/* With a place in the chain. */
static bool run(const struct middleware_front *f, struct middleware_job *j)
{
    struct os_error err cleanup_error = {0};
    struct deny_answer a cleanup_answer = {0};
    bool unseen;
    if (middleware_before_body(j, &unseen, &a) == MIDDLEWARE_ANSWER)
        return answered(f, &a);
    if (unseen)
        return true;
    if (!collect(f, j))
        return false;
    switch (middleware_run(j, &a, &err)) {
    case MIDDLEWARE_PASSED:
        return true;
    case MIDDLEWARE_ANSWER:
        return answered(f, &a);
    case MIDDLEWARE_MALFORMED:
        f->malformed(f->ctx, f->r, &err);
        return false;
    }
    return false;
}

static bool pass_request(const struct middleware_front *f)
{
    struct deny_answer a cleanup_answer = {0};
    struct admission *places = &f->r->conn->egress->middleware.requests;
    struct admission_ticket ticket = {0};
    struct middleware_job j;
    if (!middleware_job_init(&j, f->r, f->scheme, f->forward))
        return true;
    if (admission_full(places))
        middleware_saturated(f->r->conn);
    if (!admission_wait(places, &ticket, &j.limit)) {
        middleware_refuse_admission(&j, &a);
        return answered(f, &a);
    }
    j.limit.end_ms = os_clock_mono_ms() + OS_MIDDLEWARE_CHAIN_MS;
    bool ok = run(f, &j);
    admission_give(places, &ticket);
    return ok;
}

bool middleware_pass(const struct middleware_front *f)
{
    struct deny_answer a cleanup_answer = {0};
    if (!pass_request(f))
        return false;
    if (f->r->kind != POLICY_HTTP_UPGRADE || middleware_preflight(f->r, f->scheme, f->forward, &a))
        return true;
    return answered(f, &a);
}
