/* The loop's clock, on every backend: no wake comes before the time that was wished for, not by a nanosecond. */
#include "daemon/loop.h"

#include "daemon/quantity.h"
#include "tests/unit/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct fixture {
    struct loop *loop;
    struct random random;
    int64_t wish;
    unsigned wakes, gathered, left;
    int64_t spread; // wishes are so far apart, at most; ns
    bool early;
};

/* Wish for the next time: mostly within microseconds, so that the gaps are dense; and some at once. */
static void wish(struct fixture *f)
{
    f->wish = loop_now(f->loop) + random_between(&f->random, -f->spread / 8, f->spread);
    loop_wake_at(f->loop, f->wish);
}

static void on_wake(void *ctx, int64_t now)
{
    struct fixture *f = ctx;

    f->early |= now < f->wish;
    f->gathered += now - f->wish > NSEC_PER_MSEC / 2;
    f->wakes++;
    if (--f->left == 0)
        loop_stop(f->loop);
    else
        wish(f);
}

static void on_signal(void *ctx, int signal_nr)
{
    (void)ctx;
    (void)signal_nr;
}

static struct fixture run(enum loop_backend backend, enum loop_clock clock, int64_t accuracy, int64_t spread,
                          unsigned wakes)
{
    struct fixture f = {.random = random_start(1), .left = wakes, .spread = spread};
    const struct loop_hooks hooks = {.wake = on_wake, .signal = on_signal, .ctx = &f};

    assert_int_equal(loop_new(backend, clock, &hooks, &f.loop), 0);
    loop_set_accuracy(f.loop, accuracy);
    wish(&f);
    assert_int_equal(loop_run(f.loop), 0);
    loop_free(f.loop);
    return f;
}

static void no_wake_is_early(void **state)
{
    static const int64_t spreads[] = {4000, 100000, 400000};

    (void)state;
    for (enum loop_backend backend = BACKEND_EPOLL; backend <= BACKEND_SELECT; backend++)
        for (size_t i = 0; i < sizeof spreads / sizeof spreads[0]; i++)
            for (int64_t accuracy = 0; accuracy <= NSEC_PER_MSEC / 5; accuracy += NSEC_PER_MSEC / 5) {
                enum loop_clock clock = i == 1 ? CLOCK_KIND_BOOTTIME : CLOCK_KIND_MONOTONIC;
                struct fixture f = run(backend, clock, accuracy, spreads[i], 500);
                assert_false(f.early);
                assert_int_equal(f.wakes, 500);
            }
}

static void dense_wishes_are_gathered(void **state)
{
    (void)state;
    struct fixture f = run(BACKEND_AUTO, CLOCK_KIND_MONOTONIC, NSEC_PER_MSEC, 4000, 1000);
    assert_in_range(f.gathered, 300, 1000);
    assert_false(f.early);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_wake_is_early),
        cmocka_unit_test(dense_wishes_are_gathered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
