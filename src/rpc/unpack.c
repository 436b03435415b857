/* protobuf-c unpacking of bytes from outside: checked first (nesting, text), then built in an arena under a
 * budget, since protobuf-c itself bounds neither. */
#include <string.h>

#include "core/limits.h"
#include "core/str.h"
#include "rpc/call.h"

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct cursor {
    const uint8_t *p, *end;
};

static bool read_varint(struct cursor *c, uint64_t *v)
{
    *v = 0;
    for (unsigned shift = 0; shift < 70 && c->p < c->end; shift += 7) {
        uint8_t b = *c->p++;
        if (shift < 64)
            *v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return true;
    }
    return false;
}

static bool skip(struct cursor *c, uint64_t n)
{
    if (n > (uint64_t)(c->end - c->p))
        return false;
    c->p += n;
    return true;
}

static bool check_message(const ProtobufCMessageDescriptor *desc, struct cursor c, unsigned depth);

static bool check_bytes(const ProtobufCFieldDescriptor *field, struct cursor *c, unsigned depth)
{
    uint64_t n;
    if (!read_varint(c, &n))
        return false;
    struct cursor value = {.p = c->p, .end = c->p};
    if (!skip(c, n))
        return false;
    value.end = c->p;
    if (field && field->type == PROTOBUF_C_TYPE_STRING)
        return !memchr(value.p, 0, n) && os_utf8_valid((const char *)value.p, n);
    if (field && field->type == PROTOBUF_C_TYPE_MESSAGE)
        return check_message(field->descriptor, value, depth + 1);
    return true;
}

static bool check_message(const ProtobufCMessageDescriptor *desc, struct cursor c, unsigned depth)
{
    if (depth > OS_LIMIT_PROTO_DEPTH)
        return false;
    while (c.p < c.end) {
        uint64_t key, v;
        if (!read_varint(&c, &key) || key > UINT32_MAX || key >> 3 == 0)
            return false;
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(desc, (unsigned)(key >> 3));
        bool ok = false;
        switch (key & 7) {
        case WIRE_VARINT:
            ok = read_varint(&c, &v);
            break;
        case WIRE_64:
            ok = skip(&c, 8);
            break;
        case WIRE_BYTES:
            ok = check_bytes(field, &c, depth);
            break;
        case WIRE_32:
            ok = skip(&c, 4);
            break;
        default:
            break;
        }
        if (!ok)
            return false;
    }
    return true;
}

struct budget {
    struct os_arena *arena;
    size_t left;
};

static void *budget_alloc(void *data, size_t n)
{
    struct budget *b = data;
    size_t cost = (n + 15) & ~(size_t)15; /* what the arena really hands out */
    if (n > OS_LIMIT_PROTO_UNPACKED || cost > b->left)
        return NULL;
    b->left -= cost;
    return os_arena_alloc(b->arena, n);
}

static void budget_free(void *data, void *p)
{
}

/* --- map entries --- */

/* An entry may leave its value out, which then is an empty message (protobuf "Maps"); protobuf-c makes it
 * NULL. */
static bool is_map_entry(const ProtobufCMessageDescriptor *d)
{
    return d->n_fields == 2 && os_str_ends(d->name, "Entry") && d->fields[0].id == 1 &&
           d->fields[1].id == 2 && strcmp(d->fields[0].name, "key") == 0 &&
           strcmp(d->fields[1].name, "value") == 0;
}

static bool fill_values(ProtobufCMessage *m, struct budget *b);

static bool fill_field(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, struct budget *b)
{
    uint8_t *base = (uint8_t *)m;
    ProtobufCMessage **one = (ProtobufCMessage **)(base + f->offset);
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t n = *(size_t *)(base + f->quantifier_offset);
        ProtobufCMessage **all = *(ProtobufCMessage ***)(base + f->offset);
        for (size_t i = 0; i < n; i++)
            if (!fill_values(all[i], b))
                return false;
        return true;
    }
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF && *(uint32_t *)(base + f->quantifier_offset) != f->id)
        return true;
    if (!*one && f->id == 2 && is_map_entry(m->descriptor)) {
        const ProtobufCMessageDescriptor *value = f->descriptor;
        *one = budget_alloc(b, value->sizeof_message);
        if (*one)
            value->message_init(*one);
        return *one != NULL;
    }
    return !*one || fill_values(*one, b);
}

static bool fill_values(ProtobufCMessage *m, struct budget *b)
{
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        if (f->type == PROTOBUF_C_TYPE_MESSAGE && !fill_field(m, f, b))
            return false;
    }
    return true;
}

ProtobufCMessage *rpc_unpack(struct os_arena *arena, const ProtobufCMessageDescriptor *desc,
                             const uint8_t *data, size_t n)
{
    static const uint8_t none;
    if (!data)
        data = &none;
    if (!check_message(desc, (struct cursor){.p = data, .end = data + n}, 1))
        return NULL;
    struct budget budget = {.arena = arena, .left = OS_LIMIT_PROTO_UNPACKED};
    ProtobufCAllocator allocator = {.alloc = budget_alloc, .free = budget_free, .allocator_data = &budget};
    ProtobufCMessage *m = protobuf_c_message_unpack(desc, &allocator, n, data);
    return m && fill_values(m, &budget) ? m : NULL;
}
