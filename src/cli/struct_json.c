/* JSON to google.protobuf.Struct. */
#include "cli/struct_json.h"

#include "rpc/pb.h"

static Google__Protobuf__Value *value_from_json(struct os_arena *a, const json_t *j);

static Google__Protobuf__ListValue *list_from_json(struct os_arena *a, const json_t *j)
{
    Google__Protobuf__ListValue *l = pb_new(a, google__protobuf__list_value);
    l->n_values = json_array_size(j);
    l->values = os_arena_alloc(a, (l->n_values + 1) * sizeof(*l->values));
    for (size_t i = 0; i < l->n_values; i++)
        l->values[i] = value_from_json(a, json_array_get(j, i));
    return l;
}

static Google__Protobuf__Value *value_from_json(struct os_arena *a, const json_t *j)
{
    Google__Protobuf__Value *v = pb_new(a, google__protobuf__value);
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE;
        v->struct_value = struct_from_json(a, j);
        break;
    case JSON_ARRAY:
        v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE;
        v->list_value = list_from_json(a, j);
        break;
    case JSON_STRING:
        v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
        v->string_value = os_arena_strdup(a, json_string_value(j));
        break;
    case JSON_INTEGER:
    case JSON_REAL:
        v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE;
        v->number_value = json_number_value(j);
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE;
        v->bool_value = json_is_true(j);
        break;
    default:
        v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE;
        break;
    }
    return v;
}

Google__Protobuf__Struct *struct_from_json(struct os_arena *a, const json_t *j)
{
    const char *key;
    json_t *value;
    if (!json_is_object(j))
        return NULL;
    Google__Protobuf__Struct *s = pb_new(a, google__protobuf__struct);
    s->fields = os_arena_alloc(a, (json_object_size(j) + 1) * sizeof(*s->fields));
    json_object_foreach((json_t *)j, key, value)
    {
        Google__Protobuf__Struct__FieldsEntry *f = pb_new(a, google__protobuf__struct__fields_entry);
        f->key = os_arena_strdup(a, key);
        f->value = value_from_json(a, value);
        s->fields[s->n_fields++] = f;
    }
    return s;
}
