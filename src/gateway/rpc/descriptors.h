/* The .proto files of the services a gateway serves, as descriptors: what server reflection answers with.
 * Filled in by scripts/gen-descriptors.py when the gateway is built. Static data, any thread. */
#ifndef GATEWAY_RPC_DESCRIPTORS_H
#define GATEWAY_RPC_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct descriptor_file {
    const char *name;    /* as other files import it */
    const uint8_t *data; /* a packed google.protobuf.FileDescriptorProto */
    size_t n;
    const uint16_t
        *needs; /* indexes: this file, then all that it imports, each once and before its own imports */
    size_t n_needs;
};

struct descriptor_symbol {
    const char *name; /* full name without a leading dot */
    uint16_t file;
    bool is_message;
};

struct descriptor_extension {
    const char *type; /* of the message that is extended */
    int32_t number;
    uint16_t file;
};

extern const struct descriptor_file descriptor_files[];
extern const size_t descriptor_n_files;
extern const struct descriptor_symbol descriptor_symbols[]; /* by name */
extern const size_t descriptor_n_symbols;
extern const struct descriptor_extension descriptor_extensions[]; /* by type, then number */
extern const size_t descriptor_n_extensions;

#endif
