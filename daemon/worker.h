/*
 * worker - does one thing at a time on a thread of its own, and calls from the loop when that is done.
 *
 * What it does must not touch what the loop may touch meanwhile. It gets no signals: those are the loop's.
 */
#ifndef TWISTY_WORKER_H
#define TWISTY_WORKER_H

#include "watch.h"

struct worker;

/* `purpose` is static text for people, `done` is called from the loop. NULL when there is no memory or descriptor. */
struct worker *worker_new(struct watch_set *watches, const char *purpose, void (*done)(void *ctx), void *ctx);

/* Waits for the end of what is being done; `done` is not called any more. */
void worker_free(struct worker *worker);

/* Do work(ctx). Not before the end of the last one has been told. 0 or negative errno. */
int worker_start(struct worker *worker, void (*work)(void *ctx));

#endif
