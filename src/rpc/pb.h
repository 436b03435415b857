/* protobuf-c in an arena: messages are built from arena memory and never freed one by one. */
#ifndef RPC_PB_H
#define RPC_PB_H

#include <protobuf-c/protobuf-c.h>

#include "core/arena.h"

/* New initialised message of a generated type: pb_new(arena, openshell__v1__sandbox). */
#define pb_new(arena, type) ((void *)pb_new_desc((arena), &type##__descriptor))

static inline ProtobufCMessage *pb_new_desc(struct os_arena *a, const ProtobufCMessageDescriptor *d)
{
    ProtobufCMessage *m = os_arena_alloc(a, d->sizeof_message);
    protobuf_c_message_init(d, m);
    return m;
}

static inline uint8_t *pb_pack(struct os_arena *a, const ProtobufCMessage *m, size_t *n)
{
    *n = protobuf_c_message_get_packed_size(m);
    uint8_t *p = os_arena_alloc(a, *n ? *n : 1);
    protobuf_c_message_pack(m, p);
    return p;
}

#endif
