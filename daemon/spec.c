#include "spec.h"

#include "line.h"
#include "siphash.h"
#include "text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct spec_key_info spec_keys[KEY_COUNT_OF_KEYS] = {
    [KEY_NAME] = {"name", "name", "NAME", SPEC_STRING, false},
    [KEY_KIND] = {"kind", "kind", "countdown|loop|once", SPEC_STRING, false},
    [KEY_COUNT] = {"count", "count", "N", SPEC_INTEGER, true},
    [KEY_RATE] = {"rate", "rate", "RATE", SPEC_STRING, true},
    [KEY_INTERVAL] = {"interval", "interval", "SPAN", SPEC_STRING, true},
    [KEY_DELAY] = {"delay", "delay", "SPAN", SPEC_STRING, true},
    [KEY_MISSED] = {"missed", "missed", "coalesce|delay|burst", SPEC_STRING, true},
    [KEY_IMMEDIATE] = {"immediate", "immediate", "yes|no", SPEC_BOOLEAN, true},
    [KEY_BACKGROUND] = {"background", "background", "yes|no", SPEC_BOOLEAN, true},
    [KEY_TRANSIENT] = {"transient", "transient", "yes|no", SPEC_BOOLEAN, true},
    [KEY_REPORT] = {"report", "report", "all|none|every N|every SPAN", SPEC_STRING, true},
    [KEY_MESSAGE] = {"message", "message", "TEXT", SPEC_STRING, true},
    [KEY_ON_TICK] = {"on-tick", "onTick", "ACTION", SPEC_STRING, true},
    [KEY_ON_FINISH] = {"on-finish", "onFinish", "ACTION", SPEC_STRING, true},
    [KEY_ON_FAILURE] = {"on-failure", "onFailure", "continue|stop|ACTION", SPEC_STRING, true},
    [KEY_ON_STOP] = {"on-stop", "onStop", "ACTION", SPEC_STRING, true},
    [KEY_AFTER] = {"after", "after", "NAME", SPEC_STRING, false},
    [KEY_RESUME] = {"resume", "resume", "yes|no", SPEC_BOOLEAN, true},
};

static const char *const kind_names[] = {
    [JOB_COUNTDOWN] = "countdown",
    [JOB_LOOP] = "loop",
    [JOB_ONCE] = "once",
};

static const char *const missed_names[] = {
    [MISSED_COALESCE] = "coalesce",
    [MISSED_DELAY] = "delay",
    [MISSED_BURST] = "burst",
};

const char *job_kind_name(enum job_kind kind)
{
    return kind_names[kind];
}

static const struct {
    const char *name;
    enum spec_key key;
} hooks[] = {
    [HOOK_TICK] = {"tick", KEY_ON_TICK},
    [HOOK_FINISH] = {"finish", KEY_ON_FINISH},
    [HOOK_FAILURE] = {"failure", KEY_ON_FAILURE},
    [HOOK_STOP] = {"stop", KEY_ON_STOP},
};

/* What on-failure can say besides an action. */
static const char go_on[] = "continue", end_job[] = "stop";

const char *job_hook_name(enum job_hook hook)
{
    return hooks[hook].name;
}

enum spec_key job_hook_key(enum job_hook hook)
{
    return hooks[hook].key;
}

const char *on_failure_name(const struct job_spec *spec)
{
    if (spec->stop_on_failure)
        return end_job;
    return spec->actions[HOOK_FAILURE] != NULL ? spec->actions[HOOK_FAILURE] : go_on;
}

const char *missed_policy_name(enum missed_policy policy)
{
    return missed_names[policy];
}

const char *report_rule_format(struct report_rule rule, char *buf, size_t size)
{
    char span[QUANTITY_TEXT_MAX];

    switch (rule.when) {
    case REPORT_ALL:
        return "all";
    case REPORT_NONE:
        return "none";
    case REPORT_EVERY_N:
        snprintf(buf, size, "every %lld", (long long)rule.every);
        break;
    case REPORT_EVERY_SPAN:
        snprintf(buf, size, "every %s", span_format(rule.every, span, sizeof span));
        break;
    }
    return buf;
}

__attribute__((format(printf, 4, 5))) static int refuse(struct spec_error *err, enum spec_key key, int error,
                                                        const char *format, ...)
{
    va_list args;

    err->key = key;
    va_start(args, format);
    vsnprintf(err->why, sizeof err->why, format, args);
    va_end(args);
    return error;
}

/* What is wrong with a value, quoted so that no byte of it can disturb the line. */
static int refuse_value(struct spec_error *err, enum spec_key key, int error, const char *value, const char *why)
{
    char shown[64];

    text_escape(shown, sizeof shown, 0, value);
    return refuse(err, key, error, "'%s' %s", shown, why);
}

static int parse_word(const char *value, const char *const names[], unsigned n, unsigned *out, enum spec_key key,
                      struct spec_error *err)
{
    for (unsigned i = 0; i < n; i++)
        if (strcmp(value, names[i]) == 0) {
            *out = i;
            return 0;
        }
    char why[96];
    const char *near = nearest_of(value, names, n, sizeof names[0]);
    if (near != NULL)
        snprintf(why, sizeof why, "is unknown; did you mean '%s'?", near);
    else
        snprintf(why, sizeof why, "is not one of %s", spec_keys[key].values);
    return refuse_value(err, key, -EINVAL, value, why);
}

static int parse_report(const char *value, struct report_rule *out, const char **why)
{
    static const char every[] = "every ";
    uint64_t n;
    int64_t span;

    if (strcmp(value, "all") == 0) {
        *out = (struct report_rule){REPORT_ALL, 0};
        return 0;
    }
    if (strcmp(value, "none") == 0) {
        *out = (struct report_rule){REPORT_NONE, 0};
        return 0;
    }
    *why = "is not one of all, none, every N, every SPAN";
    if (strncmp(value, every, sizeof every - 1) != 0)
        return -EINVAL;
    value += sizeof every - 1;
    if (count_parse(value, COUNT_MAX, &n, why) == 0)
        *out = (struct report_rule){REPORT_EVERY_N, (int64_t)n};
    else if (span_parse(value, &span, why) == 0)
        *out = (struct report_rule){REPORT_EVERY_SPAN, span};
    else
        return -EINVAL;
    *why = "is zero";
    return out->every == 0 ? -ERANGE : 0;
}

static int copy_text(char **out, const char *value)
{
    char *copy = strdup(value);
    if (copy == NULL)
        return -ENOMEM;
    free(*out);
    *out = copy;
    return 0;
}

static int set_name(struct job_spec *spec, const char *value, const char **why)
{
    *why = "is not a name: letters, digits, '.', '_' and '-', at most 40, the first a letter or digit";
    return name_valid(value) ? copy_text(&spec->name, value) : -EINVAL;
}

static int set_message(struct job_spec *spec, const char *value, const char **why)
{
    *why = "is longer than 256 bytes";
    if (strlen(value) > MESSAGE_LEN_MAX)
        return -ERANGE;
    *why = "is not UTF-8 text without control characters";
    return text_printable(value) ? copy_text(&spec->message, value) : -EINVAL;
}

/* A name, or nothing to take back that of the defaults. */
static int set_optional_name(char **out, const char *value, const char **why)
{
    if (value[0] == '\0') {
        free(*out);
        *out = NULL;
        return 0;
    }
    *why = "is not a name: letters, digits, '.', '_' and '-', at most 40, the first a letter or digit";
    return name_valid(value) ? copy_text(out, value) : -EINVAL;
}

static int set_on_failure(struct job_spec *spec, const char *value, const char **why)
{
    bool stop = strcmp(value, end_job) == 0;
    bool action = !stop && strcmp(value, go_on) != 0;

    int r = set_optional_name(&spec->actions[HOOK_FAILURE], action ? value : "", why);
    if (r == 0)
        spec->stop_on_failure = stop;
    return r;
}

static int set_interval(struct job_spec *spec, const char *value, const char **why)
{
    int64_t span;

    int r = span_parse(value, &span, why);
    if (r < 0)
        return r;
    *why = "is zero";
    if (span == 0)
        return -ERANGE;
    spec->rate = rate_from_interval(span);
    return 0;
}

int spec_draft_set(struct spec_draft *draft, enum spec_key key, const char *value, struct spec_error *err)
{
    struct job_spec *spec = &draft->spec;
    const char *why = "";
    unsigned word = 0;
    int r = 0;

    switch (key) {
    case KEY_NAME:
        r = set_name(spec, value, &why);
        break;
    case KEY_KIND:
        r = parse_word(value, kind_names, ARRAY_SIZE(kind_names), &word, key, err);
        spec->kind = (enum job_kind)word;
        break;
    case KEY_COUNT:
        r = count_parse(value, COUNT_MAX, &spec->count, &why);
        break;
    case KEY_RATE:
        r = rate_parse(value, &spec->rate, &why);
        break;
    case KEY_INTERVAL:
        r = set_interval(spec, value, &why);
        break;
    case KEY_DELAY:
        r = span_parse(value, &spec->delay, &why);
        break;
    case KEY_MISSED:
        r = parse_word(value, missed_names, ARRAY_SIZE(missed_names), &word, key, err);
        spec->missed = (enum missed_policy)word;
        break;
    case KEY_IMMEDIATE:
        r = bool_parse(value, &spec->immediate, &why);
        break;
    case KEY_BACKGROUND:
        r = bool_parse(value, &spec->background, &why);
        break;
    case KEY_TRANSIENT:
        r = bool_parse(value, &spec->transient, &why);
        break;
    case KEY_REPORT:
        r = parse_report(value, &spec->report, &why);
        break;
    case KEY_MESSAGE:
        r = set_message(spec, value, &why);
        break;
    case KEY_ON_TICK:
        r = set_optional_name(&spec->actions[HOOK_TICK], value, &why);
        break;
    case KEY_ON_FINISH:
        r = set_optional_name(&spec->actions[HOOK_FINISH], value, &why);
        break;
    case KEY_ON_FAILURE:
        r = set_on_failure(spec, value, &why);
        break;
    case KEY_ON_STOP:
        r = set_optional_name(&spec->actions[HOOK_STOP], value, &why);
        break;
    case KEY_AFTER:
        r = set_optional_name(&spec->after, value, &why);
        break;
    case KEY_RESUME:
        r = bool_parse(value, &spec->resume, &why);
        break;
    case KEY_COUNT_OF_KEYS:
        return -EINVAL;
    }
    if (r < 0)
        return r == -ENOMEM || *why == '\0' ? r : refuse_value(err, key, r, value, why);
    draft->given |= 1U << key;
    return 0;
}

bool spec_draft_has(const struct spec_draft *draft, enum spec_key key)
{
    return (draft->given >> key & 1) != 0;
}

void spec_draft_clear(struct spec_draft *draft)
{
    spec_clear(&draft->spec);
    draft->given = 0;
}

void spec_clear(struct job_spec *spec)
{
    free(spec->name);
    free(spec->message);
    free(spec->after);
    for (size_t i = 0; i < JOB_HOOKS; i++)
        free(spec->actions[i]);
    *spec = (struct job_spec){0};
}

/* In place of a borrowed text a copy of it; NULL when there is no memory, and then *error is set. */
static char *own(const char *text, int *error)
{
    char *copy = text != NULL ? strdup(text) : NULL;

    if (text != NULL && copy == NULL)
        *error = -ENOMEM;
    return copy;
}

int spec_copy(const struct job_spec *spec, struct job_spec *out)
{
    int r = 0;

    *out = *spec;
    out->name = own(spec->name, &r);
    out->message = own(spec->message, &r);
    out->after = own(spec->after, &r);
    for (size_t i = 0; i < JOB_HOOKS; i++)
        out->actions[i] = own(spec->actions[i], &r);
    if (r < 0)
        spec_clear(out);
    return r;
}

/* What was said, or else what the defaults say; NULL when neither says anything. */
static const struct job_spec *said_by(const struct spec_draft *draft, const struct spec_draft *defaults,
                                      enum spec_key key)
{
    if (spec_draft_has(draft, key))
        return &draft->spec;
    return defaults != NULL && spec_draft_has(defaults, key) ? &defaults->spec : NULL;
}

/* What is wrong with a draft as a whole: all of it is counted, the first `room` are kept. */
struct findings {
    struct spec_error *list;
    size_t room, n;
};

__attribute__((format(printf, 3, 4))) static void find(struct findings *f, enum spec_key key, const char *format, ...)
{
    va_list args;

    if (f->n < f->room) {
        f->list[f->n].key = key;
        va_start(args, format);
        vsnprintf(f->list[f->n].why, sizeof f->list[f->n].why, format, args);
        va_end(args);
    }
    f->n++;
}

bool spec_kind_has(enum job_kind kind, enum spec_key key)
{
    switch (key) {
    case KEY_COUNT:
    case KEY_RATE:
    case KEY_INTERVAL:
    case KEY_ON_TICK:
        return kind != JOB_ONCE;
    case KEY_IMMEDIATE:
        return kind == JOB_LOOP;
    default:
        return true;
    }
}

/* Keys that a kind does not have are refused where the job names them; from the defaults they are passed over. */
static void check_kind_has_keys(const struct spec_draft *draft, struct findings *f)
{
    for (unsigned key = 0; key < KEY_COUNT_OF_KEYS; key++)
        if (spec_draft_has(draft, (enum spec_key)key) && !spec_kind_has(draft->spec.kind, (enum spec_key)key))
            find(f, (enum spec_key)key, "a %s job has no %s", job_kind_name(draft->spec.kind), spec_keys[key].ini);
}

static void check_count(const struct spec_draft *draft, const struct spec_draft *defaults, struct findings *f)
{
    const struct job_spec *said = said_by(draft, defaults, KEY_COUNT);

    if (draft->spec.kind == JOB_COUNTDOWN && said == NULL)
        find(f, KEY_COUNT, "missing; a countdown needs the number of its ticks");
    if (draft->spec.kind == JOB_LOOP && said != NULL && said->count == 0)
        find(f, KEY_COUNT, "a loop ticks at least once; leave it out for a loop without end");
}

static bool says_rate_twice(const struct spec_draft *draft)
{
    return draft != NULL && spec_draft_has(draft, KEY_RATE) && spec_draft_has(draft, KEY_INTERVAL);
}

/* Every due time of the job must be a time: start + delay + count ticks, whenever it starts. */
static void check_end(const struct job_spec *spec, struct findings *f)
{
    uint64_t ticks = spec->count == COUNT_FOREVER ? 1 : spec->count;
    int64_t length = spec->kind == JOB_ONCE ? 0 : rate_due(spec->rate, ticks);

    if (length > SPAN_MAX - spec->delay) // TIME_NEVER included
        find(f, KEY_COUNT, "the job would take longer than 146 years");
}

static uint64_t merged_count(const struct spec_draft *draft, const struct spec_draft *defaults)
{
    const struct job_spec *said = said_by(draft, defaults, KEY_COUNT);

    if (draft->spec.kind == JOB_ONCE)
        return 1;
    return said != NULL ? said->count : COUNT_FOREVER;
}

/* Whoever says a rate or an interval says both. */
static struct rate merged_rate(const struct spec_draft *draft, const struct spec_draft *defaults)
{
    const struct spec_draft *sources[] = {draft, defaults};

    for (size_t i = 0; i < ARRAY_SIZE(sources) && draft->spec.kind != JOB_ONCE; i++)
        if (sources[i] != NULL && (spec_draft_has(sources[i], KEY_RATE) || spec_draft_has(sources[i], KEY_INTERVAL)))
            return sources[i]->spec.rate;
    return rate_from_interval(NSEC_PER_SEC); // also for once: no rate of the defaults makes it another job
}

/* The texts are only borrowed until spec_from_draft() copies the whole. */
static void merge_texts(const struct spec_draft *draft, const struct spec_draft *defaults, struct job_spec *out)
{
    const struct job_spec *said = said_by(draft, defaults, KEY_MESSAGE);

    out->name = draft->spec.name;
    out->after = draft->spec.after;
    if (said != NULL && said->message[0] != '\0')
        out->message = said->message;
    for (unsigned hook = 0; hook < JOB_HOOKS; hook++)
        if (spec_kind_has(out->kind, hooks[hook].key) && (said = said_by(draft, defaults, hooks[hook].key)) != NULL)
            out->actions[hook] = said->actions[hook];
    if ((said = said_by(draft, defaults, KEY_ON_FAILURE)) != NULL)
        out->stop_on_failure = said->stop_on_failure;
}

static void merge_options(const struct spec_draft *draft, const struct spec_draft *defaults, struct job_spec *out)
{
    const struct job_spec *said;

    if ((said = said_by(draft, defaults, KEY_DELAY)) != NULL)
        out->delay = said->delay;
    if ((said = said_by(draft, defaults, KEY_MISSED)) != NULL)
        out->missed = said->missed;
    if (out->kind == JOB_LOOP && (said = said_by(draft, defaults, KEY_IMMEDIATE)) != NULL)
        out->immediate = said->immediate;
    if ((said = said_by(draft, defaults, KEY_BACKGROUND)) != NULL)
        out->background = said->background;
    if ((said = said_by(draft, defaults, KEY_TRANSIENT)) != NULL)
        out->transient = said->transient;
    if ((said = said_by(draft, defaults, KEY_RESUME)) != NULL)
        out->resume = said->resume;
    if ((said = said_by(draft, defaults, KEY_REPORT)) != NULL)
        out->report = said->report;
}

/* The draft over the defaults, without the texts. */
static struct job_spec merge(const struct spec_draft *draft, const struct spec_draft *defaults)
{
    struct job_spec spec = {.kind = draft->spec.kind, .immediate = true};

    merge_options(draft, defaults, &spec);
    spec.count = merged_count(draft, defaults);
    spec.rate = merged_rate(draft, defaults);
    return spec;
}

size_t spec_check(const struct spec_draft *draft, const struct spec_draft *defaults, struct spec_error *errors,
                  size_t room)
{
    struct findings f = {.list = errors, .room = room};

    if (spec_draft_has(draft, KEY_KIND)) {
        check_kind_has_keys(draft, &f);
        check_count(draft, defaults, &f);
    } else {
        find(&f, KEY_KIND, "missing; one of %s", spec_keys[KEY_KIND].values);
    }
    if (says_rate_twice(draft) || says_rate_twice(defaults))
        find(&f, KEY_INTERVAL, "rate and interval say the same thing; give one of them");
    if (f.n == 0) {
        const struct job_spec spec = merge(draft, defaults);
        check_end(&spec, &f);
    }
    return f.n;
}

int spec_from_draft(const struct spec_draft *draft, const struct spec_draft *defaults, struct job_spec *out,
                    struct spec_error *err)
{
    if (spec_check(draft, defaults, err, 1) > 0)
        return -EINVAL;
    struct job_spec borrowed = merge(draft, defaults), spec;
    merge_texts(draft, defaults, &borrowed);
    int r = spec_copy(&borrowed, &spec);
    if (r == 0)
        *out = spec;
    return r;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* A text, or that there is none. */
static uint64_t add_text(uint64_t print, const char *text)
{
    return text != NULL ? siphash((const uint64_t[2]){print, 1}, text, strlen(text))
                        : siphash((const uint64_t[2]){print, 0}, "", 0);
}

/* The keys are no secret: see digest.h. Each hash is a part of the next one's. */
uint64_t spec_print(const struct job_spec *spec)
{
    const uint64_t numbers[] = {
        spec->rate.ns,
        spec->rate.ticks,
        spec->count,
        (uint64_t)spec->delay,
        spec->report.when,
        (uint64_t)spec->report.every,
        spec->kind,
        spec->missed,
        spec->immediate,
        spec->background,
        spec->transient,
        spec->resume,
        spec->stop_on_failure,
    };
    uint64_t print = siphash((const uint64_t[2]){0, 0}, numbers, sizeof numbers);

    print = add_text(print, spec->message);
    print = add_text(print, spec->after);
    for (size_t i = 0; i < JOB_HOOKS; i++)
        print = add_text(print, spec->actions[i]);
    return print;
}

bool spec_equal(const struct job_spec *a, const struct job_spec *b)
{
    for (size_t i = 0; i < JOB_HOOKS; i++)
        if (!same_text(a->actions[i], b->actions[i]))
            return false;
    return same_text(a->name, b->name) && same_text(a->message, b->message) && same_text(a->after, b->after) &&
           a->rate.ns == b->rate.ns && a->rate.ticks == b->rate.ticks && a->count == b->count && a->delay == b->delay &&
           a->report.when == b->report.when && a->report.every == b->report.every && a->kind == b->kind &&
           a->missed == b->missed && a->immediate == b->immediate && a->background == b->background &&
           a->transient == b->transient && a->resume == b->resume && a->stop_on_failure == b->stop_on_failure;
}

/* The value of a key as spec_draft_set() takes it; NULL when it is what is built in, or the kind has none. */
static const char *value_of(const struct job_spec *spec, enum spec_key key, char *buf, size_t size)
{
    bool ticks = spec->kind != JOB_ONCE;

    switch (key) {
    case KEY_KIND:
        return job_kind_name(spec->kind);
    case KEY_COUNT:
        snprintf(buf, size, "%llu", (unsigned long long)spec->count);
        return ticks && spec->count != COUNT_FOREVER ? buf : NULL;
    case KEY_RATE:
        return ticks ? rate_format(spec->rate, buf, size) : NULL;
    case KEY_DELAY:
        return spec->delay > 0 ? span_format(spec->delay, buf, size) : NULL;
    case KEY_MISSED:
        return spec->missed != MISSED_COALESCE ? missed_policy_name(spec->missed) : NULL;
    case KEY_IMMEDIATE:
        return spec->kind == JOB_LOOP && !spec->immediate ? "no" : NULL;
    case KEY_BACKGROUND:
        return spec->background ? "yes" : NULL;
    case KEY_TRANSIENT:
        return spec->transient ? "yes" : NULL;
    case KEY_REPORT:
        return spec->report.when != REPORT_ALL ? report_rule_format(spec->report, buf, size) : NULL;
    case KEY_MESSAGE:
        return spec->message;
    case KEY_ON_TICK:
        return spec->actions[HOOK_TICK];
    case KEY_ON_FINISH:
        return spec->actions[HOOK_FINISH];
    case KEY_ON_FAILURE:
        return spec->stop_on_failure || spec->actions[HOOK_FAILURE] != NULL ? on_failure_name(spec) : NULL;
    case KEY_ON_STOP:
        return spec->actions[HOOK_STOP];
    case KEY_AFTER:
        return spec->after;
    case KEY_RESUME:
        return spec->resume ? "yes" : NULL;
    case KEY_NAME:
    case KEY_INTERVAL: // the rate says it
    case KEY_COUNT_OF_KEYS:
        break;
    }
    return NULL;
}

char *spec_format(const struct job_spec *spec, char *buf, size_t size)
{
    char text[QUANTITY_TEXT_MAX + sizeof "every "];
    struct line line = line_begin(buf, size);

    for (unsigned key = 0; key < KEY_COUNT_OF_KEYS; key++) {
        const char *value = value_of(spec, (enum spec_key)key, text, sizeof text);
        if (value == NULL)
            continue;
        line_text(&line, spec_keys[key].ini);
        line_text(&line, "=");
        line_text(&line, value);
        line_text(&line, "\n");
    }
    return buf;
}

static int parse_line(struct spec_draft *draft, char *line, struct spec_error *err)
{
    char *equals = strchr(line, '=');

    if (equals == NULL)
        return refuse(err, KEY_NAME, -EINVAL, "a line has no '='");
    *equals = '\0';
    for (unsigned key = 0; key < KEY_COUNT_OF_KEYS; key++)
        if (strcmp(spec_keys[key].ini, line) == 0)
            return spec_draft_set(draft, (enum spec_key)key, equals + 1, err);
    return refuse(err, KEY_NAME, -EINVAL, "a line has an unknown key");
}

int spec_parse(const char *text, struct job_spec *out, struct spec_error *err)
{
    char copy[SPEC_TEXT_MAX], *rest = copy, *line;
    struct spec_draft draft = {0};
    size_t len = strlen(text);
    int r = 0;

    if (len >= sizeof copy)
        return refuse(err, KEY_NAME, -EINVAL, "it is too long");
    memcpy(copy, text, len + 1);
    while (r == 0 && (line = strsep(&rest, "\n")) != NULL)
        if (line[0] != '\0')
            r = parse_line(&draft, line, err);
    if (r == 0)
        r = spec_from_draft(&draft, NULL, out, err);
    spec_draft_clear(&draft);
    return r;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct job_spec *const *)a)->name, (*(const struct job_spec *const *)b)->name);
}

void spec_sort(const struct job_spec **specs, size_t n)
{
    qsort(specs, n, sizeof(struct job_spec *), by_name);
}

const struct job_spec *spec_find(const struct job_spec *const *specs, size_t n, const char *name)
{
    const struct job_spec key = {.name = (char *)name}, *wanted = &key;
    const struct job_spec *const *found = bsearch(&wanted, specs, n, sizeof(struct job_spec *), by_name);

    return found != NULL ? *found : NULL;
}
