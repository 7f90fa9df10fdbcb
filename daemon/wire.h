/*
 * wire - jobs, actions, events and specs as the JSON of io.twisty.Control.varlink. Pure: the times are parameters.
 */
#ifndef TWISTY_WIRE_H
#define TWISTY_WIRE_H

#include "action.h"
#include "emit.h"
#include "job.h"
#include "report.h"

#include <jansson.h>

/* The loop's clock and the time of day, read together. */
struct wire_clock {
    int64_t now;
    int64_t real_usec;
};

/* The time of day at `when`. */
int64_t wire_usec(const struct wire_clock *clock, int64_t when);

/* Type Job, in an array. */
void wire_job(struct emit *e, const struct job *job, const struct wire_clock *clock);

/* Type ActionCounts, under this key. */
void wire_counts(struct emit *e, const char *key, const struct action_counts *counts);

/* Type Action, in an array, for somebody who may do all or not. */
void wire_action(struct emit *e, const struct action *action, bool privileged);

/* "event": type Event, of a job. */
void wire_event(struct emit *e, const struct job *job, const struct job_event *ev, const struct wire_clock *clock);

void wire_action_failed(struct emit *e, const struct report_run *run, const struct report_failure *failure,
                        const struct wire_clock *clock);

/* "event": type Event, of the daemon or the stream. */
void wire_ready(struct emit *e, const struct wire_clock *clock);
void wire_lost(struct emit *e, uint64_t lost, const struct wire_clock *clock);
void wire_exit(struct emit *e, const char *why, const struct wire_clock *clock);

/* Text from outside, which is escaped if it is not printable. */
void wire_text(struct emit *e, const char *key, const char *text);

/*
 * Type JobSpec into a draft. 0; -EINVAL or -ERANGE with err->why and *field, a member's name as it was sent (valid as
 * long as `object`) or as it is called; -ENOMEM.
 */
int wire_draft(json_t *object, struct spec_draft *draft, const char **field, struct spec_error *err);

#endif
