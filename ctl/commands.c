#include "commands.h"

#include "add_file.h"
#include "client.h"
#include "faults.h"
#include "output.h"
#include "say.h"
#include "skim.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* The daemon never blocks: when it is silent for so long, it is not well. */
#define REPLY_TIMEOUT_MS 30000

struct session {
    const struct invocation *inv;
    struct client *client;
    struct output out;
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

/* Add "key": [operands] where there are any. The object may be NULL: there was no memory, and so it stays. */
static json_t *with_operands(json_t *parameters, const char *key, const char *const *operands, size_t n)
{
    json_t *array = json_array();

    for (size_t i = 0; i < n; i++)
        if (json_array_append_new(array, json_string(operands[i])) < 0) {
            json_decref(array);
            array = NULL;
        }
    if (json_object_set_new(parameters, key, array) == 0)
        return parameters;
    json_decref(parameters);
    return NULL;
}

static json_t *with_value(json_t *parameters, const char *key, json_t *value)
{
    if (json_object_set_new(parameters, key, value) == 0)
        return parameters;
    json_decref(parameters);
    return NULL;
}

static json_t *with_flag(json_t *parameters, const char *key, bool set)
{
    return set ? with_value(parameters, key, json_true()) : parameters;
}

static json_t *match_parameter(const struct session *session)
{
    const struct invocation *inv = session->inv;
    json_t *parameters = json_object();

    return inv->n_operands > 0 ? with_operands(parameters, "match", inv->operands, inv->n_operands) : parameters;
}

/*
 * Call a method. An operand that is not UTF-8 cannot be told in JSON, and no job has such a name; that is the one way
 * besides a lack of memory to have no parameters.
 */
static enum ctl_status start_call(struct session *session, const char *method, json_t *parameters, unsigned flags)
{
    if (parameters == NULL) {
        say_error("an argument is not UTF-8 text, or there is no memory");
        return CTL_FAILED;
    }
    int r = client_call(session->client, method, parameters, flags);
    return r < 0 ? fault_call(session->path, r) : CTL_DONE;
}

/* An error that was replied, which is told and cleared. */
static enum ctl_status take_error(struct varlink_reply *reply)
{
    enum ctl_status status = fault_reply(reply);

    varlink_reply_clear(reply);
    return status;
}

/*
 * On CTL_DONE the reply is a result, and the caller clears it. It is empty when nobody reads our output any
 * more.
 */
static enum ctl_status next_reply(struct session *session, struct varlink_reply *reply)
{
    *reply = (struct varlink_reply){0};
    int r = client_receive(session->client, reply);
    if (r < 0)
        return r == -EPIPE ? CTL_DONE : fault_call(session->path, r);
    return reply->error == NULL ? CTL_DONE : take_error(reply);
}

/* A call with one reply. */
static enum ctl_status call(struct session *session, const char *method, json_t *parameters,
                            struct varlink_reply *reply)
{
    enum ctl_status status = start_call(session, method, parameters, 0);
    return status == CTL_DONE ? next_reply(session, reply) : status;
}

static json_t *reply_member(const struct varlink_reply *reply, const char *key)
{
    return json_object_get(reply->parameters, key);
}

static json_t *spec_value(enum spec_key key, const char *text)
{
    uint64_t count = 0;
    bool flag = false;
    const char *why;

    switch (spec_keys[key].type) {
    case SPEC_INTEGER:
        return count_parse(text, COUNT_MAX, &count, &why) == 0 ? json_integer((json_int_t)count) : NULL;
    case SPEC_BOOLEAN:
        return bool_parse(text, &flag, &why) == 0 ? json_boolean(flag) : NULL;
    case SPEC_STRING:
        break;
    }
    return json_string(text);
}

static json_t *job_spec(const struct invocation *inv)
{
    json_t *spec = json_object();

    for (unsigned key = 0; key < KEY_COUNT_OF_KEYS; key++) {
        const char *text = inv->value[OPTION_SPEC + key];
        if (text != NULL)
            spec = with_value(spec, spec_keys[key].json, spec_value((enum spec_key)key, text));
    }
    return spec;
}

/* A call whose one reply is a member of this type, to be printed. */
static enum ctl_status call_and_print(struct session *session, const char *method, json_t *parameters, const char *key,
                                      json_type type, void (*print)(struct output *out, const json_t *value))
{
    struct varlink_reply reply;

    enum ctl_status status = call(session, method, parameters, &reply);
    if (status != CTL_DONE)
        return status;
    const json_t *value = reply_member(&reply, key);
    if (value != NULL && json_typeof(value) == type)
        print(&session->out, value);
    else
        status = say_bad_reply(session);
    varlink_reply_clear(&reply);
    return status;
}

enum ctl_status command_add(struct session *session)
{
    json_t *jobs;

    if (given(session, OPTION_FILE))
        return add_file(session->inv, session->client, session->path, &session->out);
    jobs = json_array();
    if (json_array_append_new(jobs, job_spec(session->inv)) < 0) {
        json_decref(jobs);
        jobs = NULL;
    }
    json_t *parameters = with_value(json_object(), "jobs", jobs);
    parameters = with_flag(parameters, "ifAbsent", given(session, OPTION_IF_ABSENT));
    parameters = with_flag(parameters, "replace", given(session, OPTION_REPLACE));
    parameters = with_flag(parameters, "reset", given(session, OPTION_RESET_OR_ADD));
    return call_and_print(session, "Add", parameters, "jobs", JSON_ARRAY, session->out.ops->added);
}

static json_t *with_states(json_t *parameters, unsigned states)
{
    const char *words[STATE_WORDS];
    size_t n = 0;

    for (size_t i = 0; i < STATE_WORDS; i++)
        if ((states >> i & 1) != 0)
            words[n++] = state_words[i];
    return n > 0 ? with_operands(parameters, "states", words, n) : parameters;
}

/* What is this, if it is no slice of jobs? */
static enum ctl_status say_no_slice(const struct session *session, const char *text, size_t len)
{
    struct varlink_reply reply;
    const char *why;

    int r = varlink_parse_reply(text, len, &reply, &why);
    if (r == 0 && reply.error != NULL)
        return take_error(&reply);
    if (r == 0)
        varlink_reply_clear(&reply);
    return say_bad_reply(session);
}

/* The next slice of jobs, valid until the next one. */
static enum ctl_status next_slice(struct session *session, struct skim_slice *slice)
{
    const char *text;
    size_t len;

    int r = client_receive_text(session->client, &text, &len);
    if (r < 0)
        return fault_call(session->path, r);
    return skim_slice(text, len, "\"jobs\"", slice) ? CTL_DONE : say_no_slice(session, text, len);
}

/* Prints the slices as they come. *more is false after the last. */
static enum ctl_status list_slice(struct session *session, bool *more)
{
    struct skim_slice slice;
    bool reader_gone;

    *more = false;
    enum ctl_status status = next_slice(session, &slice);
    if (status != CTL_DONE)
        return status;
    session->out.ops->list(&session->out, slice.values, !slice.continues);
    status = flush_output(&reader_gone);
    *more = slice.continues && status == CTL_DONE && !reader_gone;
    return status;
}

enum ctl_status command_list(struct session *session)
{
    bool more = true;
    json_t *parameters = with_states(match_parameter(session), session->inv->states);

    // A state that was asked for by name is wanted even if it is an ended one.
    parameters = with_flag(parameters, "all", given(session, OPTION_ALL) || session->inv->states != 0);
    enum ctl_status status = start_call(session, "List", parameters, VARLINK_MORE);
    while (status == CTL_DONE && more)
        status = list_slice(session, &more);
    return status;
}

enum ctl_status command_show(struct session *session)
{
    struct varlink_reply reply;
    const char *name = session->inv->operands[0];

    enum ctl_status status = call(session, "List", with_flag(match_parameter(session), "all", true), &reply);
    if (status != CTL_DONE)
        return status;
    const json_t *job = json_array_get(reply_member(&reply, "jobs"), 0);
    if (job != NULL) {
        session->out.ops->job(&session->out, job);
    } else {
        say_error("no job matches '%s'; see 'twistyctl list --all'", name);
        status = CTL_NO_JOB;
    }
    varlink_reply_clear(&reply);
    return status;
}

/*
 * All slices are read, also when the reader of our output has gone or the disk is full: whether the daemon did it all
 * is for the exit status to say.
 */
static enum ctl_status steer(struct session *session, json_t *parameters, bool removed)
{
    enum ctl_status written = CTL_DONE;
    bool more = true, reader_gone = false;

    signal(SIGPIPE, SIG_IGN);
    enum ctl_status status = start_call(session, session->inv->verb->method, parameters, VARLINK_MORE);
    while (status == CTL_DONE && more) {
        struct skim_slice slice;
        status = next_slice(session, &slice);
        more = status == CTL_DONE && slice.continues;
        if (status == CTL_DONE && written == CTL_DONE && !reader_gone) {
            session->out.ops->steered(&session->out, slice.values, removed, !more);
            written = flush_output(&reader_gone);
        }
    }
    return status != CTL_DONE ? status : written;
}

enum ctl_status command_steer(struct session *session)
{
    return steer(session, match_parameter(session), false);
}

enum ctl_status command_remove(struct session *session)
{
    static const char *const all[] = {"*"};
    json_t *parameters = match_parameter(session);

    if (session->inv->n_operands == 0)
        parameters = with_operands(parameters, "match", all, 1);
    return steer(session, with_flag(parameters, "ended", given(session, OPTION_ENDED)), true);
}

enum ctl_status command_status(struct session *session)
{
    json_t *parameters = with_flag(json_object(), "loop", given(session, OPTION_LOOP));

    return call_and_print(session, "Status", parameters, "status", JSON_OBJECT, session->out.ops->status);
}

/* Prints the next event. *more is false after the last. */
static enum ctl_status watch_event(struct session *session, bool *more)
{
    struct varlink_reply reply;
    bool reader_gone = false;

    *more = false;
    enum ctl_status status = next_reply(session, &reply);
    if (status != CTL_DONE || reply.root == NULL)
        return status;
    const json_t *event = reply_member(&reply, "event");
    const char *word = json_string_value(json_object_get(event, "event"));
    if (word != NULL) {
        session->out.ops->event(&session->out, event);
        status = flush_output(&reader_gone);
        *more = status == CTL_DONE && !reader_gone && reply.continues && strcmp(word, "exit") != 0;
    } else {
        status = say_bad_reply(session);
    }
    varlink_reply_clear(&reply);
    return status;
}

enum ctl_status command_watch(struct session *session)
{
    bool more = true;

    enum ctl_status status = start_call(session, "Watch", match_parameter(session), VARLINK_MORE);
    client_follow(session->client, STDOUT_FILENO);
    while (status == CTL_DONE && more)
        status = watch_event(session, &more);
    return status;
}

enum ctl_status command_reload(struct session *session)
{
    struct varlink_reply reply;
    size_t i;
    json_t *setting;

    enum ctl_status status = call(session, "Reload", json_object(), &reply);
    if (status != CTL_DONE)
        return status;
    if (reply.parameters != NULL)
        session->out.ops->reloaded(&session->out, reply.parameters);
    else
        status = say_bad_reply(session);
    json_array_foreach (reply_member(&reply, "restartNeeded"), i, setting) {
        say_error("%s has changed and takes effect when twistyd is started again",
                  json_string_value(setting) != NULL ? json_string_value(setting) : "?");
    }
    varlink_reply_clear(&reply);
    return status;
}

enum ctl_status command_shutdown(struct session *session)
{
    struct varlink_reply reply;

    enum ctl_status status = call(session, "Shutdown", json_object(), &reply);
    if (status != CTL_DONE)
        return status;
    session->out.ops->done(&session->out);
    varlink_reply_clear(&reply);
    return CTL_DONE;
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
    int r = client_open(session.path, REPLY_TIMEOUT_MS, &session.client);
    if (r < 0)
        return fault_call(session.path, r);
    if (inv->verb->repeatable)
        client_insist(session.client);
    enum ctl_status status = inv->verb->run(&session);
    client_close(session.client);
    return status != CTL_DONE ? status : flush_output(&reader_gone);
}
