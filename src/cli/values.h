/* The value forms that flags share: durations, KEY=VALUE, quantities, environment keys. Pure. */
#ifndef CLI_VALUES_H
#define CLI_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/* "<int><s|m|h>" in milliseconds (spec/cli.md 10). */
int value_duration(const char *text, int64_t *ms, struct os_error *err);
/* Splits "KEY=VALUE" at the first '='; *key_len is the length of KEY. false without '=' or with an empty key.
 */
bool value_pair(const char *text, size_t *key_len, const char **value);
/* --env KEY=VALUE: form, key characters, reserved prefix (spec/cli.md 6.1). */
int value_env(const char *text, size_t *key_len, const char **value, struct os_error *err);
/* A key whose value is probably a credential (spec/cli.md 6.4): one of its '_'-separated parts, in any case,
 * is TOKEN, SECRET, PASSWORD or CREDENTIAL, or two neighbours are ACCESS_KEY, SECRET_KEY or API_KEY. */
bool value_env_is_credential(const char *key, size_t n);
/* --label KEY=VALUE. */
int value_label(const char *text, size_t *key_len, const char **value, struct os_error *err);
/* --cpu and --memory: 0 when well-formed and greater than zero. */
int value_cpu(const char *text, struct os_error *err);
int value_memory(const char *text, struct os_error *err);

#endif
