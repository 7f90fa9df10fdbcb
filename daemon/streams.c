#include "streams.h"

#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

/* Changes under way that nobody waits for; while there are as many, no further ones begin. */
#define ORPHANS_MAX 16

/* Actions in one slice of a reply, and in a reply that is not sliced. */
#define SLICE_ACTIONS     128
#define ONE_REPLY_ACTIONS 1000

/* What a connection is in the middle of: a walk over jobs or over actions, or a stream of events. */
struct stream {
    struct conn *conn;               // NULL: the caller has gone
    struct walk *walk;               // over jobs; NULL: it does something else
    const struct actions *actions;   // which it lists; NULL: it does something else
    char last[NAME_LEN_MAX + 1];     // of these, the last that was told
    struct varlink_call call;        // only its flags
    struct emit reply;               // of a walk: the slice that is being made
    struct text_list match;          // what it watches; empty: everything
    uint64_t sequence;               // of what the walk has changed last and is to be kept; 0: nothing
    uint64_t lost;                   // events that did not fit
    LIST_ENTRY(stream) link;         // streams::watchers, when it watches
    TAILQ_ENTRY(stream) orphan_link; // streams::orphans, when the caller has gone
};

struct streams {
    struct jobs *jobs;
    const struct loop *loop;
    const struct durable *durable; // NULL: nothing is kept
    LIST_HEAD(watchers, stream) watchers;
    TAILQ_HEAD(orphans, stream) orphans; // in the order in which they were left
    unsigned n_orphans;
};

static void stream_free(struct stream *st)
{
    if (st == NULL)
        return;
    walk_free(st->walk);
    emit_free(&st->reply);
    text_list_clear(&st->match);
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

static void reply_no_such_job(const struct request *rq, const char *match, const char *nearest)
{
    struct emit e = {0};

    varlink_begin_error(&e, TWISTY_INTERFACE ".NoSuchJob");
    emit_text(&e, "match", match);
    emit_text(&e, "nearest", nearest);
    reply(rq, &e);
}

static void reply_ended(const struct request *rq, const char *name, enum job_state state)
{
    struct emit e = {0};

    varlink_begin_error(&e, TWISTY_INTERFACE ".JobEnded");
    emit_text(&e, "name", name);
    emit_text(&e, "state", job_state_name(state));
    reply(rq, &e);
}

static void reply_walk_error(struct streams *s, const struct stream *st, int r, const struct walk_error *error)
{
    const struct request rq = request_of(st);
    const char *near;

    switch (r) {
    case -ENOENT:
        near = is_oneway(st) || is_glob(error->name) ? NULL : jobs_nearest(s->jobs, error->name);
        reply_no_such_job(&rq, error->name, near);
        break;
    case -ESRCH:
        reply_ended(&rq, error->name, error->state);
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

static void begin_slice(struct stream *st, const char *key)
{
    varlink_begin_reply(&st->reply);
    emit_open(&st->reply, key, '[');
}

static void send_slice(struct stream *st)
{
    if (is_oneway(st))
        return;
    emit_close(&st->reply, ']');
    reply_part(st->conn, &st->reply, true);
}

/* The last slice goes out when all that the walk has changed is on the disk. */
static void send_last(const struct streams *s, struct stream *st)
{
    const struct request rq = request_of(st);

    emit_close(&st->reply, ']');
    reply_when_durable(&rq, &st->reply, s->durable, st->sequence, true);
}

/* One slice; the rest when the connection has room, and the loop has seen to its other events. */
static void walk_on(struct streams *s, struct stream *st)
{
    struct wire_clock clock = reply_clock(s->loop);
    struct walk_error error = {0};
    struct conn *conn = st->conn;

    if (walk_changes(st->walk) && !conn_may_change(conn)) {
        conn_again(conn);
        return;
    }
    if (conn_room(conn) == 0)
        return;
    if (st->reply.len == 0)
        begin_slice(st, "jobs");
    int r = walk_step(st->walk, &clock, is_oneway(st) ? NULL : &st->reply, &error);
    if (durable_sequence(s->durable) > 0)
        st->sequence = durable_sequence(s->durable);
    switch (r) {
    case WALK_SLICE:
        send_slice(st);
        // fall through
    case WALK_AGAIN:
        conn_again(conn);
        return;
    case WALK_DONE:
        send_last(s, st);
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
    request->sliced = (rq->call->flags & (VARLINK_MORE | VARLINK_ONEWAY)) != 0; // a reply that nobody gets has no bound
    request->privileged = rq->peer->privileged;
    request->owner = rq->peer->uid;
    int r = walk_read_match(request_param(rq, "match"), &request->match, &error);
    if (r == 0)
        r = walk_new(s->jobs, request, &st->walk, &error);
    text_list_clear(&request->match);
    if (r == 0) {
        walk_on(s, st);
        return;
    }
    reply_walk_error(s, st, r, &error);
    stream_free(st);
}

/* Not all are more than make a slice, unless the caller takes slices. */
static void list_actions(struct stream *st)
{
    const size_t most = (st->call.flags & VARLINK_MORE) != 0 ? SLICE_ACTIONS : ONE_REPLY_ACTIONS;
    const struct request rq = request_of(st);
    size_t i = actions_behind(st->actions, st->last);

    if (conn_room(st->conn) == 0)
        return;
    begin_slice(st, "actions");
    for (size_t n = 0; n < most && i < st->actions->n; n++, i++)
        wire_action(&st->reply, st->actions->list[i], rq.peer->privileged);
    if (i < st->actions->n) {
        snprintf(st->last, sizeof st->last, "%s", st->actions->list[i - 1]->name);
        send_slice(st);
        conn_again(st->conn);
        return;
    }
    emit_close(&st->reply, ']');
    reply(&rq, &st->reply);
    stream_free(st);
}

void streams_actions(struct streams *s, const struct request *rq, const struct actions *actions)
{
    (void)s;
    if (actions->n > ONE_REPLY_ACTIONS && (rq->call->flags & VARLINK_MORE) == 0) {
        reply_limit(rq, "actions in one reply", ONE_REPLY_ACTIONS);
        return;
    }
    struct stream *st = stream_new(rq);
    if (st == NULL) {
        reply_no_memory(rq);
        return;
    }
    st->actions = actions;
    list_actions(st);
}

static bool watches(const struct stream *st, const char *name)
{
    for (size_t i = 0; i < st->match.n; i++)
        if (glob_match(st->match.items[i], name))
            return true;
    return st->match.n == 0;
}

static void tell_lost(struct streams *s, struct stream *st)
{
    struct wire_clock clock = reply_clock(s->loop);
    struct emit e = {0};

    varlink_begin_reply(&e);
    wire_lost(&e, st->lost, &clock);
    if (e.failed) {
        conn_again(st->conn);
    } else {
        st->lost = 0;
        reply_part(st->conn, &e, true);
    }
    emit_free(&e);
}

/* What there is to tell, and how it looks. */
struct news {
    void (*put)(struct emit *e, const struct news *news, const struct wire_clock *clock);
    const char *job;
    const void *subject, *event;
};

static void emit_news(const struct streams *s, struct emit *e, const struct news *news)
{
    struct wire_clock clock = reply_clock(s->loop);

    varlink_begin_reply(e);
    news->put(e, news, &clock);
    varlink_end(e, true);
}

static void tell(struct streams *s, const struct news *news)
{
    struct stream *st;
    struct emit e = {0}; // made once, for the first who wants it

    LIST_FOREACH (st, &s->watchers, link) {
        if (!watches(st, news->job))
            continue;
        if (st->lost > 0 || conn_room(st->conn) == 0) {
            st->lost++;
            continue;
        }
        if (e.len == 0)
            emit_news(s, &e, news);
        if (!e.failed) {
            conn_send(st->conn, e.text, e.len);
        } else {
            st->lost++;
            conn_again(st->conn);
        }
    }
    emit_free(&e);
}

static void put_job_event(struct emit *e, const struct news *news, const struct wire_clock *clock)
{
    wire_event(e, news->subject, news->event, clock);
}

void streams_job_event(struct streams *s, const struct job *job, const struct job_event *ev)
{
    tell(s, &(struct news){.put = put_job_event, .job = job_name(job), .subject = job, .event = ev});
}

static void put_action_failed(struct emit *e, const struct news *news, const struct wire_clock *clock)
{
    wire_action_failed(e, news->subject, news->event, clock);
}

void streams_action_failed(struct streams *s, const struct report_run *run, const struct report_failure *failure)
{
    tell(s, &(struct news){.put = put_action_failed, .job = run->job, .subject = run, .event = failure});
}

static int read_watched(const struct request *rq, struct text_list *out, struct walk_error *error)
{
    int r = walk_read_match(request_param(rq, "match"), out, error);

    if (r == 0 && out->n > WALK_GLOBS_MAX) {
        *error = (struct walk_error){.limit = "names and globs to watch", .value = WALK_GLOBS_MAX};
        r = -E2BIG;
    }
    return r;
}

void streams_watch(struct streams *s, const struct request *rq)
{
    struct wire_clock clock = reply_clock(s->loop);
    struct walk_error error = {0};
    struct emit e = {0};
    struct stream *st = stream_new(rq);

    int r = st == NULL ? -ENOMEM : read_watched(rq, &st->match, &error);
    if (r < 0) {
        if (r == -E2BIG)
            reply_limit(rq, error.limit, error.value);
        else
            reply_no_memory(rq);
        stream_free(st);
        return;
    }
    LIST_INSERT_HEAD(&s->watchers, st, link);
    conn_subscribe(rq->conn);
    varlink_begin_reply(&e);
    wire_ready(&e, &clock);
    reply_part(rq->conn, &e, true);
    emit_free(&e);
}

void streams_exit(struct streams *s, const char *why)
{
    struct wire_clock clock = reply_clock(s->loop);
    struct stream *st, *next;
    struct emit e = {0};

    for (st = LIST_FIRST(&s->watchers); st != NULL; st = next) {
        next = LIST_NEXT(st, link);
        if (st->lost > 0)
            tell_lost(s, st);
        varlink_begin_reply(&e);
        wire_exit(&e, why, &clock);
        reply_part(st->conn, &e, false);
        conn_done(st->conn);
        LIST_REMOVE(st, link);
        stream_free(st);
    }
    emit_free(&e);
}

void streams_room(struct streams *s, struct conn *conn)
{
    struct stream *st = conn_data(conn);

    if (st == NULL)
        return;
    if (st->walk != NULL)
        walk_on(s, st);
    else if (st->actions != NULL)
        list_actions(st);
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
    if (st->walk == NULL && st->actions == NULL)
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

    if (st == NULL)
        return;
    struct wire_clock clock = reply_clock(s->loop);
    int r = walk_step(st->walk, &clock, NULL, &error);
    if (r == WALK_AGAIN || r == WALK_SLICE)
        return;
    TAILQ_REMOVE(&s->orphans, st, orphan_link);
    s->n_orphans--;
    stream_free(st);
}

struct streams *streams_new(struct jobs *jobs, const struct loop *loop, const struct durable *durable)
{
    struct streams *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->jobs = jobs;
    s->loop = loop;
    s->durable = durable;
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
