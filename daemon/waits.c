#include "waits.h"

#include "chain.h"
#include "text.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* Jobs that are started in one call: about a millisecond. */
#define SLICE_JOBS 256

/* A job that waits; its job_extra has it. */
struct waiter {
    struct job *job;
    struct awaited *awaited;
    LIST_ENTRY(waiter) link; // awaited::waiters
};

/* A name that is waited for. */
struct awaited {
    LIST_HEAD(waiters, waiter) waiters;
    int64_t finish;            // when its job finished while these waited; TIME_NEVER: it did not
    bool in_doubt;             // something happened to that job, or to a waiter
    TAILQ_ENTRY(awaited) link; // waits::doubtful
    char name[NAME_LEN_MAX + 1];
};

struct waits {
    struct jobs *jobs;
    void *by_name; // tsearch(3)'s tree of struct awaited, owned
    TAILQ_HEAD(awaited_list, awaited) doubtful;
    const struct awaited *at_work; // stays even when it is empty
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct awaited *)a)->name, ((const struct awaited *)b)->name);
}

struct waits *waits_new(struct jobs *jobs)
{
    struct waits *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->jobs = jobs;
    TAILQ_INIT(&w->doubtful);
    return w;
}

void waits_free(struct waits *w)
{
    if (w == NULL)
        return;
    tdestroy(w->by_name, free);
    free(w);
}

static struct awaited *find(const struct waits *w, const char *name)
{
    struct awaited key, **found;

    snprintf(key.name, sizeof key.name, "%s", name);
    found = tfind(&key, &w->by_name, compare);
    return found != NULL ? *found : NULL;
}

/* The one of this name, made if there is none; NULL when there is no memory. */
static struct awaited *find_or_make(struct waits *w, const char *name)
{
    struct awaited *awaited = find(w, name);

    if (awaited != NULL)
        return awaited;
    awaited = calloc(1, sizeof *awaited);
    if (awaited == NULL)
        return NULL;
    awaited->finish = TIME_NEVER;
    snprintf(awaited->name, sizeof awaited->name, "%s", name);
    if (tsearch(awaited, &w->by_name, compare) == NULL) {
        free(awaited);
        return NULL;
    }
    return awaited;
}

static void doubt(struct waits *w, struct awaited *awaited)
{
    if (awaited->in_doubt)
        return;
    awaited->in_doubt = true;
    TAILQ_INSERT_TAIL(&w->doubtful, awaited, link);
}

/* Nobody waits for it any more. */
static void drop_if_empty(struct waits *w, struct awaited *awaited)
{
    if (awaited == w->at_work || !LIST_EMPTY(&awaited->waiters))
        return;
    if (awaited->in_doubt)
        TAILQ_REMOVE(&w->doubtful, awaited, link);
    tdelete(awaited, &w->by_name, compare);
    free(awaited);
}

/* It waits no more, for whatever reason. */
static struct awaited *unlink_waiter(struct job *job)
{
    struct waiter *waiter = job->extra->waiter;
    struct awaited *awaited = waiter->awaited;

    LIST_REMOVE(waiter, link);
    free(waiter);
    job->extra->waiter = NULL;
    job_shed_extra(job);
    return awaited;
}

void waits_forget(struct waits *w, struct job *job)
{
    if (job->extra != NULL && job->extra->waiter != NULL)
        drop_if_empty(w, unlink_waiter(job));
}

/* The job waits from now on; whether it has to, waits_work() will see. */
static bool begin_waiting(struct waits *w, struct job *job)
{
    struct waiter *waiter = job_extra(job) != NULL ? calloc(1, sizeof *waiter) : NULL;
    struct awaited *awaited = waiter != NULL ? find_or_make(w, job_after(job)) : NULL;

    if (awaited == NULL) {
        free(waiter);
        job_shed_extra(job);
        return false;
    }
    waiter->job = job;
    waiter->awaited = awaited;
    LIST_INSERT_HEAD(&awaited->waiters, waiter, link);
    job->extra->waiter = waiter;
    doubt(w, awaited);
    return true;
}

bool waits_take_up(struct waits *w)
{
    struct jobs_cursor cursor;
    struct job *job;
    bool ok = true;

    jobs_begin(w->jobs, &cursor);
    while (ok && (job = jobs_next(&cursor)) != NULL)
        if (job_waits(job))
            ok = begin_waiting(w, job);
    jobs_end(&cursor);
    return ok;
}

/* Those who wait for this job want to know how it ended. */
static void note_end(struct waits *w, const struct job *job, const struct job_event *ev)
{
    struct awaited *awaited = w->by_name != NULL ? find(w, job_name(job)) : NULL;

    if (awaited == NULL)
        return;
    if (ev->type == EVENT_FINISH)
        awaited->finish = ev->due;
    doubt(w, awaited);
}

bool waits_job_event(struct waits *w, struct job *job, const struct job_event *ev)
{
    switch (ev->type) {
    case EVENT_START:
    case EVENT_RESET:
        waits_forget(w, job);
        return !job_waits(job) || begin_waiting(w, job);
    case EVENT_FINISH:
    case EVENT_STOP:
    case EVENT_FAILED:
        waits_forget(w, job);
        note_end(w, job, ev);
        break;
    case EVENT_TICK:
    case EVENT_MISSED:
    case EVENT_PAUSE:
    case EVENT_RESUME:
        break;
    }
    return true;
}

bool waits_busy(const struct waits *w)
{
    return !TAILQ_EMPTY(&w->doubtful);
}

/* Its wait is over: it starts at `start`, or fails when that is TIME_NEVER. */
static void end_wait(struct waits *w, struct job *job, int64_t start, int64_t now)
{
    const struct job *other = jobs_find(w->jobs, job_after(job));
    char why[NAME_LEN_MAX + 64];

    if (start == TIME_NEVER) {
        snprintf(why, sizeof why, "the job %s, which it waits for, %s%s", job_after(job),
                 other == NULL ? "is not there" : "has ", other == NULL ? "" : job_state_name(other->state));
        jobs_fail(w->jobs, job, now, why); // without memory it waits on, and can be stopped
        return;
    }
    unlink_waiter(job);
    jobs_release(w->jobs, job, start, now);
}

/* When those who wait for it shall start; TIME_NEVER: never. False: it is not known yet. */
static bool decide(const struct waits *w, const struct awaited *awaited, int64_t now, int64_t *start)
{
    const struct job *job = jobs_find(w->jobs, awaited->name);

    *start = awaited->finish;
    if (awaited->finish != TIME_NEVER || job == NULL)
        return true;
    if (job->state == JOB_FINISHED)
        *start = now;
    return job_ended(job);
}

/* End the waits of those who wait for it, as far as `room` goes. False: there are more of them. */
static bool end_waits(struct waits *w, struct awaited *awaited, int64_t start, int64_t now, unsigned *room)
{
    struct waiter *waiter, *next;

    w->at_work = awaited;
    for (waiter = LIST_FIRST(&awaited->waiters); waiter != NULL && *room > 0; waiter = next, --*room) {
        next = LIST_NEXT(waiter, link);
        end_wait(w, waiter->job, start, now);
    }
    w->at_work = NULL;
    return waiter == NULL;
}

void waits_work(struct waits *w, int64_t now)
{
    struct awaited *awaited;
    unsigned room = SLICE_JOBS;
    int64_t start;

    while (room > 0 && (awaited = TAILQ_FIRST(&w->doubtful)) != NULL) {
        if (decide(w, awaited, now, &start) && !end_waits(w, awaited, start, now, &room))
            return;
        TAILQ_REMOVE(&w->doubtful, awaited, link);
        awaited->in_doubt = false;
        awaited->finish = TIME_NEVER;
        drop_if_empty(w, awaited);
    }
}

/* Jobs that are there and jobs that are to come, which go before them. */
struct view {
    const struct jobs *jobs;
    const struct job_spec **specs; // sorted by name
    size_t n;
};

static const char *next_name(void *ctx, const char *name)
{
    const struct view *view = ctx;
    const struct job_spec *spec = spec_find(view->specs, view->n, name);
    const struct job *job = spec == NULL ? jobs_find(view->jobs, name) : NULL;

    if (spec != NULL)
        return spec->after;
    return job != NULL ? job_after(job) : NULL;
}

/* As waits_check(), of one. A job without a name is waited for by none, so it begins no circle. */
static int check_spec(struct view *view, const struct job_spec *spec, char *path, size_t size)
{
    const struct job *job;

    if (spec->after == NULL)
        return 0;
    if (spec_find(view->specs, view->n, spec->after) == NULL) {
        job = jobs_find(view->jobs, spec->after);
        if (job == NULL)
            return -ENOENT;
        if (job_ended(job) && job->state != JOB_FINISHED)
            return -ESTALE;
    }
    return chain_check(spec->name != NULL ? spec->name : spec->after, next_name, view, path, size);
}

static bool any_waits(const struct job_spec *specs, size_t n)
{
    size_t i = 0;

    while (i < n && specs[i].after == NULL)
        i++;
    return i < n;
}

int waits_check(const struct jobs *jobs, const struct job_spec *specs, size_t n, size_t *failed, const char **nearest,
                char *path, size_t size)
{
    if (!any_waits(specs, n)) // as usual
        return 0;
    const struct job_spec **named = calloc(n + 1, sizeof(struct job_spec *));
    struct view view = {.jobs = jobs, .specs = named};
    int r = named == NULL ? -ENOMEM : 0;

    for (size_t i = 0; r == 0 && i < n; i++)
        if (specs[i].name != NULL)
            named[view.n++] = &specs[i];
    if (r == 0)
        spec_sort(named, view.n);
    for (size_t i = 0; r == 0 && i < n; i++) {
        *failed = i;
        r = check_spec(&view, &specs[i], path, size);
        *nearest = r == -ENOENT ? jobs_nearest(jobs, specs[i].after) : NULL;
    }
    free(named);
    return r;
}
