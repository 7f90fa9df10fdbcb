/*
 * database - the file that keeps jobs: SQLite, in write-ahead mode, each commit synced.
 *
 * It is opened safely (no links, nobody else's file, one daemon at a time), examined whole, migrated, and set aside
 * with what can be read saved into a new one when it is damaged. When it is found to be damaged or gone while it is
 * written, it is renewed: another one is written from what the caller has, and takes its place when it is whole.
 * Everything here waits for the disk: store.c runs it on a thread of its own.
 *
 * The times of a row are of the boot in which it was written; they are told in those of the present one. Within a boot
 * they are exact. From one boot to the next the wall clock says how much time went by, and if that went backwards,
 * none did: no tick comes twice.
 */
#ifndef TWISTY_DATABASE_H
#define TWISTY_DATABASE_H

#include "session.h"

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
 * wrong and what to do. One that cannot be written, be made or be migrated is no error: see `found`. It is tried again
 * with each database_write(), and until then an older schema is read as it is.
 */
int database_open(const struct database_config *config, struct database **out, struct database_found *found, char *why,
                  size_t size);

/* Closes it cleanly, so that the file alone holds everything. */
void database_close(struct database *db);

/* The next row, valid until the next call: 1; 0 at the end; or negative errno. */
int database_next(struct database *db, struct row *out);

/*
 * Keep all of these changes, or none. 0 when they are on the disk; -ENOSPC, -EROFS, -EIO or another negative errno,
 * with a phrase in `why`. -ESTALE: the file is damaged, or is not there any more; only database_renew() can help.
 */
int database_write(struct database *db, const struct changes *changes, const struct progress *progress, char *why,
                   size_t size);

/*
 * Begin another file; database_write() goes to that from now on, and syncs nothing. When all that there is has been
 * written to it, it takes the place of the first, which is set aside. Whatever fails in between, with any negative
 * errno, the first one is as it was, and it is to be begun anew.
 *
 * found: of the first file what was wrong with it, and its name now; `saved` is how many rows the other has.
 */
int database_renew(struct database *db, char *why, size_t size);
int database_end_renewal(struct database *db, struct database_found *found, char *why, size_t size);

/* After a commit: move what has gathered in the log into the file, if that is worth its while. */
void database_tidy(struct database *db);

#endif
