/*
 * changes - what is to become of jobs in the state file: the latest of each job, in the order in which they came.
 *
 * Pure. A set holds at most one change of a job: what comes later takes the place of what was there, so that a set is
 * never larger than the number of jobs that it is about, however long it has to wait for the disk.
 */
#ifndef TWISTY_CHANGES_H
#define TWISTY_CHANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/*
 * A job as it is kept. Words and texts are those of job.h and spec.h, and only those who write and read them know what
 * they mean. Times are nanoseconds of the loop's clock.
 */
struct row {
    uint64_t id;
    const char *name;
    const char *source; // its word
    const char *state;  // its word
    const char *spec;   // keys and values, a line each
    const char *reason; // NULL: none
    uint32_t owner;
    int64_t added, t0, since;
    uint64_t passed, missed;
    uint64_t ended; // its place in the order in which jobs ended; 0: it has not, or in a file that does not say
};

struct change {
    TAILQ_ENTRY(change) link; // changes::list
    struct change *chained;   // changes::buckets
    bool gone;                // the job is forgotten: of its row only the id counts
    bool undo;                // it came with this change, and goes again if this cannot be kept
    struct row row;           // its texts stand in `texts`
    char texts[];
};

TAILQ_HEAD(change_list, change);

struct changes {
    struct change_list list; // owned
    struct change **buckets; // owned, of hashes of ids; NULL while there are none
    size_t n_buckets;        // a power of two, or 0
    size_t n;
};

void changes_init(struct changes *set);

/* Free what is in it; it is empty then, and can be used again. */
void changes_clear(struct changes *set);

/* Note the job as it is now, with a copy of its row. 0 or -ENOMEM, with the set as it was. */
int changes_put(struct changes *set, const struct row *row);

/* Note that the job is forgotten. 0 or -ENOMEM. */
int changes_remove(struct changes *set, uint64_t id);

/* All of these jobs are new: they go again if they cannot be kept. */
void changes_mark_undo(struct changes *set);

/* Move all of `newer` into the set, where they take the place of older ones. Cannot fail. */
void changes_merge(struct changes *set, struct changes *newer);

#endif
