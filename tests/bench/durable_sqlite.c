/*
 * What a program does that keeps its jobs in SQLite by itself: so many rows, so many of them a commit, each commit
 * synced. Prints what it took as a line of JSON.
 */
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int64_t now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void check(sqlite3 *db, int r)
{
    if (r == SQLITE_OK || r == SQLITE_DONE)
        return;
    fprintf(stderr, "%s\n", sqlite3_errmsg(db));
    exit(EXIT_FAILURE);
}

static void execute(sqlite3 *db, const char *text)
{
    check(db, sqlite3_exec(db, text, NULL, NULL, NULL));
}

static void insert(sqlite3 *db, sqlite3_stmt *statement, uint64_t i)
{
    char name[32];

    snprintf(name, sizeof name, "t%08" PRIu64, i);
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)i + 1);
    sqlite3_bind_text(statement, 2, name, -1, SQLITE_STATIC);
    check(db, sqlite3_step(statement));
    sqlite3_reset(statement);
}

int main(int argc, char *argv[])
{
    sqlite3 *db;
    sqlite3_stmt *statement;

    if (argc != 4) {
        fprintf(stderr, "usage: durable_sqlite FILE ROWS ROWS-A-COMMIT\n");
        return EXIT_FAILURE;
    }
    uint64_t rows = strtoull(argv[2], NULL, 10), commit = strtoull(argv[3], NULL, 10);
    check(NULL, sqlite3_open(argv[1], &db));
    execute(db, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                "CREATE TABLE jobs (id INTEGER PRIMARY KEY, name TEXT, kind TEXT, interval INTEGER, start INTEGER)");
    check(db, sqlite3_prepare_v2(db, "INSERT INTO jobs VALUES (?, ?, 'loop', 3600000000000, 1700000000000000000)", -1,
                                 &statement, NULL));
    int64_t began = now();
    for (uint64_t i = 0; i < rows; i++) {
        if (i % commit == 0)
            execute(db, "BEGIN");
        insert(db, statement, i);
        if (i % commit == commit - 1 || i == rows - 1)
            execute(db, "COMMIT");
    }
    printf("{\"rows\": %" PRIu64 ", \"wall_ns\": %" PRId64 "}\n", rows, now() - began);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return EXIT_SUCCESS;
}
