/* The one logger. */
#include "core/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/clock.h"

static _Atomic int stderr_level = OS_LOG_WARN;
static _Atomic int sink_level = -1;
static os_log_sink *sink_fn;
static void *sink_ctx;

static const char *const names[] = {"ERROR", "WARN", "INFO", "DEBUG", "TRACE"};

void os_log_set_level(enum os_log_level level)
{
    atomic_store(&stderr_level, (int)level);
}

void os_log_set_sink(os_log_sink *sink, void *ctx, enum os_log_level level)
{
    sink_fn = sink;
    sink_ctx = ctx;
    atomic_store(&sink_level, sink ? (int)level : -1);
}

bool os_log_parse_level(const char *text, enum os_log_level *out)
{
    for (int i = OS_LOG_ERROR; i <= OS_LOG_TRACE; i++) {
        if (strcasecmp(text, names[i]) == 0) {
            *out = (enum os_log_level)i;
            return true;
        }
    }
    return false;
}

const char *os_log_level_name(enum os_log_level level)
{
    return names[level];
}

void os_log(enum os_log_level level, const char *target, const char *fmt, ...)
{
    bool to_stderr = (int)level <= atomic_load(&stderr_level);
    bool to_sink = (int)level <= atomic_load(&sink_level);
    if (!to_stderr && !to_sink)
        return;
    struct os_buf msg = {.max = 8192};
    va_list ap;
    va_start(ap, fmt);
    os_buf_vaddf(&msg, fmt, ap);
    va_end(ap);
    for (size_t i = 0; i < msg.len; i++)
        if ((unsigned char)msg.data[i] < 0x20)
            msg.data[i] = ' ';
    if (to_stderr) {
        char when[OS_CLOCK_TEXT_LEN];
        struct os_buf line = {.max = 16384};
        os_buf_addf(&line, "%s %-5s %s: %s\n", os_clock_iso(os_clock_ms(), when), names[level], target,
                    os_buf_str(&msg));
        ssize_t r = write(STDERR_FILENO, os_buf_str(&line), line.len);
        (void)r;
        os_buf_free(&line);
    }
    if (to_sink)
        sink_fn(sink_ctx, level, target, os_buf_str(&msg));
    os_buf_free(&msg);
}
