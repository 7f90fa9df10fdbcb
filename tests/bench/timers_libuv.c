/* libuv's repeating timers. */
#include "timers.h"

#include <stdlib.h>
#include <uv.h>

static uv_timer_t *timers;

static void tick(uv_timer_t *timer)
{
    (void)timer;
    timers_ticks++;
}

static uint64_t to_ms(int64_t span)
{
    return (uint64_t)((span + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC);
}

static int start(const struct timer_load *load)
{
    timers = calloc(load->n, sizeof *timers);
    if (timers == NULL)
        return -1;
    for (uint32_t i = 0; i < load->n; i++) {
        uv_timer_init(uv_default_loop(), &timers[i]);
        uv_timer_start(&timers[i], tick, to_ms(load->first[i]), to_ms(load->interval[i]));
    }
    return 0;
}

static void run(void)
{
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}

static void stop(void)
{
    uv_stop(uv_default_loop());
}

const struct timers_driver timers_driver = {"libuv", start, run, stop};
