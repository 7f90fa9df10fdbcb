#include "faults.h"

#include "daemon/spec.h"
#include "daemon/text.h"
#include "fields.h"
#include "say.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* What is longer than this, a line of say_error() would not have room for. */
#define WORDS_MAX 1024

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

/* A member of an error's parameters as text; "?" when it is absent. */
static const char *member(struct skim_value parameters, const char *key, char buf[WORDS_MAX])
{
    if (text_of(parameters, key, buf, WORDS_MAX) == NULL)
        memcpy(buf, "?", sizeof "?");
    return buf;
}

static void say_no_such_job(struct skim_value p)
{
    char match[WORDS_MAX], nearest[WORDS_MAX];

    if (text_of(p, "nearest", nearest, sizeof nearest) != NULL)
        say_error("no job matches '%s'; did you mean '%s'?", member(p, "match", match), nearest);
    else
        say_error("no job matches '%s'; see 'twistyctl list --all'", member(p, "match", match));
}

static void say_job_ended(struct skim_value p)
{
    char name[WORDS_MAX], state[WORDS_MAX];

    member(p, "name", name);
    say_error("job '%s' is %s already; 'twistyctl reset %s' starts it again", name, member(p, "state", state), name);
}

static void say_job_exists(struct skim_value p)
{
    char name[WORDS_MAX];
    say_error("job '%s' is there already; use another --name, or --replace or --if-absent", member(p, "name", name));
}

static void say_invalid_job(struct skim_value p)
{
    char field[WORDS_MAX], reason[WORDS_MAX];

    member(p, "reason", reason);
    for (size_t key = 0; key < KEY_COUNT_OF_KEYS; key++)
        if (key != KEY_KIND && has_word(p, "field", spec_keys[key].json)) {
            say_error("--%s: %s", spec_keys[key].ini, reason);
            return;
        }
    say_error("%s: %s", member(p, "field", field), reason);
}

static void say_not_permitted(struct skim_value p)
{
    char reason[WORDS_MAX];
    say_error("not permitted: %s%s", member(p, "reason", reason), geteuid() == 0 ? "" : "; try sudo");
}

/* What helps against a limit; the others say it themselves. */
static const struct remedy {
    const char *limit, *text;
} remedies[] = {
    {"max-jobs", "; remove some with 'twistyctl rm', or see twistyd.conf(5)"},
    {"max-connections", " of a user; see twistyd.conf(5)"},
};

static void say_not_durable(struct skim_value p)
{
    char reason[WORDS_MAX];

    if (is_true(p, "inForce"))
        say_error("done, but a restart now would undo it, since it cannot be kept: %s", member(p, "reason", reason));
    else
        say_error("not done, since it could not be kept over a restart: %s; see twistyctl status, or add --transient",
                  member(p, "reason", reason));
}

static void say_limit_reached(struct skim_value p)
{
    const char *remedy = "";
    char limit[WORDS_MAX];

    for (size_t i = 0; i < ARRAY_SIZE(remedies); i++)
        if (has_word(p, "limit", remedies[i].limit))
            remedy = remedies[i].text;
    say_error("limit: %s: at most %lld%s", member(p, "limit", limit), (long long)number_or_zero(p, "value"), remedy);
}

static void say_invalid_configuration(struct skim_value p)
{
    struct skim s = skim_array(skim_member(p, "mistakes"));
    struct skim_value mistake;
    size_t n = 0;

    for (; skim_next(&s, &mistake); n++) {
        say_value(stderr, mistake, "?");
        fputc('\n', stderr);
    }
    say_error("the configuration has %zu mistake%s; the daemon keeps what it had", n, n == 1 ? "" : "s");
}

static void say_method_not_found(struct skim_value p)
{
    char method[WORDS_MAX];
    say_error("the daemon has no method %s; is it older than this twistyctl " TWISTY_VERSION "?",
              member(p, "method", method));
}

static void say_invalid_parameter(struct skim_value p)
{
    char parameter[WORDS_MAX];
    say_error("the daemon does not take '%s'; is it older than this twistyctl " TWISTY_VERSION "?",
              member(p, "parameter", parameter));
}

static void say_permission_denied(struct skim_value p)
{
    (void)p;
    say_error("not permitted%s", geteuid() == 0 ? "" : "; try sudo");
}

static const struct daemon_error {
    const char *name;
    enum ctl_status status;
    void (*say)(struct skim_value parameters);
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
    struct skim_value details = reply->parameters;
    char error[WORDS_MAX] = "";

    for (size_t i = 0; i < ARRAY_SIZE(daemon_errors); i++)
        if (skim_is_text(reply->error, daemon_errors[i].name)) {
            daemon_errors[i].say(details);
            return daemon_errors[i].status;
        }
    skim_text(reply->error, error, sizeof error);
    say_error("the daemon refused: %s %.*s", error, (int)details.len, details.text != NULL ? details.text : "");
    return CTL_FAILED;
}
