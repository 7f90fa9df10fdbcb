/*
 * reply - a call under way: its parameters, and the ways to answer it.
 *
 * A reply is emitted from varlink_begin_reply() or varlink_begin_error() on, and ended and sent here. Whatever goes
 * wrong for lack of memory ends the connection, so that nobody waits for a reply for ever.
 */
#ifndef TWISTY_REPLY_H
#define TWISTY_REPLY_H

#include "control.h"
#include "durable.h"
#include "loop.h"
#include "varlink.h"
#include "wire.h"

struct request {
    struct conn *conn;
    const struct peer *peer;
    const struct varlink_call *call;
};

/* The parameter of this name; absent when it is left out, or null. */
struct skim_value request_param(const struct request *rq, const char *name);

/* Is this parameter given, and true? */
bool request_flag(const struct request *rq, const char *name);

/*
 * Send the one reply to a call, or its error, and free it; after that the connection is ready for the next. Oneway
 * calls get none.
 */
void reply(const struct request *rq, struct emit *message);

/*
 * The same for a reply that tells of a change: it goes out when all up to this sequence number is on the disk (0: now).
 * If that fails, or nothing can be kept for now, it is NotDurable instead; in_force: the change is made nevertheless.
 */
void reply_when_durable(const struct request *rq, struct emit *message, const struct durable *durable,
                        uint64_t sequence, bool in_force);

/* NotDurable: `reason` is why a change cannot be kept. */
void reply_not_durable(const struct request *rq, const char *reason, bool in_force);

/* The message of that, NUL included: malloc'd, NULL when there is no memory. */
char *reply_not_durable_message(const char *reason, bool in_force, size_t *len);

/* An error with one parameter, a text; NULL for the key: with none. */
void reply_error(const struct request *rq, const char *error, const char *key, const char *text);

/* LimitReached: this is more than `value` of `limit`. */
void reply_limit(const struct request *rq, const char *limit, int value);

/* NotPermitted: the job is another user's. */
void reply_not_yours(const struct request *rq, const char *job);

/* There is no memory for a reply. */
void reply_no_memory(const struct request *rq);

/* Send one of several replies, and empty the buffer; the caller says conn_done() after the last. */
void reply_part(struct conn *conn, struct emit *message, bool continues);

/* What time it is, for the replies. */
struct wire_clock reply_clock(const struct loop *loop);

#endif
