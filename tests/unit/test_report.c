/* Job events to lines and fields, read back from a journal socket; which ticks are written when not all can be. */
#include "receiver.h"

#include "daemon/report.h"
#include "daemon/text.h"

#include <event2/event.h>
#include <fcntl.h>
#include <syslog.h>

#define SEC NSEC_PER_SEC
#define MS  NSEC_PER_MSEC

/* The loop's clock does not begin at zero. */
#define T0 (INT64_C(1234567) * SEC)

struct fixture {
    char dir[64];
    struct receiver journal;
    struct entry entry; // the last line that was read
    struct event_base *base;
    struct watch_set *watches;
    struct sink *sink;
    struct report *report;
    struct traits_pool *pool;
    int64_t now;
    uint64_t last_id;
    int saved_stderr;
};

static void on_ready(void *ctx)
{
    struct fixture *f = ctx;

    report_flush(f->report, f->now);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct sink_paths paths = {.journal = f->journal.address.sun_path};

    make_test_dir(f->dir, sizeof f->dir);
    receiver_init(&f->journal, f->dir, "journal");
    f->base = event_base_new();
    f->watches = watch_set_new(f->base);
    f->pool = traits_pool_new((const uint64_t[]){1, 2});
    assert_non_null(f->pool);
    f->now = T0;
    f->saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    assert_int_equal(sink_open(LOG_TARGET_JOURNAL, &paths, f->watches, on_ready, f, &f->sink), 0);
    f->report = report_new(f->sink, &(struct report_config){.log_level = LOG_INFO});
    *state = f;
    return f->report ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    report_free(f->report);
    traits_pool_free(f->pool);
    sink_close(f->sink, 0);
    dup2(f->saved_stderr, STDERR_FILENO);
    close(f->saved_stderr);
    watch_set_free(f->watches);
    event_base_free(f->base);
    receiver_stop(&f->journal);
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
    return 0;
}

static void configure(struct fixture *f, int log_level, uint32_t limit)
{
    report_configure(f->report, &(struct report_config){.log_level = log_level, .limit = limit});
}

static void tell(struct fixture *f, struct job *job, const struct job_events *events)
{
    for (unsigned i = 0; i < events->n; i++)
        report_job(f->report, job, &events->ev[i]);
}

/* It borrows the name. */
static struct job_spec spec_of(enum job_kind kind, const char *name, uint64_t count, const char *rate)
{
    struct job_spec spec = {.name = (char *)name, .count = count, .kind = kind, .immediate = true};
    const char *why;

    assert_int_equal(rate_parse(rate, &spec.rate, &why), 0);
    return spec;
}

/* Start a job now and report it. */
static void start(struct fixture *f, struct job *job, struct job_spec spec)
{
    struct job_events events;

    *job = (struct job){0};
    assert_int_equal(job_init(job, f->pool, &spec), 0);
    job->id = ++f->last_id;
    job_start(job, f->now, &events);
    tell(f, job, &events);
}

/* Time goes on; the job does what is due. */
static void run_at(struct fixture *f, struct job *job, int64_t when)
{
    struct job_events events;

    f->now = when;
    job_run(job, when, &events);
    tell(f, job, &events);
}

static void clear(struct fixture *f, struct job *job)
{
    report_forget(f->report, job);
    job_clear(job);
}

/* Read an entry, if there is one. */
static bool take_line(struct fixture *f)
{
    if (!receiver_take(&f->journal))
        return false;
    entry_parse(&f->entry, f->journal.bytes, f->journal.len);
    return true;
}

static void expect_line(struct fixture *f, const char *expected)
{
    if (!take_line(f))
        fail_msg("no line, instead of: %s", expected);
    assert_string_equal(entry_get(&f->entry, "MESSAGE"), expected);
}

static void expect_priority(const struct fixture *f, const char *expected)
{
    assert_string_equal(entry_get(&f->entry, "PRIORITY"), expected);
}

static void expect_nothing(struct fixture *f)
{
    if (take_line(f))
        fail_msg("unexpected: %s", entry_get(&f->entry, "MESSAGE"));
}

/* Run the loop and read the next line. */
static void await_line(struct fixture *f)
{
    for (int turns = 0; !take_line(f); turns++) {
        if (turns == 1000)
            fail_msg("no line came");
        event_base_loop(f->base, EVLOOP_NONBLOCK);
    }
}

/* A tick made by hand; the job's own state does not matter. */
static void tick(struct fixture *f, struct job *job, uint64_t number, int64_t at)
{
    struct job_event ev = {.type = EVENT_TICK, .left = COUNT_FOREVER, .tick = number, .due = at, .at = at, .missed = 0};

    report_job(f->report, job, &ev);
}

static void tick_with_missed(struct fixture *f, struct job *job, uint64_t number, uint64_t missed)
{
    struct job_event ev = {
        .type = EVENT_TICK, .left = COUNT_FOREVER, .tick = number, .due = f->now, .at = f->now, .missed = missed};

    report_job(f->report, job, &ev);
}

static void countdown_as_designed(void **state)
{
    static const char *const expected[] = {
        "start job=tea id=1 kind=countdown count=5 rate=0.5/s interval=2s source=config",
        "tick job=tea id=1 left=5 count=5",
        "tick job=tea id=1 left=4 count=5",
        "tick job=tea id=1 left=3 count=5",
        "tick job=tea id=1 left=2 count=5",
        "tick job=tea id=1 left=1 count=5",
        "finish job=tea id=1 count=5 missed=0 elapsed=10s",
    };
    struct fixture *f = *state;
    struct job job;

    start(f, &job, spec_of(JOB_COUNTDOWN, "tea", 5, "0.5"));
    for (int64_t i = 0; i <= 5; i++)
        run_at(f, &job, T0 + i * 2 * SEC + 400000); // never quite on time; elapsed is rounded
    for (unsigned i = 0; i < ARRAY_SIZE(expected); i++) {
        expect_line(f, expected[i]);
        expect_priority(f, i == 0 || i == 6 ? "5" : "6");
    }
    expect_nothing(f);
    clear(f, &job);
}

static void loops_and_once(void **state)
{
    struct fixture *f = *state;
    struct job_spec spec = spec_of(JOB_LOOP, "hb", COUNT_FOREVER, "1/90s");
    struct job loop, bounded, once;

    spec.message = (char *)"still \"here\"";
    start(f, &loop, spec);
    run_at(f, &loop, T0);
    expect_line(f, "start job=hb id=1 kind=loop rate=40/h interval=\"1min 30s\" source=config"
                   " msg=\"still \\\"here\\\"\"");
    expect_line(f, "tick job=hb id=1 tick=1 msg=\"still \\\"here\\\"\"");
    start(f, &bounded, spec_of(JOB_LOOP, "twice", 2, "1"));
    run_at(f, &bounded, T0);
    run_at(f, &bounded, T0 + SEC);
    expect_line(f, "start job=twice id=2 kind=loop count=2 rate=1/s interval=1s source=config");
    expect_line(f, "tick job=twice id=2 tick=1 count=2");
    expect_line(f, "tick job=twice id=2 tick=2 count=2");
    expect_line(f, "finish job=twice id=2 count=2 missed=0 elapsed=1s");
    spec = spec_of(JOB_ONCE, "hello", 1, "1");
    spec.delay = 1500 * MS;
    start(f, &once, spec);
    run_at(f, &once, f->now + 1500 * MS);
    expect_line(f, "start job=hello id=3 kind=once delay=1.5s source=config");
    expect_line(f, "finish job=hello id=3 count=1 missed=0 elapsed=1.5s");
    expect_nothing(f);
    clear(f, &loop);
    clear(f, &bounded);
    clear(f, &once);
}

static void steering_lines(void **state)
{
    struct fixture *f = *state;
    struct job_events events;
    struct job job;

    start(f, &job, spec_of(JOB_COUNTDOWN, "tea", 5, "1"));
    run_at(f, &job, T0 + 2 * SEC);
    expect_line(f, "start job=tea id=1 kind=countdown count=5 rate=1/s interval=1s source=config");
    expect_line(f, "tick job=tea id=1 left=3 count=5 missed=2");
    expect_priority(f, "4");
    assert_int_equal(job_pause(&job, f->now, &events), 0);
    tell(f, &job, &events);
    expect_line(f, "pause job=tea id=1 left=3 count=5");
    expect_priority(f, "5");
    assert_int_equal(job_resume(&job, f->now, &events), 0);
    tell(f, &job, &events);
    expect_line(f, "resume job=tea id=1 left=3 count=5");
    expect_priority(f, "5");
    assert_int_equal(job_stop(&job, f->now + 3 * MS, "control", &events), 0);
    tell(f, &job, &events);
    expect_line(f, "stop job=tea id=1 left=3 count=5 missed=2 elapsed=2.003s why=control");
    expect_priority(f, "5");
    job_reset(&job, f->now, &events);
    job.source = SOURCE_CONTROL;
    tell(f, &job, &events);
    expect_line(f, "reset job=tea id=1 left=5 count=5");
    expect_priority(f, "5");
    assert_int_equal(job_fail(&job, f->now + SEC, "exit status 3", &events), 0);
    tell(f, &job, &events);
    expect_line(f, "failed job=tea id=1 left=5 count=5 missed=0 elapsed=1s reason=\"exit status 3\"");
    expect_priority(f, "3");
    clear(f, &job);
    start(f, &job, spec_of(JOB_COUNTDOWN, "late", 2, "1"));
    run_at(f, &job, f->now + 60 * SEC);
    expect_line(f, "start job=late id=2 kind=countdown count=2 rate=1/s interval=1s source=config");
    expect_line(f, "missed job=late id=2 left=0 count=2 missed=2");
    expect_priority(f, "4");
    expect_line(f, "finish job=late id=2 count=2 missed=2 elapsed=1min late=58s");
    clear(f, &job);
}

static void fields_of_a_tick(void **state)
{
    struct fixture *f = *state;
    struct job job;

    start(f, &job, spec_of(JOB_COUNTDOWN, "tea", 5, "1"));
    assert_true(take_line(f));
    run_at(f, &job, T0 + SEC + 250 * MS);
    expect_line(f, "tick job=tea id=1 left=4 count=5 missed=1");
    assert_string_equal(entry_get(&f->entry, "SYSLOG_IDENTIFIER"), "twistyd");
    assert_string_equal(entry_get(&f->entry, "MESSAGE_ID"), report_events[EVENT_TICK].message_id);
    assert_string_equal(entry_get(&f->entry, "TWISTY_EVENT"), "tick");
    assert_string_equal(entry_get(&f->entry, "TWISTY_JOB"), "tea");
    assert_string_equal(entry_get(&f->entry, "TWISTY_ID"), "1");
    assert_string_equal(entry_get(&f->entry, "TWISTY_KIND"), "countdown");
    assert_string_equal(entry_get(&f->entry, "TWISTY_LEFT"), "4");
    assert_string_equal(entry_get(&f->entry, "TWISTY_COUNT"), "5");
    assert_string_equal(entry_get(&f->entry, "TWISTY_MISSED"), "1");
    assert_string_equal(entry_get(&f->entry, "TWISTY_LATE_USEC"), "1250000");
    clear(f, &job);
}

static void fields_of_an_endless_loop(void **state)
{
    struct fixture *f = *state;
    struct job job;

    start(f, &job, spec_of(JOB_LOOP, "hb", COUNT_FOREVER, "1"));
    assert_true(take_line(f));
    assert_string_equal(entry_get(&f->entry, "TWISTY_EVENT"), "start");
    assert_string_equal(entry_get(&f->entry, "TWISTY_KIND"), "loop");
    assert_string_equal(entry_get(&f->entry, "TWISTY_MISSED"), "0");
    assert_null(entry_get(&f->entry, "TWISTY_LEFT"));
    assert_null(entry_get(&f->entry, "TWISTY_COUNT"));
    assert_null(entry_get(&f->entry, "TWISTY_LATE_USEC"));
    clear(f, &job);
}

/* What a hostile user may write into a message or a child's stderr into a reason. */
static void nothing_from_outside_forges_a_line(void **state)
{
    static const char hostile[] = "a\nfinish job=tea\r\x1b[2J \"q\\ \xff\xc3\xa4\xc2\x85\x7f";
    static const char escaped[] = "a\\x0afinish job=tea\\x0d\\x1b[2J \\\"q\\\\ \\xff\xc3\xa4\\xc2\\x85\\x7f";
    struct fixture *f = *state;
    struct job_events events;
    struct job_spec spec = spec_of(JOB_LOOP, "Z.x_y-9", COUNT_FOREVER, "1");
    struct job job;
    char line[512];

    spec.message = (char *)hostile;
    start(f, &job, spec);
    snprintf(line, sizeof line, "start job=Z.x_y-9 id=1 kind=loop rate=1/s interval=1s source=config msg=\"%s\"",
             escaped);
    expect_line(f, line);
    assert_int_equal(job_fail(&job, f->now, hostile, &events), 0);
    tell(f, &job, &events);
    snprintf(line, sizeof line, "failed job=Z.x_y-9 id=1 tick=0 missed=0 elapsed=0s reason=\"%s\" msg=\"%s\"", escaped,
             escaped);
    expect_line(f, line);
    job_reset(&job, f->now, &events);
    assert_int_equal(job_stop(&job, f->now, hostile, &events), 0);
    tell(f, &job, &events);
    snprintf(line, sizeof line, "stop job=Z.x_y-9 id=1 tick=0 missed=0 elapsed=0s why=\"%s\" msg=\"%s\"", escaped,
             escaped);
    expect_line(f, line);
    clear(f, &job);
}

static void the_longest_line_is_whole(void **state)
{
    struct fixture *f = *state;
    struct job_spec spec =
        spec_of(JOB_COUNTDOWN, "a123456789012345678901234567890123456789", COUNT_MAX, "1/1.234567891s");
    char reason[5000], message[MESSAGE_LEN_MAX + 1];
    struct job_events events;
    struct job job;
    const char *line;

    memset(message, 1, sizeof message);
    message[MESSAGE_LEN_MAX] = '\0';
    memset(reason, '"', sizeof reason);
    reason[sizeof reason - 1] = '\0';
    spec.message = message;
    f->last_id = UINT64_MAX - 1;
    start(f, &job, spec);
    assert_true(take_line(f));
    assert_int_equal(job_fail(&job, f->now, reason, &events), 0);
    events.ev[0].missed = COUNT_MAX;
    events.ev[0].at += SPAN_MAX;
    tell(f, &job, &events);
    assert_true(take_line(f));
    line = entry_get(&f->entry, "MESSAGE");
    assert_true(strlen(line) < SINK_LINE_MAX);
    assert_non_null(strstr(line, "\\\"\" msg=\"\\x01"));
    assert_string_equal(line + strlen(line) - 9, "\\x01\\x01\"");
    clear(f, &job);
}

static void rule_none_and_every_n(void **state)
{
    struct fixture *f = *state;
    struct job_spec spec = spec_of(JOB_LOOP, "hb", COUNT_FOREVER, "1");
    struct job none, sixth;

    spec.report = (struct report_rule){.when = REPORT_NONE};
    start(f, &none, spec);
    assert_true(take_line(f));
    tick(f, &none, 1, f->now);
    expect_nothing(f);
    tick_with_missed(f, &none, 4, 2);
    expect_line(f, "tick job=hb id=1 tick=4 missed=2");
    spec.report = (struct report_rule){.when = REPORT_EVERY_N, .every = 6};
    start(f, &sixth, spec);
    assert_true(take_line(f));
    for (uint64_t i = 1; i <= 13; i++)
        tick(f, &sixth, i, f->now);
    expect_line(f, "tick job=hb id=2 tick=1");
    expect_line(f, "tick job=hb id=2 tick=7");
    expect_line(f, "tick job=hb id=2 tick=13");
    expect_nothing(f);
    tick_with_missed(f, &sixth, 15, 1);
    expect_line(f, "tick job=hb id=2 tick=15 missed=1");
    clear(f, &none);
    clear(f, &sixth);
}

static void tick_late(struct fixture *f, struct job *job, uint64_t number, int64_t due, int64_t late)
{
    struct job_event ev = {
        .type = EVENT_TICK, .left = COUNT_FOREVER, .tick = number, .due = due, .at = due + late, .missed = 0};

    report_job(f->report, job, &ev);
}

/* A line a span, and the right one, however late the ticks happen to be. */
static void rule_every_span(void **state)
{
    struct fixture *f = *state;
    struct job_spec spec = spec_of(JOB_LOOP, "hb", COUNT_FOREVER, "1");
    struct job_events events;
    struct job job;

    spec.report = (struct report_rule){.when = REPORT_EVERY_SPAN, .every = 10 * SEC};
    start(f, &job, spec);
    assert_true(take_line(f));
    for (uint64_t i = 1; i <= 31; i++)
        tick_late(f, &job, i, T0 + (int64_t)(i - 1) * SEC, i == 1 ? 500 * MS : i % 2 ? 3 * MS : 1 * MS);
    expect_line(f, "tick job=hb id=1 tick=1");
    expect_line(f, "tick job=hb id=1 tick=11");
    expect_line(f, "tick job=hb id=1 tick=21");
    expect_line(f, "tick job=hb id=1 tick=31");
    expect_nothing(f);
    for (uint64_t i = 32; i <= 100; i++) // a burst: all at once
        tick_late(f, &job, i, T0 + (int64_t)(i - 1) * SEC, (int64_t)(100 - i) * SEC);
    expect_line(f, "tick job=hb id=1 tick=32");
    expect_nothing(f);
    tick_with_missed(f, &job, 99, 7);
    expect_line(f, "tick job=hb id=1 tick=99 missed=7");
    job_reset(&job, T0 + 101 * SEC, &events);
    tick(f, &job, 1, T0 + 101 * SEC);
    expect_line(f, "tick job=hb id=1 tick=1");
    clear(f, &job);
}

static void log_level_filters(void **state)
{
    struct fixture *f = *state;
    struct job_events events;
    struct job job;

    configure(f, LOG_NOTICE, 0);
    start(f, &job, spec_of(JOB_COUNTDOWN, "tea", 5, "1"));
    assert_true(take_line(f));
    run_at(f, &job, T0);
    expect_nothing(f);
    configure(f, LOG_ERR, 0);
    report_daemon(f->report, LOG_NOTICE, "ready", "jobs=%d", 1);
    assert_int_equal(job_pause(&job, f->now, &events), 0);
    tell(f, &job, &events);
    expect_nothing(f);
    assert_int_equal(job_fail(&job, f->now, "x", &events), 0);
    tell(f, &job, &events);
    expect_line(f, "failed job=tea id=1 left=5 count=5 missed=0 elapsed=0s reason=\"x\"");
    clear(f, &job);
}

static void limit_keeps_the_latest(void **state)
{
    struct fixture *f = *state;
    struct job a, b;
    int64_t due;

    configure(f, LOG_INFO, 2);
    start(f, &a, spec_of(JOB_LOOP, "a", COUNT_FOREVER, "1"));
    start(f, &b, spec_of(JOB_LOOP, "b", COUNT_FOREVER, "1"));
    assert_true(take_line(f) && take_line(f));
    assert_true(report_due(f->report) == TIME_NEVER);
    tick(f, &a, 1, f->now);
    tick(f, &a, 2, f->now);
    expect_line(f, "tick job=a id=1 tick=1");
    expect_line(f, "tick job=a id=1 tick=2"); // a second's worth at once
    tick(f, &a, 3, f->now);
    tick_with_missed(f, &a, 6, 2);
    tick(f, &b, 1, f->now);
    tick_with_missed(f, &a, 9, 1);
    expect_nothing(f);
    assert_int_equal(report_suppressed(f->report), 2);
    due = report_due(f->report);
    assert_int_equal(due, T0 + 500 * MS);
    report_flush(f->report, due - 1);
    expect_nothing(f);
    report_flush(f->report, due);
    expect_line(f, "tick job=a id=1 tick=9 missed=3 suppressed=2");
    expect_nothing(f);
    assert_int_equal(report_due(f->report), T0 + 1000 * MS);
    report_flush(f->report, T0 + 1000 * MS);
    expect_line(f, "tick job=b id=2 tick=1");
    assert_true(report_due(f->report) == TIME_NEVER);
    tick(f, &a, 10, T0 + 1500 * MS);
    expect_line(f, "tick job=a id=1 tick=10");
    clear(f, &a);
    clear(f, &b);
}

/* However fast a neighbour ticks, each job has its turn. */
static void limit_is_shared_in_turns(void **state)
{
    struct fixture *f = *state;
    struct job jobs[10];
    unsigned lines[ARRAY_SIZE(jobs)] = {0};

    configure(f, LOG_INFO, 1);
    for (unsigned i = 0; i < ARRAY_SIZE(jobs); i++) {
        start(f, &jobs[i], spec_of(JOB_LOOP, (const char[]){(char)('a' + i), '\0'}, COUNT_FOREVER, "1"));
        assert_true(take_line(f));
    }
    for (uint64_t round = 1; round <= 30; round++) {
        f->now = T0 + (int64_t)round * SEC;
        report_flush(f->report, f->now);
        for (unsigned i = 0; i < ARRAY_SIZE(jobs); i++)
            tick(f, &jobs[i], round, f->now);
        while (take_line(f))
            lines[*entry_get(&f->entry, "TWISTY_JOB") - 'a']++;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(jobs); i++) {
        assert_int_equal(lines[i], 3);
        clear(f, &jobs[i]);
        assert_true(take_line(f)); // what was kept of it
    }
}

static void other_lines_are_not_limited_and_stay_in_order(void **state)
{
    struct fixture *f = *state;
    struct job_events events;
    struct job job;

    configure(f, LOG_INFO, 1);
    start(f, &job, spec_of(JOB_COUNTDOWN, "tea", 5, "1000"));
    for (int i = 0; i <= 5; i++)
        run_at(f, &job, T0 + i * MS);
    expect_line(f, "start job=tea id=1 kind=countdown count=5 rate=1000/s interval=1ms source=config");
    expect_line(f, "tick job=tea id=1 left=5 count=5");
    expect_line(f, "tick job=tea id=1 left=1 count=5 suppressed=3");
    expect_line(f, "finish job=tea id=1 count=5 missed=0 elapsed=5ms");
    assert_true(report_due(f->report) == TIME_NEVER);
    job_reset(&job, f->now, &events);
    tell(f, &job, &events);
    run_at(f, &job, f->now);
    expect_line(f, "reset job=tea id=1 left=5 count=5");
    expect_nothing(f);
    clear(f, &job);
    expect_line(f, "tick job=tea id=1 left=5 count=5");
}

/* A job whose first tick is written, and whose second one is over the limit. */
static void start_and_keep_a_tick(struct fixture *f, struct job *job)
{
    configure(f, LOG_INFO, 1);
    start(f, job, spec_of(JOB_LOOP, "a", COUNT_FOREVER, "1"));
    tick(f, job, 1, f->now);
    tick(f, job, 2, f->now);
}

static void no_limit_any_more(void **state)
{
    struct fixture *f = *state;
    struct job job;

    start_and_keep_a_tick(f, &job);
    assert_true(take_line(f) && take_line(f));
    expect_nothing(f);
    configure(f, LOG_INFO, 0);
    assert_true(report_due(f->report) <= f->now);
    report_flush(f->report, f->now);
    expect_line(f, "tick job=a id=1 tick=2");
    clear(f, &job);
}

static bool stuck(const struct fixture *f)
{
    struct sink_stats stats;

    sink_stats(f->sink, &stats);
    return stats.stuck;
}

#define STUCK_JOBS 40

/* The lines of the jobs of a stuck receiver, as they come when it reads at last. */
static void read_after_stuck(struct fixture *f, struct job *jobs, uint64_t last_tick)
{
    unsigned starts = 0, ticks = 0, finishes = 0;
    uint64_t told = 0;

    while (finishes < STUCK_JOBS / 2 || ticks < STUCK_JOBS) {
        const char *line, *event, *suppressed;

        await_line(f);
        line = entry_get(&f->entry, "MESSAGE");
        event = entry_get(&f->entry, "TWISTY_EVENT");
        suppressed = strstr(line, " suppressed=");
        starts += strcmp(event, "start") == 0;
        finishes += strcmp(event, "finish") == 0;
        if (strcmp(event, "tick") == 0) {
            char expected[64];

            snprintf(expected, sizeof expected, " tick=%llu", (unsigned long long)last_tick);
            assert_non_null(strstr(line, expected));
            ticks++;
            told += suppressed ? strtoull(suppressed + strlen(" suppressed="), NULL, 10) : 0;
        }
    }
    event_base_loop(f->base, EVLOOP_NONBLOCK);
    expect_nothing(f);
    assert_int_equal(starts, STUCK_JOBS);
    assert_int_equal(ticks, STUCK_JOBS);
    assert_int_equal(finishes, STUCK_JOBS / 2);
    assert_int_equal(told, STUCK_JOBS * (last_tick - 1));
    assert_int_equal(report_suppressed(f->report), told);
    for (unsigned i = 0; i < STUCK_JOBS; i++)
        assert_null(jobs[i].extra);
}

static void stuck_receiver_gets_the_latest(void **state)
{
    struct fixture *f = *state;
    struct job jobs[STUCK_JOBS];
    struct sink_stats stats;
    char name[16];

    while (!stuck(f))
        report_daemon(f->report, LOG_NOTICE, "ready", "filling=yes");
    for (unsigned i = 0; i < STUCK_JOBS; i++) {
        snprintf(name, sizeof name, "job-%u", i);
        start(f, &jobs[i], spec_of(JOB_LOOP, name, COUNT_FOREVER, "1"));
    }
    for (uint64_t n = 1; n <= 1000; n++)
        for (unsigned i = 0; i < STUCK_JOBS; i++)
            tick(f, &jobs[i], n, f->now);
    assert_true(report_due(f->report) == TIME_NEVER); // the sink will tell
    for (unsigned i = 0; i < STUCK_JOBS; i += 2) {
        struct job_event ev = {.type = EVENT_FINISH, .left = 0, .tick = 1000, .due = f->now, .at = f->now};

        report_job(f->report, &jobs[i], &ev);
    }
    sink_stats(f->sink, &stats);
    assert_int_equal(stats.lost, 0);
    read_after_stuck(f, jobs, 1000);
    tick(f, &jobs[1], 1001, f->now);
    expect_line(f, "tick job=job-1 id=2 tick=1001");
    for (unsigned i = 0; i < STUCK_JOBS; i++)
        clear(f, &jobs[i]);
}

/* A tick is written before the finish of its job, and all of it in order, when the receiver is back. */
static void stuck_receiver_keeps_a_jobs_order(void **state)
{
    struct fixture *f = *state;
    struct job job;

    while (!stuck(f))
        report_daemon(f->report, LOG_NOTICE, "ready", "filling=yes");
    start(f, &job, spec_of(JOB_COUNTDOWN, "tea", 5, "1"));
    for (int i = 0; i <= 5; i++)
        run_at(f, &job, T0 + i * SEC);
    do
        await_line(f);
    while (strcmp(entry_get(&f->entry, "TWISTY_EVENT"), "ready") == 0);
    assert_string_equal(entry_get(&f->entry, "TWISTY_EVENT"), "start");
    await_line(f);
    assert_string_equal(entry_get(&f->entry, "MESSAGE"), "tick job=tea id=1 left=1 count=5 suppressed=4");
    await_line(f);
    assert_string_equal(entry_get(&f->entry, "TWISTY_EVENT"), "finish");
    clear(f, &job);
}

static unsigned lines_in(FILE *file)
{
    unsigned lines = 0;
    int c;

    rewind(file);
    while ((c = getc(file)) != EOF)
        lines += c == '\n';
    return lines;
}

/* What was kept is written in parts, whatever the receiver would take: between them, the loop does what is due. */
static void flush_is_bounded(void **state)
{
    enum { N = 2000 };
    struct fixture *f = *state;
    struct job *jobs = calloc(N, sizeof *jobs);
    FILE *file = tmpfile();
    unsigned flushes = 0;

    assert_true(jobs && file);
    sink_close(f->sink, 0);
    report_free(f->report);
    dup2(fileno(file), STDERR_FILENO);
    assert_int_equal(sink_open(LOG_TARGET_STDERR, NULL, f->watches, on_ready, f, &f->sink), 0);
    f->report = report_new(f->sink, &(struct report_config){.log_level = LOG_INFO, .limit = 1});
    assert_non_null(f->report);
    for (unsigned i = 0; i < N; i++) {
        const struct job_spec spec = spec_of(JOB_LOOP, "x", COUNT_FOREVER, "1");
        assert_int_equal(job_init(&jobs[i], f->pool, &spec), 0);
        tick(f, &jobs[i], 1, f->now);
    }
    configure(f, LOG_INFO, 0);
    for (; report_due(f->report) <= f->now; flushes++) {
        unsigned before = lines_in(file);

        report_flush(f->report, f->now);
        assert_in_range(lines_in(file) - before, 1, N / 4);
    }
    assert_true(report_due(f->report) == TIME_NEVER);
    assert_in_range(flushes, 4, N / 10);
    assert_int_equal(lines_in(file), N);
    for (unsigned i = 0; i < N; i++) {
        assert_null(jobs[i].extra);
        job_clear(&jobs[i]);
    }
    free(jobs);
    fclose(file);
}

static void freed_with_ticks_kept(void **state)
{
    struct fixture *f = *state;
    struct job job;

    start_and_keep_a_tick(f, &job);
    assert_non_null(job.extra);
    report_free(f->report);
    f->report = NULL;
    assert_null(job.extra);
    job_clear(&job);
    report_free(NULL);
}

static void lines_of_the_daemon(void **state)
{
    struct fixture *f = *state;
    char long_text[3 * SINK_LINE_MAX];

    report_daemon(f->report, LOG_NOTICE, "ready", "version=%s jobs=%d", "1.0", 3);
    expect_line(f, "ready version=1.0 jobs=3");
    expect_priority(f, "5");
    assert_string_equal(entry_get(&f->entry, "TWISTY_EVENT"), "ready");
    assert_string_equal(entry_get(&f->entry, "MESSAGE_ID"), "cbf5130ab07345579629225ae52d5a78");
    assert_null(entry_get(&f->entry, "TWISTY_JOB"));
    report_daemon(f->report, LOG_ERR, "reload", "refused reason=\"%s\"", "x\nexit why=\x1b\"");
    expect_line(f, "reload refused reason=\"x\\x0aexit why=\\x1b\"\"");
    expect_priority(f, "3");
    report_daemon(f->report, LOG_WARNING, "accept", "%s", "\\\xff\\");
    expect_line(f, "accept \\\\xff\\");
    assert_null(entry_get(&f->entry, "MESSAGE_ID"));
    report_daemon(f->report, LOG_NOTICE, "exit", "%s", "");
    expect_line(f, "exit");
    memset(long_text, '"', sizeof(long_text));
    long_text[sizeof(long_text) - 1] = '\0';
    report_daemon(f->report, LOG_NOTICE, "exit", "%s", long_text);
    assert_true(take_line(f));
    assert_int_equal(strlen(entry_get(&f->entry, "MESSAGE")), SINK_LINE_MAX);
}

static void words_are_those_of_the_events(void **state)
{
    (void)state;
    for (int type = EVENT_START; type <= EVENT_FAILED; type++)
        assert_string_equal(report_events[type].word, job_event_name((enum job_event_type)type));
    for (unsigned i = 0; i < REPORT_EVENTS; i++) {
        assert_int_equal(strlen(report_events[i].message_id), 32);
        assert_int_equal(strspn(report_events[i].message_id, "0123456789abcdef"), 32);
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(report_events[i].message_id, report_events[k].message_id);
    }
}

/* systemd/twisty.catalog, read from where `make` runs the tests: the top of the tree. */
static void catalog_has_exactly_these_ids(void **state)
{
    FILE *file = fopen("systemd/twisty.catalog", "re");
    unsigned found[REPORT_EVENTS] = {0};
    char line[256];

    (void)state;
    if (!file)
        fail_msg("systemd/twisty.catalog: %s; tests run at the top of the tree", strerror(errno));
    while (fgets(line, sizeof line, file)) {
        unsigned i = 0;

        if (strncmp(line, "-- ", 3) != 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        while (i < REPORT_EVENTS && strcmp(line + 3, report_events[i].message_id) != 0)
            i++;
        if (i < REPORT_EVENTS)
            found[i]++;
        else
            fail_msg("no event has the catalog's %s", line + 3);
    }
    fclose(file);
    for (unsigned i = 0; i < REPORT_EVENTS; i++)
        if (found[i] != 1)
            fail_msg("the catalog has \"%s\" %u times", report_events[i].word, found[i]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(countdown_as_designed),
        TEST(loops_and_once),
        TEST(steering_lines),
        TEST(fields_of_a_tick),
        TEST(fields_of_an_endless_loop),
        TEST(nothing_from_outside_forges_a_line),
        TEST(the_longest_line_is_whole),
        TEST(rule_none_and_every_n),
        TEST(rule_every_span),
        TEST(log_level_filters),
        TEST(limit_keeps_the_latest),
        TEST(limit_is_shared_in_turns),
        TEST(other_lines_are_not_limited_and_stay_in_order),
        TEST(no_limit_any_more),
        TEST(stuck_receiver_gets_the_latest),
        TEST(stuck_receiver_keeps_a_jobs_order),
        TEST(flush_is_bounded),
        TEST(freed_with_ticks_kept),
        TEST(lines_of_the_daemon),
        cmocka_unit_test(words_are_those_of_the_events),
        cmocka_unit_test(catalog_has_exactly_these_ids),
    };

    alarm(120); // a write that blocks ends the test
    return cmocka_run_group_tests(tests, NULL, NULL);
}
