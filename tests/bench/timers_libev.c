/* libev's repeating timers. */
#include "timers.h"

#include <ev.h>
#include <stdbool.h>
#include <stdlib.h>

static struct ev_loop *loop;
static ev_timer *timers;
static ev_check after_poll; // ev_break() in the poll itself would be taken back
static bool stopped;

static void tick(struct ev_loop *l, ev_timer *timer, int what)
{
    (void)l;
    (void)timer;
    (void)what;
    timers_ticks++;
}

static void check(struct ev_loop *l, ev_check *watcher, int what)
{
    (void)watcher;
    (void)what;
    if (stopped)
        ev_break(l, EVBREAK_ALL);
}

static int start(const struct timer_load *load)
{
    timers = calloc(load->n, sizeof *timers);
    loop = ev_default_loop(EVFLAG_NOENV | EVBACKEND_EPOLL);
    if (loop == NULL || timers == NULL)
        return -1;
    ev_check_init(&after_poll, check);
    ev_check_start(loop, &after_poll);
    for (uint32_t i = 0; i < load->n; i++) {
        ev_timer_init(&timers[i], tick, (double)load->first[i] / 1e9, (double)load->interval[i] / 1e9);
        ev_timer_start(loop, &timers[i]);
    }
    return 0;
}

static void run(void)
{
    stopped = false;
    ev_run(loop, 0);
}

static void stop(void)
{
    stopped = true;
}

const struct timers_driver timers_driver = {"libev", start, run, stop};
