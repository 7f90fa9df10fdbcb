/*
 * output - what twistyctl prints of the daemon's replies: for people (output_table.c, output_list.c, output_event.c)
 * or as JSON (output_json.c).
 *
 * The values are those of io.twisty.Control. Everything goes to stdout; who calls looks for write errors. A member
 * that is missing or of another type is printed as absent: the daemon may be newer or older than twistyctl.
 */
#ifndef TWISTYCTL_OUTPUT_H
#define TWISTYCTL_OUTPUT_H

#include "daemon/skim.h"

#include <stdbool.h>

/* At most. The first slice fixes their widths: a list of any length needs no more memory than a slice. */
#define LIST_COLUMNS 10

struct output {
    const struct output_ops *ops;
    bool quiet;
    bool begun; // of what comes in slices: something is out
    int widths[LIST_COLUMNS];
};

struct output_ops {
    void (*added)(struct output *out, struct skim_value jobs);
    /* So many of the jobs of a file; the others were there already. */
    void (*added_many)(struct output *out, size_t added, size_t total);
    /* A slice of the jobs that were stopped, paused, ...; `removed`: they are no more; `last`: it is the last one. */
    void (*steered)(struct output *out, struct skim_value jobs, bool removed, bool last);
    /* A slice of a list, an array of jobs. */
    void (*list)(struct output *out, struct skim_value jobs, bool last);
    /* The same of actions. */
    void (*actions)(struct output *out, struct skim_value actions, bool last);
    void (*job)(struct output *out, struct skim_value job);
    void (*event)(struct output *out, struct skim_value event);
    void (*status)(struct output *out, struct skim_value status);
    void (*reloaded)(struct output *out, struct skim_value result);
    void (*done)(struct output *out);
};

extern const struct output_ops output_table;
extern const struct output_ops output_json;

/* Slices of lists as tables: output_list.c. */
void output_list_jobs(struct output *out, struct skim_value jobs, bool last);
void output_list_actions(struct output *out, struct skim_value actions, bool last);

/* An event as a line of the log: output_event.c. */
void output_event_line(struct output *out, struct skim_value event);

#endif
