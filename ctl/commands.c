#include "commands.h"

#include "add_file.h"
#include "client.h"
#include "daemon/text.h"
#include "daemon/varlink.h"
#include "faults.h"
#include "fields.h"
#include "output.h"
#include "say.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

/* The daemon never blocks: when it is silent for so long, it is not well. */
#define REPLY_TIMEOUT_MS 30000

struct session {
    const struct invocation *inv;
    struct client *client;
    struct output out;
    struct emit call; // the one that is being written
    char path[CLIENT_PATH_MAX];
};

static bool given(const struct session *session, enum option_id option)
{
    return session->inv->value[option] != NULL;
}

static enum ctl_status say_bad_reply(const struct session *session)
{
    return fault_call(session->path, -EBADMSG);
}

/* A reader who has had enough is no failure. */
static enum ctl_status flush_output(bool *reader_gone)
{
    int r = say_all();

    *reader_gone = r == -EPIPE;
    return r == 0 || *reader_gone ? CTL_DONE : CTL_FAILED;
}

static void emit_flag(struct emit *e, const char *key, bool set)
{
    if (set)
        emit_bool(e, key, true);
}

static struct emit *begin_call(struct session *session, const char *method, bool more)
{
    client_begin_call(&session->call, method, more);
    return &session->call;
}

/* Begin one that names jobs. */
static struct emit *begin_match(struct session *session, const char *method, bool more)
{
    struct emit *e = begin_call(session, method, more);

    if (session->inv->n_operands > 0)
        emit_texts(e, "match", session->inv->operands, session->inv->n_operands);
    return e;
}

static enum ctl_status send_call(struct session *session)
{
    int r = client_call(session->client, &session->call);
    return r < 0 ? fault_call(session->path, r) : CTL_DONE;
}

/* On CTL_DONE the reply is a result. */
static enum ctl_status next_reply(struct session *session, struct varlink_reply *reply)
{
    int r = client_receive(session->client, reply);
    if (r < 0)
        return fault_call(session->path, r);
    return reply->error.text == NULL ? CTL_DONE : fault_reply(reply);
}

/* Send a call that has one reply. */
static enum ctl_status call(struct session *session, struct varlink_reply *reply)
{
    enum ctl_status status = send_call(session);
    return status == CTL_DONE ? next_reply(session, reply) : status;
}

/* What is this, if it is no slice? */
static enum ctl_status say_no_slice(const struct session *session, const char *text, size_t len)
{
    struct varlink_reply reply;

    if (varlink_parse_reply(text, len, &reply) == 0 && reply.error.text != NULL)
        return fault_reply(&reply);
    return say_bad_reply(session);
}

/* On CTL_DONE a slice of the array with this name. */
static enum ctl_status next_slice(struct session *session, const char *name, struct varlink_slice *slice)
{
    const char *text;
    size_t len;

    *slice = (struct varlink_slice){0};
    int r = client_receive_text(session->client, &text, &len);
    if (r < 0)
        return fault_call(session->path, r);
    return varlink_parse_slice(text, len, name, slice) == 0 ? CTL_DONE : say_no_slice(session, text, len);
}

enum ctl_status command_add(struct session *session)
{
    const struct invocation *inv = session->inv;
    struct varlink_slice slice;

    if (given(session, OPTION_FILE))
        return add_file(inv, session->client, session->path, &session->out);
    struct emit *e = begin_call(session, "Add", false);
    emit_open(e, "jobs", '[');
    emit_job(e, inv->value + OPTION_SPEC);
    emit_close(e, ']');
    emit_flag(e, "ifAbsent", given(session, OPTION_IF_ABSENT));
    emit_flag(e, "replace", given(session, OPTION_REPLACE));
    emit_flag(e, "reset", given(session, OPTION_RESET_OR_ADD));
    enum ctl_status status = send_call(session);
    if (status == CTL_DONE)
        status = next_slice(session, "jobs", &slice);
    if (status == CTL_DONE)
        session->out.ops->added(&session->out, slice.values);
    return status;
}

static void emit_states(struct emit *e, unsigned states)
{
    const char *words[STATE_WORDS];
    size_t n = 0;

    for (size_t i = 0; i < STATE_WORDS; i++)
        if ((states >> i & 1) != 0)
            words[n++] = state_words[i];
    if (n > 0)
        emit_texts(e, "states", words, n);
}

/* Prints the slices of this array as they come. *more is false after the last. */
static enum ctl_status list_slice(struct session *session, const char *name,
                                  void (*print)(struct output *out, struct skim_value values, bool last), bool *more)
{
    struct varlink_slice slice;
    bool reader_gone;

    *more = false;
    enum ctl_status status = next_slice(session, name, &slice);
    if (status != CTL_DONE)
        return status;
    print(&session->out, slice.values, !slice.continues);
    status = flush_output(&reader_gone);
    *more = slice.continues && status == CTL_DONE && !reader_gone;
    return status;
}

enum ctl_status command_list(struct session *session)
{
    bool more = true;
    struct emit *e = begin_match(session, "List", true);

    emit_states(e, session->inv->states);
    // A state that was asked for by name is wanted even if it is an ended one.
    emit_flag(e, "all", given(session, OPTION_ALL) || session->inv->states != 0);
    enum ctl_status status = send_call(session);
    while (status == CTL_DONE && more)
        status = list_slice(session, "jobs", session->out.ops->list, &more);
    return status;
}

enum ctl_status command_actions(struct session *session)
{
    bool more = true;

    begin_call(session, "Actions", true);
    enum ctl_status status = send_call(session);
    while (status == CTL_DONE && more)
        status = list_slice(session, "actions", session->out.ops->actions, &more);
    return status;
}

enum ctl_status command_show(struct session *session)
{
    struct varlink_slice slice;
    struct skim_value job;

    emit_bool(begin_match(session, "List", false), "all", true);
    enum ctl_status status = send_call(session);
    if (status == CTL_DONE)
        status = next_slice(session, "jobs", &slice);
    if (status != CTL_DONE)
        return status;
    struct skim s = skim_array(slice.values);
    if (!skim_next(&s, &job)) {
        say_error("no job matches '%s'; see 'twistyctl list --all'", session->inv->operands[0]);
        return CTL_NO_JOB;
    }
    session->out.ops->job(&session->out, job);
    return CTL_DONE;
}

/*
 * All slices are read, also when the reader of our output has gone or the disk is full: whether the daemon did it all
 * is for the exit status to say.
 */
static enum ctl_status steer(struct session *session, bool removed)
{
    enum ctl_status written = CTL_DONE;
    bool reader_gone = false;
    struct varlink_slice slice = {.continues = true};

    signal(SIGPIPE, SIG_IGN);
    enum ctl_status status = send_call(session);
    while (status == CTL_DONE && slice.continues) {
        status = next_slice(session, "jobs", &slice);
        if (status == CTL_DONE && written == CTL_DONE && !reader_gone) {
            session->out.ops->steered(&session->out, slice.values, removed, !slice.continues);
            written = flush_output(&reader_gone);
        }
    }
    return status != CTL_DONE ? status : written;
}

enum ctl_status command_steer(struct session *session)
{
    begin_match(session, session->inv->verb->method, true);
    return steer(session, false);
}

enum ctl_status command_remove(struct session *session)
{
    static const char *const all[] = {"*"};
    struct emit *e = begin_match(session, session->inv->verb->method, true);

    if (session->inv->n_operands == 0)
        emit_texts(e, "match", all, 1);
    emit_flag(e, "ended", given(session, OPTION_ENDED));
    return steer(session, true);
}

enum ctl_status command_status(struct session *session)
{
    struct varlink_reply reply;

    emit_flag(begin_call(session, "Status", false), "loop", given(session, OPTION_LOOP));
    enum ctl_status status = call(session, &reply);
    if (status != CTL_DONE)
        return status;
    struct skim_value value = skim_member(reply.parameters, "status");
    if (!skim_is(value, '{'))
        return say_bad_reply(session);
    session->out.ops->status(&session->out, value);
    return CTL_DONE;
}

/* Prints the next event. *more is false after the last. */
static enum ctl_status watch_event(struct session *session, bool *more)
{
    struct varlink_reply reply;
    bool reader_gone = false;

    *more = false;
    int r = client_receive(session->client, &reply);
    if (r < 0) // nobody reads our output any more, or it is a failure
        return r == -EPIPE ? CTL_DONE : fault_call(session->path, r);
    if (reply.error.text != NULL)
        return fault_reply(&reply);
    struct skim_value event = skim_member(reply.parameters, "event");
    if (!has_text(event, "event"))
        return say_bad_reply(session);
    session->out.ops->event(&session->out, event);
    enum ctl_status status = flush_output(&reader_gone);
    *more = status == CTL_DONE && !reader_gone && reply.continues && !has_word(event, "event", "exit");
    return status;
}

enum ctl_status command_watch(struct session *session)
{
    bool more = true;

    begin_match(session, "Watch", true);
    enum ctl_status status = send_call(session);
    client_follow(session->client, STDOUT_FILENO);
    while (status == CTL_DONE && more)
        status = watch_event(session, &more);
    return status;
}

/* What was read, but takes effect only later. */
static void say_restart_needed(struct skim_value settings)
{
    struct skim s = skim_array(settings);
    struct skim_value setting;
    char name[64];

    while (skim_next(&s, &setting))
        say_error("%s has changed and takes effect when twistyd is started again",
                  skim_text(setting, name, sizeof name) != NULL ? name : "?");
}

enum ctl_status command_reload(struct session *session)
{
    struct varlink_reply reply;

    begin_call(session, "Reload", false);
    enum ctl_status status = call(session, &reply);
    if (status != CTL_DONE)
        return status;
    if (reply.parameters.text == NULL)
        return say_bad_reply(session);
    session->out.ops->reloaded(&session->out, reply.parameters);
    say_restart_needed(skim_member(reply.parameters, "restartNeeded"));
    return CTL_DONE;
}

enum ctl_status command_shutdown(struct session *session)
{
    struct varlink_reply reply;

    begin_call(session, "Shutdown", false);
    enum ctl_status status = call(session, &reply);
    if (status == CTL_DONE)
        session->out.ops->done(&session->out);
    return status;
}

static bool is_utf8(const char *text)
{
    for (size_t n; *text != '\0'; text += n)
        if ((n = utf8_length(text)) == 0)
            return false;
    return true;
}

/* An argument that is not UTF-8 cannot be told in JSON, and no job has such a name. */
static bool arguments_are_text(const struct invocation *inv)
{
    for (size_t i = 0; i < inv->n_operands; i++)
        if (!is_utf8(inv->operands[i]))
            return false;
    for (unsigned id = OPTION_SPEC; id < OPTION_COUNT; id++)
        if (inv->value[id] != NULL && !is_utf8(inv->value[id]))
            return false;
    return true;
}

enum ctl_status commands_run(const struct invocation *inv)
{
    struct session session = {.inv = inv};
    bool reader_gone;

    session.out.ops = inv->value[OPTION_JSON] != NULL ? &output_json : &output_table;
    session.out.quiet = inv->value[OPTION_QUIET] != NULL;
    if (client_find_socket(inv->value[OPTION_SOCKET], session.path, sizeof session.path) < 0) {
        say_error("the path of the socket is longer than %zu bytes; give a shorter one with --socket",
                  CLIENT_PATH_MAX - 1);
        return CTL_USAGE;
    }
    if (!arguments_are_text(inv)) {
        say_error("an argument is not UTF-8 text");
        return CTL_FAILED;
    }
    int r = client_open(session.path, REPLY_TIMEOUT_MS, &session.client);
    if (r < 0)
        return fault_call(session.path, r);
    if (inv->verb->repeatable)
        client_insist(session.client);
    enum ctl_status status = inv->verb->run(&session);
    client_close(session.client);
    emit_free(&session.call);
    return status != CTL_DONE ? status : flush_output(&reader_gone);
}
