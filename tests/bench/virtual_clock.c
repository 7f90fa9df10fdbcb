#include "virtual_clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/time.h>
#include <time.h>

#define NSEC_PER_SEC  INT64_C(1000000000)
#define NSEC_PER_MSEC INT64_C(1000000)

static struct {
    int64_t now, end;
    void (*stop)(void);
    uint64_t polls;
} vclock = {.now = 1000 * NSEC_PER_SEC, .end = INT64_MAX};

int64_t virtual_now(void)
{
    return vclock.now;
}

void virtual_stop_at(int64_t end, void (*stop)(void))
{
    vclock.end = end;
    vclock.stop = stop;
}

void virtual_poll(int timeout)
{
    if (timeout < 0) {
        fputs("a poll without a timeout: the timers are gone\n", stderr);
        exit(1);
    }
    vclock.polls++;
    vclock.now += (timeout < 1 ? 1 : timeout) * NSEC_PER_MSEC;
    if (vclock.now >= vclock.end)
        vclock.stop();
}

uint64_t virtual_polls(void)
{
    return vclock.polls;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
    (void)id;
    ts->tv_sec = vclock.now / NSEC_PER_SEC;
    ts->tv_nsec = vclock.now % NSEC_PER_SEC;
    return 0;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    (void)zone;
    tv->tv_sec = vclock.now / NSEC_PER_SEC;
    tv->tv_usec = vclock.now % NSEC_PER_SEC / 1000;
    return 0;
}

int epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
    (void)fd;
    (void)events;
    (void)max;
    virtual_poll(timeout);
    return 0;
}

int epoll_pwait(int fd, struct epoll_event *events, int max, int timeout, const sigset_t *mask)
{
    (void)mask;
    return epoll_wait(fd, events, max, timeout);
}
