#include "config.h"

#include "conf_after.h"
#include "conf_text.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct conf_words section_keys[CONF_KINDS] = {
    [CONF_DAEMON] = {settings_keys, SETTINGS_KEYS, sizeof settings_keys[0]},
    [CONF_DEFAULTS] = {spec_keys, KEY_COUNT_OF_KEYS, sizeof spec_keys[0]},
    [CONF_ACTION] = {action_keys, ACTION_KEYS, sizeof action_keys[0]},
    [CONF_JOB] = {spec_keys, KEY_COUNT_OF_KEYS, sizeof spec_keys[0]},
};

_Static_assert(SETTINGS_KEYS <= CONF_KEYS_MAX && KEY_COUNT_OF_KEYS <= CONF_KEYS_MAX, "too many keys");

struct config_builder {
    config_error_fn *on_error;
    void *ctx;
    struct conf_mistakes mistakes;
    struct conf_text text;
    uint32_t defaults_refused;                  // keys of [defaults] that have a mistake, a bit each
    bool jobs_only;                             // it is a file of jobs
    const struct conf_section *next, *defaults; // for config_builder_next_job()
};

struct config_builder *config_builder_new(config_error_fn *on_error, void *ctx)
{
    struct config_builder *b = calloc(1, sizeof *b);

    if (b == NULL)
        return NULL;
    b->on_error = on_error;
    b->ctx = ctx;
    conf_text_init(&b->text, section_keys, &b->mistakes);
    return b;
}

void config_builder_free(struct config_builder *b)
{
    if (b == NULL)
        return;
    conf_text_clear(&b->text);
    conf_mistakes_clear(&b->mistakes);
    free(b);
}

void config_builder_watch(struct config_builder *b, const atomic_bool *given_up)
{
    b->text.given_up = given_up;
}

int config_builder_add(struct config_builder *b, const char *file, const char *text, size_t len)
{
    uint32_t number;
    int r = conf_mistakes_file(&b->mistakes, file, &number);

    return r < 0 ? r : conf_text_add(&b->text, number, text, len);
}

int config_builder_refuse(struct config_builder *b, const char *file, const char *why, int error)
{
    struct conf_place place = {0};
    int r = conf_mistakes_file(&b->mistakes, file, &place.file);

    if (r < 0)
        return r;
    if (error != 0)
        conf_mistakes_add(&b->mistakes, place, NULL, NULL, "%s: %s", why, strerror(error));
    else
        conf_mistakes_add(&b->mistakes, place, NULL, NULL, "%s", why);
    return b->mistakes.error;
}

/* Note that a section has no place in a file of jobs. */
static void refuse_section(struct config_builder *b, const struct conf_section *section)
{
    conf_mistakes_add(&b->mistakes, section->place, section->name, NULL,
                      "a file of jobs has only [defaults] and [job:NAME]; this is for twistyd.conf");
}

static void read_daemon(struct config_builder *b, const struct conf_section *section, struct daemon_settings *out)
{
    if (b->jobs_only)
        refuse_section(b, section);
    for (const struct conf_entry *e = section->first; e != NULL; e = e->next) {
        char shown[64] = "", why[160];
        if (settings_set(out, (enum settings_key)e->key, e->value, why, sizeof why) == 0)
            continue;
        text_escape(shown, sizeof shown, 0, e->value);
        conf_mistakes_add(&b->mistakes, e->place, section->name, settings_keys[e->key], "'%s' %s", shown, why);
    }
}

/* What a job could not name: such an action would be a word of on-failure. */
static bool is_reserved(const char *name)
{
    return strcmp(name, "continue") == 0 || strcmp(name, "stop") == 0;
}

/* Set the keys of an action. Mistakes are noted; -ENOMEM is the only error. */
static int set_action_keys(struct config_builder *b, const struct conf_section *section, struct action *action)
{
    uint32_t seen = section->doubtful;

    for (const struct conf_entry *e = section->first; e != NULL; e = e->next) {
        char why[256];
        int r = action_set(action, (enum action_key)e->key, e->value, why, sizeof why);
        if (r == -ENOMEM)
            return r;
        if (r < 0)
            conf_mistakes_add(&b->mistakes, e->place, section->name, action_keys[e->key], "%s", why);
        seen |= UINT32_C(1) << e->key;
    }
    if ((seen >> ACTION_EXEC & 1) == 0 && !section->repeated)
        conf_mistakes_add(&b->mistakes, section->place, section->name, action_keys[ACTION_EXEC],
                          "missing; it is the command, an absolute path and arguments");
    return 0;
}

static int read_action(struct config_builder *b, const struct conf_section *section, struct config *config)
{
    const char *name = strchr(section->name, ':') + 1;

    if (b->jobs_only) {
        refuse_section(b, section);
        return 0;
    }
    if (!name_valid(name))
        conf_mistakes_add(
            &b->mistakes, section->place, section->name, NULL,
            "'%s' is not a name: letters, digits, '.', '_' and '-', at most 40, the first a letter or digit", name);
    else if (is_reserved(name))
        conf_mistakes_add(&b->mistakes, section->place, section->name, NULL,
                          "'%s' has a meaning in on-failure; choose another name", name);
    struct action *action = action_new(name);
    int error = action == NULL ? -ENOMEM : set_action_keys(b, section, action);
    if (error == 0 && !section->repeated)
        config->actions.list[config->actions.n++] = action_ref(action);
    action_unref(action);
    return error;
}

static int read_actions(struct config_builder *b, struct config *config)
{
    size_t n = 0;
    int error = 0;

    for (const struct conf_section *s = b->text.first; s != NULL; s = s->next)
        n += s->kind == CONF_ACTION;
    config->actions.list = calloc(n + 1, sizeof(struct action *));
    if (config->actions.list == NULL)
        return -ENOMEM;
    for (const struct conf_section *s = b->text.first; s != NULL && error == 0; s = s->next)
        if (s->kind == CONF_ACTION)
            error = read_action(b, s, config);
    actions_sort(&config->actions);
    return error;
}

/* A [defaults] or [job:NAME] section while it is read. */
struct reading {
    const struct conf_section *section;
    struct spec_draft draft;
    struct conf_place set[KEY_COUNT_OF_KEYS]; // where each key was set last
    uint32_t refused;                         // keys that have a mistake already, a bit each
};

static void refuse_key(struct config_builder *b, struct reading *r, struct conf_place place, enum spec_key key,
                       const char *why)
{
    conf_mistakes_add(&b->mistakes, place, r->section->name, spec_keys[key].ini, "%s", why);
    r->refused |= UINT32_C(1) << key;
}

/* A rate takes the place of an earlier file's interval, and the other way round. */
static void replace_twin(struct reading *r, enum spec_key key, uint32_t file)
{
    enum spec_key twin = key == KEY_RATE ? KEY_INTERVAL : KEY_RATE;

    if ((key == KEY_RATE || key == KEY_INTERVAL) && spec_draft_has(&r->draft, twin) && r->set[twin].file != file)
        r->draft.given &= ~(UINT32_C(1) << twin);
}

/* Why a key must not stand in this section; NULL when it may. */
static const char *misplaced(const struct conf_section *section, enum spec_key key)
{
    if (key == KEY_NAME)
        return "a job has its name from its section, job:NAME";
    if (section->kind == CONF_DEFAULTS && !spec_keys[key].in_defaults)
        return "has no default; it belongs in the section of each job";
    return NULL;
}

/* Is this the name of an action, if it must be one? `why` says what else. */
static bool names_action(const struct config *config, const char *name, char *why, size_t size)
{
    const char *nearest = NULL;

    if (name == NULL || actions_find(&config->actions, name, &nearest) != NULL)
        return true;
    if (nearest != NULL)
        snprintf(why, size, "there is no action '%s'; did you mean '%s'?", name, nearest);
    else
        snprintf(why, size, "there is no action '%s'; it would be a section [action:%s]", name, name);
    return false;
}

/* Note the keys that name actions which are not there. Of a file of jobs the daemon will say it. */
static void check_actions(struct config_builder *b, struct reading *r, const struct config *config)
{
    char why[256];

    if (b->jobs_only)
        return;
    for (unsigned hook = 0; hook < JOB_HOOKS; hook++) {
        enum spec_key key = job_hook_key((enum job_hook)hook);
        if (!names_action(config, r->draft.spec.actions[hook], why, sizeof why))
            refuse_key(b, r, r->set[key], key, why);
    }
}

/* Read the keys of a section. Mistakes are noted; -ENOMEM is the only error. */
static int read_keys(struct config_builder *b, struct reading *r)
{
    for (const struct conf_entry *e = r->section->first; e != NULL; e = e->next) {
        enum spec_key key = (enum spec_key)e->key;
        struct spec_error err;
        const char *why = misplaced(r->section, key);

        if (why != NULL) {
            conf_mistakes_add(&b->mistakes, e->place, r->section->name, spec_keys[key].ini, "%s", why);
            continue;
        }
        replace_twin(r, key, e->place.file);
        r->set[key] = e->place;
        int error = spec_draft_set(&r->draft, key, e->value, &err);
        if (error == -ENOMEM)
            return error;
        if (error < 0)
            refuse_key(b, r, e->place, key, err.why);
    }
    return 0;
}

/* A draft is only judged as a part of a job; what [defaults] says twice is told once, there. */
static int read_defaults(struct config_builder *b, const struct conf_section *section, struct config *config)
{
    struct reading r = {.section = section, .refused = section->doubtful};
    int error = read_keys(b, &r);

    check_actions(b, &r, config);
    if (error == 0 && spec_draft_has(&r.draft, KEY_RATE) && spec_draft_has(&r.draft, KEY_INTERVAL)) {
        refuse_key(b, &r, r.set[KEY_INTERVAL], KEY_INTERVAL, "rate and interval say the same thing; give one of them");
        r.draft.given &= ~(UINT32_C(1) << KEY_INTERVAL);
    }
    b->defaults_refused |= r.refused;
    if (error < 0 || section->repeated)
        spec_draft_clear(&r.draft);
    else
        config->defaults = r.draft;
    return error;
}

/* Check the job as a whole and put it into the config. What follows from a mistake already told is not told. */
static int add_job(struct config_builder *b, const struct reading *r, struct config *config)
{
    uint32_t refused = r->refused | b->defaults_refused;
    struct spec_error errors[KEY_COUNT_OF_KEYS];

    if (r->section->repeated || (refused >> KEY_KIND & 1) != 0)
        return 0;
    int error = spec_from_draft(&r->draft, &config->defaults, &config->jobs[config->n_jobs], errors);
    if (error == -ENOMEM)
        return error;
    if (error == 0) {
        config->n_jobs++;
        return 0;
    }
    size_t n = spec_check(&r->draft, &config->defaults, errors, KEY_COUNT_OF_KEYS);
    for (size_t i = 0; i < n && i < KEY_COUNT_OF_KEYS; i++) {
        enum spec_key key = errors[i].key;
        struct conf_place set = r->set[key];
        if ((refused >> key & 1) == 0)
            conf_mistakes_add(&b->mistakes, set.line != 0 ? set : r->section->place, r->section->name,
                              spec_keys[key].ini, "%s", errors[i].why);
    }
    return 0;
}

static int read_job(struct config_builder *b, const struct conf_section *section, struct config *config)
{
    struct reading r = {.section = section, .refused = section->doubtful};
    struct spec_error err;

    int error = spec_draft_set(&r.draft, KEY_NAME, strchr(section->name, ':') + 1, &err);
    if (error < 0 && error != -ENOMEM)
        conf_mistakes_add(&b->mistakes, section->place, section->name, NULL, "%s", err.why);
    if (error != -ENOMEM)
        error = read_keys(b, &r);
    check_actions(b, &r, config);
    if (error == 0)
        error = add_job(b, &r, config);
    spec_draft_clear(&r.draft);
    return error;
}

/* What holds for every job, wherever it stands. */
static int read_settings(struct config_builder *b, struct config *config)
{
    int error = read_actions(b, config);

    for (const struct conf_section *s = b->text.first; s != NULL && error == 0; s = s->next) {
        if (s->kind == CONF_DAEMON)
            read_daemon(b, s, &config->daemon);
        else if (s->kind == CONF_DEFAULTS)
            error = read_defaults(b, s, config);
    }
    return error;
}

static bool is_given_up(const struct config_builder *b)
{
    return b->text.given_up != NULL && atomic_load(b->text.given_up);
}

static int read_jobs(struct config_builder *b, struct config *config)
{
    size_t n = 0;
    int error = 0;

    config->jobs = calloc(b->text.n_sections + 1, sizeof *config->jobs);
    if (config->jobs == NULL)
        return -ENOMEM;
    for (const struct conf_section *s = b->text.first; s != NULL && error == 0; s = s->next) {
        if (s->kind != CONF_JOB)
            continue;
        if (n++ == config->daemon.max_jobs)
            conf_mistakes_add(&b->mistakes, s->place, s->name, NULL, "one job more than max-jobs, %u",
                              config->daemon.max_jobs);
        error = is_given_up(b) ? -ECANCELED : read_job(b, s, config);
    }
    if (!b->jobs_only)
        conf_after_check(&b->text, KEY_AFTER);
    return error;
}

/* What the daemon's own defaults can say for a file of jobs: with these, nothing is missing or takes too long. */
static void say_what_is_missing(struct config *config)
{
    struct spec_draft *defaults = &config->defaults;

    config->daemon.max_jobs = UINT32_MAX;
    if (!spec_draft_has(defaults, KEY_COUNT))
        defaults->spec.count = 1;
    if (!spec_draft_has(defaults, KEY_RATE) && !spec_draft_has(defaults, KEY_INTERVAL)) {
        defaults->spec.rate = (struct rate){.ns = 1, .ticks = 1};
        defaults->given |= UINT32_C(1) << KEY_RATE;
    }
    defaults->given |= UINT32_C(1) << KEY_COUNT;
}

int config_builder_finish(struct config_builder *b, struct config **out)
{
    struct config *config = calloc(1, sizeof *config);

    if (config == NULL)
        return -ENOMEM;
    settings_default(&config->daemon);
    int error = read_settings(b, config);
    if (b->jobs_only)
        say_what_is_missing(config);
    if (error == 0)
        error = read_jobs(b, config);
    if (error == 0)
        error = b->mistakes.error;
    if (error == 0 && b->mistakes.found > 0) {
        conf_mistakes_tell(&b->mistakes, b->on_error, b->ctx);
        error = -EINVAL;
    }
    if (error < 0) {
        config_free(config);
        return error;
    }
    *out = config;
    return 0;
}

void config_free(struct config *config)
{
    if (config == NULL)
        return;
    for (size_t i = 0; i < config->n_jobs; i++)
        spec_clear(&config->jobs[i]);
    free(config->jobs);
    actions_clear(&config->actions);
    spec_draft_clear(&config->defaults);
    free(config);
}

int config_builder_check_jobs(struct config_builder *b, size_t *n)
{
    struct config *config = NULL;

    b->jobs_only = true;
    int r = config_builder_finish(b, &config);
    if (r < 0)
        return r;
    *n = config->n_jobs;
    config_free(config);
    b->next = b->text.first;
    for (const struct conf_section *s = b->text.first; s != NULL; s = s->next)
        if (s->kind == CONF_DEFAULTS)
            b->defaults = s;
    return 0;
}

/* A rate or an interval of its own takes the place of either. */
static bool takes_default(const struct config_job *job, enum job_kind kind, enum spec_key key)
{
    bool timed = job->values[KEY_RATE] != NULL || job->values[KEY_INTERVAL] != NULL;

    if (timed && (key == KEY_RATE || key == KEY_INTERVAL))
        return false;
    return job->values[key] == NULL && spec_kind_has(kind, key);
}

/* What was checked before is right: each key is there once, and the kind is one. */
static void take_values(struct config_job *job, const struct conf_section *section, const struct conf_section *defaults)
{
    struct spec_draft draft = {0};
    struct spec_error err;

    *job = (struct config_job){.line = section->place.line};
    job->values[KEY_NAME] = strchr(section->name, ':') + 1;
    for (const struct conf_entry *e = section->first; e != NULL; e = e->next)
        job->values[e->key] = e->value;
    spec_draft_set(&draft, KEY_KIND, job->values[KEY_KIND], &err);
    for (const struct conf_entry *e = defaults != NULL ? defaults->first : NULL; e != NULL; e = e->next)
        if (takes_default(job, draft.spec.kind, (enum spec_key)e->key))
            job->values[e->key] = e->value;
}

bool config_builder_next_job(struct config_builder *b, struct config_job *out)
{
    while (b->next != NULL && b->next->kind != CONF_JOB)
        b->next = b->next->next;
    if (b->next == NULL)
        return false;
    take_values(out, b->next, b->defaults);
    b->next = b->next->next;
    return true;
}
