/* Real commands under a runner: how they begin, what is read of them, how they end, and who has to wait. */
#include "daemon/runner.h"

#include "daemon/capture.h"
#include "daemon/quantity.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* Long enough for a busy machine; nothing waits for it but a test that fails. */
#define DEADLINE (20 * NSEC_PER_SEC)

#define MSEC NSEC_PER_MSEC

struct fixture {
    struct event_base *base;
    struct watch_set *set;
    struct runner *runner;
    struct action *actions[64];
    unsigned n_actions, n_ended, changed;
    struct run_result last;
    char last_line[CAPTURE_LAST_MAX + 1];
    uint64_t lines[COMMAND_STREAMS], untold;
    char told[8192]; // results, and lines if there are few
};

static int64_t now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static int64_t on_now(void *ctx)
{
    (void)ctx;
    return now();
}

__attribute__((format(printf, 2, 3))) static void note(struct fixture *f, const char *format, ...)
{
    size_t len = strlen(f->told);
    va_list args;

    va_start(args, format);
    vsnprintf(f->told + len, sizeof f->told - len, format, args);
    va_end(args);
}

static bool on_line(void *ctx, const struct action *action, const struct occasion *occasion, enum command_stream stream,
                    const char *line)
{
    struct fixture *f = ctx;

    assert_non_null(action);
    if (f->lines[stream]++ < 20)
        note(f, "%s %s: %s\n", occasion->job, stream == COMMAND_STDOUT ? "out" : "err", line);
    return true;
}

static void on_ended(void *ctx, const struct action *action, const struct occasion *occasion,
                     const struct run_result *result)
{
    static const char *const words[] = {
        [RUN_SUCCEEDED] = "done",        [RUN_EXITED] = "exit",       [RUN_SIGNALLED] = "signal",
        [RUN_TIMED_OUT] = "timeout",     [RUN_NOT_STARTED] = "errno", [RUN_SHUT_DOWN] = "shutdown",
        [RUN_SUPERSEDED] = "superseded",
    };
    struct fixture *f = ctx;

    assert_non_null(action);
    note(f, "%s %s %d%s\n", occasion->job, words[result->outcome], result->number,
         result->retry_in > 0 ? " again" : "");
    f->last = *result;
    snprintf(f->last_line, sizeof f->last_line, "%s", result->last_line != NULL ? result->last_line : "(none)");
    f->untold = result->untold;
    f->n_ended++;
}

static void on_changed(void *ctx)
{
    struct fixture *f = ctx;

    f->changed++;
}

static void begin(struct fixture *f, uint32_t max_actions, uint32_t max_queued, int64_t stop_timeout)
{
    const struct runner_config config = {max_actions, max_queued, stop_timeout};
    const struct runner_hooks hooks = {
        .now = on_now, .line = on_line, .ended = on_ended, .changed = on_changed, .ctx = f};

    *f = (struct fixture){.base = event_base_new()};
    f->set = watch_set_new(f->base);
    assert_int_equal(runner_new(&config, f->set, &hooks, &f->runner), 0);
}

static void end(struct fixture *f)
{
    runner_free(f->runner);
    watch_set_free(f->set);
    event_base_free(f->base);
    for (unsigned i = 0; i < f->n_actions; i++)
        action_unref(f->actions[i]);
}

static void turn(struct fixture *f)
{
    if (runner_due(f->runner) <= now())
        runner_work(f->runner, now());
    event_base_loop(f->base, EVLOOP_NONBLOCK);
    usleep(500);
}

static void until_ended(struct fixture *f, unsigned n)
{
    int64_t deadline = now() + DEADLINE;

    while (f->n_ended < n) {
        if (now() > deadline)
            fail_msg("only %u of %u have ended: %s", f->n_ended, n, f->told);
        turn(f);
    }
}

static void until_told(struct fixture *f, const char *text)
{
    int64_t deadline = now() + DEADLINE;

    while (strstr(f->told, text) == NULL) {
        if (now() > deadline)
            fail_msg("'%s' is not told: %s", text, f->told);
        turn(f);
    }
}

static void until_idle(struct fixture *f)
{
    int64_t deadline = now() + DEADLINE;

    while (!runner_idle(f->runner, false)) {
        assert_true(now() < deadline);
        turn(f);
    }
}

/* An action that runs a line of shell. */
static struct action *shell(struct fixture *f, const char *script)
{
    struct action *action = f->actions[f->n_actions++] = action_new("test");

    assert_int_equal(text_list_add(&action->exec, "/bin/sh"), 0);
    assert_int_equal(text_list_add(&action->exec, "-c"), 0);
    assert_int_equal(text_list_add(&action->exec, script), 0);
    action->timeout = DEADLINE;
    return action;
}

static int run(struct fixture *f, struct action *action, const char *job, uint64_t id)
{
    struct occasion occasion = {.id = id, .hook = HOOK_TICK, .left = 1, .count = 2};

    snprintf(occasion.job, sizeof occasion.job, "%s", job);
    return runner_add(f->runner, action, &occasion);
}

static unsigned open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static void outcomes_are_told(void **state)
{
    static const struct {
        const char *script, *told, *last_line;
    } rows[] = {
        {"exit 0", "a done 0\n", "(none)"},
        {"echo one; echo two >&2; exit 3", "a out: one\na err: two\na exit 3\n", "two"},
        {"printf 'no newline' >&2; exit 1", "a err: no newline\na exit 1\n", "no newline"},
        {"kill -SEGV $$", "a signal 11\n", "(none)"},
        {"exec 0<&- 1>&- 2>&-; sleep 0.05; exit 4", "a exit 4\n", "(none)"},
        {"/bin/sleep 5 & disown 2>/dev/null; exit 0", "a done 0\n", "(none)"}, // keeps both pipes open
        {"setsid /bin/sh -c 'sleep 5; echo late' & exit 5", "a exit 5\n", "(none)"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct fixture f;
        unsigned fds = open_fds();
        begin(&f, 1, 1, MSEC);
        assert_int_equal(run(&f, shell(&f, rows[i].script), "a", 1), 0);
        until_ended(&f, 1);
        assert_string_equal(f.told, rows[i].told);
        assert_string_equal(f.last_line, rows[i].last_line);
        assert_true(f.changed > 0 && runner_idle(f.runner, false));
        end(&f);
        assert_int_equal(open_fds(), fds);
    }
}

static void what_cannot_be_started_says_why(void **state)
{
    static const struct {
        const char *path;
        int error;
    } rows[] = {{"/nowhere/at/all", ENOENT}, {"/etc/passwd", EACCES}, {"/etc", EACCES}, {"/etc/passwd/x", ENOTDIR}};
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct fixture f;
        begin(&f, 1, 1, MSEC);
        struct action *action = f.actions[f.n_actions++] = action_new("test");
        assert_int_equal(text_list_add(&action->exec, rows[i].path), 0);
        assert_int_equal(run(&f, action, "a", 1), 0);
        until_ended(&f, 1);
        assert_int_equal(f.last.outcome, RUN_NOT_STARTED);
        assert_int_equal(f.last.number, rows[i].error);
        end(&f);
    }
}

/* Signals that are blocked or ignored here are neither there; only 0 to 2 are open; it leads its group. */
static void a_command_begins_clean(void **state)
{
    static const char script[] =
        "ls /proc/self/fd | tr '\\n' ' '; echo; readlink /proc/$$/fd/0; grep -E '^(SigBlk|SigIgn)' /proc/self/status; "
        "test $$ = $(cut -d' ' -f5 /proc/$$/stat) && echo leads; env | cut -d= -f1 | sort | tr '\\n' ' '";
    struct fixture f;
    sigset_t set, before;
    int fds[2];
    (void)state;

    clearenv();
    setenv("PATH", "/usr/bin:/bin", 1);
    setenv("HOME", "/", 1);
    setenv("SECRET", "s", 1);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, &before);
    assert_int_equal(pipe(fds), 0); // not close-on-exec
    begin(&f, 1, 1, MSEC);
    assert_int_equal(run(&f, shell(&f, script), "a", 1), 0);
    until_ended(&f, 1);
    sigprocmask(SIG_SETMASK, &before, NULL);
    signal(SIGUSR1, SIG_DFL);
    close(fds[0]);
    close(fds[1]);
    assert_string_equal(f.told, "a out: 0 1 2 3 \n" // 3 is the directory that ls reads
                                "a out: /dev/null\n"
                                "a out: SigBlk:\t0000000000000000\n"
                                "a out: SigIgn:\t0000000180000000\n" // two that are the C library's own, 32 and 33
                                "a out: leads\n"
                                "a out: HOME PATH PWD TWISTY_COUNT TWISTY_EVENT TWISTY_ID TWISTY_JOB TWISTY_LEFT "
                                "TWISTY_MISSED \n" // PWD is the shell's own
                                "a done 0\n");
    end(&f);
}

static void a_flood_is_cut_off_and_counted(void **state)
{
    struct fixture f;
    (void)state;

    begin(&f, 1, 1, MSEC);
    assert_int_equal(run(&f, shell(&f, "i=0; yes abcdefghi | head -c 20000000; echo last >&2; exit 1"), "a", 1), 0);
    until_ended(&f, 1);
    assert_true(f.lines[COMMAND_STDOUT] >= 100 && f.lines[COMMAND_STDOUT] < 100 + 10 * 25);
    assert_int_equal(f.lines[COMMAND_STDOUT] + f.lines[COMMAND_STDERR] + f.untold, 2000001);
    assert_string_equal(f.last_line, "last"); // told or not
    end(&f);
}

static void a_timeout_terminates_and_then_kills(void **state)
{
    struct fixture f;
    (void)state;

    begin(&f, 2, 1, 600 * MSEC);
    struct action *gentle =
        shell(&f, "exec 2>/dev/null; trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done");
    struct action *stubborn = shell(&f, "trap '' TERM; echo on; while :; do sleep 0.01; done");
    gentle->timeout = stubborn->timeout = 300 * MSEC;
    int64_t began = now();
    assert_int_equal(run(&f, gentle, "a", 1), 0);
    until_ended(&f, 1);
    assert_string_equal(f.told, "a out: up\na out: bye\na timeout 0\n");
    assert_true(f.last.runtime >= 300 * MSEC && now() - began >= 300 * MSEC);
    assert_int_equal(run(&f, stubborn, "b", 2), 0);
    until_ended(&f, 2);
    assert_non_null(strstr(f.told, "b timeout 9\n"));
    assert_true(f.last.runtime >= 900 * MSEC);
    end(&f);
}

/* A grandchild that ignores SIGTERM goes with its leader. */
static void the_whole_group_is_killed(void **state)
{
    struct fixture f;
    int pid = 0;
    (void)state;

    begin(&f, 1, 1, DEADLINE);
    struct action *action = shell(&f, "(trap '' TERM; while :; do sleep 0.01; done) & echo $!; wait");
    action->timeout = 300 * MSEC;
    assert_int_equal(run(&f, action, "a", 1), 0);
    until_ended(&f, 1);
    assert_int_equal(sscanf(f.told, "a out: %d", &pid), 1);
    for (int64_t deadline = now() + DEADLINE; kill(pid, 0) == 0;) { // init reaps it some time
        char path[64], line[256] = "";
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        FILE *file = fopen(path, "r");
        bool zombie = file == NULL || fgets(line, sizeof line, file) == NULL || strstr(line, ") Z ") != NULL;
        if (file != NULL)
            fclose(file);
        if (zombie)
            break;
        assert_true(now() < deadline);
        usleep(1000);
    }
    end(&f);
}

static void the_line_is_bounded_and_in_order(void **state)
{
    struct fixture f;
    struct action_counts counts;
    (void)state;

    begin(&f, 1, 2, MSEC);
    assert_int_equal(run(&f, shell(&f, "sleep 0.05; echo 1"), "a", 1), 0);
    assert_int_equal(run(&f, shell(&f, "echo 2"), "b", 2), 0);
    assert_int_equal(run(&f, shell(&f, "echo 3"), "c", 3), 0);
    assert_int_equal(run(&f, shell(&f, "echo 4"), "d", 4), -ENOBUFS);
    counts = runner_counts(f.runner);
    assert_int_equal(counts.queued, 3);
    assert_int_equal(counts.failed, 1);
    until_ended(&f, 3);
    assert_string_equal(f.told, "a out: 1\na done 0\nb out: 2\nb done 0\nc out: 3\nc done 0\n");
    assert_int_equal(run(&f, shell(&f, "exit 0"), "d", 4), 0);
    until_ended(&f, 4);
    counts = runner_counts(f.runner);
    assert_int_equal(counts.started, 4);
    end(&f);
}

static void overlap_skips(void **state)
{
    struct fixture f;
    struct action_counts counts;
    (void)state;

    begin(&f, 4, 4, MSEC);
    struct action *action = shell(&f, "echo on; sleep 0.1");
    assert_int_equal(run(&f, action, "a", 1), 0);
    assert_int_equal(run(&f, action, "a", 1), -EALREADY); // in line
    until_told(&f, "a out: on");
    assert_int_equal(run(&f, action, "a", 1), -EALREADY); // running
    assert_int_equal(run(&f, action, "b", 1001), 0);      // another job, on the same chain of the table
    assert_int_equal(run(&f, action, "c", 1 + 1024), 0);
    until_ended(&f, 3);
    counts = runner_counts(f.runner);
    assert_int_equal(counts.skipped, 2);
    assert_int_equal(run(&f, action, "a", 1), 0);
    until_ended(&f, 4);
    end(&f);
}

static void overlap_queues_in_order_and_bounded(void **state)
{
    struct fixture f;
    unsigned n = 0;
    (void)state;

    begin(&f, 4, 100, MSEC);
    struct action *action = shell(&f, "sleep 0.01; echo $TWISTY_LEFT");
    action->overlap = OVERLAP_QUEUE;
    for (;; n++) {
        const struct occasion occasion = {.job = "a", .id = 1, .hook = HOOK_TICK, .left = n};
        int r = runner_add(f.runner, action, &occasion);
        if (r == -ENOBUFS)
            break;
        assert_int_equal(r, 0);
    }
    assert_int_equal(n, 17);                      // one, and sixteen behind it
    assert_int_equal(run(&f, action, "b", 2), 0); // others have their own
    until_ended(&f, n + 1);
    const char *at = f.told;
    for (unsigned i = 0; i < 16; i++) {
        char line[32];
        snprintf(line, sizeof line, "a out: %u\n", i);
        const char *found = strstr(f.told, line);
        assert_non_null(found);
        assert_true(found >= at);
        at = found;
    }
    end(&f);
}

static void overlap_kills_for_the_latest(void **state)
{
    struct fixture f;
    struct action_counts counts;
    (void)state;

    begin(&f, 4, 100, DEADLINE);
    struct action *action = shell(&f, "echo $TWISTY_LEFT; [ $TWISTY_LEFT = 9 ] || exec sleep 1000");
    action->overlap = OVERLAP_KILL;
    struct occasion occasion = {.job = "a", .id = 1, .hook = HOOK_TICK, .left = 1};
    assert_int_equal(runner_add(f.runner, action, &occasion), 0);
    occasion.left = 2; // takes the place of the one that has not begun
    assert_int_equal(runner_add(f.runner, action, &occasion), -EALREADY);
    until_told(&f, "a out: 2\n");
    occasion.left = 3;
    assert_int_equal(runner_add(f.runner, action, &occasion), 0);
    occasion.left = 9;
    assert_int_equal(runner_add(f.runner, action, &occasion), -EALREADY);
    until_ended(&f, 2);
    assert_string_equal(f.told, "a out: 2\na superseded 15\na out: 9\na done 0\n");
    counts = runner_counts(f.runner);
    assert_int_equal(counts.skipped, 3);
    assert_int_equal(counts.failed, 0);
    assert_memory_equal(&counts, &action->tally->counts, sizeof counts); // there was no other
    end(&f);
}

static void failures_are_tried_again(void **state)
{
    struct fixture f;
    struct action_counts counts;
    char script[128], path[] = "/tmp/twisty-test-XXXXXX";
    (void)state;

    int fd = mkstemp(path);
    close(fd);
    begin(&f, 1, 4, MSEC);
    snprintf(script, sizeof script, "echo x >>%s; [ $(wc -l <%s) = 3 ]", path, path);
    struct action *action = shell(&f, script);
    action->retry = 5;
    action->backoff = MSEC;
    assert_int_equal(run(&f, action, "a", 1), 0);
    until_idle(&f);
    unlink(path);
    assert_string_equal(f.told, "a exit 1 again\na exit 1 again\na done 0\n");
    assert_int_equal(f.last.attempt, 3);

    struct action *never = shell(&f, "exit 7");
    never->retry = 2;
    never->backoff = MSEC;
    f.told[0] = '\0';
    assert_int_equal(run(&f, never, "a", 1), 0);
    assert_int_equal(run(&f, action, "b", 2), 0); // has its turn while the first waits for its next try
    until_idle(&f);
    assert_non_null(strstr(f.told, "a exit 7 again\n"));
    assert_non_null(strstr(f.told, "a exit 7\n"));
    counts = runner_counts(f.runner);
    assert_int_equal(counts.running + counts.queued, 0);
    assert_int_equal(never->tally->counts.started, 3);
    assert_int_equal(never->tally->counts.failed, 3);
    assert_int_equal(counts.started - 3, action->tally->counts.started);
    assert_int_equal(counts.failed - 3, action->tally->counts.failed);
    assert_int_equal(action->tally->counts.running + action->tally->counts.queued, 0);
    end(&f);
}

static void a_stop_drops_what_waits_and_ends_what_runs(void **state)
{
    struct fixture f;
    (void)state;

    begin(&f, 3, 10, 100 * MSEC);
    struct action *gentle = shell(&f, "trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done");
    struct action *stubborn = shell(&f, "trap '' TERM; echo on; while :; do sleep 0.01; done");
    struct action *failing = shell(&f, "exit 1");
    gentle->overlap = OVERLAP_QUEUE;
    failing->retry = 1;
    failing->backoff = DEADLINE;
    assert_int_equal(run(&f, failing, "retry", 5), 0);
    until_told(&f, "retry exit 1 again");
    assert_int_equal(run(&f, gentle, "a", 1), 0);
    assert_int_equal(run(&f, gentle, "a", 1), 0);
    assert_int_equal(run(&f, stubborn, "b", 2), 0);
    until_told(&f, "up");
    until_told(&f, "on");
    assert_int_equal(run(&f, gentle, "c", 3), 0);
    assert_int_equal(run(&f, gentle, "d", 4), 0); // in line, or just begun
    f.told[0] = '\0';
    runner_stop(f.runner, now());
    assert_int_equal(run(&f, gentle, "e", 6), -ESHUTDOWN);
    until_idle(&f);
    assert_non_null(strstr(f.told, "retry shutdown 0\n"));
    assert_non_null(strstr(f.told, "a shutdown 0\n")); // the one behind
    assert_non_null(strstr(f.told, "a done 0\n"));     // did its work when told to end
    assert_non_null(strstr(f.told, "b shutdown 9\n"));
    end(&f);
}

/* It is the second word that kills. */
static void a_second_stop_does_not_wait(void **state)
{
    struct fixture f;
    (void)state;

    begin(&f, 1, 1, DEADLINE);
    assert_int_equal(run(&f, shell(&f, "trap '' TERM; echo on; while :; do sleep 0.01; done"), "a", 1), 0);
    until_told(&f, "on");
    int64_t began = now();
    runner_stop(f.runner, began);
    runner_stop(f.runner, began);
    until_idle(&f);
    assert_true(now() - began < DEADLINE / 2);
    end(&f);
}

/* Whatever is under way when the runner goes. */
static void a_runner_may_go_at_any_time(void **state)
{
    unsigned fds = open_fds();
    (void)state;

    for (unsigned turns = 0; turns < 12; turns++) {
        struct fixture f;
        begin(&f, 4, 40, MSEC);
        struct action *action = shell(&f, "echo on; exec sleep 1000");
        action->overlap = OVERLAP_QUEUE;
        for (unsigned i = 0; i < 20; i++)
            assert_int_equal(run(&f, action, "a", i / 2), 0);
        for (unsigned i = 0; i < turns; i++)
            turn(&f);
        unsigned ended = f.n_ended;
        end(&f);
        assert_int_equal(f.n_ended, ended); // nothing is told
    }
    assert_int_equal(open_fds(), fds);
    while (waitpid(-1, NULL, 0) > 0)
        ;
}

static void bounds_can_change(void **state)
{
    struct fixture f;
    (void)state;

    begin(&f, 1, 0, MSEC);
    struct action *action = shell(&f, "exit 0");
    assert_int_equal(run(&f, action, "a", 1), 0);
    assert_int_equal(run(&f, action, "b", 2), -ENOBUFS);
    assert_int_equal(runner_configure(f.runner, &(struct runner_config){2, 500, MSEC}), 0);
    for (uint64_t id = 2; id < 400; id++)
        assert_int_equal(run(&f, action, "b", id), 0);
    assert_int_equal(runner_configure(f.runner, &(struct runner_config){1, 0, MSEC}), 0);
    assert_int_equal(run(&f, action, "c", 1000), -ENOBUFS);
    until_ended(&f, 399);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outcomes_are_told),
        cmocka_unit_test(what_cannot_be_started_says_why),
        cmocka_unit_test(a_command_begins_clean),
        cmocka_unit_test(a_flood_is_cut_off_and_counted),
        cmocka_unit_test(a_timeout_terminates_and_then_kills),
        cmocka_unit_test(the_whole_group_is_killed),
        cmocka_unit_test(the_line_is_bounded_and_in_order),
        cmocka_unit_test(overlap_skips),
        cmocka_unit_test(overlap_queues_in_order_and_bounded),
        cmocka_unit_test(overlap_kills_for_the_latest),
        cmocka_unit_test(failures_are_tried_again),
        cmocka_unit_test(a_stop_drops_what_waits_and_ends_what_runs),
        cmocka_unit_test(a_second_stop_does_not_wait),
        cmocka_unit_test(a_runner_may_go_at_any_time),
        cmocka_unit_test(bounds_can_change),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
