/* Work on a thread of its own: beside the loop, without its signals, and told of from the loop. */
#include "daemon/worker.h"

#include "tests/unit/idle_loop.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct loop *loop;
    struct worker *worker;
    pthread_t worked_on, done_on;
    unsigned worked, done;
    sigset_t mask; // of the thread
    atomic_bool may_end;
};

static void on_done(void *ctx)
{
    struct fixture *f = ctx;

    f->done_on = pthread_self();
    f->done++;
    loop_stop(f->loop);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    if (f == NULL || (f->loop = idle_loop_new()) == NULL)
        return -1;
    f->worker = worker_new(loop_watches(f->loop), "test", on_done, f);
    *state = f;
    return f->worker == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    worker_free(f->worker);
    loop_free(f->loop);
    free(f);
    return 0;
}

static void work(void *ctx)
{
    struct fixture *f = ctx;

    f->worked_on = pthread_self();
    pthread_sigmask(SIG_SETMASK, NULL, &f->mask);
    f->worked++;
}

static void work_is_beside_the_loop(void **state)
{
    struct fixture *f = *state;
    sigset_t before, after;

    pthread_sigmask(SIG_SETMASK, NULL, &before);
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(worker_start(f->worker, work), 0);
        assert_int_equal(loop_run(f->loop), 0);
        assert_int_equal(f->worked, i);
        assert_int_equal(f->done, i);
        assert_false(pthread_equal(f->worked_on, pthread_self()));
        assert_true(pthread_equal(f->done_on, pthread_self()));
    }
    const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGPIPE, SIGUSR1};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        assert_true(sigismember(&f->mask, signals[i]));
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    for (int nr = 1; nr < NSIG; nr++)
        assert_int_equal(sigismember(&before, nr), sigismember(&after, nr));
}

static void tell(void *ctx, const char *purpose, const char *detail, int number, unsigned what)
{
    (void)detail;
    (void)number;
    (void)what;
    *(unsigned *)ctx += strcmp(purpose, "test") == 0;
}

static unsigned waited_for(const struct fixture *f)
{
    unsigned n = 0;

    watch_describe(loop_watches(f->loop), tell, &n);
    return n;
}

static void work_until_told(void *ctx)
{
    struct fixture *f = ctx;

    while (!atomic_load(&f->may_end))
        usleep(100);
    f->worked++;
}

static void it_is_waited_for_only_while_it_works(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(waited_for(f), 0);
    assert_int_equal(worker_start(f->worker, work_until_told), 0);
    assert_int_equal(waited_for(f), 1);
    atomic_store(&f->may_end, true);
    assert_int_equal(loop_run(f->loop), 0);
    assert_int_equal(waited_for(f), 0);
}

static void *let_it_end(void *ctx)
{
    struct fixture *f = ctx;

    usleep(20000);
    atomic_store(&f->may_end, true);
    return NULL;
}

static void freeing_waits_for_the_end(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;

    assert_int_equal(worker_start(f->worker, work_until_told), 0);
    assert_int_equal(pthread_create(&thread, NULL, let_it_end, f), 0);
    worker_free(f->worker);
    f->worker = NULL;
    assert_int_equal(f->worked, 1);
    assert_int_equal(f->done, 0);
    pthread_join(thread, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(work_is_beside_the_loop, setup, teardown),
        cmocka_unit_test_setup_teardown(it_is_waited_for_only_while_it_works, setup, teardown),
        cmocka_unit_test_setup_teardown(freeing_waits_for_the_end, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
