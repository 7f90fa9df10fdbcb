/*
 * lines - one load of tick lines, from a tick that is due to a datagram socket, for our reports and for their peers.
 *
 * Each program is lines.c and one driver. A thousand countdowns tick ten times a second each; in every virtual
 * millisecond ten of them are due, and each has its line. These ten are a burst: what a receiver's queue takes at once.
 * The receiver is a socket of the program's own, which it empties after each burst, or another process. CPU time is
 * taken over the bursts alone (measured_run()).
 *
 * syslog(3) and sd_journal_send() know only one place where a receiver may be. It is made to lead to ours in a mount
 * namespace: these programs have to run under unshare(1) --mount.
 */
#ifndef TWISTY_BENCH_LINES_H
#define TWISTY_BENCH_LINES_H

#include <stdint.h>

#define LINES_JOBS  1000u
#define LINES_BURST 10u

/* What a countdown begins with, and a job's name from its number on. */
#define LINES_COUNT 1000000u
#define LINES_NAME  "heartbeat-%u"

/* One in each program. */
struct lines_driver {
    const char *name;
    const char *place; // where its receiver has to be, or NULL: anywhere
    int (*start)(const char *receiver);
    void (*burst)(unsigned millisecond); // from 0: write the lines of the ten that tick now
};

extern const struct lines_driver lines_driver;

/* The jobs that tick in a millisecond are those from here on; each has ticked so often before. */
static inline unsigned lines_first(unsigned millisecond)
{
    return millisecond * LINES_BURST % LINES_JOBS;
}

static inline unsigned lines_ticked(unsigned millisecond)
{
    return millisecond * LINES_BURST / LINES_JOBS;
}

#endif
