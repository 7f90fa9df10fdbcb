/* libev's repeating timers, which keep their grid by themselves. */
#include "ticks.h"

#include <ev.h>
#include <stdbool.h>

static struct ev_loop *loop;

static void tick(struct ev_loop *l, ev_timer *timer, int what)
{
    (void)l;
    (void)what;
    ticks_tick(timer->data);
}

static void end(struct ev_loop *l, ev_timer *timer, int what)
{
    (void)timer;
    (void)what;
    ev_break(l, EVBREAK_ALL);
}

static void set(ev_timer *timer, void (*on_due)(struct ev_loop *, ev_timer *, int), int64_t due, int64_t interval)
{
    ev_now_update(loop);
    ev_timer_init(timer, on_due, (double)(due - ticks_now()) / 1e9, (double)interval / 1e9);
    ev_timer_start(loop, timer);
}

static int start(struct ticks_timer *ticks, uint32_t n, int64_t end_at)
{
    ev_timer *timers = calloc((size_t)n + 1, sizeof *timers);

    loop = ev_default_loop(EVFLAG_NOENV | EVBACKEND_EPOLL);
    if (loop == NULL || timers == NULL)
        return -1;
    for (uint32_t i = 0; i < n; i++) {
        timers[i].data = &ticks[i];
        set(&timers[i], tick, ticks[i].due, ticks[i].interval);
    }
    set(&timers[n], end, end_at, 0);
    return 0;
}

static void run(void)
{
    ev_run(loop, 0);
}

const struct ticks_driver ticks_driver = {start, run};
