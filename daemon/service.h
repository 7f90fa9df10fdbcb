/*
 * service - the service manager's side: the socket that it passes, the messages that it is sent, the watchdog.
 *
 * Notifications are sent without waiting (sd_notify(3) would block the loop while the manager does not read), by the
 * protocol of sd_notify(3). Without a service manager all of this does nothing.
 */
#ifndef TWISTY_SERVICE_H
#define TWISTY_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

struct service;

/* Reads the environment and clears it for later children. NULL when there is no memory. */
struct service *service_new(void);
void service_free(struct service *service);

/* The inherited listening stream socket. -ENOENT: none; -EINVAL: more than one, or not a listening Unix stream. */
int service_listen_fd(const struct service *service);

/*
 * Send "READY=1" and the like, one assignment a line. 0, -EAGAIN when the manager's queue is full, negative errno. The
 * last READY=, RELOADING= or STOPPING=1 that it had no room for goes before what is sent next.
 */
int service_notify(struct service *service, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Send STOPPING=1. A unit whose daemon ends before its READY=1 has come has failed for the manager, so that this waits
 * until what is unsent has gone, and then for itself: each wait_ms at most. As service_notify().
 */
int service_stopping(struct service *service, int wait_ms);

/* Is there a service manager that listens? */
bool service_managed(const struct service *service);

/* CLOCK_MONOTONIC in microseconds, for RELOADING=1. */
int64_t service_monotonic_usec(void);

/* How often WATCHDOG=1 is due, in nanoseconds: half of what the manager asks for; 0: never. */
int64_t service_watchdog_interval(const struct service *service);

#endif
