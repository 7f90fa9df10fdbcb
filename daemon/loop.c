#include "loop.h"

#include "gather.h"
#include "now.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

static const int caught_signals[] = {SIGTERM, SIGINT, SIGHUP};

/*
 * The clock goes before everything else that is ready, but not twice in a row: who wants to be woken again within NEAR
 * waits in line with the others. Else one job at a microsecond would shut out every client. When the line is long it
 * waits for TURN: else a tick that came late would wait for every client, and so would all after it.
 */
#define NEAR (50 * NSEC_PER_USEC)
#define TURN (100 * NSEC_PER_USEC)

/*
 * How many others are seen to before the signals are, and before it is asked anew who is ready. The kernel looks at all
 * who were not seen to each time that it is asked; the clock is looked at after each of them, which costs little.
 */
#define IN_A_ROW 64

/* Instead of a time in loop::timer_at and wish: it has come, and no other was set since. */
#define FIRED (-1)

#define N_SIGNALS (sizeof caught_signals / sizeof caught_signals[0])

struct caught {
    struct loop *loop;
    int signal_nr;
    struct watch *watch;
};

struct loop {
    struct event_base *base;
    struct watch_set *watches;
    struct loop_hooks hooks;
    clockid_t clock;
    int timer_fd;
    struct watch *timer;
    struct event *in_line; // instead of the timer, for a time that is near
    int64_t timer_at;      // what the timer is set to; TIME_NEVER: it is off
    int64_t wish;          // what was wished for last
    int64_t wake_at;       // when that will be done
    int64_t woken;         // when hooks.wake was called last
    struct gather gather;
    struct caught signals[N_SIGNALS];
};

static void set_timer(struct loop *loop, int64_t when)
{
    struct itimerspec spec = {0}; // off

    if (when == loop->timer_at)
        return;
    loop->timer_at = when;
    if (when != TIME_NEVER) {
        spec.it_value.tv_sec = when / NSEC_PER_SEC;
        spec.it_value.tv_nsec = when % NSEC_PER_SEC;
    }
    timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL); // cannot fail on a valid time
}

static void wake(struct loop *loop)
{
    loop->woken = loop_now(loop);
    loop->wish = FIRED;
    loop->hooks.wake(loop->hooks.ctx, loop->woken);
}

/* The timer is not read: setting it takes back that it has expired. */
static void on_timer(void *ctx, unsigned what)
{
    struct loop *loop = ctx;

    (void)what;
    loop->timer_at = FIRED;
    wake(loop);
}

/* Someone else was seen to: has the timer expired meanwhile? */
static void on_between(void *ctx)
{
    struct loop *loop = ctx;

    if (loop->timer_at == FIRED || loop->timer_at == TIME_NEVER || loop_now(loop) < loop->timer_at ||
        event_base_got_break(loop->base))
        return;
    loop->timer_at = FIRED;
    wake(loop);
}

static void on_turn(evutil_socket_t fd, short what, void *ctx)
{
    struct loop *loop = ctx;

    (void)fd;
    (void)what;
    if (loop->wish == FIRED || loop->wake_at == TIME_NEVER || loop->wake_at > loop->woken + NEAR)
        return; // another time was wished meanwhile, and the timer is set to it
    if (loop->wake_at <= loop_now(loop)) {
        wake(loop);
        event_base_loopcontinue(loop->base); // see who else is ready, before the next turn
    } else {
        set_timer(loop, loop->wake_at);
    }
}

static void on_signal(void *ctx, unsigned what)
{
    const struct caught *caught = ctx;

    (void)what;
    caught->loop->hooks.signal(caught->loop->hooks.ctx, caught->signal_nr);
}

/* Let libevent have only the method that is asked for. */
static int base_new(enum loop_backend backend, struct event_base **out)
{
    static const char *const methods[] = {"epoll", "poll", "select", "devpoll", "evport", "kqueue", "win32"};
    struct event_config *config = event_config_new();
    int r = 0;

    if (config == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0] && r == 0; i++)
        if (backend != BACKEND_AUTO && (enum loop_backend)(BACKEND_EPOLL + i) != backend)
            r = event_config_avoid_method(config, methods[i]) < 0 ? -ENOMEM : 0;
    // One thread runs the loop and nobody else touches it; $EVENT_NOEPOLL and the like have no say.
    if (r == 0 && event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV) < 0)
        r = -EINVAL;
    // By number, as libevent's own time is that of the last jiffy.
    if (r == 0 && event_config_set_max_dispatch_interval(config, NULL, IN_A_ROW, WATCH_PRIORITY_REST) < 0)
        r = -EINVAL;
    if (r == 0) {
        *out = event_base_new_with_config(config);
        r = *out == NULL ? -ENOTSUP : 0;
    }
    event_config_free(config);
    if (r == 0 && event_base_priority_init(*out, WATCH_PRIORITIES) < 0)
        r = -ENOMEM;
    return r;
}

static int timer_init(struct loop *loop)
{
    loop->timer_fd = timerfd_create((int)loop->clock, TFD_NONBLOCK | TFD_CLOEXEC);
    if (loop->timer_fd < 0)
        return -errno;
    loop->timer = watch_new(loop->watches, loop->timer_fd, "clock", NULL, on_timer, loop);
    if (loop->timer == NULL)
        return -ENOMEM;
    watch_set_first(loop->timer);
    watch_set_between(loop->watches, on_between, loop);
    loop->in_line = event_new(loop->base, -1, 0, on_turn, loop);
    return loop->in_line == NULL ? -ENOMEM : watch_want(loop->timer, WATCH_READ, 0);
}

static int signals_init(struct loop *loop)
{
    static const char *const purposes[] = {"stop", "stop", "reload"};

    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return -errno;
    for (size_t i = 0; i < N_SIGNALS; i++) {
        struct caught *caught = &loop->signals[i];
        caught->loop = loop;
        caught->signal_nr = caught_signals[i];
        caught->watch = watch_signal(loop->watches, caught_signals[i], purposes[i], on_signal, caught);
        if (caught->watch == NULL)
            return -ENOMEM;
    }
    return 0;
}

int loop_new(enum loop_backend backend, enum loop_clock clock, const struct loop_hooks *hooks, struct loop **out)
{
    struct loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL)
        return -ENOMEM;
    loop->hooks = *hooks;
    loop->clock = clock == CLOCK_KIND_BOOTTIME ? CLOCK_BOOTTIME : CLOCK_MONOTONIC;
    loop->timer_fd = -1;
    loop->timer_at = TIME_NEVER;
    loop->wish = loop->wake_at = TIME_NEVER;
    loop->woken = INT64_MIN / 2;

    int r = base_new(backend, &loop->base);
    if (r == 0) {
        loop->watches = watch_set_new(loop->base);
        r = loop->watches == NULL ? -ENOMEM : timer_init(loop);
    }
    if (r == 0)
        r = signals_init(loop);
    if (r < 0) {
        loop_free(loop);
        return r;
    }
    *out = loop;
    return 0;
}

void loop_free(struct loop *loop)
{
    if (loop == NULL)
        return;
    for (size_t i = 0; i < N_SIGNALS; i++)
        watch_free(loop->signals[i].watch);
    watch_free(loop->timer);
    if (loop->in_line != NULL)
        event_free(loop->in_line);
    if (loop->timer_fd >= 0)
        close(loop->timer_fd);
    watch_set_free(loop->watches);
    if (loop->base != NULL)
        event_base_free(loop->base);
    free(loop);
}

int loop_run(struct loop *loop)
{
    return event_base_dispatch(loop->base) < 0 ? -EIO : 0;
}

/* loopbreak, not loopexit: that one allocates an event, and can fail for lack of memory. */
int loop_stop(struct loop *loop)
{
    return event_base_loopbreak(loop->base) < 0 ? -EIO : 0;
}

int64_t loop_now(const struct loop *loop)
{
    return now_by(loop->clock); // which timerfd_create() took
}

void loop_set_accuracy(struct loop *loop, int64_t accuracy)
{
    if (accuracy != loop->gather.accuracy)
        gather_init(&loop->gather, accuracy);
}

void loop_note_quick(struct loop *loop, int64_t interval, int64_t due)
{
    if (due != TIME_NEVER)
        gather_note_quick(&loop->gather, interval, due);
}

int64_t loop_quick_below(const struct loop *loop)
{
    return gather_quick_below(&loop->gather);
}

/* When to wake for `when`, which was not due at the last wake. */
static int64_t put_off(struct loop *loop, int64_t when)
{
    if (loop->wish == FIRED)
        gather_note_gap(&loop->gather, when - loop->woken);
    return gather_wake(&loop->gather, when);
}

void loop_wake_at(struct loop *loop, int64_t when)
{
    if (when < 1)
        when = 1; // zero would turn the timer off
    if (when == loop->wish)
        return;
    loop->wake_at = when > loop->woken ? put_off(loop, when) : when;
    loop->wish = when;
    if (loop->wake_at <= loop->woken + NEAR) {
        set_timer(loop, loop_now(loop) + TURN);
        event_active(loop->in_line, EV_TIMEOUT, 0);
    } else {
        set_timer(loop, loop->wake_at);
    }
}

struct watch_set *loop_watches(const struct loop *loop)
{
    return loop->watches;
}

const char *loop_backend(const struct loop *loop)
{
    return event_base_get_method(loop->base);
}
