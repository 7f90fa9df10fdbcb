/*
 * runner - runs actions: how many at a time, in which order, how long, and how often again.
 *
 * At most max_actions commands run at a time; the others wait in line, at most max_queued of them. What is to become
 * of one whose predecessor for the same event of the same job still runs is up to the action's `overlap`. A command
 * that takes longer than its action's timeout gets SIGTERM, and SIGKILL when it has not ended stop_timeout later. One
 * that failed is tried again, if its action says so.
 *
 * Nothing is run from within a call: runner_work() does that, at runner_due().
 */
#ifndef TWISTY_RUNNER_H
#define TWISTY_RUNNER_H

#include "action.h"
#include "command.h"

struct runner;

enum run_outcome {
    RUN_SUCCEEDED,
    RUN_EXITED,    // with another status than 0: `number`
    RUN_SIGNALLED, // ended by the signal `number`
    RUN_TIMED_OUT,
    RUN_NOT_STARTED, // for the reason errno `number`
    RUN_SHUT_DOWN,   // the daemon ends
    RUN_SUPERSEDED,  // by the next one for the same event, with `overlap = kill`
};

struct run_result {
    enum run_outcome outcome;
    int number;
    int64_t runtime;       // ns
    uint32_t attempt;      // which try this was, from 1
    int64_t retry_in;      // ns until the next; 0: it is not tried again
    const char *last_line; // of its stderr: any bytes; NULL: none
    uint64_t untold;       // lines of its output that hooks.line was not told
};

struct runner_hooks {
    int64_t (*now)(void *ctx); // the time, in ns of the loop's clock
    /* A line of output: any bytes. False: it was not taken, and counts as untold. A flood is cut off before it. */
    bool (*line)(void *ctx, const struct action *action, const struct occasion *occasion, enum command_stream stream,
                 const char *line);
    /* A try has ended. */
    void (*ended)(void *ctx, const struct action *action, const struct occasion *occasion,
                  const struct run_result *result);
    /* After something happened from the loop: runner_due() and runner_idle() may have changed. */
    void (*changed)(void *ctx);
    void *ctx;
};

struct runner_config {
    uint32_t max_actions;
    uint32_t max_queued;
    int64_t stop_timeout; // ns
};

/* The watches are borrowed. 0 or negative errno. */
int runner_new(const struct runner_config *config, struct watch_set *watches, const struct runner_hooks *hooks,
               struct runner **out);

/* What still runs is killed and not waited for; nothing is told. */
void runner_free(struct runner *r);

/* New bounds, for what comes. 0, or -ENOMEM with the old ones in force. */
int runner_configure(struct runner *r, const struct runner_config *config);

/*
 * Have the action run; takes a reference. 0; -EALREADY: one for this event still runs or waits, and this one is
 * skipped and counted; -ENOBUFS: the line is full; -ESHUTDOWN; -ENOMEM.
 */
int runner_add(struct runner *r, struct action *action, const struct occasion *occasion);

/* Start and stop what is due, a bounded number at a time. */
void runner_work(struct runner *r, int64_t now);

/* When runner_work() is to be called; INT64_MIN: as soon as possible; TIME_NEVER. */
int64_t runner_due(const struct runner *r);

/* The daemon ends: nothing more is started, what waits is dropped, what runs gets SIGTERM, and SIGKILL in time. */
void runner_stop(struct runner *r, int64_t now);

/* Does nothing run or wait? foreground: for a job that is not in the background. */
bool runner_idle(const struct runner *r, bool foreground);

/* Of all actions; each of them has its own as well. */
struct action_counts runner_counts(const struct runner *r);

#endif
