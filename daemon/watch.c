#include "watch.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/time.h>

struct watch {
    struct event event;
    struct watch_set *set;
    void (*on_ready)(void *ctx, unsigned what);
    void *ctx;
    const char *purpose;
    char *detail;  // owned, or NULL
    int number;    // the descriptor or the signal
    unsigned what; // wanted now
    int timeout_ms;
    int priority;            // among those that are ready
    TAILQ_ENTRY(watch) link; // watch_set::watches
};

struct watch_set {
    struct event_base *base;
    void (*between)(void *ctx); // NULL: nothing
    void *between_ctx;
    TAILQ_HEAD(watch_list, watch) watches;
};

struct watch_set *watch_set_new(struct event_base *base)
{
    struct watch_set *set = calloc(1, sizeof *set);

    if (set != NULL) {
        set->base = base;
        TAILQ_INIT(&set->watches);
    }
    return set;
}

void watch_set_free(struct watch_set *set)
{
    free(set);
}

void watch_set_between(struct watch_set *set, void (*between)(void *ctx), void *ctx)
{
    set->between = between;
    set->between_ctx = ctx;
}

static unsigned what_from_events(short events)
{
    return (events & EV_READ ? WATCH_READ : 0u) | (events & EV_WRITE ? WATCH_WRITE : 0u) |
           (events & EV_TIMEOUT ? WATCH_TIMEOUT : 0u) | (events & EV_SIGNAL ? WATCH_SIGNAL : 0u);
}

static void on_event(evutil_socket_t number, short events, void *arg)
{
    struct watch *watch = arg;
    const struct watch_set *set = watch->set;
    bool first = watch->priority == WATCH_PRIORITY_FIRST;

    (void)number;
    watch->on_ready(watch->ctx, what_from_events(events)); // which may free the watch
    if (!first && set->between != NULL)
        set->between(set->between_ctx);
}

struct watch *watch_new(struct watch_set *set, int fd, const char *purpose, const char *detail,
                        void (*on_ready)(void *ctx, unsigned what), void *ctx)
{
    struct watch *watch = calloc(1, sizeof *watch);

    if (watch == NULL)
        return NULL;
    if (detail != NULL && (watch->detail = strdup(detail)) == NULL) {
        free(watch);
        return NULL;
    }
    watch->set = set;
    watch->on_ready = on_ready;
    watch->ctx = ctx;
    watch->purpose = purpose;
    watch->number = fd;
    watch->priority = WATCH_PRIORITY_REST;
    event_assign(&watch->event, set->base, fd, EV_PERSIST, on_event, watch);
    TAILQ_INSERT_TAIL(&set->watches, watch, link);
    return watch;
}

struct watch *watch_signal(struct watch_set *set, int signal_nr, const char *purpose,
                           void (*on_ready)(void *ctx, unsigned what), void *ctx)
{
    struct watch *watch = watch_new(set, signal_nr, purpose, NULL, on_ready, ctx);

    if (watch == NULL)
        return NULL;
    event_assign(&watch->event, set->base, signal_nr, EV_SIGNAL | EV_PERSIST, on_event, watch);
    watch_set_first(watch);
    event_priority_set(&watch->event, watch->priority);
    if (event_add(&watch->event, NULL) < 0) {
        watch_free(watch);
        return NULL;
    }
    watch->what = WATCH_SIGNAL;
    return watch;
}

void watch_set_first(struct watch *watch)
{
    watch->priority = WATCH_PRIORITY_FIRST;
}

void watch_set_last(struct watch *watch)
{
    watch->priority = WATCH_PRIORITY_LAST;
    event_priority_set(&watch->event, WATCH_PRIORITY_LAST);
}

void watch_call(struct watch *watch)
{
    event_active(&watch->event, EV_TIMEOUT, 0);
}

void watch_free(struct watch *watch)
{
    if (watch == NULL)
        return;
    event_del(&watch->event);
    TAILQ_REMOVE(&watch->set->watches, watch, link);
    free(watch->detail);
    free(watch);
}

int watch_want(struct watch *watch, unsigned what, int timeout_ms)
{
    struct timeval timeout = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000L};
    int events = EV_PERSIST | (what & WATCH_READ ? EV_READ : 0) | (what & WATCH_WRITE ? EV_WRITE : 0);

    if (what == watch->what && timeout_ms == watch->timeout_ms)
        return 0;
    event_del(&watch->event);
    watch->what = 0;
    watch->timeout_ms = 0;
    if (what == 0 && timeout_ms <= 0)
        return 0;
    event_assign(&watch->event, watch->set->base, watch->number, (short)events, on_event, watch);
    event_priority_set(&watch->event, watch->priority);
    if (event_add(&watch->event, timeout_ms > 0 ? &timeout : NULL) < 0)
        return -ENOMEM;
    watch->what = what;
    watch->timeout_ms = timeout_ms;
    return 0;
}

void watch_describe(const struct watch_set *set,
                    void (*tell)(void *ctx, const char *purpose, const char *detail, int number, unsigned what),
                    void *ctx)
{
    const struct watch *watch;

    for (watch = TAILQ_FIRST(&set->watches); watch; watch = TAILQ_NEXT(watch, link)) {
        unsigned what = watch->what | (watch->timeout_ms > 0 ? WATCH_TIMEOUT : 0u);

        if (what != 0)
            tell(ctx, watch->purpose, watch->detail, watch->number, what);
    }
}
