/*
 * virtual_clock - the time that a program of the bench reads, and the poll that it waits in.
 *
 * clock_gettime(), gettimeofday(), epoll_wait() and epoll_pwait(), which is all that the peers ask, are defined here:
 * in the program, which the dynamic linker prefers to libc. Time stands still but in a poll. That one makes no system
 * call, finds nothing ready, and lets time go on by its timeout, or by a millisecond if that is less. So every program
 * ticks at one resolution, the millisecond of epoll_wait() and of libuv, and pays for what it computes alone.
 */
#ifndef TWISTY_BENCH_VIRTUAL_CLOCK_H
#define TWISTY_BENCH_VIRTUAL_CLOCK_H

#include <stdint.h>

int64_t virtual_now(void); // nanoseconds

/* Call stop() in the poll that gets to `end`. */
void virtual_stop_at(int64_t end, void (*stop)(void));

/* What epoll_wait() does here. Milliseconds; negative: for ever, which is an error here. */
void virtual_poll(int timeout);

/* How many polls there were. */
uint64_t virtual_polls(void);

#endif
