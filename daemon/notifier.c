#include "notifier.h"

#include "reply.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define LINE_INTERVAL NSEC_PER_SEC

/* How long its queue may stay full at the end, for each of two states. */
#define STOPPING_MS 200

void notifier_init(struct notifier *n, struct service *service, const struct loop *loop, struct jobs *jobs)
{
    int64_t now = loop_now(loop);

    *n = (struct notifier){.service = service, .loop = loop, .jobs = jobs, .line_due = now};
    n->watchdog_due = service_watchdog_interval(service) > 0 ? now : TIME_NEVER;
}

void notifier_note(struct notifier *n)
{
    n->line_stale = n->service != NULL && service_managed(n->service);
}

static void format_time(const struct notifier *n, int64_t when, char *buf, size_t size)
{
    const struct wire_clock clock = reply_clock(n->loop);
    time_t t = (time_t)(wire_usec(&clock, when) / (NSEC_PER_SEC / NSEC_PER_USEC));
    struct tm tm;

    if (localtime_r(&t, &tm) == NULL || strftime(buf, size, "%Y-%m-%d %H:%M:%S", &tm) == 0)
        snprintf(buf, size, "?");
}

static void send_line(struct notifier *n, const char *degraded, int64_t now)
{
    struct jobs_counts counts;
    struct job *next;
    int64_t due;
    char line[sizeof n->line], when[32];

    n->line_stale = false;
    n->line_due = now + LINE_INTERVAL;
    jobs_counts(n->jobs, &counts);
    int len = snprintf(line, sizeof line, "%u job%s", counts.live, counts.live == 1 ? "" : "s");
    if (jobs_next_due(n->jobs, &due, &next)) {
        format_time(n, due, when, sizeof when);
        len += snprintf(line + len, sizeof line - (size_t)len, ", next is %s at %s", job_name(next), when);
    }
    if (degraded != NULL)
        snprintf(line + len, sizeof line - (size_t)len, "; degraded: %s", degraded);
    if (strcmp(line, n->line) == 0)
        return;
    if (service_notify(n->service, "STATUS=%s", line) == 0)
        memcpy(n->line, line, sizeof line);
    else
        n->line_stale = true; // and with it goes what service.c may have kept
}

void notifier_ready(struct notifier *n, const char *degraded)
{
    n->line[0] = '\0';
    service_notify(n->service, "READY=1");
    send_line(n, degraded, loop_now(n->loop));
}

void notifier_reloading(struct notifier *n)
{
    service_notify(n->service, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)service_monotonic_usec());
}

void notifier_stopping(struct notifier *n)
{
    service_stopping(n->service, STOPPING_MS);
}

void notifier_work(struct notifier *n, const char *degraded, int64_t now)
{
    if (n->watchdog_due <= now) {
        service_notify(n->service, "WATCHDOG=1");
        n->watchdog_due = now + service_watchdog_interval(n->service);
    }
    if (notifier_line_due(n) <= now)
        send_line(n, degraded, now);
}

int64_t notifier_watchdog_due(const struct notifier *n)
{
    return n->watchdog_due;
}

int64_t notifier_line_due(const struct notifier *n)
{
    return n->line_stale ? n->line_due : TIME_NEVER;
}
