#include "progress.h"

#include "daemon/now.h"

#include <stdio.h>
#include <unistd.h>

#define FIRST    NSEC_PER_SEC
#define INTERVAL (100 * NSEC_PER_MSEC)

void progress_begin(struct progress *p, const char *doing, size_t total, bool quiet)
{
    *p = (struct progress){.doing = doing, .total = total, .next = INT64_MAX};
    if (!quiet && isatty(STDERR_FILENO))
        p->next = now_by(CLOCK_MONOTONIC) + FIRST;
}

void progress_update(struct progress *p, size_t done)
{
    if (p->next == INT64_MAX || now_by(CLOCK_MONOTONIC) < p->next)
        return;
    fprintf(stderr, "\r%s: %zu of %zu", p->doing, done, p->total);
    p->next = now_by(CLOCK_MONOTONIC) + INTERVAL;
    p->shown = true;
}

void progress_end(struct progress *p)
{
    if (p->shown)
        fputs("\r\033[K", stderr);
    p->shown = false;
}
