/* The checklist. On a terminal the block of finished steps and the spinner's line are drawn again where they
 * were; nothing in it may wrap, or the cursor would not find its way back. */
#include "cli/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/output.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/str.h"

#define STEPS 16
#define TICK_MS 120
#define FIRST_TICK_MS 120 /* what takes less is not drawn at all */

struct progress {
    struct os_arena *arena;
    bool quiet, live, drawn;
    int64_t started_ms, step_ms; /* begin; end of the last step */
    const char *steps[STEPS], *lines[STEPS];
    size_t n;
    size_t shown; /* lines of the block on the terminal, the spinner's excluded */
    const char *active, *detail;
    unsigned frame;
    uv_timer_t tick;
};

static bool is_live(void)
{
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) && !os_str_eq(term, "dumb");
}

/* "(3s)", "(1m 12s)" */
static const char *elapsed(struct os_arena *a, int64_t ms)
{
    int64_t s = ms / 1000;
    return s < 60 ? os_arena_printf(a, "(%ds)", (int)s)
                  : os_arena_printf(a, "(%dm %ds)", (int)(s / 60), (int)(s % 60));
}

/* --- the block on a terminal --- */

void progress_clear(struct progress *p)
{
    if (!p || !p->drawn)
        return;
    if (p->shown)
        fprintf(stderr, "\033[%zuA", p->shown);
    fputs("\r\033[J", stderr);
    p->shown = 0;
    p->drawn = false;
}

static void draw(struct progress *p)
{
    static const char *const frames[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
    cleanup_arena struct os_arena a = {0};
    uint32_t cols, rows;
    terminal_size(&cols, &rows);
    progress_clear(p);
    for (; p->shown < p->n; p->shown++)
        say(stderr, OK_MARK "✓" END " %s\n", text_fit(&a, p->lines[p->shown], cols > 4 ? cols - 3 : 1));
    const char *time = elapsed(&a, os_clock_mono_ms() - p->started_ms);
    const char *active = text_fit(&a, p->active, cols > 20 ? cols - 14 : 6);
    size_t used = text_width(active) + 14;
    const char *detail = cols > used + 4 ? text_fit(&a, p->detail, cols - used) : "";
    say(stderr, CYAN "%s" END " %s" DIM "%s%s" END " %s", frames[p->frame % OS_ARRAY_LEN(frames)], active,
        *detail ? " " : "", detail, time);
    fflush(stderr);
    p->drawn = true;
}

static void on_tick(uv_timer_t *t)
{
    struct progress *p = t->data;
    p->frame++;
    draw(p);
}

/* --- lines --- */

static void plain(struct progress *p, const char *time, const char *text, const char *detail)
{
    if (!p->live && !p->quiet)
        say(stderr, "  [%s] %s%s%s\n", time, text, *text && *detail ? " " : "", detail);
}

static const char *stamp(struct progress *p)
{
    int64_t ms = os_clock_mono_ms() - p->started_ms;
    return os_arena_printf(p->arena, "%d.%ds", (int)(ms / 1000), (int)(ms % 1000 / 100));
}

struct progress *progress_begin(struct cli *cli, bool quiet)
{
    struct progress *p = os_arena_alloc(&cli->arena, sizeof(*p));
    *p = (struct progress){.arena = &cli->arena,
                           .quiet = quiet,
                           .live = !quiet && is_live(),
                           .started_ms = os_clock_mono_ms(),
                           .active = "Requesting compute...",
                           .detail = ""};
    p->step_ms = p->started_ms;
    uv_timer_init(&cli->loop, &p->tick);
    p->tick.data = p;
    if (p->live)
        uv_timer_start(&p->tick, on_tick, FIRST_TICK_MS, TICK_MS);
    plain(p, "0.0s", p->active, "");
    return p;
}

void progress_done(struct progress *p, const char *step, const char *label)
{
    int64_t now = os_clock_mono_ms();
    for (size_t i = 0; i < p->n; i++)
        if (os_str_eq(p->steps[i], step ? step : label))
            return;
    if (p->n == STEPS)
        return;
    p->steps[p->n] = os_arena_strdup(p->arena, step ? step : label);
    p->lines[p->n++] = os_arena_printf(p->arena, "%s %s", label, elapsed(p->arena, now - p->step_ms));
    p->step_ms = now;
    p->detail = "";
    plain(p, stamp(p), label, "");
}

void progress_active(struct progress *p, const char *step, const char *detail)
{
    if (step)
        p->active = os_arena_strdup(p->arena, step);
    p->detail = os_arena_strdup(p->arena, detail);
    size_t n = strlen(p->active);
    while (n && p->active[n - 1] == '.')
        n--;
    if (*detail)
        plain(p, "..", os_arena_strndup(p->arena, p->active, n), detail);
}

void progress_warn(struct progress *p, const char *text)
{
    progress_clear(p);
    if (p->live)
        say(stderr, "  " YELLOW "! %s" END "\n", text);
    else
        say(stderr, "  [..] WARN %s\n", text);
}

void progress_failed(const char *text)
{
    if (is_live())
        say(stderr, RED "✗ %s" END "\n", text);
}

void progress_end(struct progress *p)
{
    progress_clear(p);
    uv_close((uv_handle_t *)&p->tick, NULL);
}
