/*
 * reply - a call under way: its parameters, and the ways to answer it.
 *
 * Whatever goes wrong for lack of memory ends the connection, so that nobody waits for a reply for ever. Parameters
 * that are given are taken over; NULL is taken for such a failure, of json_pack() for one.
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

/* The one reply to a call, or its error; after that the connection is ready for the next. Oneway calls get none. */
void reply(const struct request *rq, json_t *parameters);
void reply_error(const struct request *rq, const char *error, json_t *parameters);

/* LimitReached: this is more than `value` of `limit`. */
void reply_limit(const struct request *rq, const char *limit, int value);

/* NotPermitted: the job is another user's. */
void reply_not_yours(const struct request *rq, const char *job);

/* There is no memory for a reply. */
void reply_no_memory(const struct request *rq);

/* One of several replies; the caller says conn_done() after the last. */
void reply_part(struct conn *conn, json_t *parameters, bool continues);

/* The message of one of several replies, for more than one connection: malloc'd, or NULL. */
char *reply_encode(json_t *parameters, bool continues, size_t *len);

/* What time it is, for the replies. */
struct wire_clock reply_clock(const struct loop *loop);

#endif
