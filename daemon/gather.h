/*
 * gather - how long a wake may be put off, so that deadlines which are dense are met together.
 *
 * Pure: times are parameters, in nanoseconds. A wake-up costs some 30 us of processor time, whatever is then done: at
 * a thousand ticks a second that is little, and each is worth its own; at a hundred thousand it would be all there is.
 *
 *     put off by  accuracy - 2 * gap,  if that is more than 0
 *
 * where the gap is the time from a wake to the next deadline, in the mean of about the last GATHER_MEMORY wakes. What
 * is left over after a gathering is as long as the deadlines are dense: the wakes need not be exact to be told by it.
 * So below 2/accuracy deadlines a second every wake is exact; above, there are ever more deadlines to a wake, and never
 * more than 2/accuracy wakes a second. No deadline is met before its time, nor for this later than by the accuracy.
 *
 * Nor is a tick missed for it: as long as a job with a shorter interval is under way, nothing is put off by more than
 * half of that.
 */
#ifndef TWISTY_GATHER_H
#define TWISTY_GATHER_H

#include <stdint.h>

/* Wakes that the mean is taken of, more or less; and the longest gap that counts, in accuracies. */
#define GATHER_MEMORY 64

/* The largest accuracy: a second. */
#define ACCURACY_MAX INT64_C(1000000000)

/* Intervals by powers of two, up to twice the largest accuracy. */
#define GATHER_CLASSES 32

struct gather {
    int64_t accuracy;
    int64_t gap;
    uint32_t quick;                // classes of intervals that have jobs, a bit each
    int64_t until[GATHER_CLASSES]; // of each: the latest deadline of such a job
};

/* Accuracy is in [0, ACCURACY_MAX]; with 0 nothing is ever put off. */
void gather_init(struct gather *g, int64_t accuracy);

/* After a wake: the next deadline is so far away, at least 0; very far when there is none. */
void gather_note_gap(struct gather *g, int64_t gap);

/* Does an interval need gather_note_quick()? In nanoseconds: those of this and more do not. */
int64_t gather_quick_below(const struct gather *g);

/* A job with this interval, at least 1, has its next deadline at `due`. */
void gather_note_quick(struct gather *g, int64_t interval, int64_t due);

/* When to wake for the next deadline: not before it. */
int64_t gather_wake(struct gather *g, int64_t deadline);

#endif
