/*
 * status - how the daemon is, as the JSON of io.twisty.Control.varlink.
 */
#ifndef TWISTY_STATUS_H
#define TWISTY_STATUS_H

#include "action.h"
#include "control.h"
#include "durable.h"
#include "jobs.h"
#include "lateness.h"
#include "loop.h"
#include "wire.h"

#include <sys/types.h>

/* What only daemon.c knows. */
struct daemon_status {
    const char *configuration; // NULL: none
    const char *clock;
    const char *log_target;
    bool exit_when_done;
    int64_t start; // of the loop's clock
    pid_t pid;
    uint64_t suppressed;
    uint64_t log_lost;
    struct action_counts actions;
    const struct lateness *lateness; // of all ticks
};

/* Where it is looked up; all borrowed. */
struct status {
    struct jobs *jobs;
    const struct loop *loop;
    const struct durable *durable; // NULL: nothing is kept
    const struct control *control;
    struct daemon_status daemon;
};

/* "status": type Status. loop: also what the loop waits on. */
void status_put(struct emit *e, const struct status *s, const struct wire_clock *clock, bool loop);

#endif
