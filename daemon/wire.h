/*
 * wire - jobs, actions, events and specs as the JSON of io.twisty.Control.varlink. Pure: the times are parameters.
 */
#ifndef TWISTY_WIRE_H
#define TWISTY_WIRE_H

#include "action.h"
#include "emit.h"
#include "job.h"
#include "report.h"
#include "varlink.h"

/* The loop's clock and the time of day, read together. */
struct wire_clock {
    int64_t now;
    int64_t real_usec;
};

/* The time of day at `when`. */
int64_t wire_usec(const struct wire_clock *clock, int64_t when);

/* As many bytes as a Job usually has, and some more. */
#define WIRE_JOB_USUAL 768

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
 * Type JobSpec, an object that begins at `s`, into a draft; 0, and `s` is behind it. -EINVAL or -ERANGE with err->why
 * and the member's name in field[]; -ENOMEM.
 */
int wire_draft(struct skim *s, struct spec_draft *draft, char field[static VARLINK_NAME_ROOM], struct spec_error *err);

#endif
