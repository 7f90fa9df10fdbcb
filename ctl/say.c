#include "say.h"

#include "daemon/quantity.h"
#include "daemon/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void say_text(FILE *file, const char *text)
{
    if (text_printable(text)) {
        fputs(text, file);
        return;
    }
    size_t size = strlen(text) * 4 + 1; // \xNN for each byte
    char *escaped = calloc(1, size);
    if (escaped != NULL)
        text_escape(escaped, size, 0, text);
    fputs(escaped != NULL ? escaped : "?", file);
    free(escaped);
}

void say_value(FILE *file, struct skim_value string, const char *absent)
{
    char *text = skim_copy(string);

    say_text(file, text != NULL ? text : absent);
    free(text);
}

void say_error(const char *format, ...)
{
    char line[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    fputs("twistyctl: ", stderr);
    say_text(stderr, line);
    fputc('\n', stderr);
}

int say_all(void)
{
    // After a write that failed before this, errno is still that of the last one.
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    int error = errno;
    clearerr(stdout); // it is told once
    if (error != EPIPE)
        say_error("cannot write to standard output: %s", strerror(error));
    return -error;
}

/* One number of three digits, rounded half up: "333ms", "1.25s". ns is below 999.5 units; a unit is at least 100 ns. */
static void format_three_digits(int64_t ns, int64_t unit, const char *name, char *buf, size_t size)
{
    int decimals = ns < 10 * unit ? 2 : ns < 100 * unit ? 1 : 0;
    int64_t power = decimals == 2 ? 100 : decimals == 1 ? 10 : 1;
    int64_t step = unit / power;
    int64_t steps = (ns + step / 2) / step;

    for (; decimals > 0 && steps % 10 == 0; decimals--) {
        steps /= 10;
        power /= 10;
    }
    if (decimals == 0)
        snprintf(buf, size, "%" PRId64 "%s", steps, name);
    else
        snprintf(buf, size, "%" PRId64 ".%s%" PRId64 "%s", steps / power,
                 decimals == 2 && steps % power < 10 ? "0" : "", steps % power, name);
}

/* "1h 30min": two neighbouring units, the second one rounded and left out when it is zero. */
static void format_two_units(int64_t ns, int64_t large, const char *large_name, int64_t small, const char *small_name,
                             char *buf, size_t size)
{
    int64_t smalls = ns / small + (ns % small >= small / 2);
    int64_t per_large = large / small;

    if (smalls % per_large == 0)
        snprintf(buf, size, "%" PRId64 "%s", smalls / per_large, large_name);
    else
        snprintf(buf, size, "%" PRId64 "%s %" PRId64 "%s", smalls / per_large, large_name, smalls % per_large,
                 small_name);
}

char *span_human(int64_t ns, char *buf, size_t size)
{
    const int64_t minute = 60 * NSEC_PER_SEC, hour = 60 * minute, day = 24 * hour;

    if (ns == 0)
        snprintf(buf, size, "0s");
    else if (ns < NSEC_PER_USEC)
        snprintf(buf, size, "%" PRId64 "ns", ns);
    else if (ns < NSEC_PER_MSEC - NSEC_PER_USEC / 2)
        format_three_digits(ns, NSEC_PER_USEC, "us", buf, size);
    else if (ns < NSEC_PER_SEC - NSEC_PER_MSEC / 2)
        format_three_digits(ns, NSEC_PER_MSEC, "ms", buf, size);
    else if (ns < minute - NSEC_PER_SEC / 20)
        format_three_digits(ns, NSEC_PER_SEC, "s", buf, size);
    else if (ns < hour - NSEC_PER_SEC / 2)
        format_two_units(ns, minute, "min", NSEC_PER_SEC, "s", buf, size);
    else if (ns < day - minute / 2)
        format_two_units(ns, hour, "h", minute, "min", buf, size);
    else
        format_two_units(ns, day, "d", hour, "h", buf, size);
    return buf;
}
