#include "output.h"

#include <stdio.h>

static void put_done(struct output *out)
{
    (void)out;
    puts("{}");
}

/* An array with a value on each line, which may come in slices: what goes before a value, and the end. */
static void begin_value(struct output *out)
{
    fputs(out->begun ? ",\n" : "[\n", stdout);
    out->begun = true;
}

static void end_array(const struct output *out)
{
    puts(out->begun ? "\n]" : "[]");
}

/* The jobs or actions as the daemon wrote them. */
static void put_list(struct output *out, struct skim_value values, bool last)
{
    struct skim s = skim_array(values);
    struct skim_value value;

    while (skim_next(&s, &value)) {
        begin_value(out);
        fwrite(value.text, 1, value.len, stdout);
    }
    if (last)
        end_array(out);
}

static void put_added(struct output *out, struct skim_value jobs)
{
    put_list(out, jobs, true);
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

/* One value on one line. */
static void put_value(struct output *out, struct skim_value value)
{
    (void)out;
    fwrite(value.text, 1, value.len, stdout);
    putchar('\n');
}

const struct output_ops output_json = {
    .added = put_added,
    .added_many = put_added_many,
    .steered = put_steered,
    .list = put_list,
    .actions = put_list,
    .job = put_value,
    .event = put_value,
    .status = put_value,
    .reloaded = put_value,
    .done = put_done,
};
