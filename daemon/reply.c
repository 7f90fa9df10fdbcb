#include "reply.h"

#include <stdlib.h>
#include <time.h>

json_t *request_param(const struct request *rq, const char *name)
{
    json_t *value = json_object_get(rq->call->parameters, name);
    return json_is_null(value) ? NULL : value;
}

bool request_flag(const struct request *rq, const char *name)
{
    return json_is_true(request_param(rq, name));
}

static bool is_oneway(const struct request *rq)
{
    return (rq->call->flags & VARLINK_ONEWAY) != 0;
}

static void send_message(struct conn *conn, char *message, size_t len)
{
    if (message == NULL || conn_send(conn, message, len) < 0)
        conn_finish(conn);
    free(message);
}

char *reply_encode(json_t *parameters, bool continues, size_t *len)
{
    return parameters == NULL ? NULL : varlink_encode_reply(parameters, continues, len);
}

void reply_part(struct conn *conn, json_t *parameters, bool continues)
{
    size_t len = 0;
    char *message = reply_encode(parameters, continues, &len);

    send_message(conn, message, len);
}

void reply(const struct request *rq, json_t *parameters)
{
    if (is_oneway(rq))
        json_decref(parameters);
    else
        reply_part(rq->conn, parameters, false);
    conn_done(rq->conn);
}

void reply_error(const struct request *rq, const char *error, json_t *parameters)
{
    size_t len = 0;

    if (is_oneway(rq)) {
        json_decref(parameters);
    } else {
        char *message = parameters == NULL ? NULL : varlink_encode_error(error, parameters, &len);
        send_message(rq->conn, message, len);
    }
    conn_done(rq->conn);
}

void reply_limit(const struct request *rq, const char *limit, int value)
{
    reply_error(rq, TWISTY_INTERFACE ".LimitReached", json_pack("{s:s, s:i}", "limit", limit, "value", value));
}

void reply_not_yours(const struct request *rq, const char *job)
{
    reply_error(rq, TWISTY_INTERFACE ".NotPermitted",
                json_pack("{s:o}", "reason", json_sprintf("job '%s' is another user's", job)));
}

void reply_no_memory(const struct request *rq)
{
    conn_finish(rq->conn);
    conn_done(rq->conn);
}

struct wire_clock reply_clock(const struct loop *loop)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (struct wire_clock){loop_now(loop), (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000};
}
