/* Wall and monotonic clocks and the two published text forms. */
#ifndef OS_CORE_TIME_H
#define OS_CORE_TIME_H

#include <stdint.h>

#define OS_TIME_ISO_LEN 32

/* Milliseconds since the Unix epoch. */
int64_t os_time_now_ms(void);
/* Monotonic clock in milliseconds / microseconds; only differences mean something. */
int64_t os_mono_ms(void);
int64_t os_mono_us(void);
/* "2026-01-31T23:59:59.123Z" into out; returns out. */
const char *os_time_iso(int64_t ms, char out[OS_TIME_ISO_LEN]);
/* "2026-01-31 23:59:59" (UTC); "-" when negative (spec/cli.md 1.5). Returns out. */
const char *os_time_text(int64_t ms, char out[OS_TIME_ISO_LEN]);

#endif
