/* What a job may be asked to be: keys, defaults, what is built in, and every refusal with its reason. */
#include "daemon/spec.h"
#include "daemon/text.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEYS_MAX 6

/* Keys and values as they come, one after the other; ends with a NULL value. */
struct said {
    enum spec_key key;
    const char *value;
};

/* Set each key; the first error is returned. */
static int draft_say(struct spec_draft *draft, const struct said said[], struct spec_error *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < KEYS_MAX && said[i].value != NULL; i++)
        r = spec_draft_set(draft, said[i].key, said[i].value, err);
    return r;
}

/* Draft, defaults and what comes of them; the caller clears *out. */
static int make(const struct said said[], const struct said defaults_said[], struct job_spec *out,
                struct spec_error *err)
{
    struct spec_draft draft = {0}, defaults = {0};
    int r = draft_say(&draft, said, err);

    if (r == 0 && defaults_said != NULL)
        r = draft_say(&defaults, defaults_said, err);
    if (r == 0)
        r = spec_from_draft(&draft, defaults_said != NULL ? &defaults : NULL, out, err);
    spec_draft_clear(&draft);
    spec_draft_clear(&defaults);
    return r;
}

static void make_well(const struct said said[], const struct said defaults[], struct job_spec *out)
{
    struct spec_error err;

    if (make(said, defaults, out, &err) != 0)
        fail_msg("%s: %s", spec_keys[err.key].ini, err.why);
}

static void what_is_built_in(void **state)
{
    static const struct said loop[] = {{KEY_KIND, "loop"}, {KEY_NAME, NULL}};
    static const struct said once[] = {{KEY_KIND, "once"}, {KEY_NAME, NULL}};
    struct job_spec spec;
    (void)state;

    make_well(loop, NULL, &spec);
    assert_null(spec.name);
    assert_null(spec.message);
    assert_true(spec.rate.ns == (uint64_t)NSEC_PER_SEC && spec.rate.ticks == 1);
    assert_true(spec.count == COUNT_FOREVER);
    assert_int_equal(spec.delay, 0);
    assert_int_equal(spec.report.when, REPORT_ALL);
    assert_int_equal(spec.kind, JOB_LOOP);
    assert_int_equal(spec.missed, MISSED_COALESCE);
    assert_true(spec.immediate);
    assert_false(spec.background);
    spec_clear(&spec);
    make_well(once, NULL, &spec);
    assert_int_equal(spec.count, 1);
    spec_clear(&spec);
}

static void every_key_is_read(void **state)
{
    static const struct said said[][KEYS_MAX] = {
        {{KEY_KIND, "loop"}, {KEY_NAME, "tea"}, {KEY_COUNT, "5"}, {KEY_RATE, "30/min"}, {KEY_DELAY, "1min 30s"}},
        {{KEY_KIND, "loop"}, {KEY_MISSED, "burst"}, {KEY_IMMEDIATE, "no"}, {KEY_BACKGROUND, "yes"}},
        {{KEY_KIND, "countdown"}, {KEY_COUNT, "0"}, {KEY_INTERVAL, "26h"}, {KEY_MESSAGE, "brew \u2615"}},
    };
    struct job_spec spec;
    (void)state;

    make_well(said[0], NULL, &spec);
    assert_string_equal(spec.name, "tea");
    assert_int_equal(spec.count, 5);
    assert_true(spec.rate.ns == 2 * (uint64_t)NSEC_PER_SEC && spec.rate.ticks == 1);
    assert_int_equal(spec.delay, 90 * NSEC_PER_SEC);
    spec_clear(&spec);
    make_well(said[1], NULL, &spec);
    assert_int_equal(spec.missed, MISSED_BURST);
    assert_false(spec.immediate);
    assert_true(spec.background);
    spec_clear(&spec);
    make_well(said[2], NULL, &spec);
    assert_int_equal(spec.kind, JOB_COUNTDOWN);
    assert_int_equal(spec.count, 0);
    assert_int_equal(rate_interval(spec.rate), 26 * 3600 * NSEC_PER_SEC);
    assert_string_equal(spec.message, "brew \u2615");
    spec_clear(&spec);
    assert_null(spec.message);
}

static void report_rules_survive_the_round_trip(void **state)
{
    static const struct {
        const char *text;
        struct report_rule rule;
        const char *shown;
    } rows[] = {
        {"all", {REPORT_ALL, 0}, "all"},
        {"none", {REPORT_NONE, 0}, "none"},
        {"every 6", {REPORT_EVERY_N, 6}, "every 6"},
        {"every 9007199254740992", {REPORT_EVERY_N, (int64_t)COUNT_MAX}, "every 9007199254740992"},
        {"every 6s", {REPORT_EVERY_SPAN, 6 * NSEC_PER_SEC}, "every 6s"},
        {"every 90s", {REPORT_EVERY_SPAN, 90 * NSEC_PER_SEC}, "every 1min 30s"},
        {"every 0.5", {REPORT_EVERY_SPAN, NSEC_PER_SEC / 2}, "every 500ms"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct spec_draft draft = {0};
        struct spec_error err;
        char shown[QUANTITY_TEXT_MAX + 8];
        const char *const texts[] = {rows[i].text, rows[i].shown};
        for (size_t t = 0; t < ARRAY_SIZE(texts); t++) {
            assert_int_equal(spec_draft_set(&draft, KEY_REPORT, texts[t], &err), 0);
            assert_int_equal(draft.spec.report.when, rows[i].rule.when);
            assert_int_equal(draft.spec.report.every, rows[i].rule.every);
            assert_string_equal(report_rule_format(draft.spec.report, shown, sizeof shown), rows[i].shown);
        }
    }
}

static void bad_values_are_refused_with_a_reason(void **state)
{
    static const struct {
        enum spec_key key;
        const char *value;
        int error;
        const char *why;
    } rows[] = {
        {KEY_NAME, "-tea", -EINVAL,
         "'-tea' is not a name: letters, digits, '.', '_' and '-', at most 40, the first a letter or digit"},
        {KEY_NAME, "", -EINVAL,
         "'' is not a name: letters, digits, '.', '_' and '-', at most 40, the first a letter or digit"},
        {KEY_KIND, "cuontdown", -EINVAL, "'cuontdown' is unknown; did you mean 'countdown'?"},
        {KEY_KIND, "timer", -EINVAL, "'timer' is not one of countdown|loop|once"},
        {KEY_KIND, "", -EINVAL, "'' is not one of countdown|loop|once"},
        {KEY_MISSED, "brust", -EINVAL, "'brust' is unknown; did you mean 'burst'?"},
        {KEY_COUNT, "-5", -ERANGE, "'-5' is negative"},
        {KEY_COUNT, "5.0", -EINVAL, "'5.0' is not a whole number"},
        {KEY_COUNT, "9007199254740993", -ERANGE, "'9007199254740993' is too large"},
        {KEY_RATE, "0", -ERANGE, "'0' is zero"},
        {KEY_RATE, "2s", -EINVAL, "'2s' is a time span, not a rate; did you mean interval?"},
        {KEY_RATE, "nan", -ERANGE, "'nan' is not a number"},
        {KEY_INTERVAL, "0", -ERANGE, "'0' is zero"},
        {KEY_INTERVAL, "-1s", -ERANGE, "'-1s' is negative"},
        {KEY_INTERVAL, "0.1ns", -ERANGE, "'0.1ns' is finer than a nanosecond"},
        {KEY_DELAY, "200y", -ERANGE, "'200y' is longer than 146 years"},
        {KEY_IMMEDIATE, "maybe", -EINVAL, "'maybe' is neither yes nor no"},
        {KEY_BACKGROUND, "", -EINVAL, "'' is neither yes nor no"},
        {KEY_REPORT, "every", -EINVAL, "'every' is not one of all, none, every N, every SPAN"},
        {KEY_REPORT, "some", -EINVAL, "'some' is not one of all, none, every N, every SPAN"},
        {KEY_REPORT, "every 0", -ERANGE, "'every 0' is zero"},
        {KEY_REPORT, "every 0s", -ERANGE, "'every 0s' is zero"},
        {KEY_REPORT, "every day", -EINVAL, "'every day' is not a time span such as 500ms, 2s or 1min 30s"},
        {KEY_MESSAGE, "two\nlines", -EINVAL, "'two\\x0alines' is not UTF-8 text without control characters"},
        {KEY_MESSAGE, "\xff", -EINVAL, "'\\xff' is not UTF-8 text without control characters"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct spec_draft draft = {0};
        struct spec_error err = {KEY_COUNT_OF_KEYS, ""};
        int r = spec_draft_set(&draft, rows[i].key, rows[i].value, &err);
        if (r != rows[i].error || err.key != rows[i].key || strcmp(err.why, rows[i].why) != 0)
            fail_msg("%s = '%s': %d, %s", spec_keys[rows[i].key].ini, rows[i].value, r, err.why);
        assert_false(spec_draft_has(&draft, rows[i].key));
        spec_draft_clear(&draft);
    }
}

/* A value of any length fits into the reason, cut between two characters. */
static void long_values_are_cut_in_the_reason(void **state)
{
    char value[600];
    (void)state;

    memset(value, '\n', sizeof value);
    for (size_t len = 0; len < sizeof value; len++) {
        struct spec_draft draft = {0};
        struct spec_error err;
        value[len] = '\0';
        for (enum spec_key key = 0; key < KEY_COUNT_OF_KEYS; key++)
            if (key < KEY_ON_TICK ? key != KEY_MESSAGE || (len != 0 && len <= 256) : len > 0) // else it is right
                assert_true(spec_draft_set(&draft, key, value, &err) < 0);
        assert_true(text_printable(err.why));
        value[len] = '\n';
    }
}

static void a_message_has_a_bound(void **state)
{
    char text[MESSAGE_LEN_MAX + 2];
    struct spec_draft draft = {0};
    struct spec_error err;
    (void)state;

    memset(text, 'm', sizeof text);
    text[MESSAGE_LEN_MAX + 1] = '\0';
    assert_int_equal(spec_draft_set(&draft, KEY_MESSAGE, text, &err), -ERANGE);
    assert_non_null(strstr(err.why, "' is longer than 256 bytes"));
    text[MESSAGE_LEN_MAX] = '\0';
    assert_int_equal(spec_draft_set(&draft, KEY_MESSAGE, text, &err), 0);
    spec_draft_clear(&draft);
}

static void a_key_may_be_said_again(void **state)
{
    static const struct said said[] = {{KEY_KIND, "once"}, {KEY_KIND, "loop"},   {KEY_NAME, "a"},
                                       {KEY_NAME, "b"},    {KEY_MESSAGE, "old"}, {KEY_MESSAGE, "new"}};
    struct job_spec spec;
    (void)state;

    make_well(said, NULL, &spec);
    assert_int_equal(spec.kind, JOB_LOOP);
    assert_string_equal(spec.name, "b");
    assert_string_equal(spec.message, "new");
    spec_clear(&spec);
}

static void a_whole_that_makes_no_sense_is_refused(void **state)
{
    static const struct {
        struct said said[KEYS_MAX];
        enum spec_key key;
        int error;
        const char *why;
    } rows[] = {
        {{{KEY_NAME, "tea"}}, KEY_KIND, -EINVAL, "missing; one of countdown|loop|once"},
        {{{KEY_KIND, "countdown"}}, KEY_COUNT, -EINVAL, "missing; a countdown needs the number of its ticks"},
        {{{KEY_KIND, "loop"}, {KEY_COUNT, "0"}},
         KEY_COUNT,
         -EINVAL,
         "a loop ticks at least once; leave it out for a loop without end"},
        {{{KEY_KIND, "loop"}, {KEY_RATE, "1"}, {KEY_INTERVAL, "1s"}},
         KEY_INTERVAL,
         -EINVAL,
         "rate and interval say the same thing; give one of them"},
        {{{KEY_KIND, "once"}, {KEY_COUNT, "1"}}, KEY_COUNT, -EINVAL, "a once job has no count"},
        {{{KEY_KIND, "once"}, {KEY_RATE, "1"}}, KEY_RATE, -EINVAL, "a once job has no rate"},
        {{{KEY_KIND, "once"}, {KEY_INTERVAL, "1"}}, KEY_INTERVAL, -EINVAL, "a once job has no interval"},
        {{{KEY_KIND, "once"}, {KEY_IMMEDIATE, "yes"}}, KEY_IMMEDIATE, -EINVAL, "a once job has no immediate"},
        {{{KEY_KIND, "countdown"}, {KEY_COUNT, "1"}, {KEY_IMMEDIATE, "yes"}},
         KEY_IMMEDIATE,
         -EINVAL,
         "a countdown job has no immediate"},
        {{{KEY_KIND, "countdown"}, {KEY_COUNT, "147"}, {KEY_RATE, "1/y"}},
         KEY_COUNT,
         -EINVAL,
         "the job would take longer than 146 years"},
        {{{KEY_KIND, "countdown"}, {KEY_COUNT, "146"}, {KEY_RATE, "1/y"}, {KEY_DELAY, "1y"}},
         KEY_COUNT,
         -EINVAL,
         "the job would take longer than 146 years"},
        {{{KEY_KIND, "loop"}, {KEY_RATE, "1/100y"}, {KEY_DELAY, "100y"}},
         KEY_COUNT,
         -EINVAL,
         "the job would take longer than 146 years"},
        {{{KEY_KIND, "countdown"}, {KEY_COUNT, "9007199254740992"}, {KEY_RATE, "1/y"}},
         KEY_COUNT,
         -EINVAL,
         "the job would take longer than 146 years"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct job_spec spec = {.count = 42};
        struct spec_error err = {KEY_COUNT_OF_KEYS, ""};
        int r = make(rows[i].said, NULL, &spec, &err);
        if (r != rows[i].error || err.key != rows[i].key || strcmp(err.why, rows[i].why) != 0)
            fail_msg("row %zu: %d, %s", i, r, err.why);
        assert_int_equal(spec.count, 42);
    }
}

static void all_mistakes_are_found(void **state)
{
    struct spec_draft draft = {0};
    struct spec_error errors[KEY_COUNT_OF_KEYS];
    (void)state;

    assert_int_equal(spec_draft_set(&draft, KEY_COUNT, "1", errors), 0);
    assert_int_equal(spec_draft_set(&draft, KEY_RATE, "1", errors), 0);
    assert_int_equal(spec_draft_set(&draft, KEY_INTERVAL, "1s", errors), 0);
    assert_int_equal(spec_check(&draft, NULL, errors, 1), 2); // more than there is room for
    assert_int_equal(spec_check(&draft, NULL, errors, KEY_COUNT_OF_KEYS), 2);
    assert_int_equal(errors[0].key, KEY_KIND);
    assert_int_equal(errors[1].key, KEY_INTERVAL);
    assert_int_equal(spec_draft_set(&draft, KEY_KIND, "once", errors), 0);
    assert_int_equal(spec_draft_set(&draft, KEY_IMMEDIATE, "no", errors), 0);
    assert_int_equal(spec_check(&draft, NULL, errors, KEY_COUNT_OF_KEYS), 5);
    assert_int_equal(errors[3].key, KEY_IMMEDIATE);
    assert_string_equal(errors[3].why, "a once job has no immediate");
    spec_draft_clear(&draft);
}

/* The longest jobs that are allowed, to the nanosecond. */
static void the_longest_job_is_taken(void **state)
{
    static const struct said longest[] = {{KEY_KIND, "countdown"},
                                          {KEY_COUNT, "1"},
                                          {KEY_INTERVAL, "4611686018427387902ns"},
                                          {KEY_DELAY, "1ns"},
                                          {KEY_NAME, NULL}};
    static const struct said longer[] = {{KEY_KIND, "countdown"},
                                         {KEY_COUNT, "1"},
                                         {KEY_INTERVAL, "4611686018427387902ns"},
                                         {KEY_DELAY, "2ns"},
                                         {KEY_NAME, NULL}};
    struct job_spec spec;
    struct spec_error err;
    (void)state;

    make_well(longest, NULL, &spec);
    spec_clear(&spec);
    assert_int_equal(make(longer, NULL, &spec, &err), -EINVAL);
}

static void defaults_fill_what_is_not_said(void **state)
{
    static const struct said defaults[] = {{KEY_COUNT, "7"},      {KEY_RATE, "2"},       {KEY_DELAY, "3s"},
                                           {KEY_MISSED, "delay"}, {KEY_IMMEDIATE, "no"}, {KEY_MESSAGE, "default"}};
    static const struct said more_defaults[] = {{KEY_BACKGROUND, "yes"}, {KEY_REPORT, "none"}, {KEY_NAME, NULL}};
    static const struct said loop[] = {{KEY_KIND, "loop"}, {KEY_NAME, NULL}};
    static const struct said own[] = {{KEY_KIND, "loop"}, {KEY_COUNT, "8"},       {KEY_INTERVAL, "9s"},
                                      {KEY_DELAY, "0"},   {KEY_IMMEDIATE, "yes"}, {KEY_MESSAGE, ""}};
    static const struct said own_flags[] = {
        {KEY_KIND, "loop"}, {KEY_BACKGROUND, "no"}, {KEY_REPORT, "all"}, {KEY_NAME, NULL}};
    struct job_spec spec;
    (void)state;

    make_well(loop, defaults, &spec);
    assert_int_equal(spec.count, 7);
    assert_int_equal(rate_interval(spec.rate), NSEC_PER_SEC / 2);
    assert_int_equal(spec.delay, 3 * NSEC_PER_SEC);
    assert_int_equal(spec.missed, MISSED_DELAY);
    assert_false(spec.immediate);
    assert_string_equal(spec.message, "default");
    spec_clear(&spec);

    make_well(own, defaults, &spec);
    assert_int_equal(spec.count, 8);
    assert_int_equal(rate_interval(spec.rate), 9 * NSEC_PER_SEC);
    assert_int_equal(spec.delay, 0);
    assert_true(spec.immediate);
    assert_null(spec.message); // an empty one takes the default away
    spec_clear(&spec);

    make_well(loop, more_defaults, &spec);
    assert_true(spec.background && spec.report.when == REPORT_NONE);
    spec_clear(&spec);
    make_well(own_flags, more_defaults, &spec);
    assert_false(spec.background || spec.report.when == REPORT_NONE);
    spec_clear(&spec);
}

/* What a kind does not have is no mistake in the defaults, and changes nothing. */
static void defaults_that_do_not_fit_are_passed_over(void **state)
{
    static const struct said defaults[] = {
        {KEY_COUNT, "7"}, {KEY_INTERVAL, "2h"}, {KEY_IMMEDIATE, "no"}, {KEY_NAME, NULL}};
    static const struct said once[] = {{KEY_KIND, "once"}, {KEY_NAME, NULL}};
    static const struct said countdown[] = {{KEY_KIND, "countdown"}, {KEY_COUNT, "3"}, {KEY_NAME, NULL}};
    struct job_spec with, without;
    (void)state;

    make_well(once, defaults, &with);
    make_well(once, NULL, &without);
    assert_int_equal(with.count, 1);
    assert_true(spec_equal(&with, &without));
    make_well(countdown, defaults, &with);
    assert_true(with.immediate);
    assert_int_equal(with.count, 3);
}

static void a_difference_anywhere_is_seen(void **state)
{
    static const struct said base[] = {{KEY_KIND, "loop"}, {KEY_NAME, "tea"}, {KEY_MESSAGE, "m"}, {KEY_NAME, NULL}};
    static const struct said changes[] = {
        {KEY_NAME, "teb"},      {KEY_COUNT, "5"},        {KEY_RATE, "2"},          {KEY_RATE, "1/2s"},
        {KEY_INTERVAL, "2s"},   {KEY_DELAY, "1ns"},      {KEY_MISSED, "burst"},    {KEY_IMMEDIATE, "no"},
        {KEY_BACKGROUND, "on"}, {KEY_REPORT, "every 6"}, {KEY_REPORT, "every 6s"}, {KEY_MESSAGE, "n"},
        {KEY_MESSAGE, ""},      {KEY_ON_TICK, "x"},      {KEY_ON_FINISH, "x"},     {KEY_ON_FAILURE, "x"},
        {KEY_ON_STOP, "x"},     {KEY_AFTER, "x"},        {KEY_ON_FAILURE, "stop"}, {KEY_TRANSIENT, "yes"},
        {KEY_RESUME, "yes"},
    };
    struct job_spec a, b;
    (void)state;

    make_well(base, NULL, &a);
    make_well(base, NULL, &b);
    assert_true(spec_equal(&a, &b));
    spec_clear(&b);
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        const struct said said[] = {base[0], base[1], base[2], changes[i], {KEY_NAME, NULL}};
        make_well(said, NULL, &b);
        if (spec_equal(&a, &b) || spec_equal(&b, &a))
            fail_msg("%s = %s makes no difference", spec_keys[changes[i].key].ini, changes[i].value);
        if (changes[i].key != KEY_NAME && spec_print(&a) == spec_print(&b))
            fail_msg("%s = %s makes no difference to the print", spec_keys[changes[i].key].ini, changes[i].value);
        spec_clear(&b);
    }
    assert_int_equal(spec_copy(&a, &b), 0);
    assert_true(spec_print(&a) == spec_print(&b));
    b.kind = JOB_COUNTDOWN;
    assert_false(spec_equal(&a, &b) || spec_print(&a) == spec_print(&b));
    b.kind = a.kind;
    free(b.name);
    b.name = NULL;
    assert_false(spec_equal(&a, &b) || spec_equal(&b, &a));
    assert_true(spec_equal(&b, &b));
    spec_clear(&a);
    spec_clear(&b);
}

/* What is kept of a spec makes the same one again, to the nanosecond. */
static void a_spec_as_text_is_the_same(void **state)
{
    static const struct said said[][KEYS_MAX] = {
        {{KEY_KIND, "loop"}},
        {{KEY_KIND, "loop"}, {KEY_COUNT, "9007199254740992"}, {KEY_RATE, "123456789"}, {KEY_IMMEDIATE, "no"}},
        {{KEY_KIND, "countdown"}, {KEY_COUNT, "0"}, {KEY_INTERVAL, "333333333ns"}, {KEY_MISSED, "delay"}},
        {{KEY_KIND, "once"}, {KEY_DELAY, "1d 2h 3ns"}, {KEY_BACKGROUND, "yes"}, {KEY_TRANSIENT, "yes"}},
        {{KEY_KIND, "loop"}, {KEY_REPORT, "every 6s"}, {KEY_MISSED, "burst"}, {KEY_MESSAGE, "a=b \"c\" \\"}},
        {{KEY_KIND, "loop"}, {KEY_REPORT, "every 6"}, {KEY_RATE, "1/3s"}, {KEY_RESUME, "yes"}},
        {{KEY_KIND, "loop"}, {KEY_ON_TICK, "a"}, {KEY_ON_FINISH, "b"}, {KEY_ON_STOP, "c"}, {KEY_ON_FAILURE, "d"}},
        {{KEY_KIND, "loop"}, {KEY_AFTER, "tea"}, {KEY_ON_FAILURE, "stop"}},
    };
    struct spec_error err;
    char text[SPEC_TEXT_MAX];
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(said); i++) {
        struct job_spec a, b;
        make_well(said[i], NULL, &a);
        assert_int_equal(spec_parse(spec_format(&a, text, sizeof text), &b, &err), 0);
        if (!spec_equal(&a, &b))
            fail_msg("is not the same again: %s", text);
        spec_clear(&a);
        spec_clear(&b);
    }
}

static void text_that_is_no_spec_is_refused(void **state)
{
    static const char *const texts[] = {"", "kind", "kind=loop\ncolor=red\n", "kind=loop\nrate=0\n", "count=5\n"};
    struct job_spec spec;
    struct spec_error err;
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        int r = spec_parse(texts[i], &spec, &err);
        if (r != -EINVAL && r != -ERANGE)
            fail_msg("is taken: %s", texts[i]);
    }
}

static void actions_are_names_or_words(void **state)
{
    static const struct said defaults[] = {
        {KEY_ON_FAILURE, "stop"}, {KEY_ON_TICK, "a"}, {KEY_ON_STOP, "b"}, {KEY_NAME, NULL}};
    static const struct said none[] = {{KEY_KIND, "loop"}, {KEY_NAME, NULL}};
    static const struct said own[] = {
        {KEY_KIND, "loop"}, {KEY_ON_FAILURE, "continue"}, {KEY_ON_TICK, ""}, {KEY_ON_STOP, "c"}, {KEY_NAME, NULL}};
    static const struct said once[] = {{KEY_KIND, "once"}, {KEY_ON_FAILURE, "mend"}, {KEY_NAME, NULL}};
    struct job_spec spec;
    (void)state;

    make_well(none, defaults, &spec);
    assert_string_equal(on_failure_name(&spec), "stop");
    assert_string_equal(spec.actions[HOOK_TICK], "a");
    spec_clear(&spec);
    make_well(own, defaults, &spec);
    assert_string_equal(on_failure_name(&spec), "continue");
    assert_null(spec.actions[HOOK_TICK]);
    assert_string_equal(spec.actions[HOOK_STOP], "c");
    spec_clear(&spec);
    make_well(once, defaults, &spec);
    assert_string_equal(on_failure_name(&spec), "mend");
    assert_false(spec.stop_on_failure);
    assert_null(spec.actions[HOOK_TICK]); // a once job has none
    spec_clear(&spec);
}

static void the_same_job_said_differently_is_the_same(void **state)
{
    static const struct said one[] = {{KEY_KIND, "loop"}, {KEY_RATE, "30/min"}, {KEY_DELAY, "90s"}, {KEY_NAME, NULL}};
    static const struct said other[] = {
        {KEY_KIND, "loop"}, {KEY_INTERVAL, "2000ms"}, {KEY_DELAY, "1min 30"}, {KEY_NAME, NULL}};
    struct job_spec a, b;
    (void)state;

    make_well(one, NULL, &a);
    make_well(other, NULL, &b);
    assert_true(spec_equal(&a, &b));
}

static void a_copy_owns_its_texts(void **state)
{
    static const struct said said[] = {
        {KEY_KIND, "once"}, {KEY_NAME, "tea"}, {KEY_MESSAGE, "hot"}, {KEY_ON_STOP, "page"}, {KEY_NAME, NULL}};
    struct job_spec spec, copy, bare = {.kind = JOB_ONCE};
    (void)state;

    make_well(said, NULL, &spec);
    assert_int_equal(spec_copy(&spec, &copy), 0);
    assert_true(spec_equal(&spec, &copy));
    assert_ptr_not_equal(spec.name, copy.name);
    spec_clear(&spec);
    assert_string_equal(copy.name, "tea");
    assert_string_equal(copy.message, "hot");
    assert_string_equal(copy.actions[HOOK_STOP], "page");
    spec_clear(&copy);
    assert_int_equal(spec_copy(&bare, &copy), 0);
    assert_true(spec_equal(&bare, &copy));
}

static void every_key_is_described(void **state)
{
    (void)state;
    for (enum spec_key key = 0; key < KEY_COUNT_OF_KEYS; key++) {
        assert_non_null(spec_keys[key].ini);
        assert_non_null(spec_keys[key].json);
        assert_non_null(spec_keys[key].values);
    }
    assert_string_equal(job_kind_name(JOB_COUNTDOWN), "countdown");
    assert_string_equal(job_kind_name(JOB_LOOP), "loop");
    assert_string_equal(job_kind_name(JOB_ONCE), "once");
    assert_string_equal(missed_policy_name(MISSED_COALESCE), "coalesce");
    assert_string_equal(missed_policy_name(MISSED_DELAY), "delay");
    assert_string_equal(missed_policy_name(MISSED_BURST), "burst");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_built_in),
        cmocka_unit_test(every_key_is_read),
        cmocka_unit_test(report_rules_survive_the_round_trip),
        cmocka_unit_test(bad_values_are_refused_with_a_reason),
        cmocka_unit_test(long_values_are_cut_in_the_reason),
        cmocka_unit_test(a_message_has_a_bound),
        cmocka_unit_test(a_key_may_be_said_again),
        cmocka_unit_test(a_whole_that_makes_no_sense_is_refused),
        cmocka_unit_test(all_mistakes_are_found),
        cmocka_unit_test(the_longest_job_is_taken),
        cmocka_unit_test(defaults_fill_what_is_not_said),
        cmocka_unit_test(defaults_that_do_not_fit_are_passed_over),
        cmocka_unit_test(a_difference_anywhere_is_seen),
        cmocka_unit_test(a_spec_as_text_is_the_same),
        cmocka_unit_test(text_that_is_no_spec_is_refused),
        cmocka_unit_test(actions_are_names_or_words),
        cmocka_unit_test(the_same_job_said_differently_is_the_same),
        cmocka_unit_test(a_copy_owns_its_texts),
        cmocka_unit_test(every_key_is_described),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
