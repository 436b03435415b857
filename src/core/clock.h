/* Wall and monotonic clocks and the two published text forms. */
#ifndef OS_CORE_CLOCK_H
#define OS_CORE_CLOCK_H

#include <stdint.h>

#define OS_CLOCK_TEXT_LEN 32

/* Milliseconds since the Unix epoch. */
int64_t os_clock_ms(void);
/* Monotonic clock in milliseconds / microseconds; only differences mean something. */
int64_t os_clock_mono_ms(void);
int64_t os_clock_mono_us(void);
/* "2026-01-31T23:59:59.123Z" into out; returns out. */
const char *os_clock_iso(int64_t ms, char out[OS_CLOCK_TEXT_LEN]);
/* "2026-01-31 23:59:59" (UTC); "-" when negative (spec/cli.md 1.5). Returns out. */
const char *os_clock_text(int64_t ms, char out[OS_CLOCK_TEXT_LEN]);

#endif
