#include "session.h"

#include "siphash.h"
#include "text.h"

#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The log is moved into the file when it has so many pages, and cut to so many bytes when it has been. */
#define LOG_PAGES_MAX 4000
#define LOG_SIZE_KEPT "16777216"

/* How long another program, one that makes a copy for instance, may keep us from the file. */
#define BUSY_MS 5000

/* The table of the jobs, with the columns that came later. */
#define JOBS_TABLE(later)                                                                                              \
    "CREATE TABLE jobs (id INTEGER PRIMARY KEY, name TEXT NOT NULL, owner INTEGER NOT NULL, source TEXT NOT NULL, "    \
    "state TEXT NOT NULL, spec TEXT NOT NULL, boot INTEGER NOT NULL, added INTEGER NOT NULL, t0 INTEGER NOT NULL, "    \
    "since INTEGER NOT NULL, passed INTEGER NOT NULL, missed INTEGER NOT NULL, reason TEXT, " later                    \
    "sum INTEGER NOT NULL) STRICT"

#define JOBS_TABLE_2 JOBS_TABLE("ended INTEGER NOT NULL, ")

/* shift: what is added to a time of the boot before, for one of this boot. */
#define BOOTS_TABLE "CREATE TABLE boots (boot INTEGER PRIMARY KEY, shift INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT"

/* One row: the latest boot, its name, and how far things were at the last commit. */
#define CLOCK_TABLE                                                                                                    \
    "CREATE TABLE clock (boot INTEGER PRIMARY KEY, name TEXT NOT NULL, loop INTEGER NOT NULL, "                        \
    "real INTEGER NOT NULL, stamp INTEGER NOT NULL, next_id INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT"

#define N_TABLES 3

/* The tables of each schema in the order of their names, as they are made and as they must be found. */
static const char *const schema_tables[DATABASE_SCHEMA + 1][N_TABLES] = {
    [1] = {BOOTS_TABLE, CLOCK_TABLE, JOBS_TABLE("")},
    [2] = {BOOTS_TABLE, CLOCK_TABLE, JOBS_TABLE_2},
};

enum change_statement { PUT_JOB, DELETE_JOB, PUT_CLOCK, PUT_BOOT, N_CHANGES };

_Static_assert((int)N_CHANGES == (int)SESSION_CHANGES, "the header says how many");

static const char *const change_statements[N_CHANGES] = {
    [PUT_JOB] = "REPLACE INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
    COLUMN_ENDED,
    COLUMN_SUM,
};

#define COLUMNS_OF_ALL "id, name, owner, source, state, spec, boot, added, t0, since, passed, missed, reason"

/* Rows in these columns, by schema. The first one did not say in which order jobs had ended. */
static const char *const schema_columns[DATABASE_SCHEMA + 1] = {
    [1] = COLUMNS_OF_ALL ", 0, sum",
    [2] = COLUMNS_OF_ALL ", ended, sum",
};

static const char *const order_words[SESSION_ORDERS] = {[IN_ORDER] = "", [BACKWARDS] = " DESC"};

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

/* The numbers of a row in the order in which they are summed up, and how many of them each schema has. */
#define ROW_NUMBERS 9

static const enum column number_columns[ROW_NUMBERS] = {COLUMN_ID,     COLUMN_OWNER,  COLUMN_BOOT,
                                                        COLUMN_ADDED,  COLUMN_T0,     COLUMN_SINCE,
                                                        COLUMN_PASSED, COLUMN_MISSED, COLUMN_ENDED};

static const size_t schema_numbers[DATABASE_SCHEMA + 1] = {[1] = 8, [2] = ROW_NUMBERS};

/* And its texts. */
#define ROW_TEXTS 5

static const enum column text_columns[ROW_TEXTS] = {COLUMN_NAME, COLUMN_SOURCE, COLUMN_STATE, COLUMN_SPEC,
                                                    COLUMN_REASON};

static uint64_t row_sum(const int64_t *numbers, size_t n_numbers, const char *const texts[ROW_TEXTS],
                        const size_t lengths[ROW_TEXTS])
{
    return sum_texts(sum_bytes(0, 0, numbers, n_numbers * sizeof numbers[0]), texts, lengths, ROW_TEXTS);
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

static void unprepare(struct session *session)
{
    for (size_t i = 0; i < SESSION_ORDERS; i++)
        sqlite3_finalize(session->walks[i]);
    for (size_t i = 0; i < N_CHANGES; i++)
        sqlite3_finalize(session->changes[i]);
    memset(session->walks, 0, sizeof session->walks);
    memset(session->changes, 0, sizeof session->changes);
}

void session_close(struct session *session)
{
    unprepare(session);
    sqlite3_close(session->sql);
    *session = (struct session){0};
}

void session_abandon(struct session *session)
{
    if (session->sql != NULL)
        sqlite3_db_config(session->sql, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    session_close(session);
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

int session_open(struct session *session, const char *path, bool read_only)
{
    const int flags = read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    char *uri = uri_of(path, read_only ? "?immutable=1" : ""); // SQLite would else want to make a log

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

int session_begin_writing(struct session *session)
{
    sqlite3_db_config(session->sql, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    int r = execute(session->sql, "PRAGMA journal_mode = WAL; PRAGMA journal_size_limit = " LOG_SIZE_KEPT);
    if (r == 0)
        sqlite3_wal_hook(session->sql, on_commit, session); // in the place of SQLite's own, which tidies up in a commit
    return r;
}

int session_relax(struct session *session)
{
    return execute(session->sql, "PRAGMA synchronous = NORMAL");
}

int session_flush(struct session *session)
{
    session->log_pages = 0;
    return sqlite3_wal_checkpoint_v2(session->sql, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) == SQLITE_OK
               ? 0
               : error_of(session->sql);
}

int session_tidy(struct session *session)
{
    if (session->log_pages < LOG_PAGES_MAX)
        return 0;
    session->log_pages = 0; // if it does not work now, it is tried again when as much has come
    return sqlite3_wal_checkpoint_v2(session->sql, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL) == SQLITE_OK
               ? 1
               : error_of(session->sql);
}

/* Statements. */

static int prepare(struct session *session, const char *text, sqlite3_stmt **out)
{
    if (*out == NULL && sqlite3_prepare_v3(session->sql, text, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) != SQLITE_OK)
        return error_of(session->sql);
    return 0;
}

/* A walk over the rows of this table, from behind the number that is bound to it. */
static int prepare_walk(struct session *session, const char *table, enum session_order order, sqlite3_stmt **out)
{
    char text[256];

    snprintf(text, sizeof text, "SELECT %s FROM %s ORDER BY id%s", schema_columns[session->schema], table,
             order_words[order]);
    return prepare(session, text, out);
}

int session_prepare(struct session *session)
{
    int r = 0;

    if (session->schema == 0)
        return 0; // it has no rows
    for (unsigned i = 0; r == 0 && i < SESSION_ORDERS; i++)
        r = prepare_walk(session, "jobs", (enum session_order)i, &session->walks[i]);
    for (size_t i = 0; r == 0 && i < N_CHANGES && session->schema == DATABASE_SCHEMA; i++)
        r = prepare(session, change_statements[i], &session->changes[i]);
    return r;
}

int session_prepare_rest(struct session *session)
{
    int r = -EBADMSG;

    unprepare(session);
    for (session->schema = DATABASE_SCHEMA; session->schema > 0; session->schema--) {
        r = prepare_walk(session, "jobs", IN_ORDER, &session->walks[IN_ORDER]);
        if (r == 0)
            return prepare_walk(session, "jobs", BACKWARDS, &session->walks[BACKWARDS]);
    }
    return r;
}

/* Carry out a statement whose parameters are bound, and leave it ready for the next time. */
static int step(struct session *session, enum change_statement which)
{
    sqlite3_stmt *statement = session->changes[which];
    int r = sqlite3_step(statement) == SQLITE_DONE ? 0 : error_of(session->sql);

    sqlite3_reset(statement);
    return r;
}

int session_begin(struct session *session)
{
    return execute(session->sql, "BEGIN IMMEDIATE");
}

int session_end(struct session *session, int r)
{
    if (r == 0)
        r = execute(session->sql, "COMMIT");
    if (r < 0 && sqlite3_get_autocommit(session->sql) == 0)
        execute(session->sql, "ROLLBACK");
    return r;
}

/* Rows. */

static bool is_time(int64_t time)
{
    return time >= -DATABASE_TIME_MAX && time <= DATABASE_TIME_MAX;
}

static bool is_boot(int64_t boot)
{
    return boot > 0 && boot <= DATABASE_BOOTS_MAX;
}

/* Could we have written this? With other numbers the sums further on would overflow. */
static bool is_possible(const struct row *row, int64_t boot)
{
    return row->id > 0 && row->id <= DATABASE_ID_MAX && is_boot(boot) && is_time(row->added) && is_time(row->t0) &&
           is_time(row->since);
}

/* Take the row that a statement is at. False: it is not one that we wrote. */
static bool read_row(const struct session *session, sqlite3_stmt *statement, struct row *out, int64_t *boot)
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
    if (row_sum(numbers, schema_numbers[session->schema], texts, lengths) !=
        (uint64_t)sqlite3_column_int64(statement, COLUMN_SUM))
        return false;
    *out = (struct row){.id = (uint64_t)numbers[0],
                        .owner = (uint32_t)numbers[1],
                        .added = numbers[3],
                        .t0 = numbers[4],
                        .since = numbers[5],
                        .passed = (uint64_t)numbers[6],
                        .missed = (uint64_t)numbers[7],
                        .ended = (uint64_t)numbers[8],
                        .name = texts[0],
                        .source = texts[1],
                        .state = texts[2],
                        .spec = texts[3],
                        .reason = texts[4]};
    *boot = numbers[2];
    return is_possible(out, *boot);
}

/* As session_next(), of any walk. */
static int next_row(struct session *session, sqlite3_stmt *walk, struct row *out, int64_t *boot)
{
    int got = sqlite3_step(walk);

    if (got == SQLITE_ROW && read_row(session, walk, out, boot))
        return 1;
    if (got == SQLITE_ROW && sqlite3_errcode(session->sql) != SQLITE_NOMEM) // a text may come out as NULL for that
        return -EILSEQ;
    int r = got == SQLITE_DONE ? 0 : error_of(session->sql);
    sqlite3_reset(walk);
    return r;
}

int session_next(struct session *session, enum session_order order, struct row *out, int64_t *boot)
{
    return session->walks[order] == NULL ? 0 : next_row(session, session->walks[order], out, boot);
}

void session_rewind(struct session *session, enum session_order order)
{
    sqlite3_reset(session->walks[order]);
}

int session_put(struct session *session, const struct row *row, int64_t boot)
{
    const int64_t numbers[ROW_NUMBERS] = {
        (int64_t)row->id,     row->owner,         boot, row->added, row->t0, row->since, (int64_t)row->passed,
        (int64_t)row->missed, (int64_t)row->ended};
    const char *const texts[ROW_TEXTS] = {row->name, row->source, row->state, row->spec, row->reason};
    sqlite3_stmt *statement = session->changes[PUT_JOB];
    size_t lengths[ROW_TEXTS];

    for (size_t i = 0; i < ROW_NUMBERS; i++)
        sqlite3_bind_int64(statement, (int)number_columns[i] + 1, numbers[i]);
    for (size_t i = 0; i < ROW_TEXTS; i++) {
        lengths[i] = texts[i] == NULL ? 0 : strlen(texts[i]);
        sqlite3_bind_text(statement, (int)text_columns[i] + 1, texts[i], (int)lengths[i], SQLITE_STATIC);
    }
    sqlite3_bind_int64(statement, COLUMN_SUM + 1, (int64_t)row_sum(numbers, ROW_NUMBERS, texts, lengths));
    return step(session, PUT_JOB);
}

int session_remove(struct session *session, uint64_t id)
{
    sqlite3_bind_int64(session->changes[DELETE_JOB], 1, (int64_t)id);
    return step(session, DELETE_JOB);
}

/* The other two tables. */

static uint64_t clock_sum(const struct clock *clock)
{
    const struct progress *p = &clock->progress;
    const int64_t numbers[] = {clock->boot, p->now.loop, p->now.real, p->stamp, (int64_t)p->next_id};
    const size_t length = strlen(clock->name);

    return sum_texts(sum_bytes(0, 0, numbers, sizeof numbers), (const char *const[]){clock->name}, &length, 1);
}

int session_put_clock(struct session *session, const struct clock *clock)
{
    sqlite3_stmt *statement = session->changes[PUT_CLOCK];

    sqlite3_bind_int64(statement, 1, clock->boot);
    sqlite3_bind_text(statement, 2, clock->name, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 3, clock->progress.now.loop);
    sqlite3_bind_int64(statement, 4, clock->progress.now.real);
    sqlite3_bind_int64(statement, 5, clock->progress.stamp);
    sqlite3_bind_int64(statement, 6, (int64_t)clock->progress.next_id);
    sqlite3_bind_int64(statement, 7, (int64_t)clock_sum(clock));
    return step(session, PUT_CLOCK);
}

static bool is_possible_clock(const struct clock *clock)
{
    const struct progress *p = &clock->progress;

    return is_boot(clock->boot) && is_time(p->now.loop) && p->now.real >= 0 && is_time(p->stamp) &&
           p->next_id <= DATABASE_ID_MAX + 1;
}

int session_read_clock(struct session *session, struct clock *out)
{
    sqlite3_stmt *statement = NULL;
    int r = -EBADMSG;

    *out = (struct clock){0};
    if (sqlite3_prepare_v2(session->sql, "SELECT * FROM clock", -1, &statement, NULL) != SQLITE_OK)
        return error_of(session->sql);
    int got = sqlite3_step(statement);
    if (got == SQLITE_DONE)
        r = -ENOENT;
    else if (got != SQLITE_ROW)
        r = error_of(session->sql);
    else if (sqlite3_column_bytes(statement, 1) < (int)sizeof out->name) {
        out->boot = sqlite3_column_int64(statement, 0);
        snprintf(out->name, sizeof out->name, "%s", (const char *)sqlite3_column_text(statement, 1));
        out->progress.now.loop = sqlite3_column_int64(statement, 2);
        out->progress.now.real = sqlite3_column_int64(statement, 3);
        out->progress.stamp = sqlite3_column_int64(statement, 4);
        out->progress.next_id = (uint64_t)sqlite3_column_int64(statement, 5);
        if (clock_sum(out) == (uint64_t)sqlite3_column_int64(statement, 6) && is_possible_clock(out) &&
            sqlite3_step(statement) == SQLITE_DONE)
            r = 0;
    }
    sqlite3_finalize(statement);
    return r;
}

static uint64_t boot_sum(int64_t boot, int64_t shift)
{
    return sum_bytes(0, 0, (const int64_t[]){boot, shift}, 2 * sizeof boot);
}

int session_put_boot(struct session *session, int64_t boot, int64_t shift)
{
    sqlite3_stmt *statement = session->changes[PUT_BOOT];

    sqlite3_bind_int64(statement, 1, boot);
    sqlite3_bind_int64(statement, 2, shift);
    sqlite3_bind_int64(statement, 3, (int64_t)boot_sum(boot, shift));
    return step(session, PUT_BOOT);
}

int session_read_boots(struct session *session, int (*tell)(void *ctx, int64_t boot, int64_t shift), void *ctx)
{
    sqlite3_stmt *statement = NULL;
    int r = 0, got = SQLITE_DONE;

    if (sqlite3_prepare_v2(session->sql, "SELECT * FROM boots", -1, &statement, NULL) != SQLITE_OK)
        return error_of(session->sql);
    while ((r == 0 || r == -EBADMSG) && (got = sqlite3_step(statement)) == SQLITE_ROW) {
        int64_t boot = sqlite3_column_int64(statement, 0), shift = sqlite3_column_int64(statement, 1);
        if (!is_boot(boot) || boot_sum(boot, shift) != (uint64_t)sqlite3_column_int64(statement, 2)) {
            r = -EBADMSG;
            continue;
        }
        int told = tell(ctx, boot, shift);
        r = told < 0 ? told : r;
    }
    if (got != SQLITE_ROW && got != SQLITE_DONE)
        r = error_of(session->sql);
    sqlite3_finalize(statement);
    return r;
}

int session_forget_clock(struct session *session)
{
    return execute(session->sql, "DELETE FROM clock");
}

int session_measure(struct session *session, int64_t *rows, int64_t *last_id, int64_t *last_boot)
{
    int r = query_number(session->sql, "SELECT count(*) FROM jobs", rows);

    if (r == 0)
        r = query_number(session->sql, "SELECT ifnull(max(id), 0) FROM jobs", last_id);
    return r < 0 ? r : query_number(session->sql, "SELECT ifnull(max(boot), 0) FROM jobs", last_boot);
}

/* Schemas. */

/* From schema 1: the same rows with another checksum, since they have a number more. The old table goes. */
static int migrate_jobs(struct session *session)
{
    sqlite3_stmt *walk = NULL;
    struct row row = {0};
    int64_t boot = 0;

    int r = execute(session->sql, "ALTER TABLE jobs RENAME TO old_jobs");
    if (r == 0)
        r = execute(session->sql, JOBS_TABLE_2);
    if (r == 0)
        r = prepare(session, change_statements[PUT_JOB], &session->changes[PUT_JOB]);
    if (r == 0)
        r = prepare_walk(session, "old_jobs", IN_ORDER, &walk);
    if (r == 0)
        while ((r = next_row(session, walk, &row, &boot)) == 1)
            if ((r = session_put(session, &row, boot)) < 0)
                break;
    sqlite3_finalize(walk);
    return r < 0 ? r : execute(session->sql, "DROP TABLE old_jobs");
}

static int make_tables(struct session *session)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < N_TABLES; i++)
        r = execute(session->sql, schema_tables[DATABASE_SCHEMA][i]);
    return r;
}

int session_migrate(struct session *session)
{
    char text[96];

    if (session->schema == DATABASE_SCHEMA)
        return 0;
    int r = session_begin(session);
    if (r < 0)
        return r;
    unprepare(session);
    r = session->schema == 0 ? make_tables(session) : migrate_jobs(session);
    unprepare(session);
    snprintf(text, sizeof text, "PRAGMA application_id = %d; PRAGMA user_version = %d", DATABASE_APPLICATION_ID,
             DATABASE_SCHEMA);
    r = session_end(session, r < 0 ? r : execute(session->sql, text));
    if (r == 0)
        session->schema = DATABASE_SCHEMA;
    return r;
}

/* Is it what it should be? */

int session_identify(struct session *session, char *damage, size_t size)
{
    int64_t application = 0;

    snprintf(damage, size, "it is no database, or a part of it is missing");
    int r = query_number(session->sql, "PRAGMA application_id", &application);
    if (r == 0)
        r = query_number(session->sql, "PRAGMA user_version", &session->schema);
    if (r < 0)
        return r;
    if (application != DATABASE_APPLICATION_ID)
        return text_explain(damage, size, -EBADMSG, "it is no state of twistyd");
    if (session->schema > DATABASE_SCHEMA)
        return text_explain(damage, size, -EPROTO, "%" PRId64, session->schema);
    return session->schema < 0 ? text_explain(damage, size, -EBADMSG, "its schema is %" PRId64, session->schema) : 0;
}

int session_check_structure(struct session *session, char *damage, size_t size)
{
    sqlite3_stmt *statement = NULL;
    int r = 0;

    if (sqlite3_prepare_v2(session->sql, "PRAGMA quick_check(1)", -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW) {
        r = error_of(session->sql);
    } else {
        const char *text = (const char *)sqlite3_column_text(statement, 0);
        if (text == NULL || strcmp(text, "ok") != 0)
            r = text_explain(damage, size, -EBADMSG, "%.200s", text == NULL ? "?" : text);
    }
    sqlite3_finalize(statement);
    return r;
}

/* Are our tables there, and nothing else? */
static int check_tables(struct session *session, char *damage, size_t size)
{
    sqlite3_stmt *statement = NULL;
    size_t n = 0;
    int got = SQLITE_ERROR;

    if (sqlite3_prepare_v2(session->sql, "SELECT sql FROM sqlite_schema ORDER BY name", -1, &statement, NULL) ==
        SQLITE_OK)
        while ((got = sqlite3_step(statement)) == SQLITE_ROW) {
            const char *text = (const char *)sqlite3_column_text(statement, 0);
            if (n >= N_TABLES || text == NULL || strcmp(text, schema_tables[session->schema][n]) != 0)
                break;
            n++;
        }
    int r = got == SQLITE_DONE || got == SQLITE_ROW ? 0 : error_of(session->sql);
    sqlite3_finalize(statement);
    if (r == 0 && (got == SQLITE_ROW || n < N_TABLES))
        r = text_explain(damage, size, -EBADMSG, "its tables are not what they should be");
    return r;
}

static int check_rows(struct session *session, char *damage, size_t size)
{
    struct row row;
    uint64_t wrong = 0;
    int64_t boot;

    int r = session_prepare(session);
    if (r == 0)
        while ((r = session_next(session, IN_ORDER, &row, &boot)) == 1 || r == -EILSEQ)
            wrong += r < 0;
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

static int check_clock(struct session *session, char *damage, size_t size)
{
    int64_t rows = 0, ignored = 0;
    struct clock clock;
    int r = session_read_clock(session, &clock);

    if (r == -ENOENT) { // in a file that nothing was kept in yet
        r = session_measure(session, &rows, &ignored, &ignored);
        r = r == 0 && rows > 0 ? -EBADMSG : r;
    }
    if (r == 0)
        r = session_read_boots(session, ignore_boot, NULL);
    return r == -EBADMSG ? text_explain(damage, size, r, "its clock is not as it was written") : r;
}

int session_check_content(struct session *session, char *damage, size_t size)
{
    int r = check_tables(session, damage, size);

    if (r == 0)
        r = check_rows(session, damage, size);
    return r < 0 ? r : check_clock(session, damage, size);
}
