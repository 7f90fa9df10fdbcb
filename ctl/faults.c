#include "faults.h"

#include "daemon/spec.h"
#include "daemon/text.h"
#include "say.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum ctl_status fault_call(const char *path, int error)
{
    switch (error) {
    case -ENOENT:
    case -ENOTDIR:
    case -ECONNREFUSED:
        say_error("no daemon listens on %s; start it with 'systemctl start twistyd' or 'twistyd'", path);
        return CTL_NO_DAEMON;
    case -EACCES:
    case -EPERM:
        say_error("permission denied on %s; join group 'twisty' or use sudo", path);
        return CTL_NOT_PERMITTED;
    case -ECONNRESET:
        say_error("the daemon on %s hung up before its reply was complete; see its log, or try 'twistyd --check'",
                  path);
        break;
    case -ETIMEDOUT:
        say_error("the daemon on %s does not answer; see 'systemctl status twistyd'", path);
        break;
    case -EBADMSG:
        say_error("what listens on %s does not speak Varlink; is this the socket of twistyd?", path);
        break;
    case -EMSGSIZE:
        say_error("the message is too long; name fewer jobs, or use a pattern");
        break;
    default:
        say_error("cannot talk to the daemon on %s: %s", path, strerror(-error));
        break;
    }
    return CTL_FAILED;
}

/* A member of an error's parameters as text. */
static const char *member(const json_t *parameters, const char *key)
{
    const char *text = json_string_value(json_object_get(parameters, key));
    return text != NULL ? text : "?";
}

static void say_no_such_job(const json_t *p)
{
    const char *match = member(p, "match");
    const char *nearest = json_string_value(json_object_get(p, "nearest"));

    if (nearest != NULL)
        say_error("no job matches '%s'; did you mean '%s'?", match, nearest);
    else
        say_error("no job matches '%s'; see 'twistyctl list --all'", match);
}

static void say_job_ended(const json_t *p)
{
    const char *name = member(p, "name");
    say_error("job '%s' is %s already; 'twistyctl reset %s' starts it again", name, member(p, "state"), name);
}

static void say_job_exists(const json_t *p)
{
    say_error("job '%s' is there already; use another --name, or --replace or --if-absent", member(p, "name"));
}

static void say_invalid_job(const json_t *p)
{
    const char *field = member(p, "field");

    for (size_t key = 0; key < KEY_COUNT_OF_KEYS; key++)
        if (key != KEY_KIND && strcmp(spec_keys[key].json, field) == 0) {
            say_error("--%s: %s", spec_keys[key].ini, member(p, "reason"));
            return;
        }
    say_error("%s: %s", field, member(p, "reason"));
}

static void say_not_permitted(const json_t *p)
{
    say_error("not permitted: %s%s", member(p, "reason"), geteuid() == 0 ? "" : "; try sudo");
}

/* What helps against a limit; the others say it themselves. */
static const struct remedy {
    const char *limit, *text;
} remedies[] = {
    {"max-jobs", "; remove some with 'twistyctl rm', or see twistyd.conf(5)"},
    {"max-connections", " of a user; see twistyd.conf(5)"},
};

static void say_not_durable(const json_t *p)
{
    if (json_is_true(json_object_get(p, "inForce")))
        say_error("done, but a restart now would undo it, since it cannot be kept: %s", member(p, "reason"));
    else
        say_error("not done, since it could not be kept over a restart: %s; see twistyctl status, or add --transient",
                  member(p, "reason"));
}

static void say_limit_reached(const json_t *p)
{
    const char *limit = member(p, "limit"), *remedy = "";

    for (size_t i = 0; i < ARRAY_SIZE(remedies); i++)
        if (strcmp(limit, remedies[i].limit) == 0)
            remedy = remedies[i].text;
    say_error("limit: %s: at most %lld%s", limit, (long long)json_integer_value(json_object_get(p, "value")), remedy);
}

static void say_invalid_configuration(const json_t *p)
{
    const json_t *mistakes = json_object_get(p, "mistakes");
    size_t i;
    json_t *mistake;

    json_array_foreach (mistakes, i, mistake) {
        say_text(stderr, json_string_value(mistake) != NULL ? json_string_value(mistake) : "?");
        fputc('\n', stderr);
    }
    say_error("the configuration has %zu mistake%s; the daemon keeps what it had", json_array_size(mistakes),
              json_array_size(mistakes) == 1 ? "" : "s");
}

static void say_method_not_found(const json_t *p)
{
    say_error("the daemon has no method %s; is it older than this twistyctl " TWISTY_VERSION "?", member(p, "method"));
}

static void say_invalid_parameter(const json_t *p)
{
    say_error("the daemon does not take '%s'; is it older than this twistyctl " TWISTY_VERSION "?",
              member(p, "parameter"));
}

static void say_permission_denied(const json_t *p)
{
    (void)p;
    say_error("not permitted%s", geteuid() == 0 ? "" : "; try sudo");
}

static const struct daemon_error {
    const char *name;
    enum ctl_status status;
    void (*say)(const json_t *parameters);
} daemon_errors[] = {
    {TWISTY_INTERFACE ".NoSuchJob", CTL_NO_JOB, say_no_such_job},
    {TWISTY_INTERFACE ".JobEnded", CTL_FAILED, say_job_ended},
    {TWISTY_INTERFACE ".JobExists", CTL_FAILED, say_job_exists},
    {TWISTY_INTERFACE ".InvalidJob", CTL_FAILED, say_invalid_job},
    {TWISTY_INTERFACE ".NotPermitted", CTL_NOT_PERMITTED, say_not_permitted},
    {TWISTY_INTERFACE ".LimitReached", CTL_FAILED, say_limit_reached},
    {TWISTY_INTERFACE ".NotDurable", CTL_FAILED, say_not_durable},
    {TWISTY_INTERFACE ".InvalidConfiguration", CTL_FAILED, say_invalid_configuration},
    {VARLINK_SERVICE ".MethodNotFound", CTL_FAILED, say_method_not_found},
    {VARLINK_SERVICE ".InvalidParameter", CTL_FAILED, say_invalid_parameter},
    {VARLINK_SERVICE ".PermissionDenied", CTL_NOT_PERMITTED, say_permission_denied},
};

enum ctl_status fault_reply(const struct varlink_reply *reply)
{
    for (size_t i = 0; i < ARRAY_SIZE(daemon_errors); i++)
        if (strcmp(daemon_errors[i].name, reply->error) == 0) {
            daemon_errors[i].say(reply->parameters);
            return daemon_errors[i].status;
        }
    char *details = reply->parameters != NULL ? json_dumps(reply->parameters, JSON_COMPACT) : NULL;
    say_error("the daemon refused: %s %s", reply->error, details != NULL ? details : "");
    free(details);
    return CTL_FAILED;
}
