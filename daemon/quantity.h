/*
 * quantity - rates, time spans and counts: parse and format them exactly.
 *
 * Pure: no clock, no I/O, no locale. Shared by the daemon and twistyctl. Time is int64_t nanoseconds everywhere; a
 * rate is kept as the exact fraction that the user wrote, so that the millionth tick is as well placed as the first.
 *
 * Parsers take a NUL-terminated text and return 0 or -EINVAL / -ERANGE; then *why points to a static English phrase
 * that completes "'TEXT' ...". Formatters write at most `size` bytes, of which the last is a NUL, and return `buf`.
 */
#ifndef TWISTY_QUANTITY_H
#define TWISTY_QUANTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NSEC_PER_USEC INT64_C(1000)
#define NSEC_PER_MSEC INT64_C(1000000)
#define NSEC_PER_SEC  INT64_C(1000000000)

/* A time that never comes. */
#define TIME_NEVER INT64_MAX

/* No schedule may reach further than this from its start: half of what int64_t holds, about 146 years. */
#define SPAN_MAX (INT64_MAX / 2)

/* A buffer that holds every formatted rate or span. */
#define QUANTITY_TEXT_MAX 64

/* The time between two ticks as the fraction ns / ticks, in lowest terms: `ns` nanoseconds hold `ticks` ticks. */
struct rate {
    uint64_t ns;
    uint64_t ticks;
};

/*
 * Ticks per second: a decimal number, or NUMBER/SPAN where SPAN may leave out its number: "0.5", "30/min", "2/h",
 * "1/26h". At most one tick a nanosecond, at least one in SPAN_MAX, and exact: a number that needs more than 64 bits
 * on either side of the fraction is refused. `*out` is untouched on error.
 */
int rate_parse(const char *text, struct rate *out, const char **why);

/* The rate of one tick every `interval` nanoseconds; interval is in [1, SPAN_MAX]. */
struct rate rate_from_interval(int64_t interval);

/* The rate as rate_parse() takes it, exactly: "0.5/s", "7/min", "1/26h". */
char *rate_format(struct rate rate, char *buf, size_t size);

/* The time between two ticks, rounded to the nearest nanosecond. */
int64_t rate_interval(struct rate rate);

/* Is the time between two ticks shorter than `interval`, at least 0? Much cheaper than to know it. */
static inline bool rate_is_faster(struct rate rate, int64_t interval)
{
    return rate.ns < (unsigned __int128)interval * rate.ticks;
}

/*
 * When tick k is due, in nanoseconds after tick 0: k * ns / ticks, rounded half up from the exact value, so that no
 * rate drifts. TIME_NEVER when that is more than an int64_t holds. Callers take rate_due().
 */
int64_t rate_due_divided(struct rate rate, uint64_t k);

/* The same, for all rates: most have nothing to divide. */
static inline int64_t rate_due(struct rate rate, uint64_t k)
{
    int64_t due;

    if (rate.ticks != 1)
        return rate_due_divided(rate, k);
    return __builtin_mul_overflow(rate.ns, k, &due) ? TIME_NEVER : due;
}

/*
 * How many ticks are due by `elapsed` nanoseconds after tick 0, tick 0 included: the smallest k with
 * rate_due(k) > elapsed. 0 when elapsed is negative.
 */
uint64_t rate_ticks_by(struct rate rate, int64_t elapsed);

/*
 * A time span in systemd's notation (systemd.time(7)): "1min 30s", "500ms", "1.5h", plain seconds. In
 * [0, SPAN_MAX]; whether zero makes sense is for the caller to say. Fractions finer than a nanosecond, signs,
 * "infinity" and anything that is not a number with a known unit are refused.
 */
int span_parse(const char *text, int64_t *out, const char **why);

/* The span as span_parse() takes it, exactly: "1min 30s", "2s", "333.333333ms", "0s". ns is in [0, INT64_MAX]. */
char *span_format(int64_t ns, char *buf, size_t size);

/* A whole decimal number in [0, max]: digits only. */
int count_parse(const char *text, uint64_t max, uint64_t *out, const char **why);

/* yes, true, on, 1 or no, false, off, 0, as systemd takes them. */
int bool_parse(const char *text, bool *out, const char **why);

#endif
