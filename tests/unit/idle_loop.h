/* A loop on which nothing is due, for what only needs to be called by one. */
#ifndef TEST_IDLE_LOOP_H
#define TEST_IDLE_LOOP_H

#include "daemon/loop.h"

static inline void idle_wake(void *ctx, int64_t now)
{
    (void)ctx;
    (void)now;
}

static inline void idle_signal(void *ctx, int signal_nr)
{
    (void)ctx;
    (void)signal_nr;
}

/* NULL when there is none to be had. */
static inline struct loop *idle_loop_new(void)
{
    static const struct loop_hooks hooks = {.wake = idle_wake, .signal = idle_signal};
    struct loop *loop;

    return loop_new(BACKEND_AUTO, CLOCK_KIND_MONOTONIC, &hooks, &loop) == 0 ? loop : NULL;
}

#endif
