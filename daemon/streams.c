#include "streams.h"

#include "text.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>

/* Changes under way that nobody waits for; while there are as many, no further ones begin. */
#define ORPHANS_MAX 16

/* What a connection is in the middle of: a walk over jobs, or a stream of events. */
struct stream {
    struct conn *conn;               // NULL: the caller has gone
    struct walk *walk;               // NULL: it watches
    struct varlink_call call;        // only its flags
    json_t *match;                   // what it watches; NULL: everything
    uint64_t lost;                   // events that did not fit
    LIST_ENTRY(stream) link;         // streams::watchers, when it watches
    TAILQ_ENTRY(stream) orphan_link; // streams::orphans, when the caller has gone
};

struct streams {
    struct jobs *jobs;
    const struct loop *loop;
    LIST_HEAD(watchers, stream) watchers;
    TAILQ_HEAD(orphans, stream) orphans; // in the order in which they were left
    unsigned n_orphans;
};

static void stream_free(struct stream *st)
{
    walk_free(st->walk);
    json_decref(st->match);
    if (st->conn != NULL)
        conn_set_data(st->conn, NULL);
    free(st);
}

/* The call, for an answer to it. */
static struct request request_of(const struct stream *st)
{
    return (struct request){st->conn, conn_peer(st->conn), &st->call};
}

static bool is_oneway(const struct stream *st)
{
    return (st->call.flags & VARLINK_ONEWAY) != 0;
}

static void reply_walk_error(struct streams *s, const struct stream *st, int r, const struct walk_error *error)
{
    const struct request rq = request_of(st);
    const char *near;

    switch (r) {
    case -ENOENT:
        near = is_oneway(st) || is_glob(error->name) ? NULL : jobs_nearest(s->jobs, error->name);
        reply_error(&rq, TWISTY_INTERFACE ".NoSuchJob",
                    json_pack("{s:s, s:s?}", "match", error->name, "nearest", near));
        break;
    case -ESRCH:
        reply_error(&rq, TWISTY_INTERFACE ".JobEnded",
                    json_pack("{s:s, s:s}", "name", error->name, "state", job_state_name(error->state)));
        break;
    case -EPERM:
        reply_not_yours(&rq, error->name);
        break;
    case -E2BIG:
        reply_limit(&rq, error->limit, error->value);
        break;
    default:
        reply_no_memory(&rq);
        break;
    }
}

static void send_slice(const struct stream *st, json_t *found, bool continues)
{
    if (is_oneway(st))
        json_decref(found);
    else
        reply_part(st->conn, json_pack("{s:o}", "jobs", found), continues);
}

/* One slice; the rest when the connection has room, and the loop has seen to its other events. */
static void walk_on(struct streams *s, struct stream *st)
{
    struct wire_clock clock = reply_clock(s->loop);
    struct walk_error error = {0};
    struct conn *conn = st->conn;
    json_t *found;

    if (conn_room(conn) == 0)
        return;
    int r = walk_step(st->walk, &clock, &found, &error);
    switch (r) {
    case WALK_SLICE:
        send_slice(st, found, true);
        // fall through
    case WALK_AGAIN:
        conn_again(conn);
        return;
    case WALK_DONE:
        send_slice(st, found, false);
        conn_done(conn);
        break;
    default:
        reply_walk_error(s, st, r, &error);
        break;
    }
    stream_free(st);
}

static struct stream *stream_new(const struct request *rq)
{
    struct stream *st = calloc(1, sizeof *st);
    if (st == NULL)
        return NULL;
    st->conn = rq->conn;
    st->call.flags = rq->call->flags;
    conn_set_data(rq->conn, st);
    return st;
}

void streams_walk(struct streams *s, const struct request *rq, struct walk_request *request)
{
    struct walk_error error = {0};

    if (s->n_orphans >= ORPHANS_MAX && request->action != WALK_LIST) {
        reply_limit(rq, "changes whose caller has left", ORPHANS_MAX);
        return;
    }
    struct stream *st = stream_new(rq);

    if (st == NULL) {
        reply_no_memory(rq);
        return;
    }
    request->match = request_param(rq, "match");
    request->sliced = (rq->call->flags & (VARLINK_MORE | VARLINK_ONEWAY)) != 0; // a reply that nobody gets has no bound
    request->privileged = rq->peer->privileged;
    request->owner = rq->peer->uid;
    int r = walk_new(s->jobs, request, &st->walk, &error);
    if (r == 0) {
        walk_on(s, st);
        return;
    }
    reply_walk_error(s, st, r, &error);
    stream_free(st);
}

static void send_event(struct conn *conn, json_t *event, bool continues)
{
    reply_part(conn, json_pack("{s:o}", "event", event), continues);
}

static bool watches(const struct stream *st, const char *name)
{
    json_t *match;
    size_t i;

    if (json_array_size(st->match) == 0)
        return true;
    json_array_foreach (st->match, i, match) {
        if (glob_match(json_string_value(match), name))
            return true;
    }
    return false;
}

static void tell_lost(struct streams *s, struct stream *st)
{
    struct wire_clock clock = reply_clock(s->loop);
    json_t *event = wire_plain_event("lost", &clock);

    if (event != NULL && wire_set(event, "lost", json_integer((json_int_t)st->lost)) == 0) {
        st->lost = 0;
        send_event(st->conn, event, true);
    } else {
        json_decref(event);
        conn_again(st->conn);
    }
}

void streams_job_event(struct streams *s, const struct job *job, const struct job_event *ev)
{
    struct stream *st;
    char *message = NULL; // made once, for the first who wants it
    size_t len = 0;

    LIST_FOREACH (st, &s->watchers, link) {
        if (!watches(st, job->spec.name))
            continue;
        if (st->lost > 0 || conn_room(st->conn) == 0) {
            st->lost++;
            continue;
        }
        if (message == NULL) {
            struct wire_clock clock = reply_clock(s->loop);
            json_t *event = wire_event(job, ev, &clock);
            message = reply_encode(json_pack("{s:o}", "event", event), true, &len);
        }
        if (message != NULL) {
            conn_send(st->conn, message, len);
        } else {
            st->lost++;
            conn_again(st->conn);
        }
    }
    free(message);
}

void streams_watch(struct streams *s, const struct request *rq)
{
    struct wire_clock clock = reply_clock(s->loop);
    struct walk_error error;
    json_t *match = request_param(rq, "match");

    if (json_array_size(match) > WALK_GLOBS_MAX) {
        reply_limit(rq, "names and globs to watch", WALK_GLOBS_MAX);
        return;
    }
    if (walk_check_bounds(match, &error) < 0) {
        reply_limit(rq, error.limit, error.value);
        return;
    }
    struct stream *st = stream_new(rq);
    if (st == NULL) {
        reply_no_memory(rq);
        return;
    }
    st->match = json_incref(match);
    LIST_INSERT_HEAD(&s->watchers, st, link);
    conn_subscribe(rq->conn);
    send_event(rq->conn, wire_plain_event("ready", &clock), true);
}

void streams_exit(struct streams *s, const char *why)
{
    struct wire_clock clock = reply_clock(s->loop);
    struct stream *st, *next;

    for (st = LIST_FIRST(&s->watchers); st != NULL; st = next) {
        next = LIST_NEXT(st, link);
        if (st->lost > 0)
            tell_lost(s, st);
        json_t *event = wire_plain_event("exit", &clock);
        if (event != NULL && wire_set(event, "reason", json_string(why)) < 0) {
            json_decref(event);
            event = NULL;
        }
        send_event(st->conn, event, false);
        conn_done(st->conn);
        LIST_REMOVE(st, link);
        stream_free(st);
    }
}

void streams_room(struct streams *s, struct conn *conn)
{
    struct stream *st = conn_data(conn);

    if (st == NULL)
        return;
    if (st->walk != NULL)
        walk_on(s, st);
    else if (st->lost > 0)
        tell_lost(s, st);
}

void streams_closed(struct streams *s, struct conn *conn)
{
    struct stream *st = conn_data(conn);

    if (st == NULL)
        return;
    if (st->walk != NULL && walk_has_begun(st->walk)) {
        st->conn = NULL;
        TAILQ_INSERT_TAIL(&s->orphans, st, orphan_link);
        s->n_orphans++;
        return;
    }
    if (st->walk == NULL)
        LIST_REMOVE(st, link);
    stream_free(st);
}

bool streams_busy(const struct streams *s)
{
    return s->n_orphans > 0;
}

void streams_work(struct streams *s)
{
    struct stream *st = TAILQ_FIRST(&s->orphans);
    struct walk_error error;
    json_t *found = NULL;

    if (st == NULL)
        return;
    struct wire_clock clock = reply_clock(s->loop);
    int r = walk_step(st->walk, &clock, &found, &error);
    json_decref(found);
    if (r == WALK_AGAIN || r == WALK_SLICE)
        return;
    TAILQ_REMOVE(&s->orphans, st, orphan_link);
    s->n_orphans--;
    stream_free(st);
}

struct streams *streams_new(struct jobs *jobs, const struct loop *loop)
{
    struct streams *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->jobs = jobs;
    s->loop = loop;
    LIST_INIT(&s->watchers);
    TAILQ_INIT(&s->orphans);
    return s;
}

void streams_free(struct streams *s)
{
    struct stream *st, *next;

    if (s == NULL)
        return;
    for (st = TAILQ_FIRST(&s->orphans); st != NULL; st = next) {
        next = TAILQ_NEXT(st, orphan_link);
        stream_free(st);
    }
    free(s);
}
