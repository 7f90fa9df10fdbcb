/*
 * notifier - what the service manager is told: that the daemon is ready, reloads, ends and lives, and a line on its
 * jobs.
 *
 * The line, which `systemctl status` shows, follows the jobs, but no faster than once a second. How all this is sent is
 * service.c's; without a service manager nothing is.
 */
#ifndef TWISTY_NOTIFIER_H
#define TWISTY_NOTIFIER_H

#include "jobs.h"
#include "loop.h"
#include "service.h"

/* Zero-initialised it tells nobody anything. */
struct notifier {
    struct service *service; // borrowed, as are the others
    const struct loop *loop;
    struct jobs *jobs;
    int64_t watchdog_due;
    int64_t line_due; // not before this
    bool line_stale;  // something happened since it was sent
    char line[320];   // as last sent
};

void notifier_init(struct notifier *n, struct service *service, const struct loop *loop, struct jobs *jobs);

/* Something has happened that may change the line. */
void notifier_note(struct notifier *n);

/* The daemon is ready, for the first time or after a reload. `degraded`: why nothing can be kept for now, or NULL. */
void notifier_ready(struct notifier *n, const char *degraded);
void notifier_reloading(struct notifier *n);
void notifier_stopping(struct notifier *n);

/* Tell what is due at `now`. */
void notifier_work(struct notifier *n, const char *degraded, int64_t now);

/* When notifier_work() is to be called to show that the daemon lives; and for the line: TIME_NEVER if it is fresh. */
int64_t notifier_watchdog_due(const struct notifier *n);
int64_t notifier_line_due(const struct notifier *n);

#endif
