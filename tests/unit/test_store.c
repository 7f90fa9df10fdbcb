/* The thread that keeps the state, where its turns and those of the loop can miss each other. */
#include "daemon/store.h"

#include "tests/unit/idle_loop.h"

#include <dirent.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

static const struct progress progress = {.now = {.loop = 1000, .real = 1000}, .stamp = 1000, .next_id = 2};
static const struct row row = {
    .id = 1, .name = "tea", .source = "control", .state = "running", .spec = "kind=once\n", .added = 1000, .t0 = 2000};

struct fixture {
    char directory[64], path[80];
    struct loop *loop;
    struct store *store;
    unsigned renewals;
    uint64_t kept;
    char error[256];
};

static void on_done(void *ctx, uint64_t upto, const char *error)
{
    struct fixture *f = ctx;

    if (error == NULL)
        f->kept = upto;
    snprintf(f->error, sizeof f->error, "%s", error != NULL ? error : "");
}

static void on_undo(void *ctx, uint64_t id, const char *name)
{
    (void)ctx;
    fail_msg("nothing is to be undone: %s, %lu", name, (unsigned long)id);
}

/* The system call that this thread of ours waits in; -1: it runs. */
static long call_of(const char *tid)
{
    char path[300];
    long call = -1;

    snprintf(path, sizeof path, "/proc/self/task/%s/syscall", tid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    if (fscanf(file, "%ld", &call) != 1)
        call = -1;
    fclose(file);
    return call;
}

/* Until the only other thread waits to be woken, and is not only about to wait for a moment. */
static void await_sleep(void)
{
    DIR *tasks = opendir("/proc/self/task");
    const struct dirent *task;

    assert_non_null(tasks);
    while ((task = readdir(tasks)) != NULL) {
        if (task->d_name[0] == '.' || strtol(task->d_name, NULL, 10) == getpid())
            continue;
        for (unsigned asleep = 0; asleep < 100; sched_yield())
            asleep = call_of(task->d_name) == SYS_futex ? asleep + 1 : 0;
    }
    closedir(tasks);
}

/* The loop has ended. The thread has done all that there was to do, and sleeps, when it gets the last of the rows. */
static void on_renew(void *ctx, bool after_loop)
{
    struct fixture *f = ctx;

    assert_true(after_loop);
    f->renewals++;
    assert_int_equal(store_put(f->store, &row), 0);
    store_put_all(f->store);
    await_sleep();
    store_submit(f->store, &progress, false);
}

static void on_renewed(void *ctx, const struct database_found *old)
{
    (void)ctx;
    (void)old;
}

static int open_store(struct fixture *f)
{
    const struct store_hooks hooks = {
        .done = on_done, .undo = on_undo, .renew = on_renew, .renewed = on_renewed, .ctx = f};
    const struct database_config config = {.path = f->path, .boot = "boot", .now = progress.now};
    struct database_found found = {0};
    struct changes rows;
    char why[512];

    assert_int_equal(store_open(&config, loop_watches(f->loop), &hooks, &f->store, &found, why, sizeof why), 0);
    changes_init(&rows);
    while (store_read(f->store, &rows) == 1)
        ;
    const int n = (int)rows.n;
    changes_clear(&rows);
    return n;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    if (f == NULL || (f->loop = idle_loop_new()) == NULL)
        return -1;
    strcpy(f->directory, "/dev/shm/twisty-store-XXXXXX");
    if (mkdtemp(f->directory) == NULL)
        return -1;
    snprintf(f->path, sizeof f->path, "%s/state.db", f->directory);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    DIR *directory = opendir(f->directory);
    const struct dirent *entry;

    while ((entry = readdir(directory)) != NULL)
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(directory), entry->d_name, 0);
    closedir(directory);
    rmdir(f->directory);
    loop_free(f->loop);
    free(f);
    return 0;
}

static void the_last_rows_are_written_although_the_loop_has_ended(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(open_store(f), 0);
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(store_put(f->store, &row), 0);
    if (!store_close(f->store, &progress, 5000))
        fail_msg("not all is kept: %s", f->error);
    assert_int_equal(f->renewals, 1);
    assert_int_equal(open_store(f), 1);
    assert_true(store_close(f->store, &progress, 5000));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_last_rows_are_written_although_the_loop_has_ended, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
