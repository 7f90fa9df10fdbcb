#include "database.h"

#include "siphash.h"
#include "statefile.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <unistd.h>

/* The log is moved into the file when it has so many pages, and cut to so many bytes when it has been. */
#define LOG_PAGES_MAX 4000
#define LOG_SIZE_KEPT "16777216"

/* How long another program, one that makes a copy for instance, may keep us from the file. */
#define BUSY_MS 5000

/* Reboots that rows may lie behind. */
#define BOOTS_MAX 100000

/* The tables, as they are made and as they must be found. */
static const char *const tables[] = {
    ("CREATE TABLE jobs (id INTEGER PRIMARY KEY, name TEXT NOT NULL, owner INTEGER NOT NULL, source TEXT NOT NULL, "
     "state TEXT NOT NULL, spec TEXT NOT NULL, boot INTEGER NOT NULL, added INTEGER NOT NULL, t0 INTEGER NOT NULL, "
     "since INTEGER NOT NULL, passed INTEGER NOT NULL, missed INTEGER NOT NULL, reason TEXT, sum INTEGER NOT NULL) "
     "STRICT"),
    // shift: what is added to a time of the boot before, for one of this boot
    ("CREATE TABLE boots (boot INTEGER PRIMARY KEY, shift INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT"),
    // one row: the latest boot, its name, and how far things were at the last commit
    ("CREATE TABLE clock (boot INTEGER PRIMARY KEY, name TEXT NOT NULL, loop INTEGER NOT NULL, real INTEGER NOT NULL, "
     "stamp INTEGER NOT NULL, next_id INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT"),
};

#define N_TABLES (sizeof tables / sizeof tables[0])

enum statement { SELECT_JOBS, SELECT_JOBS_BACKWARDS, PUT_JOB, DELETE_JOB, PUT_CLOCK, PUT_BOOT, STATEMENTS };

static const char *const statements[STATEMENTS] = {
    [SELECT_JOBS] = "SELECT * FROM jobs WHERE id > ? ORDER BY id",
    [SELECT_JOBS_BACKWARDS] = "SELECT * FROM jobs WHERE id > ? ORDER BY id DESC",
    [PUT_JOB] = "REPLACE INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [DELETE_JOB] = "DELETE FROM jobs WHERE id = ?",
    [PUT_CLOCK] = "REPLACE INTO clock VALUES (?, ?, ?, ?, ?, ?, ?)",
    [PUT_BOOT] = "REPLACE INTO boots VALUES (?, ?, ?)",
};

/* The columns of a job, in their order. */
enum column {
    COLUMN_ID,
    COLUMN_NAME,
    COLUMN_OWNER,
    COLUMN_SOURCE,
    COLUMN_STATE,
    COLUMN_SPEC,
    COLUMN_BOOT,
    COLUMN_ADDED,
    COLUMN_T0,
    COLUMN_SINCE,
    COLUMN_PASSED,
    COLUMN_MISSED,
    COLUMN_REASON,
    COLUMN_SUM,
    COLUMNS,
};

/* A connection and its prepared statements. */
struct session {
    sqlite3 *sql;
    sqlite3_stmt *prepared[STATEMENTS];
    int log_pages; // in the log, after the last commit
};

struct database {
    struct statefile file;
    struct session session;
    struct database_config config;
    char *boot_name;    // owned; config.boot
    int64_t boot;       // its number; 0: nothing is known yet
    bool absent;        // there is no file, and none could be made yet
    bool boot_is_new;   // not in the file yet
    int64_t boot_shift; // ... and this goes with it
    int64_t *shifts;    // owned; shifts[b]: what is added to a time of boot b + 1, for one of the present boot
    size_t n_shifts;
    struct row row; // the last that was read
};

/* Errors. */

/* What the last call on this connection says, as a negative errno. */
static int error_of(sqlite3 *sql)
{
    int system = sqlite3_system_errno(sql);

    switch (sqlite3_errcode(sql)) {
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_CANTOPEN:
        return system > 0 ? -system : -EIO;
    case SQLITE_IOERR:
        if (sqlite3_extended_errcode(sql) == SQLITE_IOERR_NOMEM)
            return -ENOMEM;
        return system > 0 ? -system : -EIO;
    default: // NOTADB, CORRUPT, and what our own statements can only get from a file that is not what it should be
        return -EBADMSG;
    }
}

static int execute(sqlite3 *sql, const char *text)
{
    return sqlite3_exec(sql, text, NULL, NULL, NULL) == SQLITE_OK ? 0 : error_of(sql);
}

/* A statement that gives one number. */
static int query_number(sqlite3 *sql, const char *text, int64_t *out)
{
    sqlite3_stmt *statement = NULL;
    int r = 0;

    if (sqlite3_prepare_v2(sql, text, -1, &statement, NULL) != SQLITE_OK || sqlite3_step(statement) != SQLITE_ROW)
        r = error_of(sql);
    else
        *out = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return r;
}

/* Checksums. Each value goes in with its kind and its length, so that none can be taken for two others. */

static uint64_t sum_bytes(uint64_t sum, uint64_t kind, const void *bytes, size_t n)
{
    return siphash((const uint64_t[2]){sum, kind}, bytes, n);
}

static uint64_t sum_texts(uint64_t sum, const char *const texts[], const size_t lengths[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum = texts[i] == NULL ? sum_bytes(sum, 1, "", 0) : sum_bytes(sum, 2, texts[i], lengths[i]);
    return sum;
}

/* The numbers of a row in the order of its columns. */
#define ROW_NUMBERS 8

static const enum column number_columns[ROW_NUMBERS] = {COLUMN_ID, COLUMN_OWNER, COLUMN_BOOT,   COLUMN_ADDED,
                                                        COLUMN_T0, COLUMN_SINCE, COLUMN_PASSED, COLUMN_MISSED};

/* And its texts. */
#define ROW_TEXTS 5

static const enum column text_columns[ROW_TEXTS] = {COLUMN_NAME, COLUMN_SOURCE, COLUMN_STATE, COLUMN_SPEC,
                                                    COLUMN_REASON};

static uint64_t row_sum(const int64_t numbers[ROW_NUMBERS], const char *const texts[ROW_TEXTS],
                        const size_t lengths[ROW_TEXTS])
{
    return sum_texts(sum_bytes(0, 0, numbers, ROW_NUMBERS * sizeof numbers[0]), texts, lengths, ROW_TEXTS);
}

/* Connections. */

static int on_commit(void *ctx, sqlite3 *sql, const char *name, int pages)
{
    struct session *session = ctx;

    (void)sql;
    (void)name;
    session->log_pages = pages;
    return SQLITE_OK;
}

static void session_close(struct session *session)
{
    for (size_t i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(session->prepared[i]);
    sqlite3_close(session->sql);
    *session = (struct session){0};
}

static int prepare_all(struct session *session)
{
    for (size_t i = 0; i < STATEMENTS; i++)
        if (session->prepared[i] == NULL &&
            sqlite3_prepare_v3(session->sql, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &session->prepared[i],
                               NULL) != SQLITE_OK)
            return error_of(session->sql);
    return 0;
}

/* In a URI these characters have a meaning of their own. */
static char *uri_of(const char *path, const char *parameters)
{
    size_t size = 3 * strlen(path) + strlen(parameters) + sizeof "file:";
    char *uri = malloc(size), *to = uri;

    if (uri == NULL)
        return NULL;
    to = stpcpy(to, "file:");
    for (; *path != '\0'; path++)
        if (strchr("%?#", *path) != NULL)
            to += snprintf(to, sizeof "%00", "%%%02X", (unsigned char)*path);
        else
            *to++ = *path;
    stpcpy(to, parameters);
    return uri;
}

/* A file that cannot be written is read as one that nobody changes: SQLite would else want to make a log. */
static int session_open(struct session *session, const char *path, bool read_only)
{
    const int flags = read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    char *uri = uri_of(path, read_only ? "?immutable=1" : "");

    *session = (struct session){0};
    if (uri == NULL)
        return -ENOMEM;
    int r =
        sqlite3_open_v2(uri, &session->sql, flags | SQLITE_OPEN_URI | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_NOMUTEX, NULL);
    free(uri);
    if (r != SQLITE_OK)
        return session->sql == NULL ? -ENOMEM : error_of(session->sql);
    sqlite3_busy_timeout(session->sql, BUSY_MS);
    return execute(session->sql, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA trusted_schema = OFF; "
                                 "PRAGMA cell_size_check = ON; PRAGMA synchronous = FULL; "
                                 "PRAGMA cache_size = -8000; PRAGMA temp_store = MEMORY");
}

/* Make it one that is written: with a log, which database_tidy() moves into the file. */
static int session_begin_writing(struct session *session)
{
    sqlite3_db_config(session->sql, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    int r = execute(session->sql, "PRAGMA journal_mode = WAL; PRAGMA journal_size_limit = " LOG_SIZE_KEPT);
    if (r == 0)
        sqlite3_wal_hook(session->sql, on_commit, session); // in the place of SQLite's own, which tidies up in a commit
    return r;
}

/* Rows. */

/* Take the row that a statement is at. False: it is not one that we wrote. */
static bool read_row(sqlite3_stmt *statement, struct row *out, int64_t *boot)
{
    int64_t numbers[ROW_NUMBERS];
    const char *texts[ROW_TEXTS];
    size_t lengths[ROW_TEXTS];

    for (size_t i = 0; i < ROW_NUMBERS; i++)
        numbers[i] = sqlite3_column_int64(statement, (int)number_columns[i]);
    for (size_t i = 0; i < ROW_TEXTS; i++) {
        texts[i] = (const char *)sqlite3_column_text(statement, (int)text_columns[i]);
        lengths[i] = (size_t)sqlite3_column_bytes(statement, (int)text_columns[i]);
        if (texts[i] == NULL && text_columns[i] != COLUMN_REASON)
            return false;
    }
    if (row_sum(numbers, texts, lengths) != (uint64_t)sqlite3_column_int64(statement, COLUMN_SUM))
        return false;
    *out = (struct row){.id = (uint64_t)numbers[0],
                        .owner = (uint32_t)numbers[1],
                        .added = numbers[3],
                        .t0 = numbers[4],
                        .since = numbers[5],
                        .passed = (uint64_t)numbers[6],
                        .missed = (uint64_t)numbers[7],
                        .name = texts[0],
                        .source = texts[1],
                        .state = texts[2],
                        .spec = texts[3],
                        .reason = texts[4]};
    *boot = numbers[2];
    return true;
}

/* Carry out a statement whose parameters are bound, and leave it ready for the next time. */
static int step(struct session *session, enum statement which)
{
    sqlite3_stmt *statement = session->prepared[which];
    int r = sqlite3_step(statement) == SQLITE_DONE ? 0 : error_of(session->sql);

    sqlite3_reset(statement);
    return r;
}

static int put_row(struct session *session, const struct row *row, int64_t boot)
{
    const int64_t numbers[ROW_NUMBERS] = {
        (int64_t)row->id,     row->owner,          boot, row->added, row->t0, row->since,
        (int64_t)row->passed, (int64_t)row->missed};
    const char *const texts[ROW_TEXTS] = {row->name, row->source, row->state, row->spec, row->reason};
    sqlite3_stmt *statement = session->prepared[PUT_JOB];
    size_t lengths[ROW_TEXTS];

    for (size_t i = 0; i < ROW_NUMBERS; i++)
        sqlite3_bind_int64(statement, (int)number_columns[i] + 1, numbers[i]);
    for (size_t i = 0; i < ROW_TEXTS; i++) {
        lengths[i] = texts[i] == NULL ? 0 : strlen(texts[i]);
        sqlite3_bind_text(statement, (int)text_columns[i] + 1, texts[i], (int)lengths[i], SQLITE_STATIC);
    }
    sqlite3_bind_int64(statement, COLUMN_SUM + 1, (int64_t)row_sum(numbers, texts, lengths));
    return step(session, PUT_JOB);
}

static int delete_row(struct session *session, uint64_t id)
{
    sqlite3_bind_int64(session->prepared[DELETE_JOB], 1, (int64_t)id);
    return step(session, DELETE_JOB);
}

/* The other two tables. */

struct clock {
    int64_t boot;
    char name[64];
    struct progress progress;
};

static uint64_t clock_sum(const struct clock *clock)
{
    const struct progress *p = &clock->progress;
    const int64_t numbers[] = {clock->boot, p->now.loop, p->now.real, p->stamp, (int64_t)p->next_id};
    const size_t length = strlen(clock->name);

    return sum_texts(sum_bytes(0, 0, numbers, sizeof numbers), (const char *const[]){clock->name}, &length, 1);
}

static int put_clock(struct session *session, const struct clock *clock)
{
    sqlite3_stmt *statement = session->prepared[PUT_CLOCK];

    sqlite3_bind_int64(statement, 1, clock->boot);
    sqlite3_bind_text(statement, 2, clock->name, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 3, clock->progress.now.loop);
    sqlite3_bind_int64(statement, 4, clock->progress.now.real);
    sqlite3_bind_int64(statement, 5, clock->progress.stamp);
    sqlite3_bind_int64(statement, 6, (int64_t)clock->progress.next_id);
    sqlite3_bind_int64(statement, 7, (int64_t)clock_sum(clock));
    return step(session, PUT_CLOCK);
}

/* 0; -ENOENT: there is none; -EBADMSG: it is not what was written; or another negative errno. */
static int read_clock(sqlite3 *sql, struct clock *out)
{
    sqlite3_stmt *statement = NULL;
    int r = -EBADMSG;

    *out = (struct clock){0};
    if (sqlite3_prepare_v2(sql, "SELECT * FROM clock", -1, &statement, NULL) != SQLITE_OK)
        return error_of(sql);
    int got = sqlite3_step(statement);
    if (got == SQLITE_DONE)
        r = -ENOENT;
    else if (got != SQLITE_ROW)
        r = error_of(sql);
    else if (sqlite3_column_bytes(statement, 1) < (int)sizeof out->name) {
        out->boot = sqlite3_column_int64(statement, 0);
        snprintf(out->name, sizeof out->name, "%s", (const char *)sqlite3_column_text(statement, 1));
        out->progress.now.loop = sqlite3_column_int64(statement, 2);
        out->progress.now.real = sqlite3_column_int64(statement, 3);
        out->progress.stamp = sqlite3_column_int64(statement, 4);
        out->progress.next_id = (uint64_t)sqlite3_column_int64(statement, 5);
        if (clock_sum(out) == (uint64_t)sqlite3_column_int64(statement, 6) && sqlite3_step(statement) == SQLITE_DONE)
            r = 0;
    }
    sqlite3_finalize(statement);
    return r;
}

static uint64_t boot_sum(int64_t boot, int64_t shift)
{
    return sum_bytes(0, 0, (const int64_t[]){boot, shift}, 2 * sizeof boot);
}

static int put_boot(struct session *session, int64_t boot, int64_t shift)
{
    sqlite3_stmt *statement = session->prepared[PUT_BOOT];

    sqlite3_bind_int64(statement, 1, boot);
    sqlite3_bind_int64(statement, 2, shift);
    sqlite3_bind_int64(statement, 3, (int64_t)boot_sum(boot, shift));
    return step(session, PUT_BOOT);
}

/* Tell of each boot. 0; -EBADMSG: one is not what was written, and the others were told; or another negative errno. */
static int read_boots(sqlite3 *sql, int (*tell)(void *ctx, int64_t boot, int64_t shift), void *ctx)
{
    sqlite3_stmt *statement = NULL;
    int r = 0, got = SQLITE_DONE;

    if (sqlite3_prepare_v2(sql, "SELECT * FROM boots", -1, &statement, NULL) != SQLITE_OK)
        return error_of(sql);
    while ((r == 0 || r == -EBADMSG) && (got = sqlite3_step(statement)) == SQLITE_ROW) {
        int64_t boot = sqlite3_column_int64(statement, 0), shift = sqlite3_column_int64(statement, 1);
        if (boot <= 0 || boot > BOOTS_MAX || boot_sum(boot, shift) != (uint64_t)sqlite3_column_int64(statement, 2)) {
            r = -EBADMSG;
            continue;
        }
        int told = tell(ctx, boot, shift);
        r = told < 0 ? told : r;
    }
    if (got != SQLITE_ROW && got != SQLITE_DONE)
        r = error_of(sql);
    sqlite3_finalize(statement);
    return r;
}

/* Making one, and telling whether one is what it should be. */

static int begin(struct session *session)
{
    return execute(session->sql, "BEGIN IMMEDIATE");
}

/* Commit when r is 0, else take everything back; returns r, or why it cannot be committed. */
static int end(struct session *session, int r)
{
    if (r == 0)
        r = execute(session->sql, "COMMIT");
    if (r < 0 && sqlite3_get_autocommit(session->sql) == 0)
        execute(session->sql, "ROLLBACK");
    return r;
}

/*
 * Bring the tables from an older schema to ours, in one transaction. Version 0 is a file without any. A later schema
 * adds a step here, from the one before it.
 */
static int migrate(struct session *session, int64_t from)
{
    char text[96];

    if (from == DATABASE_SCHEMA)
        return 0;
    int r = begin(session);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < N_TABLES; i++)
        r = execute(session->sql, tables[i]);
    snprintf(text, sizeof text, "PRAGMA application_id = %d; PRAGMA user_version = %d", DATABASE_APPLICATION_ID,
             DATABASE_SCHEMA);
    return end(session, r < 0 ? r : execute(session->sql, text));
}

/* An empty PATH.new, open. */
static int make_new(const struct database *db, struct session *session)
{
    int fd = open(db->file.path_new, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return -errno;
    close(fd);
    int r = session_open(session, db->file.path_new, false);
    if (r == 0)
        r = session_begin_writing(session);
    if (r == 0)
        r = migrate(session, 0);
    return r < 0 ? r : prepare_all(session);
}

/* Are our tables there, and nothing else? */
static int check_tables(sqlite3 *sql, char *damage, size_t size)
{
    sqlite3_stmt *statement = NULL;
    size_t n = 0;
    int got = SQLITE_ERROR;

    if (sqlite3_prepare_v2(sql, "SELECT sql FROM sqlite_schema ORDER BY rowid", -1, &statement, NULL) == SQLITE_OK)
        while ((got = sqlite3_step(statement)) == SQLITE_ROW) {
            const char *text = (const char *)sqlite3_column_text(statement, 0);
            if (n >= N_TABLES || text == NULL || strcmp(text, tables[n]) != 0)
                break;
            n++;
        }
    int r = got == SQLITE_DONE || got == SQLITE_ROW ? 0 : error_of(sql);
    sqlite3_finalize(statement);
    if (r == 0 && (got == SQLITE_ROW || n < N_TABLES))
        r = text_explain(damage, size, -EBADMSG, "its tables are not what they should be");
    return r;
}

/* SQLite's own look at the whole file. */
static int check_structure(sqlite3 *sql, char *damage, size_t size)
{
    sqlite3_stmt *statement = NULL;
    int r = 0;

    if (sqlite3_prepare_v2(sql, "PRAGMA quick_check(1)", -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW) {
        r = error_of(sql);
    } else {
        const char *text = (const char *)sqlite3_column_text(statement, 0);
        if (text == NULL || strcmp(text, "ok") != 0)
            r = text_explain(damage, size, -EBADMSG, "%.200s", text == NULL ? "?" : text);
    }
    sqlite3_finalize(statement);
    return r;
}

static int check_rows(sqlite3 *sql, char *damage, size_t size)
{
    sqlite3_stmt *statement = NULL;
    struct row row;
    uint64_t wrong = 0;
    int64_t boot;
    int got;

    if (sqlite3_prepare_v2(sql, "SELECT * FROM jobs", -1, &statement, NULL) != SQLITE_OK)
        return error_of(sql);
    while ((got = sqlite3_step(statement)) == SQLITE_ROW)
        wrong += !read_row(statement, &row, &boot);
    int r = got == SQLITE_DONE ? 0 : error_of(sql);
    sqlite3_finalize(statement);
    if (r == 0 && wrong > 0)
        r = text_explain(damage, size, -EBADMSG, "%" PRIu64 " of its jobs are not as they were written", wrong);
    return r;
}

static int ignore_boot(void *ctx, int64_t boot, int64_t shift)
{
    (void)ctx;
    (void)boot;
    (void)shift;
    return 0;
}

static int check_clock(sqlite3 *sql, char *damage, size_t size)
{
    struct clock clock;
    int64_t jobs = 0;
    int r = read_clock(sql, &clock);

    if (r == -ENOENT) { // in a file that nothing was kept in yet
        r = query_number(sql, "SELECT count(*) FROM jobs", &jobs);
        r = r == 0 && jobs > 0 ? -EBADMSG : r;
    }
    if (r == 0)
        r = read_boots(sql, ignore_boot, NULL);
    return r == -EBADMSG ? text_explain(damage, size, r, "its clock is not as it was written") : r;
}

/* Look at everything. 0; -EPROTO: a newer daemon's; -EBADMSG, with a phrase in `damage`; or another negative errno. */
static int examine(struct database *db, char *damage, size_t size)
{
    sqlite3 *sql = db->session.sql;
    int64_t application = 0, schema = 0;

    snprintf(damage, size, "it is no database, or a part of it is missing");
    int r = query_number(sql, "PRAGMA application_id", &application);
    if (r == 0)
        r = query_number(sql, "PRAGMA user_version", &schema);
    if (r < 0)
        return r;
    if (application != DATABASE_APPLICATION_ID)
        return text_explain(damage, size, -EBADMSG, "it is no state of twistyd");
    if (schema > DATABASE_SCHEMA)
        return text_explain(damage, size, -EPROTO, "%" PRId64, schema);
    r = check_structure(sql, damage, size);
    if (r == 0 && schema < DATABASE_SCHEMA)
        r = db->file.unwritable != 0 ? -EROFS : session_begin_writing(&db->session);
    if (r == 0)
        r = migrate(&db->session, schema);
    if (r == 0)
        r = check_tables(sql, damage, size);
    if (r == 0)
        r = check_rows(sql, damage, size);
    return r < 0 ? r : check_clock(sql, damage, size);
}

/* Saving what can be read of a damaged file. */

/* Copy rows until one cannot be read: 0 at the end, -EBADMSG, or what keeps the new file from being written. */
static int save_rows(struct session *from, enum statement which, struct session *to, struct database_found *found)
{
    sqlite3_stmt *statement = from->prepared[which];
    struct row row;
    int64_t boot;
    int r = 0, got = SQLITE_DONE;

    sqlite3_bind_int64(statement, 1, INT64_MIN);
    while (r == 0 && (got = sqlite3_step(statement)) == SQLITE_ROW) {
        if (!read_row(statement, &row, &boot)) {
            found->lost += which == SELECT_JOBS;
            continue;
        }
        r = put_row(to, &row, boot);
        found->saved += r == 0;
    }
    sqlite3_reset(statement);
    return r < 0 || got == SQLITE_DONE ? r : -EBADMSG;
}

static int save_boot(void *ctx, int64_t boot, int64_t shift)
{
    return put_boot(ctx, boot, shift);
}

/* The clock, or if that cannot be read the best guess: that this is the boot that the latest rows are of. */
static int save_clock(const struct database *db, struct session *to)
{
    struct clock clock;
    int64_t last_id = 0;

    if (read_clock(db->session.sql, &clock) == 0)
        return put_clock(to, &clock);
    clock = (struct clock){.progress.now = db->config.now};
    snprintf(clock.name, sizeof clock.name, "%s", db->boot_name);
    int r = query_number(to->sql, "SELECT max(1, ifnull(max(boot), 1)) FROM jobs", &clock.boot);
    if (r == 0)
        r = query_number(to->sql, "SELECT ifnull(max(id), 0) FROM jobs", &last_id);
    clock.progress.next_id = (uint64_t)last_id + 1;
    return r < 0 ? r : put_clock(to, &clock);
}

/* From both ends, as far as each goes: a row that is met twice is the same. What cannot be asked for is not there. */
static int save_all(struct database *db, struct session *to, struct database_found *found)
{
    struct session *from = &db->session;
    int64_t jobs = 0;

    prepare_all(from);
    int r = from->prepared[SELECT_JOBS] == NULL ? 0 : save_rows(from, SELECT_JOBS, to, found);
    if (r == -EBADMSG && from->prepared[SELECT_JOBS_BACKWARDS] != NULL)
        r = save_rows(from, SELECT_JOBS_BACKWARDS, to, found);
    if (r < 0 && r != -EBADMSG)
        return r;
    r = read_boots(from->sql, save_boot, to);
    if (r == -ENOMEM)
        return r;
    r = save_clock(db, to);
    if (r == 0)
        r = query_number(to->sql, "SELECT count(*) FROM jobs", &jobs);
    found->saved = (uint64_t)jobs;
    return r;
}

/* Make another file of what can be read, or an empty one, and let it take the place of this one. */
static int replace_file(struct database *db, struct database_found *found)
{
    struct session new = {0};

    int r = make_new(db, &new);
    if (r == 0 && db->session.sql != NULL) {
        r = begin(&new);
        if (r == 0)
            r = end(&new, save_all(db, &new, found));
    }
    session_close(&new);
    if (db->session.sql != NULL) // what is damaged stays as it is
        sqlite3_db_config(db->session.sql, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    session_close(&db->session);
    if (r == 0)
        r = statefile_replace(&db->file);
    if (r < 0)
        statefile_discard_new(&db->file);
    return r;
}

/* Boots. */

static int note_shift(void *ctx, int64_t boot, int64_t shift)
{
    struct database *db = ctx;

    if (boot <= db->boot)
        db->shifts[boot - 1] = shift;
    return 0;
}

/* What to add to times of each boot, for those of the present one: the sum of all shifts since. */
static int load_shifts(struct database *db)
{
    db->n_shifts = (size_t)db->boot;
    db->shifts = calloc(db->n_shifts + 1, sizeof *db->shifts);
    if (db->shifts == NULL)
        return -ENOMEM;
    int r = read_boots(db->session.sql, note_shift, db);
    if (r < 0)
        return r;
    if (db->boot_is_new)
        db->shifts[db->boot - 1] = db->boot_shift;
    // shifts[b - 1] leads from boot b - 1 to boot b: summed up from behind, it leads from there to the present one.
    for (size_t i = db->n_shifts; i-- > 1;)
        if (__builtin_add_overflow(db->shifts[i - 1], db->shifts[i], &db->shifts[i - 1]))
            db->shifts[i - 1] = 0;
    return 0;
}

/* The first time of all, or the first since a reboot: how the clocks go together, and how long nobody was there. */
static int begin_boot(struct database *db, const struct clock *last, struct database_found *found)
{
    const struct moment *now = &db->config.now, *then = &last->progress.now;
    int64_t elapsed = now->real - then->real;

    db->boot = last->boot + 1;
    db->boot_is_new = true;
    found->rebooted = last->boot > 0;
    if (!found->rebooted)
        return 0;
    if (db->boot > BOOTS_MAX)
        return -EOVERFLOW;
    found->clock_back = MAX(-elapsed, 0);
    found->away = MAX(elapsed, 0);
    db->boot_shift = now->loop - found->away - then->loop;
    return 0;
}

static int load_clock(struct database *db, struct database_found *found)
{
    struct clock last;

    int r = read_clock(db->session.sql, &last);
    if (r < 0 && r != -ENOENT)
        return r;
    if (last.boot < 0 || last.boot > BOOTS_MAX)
        return -EBADMSG;
    found->progress = last.progress;
    if (last.boot == 0 || strcmp(last.name, db->config.boot) != 0) {
        r = begin_boot(db, &last, found);
        if (r < 0)
            return r;
        found->progress.now.loop += db->boot_shift;
        found->progress.stamp += db->boot_shift;
    } else {
        db->boot = last.boot;
        found->away = MAX(db->config.now.loop - last.progress.now.loop, 0);
    }
    return load_shifts(db);
}

/* Opening. */

/* SQLite reads a file on a read-only disk only if it is whole by itself. */
static int check_log_is_empty(const struct database *db, char *why, size_t size)
{
    char path[PATH_MAX];
    struct stat st;

    snprintf(path, sizeof path, "%s-wal", db->file.path);
    if (db->file.unwritable == 0 || stat(path, &st) < 0 || st.st_size == 0)
        return 0;
    return text_explain(why, size, -EROFS,
                        "%s: the last changes are in %s, and cannot be read while nothing can be written; "
                        "make the directory writable",
                        db->file.path, path);
}

/* The file as it is. 0; -EBADMSG, with found->damage; or another negative errno, with a line in `why`. */
static int open_file(struct database *db, struct database_found *found, char *why, size_t size)
{
    int r = check_log_is_empty(db, why, size);

    if (r < 0)
        return r;
    snprintf(found->damage, sizeof found->damage, "it is no database");
    r = session_open(&db->session, db->file.path, db->file.unwritable != 0);
    if (r == 0)
        r = examine(db, found->damage, sizeof found->damage);
    if (r == 0 && db->file.unwritable == 0)
        r = session_begin_writing(&db->session);
    if (r == 0)
        r = prepare_all(&db->session);
    if (r == 0)
        r = load_clock(db, found);
    if (r == -EPROTO)
        return text_explain(why, size, r,
                            "%s: was written by a newer twistyd (schema %s, this one knows %d); install that one, "
                            "or set another state",
                            db->file.path, found->damage, DATABASE_SCHEMA);
    if (r == 0)
        found->damage[0] = '\0';
    else if (r == -EBUSY)
        text_explain(why, size, r, "%s: another program has it open; end that, or set another state", db->file.path);
    else if (r != -EBADMSG)
        text_explain(why, size, r, "%s: cannot be read: %s", db->file.path, strerror(-r));
    return r;
}

/* There was none. That none can be made for now is no error. */
static int open_first(struct database *db, struct database_found *found, char *why, size_t size)
{
    int r = replace_file(db, found);

    if (r == -ENOMEM)
        return text_explain(why, size, r, "out of memory");
    if (r < 0) {
        db->absent = true;
        found->unwritable = r;
        return 0;
    }
    r = statefile_lock(&db->file, why, size);
    return r < 0 ? r : open_file(db, found, why, size);
}

/* It is damaged. */
static int open_saved(struct database *db, struct database_found *found, char *why, size_t size)
{
    char damage[sizeof found->damage];

    memcpy(damage, found->damage, sizeof damage);
    if (db->file.unwritable != 0)
        return text_explain(why, size, -EROFS,
                            "%s: is damaged: %s; and nothing can be written: make the directory writable",
                            db->file.path, damage);
    int r = replace_file(db, found);
    if (r < 0)
        return text_explain(why, size, r, "%s: is damaged: %s; and it cannot be set aside: %s", db->file.path, damage,
                            strerror(-r));
    r = statefile_lock(&db->file, why, size);
    if (r == 0)
        r = open_file(db, found, why, size);
    memcpy(found->damage, damage, sizeof damage);
    return r;
}

int database_open(const struct database_config *config, struct database **out, struct database_found *found, char *why,
                  size_t size)
{
    struct database *db = calloc(1, sizeof *db);

    if (db == NULL || (db->boot_name = strdup(config->boot)) == NULL) {
        free(db);
        return text_explain(why, size, -ENOMEM, "out of memory");
    }
    *found = (struct database_found){0};
    db->config = *config;
    db->config.boot = db->boot_name;
    int r = statefile_open(&db->file, config->path, why, size);
    bool left_over = db->file.aside[0] != '\0';
    if (r == 0)
        r = open_file(db, found, why, size);
    else if (r == -ENOENT && db->file.path != NULL)
        r = open_first(db, found, why, size);
    if (r == -EBADMSG)
        r = open_saved(db, found, why, size);
    if (r == -EBADMSG)
        text_explain(why, size, r, "%s: is damaged: %s", db->file.path, found->damage);
    statefile_settled(&db->file);
    snprintf(found->set_aside, sizeof found->set_aside, "%s", db->file.aside);
    if (left_over && found->damage[0] == '\0')
        snprintf(found->damage, sizeof found->damage, "an earlier start found it damaged");
    if (db->file.unwritable != 0)
        found->unwritable = db->file.unwritable;
    if (r < 0) {
        database_close(db);
        return r;
    }
    *out = db;
    return 0;
}

void database_close(struct database *db)
{
    if (db == NULL)
        return;
    session_close(&db->session);
    statefile_close(&db->file); // after SQLite: closing it would let go of SQLite's locks
    free(db->shifts);
    free(db->boot_name);
    free(db);
}

/* Reading */

static void shift_row(const struct database *db, struct row *row, int64_t boot)
{
    int64_t shift = boot > 0 && boot < db->boot ? db->shifts[boot] : 0;

    // Nothing lies in the future: with a clock that could not be read, a job begins now.
    if (row->added + shift > db->config.now.loop)
        shift = db->config.now.loop - row->added;
    row->added += shift;
    row->t0 += shift;
    row->since += shift;
}

int database_next(struct database *db, struct row *out)
{
    sqlite3_stmt *statement = db->session.prepared[SELECT_JOBS];
    int64_t boot;

    if (statement == NULL)
        return 0;
    if (sqlite3_stmt_busy(statement) == 0)
        sqlite3_bind_int64(statement, 1, INT64_MIN);
    int got = sqlite3_step(statement);
    if (got != SQLITE_ROW) {
        int r = got == SQLITE_DONE ? 0 : error_of(db->session.sql);
        sqlite3_reset(statement);
        return r;
    }
    if (!read_row(statement, out, &boot)) {
        sqlite3_reset(statement);
        return -EBADMSG;
    }
    shift_row(db, out, boot);
    return 1;
}

/* Writing */

/* What could not be written or made at the beginning: can it be now? */
static int try_again_to_write(struct database *db, char *why, size_t size)
{
    struct database_found found = {0};
    int r = 0;

    if (db->absent && access(db->file.path, F_OK) == 0)
        return text_explain(why, size, -EEXIST, "%s: has appeared; restart twistyd to read it", db->file.path);
    session_close(&db->session);
    if (db->absent)
        r = replace_file(db, &found);
    if (r == 0)
        r = statefile_lock(&db->file, why, size);
    if (r == 0)
        r = db->file.unwritable;
    if (r == 0)
        r = session_open(&db->session, db->file.path, false);
    if (r == 0)
        r = session_begin_writing(&db->session);
    if (r == 0)
        r = prepare_all(&db->session);
    if (r < 0)
        session_close(&db->session);
    else
        db->absent = false;
    return r;
}

static int write_changes(struct database *db, const struct changes *changes, const struct progress *progress)
{
    struct session *session = &db->session;
    struct clock clock = {.boot = db->boot, .progress = *progress};
    const struct change *c;
    int r = 0;

    if (db->boot_is_new)
        r = execute(session->sql, "DELETE FROM clock");
    if (r == 0 && db->boot_is_new)
        r = put_boot(session, db->boot, db->boot_shift);
    TAILQ_FOREACH (c, &changes->list, link) {
        if (r == 0)
            r = c->gone ? delete_row(session, c->row.id) : put_row(session, &c->row, db->boot);
    }
    snprintf(clock.name, sizeof clock.name, "%s", db->boot_name);
    return r < 0 ? r : put_clock(session, &clock);
}

int database_write(struct database *db, const struct changes *changes, const struct progress *progress, char *why,
                   size_t size)
{
    int r = 0;

    why[0] = '\0';
    if (db->session.sql == NULL || db->file.unwritable != 0)
        r = try_again_to_write(db, why, size);
    if (r == 0)
        r = begin(&db->session);
    if (r == 0)
        r = end(&db->session, write_changes(db, changes, progress));
    if (r == -EBADMSG)
        text_explain(why, size, r, "%s: is damaged; restart twistyd, which sets it aside", db->file.path);
    else if (r < 0 && why[0] == '\0')
        text_explain(why, size, r, "%s: %s", db->file.path, strerror(-r));
    if (r == 0)
        db->boot_is_new = false;
    return r;
}

void database_tidy(struct database *db)
{
    if (db->session.log_pages < LOG_PAGES_MAX)
        return;
    db->session.log_pages = 0; // if it does not work now, it is tried again when as much has come
    sqlite3_wal_checkpoint_v2(db->session.sql, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}
