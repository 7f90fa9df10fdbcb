/*
 * sim_job - the time core on a virtual clock, for tests in other languages.
 *
 * Reads commands from stdin, a line each, fields parted by tabs, and answers each with one line. Times are
 * nanoseconds. What cannot be done is answered with "error ..."; a command that is not known ends the program.
 *
 *   rate TEXT               NS TICKS FORMATTED           what rate_parse() reads, what rate_format() makes of it
 *   span TEXT               NS FORMATTED
 *   due NS TICKS K          when tick K is due, or "never"
 *   by NS TICKS ELAPSED     how many ticks are due by then
 *   new NOW KEY=VALUE...    events                       a job of these keys starts
 *   run NOW                 events                       until nothing is due any more
 *   pause|resume|reset|stop|fail NOW   events
 *   state NOW               STATE LEFT TICKS MISSED DUE  LEFT and DUE may be "never"
 *
 * Events are parted by blanks, each "WORD,left,tick,missed,due,at"; no event is an empty line.
 */
#include "daemon/job.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct traits_pool *pool;
static struct job job;

static void print_number(uint64_t n, uint64_t never, const char *after)
{
    if (n == never)
        printf("never%s", after);
    else
        printf("%" PRIu64 "%s", n, after);
}

static void print_events(const struct job_events *events, bool *first)
{
    for (unsigned i = 0; i < events->n; i++) {
        const struct job_event *ev = &events->ev[i];
        printf("%s%s,", *first ? "" : " ", job_event_name(ev->type));
        print_number(ev->left, COUNT_FOREVER, ",");
        printf("%" PRIu64 ",%" PRIu64 ",%" PRId64 ",%" PRId64, ev->tick, ev->missed, ev->due, ev->at);
        *first = false;
    }
}

static void do_rate(const char *text)
{
    char formatted[QUANTITY_TEXT_MAX];
    struct rate rate;
    const char *why;

    if (rate_parse(text, &rate, &why) < 0)
        printf("error %s", why);
    else
        printf("%" PRIu64 "\t%" PRIu64 "\t%s", rate.ns, rate.ticks, rate_format(rate, formatted, sizeof formatted));
}

static void do_span(const char *text)
{
    char formatted[QUANTITY_TEXT_MAX];
    int64_t ns;
    const char *why;

    if (span_parse(text, &ns, &why) < 0)
        printf("error %s", why);
    else
        printf("%" PRId64 "\t%s", ns, span_format(ns, formatted, sizeof formatted));
}

static int set_key(struct spec_draft *draft, char *pair, struct spec_error *err)
{
    char *value = strchr(pair, '=');

    if (value == NULL)
        return -EINVAL;
    *value++ = '\0';
    for (enum spec_key key = 0; key < KEY_COUNT_OF_KEYS; key++)
        if (strcmp(spec_keys[key].ini, pair) == 0)
            return spec_draft_set(draft, key, value, err);
    return -EINVAL;
}

static void do_new(int64_t now, char *pairs)
{
    struct spec_draft draft = {0};
    struct spec_error err = {KEY_NAME, "is not KEY=VALUE"};
    struct job_spec spec;
    struct job_events events;
    bool first = true;
    int r = 0;

    for (char *pair; r == 0 && (pair = strsep(&pairs, "\t")) != NULL;)
        r = set_key(&draft, pair, &err);
    if (r == 0)
        r = spec_from_draft(&draft, NULL, &spec, &err);
    spec_draft_clear(&draft);
    if (r < 0) {
        printf("error %s: %s", spec_keys[err.key].ini, err.why);
        return;
    }
    job_clear(&job);
    r = job_init(&job, pool, &spec);
    spec_clear(&spec);
    if (r < 0) {
        printf("error out of memory");
        return;
    }
    job_start(&job, now, &events);
    print_events(&events, &first);
}

static void do_run(int64_t now)
{
    struct job_events events;
    bool first = true;

    do {
        job_run(&job, now, &events);
        print_events(&events, &first);
    } while (events.n > 0);
}

static void do_state(int64_t now)
{
    printf("%s\t", job_state_name(job_state_at(&job, now)));
    print_number(job_left(&job), COUNT_FOREVER, "\t");
    printf("%" PRIu64 "\t%" PRIu64 "\t", job_ticks(&job), job.missed);
    print_number((uint64_t)job_due(&job), TIME_NEVER, "");
}

/* A step on the job. False when there is no such command. */
static bool do_step(const char *command, int64_t now)
{
    struct job_events events;
    bool first = true;
    int r = 0;

    if (strcmp(command, "pause") == 0)
        r = job_pause(&job, now, &events);
    else if (strcmp(command, "resume") == 0)
        r = job_resume(&job, now, &events);
    else if (strcmp(command, "reset") == 0)
        job_reset(&job, now, &events);
    else if (strcmp(command, "stop") == 0)
        r = job_stop(&job, now, "control", &events);
    else if (strcmp(command, "fail") == 0)
        r = job_fail(&job, now, "test", &events);
    else
        return false;
    if (r < 0)
        printf("error %s", strerrorname_np(-r));
    else
        print_events(&events, &first);
    return true;
}

static uint64_t take_number(char **fields)
{
    const char *field = strsep(fields, "\t");

    return field != NULL ? strtoull(field, NULL, 10) : 0;
}

/* Quantities by themselves. False when there is no such command. */
static bool do_quantity(const char *command, char *fields)
{
    if (strcmp(command, "rate") == 0) {
        do_rate(fields);
    } else if (strcmp(command, "span") == 0) {
        do_span(fields);
    } else if (strcmp(command, "due") == 0 || strcmp(command, "by") == 0) {
        struct rate rate;
        rate.ns = take_number(&fields);
        rate.ticks = take_number(&fields);
        uint64_t n = take_number(&fields);
        if (*command == 'd')
            print_number((uint64_t)rate_due(rate, n), TIME_NEVER, "");
        else
            printf("%" PRIu64, rate_ticks_by(rate, (int64_t)n));
    } else {
        return false;
    }
    return true;
}

static bool do_command(char *line)
{
    const char *command = strsep(&line, "\t");

    if (line == NULL)
        return false;
    if (do_quantity(command, line))
        return true;
    int64_t now = (int64_t)take_number(&line);
    if (strcmp(command, "new") == 0)
        do_new(now, line);
    else if (strcmp(command, "run") == 0)
        do_run(now);
    else if (strcmp(command, "state") == 0)
        do_state(now);
    else
        return do_step(command, now);
    return true;
}

int main(void)
{
    char *line = NULL;
    size_t room = 0;
    int status = EXIT_SUCCESS;

    pool = traits_pool_new((const uint64_t[]){1, 2});
    if (pool == NULL)
        return EXIT_FAILURE;

    for (ssize_t len; status == EXIT_SUCCESS && (len = getline(&line, &room, stdin)) > 0;) {
        if (line[len - 1] == '\n')
            line[len - 1] = '\0';
        if (do_command(line)) {
            putchar('\n');
        } else {
            fprintf(stderr, "sim_job: no such command\n");
            status = EXIT_FAILURE;
        }
    }
    free(line);
    job_clear(&job);
    traits_pool_free(pool);
    return status;
}
