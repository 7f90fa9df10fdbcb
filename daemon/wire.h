/*
 * wire - jobs, events and specs as the JSON of io.twisty.Control.varlink. Pure: the times are parameters.
 */
#ifndef TWISTY_WIRE_H
#define TWISTY_WIRE_H

#include "job.h"

#include <jansson.h>

/* The loop's clock and the time of day, read together. */
struct wire_clock {
    int64_t now;
    int64_t real_usec;
};

/* The time of day at `when`. */
int64_t wire_usec(const struct wire_clock *clock, int64_t when);

/* Type Job. NULL when there is no memory. */
json_t *wire_job(const struct job *job, const struct wire_clock *clock);

/* Type Event, of a job. NULL when there is no memory. */
json_t *wire_event(const struct job *job, const struct job_event *ev, const struct wire_clock *clock);

/* Type Event, of the daemon or the stream. */
json_t *wire_plain_event(const char *event, const struct wire_clock *clock);

/*
 * Type JobSpec into a draft. 0; -EINVAL or -ERANGE with err->why and *field, a member's name as it was sent (valid as
 * long as `object`) or as it is called; -ENOMEM.
 */
int wire_draft(json_t *object, struct spec_draft *draft, const char **field, struct spec_error *err);

/* Text from outside as a JSON string, escaped if it is not printable UTF-8; NULL gives null. */
json_t *wire_text(const char *text);

/* Set a member; takes over the reference. -ENOMEM also when `value` is NULL. */
int wire_set(json_t *object, const char *key, json_t *value);

#endif
