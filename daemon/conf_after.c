#include "conf_after.h"

#include "chain.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* For so many names that are no job's a similar one is looked for: that looks at every section. */
#define NEAREST_MAX 100

struct check {
    const struct conf_text *text;
    unsigned key;
    unsigned n_unknown;
};

static const char *job_name(const struct conf_section *section)
{
    return strchr(section->name, ':') + 1;
}

static const struct conf_section *find_job(const struct check *check, const char *name)
{
    char section[CONF_SECTION_MAX + 1];
    int n = snprintf(section, sizeof section, "job:%s", name);

    return n < 0 || (size_t)n >= sizeof section ? NULL : conf_text_find(check->text, section);
}

/* What counts of the key is its last value; NULL when it names nothing. */
static const struct conf_entry *entry_of(const struct check *check, const struct conf_section *section)
{
    const struct conf_entry *found = NULL;

    for (const struct conf_entry *e = section->first; e != NULL; e = e->next)
        if (e->key == check->key)
            found = e;
    return found != NULL && found->value[0] != '\0' ? found : NULL;
}

static const char *next_name(void *ctx, const char *name)
{
    const struct conf_section *section = find_job(ctx, name);
    const struct conf_entry *entry = section != NULL ? entry_of(ctx, section) : NULL;

    return entry != NULL ? entry->value : NULL;
}

static const char *nearest_job(struct check *check, const char *wanted)
{
    struct nearest nearest;

    nearest_init(&nearest, wanted);
    if (check->n_unknown++ < NEAREST_MAX)
        for (const struct conf_section *s = check->text->first; s != NULL; s = s->next)
            if (s->kind == CONF_JOB)
                nearest_offer(&nearest, job_name(s));
    return nearest.best;
}

static void tell_unknown(struct check *check, const struct conf_section *section, const struct conf_entry *entry)
{
    struct conf_mistakes *mistakes = check->text->mistakes;
    const char *near = nearest_job(check, entry->value);

    if (near != NULL)
        conf_mistakes_add(mistakes, entry->place, section->name, "after", "there is no job '%s'; did you mean '%s'?",
                          entry->value, near);
    else
        conf_mistakes_add(mistakes, entry->place, section->name, "after", "there is no job '%s'", entry->value);
}

/* Is this the member of the circle that tells of it: the one whose name is the least? */
static bool tells(struct check *check, const char *name)
{
    for (const char *other = next_name(check, name); strcmp(other, name) != 0; other = next_name(check, other))
        if (strcmp(other, name) < 0)
            return false;
    return true;
}

static void check_section(struct check *check, const struct conf_section *section)
{
    const struct conf_entry *entry = entry_of(check, section);
    struct conf_mistakes *mistakes = check->text->mistakes;
    char path[CHAIN_PATH_MAX];

    if (entry == NULL || !name_valid(entry->value))
        return;
    if (find_job(check, entry->value) == NULL) {
        tell_unknown(check, section, entry);
        return;
    }
    int r = chain_check(job_name(section), next_name, check, path, sizeof path);
    if (r == -ELOOP && tells(check, job_name(section)))
        conf_mistakes_add(mistakes, entry->place, section->name, "after", "these jobs wait for each other: %s", path);
    else if (r == -E2BIG)
        conf_mistakes_add(mistakes, entry->place, section->name, "after", "a chain of more than %d jobs", CHAIN_MAX);
}

void conf_after_check(const struct conf_text *text, unsigned key)
{
    struct check check = {.text = text, .key = key};

    for (const struct conf_section *s = text->first; s != NULL; s = s->next)
        if (s->kind == CONF_JOB && !s->repeated)
            check_section(&check, s);
}
