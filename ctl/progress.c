#include "progress.h"

#include "daemon/quantity.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define FIRST    NSEC_PER_SEC
#define INTERVAL (100 * NSEC_PER_MSEC)

static int64_t now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

void progress_begin(struct progress *p, const char *doing, size_t total, bool quiet)
{
    *p = (struct progress){.doing = doing, .total = total, .next = INT64_MAX};
    if (!quiet && isatty(STDERR_FILENO))
        p->next = now() + FIRST;
}

void progress_update(struct progress *p, size_t done)
{
    if (p->next == INT64_MAX || now() < p->next)
        return;
    fprintf(stderr, "\r%s: %zu of %zu", p->doing, done, p->total);
    p->next = now() + INTERVAL;
    p->shown = true;
}

void progress_end(struct progress *p)
{
    if (p->shown)
        fputs("\r\033[K", stderr);
    p->shown = false;
}
