#include "methods.h"

#include "accept.h"
#include "interfaces.h"
#include "reply.h"
#include "status.h"
#include "streams.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* A call of Reload() that has not been answered. */
struct waiter {
    TAILQ_ENTRY(waiter) link; // methods::waiting or methods::attended
    struct conn *conn;
    unsigned flags; // of the call
};

TAILQ_HEAD(waiters, waiter);

struct methods {
    struct jobs *jobs;
    const struct loop *loop;
    const struct durable *durable; // NULL: nothing is kept
    struct control *control;
    struct methods_hooks hooks;
    struct streams *streams;
    struct waiters waiting;  // for a reload that has not begun
    struct waiters attended; // by the one that has
    uint64_t reloaded;       // the sequence number of what that has changed last; 0: nothing that is kept
};

/* Jobs in one Add(): two or three milliseconds for them and for the reply. */
#define ADD_MAX 1000

/* Who may call a method: see the comment at the top of the interface file. */
enum access { ANYONE, MEMBERS, PRIVILEGED };

enum param_type { PARAM_END, PARAM_BOOLEAN, PARAM_STRING, PARAM_STRINGS, PARAM_ARRAY };

struct param {
    const char *name;
    enum param_type type;
    bool required;
};

struct method {
    const char *name;
    enum access access;
    bool needs_more;
    bool changes; // what may be kept: not while so much waits for the disk that this has to wait as well
    struct param params[6];
    void (*handle)(struct methods *m, const struct request *rq);
};

/* org.varlink.service */

static void get_info(struct methods *m, const struct request *rq)
{
    static const char *const served[] = {VARLINK_SERVICE, TWISTY_INTERFACE};
    struct emit e = {0};

    (void)m;
    varlink_begin_reply(&e);
    emit_text(&e, "vendor", "twisty");
    emit_text(&e, "product", "twistyd");
    emit_text(&e, "version", TWISTY_VERSION);
    emit_text(&e, "url", "man:twistyd(8)");
    emit_texts(&e, "interfaces", served, ARRAY_SIZE(served));
    reply(rq, &e);
}

/* The name is freed; NULL: there was no memory for it. */
static void reply_no_interface(const struct request *rq, char *name)
{
    if (name != NULL)
        reply_error(rq, VARLINK_SERVICE ".InterfaceNotFound", "interface", name);
    else
        reply_no_memory(rq);
    free(name);
}

static void get_interface_description(struct methods *m, const struct request *rq)
{
    const struct skim_value name = request_param(rq, "interface");
    const char *description = NULL;
    struct emit e = {0};

    (void)m;
    if (skim_is_text(name, VARLINK_SERVICE))
        description = interface_org_varlink_service;
    else if (skim_is_text(name, TWISTY_INTERFACE))
        description = interface_io_twisty_control;
    if (description == NULL) {
        reply_no_interface(rq, skim_copy(name));
        return;
    }
    varlink_begin_reply(&e);
    emit_text(&e, "description", description);
    reply(rq, &e);
}

/* Add */

static void clear_specs(struct job_spec *specs, size_t n)
{
    for (size_t i = 0; specs != NULL && i < n; i++)
        spec_clear(&specs[i]);
    free(specs);
}

static bool any_kept(struct job **jobs, size_t n)
{
    bool kept = false;

    for (size_t i = 0; i < n; i++)
        kept |= !job_transient(jobs[i]);
    return kept;
}

/* `added`: how many of the n jobs are new. */
static void reply_added(struct methods *m, const struct request *rq, struct job **jobs, size_t n, uint64_t added)
{
    struct wire_clock clock = reply_clock(m->loop);
    const size_t n_told = request_flag(rq, "brief") ? 0 : n;
    struct emit e = {0};

    emit_grow(&e, n_told * WIRE_JOB_USUAL); // at once: as it grows, it would be copied again and again
    varlink_begin_reply(&e);
    emit_open(&e, "jobs", '[');
    for (size_t i = 0; i < n_told; i++)
        wire_job(&e, jobs[i], &clock);
    emit_close(&e, ']');
    emit_int(&e, "added", (int64_t)added);
    // One that is there already may have been added just now, and not be on the disk yet.
    const uint64_t sequence = any_kept(jobs, n) ? durable_sequence_so_far(m->durable) : 0;
    reply_when_durable(rq, &e, m->durable, sequence, durable_in_force(m->durable));
}

static bool any_to_keep(const struct job_spec *specs, size_t n)
{
    bool keep = false;

    for (size_t i = 0; i < n; i++)
        keep |= !specs[i].transient;
    return keep;
}

static const struct {
    const char *param;
    enum jobs_add_mode mode;
} add_modes[] = {{"ifAbsent", ADD_IF_ABSENT}, {"replace", ADD_REPLACE}, {"reset", ADD_OR_RESET}};

/* The second of these parameters that is given; NULL when at most one is. */
static const char *excluded_mode(const struct request *rq)
{
    unsigned given = 0;

    for (size_t i = 0; i < ARRAY_SIZE(add_modes); i++)
        if (request_flag(rq, add_modes[i].param) && given++ > 0)
            return add_modes[i].param;
    return NULL;
}

static void add_specs(struct methods *m, const struct request *rq, struct job_spec *specs, size_t n)
{
    struct jobs_add batch = {.specs = specs, .n = n, .source = SOURCE_CONTROL, .owner = rq->peer->uid};
    struct job **jobs = calloc(n + 1, sizeof(struct job *));
    struct jobs_counts before, after;
    size_t failed;

    for (size_t i = 0; i < ARRAY_SIZE(add_modes); i++)
        if (request_flag(rq, add_modes[i].param))
            batch.mode = add_modes[i].mode;
    jobs_counts(m->jobs, &before);
    int r = jobs == NULL ? -ENOMEM : jobs_add(m->jobs, &batch, loop_now(m->loop), jobs, &failed);
    jobs_counts(m->jobs, &after);
    if (r == 0)
        reply_added(m, rq, jobs, n, after.ever - before.ever);
    else if (r == -EEXIST)
        reply_error(rq, TWISTY_INTERFACE ".JobExists", "name", specs[failed].name);
    else if (r == -ENOSPC)
        reply_limit(rq, "max-jobs", (int)jobs_max(m->jobs));
    else
        reply_no_memory(rq);
    free(jobs);
}

/* Is it an array of values that begin so, and how many? */
static bool all_are(struct skim_value array, char begin, size_t *n)
{
    struct skim s = skim_array(array);
    struct skim_value value;

    for (*n = 0; skim_next(&s, &value); ++*n)
        if (!skim_is(value, begin))
            return false;
    return skim_is(array, '[');
}

static void add(struct methods *m, const struct request *rq)
{
    const char *bad = excluded_mode(rq);
    size_t n;

    if (!all_are(request_param(rq, "jobs"), '{', &n))
        bad = "jobs";
    if (bad != NULL) {
        reply_error(rq, VARLINK_SERVICE ".InvalidParameter", "parameter", bad);
        return;
    }
    if (n > ADD_MAX) {
        reply_limit(rq, "jobs in one call", ADD_MAX);
        return;
    }
    const struct accept accept = {.jobs = m->jobs,
                                  .defaults = m->hooks.defaults(m->hooks.ctx),
                                  .actions = m->hooks.actions(m->hooks.ctx),
                                  .rq = rq};
    struct job_spec *specs = calloc(n + 1, sizeof *specs);
    int r = specs == NULL ? -ENOMEM : accept_specs(&accept, specs, n);
    if (r == 0 && durable_degraded(m->durable) != NULL && any_to_keep(specs, n))
        reply_not_durable(rq, durable_degraded(m->durable), false);
    else if (r == 0)
        add_specs(m, rq, specs, n);
    else if (r == -ENOMEM)
        reply_no_memory(rq);
    clear_specs(specs, n);
}

/* List, Stop and the others that walk over jobs. */

static void list(struct methods *m, const struct request *rq)
{
    struct walk_request request = {.action = WALK_LIST, .all = request_flag(rq, "all")};
    struct skim states = skim_array(request_param(rq, "states"));
    struct skim_value value;
    char word[16];

    while (skim_next(&states, &value)) {
        enum job_state state;
        if (!job_state_parse(skim_text(value, word, sizeof word), &state)) {
            reply_error(rq, VARLINK_SERVICE ".InvalidParameter", "parameter", "states");
            return;
        }
        request.states |= 1U << state;
    }
    streams_walk(m->streams, rq, &request);
}

static void stop(struct methods *m, const struct request *rq)
{
    streams_walk(m->streams, rq, &(struct walk_request){.action = WALK_STOP});
}

static void pause_jobs(struct methods *m, const struct request *rq)
{
    streams_walk(m->streams, rq, &(struct walk_request){.action = WALK_PAUSE});
}

static void resume(struct methods *m, const struct request *rq)
{
    streams_walk(m->streams, rq, &(struct walk_request){.action = WALK_RESUME});
}

static void reset(struct methods *m, const struct request *rq)
{
    streams_walk(m->streams, rq, &(struct walk_request){.action = WALK_RESET});
}

static void remove_jobs(struct methods *m, const struct request *rq)
{
    streams_walk(m->streams, rq,
                 &(struct walk_request){.action = WALK_REMOVE, .ended_only = request_flag(rq, "ended")});
}

static void watch(struct methods *m, const struct request *rq)
{
    streams_watch(m->streams, rq);
}

static void actions(struct methods *m, const struct request *rq)
{
    streams_actions(m->streams, rq, m->hooks.actions(m->hooks.ctx));
}

static void status(struct methods *m, const struct request *rq)
{
    const struct wire_clock clock = reply_clock(m->loop);
    struct status status = {.jobs = m->jobs, .loop = m->loop, .durable = m->durable, .control = m->control};
    struct emit e = {0};

    m->hooks.status(m->hooks.ctx, &status.daemon);
    varlink_begin_reply(&e);
    status_put(&e, &status, &clock, request_flag(rq, "loop"));
    reply(rq, &e);
}

/* Reload, Shutdown */

static void put_texts(struct emit *e, const char *key, const struct text_list *list)
{
    emit_open(e, key, '[');
    for (size_t i = 0; i < list->n; i++)
        wire_text(e, NULL, list->items[i]);
    emit_close(e, ']');
}

static void reply_reloaded(struct methods *m, const struct request *rq, const struct reload_result *result)
{
    struct emit e = {0};

    varlink_begin_reply(&e);
    put_texts(&e, "added", &result->added);
    put_texts(&e, "changed", &result->changed);
    put_texts(&e, "removed", &result->removed);
    emit_int(&e, "addedCount", (int64_t)result->n_added);
    emit_int(&e, "changedCount", (int64_t)result->n_changed);
    emit_int(&e, "removedCount", (int64_t)result->n_removed);
    emit_int(&e, "unchanged", (int64_t)result->unchanged);
    put_texts(&e, "restartNeeded", &result->restart_needed);
    reply_when_durable(rq, &e, m->durable, m->reloaded, true);
}

static void reply_mistakes(const struct request *rq, const struct text_list *mistakes)
{
    struct emit e = {0};

    varlink_begin_error(&e, TWISTY_INTERFACE ".InvalidConfiguration");
    put_texts(&e, "mistakes", mistakes);
    reply(rq, &e);
}

static void reload(struct methods *m, const struct request *rq)
{
    struct waiter *waiter = calloc(1, sizeof *waiter);

    if (waiter == NULL) {
        reply_no_memory(rq);
        return;
    }
    waiter->conn = rq->conn;
    waiter->flags = rq->call->flags;
    TAILQ_INSERT_TAIL(&m->waiting, waiter, link);
    m->hooks.reload(m->hooks.ctx);
}

void methods_reload_begins(struct methods *m)
{
    TAILQ_CONCAT(&m->attended, &m->waiting, link);
    m->reloaded = 0;
}

void methods_reload_step(struct methods *m)
{
    if (durable_sequence(m->durable) > 0)
        m->reloaded = durable_sequence(m->durable);
}

void methods_reloaded(struct methods *m, int r, const struct reload_result *result)
{
    struct waiter *waiter, *next;

    methods_reload_step(m);
    for (waiter = TAILQ_FIRST(&m->attended); waiter != NULL; waiter = next) {
        const struct varlink_call call = {.flags = waiter->flags};
        const struct request rq = {waiter->conn, conn_peer(waiter->conn), &call};
        next = TAILQ_NEXT(waiter, link);
        TAILQ_REMOVE(&m->attended, waiter, link);
        free(waiter);
        if (r == 0)
            reply_reloaded(m, &rq, result);
        else if (r == -EINVAL)
            reply_mistakes(&rq, &result->mistakes);
        else
            reply_no_memory(&rq);
    }
}

/* Whose connection has gone waits no more; the reload goes on. */
static void forget_waiters(struct waiters *waiters, const struct conn *conn)
{
    struct waiter *waiter, *next;

    for (waiter = TAILQ_FIRST(waiters); waiter != NULL; waiter = next) {
        next = TAILQ_NEXT(waiter, link);
        if (waiter->conn != conn)
            continue;
        TAILQ_REMOVE(waiters, waiter, link);
        free(waiter);
    }
}

static void shutdown_daemon(struct methods *m, const struct request *rq)
{
    struct emit e = {0};

    varlink_begin_reply(&e);
    reply(rq, &e);
    m->hooks.shutdown(m->hooks.ctx, rq->peer);
}

#define MATCH                                                                                                          \
    {                                                                                                                  \
        "match", PARAM_STRINGS, true                                                                                   \
    }

static const struct method methods[] = {
    {
        .name = VARLINK_SERVICE ".GetInfo",
        .access = ANYONE,
        .handle = get_info,
    },
    {
        .name = VARLINK_SERVICE ".GetInterfaceDescription",
        .access = ANYONE,
        .params = {{"interface", PARAM_STRING, true}},
        .handle = get_interface_description,
    },
    {
        .name = TWISTY_INTERFACE ".Add",
        .access = MEMBERS,
        .changes = true,
        .params = {{"jobs", PARAM_ARRAY, true},
                   {"ifAbsent", PARAM_BOOLEAN, false},
                   {"replace", PARAM_BOOLEAN, false},
                   {"reset", PARAM_BOOLEAN, false},
                   {"brief", PARAM_BOOLEAN, false}},
        .handle = add,
    },
    {
        .name = TWISTY_INTERFACE ".List",
        .access = MEMBERS,
        .params = {{"match", PARAM_STRINGS, false}, {"all", PARAM_BOOLEAN, false}, {"states", PARAM_STRINGS, false}},
        .handle = list,
    },
    {.name = TWISTY_INTERFACE ".Stop", .access = MEMBERS, .changes = true, .params = {MATCH}, .handle = stop},
    {.name = TWISTY_INTERFACE ".Pause", .access = MEMBERS, .changes = true, .params = {MATCH}, .handle = pause_jobs},
    {.name = TWISTY_INTERFACE ".Resume", .access = MEMBERS, .changes = true, .params = {MATCH}, .handle = resume},
    {.name = TWISTY_INTERFACE ".Reset", .access = MEMBERS, .changes = true, .params = {MATCH}, .handle = reset},
    {
        .name = TWISTY_INTERFACE ".Remove",
        .access = MEMBERS,
        .changes = true,
        .params = {MATCH, {"ended", PARAM_BOOLEAN, false}},
        .handle = remove_jobs,
    },
    {
        .name = TWISTY_INTERFACE ".Watch",
        .access = MEMBERS,
        .needs_more = true,
        .params = {{"match", PARAM_STRINGS, false}},
        .handle = watch,
    },
    {.name = TWISTY_INTERFACE ".Actions", .access = MEMBERS, .handle = actions},
    {
        .name = TWISTY_INTERFACE ".Status",
        .access = MEMBERS,
        .params = {{"loop", PARAM_BOOLEAN, false}},
        .handle = status,
    },
    {.name = TWISTY_INTERFACE ".Reload", .access = PRIVILEGED, .handle = reload},
    {.name = TWISTY_INTERFACE ".Shutdown", .access = PRIVILEGED, .handle = shutdown_daemon},
};

static bool has_type(struct skim_value value, enum param_type type)
{
    size_t n;

    switch (type) {
    case PARAM_BOOLEAN:
        return skim_is_bool(value);
    case PARAM_STRING:
        return skim_is(value, '"');
    case PARAM_STRINGS:
        return all_are(value, '"', &n);
    case PARAM_ARRAY:
        return skim_is(value, '[');
    case PARAM_END:
        break;
    }
    return false;
}

/* The place of a parameter among those that the method takes; of an unknown one, the place behind the last. */
static size_t find_param(const struct method *method, struct skim_value key)
{
    size_t i = 0;

    while (method->params[i].type != PARAM_END && !skim_is_text(key, method->params[i].name))
        i++;
    return i;
}

/* Is a parameter unknown, there twice, missing or of the wrong type? Then here is the first one that is. */
static bool has_bad_param(const struct method *method, const struct request *rq, char bad[static VARLINK_NAME_ROOM])
{
    unsigned seen = 0;

    for (size_t i = 0; i < rq->call->n; i++) {
        struct skim_value key = rq->call->parameters[i].key;
        size_t place = find_param(method, key);
        if (method->params[place].type == PARAM_END || (seen & 1U << place) != 0) {
            skim_text(key, bad, VARLINK_NAME_ROOM);
            return true;
        }
        seen |= 1U << place;
    }
    for (const struct param *p = method->params; p->type != PARAM_END; p++) {
        struct skim_value value = request_param(rq, p->name);
        if (value.text == NULL ? p->required : !has_type(value, p->type)) {
            snprintf(bad, VARLINK_NAME_ROOM, "%s", p->name);
            return true;
        }
    }
    return false;
}

static bool may_call(const struct method *method, const struct peer *peer)
{
    switch (method->access) {
    case ANYONE:
        return true;
    case MEMBERS:
        return peer->member;
    case PRIVILEGED:
        return peer->privileged;
    }
    return false;
}

/* Is the interface served whose name stands before the dot? */
static bool serves(const char *method, const char *dot)
{
    const size_t len = (size_t)(dot - method);

    return (len == strlen(VARLINK_SERVICE) && memcmp(method, VARLINK_SERVICE, len) == 0) ||
           (len == strlen(TWISTY_INTERFACE) && memcmp(method, TWISTY_INTERFACE, len) == 0);
}

/* Tell an unknown method of an interface that is served from an unknown interface. */
static void reply_unknown(const struct request *rq)
{
    char *name = skim_copy(rq->call->method), *dot = name != NULL ? strrchr(name, '.') : NULL;

    if (dot == NULL || !serves(name, dot)) {
        if (dot != NULL)
            *dot = '\0';
        reply_no_interface(rq, name);
        return;
    }
    reply_error(rq, VARLINK_SERVICE ".MethodNotFound", "method", name);
    free(name);
}

/* False: not now. */
static bool dispatch(struct methods *m, const struct request *rq)
{
    const struct method *method = NULL;
    char bad[VARLINK_NAME_ROOM];

    for (size_t i = 0; i < ARRAY_SIZE(methods) && method == NULL; i++)
        if (skim_is_text(rq->call->method, methods[i].name))
            method = &methods[i];
    if (method == NULL)
        reply_unknown(rq);
    else if (!may_call(method, rq->peer))
        reply_error(rq, TWISTY_INTERFACE ".NotPermitted", "reason",
                    method->access == PRIVILEGED ? "only root and the daemon's own user may do this"
                                                 : "only members of the socket's group may do this");
    else if (method->needs_more && (rq->call->flags & VARLINK_MORE) == 0)
        reply_error(rq, VARLINK_SERVICE ".ExpectedMore", NULL, NULL);
    else if (has_bad_param(method, rq, bad))
        reply_error(rq, VARLINK_SERVICE ".InvalidParameter", "parameter", bad);
    else if (method->changes && !conn_may_change(rq->conn))
        return false;
    else
        method->handle(m, rq);
    return true;
}

bool methods_message(void *ctx, struct conn *conn, const char *text, size_t len)
{
    struct varlink_call call;

    if (varlink_parse_call(text, len, &call) < 0) {
        // Not Varlink: there is no telling what it will say next.
        conn_finish(conn);
        conn_done(conn);
        return true;
    }
    return dispatch(ctx, &(struct request){conn, conn_peer(conn), &call});
}

void methods_room(void *ctx, struct conn *conn)
{
    const struct methods *m = ctx;

    streams_room(m->streams, conn);
}

void methods_closed(void *ctx, struct conn *conn)
{
    struct methods *m = ctx;

    forget_waiters(&m->waiting, conn);
    forget_waiters(&m->attended, conn);
    streams_closed(m->streams, conn);
}

void methods_job_event(struct methods *m, const struct job *job, const struct job_event *ev)
{
    streams_job_event(m->streams, job, ev);
}

void methods_action_failed(struct methods *m, const struct report_run *run, const struct report_failure *failure)
{
    streams_action_failed(m->streams, run, failure);
}

void methods_exit(struct methods *m, const char *why)
{
    streams_exit(m->streams, why);
}

bool methods_busy(const struct methods *m)
{
    return streams_busy(m->streams);
}

void methods_work(struct methods *m)
{
    streams_work(m->streams);
}

char *methods_refusal(uint32_t max_connections_uid, size_t *len)
{
    struct emit e = {0};

    varlink_begin_error(&e, TWISTY_INTERFACE ".LimitReached");
    emit_text(&e, "limit", "max-connections");
    emit_int(&e, "value", max_connections_uid);
    varlink_end(&e, false);
    if (e.failed)
        emit_free(&e);
    *len = e.len;
    return e.text;
}

struct methods *methods_new(struct jobs *jobs, const struct loop *loop, const struct durable *durable,
                            const struct methods_hooks *hooks)
{
    struct methods *m = calloc(1, sizeof *m);
    if (m == NULL)
        return NULL;
    m->jobs = jobs;
    m->loop = loop;
    m->durable = durable;
    m->hooks = *hooks;
    TAILQ_INIT(&m->waiting);
    TAILQ_INIT(&m->attended);
    m->streams = streams_new(jobs, loop, durable);
    if (m->streams == NULL) {
        methods_free(m);
        return NULL;
    }
    return m;
}

void methods_serve(struct methods *m, struct control *control)
{
    m->control = control;
}

void methods_free(struct methods *m)
{
    if (m == NULL)
        return;
    streams_free(m->streams);
    free(m);
}
