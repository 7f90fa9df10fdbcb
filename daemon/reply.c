#include "reply.h"

#include "now.h"
#include "text.h"

#include <stdio.h>

struct skim_value request_param(const struct request *rq, const char *name)
{
    for (size_t i = 0; i < rq->call->n; i++) {
        const struct varlink_parameter *given = &rq->call->parameters[i];
        if (skim_is_text(given->key, name) && !skim_is_word(given->value, "null"))
            return given->value;
    }
    return (struct skim_value){0};
}

bool request_flag(const struct request *rq, const char *name)
{
    return skim_is_word(request_param(rq, name), "true");
}

static bool is_oneway(const struct request *rq)
{
    return (rq->call->flags & VARLINK_ONEWAY) != 0;
}

void reply_part(struct conn *conn, struct emit *message, bool continues)
{
    varlink_end(message, continues);
    if (message->failed || conn_send(conn, message->text, message->len) < 0)
        conn_finish(conn);
    emit_reset(message);
}

void reply(const struct request *rq, struct emit *message)
{
    if (!is_oneway(rq))
        reply_part(rq->conn, message, false);
    emit_free(message);
    conn_done(rq->conn);
}

static void emit_not_durable(struct emit *e, const char *reason, bool in_force)
{
    varlink_begin_error(e, TWISTY_INTERFACE ".NotDurable");
    emit_text(e, "reason", reason);
    emit_bool(e, "inForce", in_force);
}

void reply_not_durable(const struct request *rq, const char *reason, bool in_force)
{
    struct emit e = {0};

    emit_not_durable(&e, reason, in_force);
    reply(rq, &e);
}

char *reply_not_durable_message(const char *reason, bool in_force, size_t *len)
{
    struct emit e = {0};

    emit_not_durable(&e, reason, in_force);
    varlink_end(&e, false);
    if (e.failed)
        emit_free(&e);
    *len = e.len;
    return e.text;
}

void reply_when_durable(const struct request *rq, struct emit *message, const struct durable *durable,
                        uint64_t sequence, bool in_force)
{
    const char *reason = durable_degraded(durable);

    if (sequence > 0 && reason != NULL) {
        emit_free(message);
        reply_not_durable(rq, reason, in_force);
        return;
    }
    if (!is_oneway(rq))
        conn_hold(rq->conn, sequence, in_force);
    reply(rq, message);
}

void reply_error(const struct request *rq, const char *error, const char *key, const char *text)
{
    struct emit e = {0};

    varlink_begin_error(&e, error);
    if (key != NULL)
        emit_text(&e, key, text);
    reply(rq, &e);
}

void reply_limit(const struct request *rq, const char *limit, int value)
{
    struct emit e = {0};

    varlink_begin_error(&e, TWISTY_INTERFACE ".LimitReached");
    emit_text(&e, "limit", limit);
    emit_int(&e, "value", value);
    reply(rq, &e);
}

void reply_not_yours(const struct request *rq, const char *job)
{
    char reason[NAME_LEN_MAX + 32];

    snprintf(reason, sizeof reason, "job '%s' is another user's", job);
    reply_error(rq, TWISTY_INTERFACE ".NotPermitted", "reason", reason);
}

void reply_no_memory(const struct request *rq)
{
    conn_finish(rq->conn);
    conn_done(rq->conn);
}

struct wire_clock reply_clock(const struct loop *loop)
{
    return (struct wire_clock){loop_now(loop), now_by(CLOCK_REALTIME) / NSEC_PER_USEC};
}
