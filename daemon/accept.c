#include "accept.h"

#include "chain.h"
#include "waits.h"

#include <errno.h>
#include <stdio.h>

static int reply_invalid_job(const struct accept *a, size_t index, const char *field, const char *reason)
{
    struct emit e = {0};

    varlink_begin_error(&e, TWISTY_INTERFACE ".InvalidJob");
    emit_int(&e, "index", (int64_t)index);
    emit_text(&e, "field", field);
    emit_text(&e, "reason", reason);
    reply(a->rq, &e);
    return -EINVAL;
}

/* Who names an action must be allowed to; what [defaults] names is the administrator's wish. */
static int check_action(const struct accept *a, size_t i, enum spec_key key, const char *name)
{
    const char *nearest = NULL;
    const struct action *action = actions_find(a->actions, name, &nearest);
    char why[192];

    if (action == NULL) {
        if (nearest != NULL)
            snprintf(why, sizeof why, "there is no action '%s'; did you mean '%s'?", name, nearest);
        else
            snprintf(why, sizeof why, "there is no action '%s'; only the configuration can define one", name);
        return reply_invalid_job(a, i, spec_keys[key].json, why);
    }
    if (action_permits(action, a->rq->peer->privileged))
        return 0;
    snprintf(why, sizeof why, "the action '%s' is for root to name; 'allow = group' would let members of the group",
             name);
    reply_error(a->rq, TWISTY_INTERFACE ".NotPermitted", "reason", why);
    return -EPERM;
}

static int check_actions(const struct accept *a, size_t i, const struct spec_draft *draft)
{
    int r = 0;

    for (unsigned hook = 0; r == 0 && hook < JOB_HOOKS; hook++) {
        enum spec_key key = job_hook_key((enum job_hook)hook);
        if (spec_draft_has(draft, key) && draft->spec.actions[hook] != NULL)
            r = check_action(a, i, key, draft->spec.actions[hook]);
    }
    return r;
}

static int read_spec(const struct accept *a, size_t i, struct skim *jobs, struct job_spec *out)
{
    struct spec_draft draft = {0};
    struct spec_error error = {0};
    char member[VARLINK_NAME_ROOM];
    const char *field = member;

    int r = wire_draft(jobs, &draft, member, &error);
    if (r == 0) {
        r = spec_from_draft(&draft, a->defaults, out, &error);
        field = spec_keys[error.key].json;
    }
    if (r == -EINVAL || r == -ERANGE)
        r = reply_invalid_job(a, i, field, error.why);
    if (r == 0)
        r = check_actions(a, i, &draft);
    spec_draft_clear(&draft);
    return r;
}

/* Only the privileged can put a job in the place of another user's, or start that one again. */
static bool may_take_name(const struct accept *a, const struct job_spec *spec)
{
    if (spec->name == NULL || a->rq->peer->privileged)
        return true;
    const struct job *holder = jobs_find(a->jobs, spec->name);
    if (holder == NULL || holder->owner == a->rq->peer->uid)
        return true;
    return !job_ended(holder) && !request_flag(a->rq, "replace") && !request_flag(a->rq, "reset");
}

static int check_waits(const struct accept *a, const struct job_spec *specs, size_t n)
{
    char path[CHAIN_PATH_MAX] = "", why[CHAIN_PATH_MAX + 64];
    const char *nearest = NULL;
    size_t i = 0;

    int r = waits_check(a->jobs, specs, n, &i, &nearest, path, sizeof path);
    switch (r) {
    case -ENOENT:
        if (nearest != NULL)
            snprintf(why, sizeof why, "there is no job '%s'; did you mean '%s'?", specs[i].after, nearest);
        else
            snprintf(why, sizeof why, "there is no job '%s'", specs[i].after);
        break;
    case -ESTALE:
        snprintf(why, sizeof why, "the job '%s' has ended without finishing; reset it first", specs[i].after);
        break;
    case -ELOOP:
        snprintf(why, sizeof why, "these jobs would wait for each other: %s", path);
        break;
    case -E2BIG:
        snprintf(why, sizeof why, "a chain of more than %d jobs", CHAIN_MAX);
        break;
    default:
        return r;
    }
    return reply_invalid_job(a, i, spec_keys[KEY_AFTER].json, why);
}

int accept_specs(const struct accept *a, struct job_spec *specs, size_t n)
{
    struct skim jobs = skim_array(request_param(a->rq, "jobs"));
    int r = 0;

    for (size_t i = 0; r == 0 && i < n && skim_more(&jobs); i++) {
        r = read_spec(a, i, &jobs, &specs[i]);
        if (r == 0 && !may_take_name(a, &specs[i])) {
            reply_not_yours(a->rq, specs[i].name);
            r = -EPERM;
        }
    }
    return r < 0 ? r : check_waits(a, specs, n);
}
