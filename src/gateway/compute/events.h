/* What the compute driver reports, applied in order (spec/gateway.md 5.5, 5.6). */
#ifndef GATEWAY_COMPUTE_EVENTS_H
#define GATEWAY_COMPUTE_EVENTS_H

#include "gateway/gateway.h"

struct compute_events;

struct compute_events *compute_events_new(struct gateway *gw);
/* Nothing may be queued or running any more. */
void compute_events_free(struct compute_events *e);
/* driver_watch_fn; ctx is the struct compute_events. Any thread. */
void compute_events_push(void *ctx, const driver_event *event);

#endif
