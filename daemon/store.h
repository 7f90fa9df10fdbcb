/*
 * store - durable state: what the loop changes, written by a thread of its own, so that no disk holds up a tick.
 *
 * The loop gathers changes and submits them under a sequence number. All that was submitted since the last commit is
 * one transaction, so that what was submitted together is never kept in part. When it is on the disk, or cannot be
 * kept, the loop hears of it through an eventfd. What could not be kept is tried again until it can: of each job the
 * latest, so that it never takes more memory than the jobs themselves.
 *
 * When the file is damaged or gone it is renewed: the loop hands over all that there is once more, in slices, with what
 * changes meanwhile, and nothing is said to be on the disk until it all is.
 *
 * Everything but the thread's own work is called from the loop. All signals are blocked in the thread.
 */
#ifndef TWISTY_STORE_H
#define TWISTY_STORE_H

#include "database.h"
#include "watch.h"

struct store;

/* Called from the loop. */
struct store_hooks {
    /* All up to this sequence number is on the disk, or with an `error`, which is valid during the call, is not. */
    void (*done)(void *ctx, uint64_t upto, const char *error);
    /* The job came with a change that cannot be kept, and is to go. Before done(), from store_work(). */
    void (*undo)(void *ctx, uint64_t id, const char *name);
    /*
     * The file is renewed: put all jobs from the first on, some when store_wants_more() says so, and then say
     * store_put_all(). Said again when it is to begin again. after_loop: the loop has ended, so put them all now.
     */
    void (*renew)(void *ctx, bool after_loop);
    /* It has been. */
    void (*renewed)(void *ctx, const struct database_found *old);
    void *ctx;
};

/*
 * Start the thread, and let it open the database; waits for that. Returns what database_open() does. Until
 * store_read() has said that it is all, nothing can be submitted.
 */
int store_open(const struct database_config *config, struct watch_set *watches, const struct store_hooks *hooks,
               struct store **out, struct database_found *found, char *why, size_t size);

/* The next jobs that were kept, in the order of their ids: 1, with some of them in the set; 0 when that was all; or
 * negative errno. Waits for the disk. */
int store_read(struct store *s, struct changes *out);

/* Gather a change, as changes_put() and changes_remove(). */
int store_put(struct store *s, const struct row *row);
int store_remove(struct store *s, uint64_t id);

/* Is there something to be undone, and look through so many changes for it. */
bool store_busy(const struct store *s);
void store_work(struct store *s, size_t n);

/* Is the file being renewed, and are more jobs to be put now? */
bool store_renewing(const struct store *s);
bool store_wants_more(struct store *s);

/* With what has been gathered now all has been put. */
void store_put_all(struct store *s);

/* The sequence number that what has been gathered will have; 0 when there is nothing. */
uint64_t store_gathered(const struct store *s);

/*
 * Hand over what has been gathered, all of it together, and how far things are. undo: all of these jobs are new, and
 * go again if they cannot be kept.
 */
void store_submit(struct store *s, const struct progress *progress, bool undo);

/* Called from a loop that is busy: what was submitted waits no longer for a turn of it to end. */
void store_hurry(struct store *s, int64_t now);

/* Up to which sequence number changes were submitted, and are on the disk. */
uint64_t store_submitted(const struct store *s);
uint64_t store_written(const struct store *s);

/* Why nothing can be kept for now; NULL when it can. */
const char *store_degraded(const struct store *s);

/* Is so much waiting for the disk that no more should be begun? hooks.done says when to look again. */
bool store_is_full(struct store *s);

/*
 * After the loop has ended: write what is gathered, for at most `wait_ms`, telling hooks.done of it, also of what then
 * is not on the disk, and end the thread. One that hangs in a system call is left behind. Returns whether everything is
 * on the disk. Takes NULL.
 */
bool store_close(struct store *s, const struct progress *progress, int wait_ms);

#endif
