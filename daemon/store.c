#include "store.h"

#include "now.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/param.h>
#include <unistd.h>

/* Rows that are handed over together when the file is read, and how many times as many may wait. */
#define CHUNK_ROWS 4096
#define CHUNKS_MAX 4

/* Changes that may wait before the loop is asked to begin no more: a few seconds' work for a disk. */
#define WAITING_MAX 65536

/* Who is ready in a turn of the loop goes into one commit, but for no longer than this after the first. */
#define TURN_MAX (2 * NSEC_PER_MSEC)

/* How long to wait before trying again what failed: this long at first, and longer each time. */
#define RETRY_FIRST_MS 100
#define RETRY_LAST_MS  5000

/* A disk on which no file stays whole is not filled with damaged ones: from one to the next it takes longer. */
#define RENEWAL_FIRST_MS 1000
#define RENEWAL_LAST_MS  3600000

#define WHY_MAX 512

struct store {
    // The loop's own.
    const char *path; // borrowed
    struct watch *watch;
    struct watch *turn; // called when a turn of the loop is over in which something was submitted
    int64_t turn_since; // of the loop's clock: when that was; INT64_MIN: nothing was
    struct store_hooks hooks;
    struct changes gathered;
    uint64_t last; // the sequence number of what was submitted last
    uint64_t seen; // ... and of what is known to be on the disk
    char degraded[WHY_MAX];
    pthread_t thread;
    bool renewing;           // as far as is known
    struct changes *undoing; // the set that is being looked through after a failure; NULL: none
    struct change *next;     // in that

    int event_fd; // the thread writes, the loop reads

    // The thread's own, but see `failed`.
    struct database *database;
    struct changes flight; // being written, or to be tried again
    struct changes taken;  // comes into that next: a large set is not merged with the lock held
    int64_t renewed_at;    // ms of CLOCK_MONOTONIC; when the file was renewed last; 0: it was not
    int64_t renewal_ms;    // from then until it may be again
    bool lost;             // it is to be, and that has not been begun

    // Both, with the lock.
    pthread_mutex_t lock;
    pthread_cond_t to_thread, to_loop;
    struct changes waiting;
    struct progress progress;
    uint64_t submitted; // up to here is in `waiting`, or was
    uint64_t reached;   // up to here has been written, perhaps to a file that is not in its place yet
    uint64_t written;   // up to here is on the disk
    uint64_t refused;   // up to here could not be kept at the last try
    uint64_t put_all;   // up to here is all that a renewal needs; 0: not yet
    bool failed;        // until the loop has seen this, `flight` is its to look at
    bool renewal;       // is under way
    bool renewed;       // until the loop has seen this, `old` is its to look at
    bool closing;
    bool ended; // the thread has
    char why[WHY_MAX];
    struct changes chunks[CHUNKS_MAX]; // a ring
    unsigned first_chunk, n_chunks;
    int reading; // 1: there is more to come; 0 or negative errno: that was all

    // For the thread's beginning.
    struct database_config config;
    struct database_found *found, old;
    int opened; // 1: not yet; else what database_open() said
};

/* The thread */

static void wake_loop(const struct store *s)
{
    const uint64_t one = 1;

    (void)!write(s->event_fd, &one, sizeof one); // cannot fail: nobody writes it up to its limit
}

/* One chunk of rows. 1: there is more; 0 or negative errno. */
static int read_chunk(struct store *s, struct changes *chunk)
{
    struct row row;
    int r = 1;

    while (r == 1 && chunk->n < CHUNK_ROWS) {
        r = database_next(s->database, &row);
        if (r == 1 && changes_put(chunk, &row) < 0)
            r = -ENOMEM;
    }
    return r;
}

static void read_all(struct store *s)
{
    struct changes chunk;
    int r = 1;

    changes_init(&chunk);
    while (r == 1) {
        r = read_chunk(s, &chunk);
        pthread_mutex_lock(&s->lock);
        while (s->n_chunks == CHUNKS_MAX && !s->closing)
            pthread_cond_wait(&s->to_thread, &s->lock);
        if (s->closing)
            r = -ECANCELED;
        else if (chunk.n > 0)
            changes_merge(&s->chunks[(s->first_chunk + s->n_chunks++) % CHUNKS_MAX], &chunk);
        s->reading = r;
        pthread_cond_signal(&s->to_loop);
        pthread_mutex_unlock(&s->lock);
    }
    changes_clear(&chunk);
}

/* The point in time so many milliseconds from now, for pthread_cond_timedwait(). */
static struct timespec in_ms(int ms)
{
    int64_t when = now_by(CLOCK_MONOTONIC) + ms * NSEC_PER_MSEC;

    return (struct timespec){.tv_sec = when / NSEC_PER_SEC, .tv_nsec = when % NSEC_PER_SEC};
}

static int64_t now_ms(void)
{
    return now_by(CLOCK_MONOTONIC) / NSEC_PER_MSEC;
}

/* With the lock: is there something to do? */
static bool has_work(const struct store *s)
{
    return s->submitted > s->reached || (s->renewal && s->put_all > 0 && s->reached >= s->put_all);
}

/* With the lock: wait for something to do. False when there is nothing and never will be. */
static bool wait_for_work(struct store *s, int retry_ms)
{
    if (retry_ms > 0) { // the loop has to see that it failed, and then the disk has its time
        while (s->failed)
            pthread_cond_wait(&s->to_thread, &s->lock);
        const struct timespec until = in_ms(retry_ms);
        while (!s->closing && pthread_cond_timedwait(&s->to_thread, &s->lock, &until) != ETIMEDOUT)
            ;
        return true;
    }
    while (!has_work(s) && (s->renewal || !s->closing))
        pthread_cond_wait(&s->to_thread, &s->lock);
    return has_work(s);
}

/* With the lock: what was begun has failed, or has not. */
static void tell_loop(struct store *s, int r, uint64_t upto, const char *why)
{
    if (r < 0) {
        s->lost |= s->renewal || r == -ESTALE;
        s->renewal = false;
        s->refused = upto;
        s->failed = true;
        memcpy(s->why, why, sizeof s->why);
    }
    wake_loop(s);
    pthread_cond_signal(&s->to_loop);
}

/* Write all that waits; the lock is let go meanwhile, here and in the next two. False when it could not be kept. */
static bool write_all(struct store *s)
{
    char why[WHY_MAX] = "";

    changes_merge(&s->taken, &s->waiting);
    struct progress progress = s->progress;
    uint64_t upto = s->submitted;
    pthread_mutex_unlock(&s->lock);
    changes_merge(&s->flight, &s->taken);
    int r = database_write(s->database, &s->flight, &progress, why, sizeof why);
    if (r == 0)
        changes_clear(&s->flight);
    pthread_mutex_lock(&s->lock);
    if (r == 0) {
        s->reached = upto;
        if (!s->renewal)
            s->written = upto;
    }
    tell_loop(s, r, upto, why);
    return r == 0;
}

/* Begin another file, and ask the loop for what is to be in it. */
static bool begin_renewal(struct store *s)
{
    char why[WHY_MAX] = "";

    pthread_mutex_unlock(&s->lock);
    int r = database_renew(s->database, why, sizeof why);
    pthread_mutex_lock(&s->lock);
    s->lost = r < 0;
    s->renewal = r == 0;
    tell_loop(s, r, s->submitted, why);
    return r == 0;
}

/* When it may be renewed next. */
static void note_renewal(struct store *s)
{
    const int64_t now = now_ms();
    const bool first = s->renewed_at == 0 || now - s->renewed_at > RENEWAL_LAST_MS;

    s->renewal_ms = first ? RENEWAL_FIRST_MS : MIN(2 * s->renewal_ms, RENEWAL_LAST_MS);
    s->renewed_at = now;
}

/* All is in the new file: it can take its place. */
static bool end_renewal(struct store *s)
{
    struct database_found old;
    char why[WHY_MAX] = "";

    pthread_mutex_unlock(&s->lock);
    int r = database_end_renewal(s->database, &old, why, sizeof why);
    pthread_mutex_lock(&s->lock);
    if (r == 0) {
        s->renewal = false;
        s->put_all = 0;
        s->renewed = true;
        s->old = old;
        s->written = s->reached;
        note_renewal(s);
    }
    tell_loop(s, r, s->submitted, why);
    return r == 0;
}

/* One thing after the other. False when it has failed. */
static bool work(struct store *s)
{
    if (s->taken.n > 0) { // the loop has looked through it
        pthread_mutex_unlock(&s->lock);
        changes_merge(&s->flight, &s->taken);
        pthread_mutex_lock(&s->lock);
    }
    if (s->lost && !begin_renewal(s))
        return false;
    if (s->submitted > s->reached)
        return write_all(s);
    return !has_work(s) || end_renewal(s);
}

/* How long to wait after a failure, in ms; `last` is how long it was the last time, or 0. */
static int choose_retry(const struct store *s, int last)
{
    int64_t ms = last == 0 ? RETRY_FIRST_MS : MIN(2 * last, RETRY_LAST_MS);

    if (s->lost && s->renewed_at != 0)
        ms = MAX(ms, s->renewed_at + s->renewal_ms - now_ms());
    return (int)ms;
}

static void write_until_closed(struct store *s)
{
    bool last = false;
    int retry_ms = 0;

    pthread_mutex_lock(&s->lock);
    while (wait_for_work(s, retry_ms)) {
        if (!work(s)) {
            if (s->closing && (last || !s->lost))
                break; // it was tried once more
            last = s->closing;
            retry_ms = choose_retry(s, retry_ms);
            continue;
        }
        retry_ms = 0;
        if (has_work(s))
            continue; // a commit that somebody waits for goes before housekeeping
        pthread_mutex_unlock(&s->lock);
        database_tidy(s->database);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
}

static void *run(void *ctx)
{
    struct store *s = ctx;
    char why[WHY_MAX] = "";

    int r = database_open(&s->config, &s->database, s->found, why, sizeof why);
    pthread_mutex_lock(&s->lock);
    memcpy(s->why, why, sizeof s->why);
    s->opened = r;
    pthread_cond_signal(&s->to_loop);
    pthread_mutex_unlock(&s->lock);
    if (r == 0) {
        read_all(s);
        write_until_closed(s);
    }
    database_close(s->database);
    pthread_mutex_lock(&s->lock);
    s->ended = true;
    pthread_cond_signal(&s->to_loop);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* The loop: what the thread tells. */

/* Look through what could not be kept, and all that came after it. The thread waits. */
static void begin_failure(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    changes_merge(&s->taken, &s->waiting);
    s->refused = s->submitted;
    pthread_mutex_unlock(&s->lock);
    snprintf(s->degraded, sizeof s->degraded, "%s", s->why);
    s->renewing = false;
    s->undoing = &s->flight;
    s->next = TAILQ_FIRST(&s->flight.list);
    s->hooks.done(s->hooks.ctx, s->seen, NULL);
}

/* All that is to be undone has been: only now it is told, and the thread may go on. */
static void end_failure(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    uint64_t refused = s->refused;
    s->put_all = 0;
    s->failed = false;
    pthread_cond_signal(&s->to_thread);
    pthread_mutex_unlock(&s->lock);
    s->hooks.done(s->hooks.ctx, refused, s->degraded);
}

bool store_busy(const struct store *s)
{
    return s->undoing != NULL;
}

void store_work(struct store *s, size_t n)
{
    for (; n > 0 && s->undoing != NULL; n--) {
        struct change *c = s->next;
        if (c != NULL) {
            s->next = TAILQ_NEXT(c, link);
            if (c->undo)
                s->hooks.undo(s->hooks.ctx, c->row.id, c->row.name);
            c->undo = false;
        } else if (s->undoing == &s->flight) {
            s->undoing = &s->taken;
            s->next = TAILQ_FIRST(&s->taken.list);
        } else {
            s->undoing = NULL;
            end_failure(s);
        }
    }
}

/* The thread asks for all jobs, or has got them into their place. */
static void see_renewal(struct store *s, bool renewal, bool renewed)
{
    bool begins = renewal && !s->renewing;

    s->renewing = renewal;
    if (renewed) {
        s->hooks.renewed(s->hooks.ctx, &s->old);
        pthread_mutex_lock(&s->lock);
        s->renewed = false;
        pthread_mutex_unlock(&s->lock);
    }
    if (begins)
        s->hooks.renew(s->hooks.ctx, s->closing);
}

static void see_results(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    uint64_t written = s->written, refused = s->refused;
    bool failed = s->failed, renewal = s->renewal, renewed = s->renewed;
    pthread_mutex_unlock(&s->lock);

    s->seen = written;
    see_renewal(s, renewal, renewed);
    if (failed) {
        if (!store_busy(s))
            begin_failure(s);
        if (s->closing)
            store_work(s, SIZE_MAX);
        return;
    }
    if (written >= refused)
        s->degraded[0] = '\0';
    s->hooks.done(s->hooks.ctx, written, NULL);
}

static void on_event(void *ctx, unsigned what)
{
    struct store *s = ctx;
    uint64_t n;

    (void)what;
    (void)!read(s->event_fd, &n, sizeof n);
    see_results(s);
}

/* The turn is over: now the thread may begin. If it was busy, it has taken what there was already. */
static void on_turn(void *ctx, unsigned what)
{
    struct store *s = ctx;

    (void)what;
    s->turn_since = INT64_MIN;
    pthread_mutex_lock(&s->lock);
    pthread_cond_signal(&s->to_thread);
    pthread_mutex_unlock(&s->lock);
}

/* Opening and closing */

static void store_free(struct store *s)
{
    changes_clear(&s->gathered);
    changes_clear(&s->flight);
    changes_clear(&s->taken);
    changes_clear(&s->waiting);
    for (unsigned i = 0; i < CHUNKS_MAX; i++)
        changes_clear(&s->chunks[i]);
    pthread_cond_destroy(&s->to_thread);
    pthread_cond_destroy(&s->to_loop);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static struct store *store_new(const struct database_config *config, const struct store_hooks *hooks,
                               struct database_found *found)
{
    struct store *s = calloc(1, sizeof *s);
    pthread_condattr_t attributes;

    if (s == NULL)
        return NULL;
    s->hooks = *hooks;
    s->config = *config;
    s->path = config->path;
    s->found = found;
    s->opened = s->reading = 1;
    s->event_fd = -1;
    s->turn_since = INT64_MIN;
    changes_init(&s->gathered);
    changes_init(&s->flight);
    changes_init(&s->taken);
    changes_init(&s->waiting);
    for (unsigned i = 0; i < CHUNKS_MAX; i++)
        changes_init(&s->chunks[i]);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&s->to_thread, &attributes);
    pthread_cond_init(&s->to_loop, &attributes);
    pthread_condattr_destroy(&attributes);
    return s;
}

/* No signal is ever handled in the thread: the loop's stay the loop's. */
static int start_thread(struct store *s)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = -pthread_create(&s->thread, NULL, run, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}

static int listen_to_thread(struct store *s, struct watch_set *watches)
{
    s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->event_fd < 0)
        return -errno;
    s->watch = watch_new(watches, s->event_fd, "state", NULL, on_event, s);
    s->turn = watch_new(watches, -1, "commit", NULL, on_turn, s);
    if (s->watch == NULL || s->turn == NULL)
        return -ENOMEM;
    watch_set_last(s->turn);
    return watch_want(s->watch, WATCH_READ, 0);
}

int store_open(const struct database_config *config, struct watch_set *watches, const struct store_hooks *hooks,
               struct store **out, struct database_found *found, char *why, size_t size)
{
    struct store *s = store_new(config, hooks, found);

    int r = s == NULL ? -ENOMEM : listen_to_thread(s, watches);
    if (r == 0)
        r = start_thread(s);
    if (r < 0) {
        snprintf(why, size, "cannot start the thread that keeps the state: %s", strerror(-r));
        if (s != NULL) {
            watch_free(s->turn);
            watch_free(s->watch);
            close(s->event_fd);
            store_free(s);
        }
        return r;
    }
    pthread_mutex_lock(&s->lock);
    while (s->opened == 1)
        pthread_cond_wait(&s->to_loop, &s->lock);
    r = s->opened;
    pthread_mutex_unlock(&s->lock);
    if (r < 0) {
        snprintf(why, size, "%s", s->why);
        store_close(s, NULL, -1);
        return r;
    }
    if (found->unwritable != 0)
        snprintf(s->degraded, sizeof s->degraded, "%s: %s", config->path, strerror(-found->unwritable));
    *out = s;
    return 0;
}

int store_read(struct store *s, struct changes *out)
{
    int r;

    pthread_mutex_lock(&s->lock);
    while (s->n_chunks == 0 && s->reading == 1)
        pthread_cond_wait(&s->to_loop, &s->lock);
    if (s->n_chunks > 0) {
        changes_merge(out, &s->chunks[s->first_chunk]);
        s->first_chunk = (s->first_chunk + 1) % CHUNKS_MAX;
        s->n_chunks--;
        r = 1;
        pthread_cond_signal(&s->to_thread);
    } else {
        r = s->reading;
    }
    pthread_mutex_unlock(&s->lock);
    return r;
}

int store_put(struct store *s, const struct row *row)
{
    return changes_put(&s->gathered, row);
}

int store_remove(struct store *s, uint64_t id)
{
    return changes_remove(&s->gathered, id);
}

bool store_renewing(const struct store *s)
{
    return s->renewing;
}

bool store_wants_more(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    bool wanted = s->waiting.n < CHUNK_ROWS;
    pthread_mutex_unlock(&s->lock);
    return s->renewing && wanted;
}

void store_put_all(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    s->put_all = s->gathered.n > 0 ? s->last + 1 : s->last;
    pthread_cond_signal(&s->to_thread);
    pthread_mutex_unlock(&s->lock);
}

uint64_t store_gathered(const struct store *s)
{
    return s->gathered.n > 0 ? s->last + 1 : 0;
}

void store_hurry(struct store *s, int64_t now)
{
    if (s->turn_since != INT64_MIN && now - s->turn_since > TURN_MAX)
        on_turn(s, 0);
}

void store_submit(struct store *s, const struct progress *progress, bool undo)
{
    s->last++;
    if (undo)
        changes_mark_undo(&s->gathered);
    pthread_mutex_lock(&s->lock);
    changes_merge(&s->waiting, &s->gathered);
    s->progress = *progress;
    s->submitted = s->last;
    pthread_mutex_unlock(&s->lock);
    if (s->turn_since == INT64_MIN) {
        s->turn_since = progress->now.loop;
        watch_call(s->turn);
    }
    store_hurry(s, progress->now.loop);
}

uint64_t store_submitted(const struct store *s)
{
    return s->last;
}

uint64_t store_written(const struct store *s)
{
    return s->seen;
}

const char *store_degraded(const struct store *s)
{
    return s->degraded[0] == '\0' ? NULL : s->degraded;
}

bool store_is_full(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    bool full = s->waiting.n >= WAITING_MAX;
    pthread_mutex_unlock(&s->lock);
    return full;
}

/* With the lock: has the thread something to say that it waits for an answer to? */
static bool is_asked(const struct store *s)
{
    return s->failed || (s->renewal && !s->renewing);
}

/* Wait for the thread's end, but not longer than `ms`; -1: as long as it takes. False when it has not ended. */
static bool await_end(struct store *s, int ms)
{
    const struct timespec until = in_ms(MAX(ms, 0));
    int r = 0;

    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_cond_signal(&s->to_thread);
    while (!s->ended && r != ETIMEDOUT) {
        if (is_asked(s)) {
            pthread_mutex_unlock(&s->lock);
            see_results(s);
            pthread_mutex_lock(&s->lock);
            pthread_cond_signal(&s->to_thread); // for what was submitted: there is no turn of the loop after this
        } else if (ms < 0) {
            pthread_cond_wait(&s->to_loop, &s->lock);
        } else {
            r = pthread_cond_timedwait(&s->to_loop, &s->lock, &until);
        }
    }
    bool ended = s->ended;
    pthread_mutex_unlock(&s->lock);
    return ended;
}

/* What is not on the disk by now will not be waited for. */
static void give_up(struct store *s, bool ended, int wait_ms)
{
    if (!ended)
        snprintf(s->degraded, sizeof s->degraded,
                 "%s: the daemon ended before the disk had taken it, in %d s; the next start will show", s->path,
                 wait_ms / 1000);
    s->hooks.done(s->hooks.ctx, s->last, s->degraded);
}

bool store_close(struct store *s, const struct progress *progress, int wait_ms)
{
    if (s == NULL)
        return true;
    if (progress != NULL)
        store_submit(s, progress, false);
    bool ended = await_end(s, wait_ms);
    if (progress != NULL)
        see_results(s);
    bool all = s->seen == s->last;
    if (progress != NULL && !all)
        give_up(s, ended, wait_ms);
    watch_free(s->turn);
    watch_free(s->watch);
    if (!ended) { // it hangs in the disk, and may come back any time: its memory and its eventfd stay
        pthread_detach(s->thread);
        return all;
    }
    pthread_join(s->thread, NULL);
    close(s->event_fd);
    store_free(s);
    return all;
}
