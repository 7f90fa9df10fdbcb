/* libuv's timers, each set anew for its next point, at the first of libuv's milliseconds that is not early. */
#include "ticks.h"

#include <uv.h>

static void set(uv_timer_t *timer, uv_timer_cb on_due, int64_t due)
{
    uint64_t ms = (uint64_t)((due + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC), now = uv_now(uv_default_loop());

    uv_timer_start(timer, on_due, ms > now ? ms - now : 0, 0);
}

static void tick(uv_timer_t *timer)
{
    struct ticks_timer *ticks = timer->data;

    ticks_tick(ticks);
    set(timer, tick, ticks->due);
}

static void end(uv_timer_t *timer)
{
    (void)timer;
    uv_stop(uv_default_loop());
}

static int start(struct ticks_timer *ticks, uint32_t n, int64_t end_at)
{
    uv_timer_t *timers = calloc((size_t)n + 1, sizeof *timers);

    if (timers == NULL)
        return -1;
    for (uint32_t i = 0; i <= n; i++)
        uv_timer_init(uv_default_loop(), &timers[i]);
    for (uint32_t i = 0; i < n; i++) {
        timers[i].data = &ticks[i];
        set(&timers[i], tick, ticks[i].due);
    }
    set(&timers[n], end, end_at);
    return 0;
}

static void run(void)
{
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}

const struct ticks_driver ticks_driver = {start, run};
