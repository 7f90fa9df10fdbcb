/*
 * spec - what a user asks a job to be: its keys, their parsing, defaults, validity and comparison.
 *
 * Pure. The INI file, the control socket and twistyctl name the same keys with the same words and the same values;
 * this is the one place that reads them. A draft collects keys as they come; spec_from_draft() lays it over the
 * defaults, checks it as a whole and makes the spec.
 */
#ifndef TWISTY_SPEC_H
#define TWISTY_SPEC_H

#include "quantity.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest message, in bytes. */
#define MESSAGE_LEN_MAX 256

/* More ticks than this cannot be asked for: every count is exact in a JSON number. */
#define COUNT_MAX (UINT64_C(1) << 53)

/* The count of a loop that goes on until it is stopped. */
#define COUNT_FOREVER UINT64_MAX

enum job_kind { JOB_COUNTDOWN, JOB_LOOP, JOB_ONCE };

/* What becomes of ticks whose time has passed: see twistyd.conf(5), "Missed ticks". */
enum missed_policy { MISSED_COALESCE, MISSED_DELAY, MISSED_BURST };

/* Which ticks are written to the log. */
struct report_rule {
    enum report_when { REPORT_ALL, REPORT_NONE, REPORT_EVERY_N, REPORT_EVERY_SPAN } when;
    int64_t every; // ticks for REPORT_EVERY_N, nanoseconds for REPORT_EVERY_SPAN
};

/* The events of a job that an action can be run for: the keys on-tick and so on. */
enum job_hook { HOOK_TICK, HOOK_FINISH, HOOK_FAILURE, HOOK_STOP, JOB_HOOKS };

/*
 * What is asked of a job. It is how a job is made, compared and given back (job_init(), job_spec_of()); the job itself
 * keeps it in less space. A new key has a member here, an enum spec_key with its words in spec_keys[], and a line in
 * spec_draft_set() and in its reverse, value_of(), in what merges a draft with its defaults, in spec_equal() and
 * spec_print(), and if it owns a text in spec_copy() and spec_clear(). A job then has it in its traits without a line
 * more; job.h says where else something could go.
 */
struct job_spec {
    char *name;               // owned; NULL: the daemon makes one
    char *message;            // owned; NULL: none
    char *after;              // owned; the job whose finish starts this one; NULL: none
    char *actions[JOB_HOOKS]; // owned; the actions' names; NULL: none
    struct rate rate;
    uint64_t count; // ticks; COUNT_FOREVER for a loop without end; 1 for once
    int64_t delay;  // ns
    struct report_rule report;
    enum job_kind kind;
    enum missed_policy missed;
    bool immediate;
    bool background;
    bool transient;       // not kept over a restart
    bool resume;          // of a configured job: kept over a restart
    bool stop_on_failure; // of an action
};

enum spec_key {
    KEY_NAME,
    KEY_KIND,
    KEY_COUNT,
    KEY_RATE,
    KEY_INTERVAL,
    KEY_DELAY,
    KEY_MISSED,
    KEY_IMMEDIATE,
    KEY_BACKGROUND,
    KEY_TRANSIENT,
    KEY_REPORT,
    KEY_MESSAGE,
    KEY_ON_TICK,
    KEY_ON_FINISH,
    KEY_ON_FAILURE,
    KEY_ON_STOP,
    KEY_AFTER,
    KEY_RESUME, // from here on only in the configuration
    KEY_COUNT_OF_KEYS,
};

/* How many keys a job has that is added to a running daemon. */
#define KEY_COUNT_ADDED KEY_RESUME

/* How a key's value travels in JSON; in text it is always a string. */
enum spec_type { SPEC_STRING, SPEC_INTEGER, SPEC_BOOLEAN };

struct spec_key_info {
    const char *ini;    // "background": in the INI file and as a twistyctl option
    const char *json;   // the same in camelCase
    const char *values; // for help: what it takes
    enum spec_type type;
    bool in_defaults; // may stand in [defaults]
};

extern const struct spec_key_info spec_keys[KEY_COUNT_OF_KEYS];

/* What has been said of a job so far. Zero-initialised is empty. */
struct spec_draft {
    struct job_spec spec;
    uint32_t given; // a bit for each enum spec_key
};

/* What is wrong with a draft: the key, and a phrase that says why. */
struct spec_error {
    enum spec_key key;
    char why[256];
};

const char *job_kind_name(enum job_kind kind);

/* The event's word in the log and in TWISTY_EVENT, "tick"; the key that names its action. */
const char *job_hook_name(enum job_hook hook);
enum spec_key job_hook_key(enum job_hook hook);

/* What the key on-failure says, "continue", "stop" or an action. */
const char *on_failure_name(const struct job_spec *spec);

const char *missed_policy_name(enum missed_policy policy);

/* As the key report says it; in buf, where it is not a word. */
const char *report_rule_format(struct report_rule rule, char *buf, size_t size);

/* Does a job of this kind have this key? */
bool spec_kind_has(enum job_kind kind, enum spec_key key);

/* Set a key from its text. 0, -EINVAL or -ERANGE with *err filled in, -ENOMEM. A key may be set again. */
int spec_draft_set(struct spec_draft *draft, enum spec_key key, const char *value, struct spec_error *err);

/* Was this key set? */
bool spec_draft_has(const struct spec_draft *draft, enum spec_key key);

void spec_draft_clear(struct spec_draft *draft);

/*
 * What is wrong with the draft, laid over `defaults` (NULL for none) and over what is built in, as a whole: exactly
 * one of rate and interval, a count where the kind needs one, keys that the kind has, an end within SPAN_MAX. Returns
 * how many mistakes there are, the first `room` of them in errors[].
 */
size_t spec_check(const struct spec_draft *draft, const struct spec_draft *defaults, struct spec_error *errors,
                  size_t room);

/* Make the spec of a draft and its defaults. Copies what it keeps. 0; -EINVAL with its first mistake; -ENOMEM. */
int spec_from_draft(const struct spec_draft *draft, const struct spec_draft *defaults, struct job_spec *out,
                    struct spec_error *err);

/* Enough for every spec_format(). */
#define SPEC_TEXT_MAX 1024

/*
 * All of the spec but its name as text: a line "key=value" for each key that is not what is built in. What
 * spec_parse() makes of it is equal, but for the name. Returns buf.
 */
char *spec_format(const struct job_spec *spec, char *buf, size_t size);

/* 0; -EINVAL with what is wrong; -ENOMEM. */
int spec_parse(const char *text, struct job_spec *out, struct spec_error *err);

/* Would the two make the same job, name included? */
bool spec_equal(const struct job_spec *a, const struct job_spec *b);

/* A hash of all that spec_equal() compares but the name: two specs of one name have the same when they are equal. */
uint64_t spec_print(const struct job_spec *spec);

/* A copy that owns its texts. 0 or -ENOMEM, with nothing to free. */
int spec_copy(const struct job_spec *spec, struct job_spec *out);

/* Free what the spec owns and zero it. */
void spec_clear(struct job_spec *spec);

/* Put specs that have names in the order of these; find one among them, or NULL. */
void spec_sort(const struct job_spec **specs, size_t n);
const struct job_spec *spec_find(const struct job_spec *const *specs, size_t n, const char *name);

#endif
