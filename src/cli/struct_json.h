/* JSON values as google.protobuf.Struct, everything in the arena. */
#ifndef CLI_STRUCT_JSON_H
#define CLI_STRUCT_JSON_H

#include <jansson.h>

#include "core/arena.h"
#include "struct.pb-c.h"

/* NULL unless j is an object. The parser bounds the depth. */
Google__Protobuf__Struct *struct_from_json(struct os_arena *a, const json_t *j);

#endif
