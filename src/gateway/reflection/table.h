/* The descriptors of the API, made at build time from proto/ (scripts/gen-reflection.py). Static data. */
#ifndef GATEWAY_REFLECTION_TABLE_H
#define GATEWAY_REFLECTION_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct reflection_file {
    const char *name;
    const uint8_t *bytes; /* a FileDescriptorProto */
    size_t n;
    const uint16_t *needs; /* files that it imports */
    size_t n_needs;
};

struct reflection_symbol {
    const char *name; /* full name of a message, field, enum, service or method */
    uint16_t file;
};

struct reflection_extension {
    const char *type; /* the message it extends */
    int32_t number;
    uint16_t file;
};

extern const struct reflection_file reflection_files[]; /* by name */
extern const size_t reflection_n_files;
extern const struct reflection_symbol reflection_symbols[]; /* by name */
extern const size_t reflection_n_symbols;
extern const struct reflection_extension reflection_extensions[]; /* by type and number */
extern const size_t reflection_n_extensions;

#endif
