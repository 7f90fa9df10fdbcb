/*
 * job - one job's state machine.
 *
 * Pure: time is a parameter, in nanoseconds of the loop's clock. A job lives on a grid: tick k is due at
 * t0 + k / rate, exactly. Every step takes the time and returns what happened as events; nothing here writes, waits
 * or schedules. At any time, ticks given plus ticks missed is the number of grid points that the job has passed.
 */
#ifndef TWISTY_JOB_H
#define TWISTY_JOB_H

#include "traits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

enum job_state { JOB_WAITING, JOB_RUNNING, JOB_PAUSED, JOB_FINISHED, JOB_STOPPED, JOB_FAILED };

enum job_source { SOURCE_CONFIG, SOURCE_CONTROL };

struct pending_tick; // report.c
struct waiter;       // waits.c

/* Neighbours in a list of jobs.c, by their slots. */
struct job_link {
    uint32_t prev, next;
};

/* A name of less than this many bytes is in the job itself. */
#define JOB_NAME_NEAR 20

/*
 * A million of these must be small, and a tick must touch little of each. So what is asked of a job lies in three
 * places, and everybody but job.c, jobs.c and names.c asks the functions below:
 *
 * - what differs from job to job is here: name, interval, delay;
 * - what many jobs have alike is in their traits: a new key of struct job_spec is there by itself (traits.h);
 * - what few jobs ever need is in struct job_extra, made when it is needed: job_extra().
 */
struct job {
    // what a tick needs, in the space of one cache line
    const struct traits *traits; // counted
    union {
        int64_t t0;    // of a live job: the grid's origin; while it is paused counted from the pause; TIME_NEVER: it
                       // waits for another job
        int64_t ended; // when it ended
    };
    uint64_t passed; // grid points behind it: ticks given + missed
    uint64_t missed;
    uint64_t rate_ns; // with traits::spec.rate.ticks the rate
    uint64_t id;
    struct job_extra *extra; // owned; NULL: nothing to tell
    uint32_t slot;           // jobs.c: its number in the slab and in the schedule
    uint8_t state;           // enum job_state; JOB_RUNNING also while the delay runs: job_state_at() tells
    uint8_t source;          // enum job_source
    bool in_ended;           // jobs.c
    bool far_name;           // name[] is a pointer to the name, owned

    int64_t added; // when it was accepted, or last reset
    int64_t delay;
    struct job_link by_id_link; // jobs::by_id
    struct job_link ended_link; // jobs::ended
    uid_t owner;
    char name[JOB_NAME_NEAR];
};

_Static_assert(sizeof(struct job) <= 120, "a million jobs are to cost no more than 160 bytes each, all told");

struct job_extra {
    char *reason;                 // owned; why it failed, else NULL
    struct pending_tick *pending; // report.c::pending, NULL when no tick line of this job waits
    int64_t reported;             // report.c: when the span began that has the last tick line, or INT64_MIN
    struct waiter *waiter;        // waits.c, NULL when it waits for no other job
    uint64_t failures;            // of its actions, since it was accepted
    uint64_t skipped;             // runs of its actions, since it was accepted
};

enum job_event_type {
    EVENT_START,
    EVENT_TICK,
    EVENT_MISSED, // ticks passed and no tick carries them
    EVENT_FINISH,
    EVENT_STOP,
    EVENT_PAUSE,
    EVENT_RESUME,
    EVENT_RESET,
    EVENT_FAILED,
};

/* The event's word in the log and on the socket. */
const char *job_event_name(enum job_event_type type);

/* Something that happened to a job. `left`, `tick` and `missed` are as they were just then. */
struct job_event {
    enum job_event_type type;
    uint64_t left;   // ticks still to come; COUNT_FOREVER for a loop without end
    uint64_t tick;   // the tick's number, from 1: counts as the missed policy counts
    uint64_t missed; // TICK, MISSED: passed since the last tick; FINISH, STOP, FAILED: in all
    int64_t due;     // TICK, FINISH: when it should have happened
    int64_t at;      // when it did
    const char *why; // STOP, FAILED: the reason; may be NULL. Valid during the callback
};

/* What one step made happen, in order. */
struct job_events {
    unsigned n;
    struct job_event ev[3];
};

const char *job_state_name(enum job_state state);
bool job_state_parse(const char *text, enum job_state *out);

/*
 * Make a job of zeros the one that the spec asks for, which is read only. It may have no name yet. Only job_start()
 * and job_clear() may follow. 0 or -ENOMEM, with nothing to clear.
 */
int job_init(struct job *job, struct traits_pool *pool, const struct job_spec *spec);

/* Give a job that has none its name. 0 or -ENOMEM. */
int job_set_name(struct job *job, const char *name);

/* Start at `now`: t0 is now + delay. */
void job_start(struct job *job, int64_t now, struct job_events *out);

/*
 * A job's life so far as it can be kept, and taken up again by another process. While it is paused, `since` is any
 * time, and t0 is where the grid's origin would be if the job went on then.
 */
struct job_life {
    enum job_state state;
    bool waits; // for another job; then it is running or paused
    int64_t added;
    int64_t t0;    // not of an ended job, nor of one that waits
    int64_t since; // when it ended, or see above
    uint64_t passed, missed;
    const char *reason; // why it failed, else NULL; the job's
};

struct job_life job_life_of(const struct job *job, int64_t now);

/*
 * Instead of job_start(): go on with a life. What was due by `done` has been done and told: these ticks are not given
 * again, and if that was all, the job has finished when it was due. 0 or -ENOMEM.
 */
int job_take_up(struct job *job, const struct job_life *life, int64_t done);

/* Free what the job owns, and let its traits go. Takes a job of zeros. */
void job_clear(struct job *job);

/* The job's extra state, made if there is none: all at rest. NULL when there is no memory. */
struct job_extra *job_extra(struct job *job);

/* Free the extra state if all of it is at rest. */
void job_shed_extra(struct job *job);

/* When it wants job_run() next; TIME_NEVER when paused or ended. */
int64_t job_due(const struct job *job);

/* How long until then, negative when late; of a paused job what is left of its interval. TIME_NEVER when ended. */
int64_t job_rest(const struct job *job, int64_t now);

/* Do what is due at `now`; nothing when nothing is. With `burst` one tick a call: run again while due. */
void job_run(struct job *job, int64_t now, struct job_events *out);

/* Freeze what is left of the interval. 0, or -EALREADY when paused, -ESRCH when ended. */
int job_pause(struct job *job, int64_t now, struct job_events *out);

/* Go on from there. 0, or -EALREADY when it is not paused, -ESRCH when ended. */
int job_resume(struct job *job, int64_t now, struct job_events *out);

/* Start again from the full count, whatever the state: also an ended job. */
void job_reset(struct job *job, int64_t now, struct job_events *out);

/* End it. -ESRCH when it has ended. `why` is for the log: "control", "reload", "shutdown". */
int job_stop(struct job *job, int64_t now, const char *why, struct job_events *out);

/* Its work failed: it ends as failed, and only it. -ESRCH when it has ended, -ENOMEM when `why` cannot be kept. */
int job_fail(struct job *job, int64_t now, const char *why, struct job_events *out);

/*
 * The job that this one waits for has finished, at `start`: begin then, or as much later as its delay says, which is
 * told as a job's going on. One that is paused begins when it is resumed. Nothing when it waits for none.
 */
void job_release(struct job *job, int64_t start, int64_t now, struct job_events *out);

/* Does it wait for another job? */
bool job_waits(const struct job *job);

/* An action of the job has failed for good, or was skipped. */
void job_count_failure(struct job *job);
void job_count_skipped(struct job *job);

/* The state as people see it: waiting until t0, then running. */
enum job_state job_state_at(const struct job *job, int64_t now);

/* Ticks still to come; COUNT_FOREVER for a loop without end. */
uint64_t job_left(const struct job *job);

/* Ticks given so far. */
uint64_t job_ticks(const struct job *job);

/* From when it was accepted or last reset until it ended, or until now. */
int64_t job_elapsed(const struct job *job, int64_t now);

/* What was asked for; job_init() of it makes the same job. The texts are the job's. */
struct job_spec job_spec_of(const struct job *job);

static inline bool job_state_ended(enum job_state state)
{
    return state >= JOB_FINISHED;
}

static inline bool job_ended(const struct job *job)
{
    return job_state_ended((enum job_state)job->state);
}

/* Empty as long as it has none. */
static inline const char *job_name(const struct job *job)
{
    const char *far;

    if (!job->far_name)
        return job->name;
    memcpy(&far, job->name, sizeof far);
    return far;
}

static inline enum job_kind job_kind(const struct job *job)
{
    return job->traits->spec.kind;
}

/* COUNT_FOREVER for a loop without end. */
static inline uint64_t job_count(const struct job *job)
{
    return job->traits->spec.count;
}

static inline struct rate job_rate(const struct job *job)
{
    return (struct rate){.ns = job->rate_ns, .ticks = job->traits->spec.rate.ticks};
}

static inline bool job_background(const struct job *job)
{
    return job->traits->spec.background;
}

/* Not kept over a restart. */
static inline bool job_transient(const struct job *job)
{
    return job->traits->spec.transient;
}

/* Of a configured one: kept over a restart. */
static inline bool job_resumes(const struct job *job)
{
    return job->traits->spec.resume;
}

static inline struct report_rule job_report_rule(const struct job *job)
{
    return job->traits->spec.report;
}

/* NULL: none. */
static inline const char *job_message(const struct job *job)
{
    return job->traits->spec.message;
}

/* The action that it names for an event; NULL: none. */
static inline const char *job_action(const struct job *job, enum job_hook hook)
{
    return job->traits->spec.actions[hook];
}

static inline bool job_stops_on_failure(const struct job *job)
{
    return job->traits->spec.stop_on_failure;
}

/* The job whose finish starts this one; NULL: none. */
static inline const char *job_after(const struct job *job)
{
    return job->traits->spec.after;
}

static inline uint64_t job_failures(const struct job *job)
{
    return job->extra != NULL ? job->extra->failures : 0;
}

static inline uint64_t job_skipped(const struct job *job)
{
    return job->extra != NULL ? job->extra->skipped : 0;
}

/* Why it failed; else NULL. */
static inline const char *job_reason(const struct job *job)
{
    return job->extra != NULL ? job->extra->reason : NULL;
}

#endif
