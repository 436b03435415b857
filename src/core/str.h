/* String helpers and a growable list of owned strings. ASCII only where case matters: host names, methods
 * and keys are never locale dependent. */
#ifndef OS_CORE_STR_H
#define OS_CORE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool os_str_starts(const char *s, const char *prefix);
bool os_str_ends(const char *s, const char *suffix);
/* Both may be NULL; two NULLs are equal. */
bool os_str_eq(const char *a, const char *b);
bool os_str_eq_nocase(const char *a, const char *b);
/* Lower-cases ASCII letters in place; returns s. */
char *os_str_lower(char *s);
/* Copies of all or of n bytes; abort on out of memory (small control-plane strings only). */
char *os_strdup(const char *s);
char *os_strndup(const char *s, size_t n);
char *os_asprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void *os_calloc(size_t n, size_t size);
void *os_realloc(void *p, size_t n, size_t size);
/* Cuts ASCII white space at both ends in place; returns the first kept byte. */
char *os_str_trim(char *s);
/* Strict decimal: digits only, no sign, no space, value <= max. */
bool os_str_u64(const char *s, uint64_t max, uint64_t *out);
bool os_str_u64n(const char *s, size_t n, uint64_t max, uint64_t *out);
/* True when s is well-formed UTF-8 (RFC 3629). */
bool os_utf8_valid(const char *s, size_t n);
/* Makes n bytes valid UTF-8: what is not, loses every byte that is not ASCII to '?'. Returns s. */
char *os_utf8_force(char *s, size_t n);

struct os_strv {
    char **v; /* NULL-terminated once non-empty */
    size_t n;
};

#define cleanup_strv __attribute__((cleanup(os_strv_free)))

void os_strv_add(struct os_strv *l, const char *s);
void os_strv_take(struct os_strv *l, char *owned);
void os_strv_addf(struct os_strv *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool os_strv_has(const struct os_strv *l, const char *s);
void os_strv_free(struct os_strv *l);
/* Splits at every sep; empty parts are kept. */
void os_strv_split(struct os_strv *l, const char *s, char sep);
/* Joined copy; caller frees. */
char *os_strv_join(const struct os_strv *l, const char *sep);

#endif
