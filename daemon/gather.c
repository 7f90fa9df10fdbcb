#include "gather.h"

#include <sys/param.h>

_Static_assert(2 * ACCURACY_MAX < INT64_C(1) << GATHER_CLASSES, "there are intervals without a class");

static int64_t longest_gap(const struct gather *g)
{
    return GATHER_MEMORY * g->accuracy;
}

void gather_init(struct gather *g, int64_t accuracy)
{
    *g = (struct gather){.accuracy = accuracy};
    g->gap = longest_gap(g);
}

void gather_note_gap(struct gather *g, int64_t gap)
{
    g->gap += (MIN(gap, longest_gap(g)) - g->gap) / GATHER_MEMORY;
}

int64_t gather_quick_below(const struct gather *g)
{
    return 2 * g->accuracy;
}

void gather_note_quick(struct gather *g, int64_t interval, int64_t due)
{
    if (interval >= gather_quick_below(g))
        return;
    unsigned class = 63 - (unsigned)__builtin_clzll((unsigned long long)interval);
    g->until[class] = (g->quick >> class & 1) != 0 ? MAX(g->until[class], due) : due;
    g->quick |= UINT32_C(1) << class;
}

/* Half of the shortest interval under way, rounded down to a power of two. */
static int64_t half_quickest(struct gather *g, int64_t deadline)
{
    while (g->quick != 0) {
        unsigned class = (unsigned)__builtin_ctz(g->quick);
        if (g->until[class] >= deadline)
            return (INT64_C(1) << class) / 2;
        g->quick &= g->quick - 1; // none of them has a deadline any more
    }
    return INT64_MAX;
}

int64_t gather_wake(struct gather *g, int64_t deadline)
{
    int64_t put_off = g->accuracy - 2 * g->gap;

    if (put_off <= 0 || deadline > INT64_MAX - ACCURACY_MAX)
        return deadline;
    return deadline + MIN(put_off, half_quickest(g, deadline));
}
