/*
 * job - one job's state machine.
 *
 * Pure: time is a parameter, in nanoseconds of the loop's clock. A job lives on a grid: tick k is due at
 * t0 + k / rate, exactly. Every step takes the time and returns what happened as events; nothing here writes, waits
 * or schedules. At any time, ticks given plus ticks missed is the number of grid points that the job has passed.
 */
#ifndef TWISTY_JOB_H
#define TWISTY_JOB_H

#include "spec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum job_state { JOB_WAITING, JOB_RUNNING, JOB_PAUSED, JOB_FINISHED, JOB_STOPPED, JOB_FAILED };

enum job_source { SOURCE_CONFIG, SOURCE_CONTROL };

struct pending_tick; // report.c

struct job {
    struct job_spec spec;
    uint64_t id;
    uid_t owner;
    enum job_source source;
    enum job_state state; // JOB_RUNNING also while the delay runs: job_state_at() tells
    int64_t added;        // when it was accepted, or last reset
    int64_t t0;           // the grid's origin
    uint64_t passed;      // grid points behind it: ticks given + missed
    uint64_t missed;
    int64_t since;                // when it was paused or ended
    int64_t reported;             // report.c: when the span began that has the last tick line, or INT64_MIN
    struct pending_tick *pending; // report.c::pending, NULL when no tick line of this job waits
    char *reason;                 // owned; why it failed, else NULL
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

/* Take over *spec (it is zeroed) and start at `now`: t0 is now + delay. */
void job_start(struct job *job, struct job_spec *spec, int64_t now, struct job_events *out);

/* Free what the job owns. */
void job_clear(struct job *job);

/* When it wants job_run() next; TIME_NEVER when paused or ended. */
int64_t job_due(const struct job *job);

/* How long until then, negative when it is late; of a paused job what is left of its interval. TIME_NEVER when ended.
 */
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

/* The state as people see it: waiting until t0, then running. */
enum job_state job_state_at(const struct job *job, int64_t now);

bool job_ended(const struct job *job);

/* Ticks still to come; COUNT_FOREVER for a loop without end. */
uint64_t job_left(const struct job *job);

/* Ticks given so far. */
uint64_t job_ticks(const struct job *job);

#endif
