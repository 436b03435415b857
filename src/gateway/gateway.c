/* What every part of the gateway uses: lifecycle gates and the log. */
#include "gateway/gateway.h"

#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/str.h"
#include "gateway/logbus.h"

pthread_mutex_t *gateway_gate(struct gateway *gw, const char *id)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (; *id; id++)
        h = (h ^ (uint8_t)*id) * 16777619u;
    return &gw->gates[h % GATEWAY_GATES];
}

void gateway_log(struct gateway *gw, const char *sandbox_id, int level, const char *target, const char *fmt,
                 ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    os_log(level, target, "%s: %s", sandbox_id, text);
    Openshell__V1__SandboxLogLine line = OPENSHELL__V1__SANDBOX_LOG_LINE__INIT;
    char upper[8];
    snprintf(upper, sizeof(upper), "%s", os_log_level_name(level));
    for (char *c = upper; *c; c++)
        *c = (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
    line.sandbox_id = (char *)sandbox_id;
    line.timestamp_ms = os_clock_ms();
    line.level = upper;
    line.target = (char *)target;
    line.message = text;
    line.source = (char *)"gateway";
    logbus_add_line(gw->logs, sandbox_id, &line);
}
