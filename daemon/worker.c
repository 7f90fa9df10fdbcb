#include "worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct worker {
    void (*work)(void *ctx);
    void (*done)(void *ctx);
    void *ctx;
    pthread_t thread;
    bool running; // there is a thread that has not been joined
    int fd;       // an eventfd: the work is done
    struct watch *watch;
};

static void *run(void *arg)
{
    struct worker *worker = arg;
    const uint64_t one = 1;

    worker->work(worker->ctx);
    (void)!write(worker->fd, &one, sizeof one); // cannot fail: the counter is at 0
    return NULL;
}

/* The thread has nothing left to do: to join it takes no longer than its exit. */
static void on_done(void *ctx, unsigned what)
{
    struct worker *worker = ctx;
    uint64_t count;

    (void)what;
    (void)!read(worker->fd, &count, sizeof count);
    watch_want(worker->watch, 0, 0);
    pthread_join(worker->thread, NULL);
    worker->running = false;
    worker->done(worker->ctx);
}

struct worker *worker_new(struct watch_set *watches, const char *purpose, void (*done)(void *ctx), void *ctx)
{
    struct worker *worker = calloc(1, sizeof *worker);

    if (worker == NULL)
        return NULL;
    worker->done = done;
    worker->ctx = ctx;
    worker->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    worker->watch = worker->fd < 0 ? NULL : watch_new(watches, worker->fd, purpose, NULL, on_done, worker);
    if (worker->watch == NULL) {
        worker_free(worker);
        return NULL;
    }
    return worker;
}

void worker_free(struct worker *worker)
{
    if (worker == NULL)
        return;
    if (worker->running)
        pthread_join(worker->thread, NULL);
    watch_free(worker->watch);
    if (worker->fd >= 0)
        close(worker->fd);
    free(worker);
}

int worker_start(struct worker *worker, void (*work)(void *ctx))
{
    sigset_t all, before;

    int r = watch_want(worker->watch, WATCH_READ, 0);
    if (r < 0)
        return r;
    worker->work = work;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); // a thread begins with the mask of who makes it
    r = -pthread_create(&worker->thread, NULL, run, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    worker->running = r == 0;
    if (r < 0)
        watch_want(worker->watch, 0, 0);
    return r;
}
