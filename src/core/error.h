/* The one error type. Codes are the canonical gRPC codes, so an error found deep in the policy code can be
 * answered on the wire unchanged. Libraries never print and never exit: they fill an os_error and return. */
#ifndef OS_CORE_ERROR_H
#define OS_CORE_ERROR_H

#include <stdarg.h>

enum os_code {
    OS_OK = 0,
    OS_CANCELLED = 1,
    OS_UNKNOWN = 2,
    OS_INVALID_ARGUMENT = 3,
    OS_DEADLINE_EXCEEDED = 4,
    OS_NOT_FOUND = 5,
    OS_ALREADY_EXISTS = 6,
    OS_PERMISSION_DENIED = 7,
    OS_RESOURCE_EXHAUSTED = 8,
    OS_FAILED_PRECONDITION = 9,
    OS_ABORTED = 10,
    OS_OUT_OF_RANGE = 11,
    OS_UNIMPLEMENTED = 12,
    OS_INTERNAL = 13,
    OS_UNAVAILABLE = 14,
    OS_DATA_LOSS = 15,
    OS_UNAUTHENTICATED = 16,
};

/* Zero-initialise ({0}) before use; clear with os_error_clear(). msg never holds a secret. */
struct os_error {
    enum os_code code;
    int sys_errno; /* errno of the failed call, 0 if none */
    char *msg;     /* owned; NULL only when code is OS_OK or memory ran out */
};

#define cleanup_error __attribute__((cleanup(os_error_clear)))

/* Sets *err (if err is not NULL), replacing what it held. Always returns -1 so that callers can write
 * `return os_error_set(err, OS_INVALID_ARGUMENT, "...", ...);`. */
int os_error_set(struct os_error *err, enum os_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int os_error_vset(struct os_error *err, enum os_code code, const char *fmt, va_list ap)
    __attribute__((format(printf, 3, 0)));

/* As os_error_set with code OS_INTERNAL, ": <strerror(sys_errno)>" appended. Returns -1. */
int os_error_sys(struct os_error *err, int sys_errno, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "<context>: " in front of the message; keeps the code. Returns -1. */
int os_error_wrap(struct os_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Moves *from into *to (which may be NULL) and leaves *from clear. */
void os_error_move(struct os_error *to, struct os_error *from);
void os_error_clear(struct os_error *err);

/* Message text, never NULL. */
const char *os_error_text(const struct os_error *err);

/* "The operation was cancelled" style text of a code (spec/cli.md 1.2), and "NOT_FOUND" style name. */
const char *os_code_text(enum os_code code);
const char *os_code_name(enum os_code code);

#endif
