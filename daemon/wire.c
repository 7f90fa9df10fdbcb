#include "wire.h"

#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* `none` is the value that stands for null. */
static void put_int_or(struct emit *e, const char *key, int64_t value, int64_t none)
{
    if (value == none)
        emit_null(e, key);
    else
        emit_int(e, key, value);
}

/* A count that fits JSON's integers, or null for no end. */
static void put_count(struct emit *e, const char *key, uint64_t count)
{
    put_int_or(e, key, (int64_t)count, (int64_t)COUNT_FOREVER);
}

void wire_text(struct emit *e, const char *key, const char *text)
{
    char escaped[1024];

    if (text != NULL && !text_printable(text)) {
        text_escape(escaped, sizeof escaped, 0, text);
        text = escaped;
    }
    emit_text(e, key, text);
}

int64_t wire_usec(const struct wire_clock *clock, int64_t when)
{
    return clock->real_usec + (when - clock->now) / NSEC_PER_USEC;
}

/* The time of day at `when`, or null for never. */
static void put_usec(struct emit *e, const char *key, const struct wire_clock *clock, int64_t when)
{
    put_int_or(e, key, when == TIME_NEVER ? TIME_NEVER : wire_usec(clock, when), TIME_NEVER);
}

/* Rate and interval; null for a job of one tick. */
static void put_rate(struct emit *e, const struct job_spec *spec)
{
    char text[QUANTITY_TEXT_MAX];
    bool ticks = spec->kind != JOB_ONCE;

    emit_text(e, "rate", ticks ? rate_format(spec->rate, text, sizeof text) : NULL);
    emit_text(e, "interval", ticks ? span_format(rate_interval(spec->rate), text, sizeof text) : NULL);
}

static void put_spec(struct emit *e, const struct job_spec *spec)
{
    char text[QUANTITY_TEXT_MAX];

    put_count(e, "count", spec->count);
    put_rate(e, spec);
    emit_text(e, "delay", span_format(spec->delay, text, sizeof text));
    put_int_or(e, "intervalNsec", spec->kind != JOB_ONCE ? rate_interval(spec->rate) : TIME_NEVER, TIME_NEVER);
    emit_int(e, "delayNsec", spec->delay);
    emit_text(e, "missedPolicy", missed_policy_name(spec->missed));
    emit_bool(e, "immediate", spec->immediate);
    emit_bool(e, "background", spec->background);
    emit_bool(e, "transient", spec->transient);
    emit_text(e, "report", report_rule_format(spec->report, text, sizeof text));
    emit_text(e, "message", spec->message);
    emit_text(e, "onTick", spec->actions[HOOK_TICK]);
    emit_text(e, "onFinish", spec->actions[HOOK_FINISH]);
    emit_text(e, "onFailure", on_failure_name(spec));
    emit_text(e, "onStop", spec->actions[HOOK_STOP]);
    emit_text(e, "after", spec->after);
}

static const char *source_name(const struct job *job)
{
    return job->source == SOURCE_CONFIG ? "config" : "control";
}

void wire_job(struct emit *e, const struct job *job, const struct wire_clock *clock)
{
    const struct job_spec spec = job_spec_of(job);

    emit_open(e, NULL, '{');
    emit_int(e, "id", (int64_t)job->id);
    emit_text(e, "name", job_name(job));
    emit_text(e, "kind", job_kind_name(job_kind(job)));
    emit_text(e, "state", job_state_name(job_state_at(job, clock->now)));
    put_count(e, "left", job_left(job));
    emit_int(e, "ticks", (int64_t)job_ticks(job));
    emit_int(e, "missed", (int64_t)job->missed);
    put_spec(e, &spec);
    emit_text(e, "source", source_name(job));
    emit_int(e, "owner", job->owner);
    emit_int(e, "startUsec", wire_usec(clock, job->added));
    emit_int(e, "elapsedNsec", job_elapsed(job, clock->now));
    put_usec(e, "nextUsec", clock, job_due(job));
    put_int_or(e, "nextNsec", job_rest(job, clock->now), TIME_NEVER);
    emit_text(e, "reason", job_reason(job));
    emit_int(e, "failures", (int64_t)job_failures(job));
    emit_int(e, "skipped", (int64_t)job_skipped(job));
    emit_close(e, '}');
}

void wire_counts(struct emit *e, const char *key, const struct action_counts *counts)
{
    emit_open(e, key, '{');
    emit_int(e, "running", counts->running);
    emit_int(e, "queued", counts->queued);
    emit_int(e, "started", (int64_t)counts->started);
    emit_int(e, "failed", (int64_t)counts->failed);
    emit_int(e, "skipped", (int64_t)counts->skipped);
    emit_close(e, '}');
}

static void put_span(struct emit *e, const char *key, int64_t span)
{
    char text[QUANTITY_TEXT_MAX];

    emit_text(e, key, span_format(span, text, sizeof text));
}

/* Arguments may be secrets; who could read the configuration may have them. */
static void put_exec(struct emit *e, const struct text_list *exec, bool privileged)
{
    if (privileged)
        emit_texts(e, "exec", (const char *const *)exec->items, exec->n);
    else
        emit_null(e, "exec");
}

void wire_action(struct emit *e, const struct action *action, bool privileged)
{
    emit_open(e, NULL, '{');
    emit_text(e, "name", action->name);
    emit_text(e, "allow", action_allow_name(action->allow));
    emit_bool(e, "permitted", action_permits(action, privileged));
    put_span(e, "timeout", action->timeout);
    emit_text(e, "overlap", action_overlap_name(action->overlap));
    emit_int(e, "retry", action->retry);
    put_span(e, "backoff", action->backoff);
    put_exec(e, &action->exec, privileged);
    wire_counts(e, "runs", &action->tally->counts);
    emit_close(e, '}');
}

/* What an event tells of a job that begins: what the log's line has. */
static void put_start(struct emit *e, const struct job *job)
{
    const struct job_spec spec = job_spec_of(job);
    char text[QUANTITY_TEXT_MAX];

    put_rate(e, &spec);
    emit_text(e, "delay", job->delay > 0 ? span_format(job->delay, text, sizeof text) : NULL);
    emit_text(e, "after", job_after(job));
    emit_text(e, "source", source_name(job));
}

void wire_event(struct emit *e, const struct job *job, const struct job_event *ev, const struct wire_clock *clock)
{
    emit_open(e, "event", '{');
    emit_text(e, "event", job_event_name(ev->type));
    emit_int(e, "timeUsec", wire_usec(clock, ev->at));
    emit_text(e, "name", job_name(job));
    emit_int(e, "id", (int64_t)job->id);
    emit_text(e, "kind", job_kind_name(job_kind(job)));
    emit_text(e, "state", job_state_name(job_state_at(job, ev->at)));
    put_count(e, "count", job_count(job));
    put_count(e, "left", ev->left);
    emit_int(e, "missed", (int64_t)ev->missed);
    emit_int(e, "elapsedNsec", ev->at - job->added);
    if (ev->type == EVENT_TICK || job_kind(job) == JOB_LOOP)
        emit_int(e, "tick", (int64_t)ev->tick);
    if (ev->type == EVENT_START)
        put_start(e, job);
    if (ev->type == EVENT_TICK || ev->type == EVENT_FINISH)
        emit_int(e, "lateUsec", (ev->at - ev->due) / NSEC_PER_USEC);
    if (job_message(job) != NULL)
        emit_text(e, "message", job_message(job));
    if (ev->why != NULL)
        emit_text(e, "reason", ev->why);
    emit_close(e, '}');
}

/* What every event of the daemon or the stream begins with. */
static void begin_event(struct emit *e, const char *event, const struct wire_clock *clock)
{
    emit_open(e, "event", '{');
    emit_text(e, "event", event);
    emit_int(e, "timeUsec", clock->real_usec);
}

void wire_action_failed(struct emit *e, const struct report_run *run, const struct report_failure *failure,
                        const struct wire_clock *clock)
{
    begin_event(e, "actionFailed", clock);
    emit_text(e, "name", run->job);
    emit_int(e, "id", (int64_t)run->id);
    emit_text(e, "action", run->action);
    emit_text(e, "occasion", run->event);
    emit_text(e, "status", failure->status);
    emit_int(e, "runtimeNsec", failure->runtime);
    if (failure->attempt > 0)
        emit_int(e, "attempt", failure->attempt);
    if (failure->retry_in > 0)
        emit_int(e, "retryInNsec", failure->retry_in);
    if (failure->refused > 0)
        emit_int(e, "refused", (int64_t)failure->refused);
    if (failure->error != NULL)
        emit_text(e, "error", failure->error);
    if (failure->last_line != NULL)
        emit_text(e, "lastLine", failure->last_line);
    emit_close(e, '}');
}

void wire_ready(struct emit *e, const struct wire_clock *clock)
{
    begin_event(e, "ready", clock);
    emit_close(e, '}');
}

void wire_lost(struct emit *e, uint64_t lost, const struct wire_clock *clock)
{
    begin_event(e, "lost", clock);
    emit_int(e, "lost", (int64_t)lost);
    emit_close(e, '}');
}

void wire_exit(struct emit *e, const char *why, const struct wire_clock *clock)
{
    begin_event(e, "exit", clock);
    emit_text(e, "reason", why);
    emit_close(e, '}');
}

static const char *const type_names[] = {
    [SPEC_STRING] = "a string",
    [SPEC_INTEGER] = "an integer",
    [SPEC_BOOLEAN] = "true or false",
};

/* Enough for every value of a key that is not padded with spaces, each of its characters escaped. */
#define VALUE_ROOM (JSON_ESCAPE_MAX * MESSAGE_LEN_MAX + 8)

static bool has_type(struct skim_value value, enum spec_type type)
{
    switch (type) {
    case SPEC_STRING:
        return skim_is(value, '"');
    case SPEC_INTEGER:
        return strspn(value.text, "-0123456789") == value.len;
    case SPEC_BOOLEAN:
        return skim_is_bool(value);
    }
    return false;
}

/* The value, which has this type, as the text that the INI file would have. */
static const char *value_text(struct skim_value value, enum spec_type type, char buf[static VALUE_ROOM])
{
    switch (type) {
    case SPEC_STRING:
        return skim_text(value, buf, VALUE_ROOM);
    case SPEC_INTEGER:
        if (skim_is_word(value, "-0"))
            return "0"; // to a reader of text it would be negative
        *(char *)mempcpy(buf, value.text, value.len) = '\0';
        return buf;
    case SPEC_BOOLEAN:
        return skim_is_word(value, "true") ? "yes" : "no";
    }
    return NULL;
}

static int explain_unknown(const char *member, struct spec_error *err)
{
    struct nearest nearest;

    nearest_init(&nearest, member);
    for (unsigned i = 0; i < KEY_COUNT_ADDED; i++)
        nearest_offer(&nearest, spec_keys[i].json);
    if (nearest.best != NULL)
        return text_explain(err->why, sizeof err->why, -EINVAL, "unknown member; did you mean '%s'?", nearest.best);
    return text_explain(err->why, sizeof err->why, -EINVAL, "unknown member");
}

/* KEY_COUNT_ADDED: it is none. */
static enum spec_key find_key(struct skim_value member)
{
    unsigned key = 0;

    while (key < KEY_COUNT_ADDED && !skim_is_text(member, spec_keys[key].json))
        key++;
    return (enum spec_key)key;
}

static int set_key(struct spec_draft *draft, enum spec_key key, struct skim_value value, struct spec_error *err)
{
    const enum spec_type type = spec_keys[key].type;
    char buf[VALUE_ROOM];

    if (!has_type(value, type))
        return text_explain(err->why, sizeof err->why, -EINVAL, "is not %s", type_names[type]);
    if (value.len >= sizeof buf) // cut, it might become something that is right
        return text_explain(err->why, sizeof err->why, -EINVAL, "is too long");
    return spec_draft_set(draft, key, value_text(value, type, buf), err);
}

/* One that is null is left out, but it is there: `seen` has a bit for each key that was. */
static int set_member(struct spec_draft *draft, struct skim_value member, struct skim_value value, uint32_t *seen,
                      struct spec_error *err)
{
    const bool left_out = skim_is_word(value, "null");
    const enum spec_key key = find_key(member);
    char name[VARLINK_NAME_ROOM];

    if (key == KEY_COUNT_ADDED && !left_out)
        return explain_unknown(skim_text(member, name, sizeof name), err);
    if (key == KEY_COUNT_ADDED)
        return 0;
    if ((*seen & 1U << key) != 0)
        return text_explain(err->why, sizeof err->why, -EINVAL, "is given twice");
    *seen |= 1U << key;
    return left_out ? 0 : set_key(draft, key, value, err);
}

int wire_draft(struct skim *s, struct spec_draft *draft, char field[static VARLINK_NAME_ROOM], struct spec_error *err)
{
    struct skim_value member;
    uint32_t seen = 0;
    int r = 0;

    skim_enter(s, '{');
    while (r == 0 && skim_next_key(s, &member)) {
        r = set_member(draft, member, skim_take(s), &seen, err);
        if (r < 0)
            skim_text(member, field, VARLINK_NAME_ROOM);
    }
    return r;
}
