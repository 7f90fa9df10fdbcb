/*
 * timers - one load of periodic timers on a virtual clock, for our schedule and for its peers.
 *
 * Each program is this file, virtual_clock.c and one driver. The load: N timers, first due at a random time within
 * their interval, then for ever. A driver counts its ticks, and does nothing else on a tick. It runs its own loop
 * unchanged; only the clock that it reads and the poll that it waits in are ours (virtual_clock.h). Its CPU time is
 * taken over a span of virtual time, after a warm-up, without the making of the timers.
 */
#ifndef TWISTY_BENCH_TIMERS_H
#define TWISTY_BENCH_TIMERS_H

#include <stdint.h>

#define NSEC_PER_MSEC INT64_C(1000000)

struct timer_load {
    uint32_t n;
    int64_t *interval; // nanoseconds
    int64_t *first;    // from the start
};

/* One in each program. */
struct timers_driver {
    const char *name;
    int (*start)(const struct timer_load *load); // make the timers; 0, or -1 when there is no memory
    void (*run)(void);                           // the loop, until stop()
    void (*stop)(void);                          // called in the poll: run() should end soon
};

/* Drivers add to it. */
extern uint64_t timers_ticks;

extern const struct timers_driver timers_driver;

#endif
