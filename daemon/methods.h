/*
 * methods - the control socket's methods: one table with name, who may, parameters and handler.
 *
 * The interface is io.twisty.Control.varlink, served from the binary; a test holds the table to it. What takes long
 * is done by streams.c; how things look as JSON is for wire.c and status.c.
 */
#ifndef TWISTY_METHODS_H
#define TWISTY_METHODS_H

#include "control.h"
#include "durable.h"
#include "jobs.h"
#include "loop.h"
#include "reload.h"
#include "report.h"
#include "status.h"

struct methods;

struct methods_hooks {
    void (*status)(void *ctx, struct daemon_status *out);
    /* Somebody asks for a reload, and waits for the next methods_reloaded() of one that has not begun. */
    void (*reload)(void *ctx);
    void (*shutdown)(void *ctx, const struct peer *peer);
    const struct spec_draft *(*defaults)(void *ctx);
    const struct actions *(*actions)(void *ctx);
    void *ctx;
};

/* The jobs, the loop and what keeps jobs, if anything does, are borrowed. NULL when there is no memory. */
struct methods *methods_new(struct jobs *jobs, const struct loop *loop, const struct durable *durable,
                            const struct methods_hooks *hooks);
void methods_free(struct methods *m);

/* The control socket whose messages these are; borrowed. */
void methods_serve(struct methods *m, struct control *control);

/* For struct control_hooks, with the methods as ctx. */
bool methods_message(void *methods, struct conn *conn, const char *text, size_t len);
void methods_room(void *methods, struct conn *conn);
void methods_closed(void *methods, struct conn *conn);

/*
 * Changes whose caller has gone in the middle go on nevertheless: are there any, and do one slice of one.
 */
bool methods_busy(const struct methods *m);
void methods_work(struct methods *m);

/* The message for a connection that is one too many, NUL included: malloc'd, NULL when there is no memory. */
char *methods_refusal(uint32_t max_connections_uid, size_t *len);

/*
 * A reload begins, for those who have asked so far; a part of it has been done; it is over: 0, -EINVAL with
 * result->mistakes, another errno. The answer waits until what all of its parts have changed is on the disk.
 */
void methods_reload_begins(struct methods *m);
void methods_reload_step(struct methods *m);
void methods_reloaded(struct methods *m, int r, const struct reload_result *result);

/* Tell those who watch. */
void methods_job_event(struct methods *m, const struct job *job, const struct job_event *ev);
void methods_action_failed(struct methods *m, const struct report_run *run, const struct report_failure *failure);

/* The daemon ends, and `why`: end the streams. */
void methods_exit(struct methods *m, const char *why);

#endif
