#include "job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const state_names[] = {
    [JOB_WAITING] = "waiting",   [JOB_RUNNING] = "running", [JOB_PAUSED] = "paused",
    [JOB_FINISHED] = "finished", [JOB_STOPPED] = "stopped", [JOB_FAILED] = "failed",
};

static const char *const event_names[] = {
    [EVENT_START] = "start",   [EVENT_TICK] = "tick",   [EVENT_MISSED] = "missed",
    [EVENT_FINISH] = "finish", [EVENT_STOP] = "stop",   [EVENT_PAUSE] = "pause",
    [EVENT_RESUME] = "resume", [EVENT_RESET] = "reset", [EVENT_FAILED] = "failed",
};

const char *job_event_name(enum job_event_type type)
{
    return event_names[type];
}

const char *job_state_name(enum job_state state)
{
    return state_names[state];
}

bool job_state_parse(const char *text, enum job_state *out)
{
    for (unsigned i = 0; i < sizeof state_names / sizeof state_names[0]; i++)
        if (strcmp(text, state_names[i]) == 0) {
            *out = (enum job_state)i;
            return true;
        }
    return false;
}

bool job_ended(const struct job *job)
{
    return job->state >= JOB_FINISHED;
}

enum job_state job_state_at(const struct job *job, int64_t now)
{
    return job->state == JOB_RUNNING && now < job->t0 ? JOB_WAITING : job->state;
}

uint64_t job_ticks(const struct job *job)
{
    return job->passed - job->missed;
}

/* How far the job is with its count: with `delay` a missed tick does not count, with the others it does. */
static uint64_t progress(const struct job *job)
{
    return job->spec.missed == MISSED_DELAY ? job_ticks(job) : job->passed;
}

/* A countdown's left is what its last tick said: it stands for the interval that runs. */
uint64_t job_left(const struct job *job)
{
    uint64_t count = job->spec.count, done = progress(job);

    if (job->state == JOB_FINISHED)
        return 0;
    if (count == COUNT_FOREVER)
        return COUNT_FOREVER;
    return job->spec.kind == JOB_COUNTDOWN && done > 0 ? count - done + 1 : count - done;
}

/* The grid point that the job waits for. A loop that does not start at once leaves out point 0. */
static uint64_t next_point(const struct job *job)
{
    return job->passed + (job->spec.kind == JOB_LOOP && !job->spec.immediate);
}

static int64_t grid_time(const struct job *job)
{
    int64_t offset = job->spec.kind == JOB_ONCE ? 0 : rate_due(job->spec.rate, next_point(job));
    int64_t due;

    if (offset == TIME_NEVER || __builtin_add_overflow(job->t0, offset, &due))
        return TIME_NEVER;
    return due;
}

int64_t job_due(const struct job *job)
{
    return job->state == JOB_RUNNING ? grid_time(job) : TIME_NEVER;
}

int64_t job_rest(const struct job *job, int64_t now)
{
    int64_t due = job_ended(job) ? TIME_NEVER : grid_time(job);

    if (due == TIME_NEVER)
        return TIME_NEVER;
    return due - (job->state == JOB_PAUSED ? job->since : now);
}

static struct job_event *emit(const struct job *job, enum job_event_type type, int64_t now, struct job_events *out)
{
    struct job_event *ev = &out->ev[out->n++];

    *ev = (struct job_event){
        .type = type, .left = job_left(job), .tick = progress(job), .missed = job->missed, .due = now, .at = now};
    return ev;
}

static void start(struct job *job, int64_t now)
{
    job->state = JOB_RUNNING;
    job->added = now;
    job->t0 = now + job->spec.delay;
    job->passed = 0;
    job->missed = 0;
    job->reported = INT64_MIN;
    free(job->reason);
    job->reason = NULL;
}

void job_start(struct job *job, struct job_spec *spec, int64_t now, struct job_events *out)
{
    job->spec = *spec;
    *spec = (struct job_spec){0};
    start(job, now);
    out->n = 0;
    emit(job, EVENT_START, now, out);
}

void job_clear(struct job *job)
{
    spec_clear(&job->spec);
    free(job->reason);
    job->reason = NULL;
}

static void end(struct job *job, enum job_state state, int64_t now)
{
    job->state = state;
    job->since = now;
}

static void finish(struct job *job, int64_t due, int64_t now, struct job_events *out)
{
    end(job, JOB_FINISHED, now);
    emit(job, EVENT_FINISH, now, out)->due = due;
}

/* One tick that stands for `points` grid points, all but the last of them missed. */
static void tick(struct job *job, uint64_t points, int64_t due, int64_t now, struct job_events *out)
{
    job->passed += points;
    job->missed += points - 1;
    struct job_event *ev = emit(job, EVENT_TICK, now, out);
    ev->due = due;
    ev->missed = points - 1;
}

/* Grid points that have come by `now` and that the next tick stands for: at least one, since the job is due. */
static uint64_t points_due(const struct job *job, int64_t now)
{
    if (job->spec.missed == MISSED_BURST)
        return 1;
    return rate_ticks_by(job->spec.rate, now - job->t0) - next_point(job);
}

/* Points 0 to N-1 are ticks; the point after the last tick is the finish. */
static void run_countdown(struct job *job, int64_t due, int64_t now, struct job_events *out)
{
    uint64_t points = points_due(job, now), left = job->spec.count - progress(job);

    if (job->spec.missed == MISSED_COALESCE && points > left && left > 0) {
        job->passed += left;
        job->missed += left;
        due = grid_time(job);
        struct job_event *ev = emit(job, EVENT_MISSED, now, out);
        ev->missed = left;
        ev->left = 0; // the last interval has gone by as well
        left = 0;
    }
    if (left == 0)
        finish(job, due, now, out);
    else
        tick(job, points, due, now, out);
}

/* Finished with its last tick. */
static void run_loop(struct job *job, int64_t due, int64_t now, struct job_events *out)
{
    uint64_t points = points_due(job, now), left = job->spec.count - progress(job);
    int64_t end_due = due;

    if (job->spec.missed == MISSED_COALESCE && points >= left) {
        points = left;
        end_due = job->t0 + rate_due(job->spec.rate, next_point(job) + left - 1);
    }
    tick(job, points, due, now, out);
    if (progress(job) == job->spec.count)
        finish(job, end_due, now, out);
}

void job_run(struct job *job, int64_t now, struct job_events *out)
{
    int64_t due = job_due(job);

    out->n = 0;
    if (due == TIME_NEVER || due > now)
        return;
    switch (job->spec.kind) {
    case JOB_COUNTDOWN:
        run_countdown(job, due, now, out);
        break;
    case JOB_LOOP:
        run_loop(job, due, now, out);
        break;
    case JOB_ONCE:
        job->passed = 1;
        finish(job, due, now, out);
        break;
    }
}

int job_pause(struct job *job, int64_t now, struct job_events *out)
{
    out->n = 0;
    if (job_ended(job))
        return -ESRCH;
    if (job->state == JOB_PAUSED)
        return -EALREADY;
    job->state = JOB_PAUSED;
    job->since = now;
    emit(job, EVENT_PAUSE, now, out);
    return 0;
}

/* The grid moves by the time of the pause: what was left of the interval is left of it now, to the nanosecond. */
int job_resume(struct job *job, int64_t now, struct job_events *out)
{
    out->n = 0;
    if (job_ended(job))
        return -ESRCH;
    if (job->state != JOB_PAUSED)
        return -EALREADY;
    job->state = JOB_RUNNING;
    job->t0 += now - job->since;
    emit(job, EVENT_RESUME, now, out);
    return 0;
}

void job_reset(struct job *job, int64_t now, struct job_events *out)
{
    out->n = 0;
    start(job, now);
    emit(job, EVENT_RESET, now, out);
}

int job_stop(struct job *job, int64_t now, const char *why, struct job_events *out)
{
    out->n = 0;
    if (job_ended(job))
        return -ESRCH;
    end(job, JOB_STOPPED, now);
    emit(job, EVENT_STOP, now, out)->why = why;
    return 0;
}

int job_fail(struct job *job, int64_t now, const char *why, struct job_events *out)
{
    out->n = 0;
    if (job_ended(job))
        return -ESRCH;
    char *reason = strdup(why);
    if (reason == NULL)
        return -ENOMEM;
    job->reason = reason;
    end(job, JOB_FAILED, now);
    emit(job, EVENT_FAILED, now, out)->why = job->reason;
    return 0;
}
