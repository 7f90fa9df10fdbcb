/*
 * loop - the event loop: one thread, one libevent base, one clock.
 *
 * The clock timer is a timerfd with absolute time: exact on every backend, never early, counting the time asleep if
 * asked, and silent while nothing is due. When deadlines are dense it wakes for several of them together: gather.h has
 * the formula. Everything else the loop waits on is a struct watch (watch.h).
 */
#ifndef TWISTY_LOOP_H
#define TWISTY_LOOP_H

#include "settings.h"
#include "watch.h"

#include <stdint.h>

struct loop;

struct loop_hooks {
    void (*wake)(void *ctx, int64_t now);     // the time given to loop_wake_at() has come; never before it
    void (*signal)(void *ctx, int signal_nr); // from the loop, not from the handler
    void *ctx;
};

/* Catches TERM, INT, HUP; ignores PIPE. 0 or negative errno; -ENOTSUP: this libevent lacks the backend. */
int loop_new(enum loop_backend backend, enum loop_clock clock, const struct loop_hooks *hooks, struct loop **out);

/* Watches must be gone by then. */
void loop_free(struct loop *loop);

/* Runs until loop_stop(). 0 or negative errno. */
int loop_run(struct loop *loop);

/* Ends loop_run() after the current callback. 0 or -EIO. */
int loop_stop(struct loop *loop);

/* The loop's clock now, in nanoseconds. */
int64_t loop_now(const struct loop *loop);

/* How much later than asked a wake may come, so as to do for several; in [0, ACCURACY_MAX] of gather.h. */
void loop_set_accuracy(struct loop *loop, int64_t accuracy);

/*
 * A job with this interval has its next deadline at `due`, or TIME_NEVER: no wake is put off until then so far that it
 * would miss a tick. Only intervals below loop_quick_below() need to be told.
 */
void loop_note_quick(struct loop *loop, int64_t interval, int64_t due);
int64_t loop_quick_below(const struct loop *loop);

/*
 * Call hooks.wake at `when` (or when its turn comes, if it was called just before; or a little later, within the
 * accuracy), replacing the earlier wish; TIME_NEVER: not at all. A time that was past at the last wake means at once:
 * there is work left over. Costs nothing if it is the same.
 */
void loop_wake_at(struct loop *loop, int64_t when);

/* "epoll", "poll" or "select": what libevent uses. */
const char *loop_backend(const struct loop *loop);

/* What the loop waits on; watches are made in it. Owned by the loop. */
struct watch_set *loop_watches(const struct loop *loop);

#endif
