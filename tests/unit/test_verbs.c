/* The command line: where options may stand, what is a mistake and what it is told, and that the tables agree. */
#include "ctl/say.h"
#include "ctl/verbs.h"
#include "daemon/job.h"
#include "daemon/text.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define WORDS_MAX 16

/* A command line as words with a space between; '~' stands for a space within a word, and "" for an empty word. */
struct words {
    char text[256];
    char *argv[WORDS_MAX];
    int argc;
};

static struct words *split(struct words *w, const char *line)
{
    char *rest = w->text, *word;

    snprintf(w->text, sizeof w->text, "%s", line);
    w->argc = 0;
    while ((word = strsep(&rest, " ")) != NULL) {
        if (*word == '\0')
            continue;
        for (char *c = word; *c != '\0'; c++)
            if (*c == '~')
                *c = ' ';
        assert_true(w->argc < WORDS_MAX);
        w->argv[w->argc++] = strcmp(word, "\"\"") == 0 ? word + 2 : word;
    }
    return w;
}

static void parse(struct words *w, const char *line, struct invocation *inv)
{
    char why[USAGE_ERROR_MAX] = "";

    split(w, line);
    if (verbs_parse(w->argc, w->argv, inv, why, sizeof why) < 0)
        fail_msg("'%s' is refused: %s", line, why);
}

static void refused(const char *line, const char *expected)
{
    struct words w = {0};
    struct invocation inv = {.n_operands = 77};
    char why[USAGE_ERROR_MAX] = "";

    split(&w, line);
    int r = verbs_parse(w.argc, w.argv, &inv, why, sizeof why);
    if (r != -EINVAL || strcmp(why, expected) != 0)
        fail_msg("'%s': got %d '%s', expected '%s'", line, r, why, expected);
    assert_int_equal(inv.n_operands, 77);
}

static const char *spec_option(const struct invocation *inv, enum spec_key key)
{
    return inv->value[OPTION_SPEC + key];
}

static void options_stand_anywhere(void **state)
{
    static const char *const lines[] = {
        "--socket /s -q add --rate 0.5 --name tea countdown 5",
        "add countdown 5 --rate 0.5 --name tea --socket /s -q",
        "add --name=tea countdown --rate=0.5 5 --quiet --socket=/s",
        "--rate 0.5 --name tea --socket /s --quiet add countdown 5",
        "-q --rate 0.5 --socket=/s --name=tea -- add countdown 5",
        "-q --rate 0.5 --socket /s add --name tea -- countdown 5",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        struct words w = {0};
        struct invocation inv;

        parse(&w, lines[i], &inv);
        assert_string_equal(inv.verb->name, "add");
        assert_int_equal(inv.n_operands, 2);
        assert_string_equal(inv.value[OPTION_SOCKET], "/s");
        assert_non_null(inv.value[OPTION_QUIET]);
        assert_null(inv.value[OPTION_JSON]);
        assert_string_equal(spec_option(&inv, KEY_KIND), "countdown");
        assert_string_equal(spec_option(&inv, KEY_COUNT), "5");
        assert_string_equal(spec_option(&inv, KEY_RATE), "0.5");
        assert_string_equal(spec_option(&inv, KEY_NAME), "tea");
        invocation_clear(&inv);
    }
}

static void switches_take_a_value_or_none(void **state)
{
    static const struct {
        const char *line, *value;
        size_t operands;
    } rows[] = {
        {"add loop --immediate", "yes", 1},       {"add loop --immediate yes", "yes", 1},
        {"add loop --immediate off 5", "off", 2}, {"add loop --immediate=0", "0", 1},
        {"add loop --immediate 1", "yes", 2},     {"add loop --no-immediate", "no", 1},
        {"add --no-immediate loop", "no", 1},     {"--immediate add loop", "yes", 1},
        {"--immediate no add loop", "no", 1},     {"add loop --immediate --background", "yes", 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct words w = {0};
        struct invocation inv;

        parse(&w, rows[i].line, &inv);
        assert_string_equal(spec_option(&inv, KEY_IMMEDIATE), rows[i].value);
        assert_int_equal(inv.n_operands, rows[i].operands);
        invocation_clear(&inv);
    }
}

static void two_dashes_end_the_options(void **state)
{
    struct words w = {0};
    struct invocation inv;

    (void)state;
    parse(&w, "stop -- --json -q --", &inv);
    assert_int_equal(inv.n_operands, 3);
    assert_string_equal(inv.operands[0], "--json");
    assert_string_equal(inv.operands[2], "--");
    assert_null(inv.value[OPTION_JSON]);
    invocation_clear(&inv);

    parse(&w, "add once --message --json", &inv);
    assert_string_equal(spec_option(&inv, KEY_MESSAGE), "--json");
    assert_null(inv.value[OPTION_JSON]);
    invocation_clear(&inv);
}

static void help_and_version_need_nothing_else(void **state)
{
    static const struct {
        const char *line, *verb;
        enum option_id option;
    } rows[] = {
        {"--help", NULL, OPTION_HELP},       {"-h", NULL, OPTION_HELP},        {"help", NULL, OPTION_HELP},
        {"add --help", "add", OPTION_HELP},  {"-h stop", "stop", OPTION_HELP}, {"help rm", "rm", OPTION_HELP},
        {"--version", NULL, OPTION_VERSION},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct words w = {0};
        struct invocation inv;

        parse(&w, rows[i].line, &inv);
        assert_non_null(inv.value[rows[i].option]);
        assert_int_equal(inv.verb != NULL, rows[i].verb != NULL);
        if (inv.verb != NULL)
            assert_string_equal(inv.verb->name, rows[i].verb);
        invocation_clear(&inv);
    }
}

static void states_are_read(void **state)
{
    struct words w = {0};
    struct invocation inv;

    (void)state;
    parse(&w, "list --state running,failed", &inv);
    assert_int_equal(inv.states, 1U << JOB_RUNNING | 1U << JOB_FAILED);
    invocation_clear(&inv);
    for (unsigned i = 0; i < STATE_WORDS; i++)
        assert_string_equal(state_words[i], job_state_name((enum job_state)i));
}

static void wrong_verbs_and_options_are_told(void **state)
{
    (void)state;
    refused("", "no verb is given; see 'twistyctl --help'");
    refused("--json", "no verb is given; see 'twistyctl --help'");
    refused("lst", "unknown verb 'lst'; did you mean 'list'?");
    refused("-q shutdwon", "unknown verb 'shutdwon'; did you mean 'shutdown'?");
    refused("frobnicate", "unknown verb 'frobnicate'; see 'twistyctl --help'");
    refused("\"\"", "unknown verb ''; see 'twistyctl --help'");
    refused("remove tea", "unknown verb 'remove'; did you mean 'rm'?");
    refused("delete tea", "unknown verb 'delete'; did you mean 'rm'?");
    refused("help lits", "unknown verb 'lits'; did you mean 'list'?");
    refused("add countdown 5 --rat 1", "unknown option '--rat'; did you mean '--rate'?");
    refused("add countdown 5 --rat=1", "unknown option '--rat'; did you mean '--rate'?");
    refused("--jsno list", "unknown option '--jsno'; did you mean '--json'?");
    refused("list -x", "unknown option '-x'; see 'twistyctl list --help'");
    refused("-x", "unknown option '-x'; see 'twistyctl --help'");
    refused("list -qx", "unknown option '-qx'; see 'twistyctl list --help'");
    refused("stop --all tea", "stop has no option '--all'; see 'twistyctl stop --help'");
    refused("add countdown 5 --rate=2 --rate=3", "--rate: it is given twice, as '2' and as '3'");
    refused("--socket /a list --socket /b", "--socket: it is given twice, as '/a' and as '/b'");
    refused("add loop --immediate --no-immediate", "--immediate: it is given twice, as 'yes' and as 'no'");
    refused("list --json=yes", "--json: it takes no value");
    refused("list --socket", "--socket: the value is missing: PATH");
    refused("list --socket=", "--socket: the value is missing: PATH");
    refused("add once --message", "--message: the value is missing: TEXT");
    refused("add loop --no-immediate=yes", "unknown option '--no-immediate'; did you mean '--immediate'?");
    refused("list --state runing", "--state: 'runing' is unknown; did you mean 'running'?");
    refused("list --state running,", "--state: '' is not one of waiting, running, paused, finished, stopped, failed");
    refused("list --state somethingquitelong",
            "--state: 'somethingquitelong' is not one of waiting, running, paused, finished, stopped, failed");
}

static void wrong_operands_are_told(void **state)
{
    (void)state;
    refused("stop", "stop: something is missing; use 'twistyctl stop MATCH...'");
    refused("add", "add: something is missing; use 'twistyctl add countdown [N] | loop [N] | once | --file FILE'");
    refused("status now", "status: 'now' is too much; see 'twistyctl status --help'");
    refused("add loop 5 6", "add: '6' is too much; see 'twistyctl add --help'");
    refused("show tea brew", "show: 'brew' is too much; see 'twistyctl show --help'");
    refused("show te*", "'te*' is not a job's name; 'twistyctl list' takes patterns");
    refused("rm", "rm: name the jobs, or give --ended for all that have ended");
}

static void wrong_jobs_are_told(void **state)
{
    (void)state;
    refused("add countdwn", "kind: 'countdwn' is unknown; did you mean 'countdown'?");
    refused("add countdown five", "count: 'five' is not a whole number");
    refused("add countdown -5", "count: '-5' is negative");
    refused("add countdown --count x", "--count: 'x' is not a whole number");
    refused("add countdown 5 --count 5", "count: it is given twice, as '5' and with --count");
    refused("add once 5", "count: a once job has no count");
    refused("add loop 0", "count: a loop ticks at least once; leave it out for a loop without end");
    refused("add countdown 5 --immediate", "--immediate: a countdown job has no immediate");
    refused("add countdown 5 --rate 2s", "--rate: '2s' is a time span, not a rate; did you mean --interval 2s?");
    refused("add countdown 5 --rate 1min~30s",
            "--rate: '1min 30s' is a time span, not a rate; did you mean --interval '1min 30s'?");
    refused("add countdown 5 --rate 0", "--rate: '0' is zero");
    refused("add countdown 5 --interval 0", "--interval: '0' is zero");
    refused("add countdown 5 --rate 1 --interval 1s",
            "--interval: rate and interval say the same thing; give one of them");
    refused("add countdown 5 --missed coalesc", "--missed: 'coalesc' is unknown; did you mean 'coalesce'?");
    refused("add countdown 5 --immediate=maybe", "--immediate: 'maybe' is neither yes nor no");
    refused("add countdown 1000000 --interval 1y", "count: the job would take longer than 146 years");
    refused("add once --replace", "--replace is about a job's name; give one with --name");
    refused("add once --name a --replace --if-absent",
            "--if-absent and --replace exclude each other; give one of them");
}

/* What only the daemon's defaults decide is not refused here. */
static void defaults_are_left_to_the_daemon(void **state)
{
    static const char *const lines[] = {
        "add countdown", "add loop",   "add once --delay 1y", "add countdown 9007199254740992",
        "rm --ended",    "add loop 3",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        struct words w = {0};
        struct invocation inv;

        parse(&w, lines[i], &inv);
        invocation_clear(&inv);
    }
}

static void every_option_has_one_meaning(void **state)
{
    (void)state;
    for (unsigned a = 0; a < OPTION_COUNT; a++)
        for (unsigned b = 0; b < a; b++)
            if (option_name(a) != NULL && option_name(b) != NULL)
                assert_string_not_equal(option_name(a), option_name(b));
    for (const struct verb *verb = verbs; verb->name != NULL; verb++) {
        assert_ptr_equal(verb_find(verb->name), verb);
        assert_true(verb->min <= verb->max);
        assert_int_equal(verb->options & GLOBAL_OPTIONS, 0);
        assert_non_null(verb->summary);
        assert_non_null(verb->operands);
    }
}

/* Those that look, and changes that are the same when they are made twice: a second stop would be an error. */
static void few_verbs_may_be_repeated(void **state)
{
    static const char *const repeatable[] = {"list", "show", "pause", "resume", "actions", "status", "watch"};
    size_t n = 0;

    (void)state;
    for (const struct verb *verb = verbs; verb->name != NULL; verb++)
        if (verb->repeatable)
            assert_string_equal(verb->name, repeatable[n++]);
    assert_int_equal(n, ARRAY_SIZE(repeatable));
}

static void spans_are_rounded_for_reading(void **state)
{
    static const struct {
        int64_t ns;
        const char *text;
    } rows[] = {
        {0, "0s"},
        {999, "999ns"},
        {1000, "1us"},
        {1234, "1.23us"},
        {999499, "999us"},
        {999500, "1ms"},
        {333333333, "333ms"},
        {12345678, "12.3ms"},
        {999499999, "999ms"},
        {999500000, "1s"},
        {1235000000, "1.24s"},
        {2000000000, "2s"},
        {9995000000, "10s"},
        {10 * NSEC_PER_SEC + 50000000, "10.1s"},
        {59949999999, "59.9s"},
        {59950000000, "1min"},
        {90 * NSEC_PER_SEC, "1min 30s"},
        {3599499999999, "59min 59s"},
        {3599500000000, "1h"},
        {5400 * NSEC_PER_SEC, "1h 30min"},
        {86369 * NSEC_PER_SEC, "23h 59min"},
        {86370 * NSEC_PER_SEC, "1d"},
        {360000 * NSEC_PER_SEC, "4d 4h"},
        {SPAN_MAX, "53376d"},
        {INT64_MAX, "106752d"}, // from a daemon that is none
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char buf[SPAN_HUMAN_MAX];
        assert_string_equal(span_human(rows[i].ns, buf, sizeof buf), rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_stand_anywhere),
        cmocka_unit_test(switches_take_a_value_or_none),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(help_and_version_need_nothing_else),
        cmocka_unit_test(states_are_read),
        cmocka_unit_test(wrong_verbs_and_options_are_told),
        cmocka_unit_test(wrong_operands_are_told),
        cmocka_unit_test(wrong_jobs_are_told),
        cmocka_unit_test(defaults_are_left_to_the_daemon),
        cmocka_unit_test(every_option_has_one_meaning),
        cmocka_unit_test(few_verbs_may_be_repeated),
        cmocka_unit_test(spans_are_rounded_for_reading),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
