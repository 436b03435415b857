/* Clocks and time texts. */
#include "core/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t clock_us(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t os_clock_ms(void)
{
    return clock_us(CLOCK_REALTIME) / 1000;
}

int64_t os_clock_mono_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

int64_t os_clock_mono_ms(void)
{
    return os_clock_mono_us() / 1000;
}

const char *os_clock_iso(int64_t ms, char out[OS_CLOCK_TEXT_LEN])
{
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r(&s, &tm);
    char head[24];
    strftime(head, sizeof(head), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, OS_CLOCK_TEXT_LEN, "%s.%03dZ", head, (int)(ms % 1000));
    return out;
}

const char *os_clock_text(int64_t ms, char out[OS_CLOCK_TEXT_LEN])
{
    if (ms < 0) {
        snprintf(out, OS_CLOCK_TEXT_LEN, "-");
        return out;
    }
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r(&s, &tm);
    strftime(out, OS_CLOCK_TEXT_LEN, "%Y-%m-%d %H:%M:%S", &tm);
    return out;
}
