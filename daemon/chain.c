#include "chain.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* How a name is joined to those before it, and what stands for those that do not fit. */
#define ARROW " -> "
#define GAP   ARROW "..."

/* The first names as long as there is room for the last one behind them. */
static void write_path(const char *const names[], unsigned n, char *path, size_t size)
{
    size_t len = (size_t)snprintf(path, size, "%s", names[0]), last = strlen(ARROW) + strlen(names[0]);
    bool whole = true;

    for (unsigned i = 1; i < n && whole; i++) {
        whole = len + strlen(ARROW) + strlen(names[i]) + (i + 1 < n ? strlen(GAP) : 0) + last < size;
        if (len < size)
            len += (size_t)snprintf(path + len, size - len, "%s", whole ? ARROW : GAP);
        if (whole)
            len += (size_t)snprintf(path + len, size - len, "%s", names[i]);
    }
    if (len < size)
        snprintf(path + len, size - len, ARROW "%s", names[0]);
}

int chain_check(const char *start, const char *(*next)(void *ctx, const char *name), void *ctx, char *path, size_t size)
{
    const char *names[CHAIN_MAX] = {start}, *name = start;
    unsigned n = 1;

    while ((name = next(ctx, name)) != NULL) {
        for (unsigned i = 0; i < n; i++)
            if (strcmp(names[i], name) == 0) {
                if (i > 0)
                    return 0;
                write_path(names, n, path, size);
                return -ELOOP;
            }
        if (n == CHAIN_MAX)
            return -E2BIG;
        names[n++] = name;
    }
    return 0;
}
