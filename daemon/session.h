/*
 * session - a connection to a state file: its tables, and how a row is written, read and known to be what was written.
 *
 * Each row has a checksum of its own, so that nothing is believed that was not written. A file of an older schema can
 * be read as it is, and be migrated, in one transaction, before it is written to. Everything here waits for the disk.
 * Which file it is, and what is to become of it, is database.c's.
 */
#ifndef TWISTY_SESSION_H
#define TWISTY_SESSION_H

#include "changes.h"

/* "twst" in the file's header, so that file(1) and we know whose it is. */
#define DATABASE_APPLICATION_ID 0x74777374

/* The schema that this daemon writes. */
#define DATABASE_SCHEMA 2

/* Reboots that rows may lie behind. */
#define DATABASE_BOOTS_MAX 100000

/* No time of the loop's clock is further from its zero than this, in nanoseconds, and no id is higher than that. */
#define DATABASE_TIME_MAX (INT64_MAX / 4 * 3)
#define DATABASE_ID_MAX   (INT64_MAX / 2)

/* The loop's clock and the time of day, read together, both in nanoseconds. */
struct moment {
    int64_t loop;
    int64_t real;
};

/* What goes with the rows of a commit. */
struct progress {
    struct moment now;
    int64_t stamp;    // of the loop's clock: what was due by then has been done
    uint64_t next_id; // ids from here on are free
};

/* How far things were at the last commit, and in which boot. */
struct clock {
    int64_t boot; // 0: there was none
    char name[64];
    struct progress progress;
};

/* Ways to walk over all rows. */
enum session_order { IN_ORDER, BACKWARDS, SESSION_ORDERS };

enum { SESSION_CHANGES = 4 };

/* A connection and its prepared statements. Of zeros it is closed. */
struct session {
    struct sqlite3 *sql;
    int64_t schema;                                // of its tables
    struct sqlite3_stmt *walks[SESSION_ORDERS];    // NULL: not prepared
    struct sqlite3_stmt *changes[SESSION_CHANGES]; // the same
    int log_pages;                                 // in the log, after the last commit
};

/*
 * All of these return 0 or a negative errno: -ENOSPC, -EROFS, -EIO; -EBUSY: another program has the file; -EBADMSG: it
 * is not what it should be. On an error of session_open() the session is still to be closed.
 *
 * A file that is read only is taken for one that nobody changes.
 */
int session_open(struct session *session, const char *path, bool read_only);

/* Moves all of the log into the file, if it can. */
void session_close(struct session *session);

/* The file and its log stay as they are. */
void session_abandon(struct session *session);

/* From now on it is written, with a log. */
int session_begin_writing(struct session *session);

/* A file that nobody needs before session_flush(): its commits are not synced. */
int session_relax(struct session *session);

/* Move the log into the file: all of it, synced; or, if it is long, what can be moved now, and 1 if so. */
int session_flush(struct session *session);
int session_tidy(struct session *session);

/*
 * Whose file is it, and of which schema: 0, -EPROTO when it is newer than ours; or negative errno, and -EBADMSG with a
 * phrase in `damage`.
 */
int session_identify(struct session *session, char *damage, size_t size);

/*
 * Bring the tables from an older schema to ours, in one transaction. Schema 0 is a file without any. What was prepared
 * is to be prepared again, whatever is returned.
 */
int session_migrate(struct session *session);

/* Is all of the file as it was written, whatever its schema? -EBADMSG with a phrase in `damage`. */
int session_check_structure(struct session *session, char *damage, size_t size);
int session_check_content(struct session *session, char *damage, size_t size);

/* Get ready to walk; and to write, if the schema is ours. */
int session_prepare(struct session *session);

/* The same for a walk over what is left of a damaged file, whatever its schema is. */
int session_prepare_rest(struct session *session);

/*
 * The next row of a walk, valid until the next call: 1; 0 at the end; -EILSEQ: it is not one that was written, and the
 * walk goes on behind it; or another negative errno: that was all.
 */
int session_next(struct session *session, enum session_order order, struct row *out, int64_t *boot);

/* A walk is broken off. */
void session_rewind(struct session *session, enum session_order order);

int session_begin(struct session *session);

/* Commit when r is 0, else take everything back; returns r, or why it cannot be committed. */
int session_end(struct session *session, int r);

int session_put(struct session *session, const struct row *row, int64_t boot);
int session_remove(struct session *session, uint64_t id);
int session_put_clock(struct session *session, const struct clock *clock);
int session_forget_clock(struct session *session);
int session_put_boot(struct session *session, int64_t boot, int64_t shift);

/* -ENOENT: there is none. */
int session_read_clock(struct session *session, struct clock *out);

/* Tell of each boot. -EBADMSG: one is not what was written, and the others were told. */
int session_read_boots(struct session *session, int (*tell)(void *ctx, int64_t boot, int64_t shift), void *ctx);

/* How many rows there are, the highest id, and the latest boot; 0 when there are none. */
int session_measure(struct session *session, int64_t *rows, int64_t *last_id, int64_t *last_boot);

#endif
