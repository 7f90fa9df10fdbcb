/*
 * progress - how far a long call is, on a terminal's standard error, and only after a second.
 */
#ifndef TWISTYCTL_PROGRESS_H
#define TWISTYCTL_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
    const char *doing; // "adding jobs"
    size_t total;
    int64_t next; // when to tell again, in nanoseconds; INT64_MAX: never
    bool shown;
};

/* Begin. With quiet, or without a terminal, nothing is ever told. */
void progress_begin(struct progress *p, const char *doing, size_t total, bool quiet);

/* So many are done. Tells it ten times a second at most. */
void progress_update(struct progress *p, size_t done);

/* Take the line away again, before anything else is printed. */
void progress_end(struct progress *p);

#endif
