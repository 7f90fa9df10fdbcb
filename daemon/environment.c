#include "environment.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const inherited[] = {"PATH", "LANG", "HOME"};

/* Is `text`, up to its "=" or its end, this name? */
static bool has_name(const char *text, const char *name, size_t len)
{
    return strncmp(text, name, len) == 0 && (text[len] == '=' || text[len] == '\0');
}

static bool lists(const struct action *action, const char *name)
{
    for (size_t i = 0; i < action->environment.n; i++)
        if (has_name(action->environment.items[i], name, strlen(name)))
            return true;
    return false;
}

static int inherit(const char *name, struct text_list *out)
{
    const char *value = getenv(name);

    return value == NULL ? 0 : text_list_addf(out, "%s=%s", name, value);
}

/* Of an entry that is listed twice the last one counts. */
static int add_listed(const struct action *action, size_t i, struct text_list *out)
{
    const char *entry = action->environment.items[i];
    size_t len = strcspn(entry, "=");

    for (size_t later = i + 1; later < action->environment.n; later++)
        if (has_name(action->environment.items[later], entry, len))
            return 0;
    return entry[len] == '=' ? text_list_add(out, entry) : inherit(entry, out);
}

static int add_number(struct text_list *out, const char *name, uint64_t n)
{
    return n == COUNT_FOREVER ? text_list_addf(out, "%s=", name) : text_list_addf(out, "%s=%" PRIu64, name, n);
}

static int add_occasion(const struct occasion *occasion, struct text_list *out)
{
    int r;

    if ((r = text_list_addf(out, "TWISTY_JOB=%s", occasion->job)) < 0 ||
        (r = add_number(out, "TWISTY_ID", occasion->id)) < 0 ||
        (r = text_list_addf(out, "TWISTY_EVENT=%s", job_hook_name(occasion->hook))) < 0 ||
        (r = add_number(out, "TWISTY_LEFT", occasion->left)) < 0 ||
        (r = add_number(out, "TWISTY_COUNT", occasion->count)) < 0)
        return r;
    return add_number(out, "TWISTY_MISSED", occasion->missed);
}

int environment_fill(const struct action *action, const struct occasion *occasion, struct text_list *out)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(inherited); i++)
        if (!lists(action, inherited[i]))
            r = inherit(inherited[i], out);
    for (size_t i = 0; r == 0 && i < action->environment.n; i++)
        r = add_listed(action, i, out);
    return r < 0 ? r : add_occasion(occasion, out);
}
