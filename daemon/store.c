#include "store.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/param.h>
#include <time.h>
#include <unistd.h>

/* Rows that are handed over together when the file is read, and how many times as many may wait. */
#define CHUNK_ROWS 4096
#define CHUNKS_MAX 4

/* Changes that may wait before the loop is asked to begin no more: a few seconds' work for a disk. */
#define WAITING_MAX 65536

/* Who is ready in a turn of the loop goes into one commit, but for no longer than this after the first. */
#define TURN_MAX INT64_C(2000000) // ns

/* How long to wait before trying again what failed: this long at first, and longer each time. */
#define RETRY_FIRST_MS 100
#define RETRY_LAST_MS  5000

#define WHY_MAX 512

struct store {
    // The loop's own.
    struct watch *watch;
    struct watch *turn; // called when a turn of the loop is over in which something was submitted
    int64_t turn_since; // of the loop's clock: when that was; INT64_MIN: nothing was
    struct store_hooks hooks;
    struct changes gathered;
    uint64_t last; // the sequence number of what was submitted last
    uint64_t seen; // ... and of what is known to be on the disk
    char degraded[WHY_MAX];
    pthread_t thread;

    int event_fd; // the thread writes, the loop reads

    // The thread's own, but see `failed`.
    struct database *database;
    struct changes flight; // being written, or to be tried again

    // Both, with the lock.
    pthread_mutex_t lock;
    pthread_cond_t to_thread, to_loop;
    struct changes waiting;
    struct progress progress;
    uint64_t submitted; // up to here is in `waiting`, or was
    uint64_t written;   // up to here is on the disk
    uint64_t refused;   // up to here could not be kept at the last try
    bool failed;        // ... and until the loop has seen this, `flight` is its to look at
    bool closing;
    bool ended; // the thread has
    char why[WHY_MAX];
    struct changes chunks[CHUNKS_MAX]; // a ring
    unsigned first_chunk, n_chunks;
    int reading; // 1: there is more to come; 0 or negative errno: that was all

    // For the thread's beginning.
    struct database_config config;
    struct database_found *found;
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
    struct timespec when;

    clock_gettime(CLOCK_MONOTONIC, &when);
    int64_t ns = when.tv_nsec + ms * INT64_C(1000000);
    when.tv_sec += ns / 1000000000;
    when.tv_nsec = ns % 1000000000;
    return when;
}

/* With the lock: wait for something to do. False when there is nothing and never will be. */
static bool wait_for_work(struct store *s, int retry_ms)
{
    if (retry_ms > 0) { // the loop has to see that it failed, and then the disk has its time
        while (s->failed && !s->closing)
            pthread_cond_wait(&s->to_thread, &s->lock);
        const struct timespec until = in_ms(retry_ms);
        while (!s->closing && pthread_cond_timedwait(&s->to_thread, &s->lock, &until) != ETIMEDOUT)
            ;
        return true;
    }
    while (s->submitted == s->written && !s->closing)
        pthread_cond_wait(&s->to_thread, &s->lock);
    return s->submitted > s->written;
}

/* Write all that waits; the lock is let go meanwhile. False when it could not be kept. */
static bool write_all(struct store *s)
{
    char why[WHY_MAX] = "";

    changes_merge(&s->flight, &s->waiting);
    struct progress progress = s->progress;
    uint64_t upto = s->submitted;
    pthread_mutex_unlock(&s->lock);
    int r = database_write(s->database, &s->flight, &progress, why, sizeof why);
    pthread_mutex_lock(&s->lock);
    if (r == 0) {
        changes_clear(&s->flight);
        s->written = upto;
    } else {
        s->refused = upto;
        s->failed = true;
        memcpy(s->why, why, sizeof s->why);
    }
    wake_loop(s);
    pthread_cond_signal(&s->to_loop);
    return r == 0;
}

static void write_until_closed(struct store *s)
{
    int retry_ms = 0;

    pthread_mutex_lock(&s->lock);
    while (wait_for_work(s, retry_ms)) {
        if (!write_all(s)) {
            if (s->closing)
                break; // it was tried once more
            retry_ms = retry_ms == 0 ? RETRY_FIRST_MS : MIN(2 * retry_ms, RETRY_LAST_MS);
            continue;
        }
        retry_ms = 0;
        if (s->submitted > s->written)
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

/* What could not be kept: who was promised nothing yet is undone. The thread waits meanwhile. */
static void see_failure(struct store *s)
{
    struct change *c;

    snprintf(s->degraded, sizeof s->degraded, "%s", s->why);
    TAILQ_FOREACH (c, &s->flight.list, link) {
        if (c->undo)
            s->hooks.undo(s->hooks.ctx, c->row.id, c->row.name);
        c->undo = false;
    }
}

static void see_results(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    uint64_t written = s->written, refused = s->refused;
    bool failed = s->failed;
    pthread_mutex_unlock(&s->lock);

    s->seen = written;
    if (failed) {
        see_failure(s);
        pthread_mutex_lock(&s->lock);
        s->failed = false;
        pthread_cond_signal(&s->to_thread);
        pthread_mutex_unlock(&s->lock);
        s->hooks.done(s->hooks.ctx, written, NULL);
        s->hooks.done(s->hooks.ctx, refused, s->degraded);
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
    s->found = found;
    s->opened = s->reading = 1;
    s->event_fd = -1;
    s->turn_since = INT64_MIN;
    changes_init(&s->gathered);
    changes_init(&s->flight);
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

/* Wait for the thread's end, but not longer than `ms`; -1: as long as it takes. False when it has not ended. */
static bool await_end(struct store *s, int ms)
{
    const struct timespec until = in_ms(MAX(ms, 0));

    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_cond_signal(&s->to_thread);
    while (!s->ended)
        if (ms < 0)
            pthread_cond_wait(&s->to_loop, &s->lock);
        else if (pthread_cond_timedwait(&s->to_loop, &s->lock, &until) == ETIMEDOUT)
            break;
    bool ended = s->ended;
    pthread_mutex_unlock(&s->lock);
    return ended;
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
