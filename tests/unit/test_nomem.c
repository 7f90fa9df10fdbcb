/*
 * What happens when there is no memory: each allocation of a call fails in turn, and all must be as it was.
 *
 * Linked with --wrap for the four functions below, so that they come here first; SQLite is told to come here as well.
 */
#include "daemon/database.h"
#include "daemon/durable.h"
#include "daemon/emit.h"
#include "daemon/reactions.h"
#include "daemon/reload.h"
#include "daemon/reloader.h"
#include "daemon/sched.h"
#include "daemon/store.h"
#include "daemon/waits.h"
#include "tests/unit/idle_loop.h"
#include "tests/unit/jobs_world.h"

#include <errno.h>
#include <glob.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_reallocarray(void *old, size_t n, size_t size);
char *__real_strdup(const char *text);

/* Allocations of all threads until the one that fails; below 0: none does. */
static atomic_int until_failure = -1;

static bool fails_now(void)
{
    if (until_failure < 0 || until_failure-- > 0)
        return false;
    until_failure = -1;
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails_now() ? NULL : __real_calloc(n, size);
}

void *__wrap_reallocarray(void *old, size_t n, size_t size)
{
    return fails_now() ? NULL : __real_reallocarray(old, n, size);
}

char *__wrap_strdup(const char *text)
{
    return fails_now() ? NULL : __real_strdup(text);
}

static void a_batch_without_memory_changes_nothing(void **state)
{
    static struct picture before;
    bool done = false;
    int failures = 0;
    (void)state;

    for (int nth = 0; !done; nth++) {
        struct world w;
        world_init(&w, 100, 100);
        world_add(&w, loop("live", SEC), 0);
        world_add(&w, once("ended", 0), 0);
        jobs_run_due(w.jobs, 0, 10);
        struct job_spec specs[32] = {countdown("live", 1), countdown(NULL, 1), countdown("ended", 1)};
        char texts[32][40];
        for (size_t i = 3; i < 32; i++) { // each with a name and a message of its own
            specs[i] = loop(i % 2 == 0 ? texts[i] : NULL, SEC);
            specs[i].message = texts[i];
            snprintf(texts[i], sizeof texts[i], "a-text-that-must-be-copied-%zu", i);
        }
        struct jobs_add add = {.specs = specs, .n = 32, .mode = ADD_REPLACE};
        size_t failed;
        picture_take(&before, w.jobs);
        w.told[0] = '\0';

        until_failure = nth;
        int r = jobs_add(w.jobs, &add, SEC, NULL, &failed);
        done = until_failure >= 0; // the call had no need of so many
        until_failure = -1;
        failures += !done;
        assert_int_equal(r, done ? 0 : -ENOMEM);
        if (r < 0) {
            world_told(&w, "");
            picture_check_same(&before, w.jobs);
            assert_int_equal(jobs_add(w.jobs, &add, SEC, NULL, &failed), 0); // there is some again
        }
        assert_int_equal(jobs_find(w.jobs, "live")->id, 3);
        assert_int_equal(jobs_find(w.jobs, "ended")->id, 5);
        assert_int_equal(jobs_find(w.jobs, "loop-34")->id, 34);
        jobs_free(w.jobs);
    }
    assert_true(failures >= 29 + 14); // a message, a name: or this test has lost its grip
}

static void the_first_batch_without_memory(void **state)
{
    static struct picture before;
    int failures = 0;
    (void)state;

    for (bool done = false; !done; failures++) {
        struct job_spec spec = loop("a", SEC);
        struct jobs_add add = {.specs = &spec, .n = 1};
        struct world w;
        size_t failed;
        world_init(&w, 100, 100);
        picture_take(&before, w.jobs);
        until_failure = failures;
        done = jobs_add(w.jobs, &add, 0, NULL, &failed) == 0;
        until_failure = -1;
        if (!done) {
            picture_check_same(&before, w.jobs);
            assert_int_equal(jobs_add(w.jobs, &add, 0, NULL, &failed), 0);
        }
        assert_int_equal(jobs_run_due(w.jobs, 0, 10), 1);
        jobs_free(w.jobs);
    }
    assert_true(failures > 8); // memory for the job, its name's place, its traits and its deadline
}

static void no_memory_for_the_jobs_at_all(void **state)
{
    const struct jobs_config config = {10, 10, {1, 2}};
    const struct jobs_hooks hooks = {world_event, world_changed, world_removed, NULL};
    int failures = 0;
    (void)state;

    for (;; failures++) {
        until_failure = failures;
        struct jobs *jobs = jobs_new(&config, &hooks);
        until_failure = -1;
        if (jobs != NULL) {
            jobs_free(jobs);
            break;
        }
    }
    assert_true(failures > 0);
}

/* The reason cannot be kept, so the job is as it was, and the caller knows. */
static void a_failure_without_memory_is_told_to_the_caller(void **state)
{
    static struct picture before;
    struct world w;
    (void)state;

    world_init(&w, 10, 10);
    struct job *job = world_add(&w, loop("a", SEC), 0);
    jobs_run_due(w.jobs, 0, 10);
    picture_take(&before, w.jobs);
    w.told[0] = '\0';
    for (int nth = 0; nth < 2; nth++) {
        until_failure = nth;
        int r = jobs_fail(w.jobs, job, 1, "exit status 1");
        until_failure = -1;
        assert_int_equal(r, -ENOMEM);
        world_told(&w, "");
        picture_check_same(&before, w.jobs);
    }
    assert_int_equal(jobs_fail(w.jobs, job, 1, "exit status 1"), 0);
    jobs_free(w.jobs);
}

/* Three hundred jobs, so that they are added in slices; and a message for each, which takes memory of its own. */
static struct config *make_config(const char *message)
{
    struct config_builder *b = config_builder_new(NULL, NULL);
    struct config *config;
    char text[128];

    assert_non_null(b);
    for (unsigned i = 0; i < 300; i++) {
        int n = snprintf(text, sizeof text, "[job:job-%u]\nkind = loop\nmessage = %s-%u\n", i, message, i);
        assert_int_equal(config_builder_add(b, "file", text, (size_t)n), 0);
    }
    assert_int_equal(config_builder_finish(b, &config), 0);
    config_builder_free(b);
    return config;
}

static void a_configuration_without_memory(void **state)
{
    int failures = 0;
    (void)state;

    for (bool done = false; !done; failures++) {
        static const char text[] = "[defaults]\nmessage = x\n[job:a]\nkind = loop\n[job:b]\nkind = once\nmessage = y\n";
        struct config *config = NULL;
        until_failure = failures;
        struct config_builder *b = config_builder_new(NULL, NULL);
        int r = b == NULL ? -ENOMEM : config_builder_add(b, "file", text, sizeof text - 1);
        if (r == 0)
            r = config_builder_finish(b, &config);
        done = until_failure >= 0;
        until_failure = -1;
        assert_int_equal(r, done ? 0 : -ENOMEM);
        config_builder_free(b);
        config_free(config);
    }
    assert_true(failures > 8);
}

static void comparing_without_memory(void **state)
{
    struct config *config = make_config("m");
    int failures = 0;
    (void)state;

    for (bool done = false; !done; failures++) {
        struct reload_plan plan;
        until_failure = failures;
        int r = reload_compare(&(struct digest){0}, config, &plan);
        done = until_failure >= 0;
        until_failure = -1;
        assert_int_equal(r, done ? 0 : -ENOMEM);
        assert_true(done || (plan.specs == NULL && plan.digest.n == 0));
        reload_plan_clear(&plan);
    }
    assert_true(failures > 3); // the order, what becomes of them, the digest
    config_free(config);
}

/* It ends in the middle; with the old digest kept, the next one does it all again. */
static void a_reload_without_memory_is_done_again(void **state)
{
    struct config *config = make_config("m");
    int failures = 0;
    (void)state;

    for (bool done = false; !done; failures += 50) {
        struct reload_plan plan;
        struct jobs_counts counts;
        struct world w;
        int r;
        world_init(&w, 1000, 10);
        assert_int_equal(reload_compare(&(struct digest){0}, config, &plan), 0);
        until_failure = failures;
        while ((r = reload_step(&plan, w.jobs, 0, 0)) > 0)
            ;
        done = until_failure >= 0;
        until_failure = -1;
        assert_int_equal(r, done ? 0 : -ENOMEM);
        reload_plan_clear(&plan);
        assert_int_equal(reload_compare(&(struct digest){0}, config, &plan), 0);
        while ((r = reload_step(&plan, w.jobs, 0, 0)) > 0)
            ;
        assert_int_equal(r, 0);
        reload_plan_clear(&plan);
        jobs_counts(w.jobs, &counts);
        assert_int_equal(counts.live, 300);
        jobs_free(w.jobs);
    }
    assert_true(failures > 300);
    config_free(config);
}

static void a_schedule_that_cannot_grow_keeps_what_it_has(void **state)
{
    (void)state;
    for (int nth = 0; nth < 2; nth++) {
        struct sched *s = sched_new();
        uint32_t handle;
        assert_non_null(s);
        assert_int_equal(sched_reserve(s, 2), 0);
        sched_set(s, 0, 20);
        sched_set(s, 1, 10);
        until_failure = nth;
        int r = sched_reserve(s, 1000);
        until_failure = -1;
        assert_int_equal(r, -ENOMEM);
        assert_true(sched_pop_due(s, 20, &handle) && handle == 1);
        assert_int_equal(sched_reserve(s, 1000), 0);
        sched_set(s, 999, 15);
        assert_true(sched_pop_due(s, 20, &handle) && handle == 999);
        assert_true(sched_pop_due(s, 20, &handle) && handle == 0);
        sched_free(s);
    }
}

/* A key that cannot be kept leaves the one from before. */
static void a_draft_without_memory_keeps_what_was_said(void **state)
{
    struct spec_draft draft = {0};
    struct job_spec spec = {0}, copy;
    struct spec_error err;
    (void)state;

    assert_int_equal(spec_draft_set(&draft, KEY_KIND, "loop", &err), 0);
    assert_int_equal(spec_draft_set(&draft, KEY_NAME, "tea", &err), 0);
    assert_int_equal(spec_draft_set(&draft, KEY_MESSAGE, "hot", &err), 0);
    until_failure = 0;
    assert_int_equal(spec_draft_set(&draft, KEY_NAME, "coffee", &err), -ENOMEM);
    until_failure = 0;
    assert_int_equal(spec_draft_set(&draft, KEY_MESSAGE, "cold", &err), -ENOMEM);
    assert_string_equal(draft.spec.name, "tea");
    assert_string_equal(draft.spec.message, "hot");
    for (int nth = 0; nth < 2; nth++) {
        until_failure = nth;
        assert_int_equal(spec_from_draft(&draft, NULL, &spec, &err), -ENOMEM);
        assert_null(spec.name);
    }
    until_failure = -1;
    assert_int_equal(spec_from_draft(&draft, NULL, &spec, &err), 0);
    for (int nth = 0; nth < 2; nth++) {
        until_failure = nth;
        assert_int_equal(spec_copy(&spec, &copy), -ENOMEM);
    }
    until_failure = -1;
    spec_clear(&spec);
    spec_draft_clear(&draft);
}

/* What could not be kept is noted, and nothing more is written behind the gap. */
static void json_without_memory_is_known_to_be_broken(void **state)
{
    struct emit e = {0};
    size_t len;
    (void)state;

    emit_open(&e, NULL, '[');
    len = e.room;
    until_failure = 0;
    for (size_t i = 0; i < len; i++)
        emit_int(&e, NULL, 7);
    until_failure = -1;
    assert_true(e.failed);
    assert_true(e.len <= e.room);
    len = e.len;
    emit_text(&e, NULL, "late");
    assert_int_equal(e.len, len);
    emit_reset(&e);
    emit_text(&e, NULL, "again");
    assert_false(e.failed);
    emit_free(&e);
}

/* SQLite's own allocations. */

static sqlite3_mem_methods sqlite_memory;

static void *sqlite_malloc(int size)
{
    return fails_now() ? NULL : sqlite_memory.xMalloc(size);
}

static void *sqlite_realloc(void *old, int size)
{
    return fails_now() ? NULL : sqlite_memory.xRealloc(old, size);
}

static void sqlite_may_fail(void)
{
    sqlite3_mem_methods wrapped;

    assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_memory), SQLITE_OK);
    wrapped = sqlite_memory;
    wrapped.xMalloc = sqlite_malloc;
    wrapped.xRealloc = sqlite_realloc;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &wrapped), SQLITE_OK);
}

/* The next allocation to fail of those of which there are very many; all of them if there is time. */
static int next_failure(int n)
{
    return n < 50 || getenv("TWISTY_SOAK") != NULL ? n + 1 : n + 7;
}

/* State files, in a directory of their own. */

struct place {
    char directory[64], path[96];
};

static struct place place_new(void)
{
    struct place p = {.directory = "/dev/shm/twisty-nomem-XXXXXX"};

    assert_non_null(mkdtemp(p.directory));
    snprintf(p.path, sizeof p.path, "%s/state.db", p.directory);
    return p;
}

static void place_empty(const struct place *p)
{
    char pattern[80];
    glob_t found;

    snprintf(pattern, sizeof pattern, "%s/*", p->directory);
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++)
            unlink(found.gl_pathv[i]);
    globfree(&found);
}

static void place_remove(const struct place *p)
{
    place_empty(p);
    rmdir(p->directory);
}

#define KEPT 12

static void put_rows(struct changes *changes, uint64_t from, uint64_t to)
{
    char name[32], spec[300], reason[8000];

    for (uint64_t id = from; id <= to; id++) {
        snprintf(name, sizeof name, "job-%d", (int)id);
        snprintf(spec, sizeof spec, "kind=loop\nrate=1/s\nmessage=%0200d\n", (int)id);
        snprintf(reason, sizeof reason, "%0*d", id % 4 == 0 ? 6000 : 20, (int)id); // more than a page, and a few bytes
        const struct row row = {.id = id,
                                .name = name,
                                .source = "control",
                                .state = id % 2 == 0 ? "failed" : "running",
                                .reason = id % 2 == 0 ? reason : NULL,
                                .spec = spec,
                                .ended = id % 2 == 0 ? id : 0};
        assert_int_equal(changes_put(changes, &row), 0);
    }
}

static struct database_config file_of(const struct place *p)
{
    return (struct database_config){p->path, "boot", {SEC, SEC}};
}

static int open_file(const struct place *p, struct database **db, struct database_found *found)
{
    const struct database_config config = file_of(p);
    char why[512];

    *db = NULL;
    *found = (struct database_found){0};
    return database_open(&config, db, found, why, sizeof why);
}

static int write_rows(struct database *db, uint64_t from, uint64_t to)
{
    const struct progress progress = {.now = {SEC, SEC}, .stamp = 1, .next_id = 1000};
    struct changes changes;
    int failing = until_failure;
    char why[512];

    changes_init(&changes);
    until_failure = -1; // not in the test's own
    put_rows(&changes, from, to);
    until_failure = failing;
    int r = database_write(db, &changes, &progress, why, sizeof why);
    changes_clear(&changes);
    return r;
}

static void make_file(const struct place *p)
{
    struct database_found found;
    struct database *db;

    place_empty(p);
    assert_int_equal(open_file(p, &db, &found), 0);
    assert_int_equal(write_rows(db, 1, KEPT), 0);
    database_close(db);
}

/* What is in the file, which is whole, and was never taken for a damaged one. */
static uint64_t rows_in(const struct place *p)
{
    struct database_found found;
    struct database *db;
    struct row row;
    uint64_t n = 0;

    assert_int_equal(open_file(p, &db, &found), 0);
    assert_string_equal(found.set_aside, "");
    while (database_next(db, &row) == 1)
        n++;
    database_close(db);
    return n;
}

static void a_state_file_is_opened_without_memory(void **state)
{
    struct place p = place_new();
    int failures = 0;
    (void)state;

    make_file(&p);
    for (bool done = false; !done; failures++) {
        struct database_found found;
        struct database *db;
        struct row row;
        uint64_t n = 0;
        until_failure = failures;
        int r = open_file(&p, &db, &found);
        int next = r;
        while (r == 0 && (next = database_next(db, &row)) == 1)
            n++;
        done = until_failure >= 0;
        until_failure = -1;
        assert_true(r == 0 || r == -ENOMEM);
        assert_string_equal(found.set_aside, "");
        assert_true(next == -ENOMEM || (next == 0 && n == KEPT)); // SQLite can do without some
        database_close(db);
    }
    assert_int_equal(rows_in(&p), KEPT);
    assert_true(failures > 100);
    place_remove(&p);
}

static void a_state_file_is_made_without_memory(void **state)
{
    struct place p = place_new();
    int failures = 0;
    (void)state;

    for (bool done = false; !done; failures = next_failure(failures)) {
        struct database_found found;
        struct database *db;
        place_empty(&p);
        until_failure = failures;
        int r = open_file(&p, &db, &found);
        done = until_failure >= 0;
        until_failure = -1;
        assert_true(r == 0 || r == -ENOMEM);
        database_close(db);
        assert_int_equal(rows_in(&p), 0);
    }
    assert_true(failures > 100);
    place_remove(&p);
}

static void a_commit_without_memory_keeps_nothing(void **state)
{
    struct place p = place_new();
    struct database_found found;
    struct database *db;
    int failures = 0;
    (void)state;

    for (bool done = false; !done; failures++) {
        make_file(&p);
        assert_int_equal(open_file(&p, &db, &found), 0);
        until_failure = failures;
        int r = write_rows(db, KEPT + 1, KEPT + 20);
        done = until_failure >= 0;
        until_failure = -1;
        assert_true(r == 0 || r == -ENOMEM);
        database_close(db);
        assert_int_equal(rows_in(&p), r == 0 ? KEPT + 20 : KEPT);
    }
    assert_true(failures > 1);
    place_remove(&p);
}

static void a_renewal_without_memory_is_begun_again(void **state)
{
    struct place p = place_new();
    struct database_found found;
    struct database *db;
    int failures = 0;
    char why[512];
    (void)state;

    for (bool done = false; !done; failures = next_failure(failures)) {
        make_file(&p);
        assert_int_equal(open_file(&p, &db, &found), 0);
        unlink(p.path);
        assert_int_equal(write_rows(db, 1, 1), -ESTALE);
        until_failure = failures;
        for (int r = -1; r < 0; until_failure = -1) {
            r = database_renew(db, why, sizeof why);
            if (r == 0)
                r = write_rows(db, 1, 5);
            if (r == 0)
                r = database_end_renewal(db, &found, why, sizeof why);
            done = until_failure >= 0;
            assert_true(r == 0 || (r == -ENOMEM && !done));
        }
        assert_int_equal(write_rows(db, 6, 6), 0);
        database_close(db);
        assert_int_equal(rows_in(&p), 6);
    }
    assert_true(failures > 100);
    place_remove(&p);
}

static void an_old_file_is_migrated_without_memory(void **state)
{
    struct place p = place_new();
    char text[16384];
    int failures = 0;
    FILE *file = fopen("tests/unit/schema-1.sql", "re");
    (void)state;

    if (file == NULL)
        fail_msg("tests/unit/schema-1.sql: %s; run this at the top of the tree", strerror(errno));
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    for (bool done = false; !done; failures = next_failure(failures)) {
        struct database_found found;
        struct database *db;
        sqlite3 *sql;
        place_empty(&p);
        assert_int_equal(sqlite3_open(p.path, &sql), SQLITE_OK);
        assert_int_equal(sqlite3_exec(sql, text, NULL, NULL, NULL), SQLITE_OK);
        sqlite3_close(sql);
        chmod(p.path, 0600);
        until_failure = failures;
        int r = open_file(&p, &db, &found);
        done = until_failure >= 0;
        until_failure = -1;
        assert_true(r == 0 || r == -ENOMEM);
        assert_string_equal(found.set_aside, "");
        database_close(db);
        assert_int_equal(rows_in(&p), 5);
    }
    assert_true(failures > 100);
    place_remove(&p);
}

static void changes_without_memory_are_as_they_were(void **state)
{
    struct changes changes;
    const struct row row = {.id = 1, .name = "other", .source = "control", .state = "paused", .spec = "kind=once\n"};
    (void)state;

    changes_init(&changes);
    put_rows(&changes, 1, 200);
    until_failure = 0;
    assert_int_equal(changes_put(&changes, &row), -ENOMEM);
    until_failure = 0;
    assert_int_equal(changes_remove(&changes, 1), -ENOMEM);
    until_failure = -1;
    assert_int_equal(changes.n, 200);
    assert_string_equal(TAILQ_FIRST(&changes.list)->row.name, "job-1");
    changes_clear(&changes);
    for (uint64_t id = 1; id <= 200; id++) { // without memory for buckets
        const struct row next = {.id = id, .name = "x", .source = "control", .state = "paused", .spec = ""};
        until_failure = 1;
        assert_int_equal(changes_put(&changes, &next), 0);
        until_failure = 1;
        assert_int_equal(changes_put(&changes, &next), 0);
        until_failure = -1;
    }
    assert_int_equal(changes.n, 200);
    changes_clear(&changes);
}

/* Parts of a daemon around jobs, with a loop. */

struct parts {
    struct world world;
    struct loop *loop;
    struct sink *sink;
    struct report *report;
    struct durable *durable;
    struct waits *waits;
    struct reactions *reactions;
    bool waited; // what waits_job_event() said last
    unsigned ended;
    int error;
};

static void on_ready(void *ctx)
{
    (void)ctx;
}

static void on_action_failed(void *ctx, const struct report_run *run, const struct report_failure *failure)
{
    (void)ctx;
    (void)run;
    (void)failure;
}

static void on_parts_event(void *ctx, struct job *job, const struct job_event *ev)
{
    struct parts *parts = ctx;

    durable_event(parts->durable, job, ev);
    if (parts->waits != NULL)
        parts->waited = waits_job_event(parts->waits, job, ev);
    if (parts->reactions != NULL)
        reactions_job_event(parts->reactions, job, ev);
}

static void on_parts_changed(void *ctx, struct job *job)
{
    const struct parts *parts = ctx;

    durable_changed(parts->durable, job);
}

static void on_parts_removed(void *ctx, struct job *job)
{
    const struct parts *parts = ctx;

    report_forget(parts->report, job);
    durable_removed(parts->durable, job);
    if (parts->waits != NULL)
        waits_forget(parts->waits, job);
}

static void on_parts_done(void *ctx, uint64_t upto, const char *error)
{
    (void)ctx;
    (void)upto;
    (void)error;
}

static void parts_init(struct parts *parts)
{
    const struct jobs_config config = {10000, 1000, {1, 2}};
    const struct jobs_hooks hooks = {on_parts_event, on_parts_changed, on_parts_removed, parts};

    *parts = (struct parts){0};
    parts->world.jobs = jobs_new(&config, &hooks);
    assert_non_null(parts->world.jobs);
    parts->loop = idle_loop_new();
    assert_non_null(parts->loop);
    assert_int_equal(sink_open(LOG_TARGET_STDERR, NULL, loop_watches(parts->loop), on_ready, NULL, &parts->sink), 0);
    parts->report = report_new(parts->sink, &(struct report_config){.log_level = LOG_EMERG});
    assert_non_null(parts->report);
}

static void parts_fini(struct parts *parts)
{
    durable_close(parts->durable, 10000);
    parts->durable = NULL;
    reactions_free(parts->reactions);
    parts->reactions = NULL;
    jobs_free(parts->world.jobs);
    waits_free(parts->waits);
    report_free(parts->report);
    sink_close(parts->sink, 0);
    loop_free(parts->loop);
}

static int parts_open(struct parts *parts, const struct place *p)
{
    const struct durable_hooks hooks = {.done = on_parts_done, .ctx = parts};
    char why[512];

    return durable_open(p->path, CLOCK_KIND_MONOTONIC, parts->world.jobs, parts->loop, parts->report, &hooks,
                        &parts->durable, why, sizeof why);
}

/* With its thread: each allocation of either. Jobs come back wholly, or the daemon does not start and loses none. */
static void jobs_come_back_without_memory(void **state)
{
    struct place p = place_new();
    int failures = 0;
    (void)state;

    make_file(&p);
    for (bool done = false; !done; failures = next_failure(failures)) {
        struct jobs_counts counts;
        struct parts parts;
        parts_init(&parts);
        until_failure = failures;
        int r = parts_open(&parts, &p);
        done = until_failure >= 0;
        until_failure = -1;
        assert_true(r == 0 || r == -ENOMEM);
        jobs_counts(parts.world.jobs, &counts);
        assert_true(r < 0 || counts.listed == KEPT);
        parts_fini(&parts);
    }
    assert_int_equal(rows_in(&p), KEPT);
    assert_true(failures > 200);
    place_remove(&p);
}

static struct job *add_by_control(struct parts *parts, const char *name)
{
    struct job_spec spec = loop(name, SEC);
    struct jobs_add add = {.specs = &spec, .n = 1, .source = SOURCE_CONTROL};
    struct job *job = NULL;
    size_t failed;

    assert_int_equal(jobs_add(parts->world.jobs, &add, 0, &job, &failed), 0);
    return job;
}

/* A job that cannot be noted is not kept, which is told; those beside it are. */
static void what_cannot_be_noted_is_not_kept(void **state)
{
    struct place p = place_new();
    struct parts parts;
    (void)state;

    parts_init(&parts);
    assert_int_equal(parts_open(&parts, &p), 0);
    add_by_control(&parts, "a");
    struct job *b = add_by_control(&parts, "b");
    durable_submit(parts.durable);
    until_failure = 0;
    jobs_pause(parts.world.jobs, b, 0);
    assert_int_equal(until_failure, -1);
    assert_int_equal(durable_sequence(parts.durable), 0);
    add_by_control(&parts, "c");
    durable_submit(parts.durable);
    parts_fini(&parts);
    assert_int_equal(rows_in(&p), 3);
    place_remove(&p);
}

/* A job that cannot wait is told of, is a job like others, and can be reset. */
static void a_wait_without_memory(void **state)
{
    int failures = 0;
    (void)state;

    for (bool done = false; !done; failures++) {
        struct job_spec spec = once("next", 0);
        struct parts parts;
        parts_init(&parts);
        until_failure = failures;
        parts.waits = waits_new(parts.world.jobs);
        if (parts.waits == NULL) {
            assert_int_equal(until_failure, -1);
            parts.waits = waits_new(parts.world.jobs);
            assert_non_null(parts.waits);
        }
        until_failure = -1;
        struct job *first = world_add(&parts.world, loop("first", SEC), 0);
        spec.after = (char *)"first";
        struct job *next = world_add(&parts.world, spec, 0);
        assert_true(parts.waited);
        until_failure = failures;
        jobs_reset(parts.world.jobs, next, 1);
        done = until_failure >= 0;
        until_failure = -1;
        assert_int_equal(parts.waited, done);
        assert_true(job_waits(next));
        jobs_reset(parts.world.jobs, next, 2);
        assert_true(parts.waited);
        jobs_stop(parts.world.jobs, first, 3, "control");
        until_failure = 0; // for the reason: it waits on
        waits_work(parts.waits, 3);
        until_failure = -1;
        assert_true(job_waits(next));
        jobs_stop(parts.world.jobs, next, 4, "control");
        parts_fini(&parts);
    }
    assert_true(failures > 2);
}

static void actions_without_memory(void **state)
{
    const struct daemon_settings settings = {.max_actions = 2, .max_queued = 10, .stop_timeout = SEC};
    const struct reactions_hooks hooks = {.failed = on_action_failed, .changed = on_ready};
    struct action *action = action_new("page");
    struct action *list[] = {action};
    const struct actions actions = {.list = list, .n = 1};
    int failures = 0;
    (void)state;

    assert_non_null(action);
    for (bool done = false; !done; failures++) {
        struct job_spec spec = loop("a", SEC);
        struct parts parts;
        parts_init(&parts);
        spec.actions[HOOK_STOP] = (char *)"page";
        spec.stop_on_failure = true;
        until_failure = failures;
        int r =
            reactions_new(parts.world.jobs, parts.loop, parts.report, &settings, &actions, &hooks, &parts.reactions);
        done = until_failure >= 0;
        until_failure = -1;
        assert_true(r == 0 || r == -ENOMEM);
        if (r < 0) {
            parts.reactions = NULL;
            parts_fini(&parts);
            continue;
        }
        struct job *a = world_add(&parts.world, spec, 0);
        until_failure = 0; // for the run; then another for what is to follow
        jobs_stop(parts.world.jobs, a, 0, "control");
        until_failure = -1;
        assert_int_equal(reactions_counts(parts.reactions).failed, 1);
        assert_int_equal(job_failures(a), 1);
        struct daemon_settings more = settings;
        more.max_queued = 100000;
        until_failure = 0;
        assert_int_equal(reactions_configure(parts.reactions, &more), -ENOMEM);
        until_failure = -1;
        assert_int_equal(reactions_configure(parts.reactions, &more), 0);
        parts_fini(&parts);
    }
    assert_true(failures > 5);
    action_unref(action);
}

static void on_reload_begin(void *ctx)
{
    (void)ctx;
}

static void on_reload_apply(void *ctx, const struct config *config)
{
    (void)ctx;
    (void)config;
}

static void on_reload_end(void *ctx, int r, const struct reload_plan *plan, struct config *config,
                          const struct text_list *mistakes)
{
    struct parts *parts = ctx;

    (void)plan;
    (void)config;
    (void)mistakes;
    parts->ended++;
    parts->error = r;
}

static void on_reload_ready(void *ctx)
{
    struct parts *parts = ctx;

    loop_stop(parts->loop);
}

/* Until it is over, and what was left of it is away. */
static void reload(struct parts *parts, struct reloader *r)
{
    unsigned ended = parts->ended;

    reloader_ask(r);
    while (parts->ended == ended) {
        if (!reloader_busy(r))
            assert_int_equal(loop_run(parts->loop), 0);
        reloader_work(r, 0);
    }
    assert_int_equal(loop_run(parts->loop), 0);
}

/* A reload that breaks off leaves the daemon with what it has, and the next one has all of it. */
static void a_reload_of_a_file_without_memory(void **state)
{
    struct place p = place_new();
    int failures = 0, broken_off = 0;
    char path[128];
    (void)state;

    snprintf(path, sizeof path, "%s/twistyd.conf", p.directory);
    for (bool done = false; !done; failures++) {
        struct parts parts;
        const struct reloader_hooks hooks = {.begin = on_reload_begin,
                                             .apply = on_reload_apply,
                                             .end = on_reload_end,
                                             .ready = on_reload_ready,
                                             .ctx = &parts};
        struct config_builder *b = config_builder_new(NULL, NULL);
        struct jobs_counts counts;
        struct config *config;
        parts_init(&parts);
        assert_int_equal(config_builder_finish(b, &config), 0);
        config_builder_free(b);
        FILE *file = fopen(path, "we");
        fputs("[daemon]\n[job:a]\nkind = loop\nmessage = m\n[job:b]\nkind = once\ndelay = 1h\n", file);
        fclose(file);
        until_failure = failures;
        struct reloader *r = reloader_new(path, parts.world.jobs, loop_watches(parts.loop), &hooks);
        if (r == NULL) {
            assert_int_equal(until_failure, -1);
            config_free(config);
            parts_fini(&parts);
            continue;
        }
        until_failure = -1;
        assert_int_equal(reloader_start(r, config, 0), 0);
        until_failure = failures;
        reload(&parts, r);
        done = until_failure >= 0;
        until_failure = -1;
        assert_true(parts.error == 0 || parts.error == -ENOMEM || parts.error == -EINVAL);
        broken_off += parts.error < 0;
        reload(&parts, r);
        assert_int_equal(parts.error, 0);
        jobs_counts(parts.world.jobs, &counts);
        assert_int_equal(counts.live, 2);
        reloader_free(r);
        parts_fini(&parts);
    }
    assert_true(broken_off > 20);
    place_remove(&p);
}

int main(void)
{
    sqlite_may_fail();
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_without_memory_changes_nothing),
        cmocka_unit_test(the_first_batch_without_memory),
        cmocka_unit_test(no_memory_for_the_jobs_at_all),
        cmocka_unit_test(a_failure_without_memory_is_told_to_the_caller),
        cmocka_unit_test(a_configuration_without_memory),
        cmocka_unit_test(comparing_without_memory),
        cmocka_unit_test(a_reload_without_memory_is_done_again),
        cmocka_unit_test(a_schedule_that_cannot_grow_keeps_what_it_has),
        cmocka_unit_test(a_draft_without_memory_keeps_what_was_said),
        cmocka_unit_test(json_without_memory_is_known_to_be_broken),
        cmocka_unit_test(changes_without_memory_are_as_they_were),
        cmocka_unit_test(a_state_file_is_opened_without_memory),
        cmocka_unit_test(a_state_file_is_made_without_memory),
        cmocka_unit_test(a_commit_without_memory_keeps_nothing),
        cmocka_unit_test(a_renewal_without_memory_is_begun_again),
        cmocka_unit_test(an_old_file_is_migrated_without_memory),
        cmocka_unit_test(jobs_come_back_without_memory),
        cmocka_unit_test(what_cannot_be_noted_is_not_kept),
        cmocka_unit_test(a_wait_without_memory),
        cmocka_unit_test(actions_without_memory),
        cmocka_unit_test(a_reload_of_a_file_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
