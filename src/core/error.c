/* The one error type: construction, wrapping, texts. */
#include "core/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int os_error_vset(struct os_error *err, enum os_code code, const char *fmt, va_list ap)
{
    if (!err)
        return -1;
    char *msg = NULL;
    if (vasprintf(&msg, fmt, ap) < 0)
        msg = NULL;
    free(err->msg);
    *err = (struct os_error){.code = code, .msg = msg};
    return -1;
}

int os_error_set(struct os_error *err, enum os_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    os_error_vset(err, code, fmt, ap);
    va_end(ap);
    return -1;
}

int os_error_sys(struct os_error *err, int sys_errno, const char *fmt, ...)
{
    if (!err)
        return -1;
    va_list ap;
    va_start(ap, fmt);
    os_error_vset(err, OS_INTERNAL, fmt, ap);
    va_end(ap);
    char *with = NULL;
    if (err->msg && asprintf(&with, "%s: %s", err->msg, strerror(sys_errno)) >= 0) {
        free(err->msg);
        err->msg = with;
    }
    err->sys_errno = sys_errno;
    return -1;
}

int os_error_wrap(struct os_error *err, const char *fmt, ...)
{
    if (!err)
        return -1;
    char *context = NULL, *joined = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&context, fmt, ap) < 0)
        context = NULL;
    va_end(ap);
    if (context && asprintf(&joined, "%s: %s", context, os_error_text(err)) >= 0) {
        free(err->msg);
        err->msg = joined;
    }
    free(context);
    return -1;
}

void os_error_move(struct os_error *to, struct os_error *from)
{
    if (to) {
        os_error_clear(to);
        *to = *from;
    } else {
        free(from->msg);
    }
    *from = (struct os_error){0};
}

void os_error_clear(struct os_error *err)
{
    free(err->msg);
    *err = (struct os_error){0};
}

const char *os_error_text(const struct os_error *err)
{
    return err->msg ? err->msg : os_code_text(err->code);
}

static const struct {
    const char *name, *text;
} code_texts[] = {
    [OS_OK] = {"OK", "The operation completed successfully"},
    [OS_CANCELLED] = {"CANCELLED", "The operation was cancelled"},
    [OS_UNKNOWN] = {"UNKNOWN", "Unknown error"},
    [OS_INVALID_ARGUMENT] = {"INVALID_ARGUMENT", "Client specified an invalid argument"},
    [OS_DEADLINE_EXCEEDED] = {"DEADLINE_EXCEEDED", "Deadline expired before operation could complete"},
    [OS_NOT_FOUND] = {"NOT_FOUND", "Some requested entity was not found"},
    [OS_ALREADY_EXISTS] = {"ALREADY_EXISTS", "Some entity that we attempted to create already exists"},
    [OS_PERMISSION_DENIED] = {"PERMISSION_DENIED",
                              "The caller does not have permission to execute the specified operation"},
    [OS_RESOURCE_EXHAUSTED] = {"RESOURCE_EXHAUSTED", "Some resource has been exhausted"},
    [OS_FAILED_PRECONDITION] = {"FAILED_PRECONDITION",
                                "The system is not in a state required for the operation's execution"},
    [OS_ABORTED] = {"ABORTED", "The operation was aborted"},
    [OS_OUT_OF_RANGE] = {"OUT_OF_RANGE", "Operation was attempted past the valid range"},
    [OS_UNIMPLEMENTED] = {"UNIMPLEMENTED", "Operation is not implemented or not supported"},
    [OS_INTERNAL] = {"INTERNAL", "Internal error"},
    [OS_UNAVAILABLE] = {"UNAVAILABLE", "The service is currently unavailable"},
    [OS_DATA_LOSS] = {"DATA_LOSS", "Unrecoverable data loss or corruption"},
    [OS_UNAUTHENTICATED] = {"UNAUTHENTICATED", "The request does not have valid authentication credentials"},
};

const char *os_code_text(enum os_code code)
{
    return code >= OS_OK && code <= OS_UNAUTHENTICATED ? code_texts[code].text : "Unknown error";
}

const char *os_code_name(enum os_code code)
{
    return code >= OS_OK && code <= OS_UNAUTHENTICATED ? code_texts[code].name : "UNKNOWN";
}
