/*
 * reply - a call under way: its parameters, and the ways to answer it.
 *
 * A reply is emitted from varlink_begin_reply() or varlink_begin_error() on, and ended and sent here. Whatever goes
 * wrong for lack of memory ends the connection, so that nobody waits for a reply for ever.
 */
#ifndef TWISTY_REPLY_H
#define TWISTY_REPLY_H

#include "control.h"
#include "loop.h"
#include "varlink.h"
#include "wire.h"

struct request {
    struct conn *conn;
    const struct peer *peer;
    const struct varlink_call *call;
};

/* The parameter of this name; NULL when it is left out, or null. */
json_t *request_param(const struct request *rq, const char *name);

/* Is this parameter given, and true? */
bool request_flag(const struct request *rq, const char *name);

/*
 * Send the one reply to a call, or its error, and free it; after that the connection is ready for the next. Oneway
 * calls get none.
 */
void reply(const struct request *rq, struct emit *message);

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
