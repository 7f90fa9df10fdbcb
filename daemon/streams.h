/*
 * streams - replies that take long: walks over jobs and actions, slice by slice, and watchers who are told of events.
 *
 * A stream belongs to its connection, which has it as conn_data(). A slow reader of events loses some, and is told how
 * many. A change of jobs that has begun goes on to its end when its caller leaves: such orphans are worked off from
 * the loop.
 */
#ifndef TWISTY_STREAMS_H
#define TWISTY_STREAMS_H

#include "jobs.h"
#include "reply.h"
#include "walk.h"

struct streams;

/* The jobs, the loop and what keeps jobs, if anything does, are borrowed. NULL when there is no memory. */
struct streams *streams_new(struct jobs *jobs, const struct loop *loop, const struct durable *durable);

/* Before the jobs: walks stand in them. */
void streams_free(struct streams *s);

/* Answer a call by a walk; the request says what to do, all but who asks. */
void streams_walk(struct streams *s, const struct request *rq, struct walk_request *request);

/* Answer Actions() with these, which are borrowed; they may change while it goes on. */
void streams_actions(struct streams *s, const struct request *rq, const struct actions *actions);

/* Answer Watch(). */
void streams_watch(struct streams *s, const struct request *rq);

/* The connection has room again, or is closed. */
void streams_room(struct streams *s, struct conn *conn);
void streams_closed(struct streams *s, struct conn *conn);

/* Tell those who watch. */
void streams_job_event(struct streams *s, const struct job *job, const struct job_event *ev);
void streams_action_failed(struct streams *s, const struct report_run *run, const struct report_failure *failure);

/* The daemon ends, and `why`: tell those who watch, and end their streams. */
void streams_exit(struct streams *s, const char *why);

/* Are there orphans, and do one slice of one. */
bool streams_busy(const struct streams *s);
void streams_work(struct streams *s);

#endif
