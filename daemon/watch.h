/*
 * watch - descriptors that the loop waits on, each with a purpose that can be told to people.
 *
 * A thin layer over libevent's events, so that sinks, connections and children need not know libevent, and so that
 * `twistyctl status --loop` can say what the loop waits for. The set belongs to loop.c; a watch to whoever made it.
 */
#ifndef TWISTY_WATCH_H
#define TWISTY_WATCH_H

struct event_base;
struct watch_set;
struct watch;

/* What a watch waits for or has got; a bit set. */
enum { WATCH_READ = 1, WATCH_WRITE = 2, WATCH_TIMEOUT = 4, WATCH_SIGNAL = 8 };

/* NULL when there is no memory. The base is borrowed. */
struct watch_set *watch_set_new(struct event_base *base);

/* Every watch must be gone by then. */
void watch_set_free(struct watch_set *set);

/* Call this after the callback of each watch that is not among the first: there are many of these in a turn. */
void watch_set_between(struct watch_set *set, void (*between)(void *ctx), void *ctx);

/*
 * Watch a descriptor. `purpose` is static text for people, `detail` (copied, may be NULL) tells one from another.
 * Nothing is wanted yet. The descriptor stays the caller's, and open as long as the watch. fd -1: a mere timeout.
 * NULL when there is no memory.
 */
struct watch *watch_new(struct watch_set *set, int fd, const char *purpose, const char *detail,
                        void (*on_ready)(void *ctx, unsigned what), void *ctx);

/* The same for a signal, wanted at once. */
struct watch *watch_signal(struct watch_set *set, int signal_nr, const char *purpose,
                           void (*on_ready)(void *ctx, unsigned what), void *ctx);

/* Priorities that the base should have; a watch is among the rest unless it is a signal, or is said to go elsewhere. */
enum { WATCH_PRIORITY_FIRST, WATCH_PRIORITY_REST, WATCH_PRIORITY_LAST, WATCH_PRIORITIES };

/* This one's callback comes before those of all others that are ready. Before watch_want(). */
void watch_set_first(struct watch *watch);

/* This one's comes when none of the others is ready any more. Before watch_want() or watch_call(). */
void watch_set_last(struct watch *watch);

/* Call it from the loop when its turn comes, with WATCH_TIMEOUT. */
void watch_call(struct watch *watch);

/* May be called from the watch's own callback, which must not touch the watch afterwards. */
void watch_free(struct watch *watch);

/*
 * Say what to wait for: WATCH_READ, WATCH_WRITE, both or 0. timeout_ms > 0: also call with WATCH_TIMEOUT whenever
 * nothing happened for so long (coarse; stays until changed). Costs nothing when it is what is wanted already.
 * 0 or -ENOMEM.
 */
int watch_want(struct watch *watch, unsigned what, int timeout_ms);

/* Tell of each watch in the set that waits for something. `number` is the descriptor or the signal. */
void watch_describe(const struct watch_set *set,
                    void (*tell)(void *ctx, const char *purpose, const char *detail, int number, unsigned what),
                    void *ctx);

#endif
