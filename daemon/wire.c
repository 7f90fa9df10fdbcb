#include "wire.h"

#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Members are set one after the other; the first failure sticks, and object_end() then returns NULL. */
struct object {
    json_t *json;
    int error;
};

static struct object object_begin(void)
{
    struct object o = {.json = json_object()};
    o.error = o.json == NULL ? -ENOMEM : 0;
    return o;
}

static json_t *object_end(struct object *o)
{
    if (o->error < 0) {
        json_decref(o->json);
        return NULL;
    }
    return o->json;
}

/* Keys are literals, and the texts were checked when they came in: no need to check their UTF-8 again. */
static void set(struct object *o, const char *key, json_t *value)
{
    if (json_object_set_new_nocheck(o->json, key, value) < 0)
        o->error = -ENOMEM;
}

static void set_int(struct object *o, const char *key, int64_t value)
{
    set(o, key, json_integer(value));
}

static void set_text(struct object *o, const char *key, const char *value)
{
    set(o, key, value == NULL ? json_null() : json_string_nocheck(value));
}

/* A count that fits JSON's integers, or null for no end. */
static void set_count(struct object *o, const char *key, uint64_t count)
{
    set(o, key, count == COUNT_FOREVER ? json_null() : json_integer((json_int_t)count));
}

int wire_set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new_nocheck(object, key, value) < 0 ? -ENOMEM : 0;
}

json_t *wire_text(const char *text)
{
    char escaped[1024] = "";

    if (text == NULL)
        return json_null();
    if (text_printable(text))
        return json_string(text);
    return json_stringn(escaped, text_escape(escaped, sizeof escaped, 0, text));
}

int64_t wire_usec(const struct wire_clock *clock, int64_t when)
{
    return clock->real_usec + (when - clock->now) / NSEC_PER_USEC;
}

static void set_schedule(struct object *o, const struct job_spec *spec)
{
    char text[QUANTITY_TEXT_MAX];
    bool ticks = spec->kind != JOB_ONCE;

    set_text(o, "rate", ticks ? rate_format(spec->rate, text, sizeof text) : NULL);
    set_text(o, "interval", ticks ? span_format(rate_interval(spec->rate), text, sizeof text) : NULL);
    set_text(o, "delay", span_format(spec->delay, text, sizeof text));
    set(o, "intervalNsec", ticks ? json_integer(rate_interval(spec->rate)) : json_null());
    set_int(o, "delayNsec", spec->delay);
}

static void set_spec(struct object *o, const struct job_spec *spec)
{
    char text[QUANTITY_TEXT_MAX];

    set_count(o, "count", spec->count);
    set_schedule(o, spec);
    set_text(o, "missedPolicy", missed_policy_name(spec->missed));
    set(o, "immediate", json_boolean(spec->immediate));
    set(o, "background", json_boolean(spec->background));
    set_text(o, "report", report_rule_format(spec->report, text, sizeof text));
    set_text(o, "message", spec->message);
}

static const char *source_name(const struct job *job)
{
    return job->source == SOURCE_CONFIG ? "config" : "control";
}

json_t *wire_job(const struct job *job, const struct wire_clock *clock)
{
    struct object o = object_begin();
    int64_t due = job_due(job), rest = job_rest(job, clock->now);

    set_int(&o, "id", (int64_t)job->id);
    set_text(&o, "name", job->spec.name);
    set_text(&o, "kind", job_kind_name(job->spec.kind));
    set_text(&o, "state", job_state_name(job_state_at(job, clock->now)));
    set_count(&o, "left", job_left(job));
    set_int(&o, "ticks", (int64_t)job_ticks(job));
    set_int(&o, "missed", (int64_t)job->missed);
    set_spec(&o, &job->spec);
    set_text(&o, "source", source_name(job));
    set_int(&o, "owner", job->owner);
    set_int(&o, "startUsec", wire_usec(clock, job->added));
    set_int(&o, "elapsedNsec", (job_ended(job) ? job->since : clock->now) - job->added);
    set(&o, "nextUsec", due == TIME_NEVER ? json_null() : json_integer(wire_usec(clock, due)));
    set(&o, "nextNsec", rest == TIME_NEVER ? json_null() : json_integer(rest));
    set_text(&o, "reason", job->reason);
    return object_end(&o);
}

/* What an event tells of a job that begins: what the log's line has. */
static void set_start(struct object *o, const struct job *job)
{
    char text[QUANTITY_TEXT_MAX];
    bool ticks = job->spec.kind != JOB_ONCE;

    set_text(o, "rate", ticks ? rate_format(job->spec.rate, text, sizeof text) : NULL);
    set_text(o, "interval", ticks ? span_format(rate_interval(job->spec.rate), text, sizeof text) : NULL);
    set_text(o, "delay", job->spec.delay > 0 ? span_format(job->spec.delay, text, sizeof text) : NULL);
    set_text(o, "source", source_name(job));
}

json_t *wire_event(const struct job *job, const struct job_event *ev, const struct wire_clock *clock)
{
    struct object o = object_begin();

    set_text(&o, "event", job_event_name(ev->type));
    set_int(&o, "timeUsec", wire_usec(clock, ev->at));
    set_text(&o, "name", job->spec.name);
    set_int(&o, "id", (int64_t)job->id);
    set_text(&o, "kind", job_kind_name(job->spec.kind));
    set_text(&o, "state", job_state_name(job_state_at(job, ev->at)));
    set_count(&o, "count", job->spec.count);
    set_count(&o, "left", ev->left);
    set_int(&o, "missed", (int64_t)ev->missed);
    set_int(&o, "elapsedNsec", ev->at - job->added);
    if (ev->type == EVENT_TICK || job->spec.kind == JOB_LOOP)
        set_int(&o, "tick", (int64_t)ev->tick);
    if (ev->type == EVENT_START)
        set_start(&o, job);
    if (ev->type == EVENT_TICK || ev->type == EVENT_FINISH)
        set_int(&o, "lateUsec", (ev->at - ev->due) / NSEC_PER_USEC);
    if (job->spec.message != NULL)
        set_text(&o, "message", job->spec.message);
    if (ev->why != NULL)
        set(&o, "reason", json_string(ev->why));
    return object_end(&o);
}

json_t *wire_plain_event(const char *event, const struct wire_clock *clock)
{
    struct object o = object_begin();

    set_text(&o, "event", event);
    set_int(&o, "timeUsec", clock->real_usec);
    return object_end(&o);
}

static const char *const type_names[] = {
    [SPEC_STRING] = "a string",
    [SPEC_INTEGER] = "an integer",
    [SPEC_BOOLEAN] = "true or false",
};

/* The member's value as the text that the INI file would have; NULL when it is of another type. */
static const char *value_text(const json_t *value, enum spec_type type, char *buf, size_t size)
{
    switch (type) {
    case SPEC_STRING:
        return json_string_value(value);
    case SPEC_INTEGER:
        if (!json_is_integer(value))
            return NULL;
        snprintf(buf, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return buf;
    case SPEC_BOOLEAN:
        if (!json_is_boolean(value))
            return NULL;
        return json_is_true(value) ? "yes" : "no";
    }
    return NULL;
}

static int find_key(const char *member, enum spec_key *out, struct spec_error *err)
{
    struct nearest nearest;

    nearest_init(&nearest, member);
    for (unsigned i = 0; i < KEY_COUNT_OF_KEYS; i++) {
        if (strcmp(member, spec_keys[i].json) == 0) {
            *out = (enum spec_key)i;
            return 0;
        }
        nearest_offer(&nearest, spec_keys[i].json);
    }
    if (nearest.best != NULL)
        snprintf(err->why, sizeof err->why, "unknown member; did you mean '%s'?", nearest.best);
    else
        snprintf(err->why, sizeof err->why, "unknown member");
    return -EINVAL;
}

int wire_draft(json_t *object, struct spec_draft *draft, const char **field, struct spec_error *err)
{
    const char *member;
    json_t *value;
    char number[32];

    json_object_foreach (object, member, value) {
        enum spec_key key;
        *field = member;
        if (json_is_null(value))
            continue;
        int r = find_key(member, &key, err);
        if (r < 0)
            return r;
        const char *text = value_text(value, spec_keys[key].type, number, sizeof number);
        if (text == NULL) {
            snprintf(err->why, sizeof err->why, "is not %s", type_names[spec_keys[key].type]);
            return -EINVAL;
        }
        r = spec_draft_set(draft, key, text, err);
        if (r < 0)
            return r;
    }
    return 0;
}
