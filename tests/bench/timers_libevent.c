/* libevent's timers: each is an event that adds itself again when it ticks. */
#include "timers.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>

struct timer {
    struct event event;
    struct timeval interval;
};

static struct event_base *base;
static struct timer *timers;

static struct timeval to_timeval(int64_t span)
{
    return (struct timeval){.tv_sec = span / (1000 * NSEC_PER_MSEC), .tv_usec = span % (1000 * NSEC_PER_MSEC) / 1000};
}

static void tick(evutil_socket_t fd, short what, void *ctx)
{
    struct timer *timer = ctx;

    (void)fd;
    (void)what;
    timers_ticks++;
    evtimer_add(&timer->event, &timer->interval);
}

static int start(const struct timer_load *load)
{
    timers = calloc(load->n, sizeof *timers);
    base = event_base_new();
    if (base == NULL || timers == NULL)
        return -1;
    for (uint32_t i = 0; i < load->n; i++) {
        struct timeval first = to_timeval(load->first[i]);
        timers[i].interval = to_timeval(load->interval[i]);
        if (evtimer_assign(&timers[i].event, base, tick, &timers[i]) < 0 || evtimer_add(&timers[i].event, &first) < 0)
            return -1;
    }
    return 0;
}

static void run(void)
{
    event_base_dispatch(base);
}

static void stop(void)
{
    event_base_loopbreak(base);
}

const struct timers_driver timers_driver = {"libevent", start, run, stop};
