/* Watches on a loop of their own: what is wanted is what calls, and is what is described. */
#include "receiver.h"

#include "daemon/watch.h"

#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>

struct fixture {
    struct event_base *base;
    struct watch_set *set;
    struct watch *watch;
    int fds[2]; // a pipe
    unsigned calls;
    unsigned what; // of the last call
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->base = event_base_new();
    f->set = watch_set_new(f->base);
    *state = f;
    return f->base && f->set && pipe2(f->fds, O_CLOEXEC | O_NONBLOCK) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    watch_free(f->watch);
    watch_set_free(f->set);
    event_base_free(f->base);
    close(f->fds[0]);
    close(f->fds[1]);
    free(f);
    return 0;
}

static void on_ready(void *ctx, unsigned what)
{
    struct fixture *f = ctx;

    f->calls++;
    f->what = what;
}

static void turn(struct fixture *f)
{
    event_base_loop(f->base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
}

static void calls_for_what_is_wanted(void **state)
{
    struct fixture *f = *state;

    f->watch = watch_new(f->set, f->fds[0], "test", NULL, on_ready, f);
    assert_int_equal(write(f->fds[1], "x", 1), 1);
    turn(f);
    assert_int_equal(f->calls, 0); // nothing is wanted yet
    assert_int_equal(watch_want(f->watch, WATCH_READ, 0), 0);
    turn(f);
    turn(f);
    assert_int_equal(f->calls, 2); // until it is read
    assert_int_equal(f->what, WATCH_READ);
    assert_int_equal(watch_want(f->watch, 0, 0), 0);
    turn(f);
    assert_int_equal(f->calls, 2);
    watch_free(f->watch);
    f->watch = watch_new(f->set, f->fds[1], "test", NULL, on_ready, f);
    assert_int_equal(watch_want(f->watch, WATCH_WRITE, 0), 0);
    turn(f);
    assert_int_equal(f->what, WATCH_WRITE);
}

static void timeout_repeats_until_changed(void **state)
{
    struct fixture *f = *state;

    f->watch = watch_new(f->set, -1, "test", NULL, on_ready, f);
    assert_int_equal(watch_want(f->watch, 0, 1), 0);
    for (unsigned i = 1; i <= 3; i++) {
        event_base_loop(f->base, EVLOOP_ONCE);
        assert_int_equal(f->calls, i);
        assert_int_equal(f->what, WATCH_TIMEOUT);
    }
    assert_int_equal(watch_want(f->watch, 0, 0), 0);
    assert_int_equal(event_base_loop(f->base, EVLOOP_ONCE), 1); // no event is left
    assert_int_equal(f->calls, 3);
}

static void timeout_beside_a_descriptor(void **state)
{
    struct fixture *f = *state;

    f->watch = watch_new(f->set, f->fds[0], "test", NULL, on_ready, f);
    assert_int_equal(watch_want(f->watch, WATCH_READ, 1), 0);
    event_base_loop(f->base, EVLOOP_ONCE);
    assert_int_equal(f->what, WATCH_TIMEOUT);
    assert_int_equal(watch_want(f->watch, WATCH_READ, DEADLINE_MS), 0);
    assert_int_equal(write(f->fds[1], "x", 1), 1);
    event_base_loop(f->base, EVLOOP_ONCE);
    assert_int_equal(f->what, WATCH_READ);
}

static void signal_is_caught(void **state)
{
    struct fixture *f = *state;

    f->watch = watch_signal(f->set, SIGUSR1, "test", on_ready, f);
    assert_non_null(f->watch);
    raise(SIGUSR1);
    event_base_loop(f->base, EVLOOP_ONCE);
    assert_int_equal(f->calls, 1);
    assert_int_equal(f->what, WATCH_SIGNAL);
}

static void free_itself(void *ctx, unsigned what)
{
    struct fixture *f = ctx;

    (void)what;
    watch_free(f->watch);
    f->watch = NULL;
    f->calls++;
}

static void may_be_freed_from_its_callback(void **state)
{
    struct fixture *f = *state;

    f->watch = watch_new(f->set, f->fds[1], "test", "detail", free_itself, f);
    assert_int_equal(watch_want(f->watch, WATCH_WRITE, 0), 0);
    turn(f);
    turn(f);
    assert_int_equal(f->calls, 1);
    watch_free(NULL);
}

static void append(void *ctx, const char *purpose, const char *detail, int number, unsigned what)
{
    size_t len = strlen(ctx);

    snprintf((char *)ctx + len, 256 - len, "%s/%s/%s/%u ", purpose, detail ? detail : "", number < 0 ? "none" : "fd",
             what);
}

static void describes_what_waits(void **state)
{
    struct fixture *f = *state;
    struct watch *idle = watch_new(f->set, f->fds[0], "idle", NULL, on_ready, f);
    struct watch *timer = watch_new(f->set, -1, "timer", NULL, on_ready, f);
    char detail[] = "peer", text[256] = "";

    f->watch = watch_new(f->set, f->fds[1], "conn", detail, on_ready, f);
    detail[0] = 'X'; // it has a copy
    assert_int_equal(watch_want(f->watch, WATCH_READ | WATCH_WRITE, 500), 0);
    assert_int_equal(watch_want(timer, 0, 500), 0);
    watch_describe(f->set, append, text);
    watch_free(idle);
    watch_free(timer);
    assert_string_equal(text, "timer//none/4 conn/peer/fd/7 ");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(calls_for_what_is_wanted), TEST(timeout_repeats_until_changed),  TEST(timeout_beside_a_descriptor),
        TEST(signal_is_caught),         TEST(may_be_freed_from_its_callback), TEST(describes_what_waits),
    };

    alarm(60);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
