/*
 * now - the time by one of the system's clocks; shared with ctl/. What is pure has the time as a parameter instead.
 */
#ifndef TWISTY_NOW_H
#define TWISTY_NOW_H

#include "quantity.h"

#include <stdint.h>
#include <time.h>

/* In nanoseconds. A clock that is named cannot fail. */
static inline int64_t now_by(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

#endif
