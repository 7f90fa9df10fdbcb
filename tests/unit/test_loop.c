/* The clock among many who are ready all the time: counted in callbacks, so that a busy machine changes little. */
#include "daemon/loop.h"

#include "daemon/quantity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#define CLIENTS 200
#define WAKES   200
#define WORK    (20 * NSEC_PER_USEC) // of one callback

/* Callbacks that may come before the clock's, once that is due, and once its turn has come again: see loop.c. */
#define BEFORE_DUE_MAX  2
#define BEFORE_TURN_MAX 20

struct crowd {
    struct loop *loop;
    struct watch *clients[CLIENTS];
    int fds[CLIENTS]; // eventfds that can be read at any time
    int64_t ahead;    // of the next wake, in nanoseconds
    int64_t wish;     // when it shall be
    unsigned wakes;   // so far
    unsigned since;   // callbacks of clients since the last wake, or since the wish has come
    unsigned most;    // of these before any wake, once all descriptors are known to be ready
    unsigned none;    // wakes before which no client had its turn
};

static void spin(const struct loop *loop, int64_t ns)
{
    int64_t until = loop_now(loop) + ns;

    while (loop_now(loop) < until)
        ;
}

static void on_client(void *ctx, unsigned what)
{
    struct crowd *c = ctx;

    (void)what;
    if (c->ahead == 0 || loop_now(c->loop) >= c->wish)
        c->since++;
    spin(c->loop, WORK);
}

static void on_wake(void *ctx, int64_t now)
{
    struct crowd *c = ctx;

    c->wakes++;
    if (c->wakes > WAKES / 2 && c->since > c->most)
        c->most = c->since;
    c->none += c->since == 0;
    c->since = 0;
    c->wish = now + c->ahead;
    if (c->wakes == WAKES)
        loop_stop(c->loop);
    else
        loop_wake_at(c->loop, c->wish);
}

static void on_signal(void *ctx, int signal_nr)
{
    (void)ctx;
    (void)signal_nr;
}

/* Run until all wakes were had, each so long after the last one. */
static void run_crowd(struct crowd *c, int64_t ahead)
{
    const struct loop_hooks hooks = {on_wake, on_signal, c};

    *c = (struct crowd){.ahead = ahead};
    assert_int_equal(loop_new(BACKEND_AUTO, CLOCK_KIND_MONOTONIC, &hooks, &c->loop), 0);
    for (size_t i = 0; i < CLIENTS; i++) {
        c->fds[i] = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
        assert_true(c->fds[i] >= 0);
        c->clients[i] = watch_new(loop_watches(c->loop), c->fds[i], "client", NULL, on_client, c);
        assert_non_null(c->clients[i]);
        assert_int_equal(watch_want(c->clients[i], WATCH_READ, 0), 0);
    }
    loop_wake_at(c->loop, loop_now(c->loop));
    assert_int_equal(loop_run(c->loop), 0);
    for (size_t i = 0; i < CLIENTS; i++) {
        watch_free(c->clients[i]);
        close(c->fds[i]);
    }
    loop_free(c->loop);
}

/* A wish that is not near: when it has come, who is being seen to goes before it, and not all who are ready. */
static void a_due_wake_waits_for_few(void **state)
{
    struct crowd c;
    (void)state;

    run_crowd(&c, NSEC_PER_MSEC);
    if (c.most > BEFORE_DUE_MAX)
        fail_msg("%u of %u callbacks came first", c.most, CLIENTS);
}

/* Always due: the clock and the others take turns, and neither shuts the other out. */
static void who_is_always_due_takes_turns(void **state)
{
    struct crowd c;
    (void)state;

    run_crowd(&c, 0);
    if (c.most > BEFORE_TURN_MAX)
        fail_msg("%u of %u callbacks came first", c.most, CLIENTS);
    assert_true(c.none < WAKES / 2); // on a busy machine its turn may come round before anyone else was seen to
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_due_wake_waits_for_few),
        cmocka_unit_test(who_is_always_due_takes_turns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
