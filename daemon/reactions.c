#include "reactions.h"

#include "text.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* Actions that are refused because the line is full have one line a span, which says how many. */
#define REFUSAL_SPAN NSEC_PER_SEC

/* A job that is to end as failed, outside of the step in which that was found. */
struct doomed {
    char job[NAME_LEN_MAX + 1];
    uint64_t id;
    char why[NAME_LEN_MAX + 64];
    STAILQ_ENTRY(doomed) link; // reactions::doomed
};

struct reactions {
    struct jobs *jobs;
    const struct loop *loop;
    struct report *report;
    const struct actions *actions, *coming; // either may be looked up, in this order
    struct reactions_hooks hooks;
    struct runner *runner;
    bool stopping;
    STAILQ_HEAD(doomed_list, doomed) doomed; // oldest first
    uint64_t refused;                        // not told yet
    int64_t refusals_from;                   // they may be told from then on
    struct occasion last_refused;
    char last_refused_action[NAME_LEN_MAX + 1];
};

/* The job of an occasion, or NULL when it has gone. */
static struct job *job_of(const struct reactions *r, const struct occasion *occasion)
{
    struct job *job = jobs_find(r->jobs, occasion->job);

    return job != NULL && job->id == occasion->id ? job : NULL;
}

static struct report_run run_of(const struct occasion *occasion, const char *action)
{
    return (struct report_run){occasion->job, occasion->id, action, job_hook_name(occasion->hook)};
}

/* A signal's name as people write it. */
static void name_signal(int number, char *buf, size_t size)
{
    const char *name = sigabbrev_np(number);

    if (name != NULL)
        snprintf(buf, size, "SIG%s", name);
    else
        snprintf(buf, size, "signal-%d", number);
}

/* One word for what happened. */
static void name_status(const struct run_result *result, char *buf, size_t size)
{
    switch (result->outcome) {
    case RUN_EXITED:
        snprintf(buf, size, "%d", result->number);
        break;
    case RUN_SIGNALLED:
        name_signal(result->number, buf, size);
        break;
    case RUN_NOT_STARTED:
        if (result->number == ENOENT || result->number == ENOTDIR)
            snprintf(buf, size, "not-found");
        else if (result->number == EACCES || result->number == ENOEXEC)
            snprintf(buf, size, "not-executable");
        else
            snprintf(buf, size, "not-started");
        break;
    case RUN_TIMED_OUT:
        snprintf(buf, size, "timeout");
        break;
    case RUN_SHUT_DOWN:
        snprintf(buf, size, "shutdown");
        break;
    case RUN_SUCCEEDED:
    case RUN_SUPERSEDED:
        buf[0] = '\0';
        break;
    }
}

static void run_hook(struct reactions *r, struct job *job, const struct occasion *occasion);

/* The job is to end, as soon as no step is under way. Without memory to note it the job goes on. */
static void doom(struct reactions *r, const struct occasion *occasion, const char *action, const char *status)
{
    struct doomed *doomed = calloc(1, sizeof *doomed);

    if (doomed == NULL)
        return;
    memcpy(doomed->job, occasion->job, sizeof doomed->job);
    doomed->id = occasion->id;
    snprintf(doomed->why, sizeof doomed->why, "action %s: %s", action, status);
    STAILQ_INSERT_TAIL(&r->doomed, doomed, link);
}

/* An action has failed for good. That of on-failure itself has no further consequence. */
static void follow_up(struct reactions *r, const struct occasion *occasion, const char *action, const char *status)
{
    struct job *job = job_of(r, occasion);
    struct occasion failure = *occasion;

    if (job == NULL)
        return;
    job_count_failure(job);
    if (r->stopping || occasion->hook == HOOK_FAILURE)
        return;
    failure.hook = HOOK_FAILURE;
    if (job_stops_on_failure(job))
        doom(r, occasion, action, status);
    else
        run_hook(r, job, &failure);
}

/* The line is full: told at once, and then no more often than once a span. */
static void note_refusal(struct reactions *r, const struct occasion *occasion, const char *action)
{
    r->refused++;
    r->last_refused = *occasion;
    snprintf(r->last_refused_action, sizeof r->last_refused_action, "%s", action);
}

/* A failure goes to the log, and to whoever else wants to know. */
static void tell_failure(struct reactions *r, const struct report_run *run, const struct report_failure *failure)
{
    report_action_failed(r->report, run, failure);
    r->hooks.failed(r->hooks.ctx, run, failure);
}

static void tell_refusals(struct reactions *r, int64_t now)
{
    const struct report_run run = run_of(&r->last_refused, r->last_refused_action);

    tell_failure(r, &run,
                 &(struct report_failure){.status = "queue-full",
                                          .refused = r->refused,
                                          .error = "too many actions wait; see max-actions and max-queued"});
    r->refused = 0;
    r->refusals_from = now + REFUSAL_SPAN;
}

/* It could not even be put into the line. */
static void refuse(struct reactions *r, const struct occasion *occasion, const char *action, int error)
{
    const struct report_run run = run_of(occasion, action);
    const char *status = error == -ENOBUFS ? "queue-full" : error == -ENOENT ? "not-found" : "not-started";
    const char *why = error == -ENOENT ? "the configuration has this action no more" : strerror(-error);

    if (error == -ENOBUFS)
        note_refusal(r, occasion, action);
    else
        tell_failure(r, &run, &(struct report_failure){.status = status, .error = why});
    follow_up(r, occasion, action, status);
}

/* Have the action run that the job names for this, if it names one. */
static void run_hook(struct reactions *r, struct job *job, const struct occasion *occasion)
{
    const char *name = job_action(job, occasion->hook);
    struct action *action;

    if (name == NULL)
        return;
    action = actions_find(r->actions, name, NULL);
    if (action == NULL && r->coming != NULL)
        action = actions_find(r->coming, name, NULL);
    int error = action == NULL ? -ENOENT : runner_add(r->runner, action, occasion);
    if (error == -EALREADY)
        job_count_skipped(job);
    else if (error < 0 && error != -ESHUTDOWN)
        refuse(r, occasion, name, error);
}

void reactions_job_event(struct reactions *r, struct job *job, const struct job_event *ev)
{
    static const enum job_hook hooks[] = {
        [EVENT_TICK] = HOOK_TICK, [EVENT_FINISH] = HOOK_FINISH, [EVENT_STOP] = HOOK_STOP};
    struct occasion occasion = {.id = job->id, .left = ev->left, .count = job_count(job), .missed = ev->missed};

    if (ev->type != EVENT_TICK && ev->type != EVENT_FINISH && ev->type != EVENT_STOP)
        return;
    occasion.hook = hooks[ev->type];
    if (r->stopping || job_action(job, occasion.hook) == NULL)
        return;
    occasion.background = job_background(job);
    snprintf(occasion.job, sizeof occasion.job, "%s", job_name(job));
    run_hook(r, job, &occasion);
}

/* Hooks of the runner. */

static int64_t on_now(void *ctx)
{
    const struct reactions *r = ctx;

    return loop_now(r->loop);
}

static bool on_line(void *ctx, const struct action *action, const struct occasion *occasion, enum command_stream stream,
                    const char *line)
{
    const struct reactions *r = ctx;
    const struct report_run run = run_of(occasion, action->name);

    return report_output(r->report, &run, stream == COMMAND_STDERR, line, loop_now(r->loop));
}

static void on_ended(void *ctx, const struct action *action, const struct occasion *occasion,
                     const struct run_result *result)
{
    struct reactions *r = ctx;
    const struct report_run run = run_of(occasion, action->name);
    char status[32], error[256];

    if (result->untold > 0)
        report_untold(r->report, &run, result->untold);
    if (result->outcome == RUN_SUPERSEDED && job_of(r, occasion) != NULL)
        job_count_skipped(job_of(r, occasion));
    if (result->outcome == RUN_SUCCEEDED || result->outcome == RUN_SUPERSEDED)
        return;
    name_status(result, status, sizeof status);
    snprintf(error, sizeof error, "%s: %s", action->exec.items[0], strerror(result->number));
    tell_failure(r, &run,
                 &(struct report_failure){.status = status,
                                          .runtime = result->runtime,
                                          .attempt = result->attempt,
                                          .retry_in = result->retry_in,
                                          .error = result->outcome == RUN_NOT_STARTED ? error : NULL,
                                          .last_line = result->last_line});
    if (result->retry_in == 0)
        follow_up(r, occasion, action->name, status);
}

static void on_changed(void *ctx)
{
    const struct reactions *r = ctx;

    r->hooks.changed(r->hooks.ctx);
}

static struct runner_config runner_config_of(const struct daemon_settings *settings)
{
    return (struct runner_config){settings->max_actions, settings->max_queued, settings->stop_timeout};
}

int reactions_new(struct jobs *jobs, const struct loop *loop, struct report *report,
                  const struct daemon_settings *settings, const struct actions *actions,
                  const struct reactions_hooks *hooks, struct reactions **out)
{
    const struct runner_config runner_config = runner_config_of(settings);
    struct reactions *r = calloc(1, sizeof *r);
    if (r == NULL)
        return -ENOMEM;
    *r = (struct reactions){.jobs = jobs, .loop = loop, .report = report, .actions = actions, .hooks = *hooks};
    STAILQ_INIT(&r->doomed);
    r->refusals_from = INT64_MIN;
    const struct runner_hooks runner_hooks = {
        .now = on_now, .line = on_line, .ended = on_ended, .changed = on_changed, .ctx = r};
    int error = runner_new(&runner_config, loop_watches(loop), &runner_hooks, &r->runner);
    if (error < 0) {
        reactions_free(r);
        return error;
    }
    *out = r;
    return 0;
}

void reactions_free(struct reactions *r)
{
    struct doomed *doomed;

    if (r == NULL)
        return;
    runner_free(r->runner);
    while ((doomed = STAILQ_FIRST(&r->doomed)) != NULL) {
        STAILQ_REMOVE_HEAD(&r->doomed, link);
        free(doomed);
    }
    free(r);
}

int reactions_configure(struct reactions *r, const struct daemon_settings *settings)
{
    const struct runner_config runner_config = runner_config_of(settings);

    return runner_configure(r->runner, &runner_config);
}

void reactions_expect(struct reactions *r, const struct actions *coming)
{
    r->coming = coming;
}

static void end_doomed(struct reactions *r, int64_t now)
{
    struct doomed *doomed;

    while ((doomed = STAILQ_FIRST(&r->doomed)) != NULL) {
        struct job *job = jobs_find(r->jobs, doomed->job);
        STAILQ_REMOVE_HEAD(&r->doomed, link);
        if (job != NULL && job->id == doomed->id)
            jobs_fail(r->jobs, job, now, doomed->why); // one that has ended meanwhile stays as it ended
        free(doomed);
    }
}

void reactions_work(struct reactions *r, int64_t now)
{
    end_doomed(r, now);
    if (r->refused > 0 && r->refusals_from <= now)
        tell_refusals(r, now);
    if (runner_due(r->runner) <= now)
        runner_work(r->runner, now);
}

int64_t reactions_due(const struct reactions *r)
{
    int64_t due = runner_due(r->runner);

    if (!STAILQ_EMPTY(&r->doomed))
        return INT64_MIN;
    return r->refused > 0 && r->refusals_from < due ? r->refusals_from : due;
}

void reactions_stop(struct reactions *r, int64_t now)
{
    r->stopping = true;
    if (r->refused > 0)
        tell_refusals(r, now);
    runner_stop(r->runner, now);
}

bool reactions_idle(const struct reactions *r, bool foreground)
{
    return STAILQ_EMPTY(&r->doomed) && runner_idle(r->runner, foreground);
}

struct action_counts reactions_counts(const struct reactions *r)
{
    return runner_counts(r->runner);
}
