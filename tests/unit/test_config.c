/* config and conf_files: what a file means, and every mistake in it, with the exact line that is told. */
#include "daemon/conf_files.h"
#include "daemon/conf_mistakes.h"
#include "daemon/conf_text.h"
#include "daemon/config.h"
#include "daemon/text.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* The lines that were told, each with a newline. */
struct told {
    char *text;
    size_t len;
    size_t n;
};

static void tell(void *ctx, const char *line)
{
    struct told *told = ctx;
    size_t len = strlen(line);

    told->text = realloc(told->text, told->len + len + 2);
    assert_non_null(told->text);
    memcpy(told->text + told->len, line, len);
    memcpy(told->text + told->len + len, "\n", 2);
    told->len += len + 1;
    told->n++;
}

struct source {
    const char *file;
    const char *text;
    size_t len; // 0: up to the NUL
};

/* Build a config from texts. The result of config_builder_finish(). */
static int build(const struct source *sources, size_t n, struct told *told, struct config **out)
{
    struct config_builder *b = config_builder_new(tell, told);

    assert_non_null(b);
    for (size_t i = 0; i < n; i++) {
        size_t len = sources[i].len ? sources[i].len : strlen(sources[i].text);
        assert_int_equal(config_builder_add(b, sources[i].file, sources[i].text, len), 0);
    }
    int r = config_builder_finish(b, out);
    config_builder_free(b);
    return r;
}

static struct config *build_good(const struct source *sources, size_t n)
{
    struct told told = {0};
    struct config *config = NULL;
    int r = build(sources, n, &told, &config);

    if (told.n > 0)
        fail_msg("told of a mistake: %s", told.text);
    assert_int_equal(r, 0);
    assert_non_null(config);
    return config;
}

static struct config *build_text(const char *text)
{
    return build_good(&(struct source){"t.conf", text, 0}, 1);
}

static void expect_told(const struct source *sources, size_t n, const char *expected)
{
    struct told told = {0};
    struct config *config = NULL;

    assert_int_equal(build(sources, n, &told, &config), -EINVAL);
    assert_null(config);
    assert_string_equal(told.text, expected);
    free(told.text);
}

#define A10  "aaaaaaaaaa"
#define A50  A10 A10 A10 A10 A10
#define A150 A50 A50 A50
#define JOB  "[job:tea]\nkind = countdown\ncount = 5\n"

/* One file, and all that is told of it. */
struct bad {
    const char *text;
    const char *told;
    size_t len;
};

static void expect_bad(const struct bad *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct source source = {"t.conf", cases[i].text, cases[i].len};
        expect_told(&source, 1, cases[i].told);
    }
}

/* Field by field: there is padding. */
static void expect_built_in(const struct daemon_settings *s)
{
    struct daemon_settings d;

    settings_default(&d);
    assert_int_equal(s->exit_when_done, d.exit_when_done);
    assert_int_equal(s->log_target, d.log_target);
    assert_int_equal(s->log_level, d.log_level);
    assert_int_equal(s->backend, d.backend);
    assert_int_equal(s->clock, d.clock);
    assert_int_equal(s->max_jobs, d.max_jobs);
    assert_int_equal(s->keep_ended, d.keep_ended);
    assert_int_equal(s->report_limit, d.report_limit);
    assert_int_equal(s->max_connections, d.max_connections);
    assert_int_equal(s->accuracy, d.accuracy);
    assert_int_equal(s->max_actions, d.max_actions);
    assert_int_equal(s->max_queued, d.max_queued);
    assert_int_equal(s->stop_timeout, d.stop_timeout);
}

static void test_empty(void **state)
{
    static const char *const empty[] = {"",        "\n", "# nothing\n; at all", "\xef\xbb\xbf", "\xef\xbb\xbf\r\n",
                                        "[daemon]"};
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(empty); i++) {
        struct config *config = build_text(empty[i]);
        assert_int_equal(config->n_jobs, 0);
        assert_int_equal(config->defaults.given, 0);
        expect_built_in(&config->daemon);
        config_free(config);
    }
}

static void test_built_in_settings(void **state)
{
    struct daemon_settings s;
    (void)state;

    memset(&s, 0xff, sizeof s);
    settings_default(&s);
    assert_false(s.exit_when_done);
    assert_int_equal(s.log_target, LOG_TARGET_AUTO);
    assert_int_equal(s.log_level, LOG_INFO);
    assert_int_equal(s.backend, BACKEND_AUTO);
    assert_int_equal(s.clock, CLOCK_KIND_MONOTONIC);
    assert_int_equal(s.max_jobs, 2000000);
    assert_int_equal(s.keep_ended, 1000);
    assert_int_equal(s.report_limit, 1000);
    assert_int_equal(s.max_connections, 256);
    assert_int_equal(s.accuracy, 1000000);
}

static void test_daemon_settings(void **state)
{
    (void)state;
    struct config *config = build_text("[daemon]\n"
                                       "exit-when-done = yes\n"
                                       "log-target = syslog\n"
                                       "log-level = debug\n"
                                       "backend = select\n"
                                       "clock = boottime\n"
                                       "accuracy = 250us\n"
                                       "max-jobs = 7\n"
                                       "keep-ended = 0\n"
                                       "report-limit = 0\n"
                                       "max-connections = 1000000000\n");

    assert_true(config->daemon.exit_when_done);
    assert_int_equal(config->daemon.log_target, LOG_TARGET_SYSLOG);
    assert_int_equal(config->daemon.log_level, LOG_DEBUG);
    assert_int_equal(config->daemon.backend, BACKEND_SELECT);
    assert_int_equal(config->daemon.clock, CLOCK_KIND_BOOTTIME);
    assert_int_equal(config->daemon.max_jobs, 7);
    assert_int_equal(config->daemon.keep_ended, 0);
    assert_int_equal(config->daemon.report_limit, 0);
    assert_int_equal(config->daemon.max_connections, 1000000000);
    assert_int_equal(config->daemon.accuracy, 250000);
    config_free(config);
}

static void test_words(void **state)
{
    static const char *const levels[] = {"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"};
    enum log_target target = LOG_TARGET_AUTO;
    enum loop_backend backend = BACKEND_AUTO;
    int level = -1;
    (void)state;

    for (int i = 0; i < 8; i++) {
        assert_true(log_level_parse(levels[i], &level));
        assert_int_equal(level, i);
    }
    for (int i = LOG_TARGET_AUTO; i <= LOG_TARGET_STDERR; i++) {
        assert_true(log_target_parse(log_target_name((enum log_target)i), &target));
        assert_int_equal(target, i);
    }
    for (int i = BACKEND_AUTO; i <= BACKEND_SELECT; i++) {
        assert_true(loop_backend_parse(loop_backend_name((enum loop_backend)i), &backend));
        assert_int_equal(backend, i);
    }
    assert_string_equal(loop_clock_name(CLOCK_KIND_MONOTONIC), "monotonic");
    assert_string_equal(loop_clock_name(CLOCK_KIND_BOOTTIME), "boottime");
    assert_false(log_level_parse("loud", &level));
    assert_false(log_target_parse("", &target));
    assert_false(loop_backend_parse("Epoll", &backend));
    assert_int_equal(level, LOG_DEBUG);
    assert_int_equal(target, LOG_TARGET_STDERR);
    assert_int_equal(backend, BACKEND_SELECT);
}

static void test_jobs(void **state)
{
    (void)state;
    struct config *config = build_text("[job:tea]\nkind = countdown\ncount = 5\n"
                                       "[job:beat]\nkind = loop\ninterval = 10s\nbackground = yes\nreport = every 6\n"
                                       "[defaults]\nrate = 0.5\nmessage = so it is\n"
                                       "[job:now]\nkind = once\ndelay = 1min 30s\nmessage = now\n");

    assert_int_equal(config->n_jobs, 3);
    const struct job_spec *tea = &config->jobs[0], *beat = &config->jobs[1], *now = &config->jobs[2];
    assert_string_equal(tea->name, "tea");
    assert_int_equal(tea->kind, JOB_COUNTDOWN);
    assert_int_equal(tea->count, 5);
    assert_int_equal(rate_interval(tea->rate), 2 * NSEC_PER_SEC); // the defaults stand behind it, and hold all the same
    assert_string_equal(tea->message, "so it is");
    assert_string_equal(beat->name, "beat");
    assert_int_equal(beat->kind, JOB_LOOP);
    assert_true(beat->count == COUNT_FOREVER);
    assert_int_equal(rate_interval(beat->rate), 10 * NSEC_PER_SEC);
    assert_true(beat->background);
    assert_int_equal(beat->report.when, REPORT_EVERY_N);
    assert_int_equal(beat->report.every, 6);
    assert_string_equal(now->name, "now");
    assert_int_equal(now->kind, JOB_ONCE);
    assert_int_equal(now->delay, 90 * NSEC_PER_SEC);
    assert_string_equal(now->message, "now");
    assert_true(spec_draft_has(&config->defaults, KEY_RATE));
    assert_true(spec_draft_has(&config->defaults, KEY_MESSAGE));
    config_free(config);
}

/* What a line may look like, as twistyd.conf(5) describes it. */
static void test_notation(void **state)
{
    static const struct {
        const char *line;
        const char *message; // NULL: none
    } cases[] = {
        {"message = plain", "plain"},
        {"message=tight", "tight"},
        {"message : with a colon", "with a colon"},
        {"message:tight colon", "tight colon"},
        {"message = a = b : c", "a = b : c"},
        {"  \t message = indented", "indented"},
        {"message = \t blanks at both ends \t ", "blanks at both ends"},
        {"message = \"quotes stay\"", "\"quotes stay\""},
        {"message = it's \\; so", "it's \\; so"},
        {"message = cut ; a comment", "cut"},
        {"message = cut\t;a comment", "cut"},
        {"message = a;b", "a;b"},
        {"message =;here", ";here"},
        {"message = ; nothing but a comment", NULL},
        {"message =", NULL},
        {"message = a # b", "a # b"},
        {"message = #1", "#1"},
        {"message = [x]", "[x]"},
        {"message = caf\xc3\xa9", "caf\xc3\xa9"},
        {"message = CRLF\r", "CRLF"},
        {"  # message = no", NULL},
        {"\t; message = no", NULL},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[256];
        snprintf(text, sizeof text, "[job:x]\nkind = once\n%s\n", cases[i].line);
        struct config *config = build_text(text);
        if (cases[i].message == NULL)
            assert_null(config->jobs[0].message);
        else
            assert_string_equal(config->jobs[0].message, cases[i].message);
        config_free(config);
    }
}

static void test_headers(void **state)
{
    static const char *const headers[] = {
        "[job:x]",          "  [job:x]", "[job:x]  ",           "[job:x] ; a comment",
        "[job:x]# another", "[job:x]\r", "\xef\xbb\xbf[job:x]",
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
        char text[64];
        snprintf(text, sizeof text, "%s\nkind = once", headers[i]);
        struct config *config = build_text(text);
        assert_int_equal(config->n_jobs, 1);
        assert_string_equal(config->jobs[0].name, "x");
        config_free(config);
    }
}

/* The longest line and the longest names are still taken, whole. */
static void test_limits(void **state)
{
    char message[CONF_LINE_MAX + 1], text[512];
    (void)state;

    memset(message, 'm', sizeof message);
    message[CONF_LINE_MAX - strlen("message = ")] = '\0';
    for (int crlf = 0; crlf < 2; crlf++) {
        snprintf(text, sizeof text, "[job:%s]\nkind = once\nmessage = %s%s\n", A10 A10 A10 A10, message,
                 crlf ? "\r" : "");
        struct config *config = build_text(text);
        assert_string_equal(config->jobs[0].name, A10 A10 A10 A10);
        assert_string_equal(config->jobs[0].message, message);
        config_free(config);
    }
}

/* What inih would bend without a word. */
static void test_inih_traps(void **state)
{
    static const struct bad cases[] = {
        /* A line over its buffer: the rest would be a line of its own, here a section. */
        {JOB "message = " A150 A10 A10 A10 "aaaaaaaaa[daemon]",
         "t.conf:4: job:tea: the line is 207 bytes long; at "
         "most 197 are possible\n",
         0},
        {"# " A150 A50 "\n", "t.conf:1: the line is 202 bytes long; at most 197 are possible\n", 0},
        {JOB "message = " A150 A10 A10 A10 "12345678\n",
         "t.conf:4: job:tea: the line is 198 bytes long; at most 197 are possible\n", 0},
        /* A refused header: its keys are not the section's above. */
        {JOB "[job:" A150 A50 "]\ncount = 6\n", "t.conf:4: the line is 206 bytes long; at most 197 are possible\n", 0},
        /* A section's name over 49 bytes. */
        {JOB "[job:" A10 A10 A10 A10 "aaaaaa]\ncount = 6\n",
         "t.conf:4: the section's name is 50 bytes long; at most 49 are possible\n", 0},
        {"[job:" A10 A10 A10 A10 "aaaaa]\nkind = once\n",
         "t.conf:1: job:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: '" A10 A10 A10 A10
         "aaaaa' is not a name: letters, digits, '.', '_' and '-', at most 40, the first a letter or digit\n",
         0},
        /* A NUL: what follows would not be read. */
        {JOB "rate = 1\0000\nrat = 2\n",
         "t.conf:4: job:tea: a NUL byte\n"
         "t.conf:5: job:tea: rat: unknown key; did you mean 'rate'?\n",
         sizeof JOB "rate = 1\0000\nrat = 2\n" - 1},
        /* Duplicates. */
        {JOB "count = 6\n", "t.conf:4: job:tea: count: set before, in line 3\n", 0},
        {JOB "[daemon]\n" JOB, "t.conf:5: job:tea: this section was begun before, in line 1\n", 0},
        {"[daemon]\n[defaults]\n[daemon]\n[defaults]\n",
         "t.conf:3: daemon: this section was begun before, in line 1\n"
         "t.conf:4: defaults: this section was begun before, in line 2\n",
         0},
        {"[daemon]\n[daemon]\n[daemon]\n",
         "t.conf:2: daemon: this section was begun before, in line 1\n"
         "t.conf:3: daemon: this section was begun before, in line 1\n",
         0},
        {"[defaults]\ncount = 5\nmessage = a\n[defaults]\nmessage = b\n[job:x]\nkind = countdown\n",
         "t.conf:4: defaults: this section was begun before, in line 1\n", 0},
        /* The mistakes of a second section are told too. */
        {JOB "\n[job:tea]\nrate = fast\n",
         "t.conf:5: job:tea: this section was begun before, in line 1\n"
         "t.conf:6: job:tea: rate: 'fast' is not a rate such as 0.5, 30/min or 1/26h\n",
         0},
        /* An indented line would be more of the value above. */
        {JOB "  rat = 2\n", "t.conf:4: job:tea: rat: unknown key; did you mean 'rate'?\n", 0},
        {JOB "  [job:beat]\n\tkind = lop\n", "t.conf:5: job:beat: kind: 'lop' is unknown; did you mean 'loop'?\n", 0},
        {JOB "\tand more of it\n", "t.conf:4: job:tea: neither KEY = VALUE nor a section header nor a comment\n", 0},
        /* What follows a header would be ignored. */
        {"[daemon] exit-when-done = yes\n", "t.conf:1: text after the section header's ']'\n", 0},
        {"[job:a]b]\nkind = once\n", "t.conf:1: text after the section header's ']'\n", 0},
        /* A section without keys would not be told of at all. */
        {"[job:tea]\n", "t.conf:1: job:tea: kind: missing; one of countdown|loop|once\n", 0},
        {"[jop:tea]", "t.conf:1: jop:tea: unknown section; did you mean 'job:tea'?\n", 0},
        /* A comment may not hide the end of a header or the value's sign. */
        {"[job:a ;b]\nkind = once\n",
         "t.conf:1: job:a ;b: 'a ;b' is not a name: letters, digits, '.', '_' and '-', at most 40, the first a letter "
         "or digit\n",
         0},
        {JOB "rate ; = 1\n", "t.conf:4: job:tea: neither KEY = VALUE nor a section header nor a comment\n", 0},
    };
    (void)state;

    expect_bad(cases, ARRAY_SIZE(cases));
}

static void test_bad_lines(void **state)
{
    static const struct bad cases[] = {
        {"kind = once\n\n[job:x]\nkind = once", "t.conf:1: text before the first section header\n", 0},
        {"what\n", "t.conf:1: text before the first section header\n", 0},
        {"[job:x\nkind = once\n", "t.conf:1: the section header has no ']'\n", 0},
        {"[\n", "t.conf:1: the section header has no ']'\n", 0},
        {"[daemon]\nmax-jobs\n", "t.conf:2: daemon: neither KEY = VALUE nor a section header nor a comment\n", 0},
        {"[daemon]\nmax-jobs", "t.conf:2: daemon: neither KEY = VALUE nor a section header nor a comment\n", 0},
        {"[daemon]\n= 5\n: 5\n", "t.conf:2: daemon: a value without a key\nt.conf:3: daemon: a value without a key\n",
         0},
        {"[daemon]\n# bell \a\n", "t.conf:2: daemon: a control character, \\x07\n", 0},
        {"[daemon]\n\x1b[31m\n", "t.conf:2: daemon: a control character, \\x1b\n", 0},
        {"[daemon]\n\x7f\n", "t.conf:2: daemon: a control character, \\x7f\n", 0},
        {"[daemon]\rmax-jobs = 0\r\r\n", "t.conf:1: a control character, \\x0d\n", 0},
        {"[daemon]\n# caf\xe9\n", "t.conf:2: daemon: bytes that are not UTF-8 text without control characters\n", 0},
        {"[daemon]\n# \xc2\x85\n", "t.conf:2: daemon: bytes that are not UTF-8 text without control characters\n", 0},
        {"[daemon]\n# \xc3", "t.conf:2: daemon: bytes that are not UTF-8 text without control characters\n", 0},
        {"\xff\xfe[\0d\0", "t.conf:1: a NUL byte\n", 6},
        {"\n\xef\xbb\xbf[daemon]", "t.conf:2: text before the first section header\n", 0},
        {JOB "message = tab\tinside",
         "t.conf:4: job:tea: message: 'tab\\x09inside' is not UTF-8 text without control "
         "characters\n",
         0},
    };
    (void)state;

    expect_bad(cases, ARRAY_SIZE(cases));
}

#define NO_SECTION "unknown section; there are daemon, defaults, action:NAME and job:NAME\n"
#define NO_NAME    "is not a name: letters, digits, '.', '_' and '-', at most 40, the first a letter or digit\n"

static void test_bad_sections(void **state)
{
    static const struct bad cases[] = {
        {"[demon]\nwhat = ever\n", "t.conf:1: demon: unknown section; did you mean 'daemon'?\n", 0},
        {"[Defaults]\n", "t.conf:1: Defaults: unknown section; did you mean 'defaults'?\n", 0},
        {"[ daemon ]\n", "t.conf:1:  daemon : unknown section; did you mean 'daemon'?\n", 0},
        {"[jobs:tea]\n", "t.conf:1: jobs:tea: unknown section; did you mean 'job:tea'?\n", 0},
        {"[job]\n", "t.conf:1: job: " NO_SECTION, 0},
        {"[]\n", "t.conf:1: : " NO_SECTION, 0},
        {"[tea]\n", "t.conf:1: tea: " NO_SECTION, 0},
        {"[action]\nexec = /bin/true\n", "t.conf:1: action: " NO_SECTION, 0},
        {"[actions:page]\n", "t.conf:1: actions:page: unknown section; did you mean 'action:page'?\n", 0},
        {"[action:]\nexec = /bin/true\n", "t.conf:1: action:: '' " NO_NAME, 0},
        {"[action:stop]\nexec = /bin/true\n",
         "t.conf:1: action:stop: 'stop' has a meaning in on-failure; choose another name\n", 0},
        {"[job:]\nkind = once\n", "t.conf:1: job:: '' " NO_NAME, 0},
        {"[job: tea]\nkind = once\n", "t.conf:1: job: tea: ' tea' " NO_NAME, 0},
        {"[job:-x]\nkind = once\n", "t.conf:1: job:-x: '-x' " NO_NAME, 0},
        {"[job:a/b]\nkind = never\n",
         "t.conf:1: job:a/b: 'a/b' " NO_NAME "t.conf:2: job:a/b: kind: 'never' is not one of countdown|loop|once\n", 0},
    };
    (void)state;

    expect_bad(cases, ARRAY_SIZE(cases));
}

static void test_bad_daemon_keys(void **state)
{
    static const struct bad cases[] = {
        {"[daemon]\nexit-when-doen = yes\n",
         "t.conf:2: daemon: exit-when-doen: unknown key; did you mean 'exit-when-done'?\n", 0},
        {"[daemon]\nzzz = 1\n", "t.conf:2: daemon: zzz: unknown key\n", 0},
        {"[daemon]\nexit-when-done = maybe\n", "t.conf:2: daemon: exit-when-done: 'maybe' is neither yes nor no\n", 0},
        {"[daemon]\nlog-target = jornal\n",
         "t.conf:2: daemon: log-target: 'jornal' is unknown; did you mean 'journal'?\n", 0},
        {"[daemon]\nlog-target =\n", "t.conf:2: daemon: log-target: '' is not one of auto|journal|syslog|stderr\n", 0},
        {"[daemon]\nlog-level = 7\n",
         "t.conf:2: daemon: log-level: '7' is not one of emerg|alert|crit|err|warning|notice|info|debug\n", 0},
        {"[daemon]\nlog-level = inof\n", "t.conf:2: daemon: log-level: 'inof' is unknown; did you mean 'info'?\n", 0},
        {"[daemon]\nbackend = kqueue\n", "t.conf:2: daemon: backend: 'kqueue' is not one of auto|epoll|poll|select\n",
         0},
        {"[daemon]\nbackend = pol\n", "t.conf:2: daemon: backend: 'pol' is unknown; did you mean 'poll'?\n", 0},
        {"[daemon]\nclock = realtime\n", "t.conf:2: daemon: clock: 'realtime' is not one of monotonic|boottime\n", 0},
        {"[daemon]\nclock = x\n", "t.conf:2: daemon: clock: 'x' is not one of monotonic|boottime\n", 0},
        {"[daemon]\naccuracy = 1001ms\n", "t.conf:2: daemon: accuracy: '1001ms' is more than a second\n", 0},
        {"[daemon]\naccuracy = fine\n",
         "t.conf:2: daemon: accuracy: 'fine' is not a time span such as 500ms, 2s or 1min 30s\n", 0},
        {"[daemon]\nmax-jobs = 0\n", "t.conf:2: daemon: max-jobs: '0' is zero\n", 0},
        {"[daemon]\nmax-connections = 0\n", "t.conf:2: daemon: max-connections: '0' is zero\n", 0},
        {"[daemon]\nkeep-ended = -1\n", "t.conf:2: daemon: keep-ended: '-1' is negative\n", 0},
        {"[daemon]\nreport-limit = many\n", "t.conf:2: daemon: report-limit: 'many' is not a whole number\n", 0},
        {"[daemon]\nmax-jobs = 1000000001\n", "t.conf:2: daemon: max-jobs: '1000000001' is too large\n", 0},
        {"[daemon]\nmax-jobs = 18446744073709551617\n",
         "t.conf:2: daemon: max-jobs: '18446744073709551617' is too large\n", 0},
        {"[daemon]\nmax-jobs = 1\n[job:a]\nkind = once\n[job:b]\nkind = once\n[job:c]\nkind = once\n",
         "t.conf:5: job:b: one job more than max-jobs, 1\n", 0},
    };
    (void)state;

    expect_bad(cases, ARRAY_SIZE(cases));
}

static void test_bad_job_keys(void **state)
{
    static const struct bad cases[] = {
        {JOB "rat = 1\n", "t.conf:4: job:tea: rat: unknown key; did you mean 'rate'?\n", 0},
        {JOB "colour = green\n", "t.conf:4: job:tea: colour: unknown key\n", 0},
        {JOB "xyzzy = 1\n", "t.conf:4: job:tea: xyzzy: unknown key\n", 0},
        {JOB "Rate = 1\n", "t.conf:4: job:tea: Rate: unknown key; did you mean 'rate'?\n", 0},
        {JOB "name = coffee\n", "t.conf:4: job:tea: name: a job has its name from its section, job:NAME\n", 0},
        {JOB "rate = 2s\n", "t.conf:4: job:tea: rate: '2s' is a time span, not a rate; did you mean interval?\n", 0},
        {JOB "interval = 0\n", "t.conf:4: job:tea: interval: '0' is zero\n", 0},
        {JOB "rate = 1\ninterval = 1s\n",
         "t.conf:5: job:tea: interval: rate and interval say the same thing; give one of them\n", 0},
        {JOB "missed = cancel\n", "t.conf:4: job:tea: missed: 'cancel' is not one of coalesce|delay|burst\n", 0},
        {"[job:x]\nkind = once\nrate = 1\n", "t.conf:3: job:x: rate: a once job has no rate\n", 0},
        {"[job:x]\n\nkind = countdown\n",
         "t.conf:1: job:x: count: missing; a countdown needs the number of its ticks\n", 0},
        {"[defaults]\nkind = loop\n",
         "t.conf:2: defaults: kind: has no default; it belongs in the section of each job\n", 0},
        {"[defaults]\nrate = 0\n", "t.conf:2: defaults: rate: '0' is zero\n", 0},
        {"[defaults]\nrate = 1\ninterval = 2\n" JOB,
         "t.conf:3: defaults: interval: rate and interval say the same thing; give one of them\n", 0},
    };
    (void)state;

    expect_bad(cases, ARRAY_SIZE(cases));
}

#define PAGE "[action:page]\nexec = /bin/true\n"

static void test_bad_actions(void **state)
{
    static const struct bad cases[] = {
        {"[action:page]\n", "t.conf:1: action:page: exec: missing; it is the command, an absolute path and arguments\n",
         0},
        {"[action:page]\nexce = /bin/true\n", "t.conf:2: action:page: exce: unknown key; did you mean 'exec'?\n", 0},
        {"[action:page]\nexec = true\n", "t.conf:2: action:page: exec: 'true' is not an absolute path\n", 0},
        {PAGE "timeout = 0\noverlap = skp\nallow = all\nretry = 101\nbackoff = soon\n",
         "t.conf:3: action:page: timeout: '0' is zero\n"
         "t.conf:4: action:page: overlap: 'skp' is unknown; did you mean 'skip'?\n"
         "t.conf:5: action:page: allow: 'all' is not one of root|group\n"
         "t.conf:6: action:page: retry: '101' is too large\n"
         "t.conf:7: action:page: backoff: 'soon' is not a time span such as 500ms, 2s or 1min 30s\n",
         0},
        {PAGE "environment = A=1 TWISTY_JOB=me\n",
         "t.conf:3: action:page: environment: 'TWISTY_JOB=me': names that begin with TWISTY_ are set by the daemon\n",
         0},
        {PAGE PAGE, "t.conf:3: action:page: this section was begun before, in line 1\n", 0},
        {PAGE JOB "on-finish = pgae\non-tick = zzz\n",
         "t.conf:6: job:tea: on-finish: there is no action 'pgae'; did you mean 'page'?\n"
         "t.conf:7: job:tea: on-tick: there is no action 'zzz'; it would be a section [action:zzz]\n",
         0},
        {JOB "on-failure = sotp\n",
         "t.conf:4: job:tea: on-failure: there is no action 'sotp'; it would be a section [action:sotp]\n", 0},
        /* That of the defaults is told once, and there. */
        {"[defaults]\non-stop = page\n" JOB,
         "t.conf:2: defaults: on-stop: there is no action 'page'; it would be a section [action:page]\n", 0},
        {PAGE "[job:x]\nkind = once\non-tick = page\n", "t.conf:5: job:x: on-tick: a once job has no on-tick\n", 0},
    };
    (void)state;

    expect_bad(cases, ARRAY_SIZE(cases));
}

static void test_actions(void **state)
{
    (void)state;
    struct config *config = build_text(JOB "on-finish = page\non-failure = stop\n"
                                           "[action:z]\nexec = /bin/z\n"
                                           "[action:page]\nexec = /bin/page \"on call\"\ntimeout = 10s\n"
                                           "overlap = queue\nallow = group\nretry = 3\nbackoff = 2s\n"
                                           "environment = TZ LC_ALL=C.UTF-8\n[action:a]\nexec = /bin/a\n");
    const char *nearest = "?";

    assert_int_equal(config->actions.n, 3);
    const struct action *page = actions_find(&config->actions, "page", NULL);
    assert_non_null(page);
    assert_string_equal(page->exec.items[0], "/bin/page");
    assert_string_equal(page->exec.items[1], "on call");
    assert_string_equal(page->environment.items[1], "LC_ALL=C.UTF-8");
    assert_int_equal(page->timeout, 10 * NSEC_PER_SEC);
    assert_int_equal(page->backoff, 2 * NSEC_PER_SEC);
    assert_int_equal(page->retry, 3);
    assert_int_equal(page->overlap, OVERLAP_QUEUE);
    assert_int_equal(page->allow, ALLOW_GROUP);
    assert_string_equal(config->jobs[0].actions[HOOK_FINISH], "page");
    assert_true(config->jobs[0].stop_on_failure);

    const struct action *plain = actions_find(&config->actions, "z", NULL);
    assert_int_equal(plain->timeout, 30 * NSEC_PER_SEC);
    assert_int_equal(plain->overlap, OVERLAP_SKIP);
    assert_int_equal(plain->allow, ALLOW_ROOT);
    assert_int_equal(plain->retry, 0);
    assert_null(actions_find(&config->actions, "pag", &nearest));
    assert_string_equal(nearest, "page");
    config_free(config);
}

#define WAIT(name, other) "[job:" name "]\nkind = once\nafter = " other "\n"

static void test_after(void **state)
{
    static const struct bad cases[] = {
        {WAIT("a", "b") WAIT("b", "a"), "t.conf:3: job:a: after: these jobs wait for each other: a -> b -> a\n", 0},
        {WAIT("c", "a") WAIT("b", "c") WAIT("a", "b"),
         "t.conf:9: job:a: after: these jobs wait for each other: a -> b -> c -> a\n", 0},
        {WAIT("a", "a"), "t.conf:3: job:a: after: these jobs wait for each other: a -> a\n", 0},
        /* Who waits for a circle is no part of it. */
        {WAIT("x", "a") WAIT("a", "b") WAIT("b", "a"),
         "t.conf:6: job:a: after: these jobs wait for each other: a -> b -> a\n", 0},
        {WAIT("tea", "kettel") WAIT("kettle", "zzzzzz"),
         "t.conf:3: job:tea: after: there is no job 'kettel'; did you mean 'kettle'?\n"
         "t.conf:6: job:kettle: after: there is no job 'zzzzzz'\n",
         0},
        {WAIT("a", "b c"), "t.conf:3: job:a: after: 'b c' " NO_NAME, 0},
        {"[defaults]\nafter = x\n[job:x]\nkind = once\n",
         "t.conf:2: defaults: after: has no default; it belongs in the section of each job\n", 0},
    };
    static const struct source overridden[] = {{"main.conf", WAIT("a", "b") WAIT("b", "a"), 0},
                                               {"drop-in.conf", "[job:b]\nafter =\n", 0}};
    (void)state;

    expect_bad(cases, ARRAY_SIZE(cases));
    struct config *config = build_good(overridden, 2);
    assert_string_equal(config->jobs[0].after, "b");
    assert_null(config->jobs[1].after);
    config_free(config);
}

/* What only follows from a mistake that was told is not told. */
static void test_no_mistakes_that_follow(void **state)
{
    static const struct bad cases[] = {
        {"[job:x]\nkind = countdown\ncuont = 5\n", "t.conf:3: job:x: cuont: unknown key; did you mean 'count'?\n", 0},
        {"[job:x]\nkind = countdown\ncount = five\n", "t.conf:3: job:x: count: 'five' is not a whole number\n", 0},
        {"[job:x]\nkind = lop\nimmediate = no\n", "t.conf:2: job:x: kind: 'lop' is unknown; did you mean 'loop'?\n", 0},
        {"[job:x]\nkind\ncount = 5\n", "t.conf:2: job:x: neither KEY = VALUE nor a section header nor a comment\n", 0},
        {"[job:x]\nkind = countdown\ncount = 5\a\n", "t.conf:3: job:x: a control character, \\x07\n", 0},
        {"[defaults]\ncount = five\n[job:x]\nkind = countdown\n",
         "t.conf:2: defaults: count: 'five' is not a whole number\n", 0},
        {"[defaults]\ncuont = 5\n[job:x]\nkind = countdown\n",
         "t.conf:2: defaults: cuont: unknown key; did you mean 'count'?\n", 0},
        {"[defaults]\nrate = 1\ninterval = 2\n[job:x]\nkind = countdown\ncount = 9007199254740992\n",
         "t.conf:3: defaults: interval: rate and interval say the same thing; give one of them\n"
         "t.conf:6: job:x: count: the job would take longer than 146 years\n",
         0},
        {"[what]\nexec = x\nexec = y\nnot even this\n", "t.conf:1: what: " NO_SECTION, 0},
    };
    (void)state;

    expect_bad(cases, ARRAY_SIZE(cases));
}

/* All mistakes of all files in one run, in the order of files and lines, whatever finds them. */
static void test_all_in_order(void **state)
{
    static const struct source sources[] = {
        {"main.conf",
         "stray\n"
         "[job:early]\n"
         "kind = countdown\n"
         "rate = 2s\n"
         "[daemon]\n"
         "backend = fast\n"
         "bakend = epoll\n"
         "[job:late]\n"
         "kind = once\n"
         "count = 3\n"
         "[defaults]\n"
         "rate = -1\n"
         "[nothing]\n",
         0},
        {"main.conf.d/10.conf", "[job:early]\nmissed = never\n[job:new]\n", 0},
        {"main.conf.d/20.conf", "[daemon]\nclock = 12\n[job:late]\ndelay = soon\nrate = 1\n", 0},
    };
    (void)state;

    expect_told(sources, ARRAY_SIZE(sources),
                "main.conf:1: text before the first section header\n"
                "main.conf:2: job:early: count: missing; a countdown needs the number of its ticks\n"
                "main.conf:4: job:early: rate: '2s' is a time span, not a rate; did you mean interval?\n"
                "main.conf:6: daemon: backend: 'fast' is not one of auto|epoll|poll|select\n"
                "main.conf:7: daemon: bakend: unknown key; did you mean 'backend'?\n"
                "main.conf:10: job:late: count: a once job has no count\n"
                "main.conf:12: defaults: rate: '-1' is negative\n"
                "main.conf:13: nothing: " NO_SECTION
                "main.conf.d/10.conf:2: job:early: missed: 'never' is not one of coalesce|delay|burst\n"
                "main.conf.d/10.conf:3: job:new: kind: missing; one of countdown|loop|once\n"
                "main.conf.d/20.conf:2: daemon: clock: '12' is not one of monotonic|boottime\n"
                "main.conf.d/20.conf:4: job:late: delay: 'soon' is not a time span such as 500ms, 2s or 1min 30s\n");
}

/* Of very many mistakes the first ones are told, and how many there are. */
static void test_bounded(void **state)
{
    static const size_t numbers[] = {CONF_MISTAKES_TOLD, CONF_MISTAKES_TOLD + 1, 5 * CONF_MISTAKES_TOLD + 7};
    (void)state;

    for (size_t k = 0; k < ARRAY_SIZE(numbers); k++) {
        size_t n = numbers[k], size = 64 * n, len = 0;
        char *text = malloc(size), rest[64] = "", first[80];
        struct told told = {0};
        struct config *config = NULL;

        assert_non_null(text);
        /* The first mistake of all is found last: a job is only judged as a whole at the end. */
        for (size_t i = 0; i < n; i++)
            len += (size_t)snprintf(text + len, size - len, i ? "[what]\n" : "[job:x]\n");
        struct source source = {"t.conf", text, len};
        assert_int_equal(build(&source, 1, &told, &config), -EINVAL);
        snprintf(first, sizeof first, "t.conf:1: job:x: kind: missing; one of countdown|loop|once\nt.conf:2: what: ");
        assert_memory_equal(told.text, first, strlen(first));
        if (n > CONF_MISTAKES_TOLD)
            snprintf(rest, sizeof rest, "\nand %zu more mistakes\n", n - CONF_MISTAKES_TOLD);
        assert_int_equal(told.n, n > CONF_MISTAKES_TOLD ? CONF_MISTAKES_TOLD + 1 : n);
        assert_string_equal(told.text + told.len - strlen(rest), rest);
        free(told.text);
        free(text);
    }
}

static void test_drop_ins(void **state)
{
    static const struct source sources[] = {
        {"main",
         "[daemon]\nlog-level = debug\nbackend = poll\n[defaults]\nrate = 2\n" JOB "interval = 2s\n"
         "[job:beat]\nkind = loop\nrate = 5\nmessage = first\n",
         0},
        {"10", "[job:tea]\nrate = 4\ncount = 3\n[defaults]\ninterval = 8s\n[job:added]\nkind = loop\n", 0},
        {"20", "[job:beat]\ninterval = 3s\n[daemon]\nlog-level = err\n[job:tea]\ncount = 2\n", 0},
    };
    (void)state;
    struct config *config = build_good(sources, ARRAY_SIZE(sources));

    assert_int_equal(config->daemon.log_level, LOG_ERR);
    assert_int_equal(config->daemon.backend, BACKEND_POLL);
    assert_int_equal(config->n_jobs, 3);
    assert_string_equal(config->jobs[0].name, "tea");
    assert_int_equal(config->jobs[0].count, 2);
    assert_int_equal(rate_interval(config->jobs[0].rate), NSEC_PER_SEC / 4);
    assert_string_equal(config->jobs[1].name, "beat");
    assert_int_equal(rate_interval(config->jobs[1].rate), 3 * NSEC_PER_SEC);
    assert_string_equal(config->jobs[1].message, "first");
    assert_string_equal(config->jobs[2].name, "added");
    assert_int_equal(rate_interval(config->jobs[2].rate), 8 * NSEC_PER_SEC);
    config_free(config);
}

/* A drop-in is held to the same rules, and a mistake in the main file stays one when it is overridden. */
static void test_drop_in_mistakes(void **state)
{
    static const struct source sources[] = {
        {"main", JOB "rate = x\n", 0},
        {"10", "[job:tea]\nrate = 1\ninterval = 1s\n", 0},
        {"20", "[job:tea]\nrate = 1\nrate = 1\n[job:tea]\n", 0},
    };
    static const struct source wrong_kind[] = {
        {"main", "[job:beat]\nkind = loop\nimmediate = no\n", 0},
        {"10", "[job:beat]\nkind = lop\n", 0},
    };
    (void)state;

    expect_told(wrong_kind, ARRAY_SIZE(wrong_kind), "10:2: job:beat: kind: 'lop' is unknown; did you mean 'loop'?\n");
    expect_told(sources, 2,
                "main:4: job:tea: rate: 'x' is not a rate such as 0.5, 30/min or 1/26h\n"
                "10:3: job:tea: interval: rate and interval say the same thing; give one of them\n");
    expect_told(sources, ARRAY_SIZE(sources),
                "main:4: job:tea: rate: 'x' is not a rate such as 0.5, 30/min or 1/26h\n"
                "20:3: job:tea: rate: set before, in line 2\n"
                "20:4: job:tea: this section was begun before, in line 1\n");
}

/* A file's name cannot forge a line either. */
static void test_hostile_file_name(void **state)
{
    static const struct source source = {"a\nb\x1b[2J.conf", "[x]\n", 0};
    (void)state;

    expect_told(&source, 1, "a\\x0ab\\x1b[2J.conf:1: x: " NO_SECTION);
}

/* --- files --- */

/* A directory of the test's own; state points to its path. */
static int make_dir(void **state)
{
    const char *base = getenv("TMPDIR");
    char *path;

    if (asprintf(&path, "%s/twisty-config-XXXXXX", base != NULL ? base : "/tmp") < 0 || mkdtemp(path) == NULL)
        return -1;
    *state = path;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int remove_dir(void **state)
{
    int r = nftw(*state, remove_one, 8, FTW_DEPTH | FTW_PHYS);

    free(*state);
    return r;
}

static const char *in_dir(const char *dir, const char *name)
{
    static char path[PATH_MAX];

    assert_true(snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path);
    return path;
}

static void write_file(const char *dir, const char *name, const char *text)
{
    FILE *f = fopen(in_dir(dir, name), "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* Load DIR/NAME; what is told is compared with DIR cut off. */
static void expect_load(const char *dir, const char *name, const char *expected)
{
    struct told told = {0};
    struct config *config = NULL;
    char *path = strdup(in_dir(dir, name));
    size_t cut = strlen(dir) + 1;

    assert_non_null(path);
    assert_int_equal(conf_files_load(path, tell, &told, NULL, &config), *expected ? -EINVAL : 0);
    if (*expected) {
        assert_non_null(told.text);
        assert_true(told.len > cut);
        assert_memory_equal(told.text, path, cut);
        assert_string_equal(told.text + cut, expected);
    } else if (told.n > 0) {
        fail_msg("told of a mistake: %s", told.text);
    }
    config_free(config);
    free(told.text);
    free(path);
}

static void test_no_file(void **state)
{
    struct told told = {0};
    struct config *config = NULL;
    (void)state;

    assert_int_equal(conf_files_load(NULL, tell, &told, NULL, &config), 0);
    assert_int_equal(told.n, 0);
    assert_int_equal(config->n_jobs, 0);
    assert_int_equal(config->daemon.max_jobs, 2000000);
    config_free(config);
}

static void test_unreadable(void **state)
{
    const char *dir = *state;

    expect_load(dir, "none.conf", "none.conf: cannot be read: No such file or directory\n");
    assert_int_equal(mkdir(in_dir(dir, "dir.conf"), 0700), 0);
    expect_load(dir, "dir.conf", "dir.conf: is a directory, not a file\n");
    assert_int_equal(mkfifo(in_dir(dir, "fifo.conf"), 0600), 0);
    expect_load(dir, "fifo.conf", "fifo.conf: is not a regular file\n");
    assert_int_equal(symlink("/dev/zero", in_dir(dir, "zero.conf")), 0);
    expect_load(dir, "zero.conf", "zero.conf: is not a regular file\n");
    assert_int_equal(symlink("loop.conf", in_dir(dir, "loop.conf")), 0);
    expect_load(dir, "loop.conf", "loop.conf: cannot be read: Too many levels of symbolic links\n");
    write_file(dir, "huge.conf", "");
    assert_int_equal(truncate(in_dir(dir, "huge.conf"), (off_t)CONF_FILE_SIZE_MAX + 1), 0);
    expect_load(dir, "huge.conf", "huge.conf: is larger than 256 MiB\n");
}

static void test_drop_in_files(void **state)
{
    const char *dir = *state;
    struct told told = {0};
    struct config *config = NULL;

    write_file(dir, "a.conf", JOB "message = main\n");
    assert_int_equal(mkdir(in_dir(dir, "a.conf.d"), 0700), 0);
    write_file(dir, "a.conf.d/20.conf", "[job:tea]\nmessage = twenty\n[job:b]\nkind = once\n");
    write_file(dir, "a.conf.d/10.conf", "[job:tea]\nmessage = ten\n[job:a]\nkind = once\n");
    write_file(dir, "a.conf.d/.hidden.conf", "nonsense");
    write_file(dir, "a.conf.d/30.conf~", "nonsense");
    write_file(dir, "a.conf.d/README", "nonsense");
    write_file(dir, "a.conf.d/conf", "nonsense");
    assert_int_equal(conf_files_load(in_dir(dir, "a.conf"), tell, &told, NULL, &config), 0);
    assert_int_equal(config->n_jobs, 3);
    assert_string_equal(config->jobs[0].message, "twenty");
    assert_string_equal(config->jobs[1].name, "a");
    assert_string_equal(config->jobs[2].name, "b");
    config_free(config);
}

static void test_bad_drop_in_files(void **state)
{
    const char *dir = *state;

    write_file(dir, "a.conf", "[demon]\n");
    write_file(dir, "a.conf.d", "");
    struct told told = {0};
    struct config *config = NULL;
    assert_int_equal(conf_files_load(in_dir(dir, "a.conf"), tell, &told, NULL, &config), -EINVAL);
    assert_non_null(strstr(told.text, "a.conf:1: demon: unknown section; did you mean 'daemon'?\n"));
    assert_non_null(strstr(told.text, "a.conf.d: cannot be read: Not a directory\n"));
    free(told.text);

    write_file(dir, "b.conf", "");
    assert_int_equal(mkdir(in_dir(dir, "b.conf.d"), 0700), 0);
    assert_int_equal(mkfifo(in_dir(dir, "b.conf.d/10.conf"), 0600), 0);
    expect_load(dir, "b.conf", "b.conf.d/10.conf: is not a regular file\n");
    assert_int_equal(unlink(in_dir(dir, "b.conf.d/10.conf")), 0);
    assert_int_equal(symlink("gone", in_dir(dir, "b.conf.d/20.conf")), 0);
    expect_load(dir, "b.conf", "b.conf.d/20.conf: cannot be read: No such file or directory\n");
    assert_int_equal(unlink(in_dir(dir, "b.conf.d/20.conf")), 0);
    expect_load(dir, "b.conf", "");

    /* Without the main file its drop-ins would only seem to be wrong. */
    assert_int_equal(mkdir(in_dir(dir, "c.conf.d"), 0700), 0);
    write_file(dir, "c.conf.d/10.conf", "[job:tea]\nrate = 2\n");
    expect_load(dir, "c.conf", "c.conf: cannot be read: No such file or directory\n");
}

/* --- the files of conf/ --- */

static size_t loaded;

static int load_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    struct told told = {0};
    struct config *config = NULL;

    (void)st, (void)ftw;
    if (type != FTW_F)
        return 0;
    if (conf_files_load(path, tell, &told, NULL, &config) < 0)
        fail_msg("%s: %s", path, told.text);
    config_free(config);
    loaded++;
    return 0;
}

static void test_conf(void **state)
{
    const char *name = "conf/twistyd.conf";
    struct told told = {0};
    struct config *config = NULL;
    (void)state;

    assert_int_equal(nftw("conf", load_one, 8, FTW_PHYS), 0);
    assert_true(loaded > 8);
    assert_int_equal(conf_files_load(name, tell, &told, NULL, &config), 0);
    assert_int_equal(config->n_jobs, 0);
    expect_built_in(&config->daemon);
    config_free(config);
}

/* What the installed file shows as a comment is valid and, but for the job, what is built in. */
static void test_conf_comments(void **state)
{
    FILE *f = fopen("conf/twistyd.conf", "r");
    char line[256], text[8192];
    size_t len = 0;
    (void)state;

    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL)
        if (line[0] == '#' && line[1] != ' ' && line[1] != '\n')
            len += (size_t)snprintf(text + len, sizeof text - len, "%s", line + 1);
    fclose(f);
    struct config *config = build_text(text);
    expect_built_in(&config->daemon);
    assert_int_equal(config->n_jobs, 1);
    assert_string_equal(config->jobs[0].name, "tea");
    assert_true(spec_draft_has(&config->defaults, KEY_RATE));
    config_free(config);
}

static void test_three_counters(void **state)
{
    struct told told = {0};
    struct config *config = NULL;
    static const struct {
        const char *name;
        uint64_t count;
        int64_t interval;
    } expected[] = {{"counter-1", 3, 3}, {"counter-2", 3, 1}, {"countdown", 5, 1}};
    (void)state;

    assert_int_equal(conf_files_load("conf/examples/three-counters.conf", tell, &told, NULL, &config), 0);
    assert_true(config->daemon.exit_when_done);
    assert_int_equal(config->n_jobs, ARRAY_SIZE(expected));
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
        assert_string_equal(config->jobs[i].name, expected[i].name);
        assert_int_equal(config->jobs[i].kind, JOB_COUNTDOWN);
        assert_int_equal(config->jobs[i].count, expected[i].count);
        assert_int_equal(rate_interval(config->jobs[i].rate), expected[i].interval * NSEC_PER_SEC);
        assert_non_null(config->jobs[i].message);
    }
    config_free(config);
}

/* --- size and noise --- */

static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The CPU time to load n jobs, each named again in a drop-in. */
static double load_jobs(size_t n)
{
    size_t size = 80 * n + 1, len[2] = {0};
    char *text[2] = {malloc(size), malloc(size)};

    assert_true(text[0] != NULL && text[1] != NULL);
    for (size_t i = 0; i < n; i++) {
        len[0] += (size_t)snprintf(text[0] + len[0], size - len[0],
                                   "[job:job-%zu]\nkind = countdown\ncount = %zu\nrate = 0.5\n", i, i);
        len[1] += (size_t)snprintf(text[1] + len[1], size - len[1], "[job:job-%zu]\ninterval = 3s\n", n - 1 - i);
    }
    struct source sources[] = {{"main", text[0], len[0]}, {"drop-in", text[1], len[1]}};
    double start = cpu_seconds();
    struct config *config = build_good(sources, 2);
    double took = cpu_seconds() - start;
    assert_int_equal(config->n_jobs, n);
    for (size_t i = 0; i < n; i += n / 10) {
        assert_int_equal(config->jobs[i].count, i);
        assert_int_equal(rate_interval(config->jobs[i].rate), 3 * NSEC_PER_SEC);
    }
    config_free(config);
    free(text[0]);
    free(text[1]);
    return took;
}

/* A file of jobs, as `twistyctl add --file` reads it: 0 with "name line key=value ..." for each in out, or -EINVAL. */
static int read_jobs(const char *text, struct told *told, char *out, size_t size)
{
    struct config_builder *b = config_builder_new(tell, told);
    struct config_job job;
    size_t n = 0, len = 0, seen = 0;

    assert_non_null(b);
    assert_int_equal(config_builder_add(b, "jobs", text, strlen(text)), 0);
    int r = config_builder_check_jobs(b, &n);
    out[0] = '\0';
    for (; r == 0 && config_builder_next_job(b, &job); seen++) {
        len += (size_t)snprintf(out + len, size - len, "%s %u", job.values[KEY_NAME], job.line);
        for (size_t key = KEY_NAME + 1; key < KEY_COUNT_OF_KEYS; key++)
            if (job.values[key] != NULL)
                len += (size_t)snprintf(out + len, size - len, " %s=%s", spec_keys[key].ini, job.values[key]);
        len += (size_t)snprintf(out + len, size - len, "\n");
    }
    assert_int_equal(seen, n);
    config_builder_free(b);
    return r;
}

static void test_files_of_jobs(void **state)
{
    static const struct {
        const char *text, *jobs;
    } good[] = {
        {"", ""},
        {"[defaults]\ncount = 3\n", ""},
        {"[job:a]\nkind = countdown\n", "a 1 kind=countdown\n"}, // the daemon's defaults may have the count
        {"[job:a]\nkind=once\ndelay = 90\n[job:b]\nkind = loop\n", "a 1 kind=once delay=90\nb 4 kind=loop\n"},
        // defaults: for every job, wherever they stand, but for what the kind does not have
        {"[job:a]\nkind = once\n[defaults]\nrate = 2\ncount = 7\nimmediate = no\nmessage = m\n[job:b]\nkind = loop\n"
         "interval = 3s\n[job:c]\nkind = countdown\nmessage = own\n",
         "a 1 kind=once message=m\n"
         "b 8 kind=loop count=7 interval=3s immediate=no message=m\n"
         "c 11 kind=countdown count=7 rate=2 message=own\n"},
        {"[defaults]\ninterval = 2s\n[job:a]\nkind = loop\nrate = 1\n", "a 3 kind=loop rate=1\n"},
    };
    static const struct {
        const char *text, *mistakes;
    } bad[] = {
        {"\n[daemon]\nlog-level = info\n",
         "jobs:2: daemon: a file of jobs has only [defaults] and [job:NAME]; this is for twistyd.conf\n"},
        {"[job:a]\nrate = 1\n", "jobs:1: job:a: kind: missing; one of countdown|loop|once\n"},
        {"[job:a]\nkind = once\ncount = 1\n", "jobs:3: job:a: count: a once job has no count\n"},
        {"[defaults]\nrate = 1\ninterval = 1s\n[job:a]\nkind = loop\n",
         "jobs:3: defaults: interval: rate and interval say the same thing; give one of them\n"},
        {"[job:a]\nkind = once\n[job:a]\nkind = once\n", "jobs:3: job:a: this section was begun before, in line 1\n"},
    };
    char jobs[512];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        struct told told = {0};
        assert_int_equal(read_jobs(good[i].text, &told, jobs, sizeof jobs), 0);
        assert_string_equal(jobs, good[i].jobs);
        assert_int_equal(told.n, 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct told told = {0};
        assert_int_equal(read_jobs(bad[i].text, &told, jobs, sizeof jobs), -EINVAL);
        assert_string_equal(told.text, bad[i].mistakes);
        free(told.text);
    }
}

/* Reading is broken off soon after it was given up, wherever it is. */
static void test_given_up(void **state)
{
    atomic_bool given_up = false;
    struct config_builder *b = config_builder_new(tell, NULL);
    struct config *config;

    (void)state;
    assert_non_null(b);
    config_builder_watch(b, &given_up);
    assert_int_equal(config_builder_add(b, "a", "[job:a]\nkind = once\n", 20), 0);
    atomic_store(&given_up, true);
    assert_int_equal(config_builder_add(b, "b", "[job:b]\nkind = once\n", 20), -ECANCELED);
    assert_int_equal(config_builder_finish(b, &config), -ECANCELED);
    config_builder_free(b);
}

static void test_many_jobs(void **state)
{
    (void)state;
    double took = load_jobs(100000);

    print_message("100000 jobs, each in two files: %.3f s of CPU\n", took);
    assert_true(took < 5); // generous, for sanitizers; anything quadratic takes minutes
}

static uint64_t random_state = 1;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((random_state >> 33) % n);
}

/* Change, insert, double or remove bytes. */
static size_t mutate(char *text, size_t len, size_t size)
{
    static const char *const pieces[] = {"[",
                                         "]",
                                         "=",
                                         "\n",
                                         ";",
                                         " ;",
                                         "#",
                                         "\r\n",
                                         "\xff",
                                         "\xc3",
                                         "\xef\xbb\xbf",
                                         "job:",
                                         "[job:x]",
                                         "\n rate=1",
                                         "\t",
                                         ":",
                                         "every ",
                                         "-",
                                         "99999999999999999999",
                                         "\n[daemon]\n",
                                         A50};
    for (uint32_t n = 1 + random_below(6); n > 0; n--) {
        size_t at = random_below((uint32_t)len + 1);
        const char *piece = pieces[random_below(ARRAY_SIZE(pieces))];
        size_t add = strlen(piece);
        switch (random_below(4)) {
        case 0:
            if (at < len)
                text[at] = (char)random_below(256);
            break;
        case 1:
            if (len + add <= size) {
                memmove(text + at + add, text + at, len - at);
                memcpy(text + at, piece, add);
                len += add;
            }
            break;
        case 2:
            add = random_below((uint32_t)(len - at) + 1);
            memmove(text + at, text + at + add, len - at - add);
            len -= add;
            break;
        default:
            add = random_below((uint32_t)(len - at) + 1);
            if (len + add <= size) {
                memmove(text + at + add, text + at, len - at);
                len += add;
            }
        }
    }
    return len;
}

/* Whatever the bytes, the answer is a config or at least one line, never both and never neither. */
static void test_noise(void **state)
{
    static const char *const seeds[] = {
        JOB "rate = 0.5\n[daemon]\nexit-when-done = yes\n",
        "[defaults]\nrate = 30/min\n; note\n[job:a]\nkind = loop\nreport = every 5s\ncount: 3 ; three\n",
        "\xef\xbb\xbf[daemon]\r\nlog-level = debug\r\nclock = boottime\r\n[job:n]\r\nkind = once\r\nmessage = "
        "\xc3\xa9\r\n",
        "[job:" A10 A10 A10 A10 "]\nkind = countdown\ncount = 1\nmessage = " A150 "\n",
    };
    size_t good = 0, bad = 0;
    (void)state;

    for (int i = 0; i < 20000; i++) {
        struct told told = {0};
        struct config *config = NULL;
        char *text[2];
        struct source sources[2];
        for (int k = 0; k < 2; k++) {
            char buf[1024];
            const char *seed = seeds[random_below(ARRAY_SIZE(seeds))];
            size_t len = (size_t)snprintf(buf, sizeof buf, "%s", seed);
            len = mutate(buf, len, sizeof buf);
            text[k] = malloc(len + 1); // exactly so large, for the sanitizers
            assert_non_null(text[k]);
            memcpy(text[k], buf, len);
            text[k][len] = '\0';
            sources[k] = (struct source){k ? "b" : "a", text[k], len};
        }
        int r = build(sources, 1 + random_below(2), &told, &config);
        assert_true((r == 0 && config != NULL && told.n == 0) || (r == -EINVAL && config == NULL && told.n > 0));
        r == 0 ? good++ : bad++;
        config_free(config);
        free(told.text);
        free(text[0]);
        free(text[1]);
    }
    assert_true(good > 100 && bad > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_built_in_settings),
        cmocka_unit_test(test_daemon_settings),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_jobs),
        cmocka_unit_test(test_notation),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_inih_traps),
        cmocka_unit_test(test_bad_lines),
        cmocka_unit_test(test_bad_sections),
        cmocka_unit_test(test_bad_daemon_keys),
        cmocka_unit_test(test_bad_job_keys),
        cmocka_unit_test(test_bad_actions),
        cmocka_unit_test(test_actions),
        cmocka_unit_test(test_after),
        cmocka_unit_test(test_no_mistakes_that_follow),
        cmocka_unit_test(test_all_in_order),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_drop_ins),
        cmocka_unit_test(test_drop_in_mistakes),
        cmocka_unit_test(test_hostile_file_name),
        cmocka_unit_test(test_no_file),
        cmocka_unit_test_setup_teardown(test_unreadable, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_drop_in_files, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_bad_drop_in_files, make_dir, remove_dir),
        cmocka_unit_test(test_conf),
        cmocka_unit_test(test_conf_comments),
        cmocka_unit_test(test_three_counters),
        cmocka_unit_test(test_files_of_jobs),
        cmocka_unit_test(test_given_up),
        cmocka_unit_test(test_many_jobs),
        cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
