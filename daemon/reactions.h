/*
 * reactions - has actions run when the events of jobs come that name them, and sees to it when one fails.
 *
 * A failure is the action's own: it is reported and counted, and what is to follow from it is up to the job's
 * on-failure. No other job notices. Owns the runner; daemon.c gives it its turns.
 */
#ifndef TWISTY_REACTIONS_H
#define TWISTY_REACTIONS_H

#include "jobs.h"
#include "loop.h"
#include "report.h"
#include "runner.h"
#include "settings.h"

struct reactions;

struct reactions_hooks {
    /* A run failed or was refused, which is reported already. May be in a step: nothing is to be done to jobs. */
    void (*failed)(void *ctx, const struct report_run *run, const struct report_failure *failure);
    /* After something happened from the loop: reactions_due() and reactions_idle() may have changed. */
    void (*changed)(void *ctx);
    void *ctx;
};

/* All but the settings and the hooks are borrowed; the actions may change. 0 or negative errno. */
int reactions_new(struct jobs *jobs, const struct loop *loop, struct report *report,
                  const struct daemon_settings *settings, const struct actions *actions,
                  const struct reactions_hooks *hooks, struct reactions **out);

/* What still runs is killed and not waited for. */
void reactions_free(struct reactions *r);

/* New settings. 0, or -ENOMEM with the old ones in force. */
int reactions_configure(struct reactions *r, const struct daemon_settings *settings);

/* Actions that are about to come, where none of the others has the name; borrowed. NULL: none. */
void reactions_expect(struct reactions *r, const struct actions *coming);

/* Something happened to a job; from within a step, so that nothing is done to jobs here. */
void reactions_job_event(struct reactions *r, struct job *job, const struct job_event *ev);

/* Start and stop what is due, a bounded number at a time, and end jobs whose action failed. */
void reactions_work(struct reactions *r, int64_t now);

/* When reactions_work() is to be called; INT64_MIN: as soon as possible; TIME_NEVER. */
int64_t reactions_due(const struct reactions *r);

/* The daemon ends: as runner_stop(). From here on no event has actions run. */
void reactions_stop(struct reactions *r, int64_t now);

/* As runner_idle(), and no job is still to be ended. */
bool reactions_idle(const struct reactions *r, bool foreground);

struct action_counts reactions_counts(const struct reactions *r);

#endif
