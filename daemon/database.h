/*
 * database - the file that keeps jobs: SQLite, in write-ahead mode, each commit synced.
 *
 * It is opened safely (no links, nobody else's file, one daemon at a time), examined whole, migrated, and set aside
 * with what can be read saved into a new one when it is damaged. Each row has a checksum of its own, so that nothing
 * is believed that was not written. Everything here waits for the disk: store.c runs it on a thread of its own.
 *
 * The times of a row are of the boot in which it was written; they are told in those of the present one. Within a boot
 * they are exact. From one boot to the next the wall clock says how much time went by, and if that went backwards,
 * none did: no tick comes twice.
 */
#ifndef TWISTY_DATABASE_H
#define TWISTY_DATABASE_H

#include "changes.h"

/* "twst" in the file's header, so that file(1) and we know whose it is. */
#define DATABASE_APPLICATION_ID 0x74777374

/* The schema that this daemon writes. */
#define DATABASE_SCHEMA 1

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

struct database_config {
    const char *path;
    const char *boot; // which boot and which clock this is; times of another one cannot be compared with its own
    struct moment now;
};

/* What was found. */
struct database_found {
    struct progress progress; // the last that was kept, in the terms of the present boot; next_id 0: nothing was
    int64_t away;             // nanoseconds since then
    int64_t clock_back;       // by how much the wall clock went backwards since then; 0: it did not
    bool rebooted;
    int unwritable;       // why nothing can be written for now: a negative errno; else 0
    char set_aside[512];  // the name that a damaged file has now; "": it was not damaged
    char damage[256];     // what was wrong with it
    uint64_t saved, lost; // of a damaged one: rows that are kept, and those that were seen to be wrong
};

struct database;

/*
 * Open, examine and if need be migrate the file. 0; -EADDRINUSE: another daemon has it; -EPROTO: it is of a newer
 * daemon; -EPERM: a link, or somebody else's; or another negative errno. On error `why` has a line that says what is
 * wrong and what to do. One that cannot be written, or not be made, is no error: see `found`.
 */
int database_open(const struct database_config *config, struct database **out, struct database_found *found, char *why,
                  size_t size);

/* Closes it cleanly, so that the file alone holds everything. */
void database_close(struct database *db);

/* The next row, valid until the next call: 1; 0 at the end; or negative errno. */
int database_next(struct database *db, struct row *out);

/*
 * Keep all of these changes, or none. 0 when they are on the disk; -ENOSPC, -EROFS, -EIO or another negative errno,
 * with a phrase in `why`.
 */
int database_write(struct database *db, const struct changes *changes, const struct progress *progress, char *why,
                   size_t size);

/* After a commit: move what has gathered in the log into the file, if that is worth its while. */
void database_tidy(struct database *db);

#endif
