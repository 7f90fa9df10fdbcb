/*
 * ticks - one load of periodic timers in real time, for the event loops that are our peers.
 *
 * Each program is ticks.c and one driver; ticks_*.py and ticks_node.js do the same in their languages. Timer i has the
 * interval intervals[i % n_intervals] and is first due when the load begins to count plus a part of its interval: the
 * fractional part of i times the golden ratio, so that the timers are spread evenly. From then on it is due every
 * interval, on that grid. libev's repeating timers keep it by themselves; with the others a timer is set anew for its
 * next point. On each tick the clock is read, and the lateness counted. CPU time, with all system calls, is that of the
 * whole process from the first tick until the end.
 */
#ifndef TWISTY_BENCH_TICKS_H
#define TWISTY_BENCH_TICKS_H

#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#define NSEC_PER_MSEC INT64_C(1000000)
#define NSEC_PER_SEC  INT64_C(1000000000)

struct ticks_timer {
    int64_t due; // of CLOCK_MONOTONIC
    int64_t interval;
};

/* One in each program. */
struct ticks_driver {
    int (*start)(struct ticks_timer *timers, uint32_t n, int64_t end); // set all, and end run() at `end`; 0 or -1
    void (*run)(void);
};

extern const struct ticks_driver ticks_driver;

static inline int64_t ticks_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

/* The timer ticks: count its lateness, and move it on to its next point. Returns the time. */
int64_t ticks_tick(struct ticks_timer *timer);

#endif
