#include "output.h"

#include <stdio.h>

/* One value on one line. */
static void put(const json_t *value)
{
    json_dumpf(value, stdout, JSON_COMPACT);
    putchar('\n');
}

static void put_done(struct output *out)
{
    (void)out;
    puts("{}");
}

/* An array with a job on each line, which may come in slices: what goes before a job, and the end. */
static void begin_job(struct output *out)
{
    fputs(out->begun ? ",\n" : "[\n", stdout);
    out->begun = true;
}

static void end_array(const struct output *out)
{
    puts(out->begun ? "\n]" : "[]");
}

/* The jobs as the daemon wrote them. */
static void put_list(struct output *out, struct skim_value jobs, bool last)
{
    struct skim s = skim_array(jobs);
    struct skim_value job;

    while (skim_next(&s, &job)) {
        begin_job(out);
        fwrite(job.text, 1, job.len, stdout);
    }
    if (last)
        end_array(out);
}

static void put_added(struct output *out, const json_t *jobs)
{
    size_t i;
    json_t *job;

    json_array_foreach (jobs, i, job) {
        begin_job(out);
        json_dumpf(job, stdout, JSON_COMPACT);
    }
    end_array(out);
}

static void put_added_many(struct output *out, size_t added, size_t total)
{
    (void)out;
    (void)total;
    printf("{\"added\":%zu}\n", added);
}

static void put_steered(struct output *out, struct skim_value jobs, bool removed, bool last)
{
    (void)removed;
    put_list(out, jobs, last);
}

static void put_value(struct output *out, const json_t *value)
{
    (void)out;
    put(value);
}

const struct output_ops output_json = {
    .added = put_added,
    .added_many = put_added_many,
    .steered = put_steered,
    .list = put_list,
    .job = put_value,
    .event = put_value,
    .status = put_value,
    .reloaded = put_value,
    .done = put_done,
};
