/* Our schedule, with the state of a periodic job: its interval and when it is due. */
#include "daemon/sched.h"
#include "timers.h"
#include "virtual_clock.h"

#include <stdlib.h>

#define BATCH 32

struct timer {
    int64_t due, interval;
};

static struct sched *sched;
static struct timer *timers;
static bool stopped;

static int start(const struct timer_load *load)
{
    int64_t now = virtual_now();

    sched = sched_new();
    timers = calloc(load->n, sizeof *timers);
    if (sched == NULL || timers == NULL || sched_reserve(sched, load->n) < 0)
        return -1;
    for (uint32_t i = 0; i < load->n; i++) {
        timers[i] = (struct timer){.due = now + load->first[i], .interval = load->interval[i]};
        sched_set(sched, i, timers[i].due);
    }
    return 0;
}

static void run_due(int64_t now)
{
    uint32_t handles[BATCH];
    size_t n;

    while ((n = sched_pop_due_many(sched, now, handles, BATCH)) > 0) {
        for (size_t i = 0; i < n; i++)
            __builtin_prefetch(&timers[handles[i]], 1);
        for (size_t i = 0; i < n; i++) {
            struct timer *timer = &timers[handles[i]];
            timer->due += timer->interval;
            sched_set(sched, handles[i], timer->due);
            timers_ticks++;
        }
    }
}

static void run(void)
{
    int64_t due;

    for (stopped = false; !stopped;) {
        sched_next(sched, &due, NULL);
        virtual_poll((int)((due - virtual_now() + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC));
        run_due(virtual_now());
    }
}

static void stop(void)
{
    stopped = true;
}

const struct timers_driver timers_driver = {"sched", start, run, stop};
