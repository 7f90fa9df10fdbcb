/*
 * The state file: what is kept comes back, in one piece, after every crash, in whatever state the disk left it, and
 * nothing else is ever believed.
 */
#include "random.h"

#include "daemon/database.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)

/* A directory of its own, and a clock that the tests turn. */
struct fixture {
    char directory[64];
    char path[96];
    struct database *db;
    struct database_found found;
    struct changes changes;
    struct database_config config;
    char why[512];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    strcpy(f->directory, "/dev/shm/twisty-XXXXXX");
    if (mkdtemp(f->directory) == NULL)
        return -1;
    snprintf(f->path, sizeof f->path, "%s/state.db", f->directory);
    changes_init(&f->changes);
    f->config = (struct database_config){.path = f->path, .boot = "boot-a", .now = {100 * SECOND, 5000 * SECOND}};
    *state = f;
    return 0;
}

static void empty_directory(const char *directory)
{
    char pattern[128];
    glob_t found;

    snprintf(pattern, sizeof pattern, "%s/*", directory);
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++)
            unlink(found.gl_pathv[i]);
    globfree(&found);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    database_close(f->db);
    changes_clear(&f->changes);
    empty_directory(f->directory);
    rmdir(f->directory);
    free(f);
    return 0;
}

static int reopen(struct fixture *f)
{
    database_close(f->db);
    f->db = NULL;
    return database_open(&f->config, &f->db, &f->found, f->why, sizeof f->why);
}

/* The job of this id, all of its members made from it and from `version`. */
static struct row row_of(uint64_t id, uint64_t version)
{
    static char name[4][32], spec[4][64];
    static unsigned turn;

    turn = (turn + 1) % 4;
    snprintf(name[turn], sizeof name[turn], "job-%llu", (unsigned long long)id);
    snprintf(spec[turn], sizeof spec[turn], "kind=countdown\ncount=%llu\n", (unsigned long long)(id * 7 + version));
    return (struct row){.id = id,
                        .name = name[turn],
                        .source = "control",
                        .state = "running",
                        .spec = spec[turn],
                        .reason = version % 3 == 0 ? NULL : "because",
                        .owner = (uint32_t)(1000 + id),
                        .added = (int64_t)id,
                        .t0 = (int64_t)(id + version),
                        .since = 5,
                        .passed = version,
                        .missed = version / 2,
                        .ended = version % 4 == 1 ? 3 * id : 0};
}

static void put(struct fixture *f, uint64_t id, uint64_t version)
{
    struct row row = row_of(id, version);

    assert_int_equal(changes_put(&f->changes, &row), 0);
}

static int write_at(struct fixture *f, struct progress progress)
{
    int r = database_write(f->db, &f->changes, &progress, f->why, sizeof f->why);

    changes_clear(&f->changes);
    return r;
}

static int write_now(struct fixture *f)
{
    return write_at(f, (struct progress){.now = f->config.now, .stamp = 77, .next_id = 1000});
}

static void assert_row(const struct row *row, const struct row *wanted)
{
    assert_int_equal(row->id, wanted->id);
    assert_string_equal(row->name, wanted->name);
    assert_string_equal(row->source, wanted->source);
    assert_string_equal(row->state, wanted->state);
    assert_string_equal(row->spec, wanted->spec);
    assert_int_equal(row->reason == NULL, wanted->reason == NULL);
    if (row->reason != NULL)
        assert_string_equal(row->reason, wanted->reason);
    assert_int_equal(row->owner, wanted->owner);
    assert_int_equal(row->added, wanted->added);
    assert_int_equal(row->t0, wanted->t0);
    assert_int_equal(row->since, wanted->since);
    assert_int_equal(row->passed, wanted->passed);
    assert_int_equal(row->missed, wanted->missed);
    assert_int_equal(row->ended, wanted->ended);
}

static void assert_next(struct fixture *f, uint64_t id, uint64_t version)
{
    const struct row wanted = row_of(id, version);
    struct row row;

    assert_int_equal(database_next(f->db, &row), 1);
    assert_row(&row, &wanted);
}

static void assert_end(struct fixture *f)
{
    struct row row;

    assert_int_equal(database_next(f->db, &row), 0);
}

static void what_is_kept_comes_back(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(reopen(f), 0);
    assert_int_equal(f->found.progress.next_id, 0);
    assert_end(f);
    put(f, 1, 3);
    put(f, 2, 1);
    put(f, 3, 1);
    assert_int_equal(write_now(f), 0);
    put(f, 2, 9);
    put(f, 4, 4);
    assert_int_equal(changes_remove(&f->changes, 3), 0);
    assert_int_equal(write_now(f), 0);
    assert_int_equal(reopen(f), 0);
    assert_string_equal(f->found.set_aside, "");
    assert_int_equal(f->found.progress.next_id, 1000);
    assert_int_equal(f->found.progress.stamp, 77);
    assert_false(f->found.rebooted);
    assert_next(f, 1, 3);
    assert_next(f, 2, 9);
    assert_next(f, 4, 4);
    assert_end(f);
}

static void latest_change_of_a_job_counts(void **state)
{
    struct fixture *f = *state;
    struct changes newer;
    uint64_t n = 0;

    changes_init(&newer);
    for (uint64_t id = 1; id <= 500; id++)
        put(f, id, 1);
    for (uint64_t id = 250; id <= 700; id++) {
        struct row row = row_of(id, 2);
        assert_int_equal(changes_put(&newer, &row), 0);
    }
    assert_int_equal(changes_remove(&newer, 7), 0);
    changes_merge(&f->changes, &newer);
    assert_int_equal(newer.n, 0);
    assert_int_equal(f->changes.n, 700);
    assert_int_equal(reopen(f), 0);
    assert_int_equal(write_now(f), 0);
    for (uint64_t id = 1; id <= 700; id++)
        if (id != 7)
            assert_next(f, id, id < 250 ? 1 : 2), n++;
    assert_int_equal(n, 699);
    assert_end(f);
}

/* Within a boot times are what they were; after one they say the same time of day. */
static void times_follow_the_wall_clock_over_a_reboot(void **state)
{
    struct fixture *f = *state;
    struct row row;

    assert_int_equal(reopen(f), 0);
    put(f, 1, 0);
    assert_int_equal(write_now(f), 0);
    f->config.now = (struct moment){130 * SECOND, 5030 * SECOND};
    assert_int_equal(reopen(f), 0);
    assert_int_equal(f->found.away, 30 * SECOND);
    assert_next(f, 1, 0);
    f->config.boot = "boot-b"; // which began a little before it was 20 minutes later
    f->config.now = (struct moment){3 * SECOND, 6200 * SECOND};
    for (int i = 0; i < 2; i++) { // before and after it is known that there was a reboot
        assert_int_equal(reopen(f), 0);
        assert_int_equal(f->found.rebooted, i == 0);
        assert_int_equal(f->found.clock_back, 0);
        assert_int_equal(database_next(f->db, &row), 1);
        assert_int_equal(row.added, 1 + 3 * SECOND - 1200 * SECOND - 100 * SECOND);
        assert_int_equal(row.t0, row.added);
        put(f, 2, 0);
        assert_int_equal(write_now(f), 0);
    }
    f->config.boot = "boot-c";
    f->config.now = (struct moment){10 * SECOND, 6300 * SECOND};
    assert_int_equal(reopen(f), 0);
    assert_int_equal(database_next(f->db, &row), 1);
    assert_int_equal(row.added, 1 + 10 * SECOND - 1300 * SECOND - 100 * SECOND);
    assert_int_equal(database_next(f->db, &row), 1);
    assert_int_equal(row.added, 2 + 10 * SECOND - 100 * SECOND - 3 * SECOND);
}

static void no_time_goes_by_when_the_clock_goes_back(void **state)
{
    struct fixture *f = *state;
    struct row row;

    assert_int_equal(reopen(f), 0);
    put(f, 1, 0);
    assert_int_equal(write_at(f, (struct progress){f->config.now, 90 * SECOND, 2}), 0);
    f->config.boot = "boot-b";
    f->config.now = (struct moment){3 * SECOND, 4000 * SECOND};
    assert_int_equal(reopen(f), 0);
    assert_int_equal(f->found.clock_back, 1000 * SECOND);
    assert_int_equal(f->found.away, 0);
    assert_int_equal(f->found.progress.stamp, 3 * SECOND - 10 * SECOND);
    assert_int_equal(database_next(f->db, &row), 1);
    assert_int_equal(row.added, 1 + 3 * SECOND - 100 * SECOND);
}

static void newer_schema_is_refused_and_left_alone(void **state)
{
    struct fixture *f = *state;
    sqlite3 *sql;

    assert_int_equal(reopen(f), 0);
    database_close(f->db);
    f->db = NULL;
    assert_int_equal(sqlite3_open(f->path, &sql), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sql, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(sql);
    assert_int_equal(reopen(f), -EPROTO);
    assert_non_null(strstr(f->why, "newer twistyd (schema 99"));
    assert_int_equal(access(f->path, F_OK), 0);
}

/* An older schema, the oldest of all: no tables yet. */
static void older_schema_is_migrated(void **state)
{
    struct fixture *f = *state;
    sqlite3 *sql;

    assert_int_equal(sqlite3_open(f->path, &sql), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sql, "PRAGMA application_id = 0x74777374", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(sql);
    chmod(f->path, 0600);
    assert_int_equal(reopen(f), 0);
    assert_string_equal(f->found.set_aside, "");
    put(f, 1, 1);
    assert_int_equal(write_now(f), 0);
    assert_int_equal(reopen(f), 0);
    assert_next(f, 1, 1);
}

/* A file of schema 1, as the daemon of that time left it. */
static void write_schema_1(struct fixture *f)
{
    char text[16384];
    sqlite3 *sql;
    FILE *file = fopen("tests/unit/schema-1.sql", "re");

    if (file == NULL)
        fail_msg("tests/unit/schema-1.sql: %s; run this at the top of the tree", strerror(errno));
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    empty_directory(f->directory);
    assert_int_equal(sqlite3_open_v2(f->path, &sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix"), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sql, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(sql);
    chmod(f->path, 0600);
}

static int64_t schema_of(const struct fixture *f)
{
    sqlite3_stmt *statement;
    sqlite3 *sql;

    assert_int_equal(sqlite3_open_v2(f->path, &sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix"), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(sql, "PRAGMA user_version", -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t schema = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(sql);
    return schema;
}

/* All that is in it, and nothing said of what it does not say. */
static void assert_rows_of_schema_1(struct fixture *f)
{
    static const char *const names[] = {"first", "second", "third", "fourth", "fifth"};
    struct row row;

    assert_string_equal(f->found.set_aside, "");
    assert_int_equal(f->found.progress.next_id, 6);
    assert_int_equal(f->found.progress.stamp, INT64_C(1359791281521));
    for (uint64_t id = 1; id <= 5; id++) {
        assert_int_equal(database_next(f->db, &row), 1);
        assert_int_equal(row.id, id);
        assert_string_equal(row.name, names[id - 1]);
        assert_int_equal(row.ended, 0);
    }
    assert_end(f);
}

static void first_schema_is_migrated(void **state)
{
    struct fixture *f = *state;

    write_schema_1(f);
    f->config.boot = "860ec9b9-09d5-45b8-8ac4-e75e5a398189 monotonic";
    f->config.now = (struct moment){INT64_C(1359902258534), INT64_C(1795831367187620653)};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(reopen(f), 0);
        assert_int_equal(f->found.unwritable, 0);
        assert_rows_of_schema_1(f);
        database_close(f->db);
        f->db = NULL;
        assert_int_equal(schema_of(f), 2);
    }
}

/* What can be read of a damaged one is read as what it is. */
static void damaged_first_schema_is_saved(void **state)
{
    struct fixture *f = *state;
    struct row row;
    sqlite3 *sql;

    write_schema_1(f);
    assert_int_equal(sqlite3_open_v2(f->path, &sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix"), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sql, "UPDATE jobs SET missed = 9 WHERE id = 2", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(sql);
    assert_int_equal(reopen(f), 0);
    assert_string_not_equal(f->found.set_aside, "");
    assert_int_equal(f->found.saved, 4);
    assert_int_equal(f->found.lost, 1);
    for (uint64_t id = 1; id <= 5; id++)
        if (id != 2) {
            assert_int_equal(database_next(f->db, &row), 1);
            assert_int_equal(row.id, id);
        }
    assert_end(f);
}

/* With checksums that are right: whoever knows how they are made can give us any number. */
static void impossible_numbers_are_damage(void **state)
{
    static const struct row impossible[] = {
        {.id = 0},
        {.id = UINT64_MAX},
        {.id = INT64_MAX},
        {.id = 2, .added = INT64_MAX},
        {.id = 3, .t0 = INT64_MIN},
        {.id = 4, .since = INT64_MIN},
    };
    struct fixture *f = *state;

    assert_int_equal(reopen(f), 0);
    put(f, 1, 0);
    for (size_t i = 0; i < sizeof impossible / sizeof impossible[0]; i++) {
        struct row row = row_of(impossible[i].id, 0);
        row.added = impossible[i].added;
        row.t0 = impossible[i].t0;
        row.since = impossible[i].since;
        assert_int_equal(changes_put(&f->changes, &row), 0);
    }
    assert_int_equal(write_now(f), 0);
    assert_int_equal(reopen(f), 0);
    assert_string_equal(f->found.damage, "6 of its jobs are not as they were written");
    assert_int_equal(f->found.lost, 6);
    assert_next(f, 1, 0);
    assert_end(f);
    assert_int_equal(reopen(f), 0);
    assert_string_equal(f->found.damage, "");
}

/* It is written anew: else every start would put another copy aside. */
static void an_impossible_clock_is_damage_once(void **state)
{
    static const struct progress impossible[] = {
        {.now = {INT64_MIN, 1}}, {.now = {1, -1}},        {.now = {1, INT64_MIN}},
        {.stamp = INT64_MAX},    {.next_id = UINT64_MAX}, {.next_id = INT64_MAX},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof impossible / sizeof impossible[0]; i++) {
        assert_int_equal(reopen(f), 0);
        put(f, 1, 0);
        assert_int_equal(write_at(f, impossible[i]), 0);
        assert_int_equal(reopen(f), 0);
        assert_string_equal(f->found.damage, "its clock is not as it was written");
        assert_next(f, 1, 0);
        assert_end(f);
        assert_int_equal(reopen(f), 0);
        assert_string_equal(f->found.damage, "");
    }
}

/* Else all that becomes due until then would count as done, and jobs would end without a word. */
static void nothing_is_done_that_is_to_come(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(reopen(f), 0);
    assert_int_equal(write_at(f, (struct progress){.now = f->config.now, .stamp = 200 * SECOND, .next_id = 2}), 0);
    for (int boot = 0; boot < 2; boot++) {
        assert_int_equal(reopen(f), 0);
        assert_int_equal(f->found.progress.stamp, f->config.now.loop);
        f->config.boot = "boot-b";
        f->config.now.loop = 5 * SECOND;
    }
}

/* As far as a clock can be set wrong, and back. */
static void no_clock_is_too_wrong(void **state)
{
    struct fixture *f = *state;
    struct row row = row_of(1, 0);

    row.added = DATABASE_TIME_MAX - 1;
    row.t0 = row.since = -DATABASE_TIME_MAX;
    f->config.now = (struct moment){DATABASE_TIME_MAX, 0};
    assert_int_equal(reopen(f), 0);
    assert_int_equal(changes_put(&f->changes, &row), 0);
    assert_int_equal(write_at(f, (struct progress){.now = f->config.now, .stamp = -DATABASE_TIME_MAX, .next_id = 2}),
                     0);
    for (int boot = 1; boot < 4; boot++) {
        char name[] = {(char)('0' + boot), '\0'};
        f->config.boot = name;
        f->config.now = (struct moment){boot, boot % 2 == 1 ? INT64_MAX : 0};
        assert_int_equal(reopen(f), 0);
        assert_string_equal(f->found.damage, "");
        assert_int_equal(database_next(f->db, &row), 1);
        assert_in_range(row.added + DATABASE_TIME_MAX, 0, DATABASE_TIME_MAX + boot);
        assert_true(row.t0 >= -DATABASE_TIME_MAX);
        assert_end(f);
        assert_int_equal(write_at(f, f->found.progress), 0);
    }
}

static void foreign_files_are_refused(void **state)
{
    struct fixture *f = *state;
    char other[128];

    snprintf(other, sizeof other, "%s/other", f->directory);
    assert_int_equal(reopen(f), 0);
    database_close(f->db);
    f->db = NULL;
    assert_int_equal(rename(f->path, other), 0);
    assert_int_equal(symlink(other, f->path), 0);
    assert_int_equal(reopen(f), -EPERM);
    assert_non_null(strstr(f->why, "is a link"));
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(link(other, f->path), 0);
    assert_int_equal(reopen(f), -EPERM);
    assert_int_equal(unlink(other), 0);
    assert_int_equal(chmod(f->path, 0640), 0);
    assert_int_equal(reopen(f), -EPERM);
    assert_non_null(strstr(f->why, "chmod 600"));
    assert_int_equal(chmod(f->path, 0600), 0);
    assert_int_equal(reopen(f), 0);
    assert_int_equal(chmod(f->directory, 0777), 0);
    assert_int_equal(reopen(f), -EPERM);
    assert_int_equal(chmod(f->directory, 0700), 0);
}

static void one_daemon_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct database *second;
    struct database_found found;

    assert_int_equal(reopen(f), 0);
    assert_int_equal(database_open(&f->config, &second, &found, f->why, sizeof f->why), -EADDRINUSE);
    assert_non_null(strstr(f->why, "another twistyd"));
}

static void file_is_the_users_own(void **state)
{
    struct fixture *f = *state;
    char log[128];
    struct stat st;

    assert_int_equal(reopen(f), 0);
    put(f, 1, 1);
    assert_int_equal(write_now(f), 0);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    snprintf(log, sizeof log, "%s-wal", f->path);
    assert_int_equal(stat(log, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

/* Files as bytes. */

struct bytes {
    unsigned char *at;
    size_t n;
};

static struct bytes read_file(const char *path)
{
    struct bytes b = {0};
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return b;
    assert_int_equal(fstat(fd, &st), 0);
    b.n = (size_t)st.st_size;
    b.at = malloc(b.n + 1);
    assert_int_equal(read(fd, b.at, b.n), b.n);
    close(fd);
    return b;
}

static void write_file(const char *path, const unsigned char *bytes, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    close(fd);
}

/* A small file with all that there can be in one. */
#define SAMPLE_ROWS 40

static struct bytes make_sample(struct fixture *f)
{
    assert_int_equal(reopen(f), 0);
    for (uint64_t id = 1; id <= SAMPLE_ROWS; id++)
        put(f, id, id % 5);
    assert_int_equal(write_now(f), 0);
    database_close(f->db);
    f->db = NULL;
    return read_file(f->path);
}

/* Put the damaged bytes in its place. Either all is as it was, or what was wrong is said, and nothing else is lost. */
static void open_damaged(struct fixture *f, const unsigned char *bytes, size_t n, unsigned *unharmed, unsigned *noticed)
{
    struct bytes aside;
    struct row row;
    unsigned rows = 0;

    empty_directory(f->directory);
    write_file(f->path, bytes, n);
    int r = reopen(f);
    if (r == -EPROTO) { // a flipped bit made it a newer schema: loud enough
        (*noticed)++;
        return;
    }
    if (r != 0)
        fail_msg("open says %d: %s", r, f->why);
    while ((r = database_next(f->db, &row)) == 1) {
        const struct row wanted = row_of(row.id, row.id % 5);
        assert_in_range(row.id, 1, SAMPLE_ROWS);
        assert_row(&row, &wanted);
        rows++;
    }
    assert_int_equal(r, 0);
    if (f->found.set_aside[0] == '\0') {
        assert_int_equal(rows, SAMPLE_ROWS);
        assert_int_equal(f->found.progress.next_id, 1000);
        assert_int_equal(f->found.progress.stamp, 77);
        (*unharmed)++;
        return;
    }
    (*noticed)++;
    assert_int_equal(rows, f->found.saved);
    assert_true(f->found.damage[0] != '\0');
    assert_true(f->found.progress.next_id > rows);
    aside = read_file(f->found.set_aside);
    assert_int_equal(aside.n, n);
    assert_memory_equal(aside.at, bytes, n);
    free(aside.at);
}

static void every_truncation_is_noticed(void **state)
{
    struct fixture *f = *state;
    struct bytes sample = make_sample(f);
    unsigned unharmed = 0, noticed = 0;
    const char *every = getenv("TWISTY_SOAK");

    for (size_t n = 0; n < sample.n; n += every != NULL || n < 600 || n % 4096 > 4090 || n % 4096 < 3 ? 1 : 37)
        open_damaged(f, sample.at, n, &unharmed, &noticed);
    assert_int_equal(unharmed, 0);
    free(sample.at);
}

static void every_flipped_bit_is_noticed_or_harmless(void **state)
{
    struct fixture *f = *state;
    struct bytes sample = make_sample(f);
    unsigned unharmed = 0, noticed = 0;
    struct random random = random_start(4);

    for (unsigned i = 0; i < 10000; i++) {
        size_t bit = random_below(&random, 8 * sample.n);
        sample.at[bit / 8] ^= (unsigned char)(1U << bit % 8);
        open_damaged(f, sample.at, sample.n, &unharmed, &noticed);
        sample.at[bit / 8] ^= (unsigned char)(1U << bit % 8);
    }
    print_message("%u flips: %u noticed, %u in bytes that mean nothing\n", 10000, noticed, unharmed);
    assert_true(noticed > 1000);
    free(sample.at);
}

/*
 * Crashes. A layer between SQLite and the file system records every write, truncation, sync and removal; then the disk
 * is made again as a crash might have left it after each of them: with all writes so far, as when the daemon is
 * killed, or with only those that were synced and some of the others, as when the power fails.
 */

enum op_kind { OP_WRITE, OP_TRUNCATE, OP_SYNC, OP_DELETE, OP_BEGIN, OP_DONE };

struct op {
    enum op_kind kind;
    bool log; // on the log, else on the file itself
    sqlite3_int64 offset;
    size_t n;
    unsigned char *bytes;
    int64_t transaction; // of BEGIN and DONE
};

static struct {
    sqlite3_vfs vfs;
    sqlite3_vfs *real;
    bool on;
    struct op *ops;
    size_t n, room;
    bool failing; // each operation fails when `left` others have not
    size_t left;
    int failure;
} recorder;

struct recorded_file {
    sqlite3_file base;
    bool log;
    sqlite3_file real[]; // its memory; as large as the real one is
};

static sqlite3_file *real_of(sqlite3_file *file)
{
    return ((struct recorded_file *)file)->real;
}

/* What an operation comes to: SQLITE_OK, if it is to be done. */
static int fate(void)
{
    if (!recorder.failing)
        return SQLITE_OK;
    return recorder.left == 0 ? recorder.failure : (recorder.left--, SQLITE_OK);
}

static void record(struct op op, const void *bytes)
{
    if (!recorder.on)
        return;
    if (recorder.n == recorder.room) {
        recorder.room = 2 * recorder.room + 64;
        recorder.ops = reallocarray(recorder.ops, recorder.room, sizeof *recorder.ops);
    }
    if (bytes != NULL)
        op.bytes = memcpy(malloc(op.n + 1), bytes, op.n);
    recorder.ops[recorder.n++] = op;
}

static int file_close(sqlite3_file *file)
{
    return real_of(file)->pMethods->xClose(real_of(file));
}

static int file_read(sqlite3_file *file, void *to, int n, sqlite3_int64 offset)
{
    return real_of(file)->pMethods->xRead(real_of(file), to, n, offset);
}

static int file_write(sqlite3_file *file, const void *from, int n, sqlite3_int64 offset)
{
    if (fate() != SQLITE_OK)
        return recorder.failure;
    record((struct op){OP_WRITE, ((struct recorded_file *)file)->log, offset, (size_t)n, NULL, 0}, from);
    return real_of(file)->pMethods->xWrite(real_of(file), from, n, offset);
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    if (fate() != SQLITE_OK)
        return recorder.failure;
    record((struct op){.kind = OP_TRUNCATE, .log = ((struct recorded_file *)file)->log, .offset = size}, NULL);
    return real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static int file_sync(sqlite3_file *file, int flags)
{
    if (fate() != SQLITE_OK)
        return recorder.failure;
    record((struct op){.kind = OP_SYNC, .log = ((struct recorded_file *)file)->log}, NULL);
    return real_of(file)->pMethods->xSync(real_of(file), flags);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return real_of(file)->pMethods->xFileSize(real_of(file), size);
}

static int file_lock(sqlite3_file *file, int lock)
{
    return real_of(file)->pMethods->xLock(real_of(file), lock);
}

static int file_unlock(sqlite3_file *file, int lock)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), lock);
}

static int file_is_reserved(sqlite3_file *file, int *out)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), out);
}

static int file_control(sqlite3_file *file, int op, void *arg)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), op, arg);
}

static int file_sector_size(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

/* None: a disk that promises nothing. */
static int file_characteristics(sqlite3_file *file)
{
    (void)file;
    return 0;
}

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    static const sqlite3_io_methods methods = {
        1,
        file_close,
        file_read,
        file_write,
        file_truncate,
        file_sync,
        file_size,
        file_lock,
        file_unlock,
        file_is_reserved,
        file_control,
        file_sector_size,
        file_characteristics,
        NULL,
        NULL,
        NULL,
        NULL,
        NULL,
        NULL,
    };
    struct recorded_file *f = (struct recorded_file *)file;

    (void)vfs;
    f->log = (flags & SQLITE_OPEN_WAL) != 0;
    f->base.pMethods = NULL;
    int r = recorder.real->xOpen(recorder.real, name, f->real, flags, out_flags);
    if (r == SQLITE_OK)
        f->base.pMethods = &methods;
    return r;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_directory)
{
    const char *end = strrchr(name, '-');

    (void)vfs;
    if (end != NULL && strcmp(end, "-wal") == 0)
        record((struct op){.kind = OP_DELETE, .log = true}, NULL);
    return recorder.real->xDelete(recorder.real, name, sync_directory);
}

static void recorder_install(void)
{
    recorder.real = sqlite3_vfs_find(NULL);
    recorder.vfs = *recorder.real;
    recorder.vfs.zName = "recorder";
    recorder.vfs.szOsFile = (int)sizeof(struct recorded_file) + recorder.real->szOsFile;
    recorder.vfs.xOpen = vfs_open;
    recorder.vfs.xDelete = vfs_delete;
    sqlite3_vfs_register(&recorder.vfs, 1);
}

/* From now on `n` operations succeed, and no more. */
static void fail_after(size_t n, int failure)
{
    recorder.failing = true;
    recorder.left = n;
    recorder.failure = failure;
}

static void recorder_remove(void)
{
    sqlite3_vfs_unregister(&recorder.vfs);
    sqlite3_vfs_register(recorder.real, 1);
    for (size_t i = 0; i < recorder.n; i++)
        free(recorder.ops[i].bytes);
    free(recorder.ops);
    memset(&recorder, 0, sizeof recorder);
}

/* What transaction t does, t > 0: a batch of new jobs, a change of some, and the end of one. */
#define BATCH 5

static void make_transaction(struct fixture *f, uint64_t t)
{
    for (uint64_t i = 0; i < BATCH; i++)
        put(f, t * BATCH + i, t);
    if (t % 3 == 0)
        for (uint64_t i = 0; i < BATCH; i++)
            put(f, (t - 2) * BATCH + i, t);
    if (t % 4 == 0)
        assert_int_equal(changes_remove(&f->changes, (t - 1) * BATCH), 0);
}

/* The version of a job after transaction t; 0 when there is none. */
static uint64_t version_after(uint64_t id, uint64_t t)
{
    uint64_t began = id / BATCH;

    if (began == 0 || began > t)
        return 0;
    if ((began + 2) % 3 == 0 && began + 2 <= t)
        return began + 2;
    return id % BATCH == 0 && (began + 1) % 4 == 0 && began + 1 <= t ? 0 : began;
}

/* What is on the disk of a file: all that is certain, and what may or may not have got there. */
struct disk_file {
    bool there;
    unsigned char *bytes;
    size_t n, room;
};

static void disk_apply(struct disk_file *d, const struct op *op)
{
    size_t end = (size_t)op->offset + op->n;

    if (op->kind == OP_DELETE) {
        d->there = false;
        d->n = 0;
        return;
    }
    if (op->kind == OP_TRUNCATE) {
        d->n = end < d->n ? end : d->n;
        return;
    }
    if (end > d->room) {
        d->bytes = realloc(d->bytes, 2 * end);
        d->room = 2 * end;
    }
    if (end > d->n) {
        memset(d->bytes + d->n, 0, end - d->n);
        d->n = end;
    }
    memcpy(d->bytes + op->offset, op->bytes, op->n);
    d->there = true;
}

/* The disk after the first `n` operations, with `lossy` as after a power failure. */
static void make_disk(const struct fixture *f, const struct bytes *before, size_t n, bool lossy, struct random *random)
{
    struct disk_file disk[2] = {{.there = true, .n = before->n, .room = before->n}, {0}};
    size_t synced[2] = {0};
    char log[128];

    disk[0].bytes = memcpy(malloc(before->n + 1), before->at, before->n);
    for (size_t i = 0; i < n; i++)
        if (recorder.ops[i].kind == OP_SYNC)
            synced[recorder.ops[i].log] = i;
    for (size_t i = 0; i < n; i++) {
        struct op op = recorder.ops[i];
        if (op.kind > OP_DELETE || op.kind == OP_SYNC)
            continue;
        if (lossy && i > synced[op.log] && random_once_in(random, 2)) {
            if (op.kind != OP_WRITE || random_once_in(random, 2))
                continue;
            op.n = random_below(random, op.n + 1); // it got there in part
        }
        disk_apply(&disk[op.log], &op);
    }
    empty_directory(f->directory);
    write_file(f->path, disk[0].bytes, disk[0].n);
    snprintf(log, sizeof log, "%s-wal", f->path);
    if (disk[1].there)
        write_file(log, disk[1].bytes, disk[1].n);
    free(disk[0].bytes);
    free(disk[1].bytes);
}

/* It opens, and holds all that was acknowledged, and all of each transaction or nothing of it. */
static void check_disk(struct fixture *f, size_t n, bool lossy)
{
    int64_t begun = 0, done = 0;
    uint64_t rows = 0, wanted = 0;
    struct row row;

    for (size_t i = 0; i < n; i++) {
        if (recorder.ops[i].kind == OP_BEGIN)
            begun = recorder.ops[i].transaction;
        if (recorder.ops[i].kind == OP_DONE)
            done = recorder.ops[i].transaction;
    }
    if (reopen(f) != 0 || f->found.set_aside[0] != '\0')
        fail_msg("after %zu operations%s: %s %s", n, lossy ? ", lossy" : "", f->why, f->found.damage);
    const int64_t t = f->found.progress.stamp;
    if (t < done || t > begun)
        fail_msg("after %zu operations%s: is at %lld, %lld was acknowledged and %lld begun", n, lossy ? ", lossy" : "",
                 (long long)t, (long long)done, (long long)begun);
    for (uint64_t id = 0; id < (uint64_t)(t + 1) * BATCH; id++)
        wanted += version_after(id, (uint64_t)t) > 0;
    while (database_next(f->db, &row) == 1) {
        const struct row expected = row_of(row.id, version_after(row.id, (uint64_t)t));
        assert_row(&row, &expected);
        rows++;
    }
    assert_int_equal(rows, wanted);
    database_close(f->db);
    f->db = NULL;
}

#define TRANSACTIONS 120

static void every_crash_leaves_what_was_acknowledged(void **state)
{
    struct fixture *f = *state;
    struct random random = random_start(7);
    struct bytes before;
    unsigned states = 0;

    assert_int_equal(reopen(f), 0);
    assert_int_equal(write_at(f, (struct progress){f->config.now, 0, 1}), 0);
    database_close(f->db);
    f->db = NULL;
    before = read_file(f->path);
    recorder_install();
    recorder.on = true;
    for (int64_t t = 1; t <= TRANSACTIONS; t++) {
        if (t % 30 == 1)
            assert_int_equal(reopen(f), 0); // closing moves the log into the file
        make_transaction(f, (uint64_t)t);
        record((struct op){.kind = OP_BEGIN, .transaction = t}, NULL);
        assert_int_equal(write_at(f, (struct progress){f->config.now, t, 1}), 0);
        record((struct op){.kind = OP_DONE, .transaction = t}, NULL);
    }
    database_close(f->db);
    f->db = NULL;
    recorder.on = false;
    for (size_t n = 1; n <= recorder.n; n++)
        for (int lossy = 0; lossy < 2; lossy++, states++) {
            make_disk(f, &before, n, lossy, &random);
            check_disk(f, n, lossy);
        }
    print_message("%u states of the disk after a crash\n", states);
    assert_true(states >= 1000);
    recorder_remove();
    free(before.at);
}

/*
 * A disk that takes so many operations of a migration and no more: the file is whole, and of the old schema. It is read
 * as it is, and migrated when the disk is well again: by the daemon that waits for that, or by the next.
 */
static void migration_is_done_wholly_or_not(void **state)
{
    static const int failures[] = {SQLITE_FULL, SQLITE_IOERR_WRITE};
    struct fixture *f = *state;
    unsigned failed = 0;

    f->config.boot = "860ec9b9-09d5-45b8-8ac4-e75e5a398189 monotonic";
    f->config.now = (struct moment){INT64_C(1359902258534), INT64_C(1795831367187620653)};
    recorder_install();
    for (unsigned i = 0; i < 4; i++) {
        bool next_start = i / 2;
        for (size_t n = 0, done = 0; !done; n++) {
            write_schema_1(f);
            fail_after(n, failures[i % 2]);
            assert_int_equal(reopen(f), 0);
            assert_rows_of_schema_1(f);
            done = f->found.unwritable == 0;
            failed += !done;
            recorder.failing = false;
            if (!done && next_start) {
                database_close(f->db);
                f->db = NULL;
                assert_int_equal(schema_of(f), 1);
                assert_int_equal(reopen(f), 0);
                assert_int_equal(f->found.unwritable, 0);
                assert_rows_of_schema_1(f);
            }
            put(f, 6, 1);
            assert_int_equal(write_now(f), 0);
            assert_int_equal(reopen(f), 0);
            for (struct row row; database_next(f->db, &row) == 1;)
                assert_in_range(row.id, 1, 6);
            database_close(f->db);
            f->db = NULL;
            assert_int_equal(schema_of(f), 2);
        }
    }
    print_message("%u migrations failed\n", failed);
    assert_true(failed > 40);
    recorder_remove();
}

/* Renewal */

static struct progress progress_now(const struct fixture *f)
{
    return (struct progress){.now = f->config.now, .stamp = 77, .next_id = 1000};
}

/* Write all jobs to another file, in two parts, and put that in its place. */
static int renew(struct fixture *f)
{
    int r = database_renew(f->db, f->why, sizeof f->why);

    for (uint64_t id = 1; id <= 20; id++) {
        put(f, id, id % 5);
        if (id % 10 == 0 && r == 0)
            r = write_at(f, progress_now(f));
        database_tidy(f->db);
    }
    changes_clear(&f->changes);
    return r < 0 ? r : database_end_renewal(f->db, &f->found, f->why, sizeof f->why);
}

static void assert_renewed(struct fixture *f, const char *damage)
{
    assert_string_equal(f->found.damage, damage);
    assert_int_equal(f->found.saved, 20);
    put(f, 21, 1);
    assert_int_equal(write_now(f), 0);
    assert_int_equal(reopen(f), 0);
    assert_string_equal(f->found.set_aside, "");
    for (uint64_t id = 1; id <= 20; id++)
        assert_next(f, id, id % 5);
    assert_next(f, 21, 1);
    assert_end(f);
}

static void begin_to_lose(struct fixture *f)
{
    empty_directory(f->directory);
    assert_int_equal(reopen(f), 0);
    for (uint64_t id = 1; id <= 5; id++)
        put(f, id, 1);
    assert_int_equal(write_now(f), 0);
}

static void a_file_that_is_gone_is_renewed(void **state)
{
    struct fixture *f = *state;
    char log[128], other[128];

    snprintf(log, sizeof log, "%s-wal", f->path);
    snprintf(other, sizeof other, "%s/other", f->directory);

    begin_to_lose(f);
    unlink(f->path);
    assert_int_equal(write_now(f), -ESTALE);
    assert_non_null(strstr(f->why, "it was removed"));
    assert_int_equal(write_now(f), -ESTALE); // as long as it is not renewed
    assert_int_equal(renew(f), 0);
    assert_string_equal(f->found.set_aside, "");
    assert_renewed(f, "it was removed");

    begin_to_lose(f);
    unlink(log);
    assert_int_equal(write_now(f), -ESTALE);
    assert_int_equal(renew(f), 0);
    assert_renewed(f, "its log was removed");

    begin_to_lose(f);
    assert_int_equal(truncate(log, 0), 0);
    assert_int_equal(write_now(f), -ESTALE);
    assert_int_equal(renew(f), 0);
    assert_renewed(f, "its log was cut short");

    begin_to_lose(f);
    write_file(other, (const unsigned char *)"precious", 8);
    rename(other, f->path);
    assert_int_equal(write_now(f), -ESTALE);
    assert_int_equal(renew(f), 0);
    struct bytes aside = read_file(f->found.set_aside);
    assert_int_equal(aside.n, 8);
    assert_memory_equal(aside.at, "precious", 8);
    free(aside.at);
    assert_renewed(f, "another file had its name");

    begin_to_lose(f);
    assert_int_equal(truncate(f->path, 4096), 0);
    assert_int_equal(write_now(f), -ESTALE);
    assert_int_equal(renew(f), 0);
    assert_renewed(f, "it was cut short");
}

/* The disk takes so many operations of a renewal, and no more: it is begun again, and the old file is untouched. */
static void a_renewal_is_done_wholly_or_not(void **state)
{
    struct fixture *f = *state;
    bool done = false;
    unsigned failed = 0;

    recorder_install();
    for (size_t n = 0; !done; n++, failed++) {
        begin_to_lose(f);
        write_file(f->path, (const unsigned char *)"not what it was", 15);
        assert_int_equal(write_now(f), -ESTALE);
        fail_after(n, SQLITE_FULL);
        int r = renew(f);
        done = r == 0 && recorder.left > 0;
        recorder.failing = false;
        if (r < 0) {
            struct bytes old = read_file(f->path);
            assert_int_equal(old.n, 15);
            free(old.at);
            assert_int_equal(renew(f), 0);
        }
        assert_renewed(f, "it was cut short");
    }
    print_message("%u renewals failed\n", failed);
    assert_true(failed > 10);
    recorder_remove();
}

/* A daemon that ends in the middle of it leaves the file as it was, and the next one begins with that. */
static void an_unfinished_renewal_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    char new[128];

    snprintf(new, sizeof new, "%s.new", f->path);
    begin_to_lose(f);
    write_file(f->path, (const unsigned char *)"not what it was", 15);
    assert_int_equal(write_now(f), -ESTALE);
    assert_int_equal(database_renew(f->db, f->why, sizeof f->why), 0);
    put(f, 1, 1);
    assert_int_equal(write_now(f), 0);
    assert_int_equal(access(new, F_OK), 0);
    assert_int_equal(reopen(f), 0);
    assert_string_not_equal(f->found.set_aside, "");
    assert_int_equal(access(new, F_OK), -1);
}

/* It could not be made at first. After a reboot its times are told in those of the new boot nevertheless. */
static void a_file_that_is_made_late_knows_its_boot(void **state)
{
    struct fixture *f = *state;
    struct row row;

    recorder_install();
    fail_after(0, SQLITE_FULL);
    assert_int_equal(reopen(f), 0);
    assert_int_equal(f->found.unwritable, -ENOSPC);
    put(f, 1, 0);
    assert_int_equal(write_now(f), -ENOSPC);
    recorder.failing = false;
    put(f, 1, 0);
    assert_int_equal(write_now(f), 0);
    f->config.boot = "boot-b";
    f->config.now = (struct moment){3 * SECOND, 5010 * SECOND};
    assert_int_equal(reopen(f), 0);
    assert_true(f->found.rebooted);
    assert_int_equal(database_next(f->db, &row), 1);
    assert_int_equal(row.added, 1 + 3 * SECOND - 10 * SECOND - 100 * SECOND);
    recorder_remove();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_kept_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(latest_change_of_a_job_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(times_follow_the_wall_clock_over_a_reboot, setup, teardown),
        cmocka_unit_test_setup_teardown(no_time_goes_by_when_the_clock_goes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(newer_schema_is_refused_and_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(older_schema_is_migrated, setup, teardown),
        cmocka_unit_test_setup_teardown(first_schema_is_migrated, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_first_schema_is_saved, setup, teardown),
        cmocka_unit_test_setup_teardown(migration_is_done_wholly_or_not, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_that_is_gone_is_renewed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_renewal_is_done_wholly_or_not, setup, teardown),
        cmocka_unit_test_setup_teardown(an_unfinished_renewal_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_that_is_made_late_knows_its_boot, setup, teardown),
        cmocka_unit_test_setup_teardown(impossible_numbers_are_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(an_impossible_clock_is_damage_once, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_done_that_is_to_come, setup, teardown),
        cmocka_unit_test_setup_teardown(no_clock_is_too_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(foreign_files_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(one_daemon_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(file_is_the_users_own, setup, teardown),
        cmocka_unit_test_setup_teardown(every_truncation_is_noticed, setup, teardown),
        cmocka_unit_test_setup_teardown(every_flipped_bit_is_noticed_or_harmless, setup, teardown),
        cmocka_unit_test_setup_teardown(every_crash_leaves_what_was_acknowledged, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
