#include "conf_mistakes.h"

#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for twice as many as are told, so that sorting out the last ones stays rare. */
#define KEPT_MAX ((size_t)2 * CONF_MISTAKES_TOLD)

int conf_mistakes_file(struct conf_mistakes *m, const char *name, uint32_t *out)
{
    char **files = reallocarray(m->files, (size_t)m->n_files + 1, sizeof *files);
    if (files == NULL)
        return -ENOMEM;
    m->files = files;
    if (text_printable(name)) {
        files[m->n_files] = strdup(name);
    } else {
        size_t size = 4 * strlen(name) + 1;
        files[m->n_files] = calloc(1, size);
        if (files[m->n_files] != NULL)
            text_escape(files[m->n_files], size, 0, name);
    }
    if (files[m->n_files] == NULL)
        return -ENOMEM;
    *out = m->n_files++;
    return 0;
}

static int compare(const void *a, const void *b)
{
    const struct conf_mistake *x = a, *y = b;

    if (x->place.file != y->place.file)
        return x->place.file < y->place.file ? -1 : 1;
    if (x->place.line != y->place.line)
        return x->place.line < y->place.line ? -1 : 1;
    return x->serial < y->serial ? -1 : x->serial > y->serial;
}

/* Sort, and forget those that will not be told. */
static void settle(struct conf_mistakes *m)
{
    if (m->n > 1)
        qsort(m->list, m->n, sizeof *m->list, compare);
    while (m->n > CONF_MISTAKES_TOLD)
        free(m->list[--m->n].text);
}

static int make_room(struct conf_mistakes *m)
{
    if (m->n == KEPT_MAX)
        settle(m);
    if (m->n < m->room)
        return 0;
    size_t room = m->room ? 2 * m->room : 16;
    struct conf_mistake *list = reallocarray(m->list, room, sizeof *list);
    if (list == NULL)
        return -ENOMEM;
    m->list = list;
    m->room = room;
    return 0;
}

static char *compose(const struct conf_mistakes *m, struct conf_place place, const char *section, const char *key,
                     const char *why)
{
    char line[16] = "";
    if (place.line)
        snprintf(line, sizeof line, ":%u", place.line);

    char *text;
    int n = asprintf(&text, "%s%s: %s%s%s%s%s", m->files[place.file], line, section ? section : "", section ? ": " : "",
                     key ? key : "", key ? ": " : "", why);
    return n < 0 ? NULL : text;
}

void conf_mistakes_vadd(struct conf_mistakes *m, struct conf_place place, const char *section, const char *key,
                        const char *format, va_list args)
{
    char *why;
    int n = vasprintf(&why, format, args);
    char *text = n < 0 ? NULL : compose(m, place, section, key, why);

    if (n >= 0)
        free(why);
    if (text == NULL || make_room(m) < 0) {
        free(text);
        m->error = -ENOMEM;
        return;
    }
    m->list[m->n++] = (struct conf_mistake){.place = place, .serial = m->found++, .text = text};
}

void conf_mistakes_add(struct conf_mistakes *m, struct conf_place place, const char *section, const char *key,
                       const char *format, ...)
{
    va_list args;

    va_start(args, format);
    conf_mistakes_vadd(m, place, section, key, format, args);
    va_end(args);
}

void conf_mistakes_tell(struct conf_mistakes *m, void (*tell)(void *ctx, const char *line), void *ctx)
{
    settle(m);
    for (size_t i = 0; i < m->n; i++)
        tell(ctx, m->list[i].text);
    if (m->found == m->n)
        return;

    char rest[64];
    snprintf(rest, sizeof rest, "and %zu more mistakes", m->found - m->n);
    tell(ctx, rest);
}

void conf_mistakes_clear(struct conf_mistakes *m)
{
    for (size_t i = 0; i < m->n; i++)
        free(m->list[i].text);
    free(m->list);
    for (uint32_t i = 0; i < m->n_files; i++)
        free(m->files[i]);
    free(m->files);
    *m = (struct conf_mistakes){0};
}
