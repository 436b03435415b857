/* The one logger: levelled lines on stderr, and an optional sink (log push, per-sandbox ring). Thread safe.
 * Messages never hold a secret: credentials have no printf conversion in this project. */
#ifndef OS_CORE_LOG_H
#define OS_CORE_LOG_H

#include <stdbool.h>

enum os_log_level { OS_LOG_ERROR, OS_LOG_WARN, OS_LOG_INFO, OS_LOG_DEBUG, OS_LOG_TRACE };

/* Receives every line that passes the sink level, also those below the stderr level. Must not log. */
typedef void os_log_sink(void *ctx, enum os_log_level level, const char *target, const char *message);

void os_log_set_level(enum os_log_level level);
void os_log_set_sink(os_log_sink *sink, void *ctx, enum os_log_level level);
/* "error", "warn", "info", "debug", "trace"; false when unknown. */
bool os_log_parse_level(const char *text, enum os_log_level *out);
const char *os_log_level_name(enum os_log_level level);

void os_log(enum os_log_level level, const char *target, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define os_log_error(target, ...) os_log(OS_LOG_ERROR, target, __VA_ARGS__)
#define os_log_warn(target, ...) os_log(OS_LOG_WARN, target, __VA_ARGS__)
#define os_log_info(target, ...) os_log(OS_LOG_INFO, target, __VA_ARGS__)
#define os_log_debug(target, ...) os_log(OS_LOG_DEBUG, target, __VA_ARGS__)

#endif
