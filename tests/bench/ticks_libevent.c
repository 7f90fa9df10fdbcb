/* libevent's timers, each set anew for its next point. Built twice: PRECISE is EVENT_BASE_FLAG_PRECISE_TIMER. */
#include "ticks.h"

#include <event2/event.h>
#include <event2/event_struct.h>

#ifdef PRECISE
#define FLAGS EVENT_BASE_FLAG_PRECISE_TIMER
#else
#define FLAGS 0
#endif

struct timer {
    struct event event;
    struct ticks_timer *ticks;
};

static struct event_base *base;

static struct timeval to_timeval(int64_t span)
{
    span = span > 0 ? span + 999 : 0; // never down: that would be early
    return (struct timeval){.tv_sec = span / NSEC_PER_SEC, .tv_usec = span % NSEC_PER_SEC / 1000};
}

/* Without the update, what is left would count from when this pass of the loop began. */
static void tick(evutil_socket_t fd, short what, void *ctx)
{
    struct timer *timer = ctx;
    struct timeval left;

    (void)fd;
    (void)what;
    left = to_timeval(timer->ticks->due + timer->ticks->interval - ticks_tick(timer->ticks));
    event_base_update_cache_time(base);
    evtimer_add(&timer->event, &left);
}

static void end(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    (void)ctx;
    event_base_loopbreak(base);
}

static int start(struct ticks_timer *ticks, uint32_t n, int64_t end_at)
{
    struct event_config *config = event_config_new();
    struct timer *timers = calloc(n, sizeof *timers);
    struct timeval left;

    if (config == NULL || timers == NULL || event_config_set_flag(config, FLAGS) < 0)
        return -1;
    base = event_base_new_with_config(config);
    event_config_free(config);
    if (base == NULL)
        return -1;
    for (uint32_t i = 0; i < n; i++) {
        timers[i].ticks = &ticks[i];
        evtimer_assign(&timers[i].event, base, tick, &timers[i]);
        left = to_timeval(ticks[i].due - ticks_now());
        if (evtimer_add(&timers[i].event, &left) < 0)
            return -1;
    }
    left = to_timeval(end_at - ticks_now());
    return event_base_once(base, -1, EV_TIMEOUT, end, NULL, &left);
}

static void run(void)
{
    event_base_dispatch(base);
}

const struct ticks_driver ticks_driver = {start, run};
