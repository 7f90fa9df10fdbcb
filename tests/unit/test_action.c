/* Actions: command lines split as systemd splits them, hostile ones included; waits between tries; lines of output. */
#include "daemon/action.h"
#include "daemon/capture.h"
#include "daemon/chain.h"
#include "daemon/environment.h"
#include "tests/unit/random.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#include <cmocka.h>

/* The words with a "|" behind each, or what is wrong. */
static const char *split(const char *text)
{
    static char out[1024];
    struct text_list words;

    out[0] = '\0';
    if (action_split(text, &words, out, sizeof out) < 0) {
        assert_int_equal(words.n, 0);
        return out;
    }
    for (size_t i = 0; i < words.n; i++)
        snprintf(out + strlen(out), sizeof out - strlen(out), "%s|", words.items[i]);
    text_list_clear(&words);
    return out;
}

static void command_lines_are_split_as_systemd_does(void **state)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"/bin/true", "/bin/true|"},
        {"  /bin/echo\ta  b ", "/bin/echo|a|b|"},
        {"/bin/echo \"a b\" 'c d' \"\" ''", "/bin/echo|a b|c d|||"},
        {"/bin/echo \"it's\" 'say \"so\"'", "/bin/echo|it's|say \"so\"|"},
        {"\"/opt/my tools/x\" y", "/opt/my tools/x|y|"},
        {"/bin/echo a\\sb \\x41\\102\\u00e4\\U0001F375", "/bin/echo|a b|AB\u00e4\U0001F375|"},
        {"/bin/echo \\a\\b\\f\\n\\r\\t\\v\\\\\\\"\\'", "/bin/echo|\a\b\f\n\r\t\v\\\"'|"},
        {"/bin/echo \"a\\nb\" 'c\\x20d'", "/bin/echo|a\nb|c d|"},
        {"/bin/date +%%s $$HOME 100%%", "/bin/date|+%s|$HOME|100%|"},
        {"/bin/echo \\; \";\" a;b ;c", "/bin/echo|;|;|a;b|;c|"},
        {"/bin/echo * ~ > x | y & #z `w`", "/bin/echo|*|~|>|x|||y|&|#z|`w`|"}, // no shell
        {"/bin/echo \\xff", "/bin/echo|\xff|"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_string_equal(split(rows[i].text), rows[i].words);
}

static void what_would_mean_something_else_is_refused(void **state)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"", "no command; it is an absolute path and arguments"},
        {" \t", "no command; it is an absolute path and arguments"},
        {"\"\"", "'' is not an absolute path"},
        {"true", "'true' is not an absolute path"},
        {"./x", "'./x' is not an absolute path"},
        {"/bin/", "'/bin/' is a directory, not a program"},
        {"-/bin/true", "'-/bin/true' begins with '-'; there are no prefixes here, begin with the path's /"},
        {"@/bin/true x", "'@/bin/true' begins with '@'; there are no prefixes here, begin with the path's /"},
        {"!!/bin/true", "'!!/bin/true' begins with '!'; there are no prefixes here, begin with the path's /"},
        {":/bin/true", "':/bin/true' begins with ':'; there are no prefixes here, begin with the path's /"},
        {"+/bin/true", "'+/bin/true' begins with '+'; there are no prefixes here, begin with the path's /"},
        {"/bin/date +%s", "'%' has no meaning here, as no specifiers are replaced; write %% for the character"},
        {"/bin/echo %", "'%' has no meaning here, as no specifiers are replaced; write %% for the character"},
        {"/bin/echo \"$HOME\"", "'$' has no meaning here, as no variables are replaced; write $$ for the character"},
        {"/bin/a ; /bin/b", "a lone ';' would begin another command; write \";\""},
        {"/bin/a ;", "a lone ';' would begin another command; write \";\""},
        {"/bin/echo don't", "a ' in the middle of a word; write \\', or quote the whole word"},
        {"/bin/echo A=\"b c\"", "a \" in the middle of a word; write \\\", or quote the whole word"},
        {"/bin/echo \"a\"b", "text right after a closing \"; quotes stand around a whole word"},
        {"/bin/echo 'a", "a ' has no partner"},
        {"/bin/echo \"a\\\"", "a \" has no partner"},
        {"/bin/echo \\", "'\\\\' is no escape; write \\\\ for a backslash"},
        {"/bin/echo \\q", "'\\\\q' is no escape; write \\\\ for a backslash"},
        {"/bin/echo \\x4", "'\\\\x4' is no escape; write \\\\ for a backslash"},
        {"/bin/echo \\xg0", "'\\\\xg' is no escape; write \\\\ for a backslash"},
        {"/bin/echo \\08", "'\\\\08' is no escape; write \\\\ for a backslash"},
        {"/bin/echo \\x00", "no argument can have a NUL byte in it"},
        {"/bin/echo a\\000b", "no argument can have a NUL byte in it"},
        {"/bin/echo \\u0000", "no argument can have a NUL byte in it"},
        {"/bin/echo \\400", "'\\400' is no byte"},
        {"/bin/echo \\ud800", "'\\ud800' is no character"},
        {"/bin/echo \\U00110000", "'\\U00110000' is no character"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_string_equal(split(rows[i].text), rows[i].why);
}

/* Whatever the bytes: it ends, within bounds (the sanitizers look), and what is refused is told in printable text. */
static void hostile_command_lines(void **state)
{
    static const char bytes[] = "/\\\\\\\"\"''%%$;xuU0147aAfF \t-@\x01\x7f\xc3\xff";
    struct random random = random_start(5);
    (void)state;

    for (unsigned round = 0; round < 200000; round++) {
        char text[32] = "/", why[96];
        struct text_list words;
        size_t len = random_below(&random, sizeof text - 2);
        for (size_t i = 1; i <= len; i++)
            text[i] = bytes[random_below(&random, sizeof bytes - 1)];
        if (action_split(text, &words, why, sizeof why) == 0) {
            assert_true(words.n > 0 && words.items[0][0] == '/');
            text_list_clear(&words);
        } else {
            assert_true(text_printable(why));
        }
    }
}

static void waits_between_tries_double_up_to_an_hour(void **state)
{
    const int64_t second = NSEC_PER_SEC, hour = 3600 * NSEC_PER_SEC;
    uint64_t seed = 1;
    (void)state;

    for (uint32_t attempt = 1; attempt <= ACTION_RETRY_MAX; attempt++) {
        int64_t whole = attempt <= 12 ? second << (attempt - 1) : hour, least = INT64_MAX, most = 0;
        for (unsigned i = 0; i < 1000; i++) {
            int64_t wait = action_backoff(second, attempt, &seed);
            least = wait < least ? wait : least;
            most = wait > most ? wait : most;
        }
        assert_true(least >= whole / 2 && least < whole / 2 + whole / 20);
        assert_true(most <= whole && most > whole - whole / 20);
    }
}

static void waits_have_no_bad_ends(void **state)
{
    uint64_t seed = 7, again = 7;
    (void)state;

    assert_int_equal(action_backoff(1, 1, &seed), 1);
    assert_int_equal(action_backoff(SPAN_MAX, 100, &again) > SPAN_MAX, 0);
    for (uint32_t attempt = 1; attempt <= ACTION_RETRY_MAX; attempt++) {
        int64_t wait = action_backoff(SPAN_MAX, attempt, &seed);
        assert_true(wait >= SPAN_MAX / 2 && wait <= SPAN_MAX);
    }
    seed = again = 42; // the same seed, the same waits
    for (uint32_t attempt = 1; attempt < 20; attempt++)
        assert_int_equal(action_backoff(NSEC_PER_SEC, attempt, &seed), action_backoff(NSEC_PER_SEC, attempt, &again));
}

/* Lines with a "|" behind each. */
static char captured[4096];

static void tell(void *ctx, const char *line)
{
    size_t len = strlen(captured);

    (void)ctx;
    snprintf(captured + len, sizeof captured - len, "%s|", line);
}

/* Feed it in parts of `step` bytes; how many lines were left out. */
static size_t feed(struct capture *c, const char *text, size_t n, size_t step, size_t most)
{
    size_t skipped = 0;

    for (size_t at = 0; at < n; at += step)
        skipped += capture_feed(c, text + at, MIN(step, n - at), most, tell, NULL);
    return skipped + capture_end(c, most, tell, NULL);
}

static void output_becomes_lines_however_it_comes(void **state)
{
    static const char text[] = "one\ntwo\r\n\n\0three\0\nfour";
    (void)state;

    for (size_t step = 1; step < sizeof text; step++) {
        struct capture c = {0};
        captured[0] = '\0';
        assert_int_equal(feed(&c, text, sizeof text - 1, step, 100), 0);
        assert_int_equal(capture_end(&c, 1, tell, NULL), 0);
        assert_string_equal(captured, "one|two||?three?|four|");
        assert_string_equal(c.last, "four");
    }
}

static void long_lines_are_cut(void **state)
{
    struct capture c = {0};
    char expected[CAPTURE_LINE_MAX + 1];
    (void)state;

    captured[0] = '\0';
    for (unsigned i = 0; i < 5000; i++)
        capture_feed(&c, "x", 1, 1, tell, NULL);
    capture_feed(&c, "\nnext\n", 6, 2, tell, NULL);
    memset(expected, 'x', sizeof expected - 1);
    memcpy(expected + CAPTURE_LINE_MAX - 3, "...", 4);
    assert_memory_equal(captured, expected, CAPTURE_LINE_MAX);
    assert_string_equal(captured + CAPTURE_LINE_MAX, "|next|");
}

/* However much is left out, and wherever a part ends: the lines add up, and the last one is known. */
static void lines_that_are_not_told_are_counted(void **state)
{
    static const struct {
        const char *text, *last;
        size_t lines;
    } rows[] = {
        {"", "", 0},
        {"\n", "", 1},
        {"\n\n\n", "", 3},
        {"a", "a", 1},
        {"a\nb\n\n\n", "b", 4},
        {"\nab\n", "ab", 2},
        {"ab\ncd\nef", "ef", 3},
        {"ab\n\ncd\r\n\n", "cd", 4},
        {"x\n\r\n", "x", 2},
    };
    char *end;
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        for (size_t step = 1; step <= strlen(rows[i].text); step++)
            for (size_t most = 0; most < 5; most++) {
                struct capture c = {0};
                size_t told = 0;
                captured[0] = '\0';
                size_t skipped = feed(&c, rows[i].text, strlen(rows[i].text), step, most);
                for (end = captured; (end = strchr(end, '|')) != NULL; end++)
                    told++;
                assert_int_equal(told + skipped, rows[i].lines);
                assert_true(most > 0 || told == 0);
                assert_string_equal(c.last, rows[i].last);
            }
}

/* Whom each of the jobs a, b, c ... waits for, a letter each. */
static const char *next(void *ctx, const char *name)
{
    static char names[26][2];
    const char *graph = ctx;
    char other = graph[name[0] - 'a'];

    if (other == '-')
        return NULL;
    names[other - 'a'][0] = other;
    return names[other - 'a'];
}

static void circles_are_found_with_their_path(void **state)
{
    static const struct {
        const char *graph, *path;
        int result;
    } rows[] = {
        {"-", "", 0},
        {"b-", "", 0},
        {"a", "a -> a", -ELOOP},
        {"ba", "a -> b -> a", -ELOOP},
        {"bcb", "", 0},
        {"bcd-", "", 0},
        {"bcda", "a -> b -> c -> d -> a", -ELOOP},
    };
    char path[CHAIN_PATH_MAX], text[16];
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        path[0] = '\0';
        snprintf(text, sizeof text, "%s", rows[i].graph);
        assert_int_equal(chain_check("a", next, text, path, sizeof path), rows[i].result);
        assert_string_equal(path, rows[i].path);
    }
    // a path that does not fit leaves out its middle, in a buffer of every size
    for (size_t size = 1; size < 25; size++) {
        snprintf(text, sizeof text, "bcdefa");
        assert_int_equal(chain_check("a", next, text, path, size), -ELOOP);
        assert_true(strlen(path) < size);
    }
    assert_int_equal(chain_check("a", next, text, path, 20), -ELOOP);
    assert_string_equal(path, "a -> b -> ... -> a");
}

/* "name" waits for "name'": without end. */
static const char *next_of_many(void *ctx, const char *name)
{
    static char names[CHAIN_MAX + 2][8];
    const unsigned *length = ctx;
    unsigned n = (unsigned)atoi(name) + 1;

    if (n == *length)
        return NULL;
    snprintf(names[n], sizeof names[n], "%u", n);
    return names[n];
}

static void chains_have_a_bound(void **state)
{
    char path[CHAIN_PATH_MAX];
    unsigned length = CHAIN_MAX;
    (void)state;

    assert_int_equal(chain_check("0", next_of_many, &length, path, sizeof path), 0);
    length++;
    assert_int_equal(chain_check("0", next_of_many, &length, path, sizeof path), -E2BIG);
}

/* The texts with a "|" behind each. */
static const char *environment(const char *listed, const struct occasion *occasion)
{
    static char out[512];
    struct text_list list = {0};
    struct action *action = action_new("a");
    char why[96];

    assert_int_equal(action_set(action, ACTION_ENVIRONMENT, listed, why, sizeof why), 0);
    assert_int_equal(environment_fill(action, occasion, &list), 0);
    out[0] = '\0';
    for (size_t i = 0; i < list.n; i++)
        snprintf(out + strlen(out), sizeof out - strlen(out), "%s|", list.items[i]);
    text_list_clear(&list);
    action_unref(action);
    return out;
}

#define OWN "TWISTY_JOB=tea|TWISTY_ID=7|TWISTY_EVENT=finish|"

static void the_environment_is_what_is_listed(void **state)
{
    const struct occasion finish = {.job = "tea", .id = 7, .hook = HOOK_FINISH, .left = 0, .count = 5, .missed = 2};
    const struct occasion endless = {
        .job = "tea", .id = 7, .hook = HOOK_FINISH, .left = COUNT_FOREVER, .count = COUNT_FOREVER};
    (void)state;

    clearenv();
    setenv("PATH", "/bin", 1);
    setenv("SECRET", "s", 1);
    setenv("TWISTY_JOB", "forged", 1);
    assert_string_equal(environment("", &finish), "PATH=/bin|" OWN "TWISTY_LEFT=0|TWISTY_COUNT=5|TWISTY_MISSED=2|");
    assert_string_equal(environment("", &endless), "PATH=/bin|" OWN "TWISTY_LEFT=|TWISTY_COUNT=|TWISTY_MISSED=0|");
    assert_string_equal(environment("PATH=/opt/bin SECRET NOT_THERE \"X=a b\" X=c", &finish),
                        "PATH=/opt/bin|SECRET=s|X=c|" OWN "TWISTY_LEFT=0|TWISTY_COUNT=5|TWISTY_MISSED=2|");
}

static struct action *named(const char *name)
{
    struct action *action = action_new(name);

    assert_non_null(action);
    return action;
}

static void counts_go_on_with_the_next_of_the_name(void **state)
{
    struct action *held, *old_list[] = {named("b"), named("d")}, *new_list[] = {named("a"), named("b"), named("c")};
    struct actions old = {calloc(2, sizeof held), 2}, new = {calloc(3, sizeof held), 3};
    (void)state;

    memcpy(old.list, old_list, sizeof old_list);
    memcpy(new.list, new_list, sizeof new_list);
    held = action_ref(old_list[0]); // by a run
    held->tally->counts.running = 1;
    actions_succeed(&new, &old);
    actions_clear(&old);
    held->tally->counts.running--;
    held->tally->counts.started = 7;
    action_unref(held);
    assert_int_equal(new_list[1]->tally->counts.running, 0);
    assert_int_equal(new_list[1]->tally->counts.started, 7);
    assert_int_equal(new_list[0]->tally->counts.started + new_list[2]->tally->counts.started, 0);
    static const struct {
        const char *name;
        size_t index;
    } rows[] = {{"", 0}, {"a", 1}, {"aa", 1}, {"b", 2}, {"c", 3}, {"z", 3}};
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_int_equal(actions_behind(&new, rows[i].name), rows[i].index);
    actions_clear(&new);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(command_lines_are_split_as_systemd_does),
        cmocka_unit_test(what_would_mean_something_else_is_refused),
        cmocka_unit_test(hostile_command_lines),
        cmocka_unit_test(waits_between_tries_double_up_to_an_hour),
        cmocka_unit_test(waits_have_no_bad_ends),
        cmocka_unit_test(output_becomes_lines_however_it_comes),
        cmocka_unit_test(long_lines_are_cut),
        cmocka_unit_test(lines_that_are_not_told_are_counted),
        cmocka_unit_test(circles_are_found_with_their_path),
        cmocka_unit_test(chains_have_a_bound),
        cmocka_unit_test(the_environment_is_what_is_listed),
        cmocka_unit_test(counts_go_on_with_the_next_of_the_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
