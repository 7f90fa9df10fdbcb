/* How long wakes are put off: not at all where deadlines are rare, never for longer than is allowed, never early. */
#include "daemon/gather.h"

#include "daemon/quantity.h"
#include "tests/unit/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define ACCURACY NSEC_PER_MSEC

/* What a wake costs until the next deadline is looked for. */
#define WORK (50 * NSEC_PER_USEC)

/* A loop on a virtual clock, and deadlines that come one `gap` after the other. */
struct run {
    int64_t now;
    int64_t deadline; // the next one
    int64_t latest;   // the most that one was met late
    uint64_t wakes, met;
};

static void run_for(struct gather *g, struct run *run, int64_t span, int64_t gap)
{
    for (int64_t end = run->now + span; run->now < end; run->wakes++) {
        int64_t wake = gather_wake(g, run->deadline);
        assert_true(wake >= run->deadline);
        run->now = wake > run->now + WORK ? wake : run->now + WORK;
        if (run->now - run->deadline > run->latest)
            run->latest = run->now - run->deadline;
        for (; run->deadline <= run->now; run->deadline += gap)
            run->met++;
        gather_note_gap(g, run->deadline - run->now);
    }
}

static struct run start(struct gather *g, int64_t gap)
{
    struct run run = {.deadline = gap};

    run_for(g, &run, NSEC_PER_SEC, gap); // until the mean is that of these gaps
    run.latest = 0;
    run.wakes = run.met = 0;
    run_for(g, &run, NSEC_PER_SEC, gap);
    return run;
}

static void rare_deadlines_are_met_one_by_one(void **state)
{
    static const int64_t gaps[] = {600 * NSEC_PER_USEC, NSEC_PER_MSEC, NSEC_PER_SEC / 3};

    (void)state;
    for (size_t i = 0; i < sizeof gaps / sizeof gaps[0]; i++) {
        struct gather g;
        gather_init(&g, ACCURACY);
        struct run run = start(&g, gaps[i]);
        assert_int_equal(run.wakes, run.met);
        assert_int_equal(run.latest, 0);
    }
}

static void dense_deadlines_are_gathered(void **state)
{
    static const int64_t gaps[] = {100, 5 * NSEC_PER_USEC, 100 * NSEC_PER_USEC};

    (void)state;
    for (size_t i = 0; i < sizeof gaps / sizeof gaps[0]; i++) {
        struct gather g;
        gather_init(&g, ACCURACY);
        struct run run = start(&g, gaps[i]);
        assert_in_range(run.wakes, 900, 2000);
        assert_in_range(run.met * (uint64_t)gaps[i], 0.99 * NSEC_PER_SEC, 1.01 * NSEC_PER_SEC);
        assert_in_range(run.latest, ACCURACY / 2, ACCURACY);
    }
}

/* Ten jobs with the same interval, each a little after the one before: in the mean they are rare. */
static void a_burst_does_not_make_them_dense(void **state)
{
    struct gather g;

    (void)state;
    gather_init(&g, ACCURACY);
    for (unsigned round = 0; round < 1000; round++)
        for (unsigned i = 0; i < 10; i++) {
            assert_int_equal(gather_wake(&g, 1000), 1000);
            gather_note_gap(&g, i < 9 ? 100 * NSEC_PER_USEC : 9100 * NSEC_PER_USEC);
        }
}

static void what_was_dense_may_be_rare_again(void **state)
{
    struct gather g;

    (void)state;
    gather_init(&g, ACCURACY);
    for (unsigned i = 0; i < 1000; i++)
        gather_note_gap(&g, 0);
    assert_in_range(gather_wake(&g, 0), ACCURACY - 1000, ACCURACY);
    gather_note_gap(&g, TIME_NEVER);
    assert_int_equal(gather_wake(&g, 0), 0);
}

static void without_accuracy_nothing_is_put_off(void **state)
{
    struct gather g;

    (void)state;
    gather_init(&g, 0);
    for (unsigned i = 0; i < 1000; i++)
        gather_note_gap(&g, 0);
    gather_note_quick(&g, 1, 1);
    assert_int_equal(gather_wake(&g, 7), 7);
}

static void never_early_whatever_was_noted(void **state)
{
    struct random r = random_start(1);

    (void)state;
    for (unsigned round = 0; round < 200; round++) {
        struct gather g;
        int64_t accuracy = random_between(&r, 0, ACCURACY_MAX);
        gather_init(&g, accuracy);
        for (unsigned i = 0; i < 300; i++) {
            int64_t deadline = random_magnitude(&r, INT64_MAX);
            gather_note_gap(&g, random_magnitude(&r, INT64_MAX));
            gather_note_quick(&g, random_magnitude(&r, INT64_MAX), deadline);
            int64_t wake = gather_wake(&g, deadline);
            assert_true(wake >= deadline);
            assert_true(wake - deadline <= accuracy);
        }
    }
    struct gather g;
    gather_init(&g, ACCURACY_MAX);
    assert_true(gather_wake(&g, TIME_NEVER) == TIME_NEVER);
}

static void quick_jobs_miss_no_tick(void **state)
{
    struct gather g;

    (void)state;
    gather_init(&g, ACCURACY);
    for (unsigned i = 0; i < 1000; i++)
        gather_note_gap(&g, 0);
    gather_note_quick(&g, 300 * NSEC_PER_USEC, 5000);
    gather_note_quick(&g, 40 * NSEC_PER_USEC, 2000);
    gather_note_quick(&g, gather_quick_below(&g), 9000); // not a quick one
    assert_in_range(gather_wake(&g, 2000) - 2000, 10 * NSEC_PER_USEC, 20 * NSEC_PER_USEC);
    // No job of 40 us has a deadline any more.
    assert_in_range(gather_wake(&g, 2001) - 2001, 75 * NSEC_PER_USEC, 150 * NSEC_PER_USEC);
    assert_in_range(gather_wake(&g, 5001) - 5001, ACCURACY - 1000, ACCURACY);
    gather_note_quick(&g, 300 * NSEC_PER_USEC, 7000);
    gather_note_quick(&g, 301 * NSEC_PER_USEC, 6000); // an earlier deadline leaves the later one in force
    assert_in_range(gather_wake(&g, 7000) - 7000, 75 * NSEC_PER_USEC, 150 * NSEC_PER_USEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rare_deadlines_are_met_one_by_one),
        cmocka_unit_test(dense_deadlines_are_gathered),
        cmocka_unit_test(a_burst_does_not_make_them_dense),
        cmocka_unit_test(what_was_dense_may_be_rare_again),
        cmocka_unit_test(without_accuracy_nothing_is_put_off),
        cmocka_unit_test(never_early_whatever_was_noted),
        cmocka_unit_test(quick_jobs_miss_no_tick),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
