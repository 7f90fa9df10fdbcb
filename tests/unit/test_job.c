/* One job's state machine, against a grid that is walked point by point. */
#include "daemon/job.h"
#include "tests/unit/random.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* The oracle: a job as twistyd.conf(5) has it, in the dumbest way that can be. It looks at one grid point at a time. */
struct model {
    struct rate rate;
    uint64_t count;
    enum job_kind kind;
    enum missed_policy policy;
    bool immediate;
    int64_t delay;
    int64_t t0;
    uint64_t point; // the next grid point
    uint64_t given, missed;
    int64_t since; // of the pause
    bool paused, ended;
};

static int64_t model_due(const struct model *m)
{
    if (m->kind == JOB_ONCE)
        return m->t0;
    unsigned __int128 doubled = (unsigned __int128)m->point * m->rate.ns * 2 + m->rate.ticks;
    return m->t0 + (int64_t)(doubled / ((unsigned __int128)m->rate.ticks * 2));
}

static void model_start(struct model *m, int64_t now)
{
    m->t0 = now + m->delay;
    m->point = m->kind == JOB_LOOP && !m->immediate ? 1 : 0;
    m->given = m->missed = 0;
    m->paused = m->ended = false;
}

/* How far the count is: a missed tick counts, but not with `delay`. */
static uint64_t model_progress(const struct model *m)
{
    return m->policy == MISSED_DELAY ? m->given : m->given + m->missed;
}

static void model_event(struct job_events *out, enum job_event_type type, uint64_t missed, int64_t due, int64_t now)
{
    out->ev[out->n++] = (struct job_event){.type = type, .missed = missed, .due = due, .at = now};
}

static void model_finish(struct model *m, int64_t due, int64_t now, struct job_events *out)
{
    m->ended = true;
    model_event(out, EVENT_FINISH, m->missed, due, now);
}

/* A tick that carries the `passed` points before it; its due time is that of the first of them. */
static void model_tick(struct model *m, uint64_t passed, int64_t due, int64_t now, struct job_events *out)
{
    m->given++;
    m->missed += passed - 1;
    model_event(out, EVENT_TICK, passed - 1, due, now);
    if (m->kind != JOB_LOOP || model_progress(m) != m->count)
        return;
    if (m->policy == MISSED_COALESCE) { // the end is the last point's, the tick is that of the first
        struct model last = *m;
        last.point--;
        due = model_due(&last);
    }
    model_finish(m, due, now, out);
}

static void model_run(struct model *m, int64_t now, struct job_events *out)
{
    int64_t due = model_due(m);
    uint64_t passed = 0;

    out->n = 0;
    if (m->paused || m->ended || due > now)
        return;
    if (m->kind == JOB_ONCE) {
        m->given = 1;
        model_finish(m, due, now, out);
        return;
    }
    if (m->kind == JOB_COUNTDOWN && model_progress(m) == m->count) {
        model_finish(m, due, now, out);
        return;
    }
    do { // points that become one tick
        passed++;
        m->point++;
    } while (m->policy != MISSED_BURST && model_due(m) <= now &&
             (m->policy == MISSED_DELAY || m->given + m->missed + passed < m->count));
    if (m->kind == JOB_COUNTDOWN && m->policy == MISSED_COALESCE && m->given + m->missed + passed == m->count &&
        model_due(m) <= now) {
        m->missed += passed;
        model_event(out, EVENT_MISSED, passed, now, now);
        model_finish(m, model_due(m), now, out);
        return;
    }
    model_tick(m, passed, due, now, out);
}

static struct traits_pool *pool;

/* A job, its model, and what was reported of it. */
struct pair {
    struct job job;
    struct model model;
    int64_t now;
    uint64_t ticks, missed; // summed up from the events
    char what[160];
};

static void pair_describe(struct pair *p)
{
    const struct model *m = &p->model;

    snprintf(p->what, sizeof p->what,
             "%s %s count %" PRIu64 " rate %" PRIu64 "/%" PRIu64 "ns delay %" PRId64 "%s: at %" PRId64,
             job_kind_name(m->kind), missed_policy_name(m->policy), m->count, m->rate.ticks, m->rate.ns, m->delay,
             m->immediate ? "" : " not immediate", p->now);
}

static void check_event(struct pair *p, const struct job_event *got, const struct job_event *expected)
{
    const struct model *m = &p->model;

    if (got->type != expected->type || got->missed != expected->missed || got->due != expected->due ||
        got->at != expected->at)
        fail_msg("%s: %s missed %" PRIu64 " due %" PRId64 " instead of %s missed %" PRIu64 " due %" PRId64, p->what,
                 job_event_name(got->type), got->missed, got->due, job_event_name(expected->type), expected->missed,
                 expected->due);
    assert_true(got->due <= got->at);
    if (got->type != EVENT_TICK) {
        assert_int_equal(got->left, 0);
        return;
    }
    assert_int_equal(got->tick, model_progress(m));
    if (m->kind == JOB_COUNTDOWN)
        assert_int_equal(got->left, m->count - model_progress(m) + 1);
    else
        assert_int_equal(got->left, m->count == COUNT_FOREVER ? COUNT_FOREVER : m->count - model_progress(m));
}

static void check_state(struct pair *p)
{
    const struct model *m = &p->model;
    int64_t due = m->paused || m->ended ? TIME_NEVER : model_due(m);

    if (job_due(&p->job) != due)
        fail_msg("%s: wants to run at %" PRId64 " instead of %" PRId64, p->what, job_due(&p->job), due);
    if (p->job.missed != m->missed || job_ticks(&p->job) != m->given || p->job.passed != m->given + m->missed)
        fail_msg("%s: %" PRIu64 " ticks and %" PRIu64 " missed instead of %" PRIu64 " and %" PRIu64, p->what,
                 job_ticks(&p->job), p->job.missed, m->given, m->missed);
    assert_int_equal(job_ended(&p->job), m->ended);
    if (m->kind != JOB_ONCE && (p->ticks != m->given || p->missed != m->missed))
        fail_msg("%s: reported %" PRIu64 " ticks and %" PRIu64 " missed instead of %" PRIu64 " and %" PRIu64, p->what,
                 p->ticks, p->missed, m->given, m->missed);
}

/* Wake up: run both until nothing is due, at most `max` times. */
static void pair_run(struct pair *p, int max)
{
    struct job_events got, expected;

    pair_describe(p);
    for (; max > 0; max--) {
        model_run(&p->model, p->now, &expected);
        job_run(&p->job, p->now, &got);
        if (got.n != expected.n)
            fail_msg("%s: %u events instead of %u", p->what, got.n, expected.n);
        for (unsigned i = 0; i < got.n; i++) {
            check_event(p, &got.ev[i], &expected.ev[i]);
            p->ticks += got.ev[i].type == EVENT_TICK;
            p->missed += got.ev[i].type == EVENT_TICK || got.ev[i].type == EVENT_MISSED ? got.ev[i].missed : 0;
        }
        check_state(p);
        if (got.n == 0)
            break;
    }
}

/* What the grid says at this moment, counted from its origin, point by point. */
static void check_account(struct pair *p)
{
    struct model grid = p->model;
    uint64_t points = 0;

    if (p->model.paused || p->model.kind == JOB_ONCE)
        return;
    grid.point = grid.kind == JOB_LOOP && !grid.immediate ? 1 : 0;
    while (model_due(&grid) <= p->now && (grid.policy == MISSED_DELAY || points < grid.count)) {
        grid.point++;
        points++;
    }
    if (p->model.ended && p->model.policy == MISSED_DELAY) // what comes after the end is not counted
        return;
    if (p->model.kind == JOB_COUNTDOWN && p->model.policy == MISSED_DELAY && p->model.given == p->model.count)
        return;
    if (p->ticks + p->missed != points)
        fail_msg("%s: %" PRIu64 " ticks and %" PRIu64 " missed, and %" PRIu64 " grid points have come", p->what,
                 p->ticks, p->missed, points);
}

/* With coalesce and burst the last point does not move, whatever happened. */
static void check_end(const struct pair *p)
{
    struct model grid = p->model;

    if (!p->model.ended || p->model.policy == MISSED_DELAY || p->model.kind == JOB_ONCE)
        return;
    assert_int_equal(p->job.passed, grid.count);
    grid.point = p->model.kind == JOB_COUNTDOWN || !grid.immediate ? grid.count : grid.count - 1;
    if (p->now < model_due(&grid))
        fail_msg("%s: finished before its end at %" PRId64, p->what, model_due(&grid));
}

static struct rate random_rate(struct random *r)
{
    static const struct rate rates[] = {
        {NSEC_PER_SEC, 3}, {60 * NSEC_PER_SEC, 7}, {10 * NSEC_PER_SEC, 3}, {NSEC_PER_SEC, 1}, {3, 2}, {1, 1}, {7, 5},
    };
    uint64_t choice = random_below(r, 12);

    if (choice < sizeof rates / sizeof rates[0])
        return rates[choice];
    return rate_from_interval(random_magnitude(r, 3600 * NSEC_PER_SEC));
}

static void pair_start(struct pair *p, struct random *r, enum job_kind kind, enum missed_policy policy, bool immediate)
{
    struct job_spec spec;
    struct job_events events;

    *p = (struct pair){.now = random_between(r, 0, 1000 * NSEC_PER_SEC)};
    p->model = (struct model){
        .rate = random_rate(r),
        .count = random_below(r, 30),
        .kind = kind,
        .policy = policy,
        .immediate = immediate,
        .delay = random_once_in(r, 2) ? 0 : random_magnitude(r, 60 * NSEC_PER_SEC),
    };
    if (kind == JOB_LOOP)
        p->model.count = random_once_in(r, 3) ? COUNT_FOREVER : p->model.count + 1;
    if (kind == JOB_ONCE)
        p->model.count = 1;
    model_start(&p->model, p->now);
    spec = (struct job_spec){
        .rate = p->model.rate,
        .count = p->model.count,
        .delay = p->model.delay,
        .kind = kind,
        .missed = policy,
        .immediate = immediate,
    };
    assert_int_equal(job_init(&p->job, pool, &spec), 0);
    job_start(&p->job, p->now, &events);
    assert_int_equal(events.n, 1);
    assert_int_equal(events.ev[0].type, EVENT_START);
    pair_describe(p);
    check_state(p);
}

/* The moment of the next wake-up: in time, a bit late, late by many intervals, right on a point, or for nothing. */
static int64_t random_wake(struct random *r, const struct pair *p)
{
    struct model ahead = p->model;
    int64_t interval = rate_interval(p->model.rate);
    int64_t due = model_due(&p->model), when;

    switch (random_below(r, 6)) {
    case 0:
        when = due;
        break;
    case 1:
        when = due + interval / 2;
        break;
    case 2:
        when = due + random_between(r, 0, 40 * interval);
        break;
    case 3: // exactly on a later point
        ahead.point += random_below(r, 12);
        when = model_due(&ahead);
        break;
    case 4: // a nanosecond before one
        ahead.point += random_below(r, 4);
        when = model_due(&ahead) - 1;
        break;
    default:
        when = p->now + random_between(r, 0, interval);
    }
    return when > p->now ? when : p->now;
}

static void pair_pause(struct pair *p, struct random *r)
{
    struct job_events events;
    int64_t rest = model_due(&p->model) - p->now, span = random_magnitude(r, 3600 * NSEC_PER_SEC);

    assert_int_equal(job_pause(&p->job, p->now, &events), 0);
    assert_true(events.n == 1 && events.ev[0].type == EVENT_PAUSE);
    p->model.paused = true;
    check_state(p);
    p->now += span / 2;
    pair_run(p, 3); // nothing happens
    assert_int_equal(job_pause(&p->job, p->now, &events), -EALREADY);
    assert_int_equal(events.n, 0);
    p->now += span - span / 2;
    assert_int_equal(job_resume(&p->job, p->now, &events), 0);
    assert_true(events.n == 1 && events.ev[0].type == EVENT_RESUME);
    p->model.paused = false;
    p->model.t0 += span;
    if (job_due(&p->job) - p->now != rest)
        fail_msg("%s: %" PRId64 " were left of the interval, and %" PRId64 " are", p->what, rest,
                 job_due(&p->job) - p->now);
    check_state(p);
}

static void pair_reset(struct pair *p)
{
    struct job_events events;

    job_reset(&p->job, p->now, &events);
    assert_true(events.n == 1 && events.ev[0].type == EVENT_RESET);
    model_start(&p->model, p->now);
    p->ticks = p->missed = 0;
    check_state(p);
}

static void live_a_life(struct random *r, enum job_kind kind, enum missed_policy policy, bool immediate)
{
    struct pair p;

    pair_start(&p, r, kind, policy, immediate);
    for (int step = 0; step < 60; step++) {
        if (p.model.ended) {
            check_end(&p);
            if (!random_once_in(r, 3))
                break;
            pair_reset(&p);
        } else if (random_once_in(r, 8)) {
            pair_pause(&p, r); // possibly with ticks overdue
        } else if (random_once_in(r, 30)) {
            pair_reset(&p);
        }
        p.now = random_wake(r, &p);
        if (random_once_in(r, 10)) {
            pair_run(&p, 1); // others had their turn then
            continue;
        }
        pair_run(&p, 1000);
        check_account(&p);
    }
    job_clear(&p.job);
}

static void ticks_and_missed_are_what_the_grid_says(void **state)
{
    struct random r = random_start(1);
    (void)state;

    for (int i = 0; i < 1500; i++)
        for (enum missed_policy policy = MISSED_COALESCE; policy <= MISSED_BURST; policy++) {
            live_a_life(&r, JOB_COUNTDOWN, policy, true);
            live_a_life(&r, JOB_LOOP, policy, true);
            live_a_life(&r, JOB_LOOP, policy, false);
            live_a_life(&r, JOB_ONCE, policy, true);
        }
}

/* A job in the open, for the tests that tell a story. Times are in seconds. */
struct story {
    struct job job;
    char told[1024];
};

static void tell(struct story *s, const struct job_events *events)
{
    for (unsigned i = 0; i < events->n; i++) {
        const struct job_event *ev = &events->ev[i];
        size_t len = strlen(s->told);
        long long at = ev->at / NSEC_PER_SEC;
        if (ev->type == EVENT_TICK && job_kind(&s->job) == JOB_COUNTDOWN)
            snprintf(s->told + len, sizeof s->told - len, "%lld:left=%" PRIu64, at, ev->left);
        else if (ev->type == EVENT_TICK)
            snprintf(s->told + len, sizeof s->told - len, "%lld:tick=%" PRIu64, at, ev->tick);
        else
            snprintf(s->told + len, sizeof s->told - len, "%lld:%s", at, job_event_name(ev->type));
        len = strlen(s->told);
        if (ev->missed > 0)
            snprintf(s->told + len, sizeof s->told - len, "(%" PRIu64 ")", ev->missed);
        len = strlen(s->told);
        snprintf(s->told + len, sizeof s->told - len, " ");
    }
}

static void story_begin_at(struct story *s, enum job_kind kind, uint64_t count, struct rate rate,
                           enum missed_policy policy)
{
    const struct job_spec spec = {.rate = rate, .count = count, .kind = kind, .missed = policy, .immediate = true};
    struct job_events events;

    *s = (struct story){0};
    assert_int_equal(job_init(&s->job, pool, &spec), 0);
    job_start(&s->job, 0, &events);
    tell(s, &events);
}

static void story_begin(struct story *s, enum job_kind kind, uint64_t count, enum missed_policy policy)
{
    story_begin_at(s, kind, count, (struct rate){NSEC_PER_SEC, 1}, policy);
}

static void story_wake(struct story *s, int64_t seconds)
{
    struct job_events events;

    do {
        job_run(&s->job, seconds * NSEC_PER_SEC, &events);
        tell(s, &events);
    } while (events.n > 0);
}

static void check_story(enum job_kind kind, uint64_t count, enum missed_policy policy, const int64_t *wakes,
                        const char *expected)
{
    struct story s;

    story_begin(&s, kind, count, policy);
    while (*wakes >= 0)
        story_wake(&s, *wakes++);
    assert_string_equal(s.told, expected);
    job_clear(&s.job);
}

static void a_punctual_loop(void **state)
{
    static const int64_t punctual[] = {0, 1, 2, 3, 4, 5, 6, -1};
    (void)state;

    for (enum missed_policy policy = MISSED_COALESCE; policy <= MISSED_BURST; policy++) {
        check_story(JOB_COUNTDOWN, 5, policy, punctual,
                    "0:start 0:left=5 1:left=4 2:left=3 3:left=2 4:left=1 5:finish ");
        check_story(JOB_LOOP, 3, policy, punctual, "0:start 0:tick=1 1:tick=2 2:tick=3 2:finish ");
        check_story(JOB_ONCE, 1, policy, punctual, "0:start 0:finish ");
        check_story(JOB_COUNTDOWN, 0, policy, punctual, "0:start 0:finish ");
    }
}

static void a_late_loop(void **state)
{
    static const int64_t stall[] = {0, 3, 4, 5, 6, 7, 8, -1}, beyond[] = {0, 9, 10, 11, 12, 13, -1};
    static const struct {
        enum job_kind kind;
        enum missed_policy policy;
        const int64_t *wakes;
        const char *story;
    } rows[] = {
        {JOB_COUNTDOWN, MISSED_COALESCE, stall, "0:start 0:left=5 3:left=2(2) 4:left=1 5:finish(2) "},
        {JOB_COUNTDOWN, MISSED_DELAY, stall, "0:start 0:left=5 3:left=4(2) 4:left=3 5:left=2 6:left=1 7:finish(2) "},
        {JOB_COUNTDOWN, MISSED_BURST, stall, "0:start 0:left=5 3:left=4 3:left=3 3:left=2 4:left=1 5:finish "},
        {JOB_COUNTDOWN, MISSED_COALESCE, beyond, "0:start 0:left=5 9:missed(4) 9:finish(4) "},
        {JOB_COUNTDOWN, MISSED_DELAY, beyond,
         "0:start 0:left=5 9:left=4(8) 10:left=3 11:left=2 12:left=1 13:finish(8) "},
        {JOB_COUNTDOWN, MISSED_BURST, beyond, "0:start 0:left=5 9:left=4 9:left=3 9:left=2 9:left=1 9:finish "},
        {JOB_LOOP, MISSED_COALESCE, stall, "0:start 0:tick=1 3:tick=4(2) 4:tick=5 4:finish(2) "},
        {JOB_LOOP, MISSED_DELAY, stall, "0:start 0:tick=1 3:tick=2(2) 4:tick=3 5:tick=4 6:tick=5 6:finish(2) "},
        {JOB_LOOP, MISSED_BURST, stall, "0:start 0:tick=1 3:tick=2 3:tick=3 3:tick=4 4:tick=5 4:finish "},
        {JOB_LOOP, MISSED_COALESCE, beyond, "0:start 0:tick=1 9:tick=5(3) 9:finish(3) "},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_story(rows[i].kind, 5, rows[i].policy, rows[i].wakes, rows[i].story);
}

static void states_are_what_people_see(void **state)
{
    struct job_spec spec = {
        .rate = {NSEC_PER_SEC, 1}, .count = 2, .delay = 10, .kind = JOB_COUNTDOWN, .immediate = true};
    struct job job = {0};
    struct job_events events;
    enum job_state parsed;
    (void)state;

    assert_int_equal(job_init(&job, pool, &spec), 0);
    job_start(&job, 5, &events);
    assert_int_equal(job_state_at(&job, 14), JOB_WAITING);
    assert_int_equal(job_state_at(&job, 15), JOB_RUNNING);
    assert_int_equal(job_pause(&job, 6, &events), 0);
    assert_int_equal(job_state_at(&job, 6), JOB_PAUSED);
    assert_int_equal(job_resume(&job, 7, &events), 0);
    assert_int_equal(job_resume(&job, 7, &events), -EALREADY);
    assert_int_equal(job_state_at(&job, 15), JOB_WAITING); // the pause froze the delay
    assert_int_equal(job_state_at(&job, 16), JOB_RUNNING);
    assert_int_equal(job_stop(&job, 20, "control", &events), 0);
    assert_string_equal(events.ev[0].why, "control");
    assert_int_equal(job_state_at(&job, 0), JOB_STOPPED);
    job_clear(&job);
    for (enum job_state s = JOB_WAITING; s <= JOB_FAILED; s++) {
        assert_true(job_state_parse(job_state_name(s), &parsed));
        assert_int_equal(parsed, s);
    }
    assert_false(job_state_parse("ended", &parsed) || job_state_parse("", &parsed));
}

static void what_is_left_is_told(void **state)
{
    struct story s;
    (void)state;

    story_begin(&s, JOB_COUNTDOWN, 3, MISSED_COALESCE);
    assert_int_equal(job_left(&s.job), 3);
    for (int64_t t = 0; t < 3; t++) {
        story_wake(&s, t);
        assert_int_equal(job_left(&s.job), 3 - t);
    }
    story_wake(&s, 3);
    assert_int_equal(job_left(&s.job), 0);
    job_clear(&s.job);

    story_begin(&s, JOB_LOOP, 3, MISSED_COALESCE);
    for (int64_t t = 0; t < 3; t++) {
        assert_int_equal(job_left(&s.job), 3 - t);
        story_wake(&s, t);
    }
    assert_int_equal(job_left(&s.job), 0);
    job_clear(&s.job);

    story_begin(&s, JOB_LOOP, COUNT_FOREVER, MISSED_COALESCE);
    story_wake(&s, 7);
    assert_true(job_left(&s.job) == COUNT_FOREVER);
    job_clear(&s.job);
}

static void an_ended_job_is_left_alone(void **state)
{
    static const enum job_state ends[] = {JOB_FINISHED, JOB_STOPPED, JOB_FAILED};
    struct job_events events;
    (void)state;

    for (size_t i = 0; i < 3; i++) {
        struct story s;
        story_begin(&s, JOB_COUNTDOWN, 3, MISSED_COALESCE);
        story_wake(&s, 1);
        if (ends[i] == JOB_FINISHED)
            story_wake(&s, 3);
        else if (ends[i] == JOB_STOPPED)
            assert_int_equal(job_stop(&s.job, 2 * NSEC_PER_SEC, "control", &events), 0);
        else
            assert_int_equal(job_fail(&s.job, 2 * NSEC_PER_SEC, "exit status 1", &events), 0);
        assert_true(job_ended(&s.job));
        assert_int_equal(s.job.state, ends[i]);
        assert_true(job_due(&s.job) == TIME_NEVER);
        int64_t ended = s.job.ended;
        job_run(&s.job, 99 * NSEC_PER_SEC, &events);
        assert_int_equal(events.n, 0);
        assert_int_equal(job_pause(&s.job, 99, &events), -ESRCH);
        assert_int_equal(job_resume(&s.job, 99, &events), -ESRCH);
        assert_int_equal(job_stop(&s.job, 99, "again", &events), -ESRCH);
        assert_int_equal(job_fail(&s.job, 99, "again", &events), -ESRCH);
        assert_int_equal(events.n, 0);
        assert_int_equal(s.job.ended, ended);
        job_reset(&s.job, 100 * NSEC_PER_SEC, &events);
        assert_false(job_ended(&s.job));
        assert_null(job_reason(&s.job));
        assert_int_equal(job_left(&s.job), 3);
        assert_int_equal(job_due(&s.job), 100 * NSEC_PER_SEC);
        job_clear(&s.job);
    }
}

static void a_failure_keeps_its_reason(void **state)
{
    char why[] = "killed by signal 9";
    struct job_events events;
    struct story s;
    (void)state;

    story_begin(&s, JOB_LOOP, COUNT_FOREVER, MISSED_COALESCE);
    story_wake(&s, 4);
    assert_int_equal(job_fail(&s.job, 5 * NSEC_PER_SEC, why, &events), 0);
    memset(why, 'x', sizeof why - 1); // the job has a copy
    assert_int_equal(events.n, 1);
    assert_int_equal(events.ev[0].type, EVENT_FAILED);
    assert_int_equal(events.ev[0].missed, 4);
    assert_int_equal(events.ev[0].at, 5 * NSEC_PER_SEC);
    assert_string_equal(events.ev[0].why, "killed by signal 9");
    assert_string_equal(job_reason(&s.job), "killed by signal 9");
    job_clear(&s.job);
    assert_null(job_reason(&s.job));
}

/* The millionth and the billionth tick of a running job are where the rate says. */
static void a_long_life_does_not_drift(void **state)
{
    struct story s;
    (void)state;

    story_begin_at(&s, JOB_LOOP, COUNT_FOREVER, (struct rate){NSEC_PER_SEC, 3}, MISSED_COALESCE);
    for (int64_t t = 0; t <= 333333333; t += 333333) {
        story_wake(&s, t);
        s.told[0] = '\0';
        assert_int_equal(s.job.passed, 3 * t + 1);
        assert_int_equal(job_due(&s.job), t * NSEC_PER_SEC + 333333333);
    }
    job_clear(&s.job);
}

/* A schedule that nobody will live to see ends at TIME_NEVER instead of wrapping around. */
static void far_away_is_never(void **state)
{
    struct story s;
    (void)state;

    story_begin_at(&s, JOB_LOOP, COUNT_FOREVER, rate_from_interval(SPAN_MAX), MISSED_BURST);
    s.job.passed = 2;
    assert_int_equal(job_due(&s.job), INT64_MAX - 1);
    s.job.t0 = 1;
    assert_true(job_due(&s.job) == TIME_NEVER);
    s.job.t0 = 2;
    assert_true(job_due(&s.job) == TIME_NEVER);
    s.job.passed = 3;
    s.job.t0 = 0;
    assert_true(job_due(&s.job) == TIME_NEVER);
    story_wake(&s, 1);
    assert_int_equal(s.job.passed, 3);
    job_clear(&s.job);
}

/* What was asked comes back as it was, and the texts are the job's own. */
/* A job that is taken up goes on like the one whose life was kept, which was punctual meanwhile. */
static void check_taken_up(const struct job *was, const struct job_life *life, int64_t done)
{
    const struct job_spec spec = job_spec_of(was);
    struct job job = {0};

    assert_int_equal(job_init(&job, pool, &spec), 0);
    assert_int_equal(job_take_up(&job, life, done), 0);
    assert_int_equal(job.state, was->state);
    assert_int_equal(job.passed, was->passed);
    assert_int_equal(job.missed, was->missed);
    assert_int_equal(job.added, was->added);
    assert_int_equal(job_due(&job), job_due(was));
    assert_int_equal(job_left(&job), job_left(was));
    assert_int_equal(job_rest(&job, done), job_rest(was, done));
    assert_int_equal(job_elapsed(&job, done), job_elapsed(was, done));
    job_clear(&job);
}

static void a_life_is_taken_up(void **state)
{
    struct random r = random_start(12);
    (void)state;

    for (unsigned i = 0; i < 20000; i++) {
        struct job_events events;
        struct job_life life;
        struct pair p;
        pair_start(&p, &r, (enum job_kind)random_below(&r, 3), (enum missed_policy)random_below(&r, 3),
                   random_once_in(&r, 2));
        int64_t done = p.now, due;
        unsigned steps = (unsigned)random_below(&r, 50), kept = (unsigned)random_below(&r, steps + 1);
        if (random_once_in(&r, 3) && (due = job_due(&p.job)) != TIME_NEVER) // some were missed before
            job_run(&p.job, done = due + random_magnitude(&r, NSEC_PER_SEC), &events);
        for (unsigned n = 0; n <= steps; n++) {
            if (n == kept)
                life = job_life_of(&p.job, done);
            if (n == steps || (due = job_due(&p.job)) == TIME_NEVER || due < done)
                continue;
            job_run(&p.job, done = due, &events);
        }
        if (job_due(&p.job) > done && p.job.passed < (1u << 30))
            check_taken_up(&p.job, &life, done);
        if (job_pause(&p.job, done, &events) == 0) {
            life = job_life_of(&p.job, done + 5);
            check_taken_up(&p.job, &life, done + 100 * NSEC_PER_SEC);
        }
        if (job_stop(&p.job, done, "control", &events) == 0) {
            life = job_life_of(&p.job, done + 5);
            check_taken_up(&p.job, &life, done + 100 * NSEC_PER_SEC);
        }
        job_clear(&p.job);
    }
}

/* Only a job that has failed has one. */
static void a_reason_is_taken_up_with_a_failure(void **state)
{
    static const enum job_state states[] = {JOB_RUNNING, JOB_PAUSED, JOB_FINISHED, JOB_STOPPED, JOB_FAILED};
    const struct job_spec spec = {.name = (char *)"x", .rate = {NSEC_PER_SEC, 1}, .count = 5, .kind = JOB_LOOP};
    (void)state;

    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        const struct job_life life = {.state = states[i], .reason = "old"};
        struct job_events events;
        struct job job = {0};
        assert_int_equal(job_init(&job, pool, &spec), 0);
        assert_int_equal(job_take_up(&job, &life, 0), 0);
        assert_int_equal(job_reason(&job) != NULL, states[i] == JOB_FAILED);
        if (job_fail(&job, 1, "new", &events) == 0)
            assert_string_equal(job_reason(&job), "new");
        job_clear(&job);
    }
}

static void what_was_asked_is_given_back(void **state)
{
    static const char *const lengths[] = {"t", "exactly-19-bytes-00", "exactly-20-bytes-000",
                                          "a-name-of-forty-bytes-is-the-longest-one"};
    (void)state;

    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        char name[64], message[] = "your tea is ready";
        struct job_spec spec = {.name = name,
                                .message = message,
                                .rate = {10 * NSEC_PER_SEC, 3},
                                .count = 5,
                                .delay = 7,
                                .report = {REPORT_EVERY_N, 6},
                                .kind = JOB_LOOP,
                                .missed = MISSED_BURST,
                                .background = true};
        struct job job = {0};
        snprintf(name, sizeof name, "%s", lengths[i]);
        assert_int_equal(job_init(&job, pool, &spec), 0);
        memset(name, 'x', strlen(name));
        memset(message, 'x', strlen(message));
        struct job_spec given = job_spec_of(&job);
        assert_string_equal(given.name, lengths[i]);
        assert_string_equal(job_name(&job), lengths[i]);
        assert_string_equal(given.message, "your tea is ready");
        given.name = name;
        given.message = message;
        assert_true(spec_equal(&given, &spec));
        job_clear(&job);
    }
}

static void extra_state_is_there_when_it_is_needed(void **state)
{
    struct job_events events;
    struct story s;
    (void)state;

    story_begin(&s, JOB_LOOP, COUNT_FOREVER, MISSED_COALESCE);
    assert_null(s.job.extra);
    assert_null(job_reason(&s.job));
    job_extra(&s.job)->reported = 5;
    job_shed_extra(&s.job);
    assert_int_equal(s.job.extra->reported, 5);
    job_extra(&s.job)->reported = INT64_MIN;
    job_shed_extra(&s.job);
    assert_null(s.job.extra);
    assert_int_equal(job_fail(&s.job, 9, "spilt", &events), 0);
    job_shed_extra(&s.job);
    assert_string_equal(job_reason(&s.job), "spilt");
    assert_int_equal(job_elapsed(&s.job, 99), 9);
    job_reset(&s.job, 10, &events);
    assert_null(s.job.extra);
    assert_int_equal(job_elapsed(&s.job, 99), 89);
    job_clear(&s.job);
}

static int make_pool(void **state)
{
    (void)state;
    pool = traits_pool_new((const uint64_t[]){1, 2});
    return pool == NULL;
}

static int free_pool(void **state)
{
    (void)state;
    traits_pool_free(pool);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_asked_is_given_back),
        cmocka_unit_test(extra_state_is_there_when_it_is_needed),
        cmocka_unit_test(ticks_and_missed_are_what_the_grid_says),
        cmocka_unit_test(a_punctual_loop),
        cmocka_unit_test(a_late_loop),
        cmocka_unit_test(states_are_what_people_see),
        cmocka_unit_test(what_is_left_is_told),
        cmocka_unit_test(a_life_is_taken_up),
        cmocka_unit_test(a_reason_is_taken_up_with_a_failure),
        cmocka_unit_test(an_ended_job_is_left_alone),
        cmocka_unit_test(a_failure_keeps_its_reason),
        cmocka_unit_test(a_long_life_does_not_drift),
        cmocka_unit_test(far_away_is_never),
    };

    return cmocka_run_group_tests(tests, make_pool, free_pool);
}
