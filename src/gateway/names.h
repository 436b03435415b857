/* Generated sandbox names. */
#ifndef GATEWAY_NAMES_H
#define GATEWAY_NAMES_H

#include <stddef.h>

/* "adjective-noun", at most n - 1 bytes, a valid DNS-1123 label. Returns out. */
const char *name_generate(char *out, size_t n);

#endif
