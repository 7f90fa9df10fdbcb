#include "quantity.h"

#include "line.h"

#include <errno.h>
#include <string.h>

typedef unsigned __int128 u128;

/* As many decimal digits always fit into 64 bits. */
#define DIGITS_MAX 19

/* systemd.time(7); a month is a twelfth of a year of 365.25 days. */
static const struct unit {
    const char *name;
    int64_t ns;
} units[] = {
    {"ns", 1},
    {"nsec", 1},
    {"us", NSEC_PER_USEC},
    {"usec", NSEC_PER_USEC},
    {"\u00b5s", NSEC_PER_USEC},
    {"\u03bcs", NSEC_PER_USEC},
    {"ms", NSEC_PER_MSEC},
    {"msec", NSEC_PER_MSEC},
    {"s", NSEC_PER_SEC},
    {"sec", NSEC_PER_SEC},
    {"second", NSEC_PER_SEC},
    {"seconds", NSEC_PER_SEC},
    {"m", 60 * NSEC_PER_SEC},
    {"min", 60 * NSEC_PER_SEC},
    {"minute", 60 * NSEC_PER_SEC},
    {"minutes", 60 * NSEC_PER_SEC},
    {"h", 3600 * NSEC_PER_SEC},
    {"hr", 3600 * NSEC_PER_SEC},
    {"hour", 3600 * NSEC_PER_SEC},
    {"hours", 3600 * NSEC_PER_SEC},
    {"d", 86400 * NSEC_PER_SEC},
    {"day", 86400 * NSEC_PER_SEC},
    {"days", 86400 * NSEC_PER_SEC},
    {"w", 604800 * NSEC_PER_SEC},
    {"week", 604800 * NSEC_PER_SEC},
    {"weeks", 604800 * NSEC_PER_SEC},
    {"M", 2629800 * NSEC_PER_SEC},
    {"month", 2629800 * NSEC_PER_SEC},
    {"months", 2629800 * NSEC_PER_SEC},
    {"y", 31557600 * NSEC_PER_SEC},
    {"year", 31557600 * NSEC_PER_SEC},
    {"years", 31557600 * NSEC_PER_SEC},
};

/* The units that spans are printed in. */
static const struct unit print_units[] = {
    {"d", 86400 * NSEC_PER_SEC},
    {"h", 3600 * NSEC_PER_SEC},
    {"min", 60 * NSEC_PER_SEC},
    {"s", NSEC_PER_SEC},
    {"ms", NSEC_PER_MSEC},
    {"us", NSEC_PER_USEC},
    {"ns", 1},
};

/* An unsigned decimal number, exactly: mantissa / 10^scale. */
struct decimal {
    uint64_t mantissa;
    unsigned scale;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static const char *skip_space(const char *p)
{
    while (is_space(*p))
        p++;
    return p;
}

static u128 power_of_ten(unsigned n)
{
    u128 p = 1;
    while (n-- > 0)
        p *= 10;
    return p;
}

static int refuse(int error, const char *phrase, const char **why)
{
    *why = phrase;
    return error;
}

/* Reads digits[.digits] at *p and moves *p behind it. By hand: strtod(3) rounds and follows the locale. */
static int decimal_parse(const char **p, struct decimal *out, const char **why)
{
    const char *s = *p;
    unsigned digits = 0, scale = 0, zeros = 0;
    uint64_t mantissa = 0;
    bool fraction = false, any = false;

    if (*s == '-')
        return refuse(-ERANGE, "is negative", why);
    for (;; s++) {
        if (*s == '.' && !fraction) {
            fraction = true;
            continue;
        }
        if (!is_digit(*s))
            break;
        any = true;
        if (fraction && *s == '0') { // counts only if another digit follows
            zeros++;
            continue;
        }
        for (unsigned shift = fraction ? zeros + 1 : 1; shift > 0; shift--) {
            if (mantissa != 0 && ++digits >= DIGITS_MAX)
                return refuse(-ERANGE, "has more than 19 digits", why);
            mantissa *= 10;
            scale += fraction;
        }
        if (scale > DIGITS_MAX)
            return refuse(-ERANGE, "has more than 19 digits", why);
        zeros = 0;
        mantissa += (uint64_t)(*s - '0');
    }
    if (!any)
        return refuse(-EINVAL, "is not a number", why);
    *out = (struct decimal){mantissa, scale};
    *p = s;
    return 0;
}

/* The unit whose name stands at *p, moving *p behind it; NULL when there is none of that name. */
static const struct unit *unit_parse(const char **p)
{
    const char *end = *p;
    while (*end != '\0' && !is_space(*end) && !is_digit(*end) && *end != '.' && *end != '-')
        end++;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strlen(units[i].name) == (size_t)(end - *p) && strncmp(units[i].name, *p, (size_t)(end - *p)) == 0) {
            *p = end;
            return &units[i];
        }
    return NULL;
}

/* One "1.5h" of a span at *p. */
static int span_part_parse(const char **p, int64_t *out, const char **why)
{
    struct decimal number;
    int r = decimal_parse(p, &number, why);
    if (r < 0)
        return r;
    *p = skip_space(*p);

    int64_t unit = NSEC_PER_SEC;
    if (**p != '\0' && !is_digit(**p)) {
        const struct unit *u = unit_parse(p);
        if (u == NULL)
            return refuse(-EINVAL, "is not a time span such as 500ms, 2s or 1min 30s", why);
        unit = u->ns;
    }
    u128 scaled = (u128)number.mantissa * (u128)unit;
    u128 divisor = power_of_ten(number.scale);
    if (scaled % divisor != 0)
        return refuse(-ERANGE, "is finer than a nanosecond", why);
    if (scaled / divisor > SPAN_MAX)
        return refuse(-ERANGE, "is longer than 146 years", why);
    *out = (int64_t)(scaled / divisor);
    return 0;
}

int span_parse(const char *text, int64_t *out, const char **why)
{
    const char *p = skip_space(text);
    int64_t total = 0;

    if (*p == '\0')
        return refuse(-EINVAL, "is empty", why);
    if (strncmp(p, "inf", 3) == 0)
        return refuse(-ERANGE, "is infinite", why);
    while (*p != '\0') {
        int64_t part = 0;
        int r = span_part_parse(&p, &part, why);
        if (r == -EINVAL)
            *why = "is not a time span such as 500ms, 2s or 1min 30s";
        if (r < 0)
            return r;
        if (part > SPAN_MAX - total)
            return refuse(-ERANGE, "is longer than 146 years", why);
        total += part;
        p = skip_space(p);
    }
    *out = total;
    return 0;
}

static u128 greatest_common_divisor(u128 a, u128 b)
{
    while (b != 0) {
        u128 rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The span behind the "/" of a rate: "s", "min", "26h". */
static int rate_span_parse(const char *text, int64_t *out, const char **why)
{
    const char *p = skip_space(text);
    if (!is_digit(*p) && *p != '.' && *p != '-') {
        const struct unit *unit = unit_parse(&p);
        if (unit == NULL || *skip_space(p) != '\0')
            return refuse(-EINVAL, "is not a rate such as 0.5, 30/min or 1/26h", why);
        *out = unit->ns;
        return 0;
    }
    int r = span_parse(p, out, why);
    if (r == 0 && *out == 0)
        return refuse(-ERANGE, "divides by zero", why);
    return r;
}

static int rate_reject(const char *text, const char **why)
{
    int64_t span;
    const char *ignored;

    text = skip_space(text);
    if (strncasecmp(text, "nan", 3) == 0)
        return refuse(-ERANGE, "is not a number", why);
    if (strncasecmp(text, "inf", 3) == 0)
        return refuse(-ERANGE, "is infinite", why);
    if (span_parse(text, &span, &ignored) == 0)
        return refuse(-EINVAL, "is a time span, not a rate; did you mean interval?", why);
    return refuse(-EINVAL, "is not a rate such as 0.5, 30/min or 1/26h", why);
}

int rate_parse(const char *text, struct rate *out, const char **why)
{
    const char *p = skip_space(text);
    struct decimal number;
    int64_t span = NSEC_PER_SEC;

    if (*p == '\0')
        return refuse(-EINVAL, "is empty", why);
    int r = decimal_parse(&p, &number, why);
    if (r == -EINVAL)
        return rate_reject(text, why);
    if (r < 0)
        return r;
    p = skip_space(p);
    if (*p == '/')
        r = rate_span_parse(p + 1, &span, why);
    else if (*p != '\0')
        r = rate_reject(text, why);
    if (r < 0)
        return r;
    if (number.mantissa == 0)
        return refuse(-ERANGE, "is zero", why);

    u128 ns = (u128)span * power_of_ten(number.scale);
    u128 divisor = greatest_common_divisor(ns, number.mantissa);
    ns /= divisor;
    u128 ticks = number.mantissa / divisor;
    if (ticks > ns)
        return refuse(-ERANGE, "is more than a tick a nanosecond", why);
    if (ns / ticks > SPAN_MAX)
        return refuse(-ERANGE, "is less than a tick in 146 years", why);
    if (ns > SPAN_MAX)
        return refuse(-ERANGE, "has more digits than can be kept exactly", why);
    *out = (struct rate){(uint64_t)ns, (uint64_t)ticks};
    return 0;
}

struct rate rate_from_interval(int64_t interval)
{
    return (struct rate){(uint64_t)interval, 1};
}

/* Nearly always both fit in 64 bits, which the processor divides many times faster. */
static u128 divide(u128 a, u128 b)
{
    return (a | b) >> 64 == 0 ? (uint64_t)a / (uint64_t)b : a / b;
}

int64_t rate_due_divided(struct rate rate, uint64_t k)
{
    u128 exact = (u128)k * rate.ns;
    u128 whole = divide(exact, rate.ticks);
    uint64_t rest = (uint64_t)(exact - whole * rate.ticks);

    if (rest >= rate.ticks - rest) // half up
        whole += rest != 0;
    return whole > TIME_NEVER ? TIME_NEVER : (int64_t)whole;
}

int64_t rate_interval(struct rate rate)
{
    return rate_due(rate, 1);
}

/* rate_due(k) > e  <=>  k * ns / ticks + 1/2 >= e + 1  <=>  k >= (2e + 1) * ticks / (2 * ns) */
uint64_t rate_ticks_by(struct rate rate, int64_t elapsed)
{
    if (elapsed < 0)
        return 0;
    u128 numerator = ((u128)elapsed * 2 + 1) * rate.ticks;
    u128 denominator = (u128)rate.ns * 2;
    return (uint64_t)divide(numerator + denominator - 1, denominator);
}

/* whole + rest / 10^digits, without trailing zeros. */
static void put_decimal(struct line *line, uint64_t whole, uint64_t rest, size_t digits)
{
    char fraction[DIGITS_MAX];

    line_number(line, whole);
    if (rest == 0)
        return;
    for (; rest % 10 == 0; digits--)
        rest /= 10;
    for (size_t i = digits; i > 0; rest /= 10)
        fraction[--i] = (char)('0' + rest % 10);
    line_text(line, ".");
    line_bytes(line, fraction, digits);
}

/* "VALUE/UNIT" when the rate is a decimal number of at most `digits` places per unit. */
static bool rate_format_per(struct rate rate, struct unit unit, unsigned digits, char *buf, size_t size)
{
    struct line line = line_begin(buf, size);
    u128 scaled;
    u128 power = power_of_ten(digits);

    if (__builtin_mul_overflow((u128)rate.ticks, (u128)unit.ns * power, &scaled) || scaled % rate.ns != 0)
        return false;
    scaled /= rate.ns;
    if (scaled / power > UINT64_MAX)
        return false;
    put_decimal(&line, (uint64_t)(scaled / power), (uint64_t)(scaled % power), digits);
    line_text(&line, "/");
    line_text(&line, unit.name);
    return true;
}

char *rate_format(struct rate rate, char *buf, size_t size)
{
    const struct unit day = print_units[0], hour = print_units[1], minute = print_units[2], second = print_units[3];
    size_t i = 0;

    // The shortest that people read easily first; the last is always exact. None has more than DIGITS_MAX digits.
    if (rate_format_per(rate, second, 6, buf, size) || rate_format_per(rate, minute, 3, buf, size) ||
        rate_format_per(rate, hour, 3, buf, size) || rate_format_per(rate, day, 0, buf, size) ||
        rate_format_per(rate, second, 9, buf, size))
        return buf;
    while (rate.ns % (uint64_t)print_units[i].ns != 0)
        i++;
    struct line line = line_begin(buf, size);
    line_number(&line, rate.ticks);
    line_text(&line, "/");
    line_number(&line, rate.ns / (uint64_t)print_units[i].ns);
    line_text(&line, print_units[i].name);
    return buf;
}

/* A span below a second: one number in the largest unit that it reaches. */
static void put_subsecond(struct line *line, uint64_t ns)
{
    if (ns >= NSEC_PER_MSEC) {
        put_decimal(line, ns / NSEC_PER_MSEC, ns % NSEC_PER_MSEC, 6);
        line_text(line, "ms");
    } else if (ns >= NSEC_PER_USEC) {
        put_decimal(line, ns / NSEC_PER_USEC, ns % NSEC_PER_USEC, 3);
        line_text(line, "us");
    } else {
        line_number(line, ns);
        line_text(line, "ns");
    }
}

/* From a second on: days, hours and minutes as far as there are any, and what is left in seconds. */
static void put_units(struct line *line, uint64_t ns)
{
    for (size_t i = 0; i < 3; i++) {
        uint64_t unit = (uint64_t)print_units[i].ns, whole = ns / unit;
        ns %= unit;
        if (whole == 0)
            continue;
        if (line->len > 0)
            line_text(line, " ");
        line_number(line, whole);
        line_text(line, print_units[i].name);
    }
    if (ns == 0)
        return;
    if (line->len > 0)
        line_text(line, " ");
    put_decimal(line, ns / NSEC_PER_SEC, ns % NSEC_PER_SEC, 9);
    line_text(line, "s");
}

char *span_format(int64_t ns, char *buf, size_t size)
{
    struct line line = line_begin(buf, size);

    if (ns == 0)
        line_text(&line, "0s");
    else if (ns < NSEC_PER_SEC)
        put_subsecond(&line, (uint64_t)ns);
    else
        put_units(&line, (uint64_t)ns);
    return buf;
}

int count_parse(const char *text, uint64_t max, uint64_t *out, const char **why)
{
    const char *p = skip_space(text);
    uint64_t value = 0;

    if (*p == '-')
        return refuse(-ERANGE, "is negative", why);
    if (!is_digit(*p))
        return refuse(-EINVAL, "is not a whole number", why);
    for (; is_digit(*p); p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        if (digit > max || value > (max - digit) / 10)
            return refuse(-ERANGE, "is too large", why);
        value = value * 10 + digit;
    }
    if (*skip_space(p) != '\0')
        return refuse(-EINVAL, "is not a whole number", why);
    *out = value;
    return 0;
}

int bool_parse(const char *text, bool *out, const char **why)
{
    static const char *const words[2][4] = {{"no", "false", "off", "0"}, {"yes", "true", "on", "1"}};

    for (int value = 0; value < 2; value++)
        for (size_t i = 0; i < 4; i++)
            if (strcasecmp(text, words[value][i]) == 0) {
                *out = value != 0;
                return 0;
            }
    return refuse(-EINVAL, "is neither yes nor no", why);
}
