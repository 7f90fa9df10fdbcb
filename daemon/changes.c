#include "changes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS_MIN 64

/* Ids are given out one after the other: their low bits spread as well as any hash. */
static struct change **bucket_of(const struct changes *set, uint64_t id)
{
    return &set->buckets[id & (set->n_buckets - 1)];
}

/* More buckets are better, but not needed: without memory for them the chains get longer. */
static void grow(struct changes *set)
{
    size_t n_buckets = set->n_buckets == 0 ? BUCKETS_MIN : 2 * set->n_buckets;
    struct change **buckets = calloc(n_buckets, sizeof(struct change *)), *c;

    if (buckets == NULL)
        return;
    free(set->buckets);
    set->buckets = buckets;
    set->n_buckets = n_buckets;
    TAILQ_FOREACH (c, &set->list, link) {
        struct change **bucket = bucket_of(set, c->row.id);
        c->chained = *bucket;
        *bucket = c;
    }
}

static struct change *find(const struct changes *set, uint64_t id)
{
    struct change *c;

    if (set->buckets == NULL) { // not one could be had: look at all
        TAILQ_FOREACH (c, &set->list, link) {
            if (c->row.id == id)
                break;
        }
        return c;
    }
    for (c = *bucket_of(set, id); c != NULL && c->row.id != id; c = c->chained)
        ;
    return c;
}

static void take_out(struct changes *set, struct change *c)
{
    if (set->buckets != NULL) {
        struct change **at = bucket_of(set, c->row.id);
        while (*at != c)
            at = &(*at)->chained;
        *at = c->chained;
    }
    TAILQ_REMOVE(&set->list, c, link);
    set->n--;
    free(c);
}

/* What is undone goes again: it needs no row, and what came after it is about a job that nobody was promised. */
static void insert(struct changes *set, struct change *c)
{
    if (set->n >= set->n_buckets)
        grow(set);
    struct change *older = find(set, c->row.id);
    if (older != NULL) {
        c->undo = older->undo && !c->gone;
        take_out(set, older);
    }
    if (set->buckets != NULL) {
        struct change **bucket = bucket_of(set, c->row.id);
        c->chained = *bucket;
        *bucket = c;
    }
    TAILQ_INSERT_TAIL(&set->list, c, link);
    set->n++;
}

void changes_init(struct changes *set)
{
    *set = (struct changes){0};
    TAILQ_INIT(&set->list);
}

void changes_clear(struct changes *set)
{
    struct change *c, *next;

    for (c = TAILQ_FIRST(&set->list); c != NULL; c = next) {
        next = TAILQ_NEXT(c, link);
        free(c);
    }
    free(set->buckets);
    changes_init(set);
}

/* Copy a text to *to, which moves on. */
static const char *keep_text(char **to, const char *text)
{
    if (text == NULL)
        return NULL;
    char *copy = *to;
    *to = stpcpy(copy, text) + 1;
    return copy;
}

static size_t text_size(const char *text)
{
    return text == NULL ? 0 : strlen(text) + 1;
}

int changes_put(struct changes *set, const struct row *row)
{
    size_t texts = text_size(row->name) + text_size(row->source) + text_size(row->state) + text_size(row->spec) +
                   text_size(row->reason);
    struct change *c = malloc(sizeof *c + texts);

    if (c == NULL)
        return -ENOMEM;
    char *to = c->texts;
    *c = (struct change){.row = *row};
    c->row.name = keep_text(&to, row->name);
    c->row.source = keep_text(&to, row->source);
    c->row.state = keep_text(&to, row->state);
    c->row.spec = keep_text(&to, row->spec);
    c->row.reason = keep_text(&to, row->reason);
    insert(set, c);
    return 0;
}

int changes_remove(struct changes *set, uint64_t id)
{
    struct change *c = malloc(sizeof *c);

    if (c == NULL)
        return -ENOMEM;
    *c = (struct change){.gone = true, .row.id = id};
    insert(set, c);
    return 0;
}

void changes_mark_undo(struct changes *set)
{
    struct change *c;

    TAILQ_FOREACH (c, &set->list, link) {
        c->undo = !c->gone;
    }
}

void changes_merge(struct changes *set, struct changes *newer)
{
    struct change *c, *next;

    if (set->n == 0) { // the usual case: take it as it is
        struct change **buckets = set->buckets;
        TAILQ_CONCAT(&set->list, &newer->list, link);
        set->buckets = newer->buckets;
        set->n_buckets = newer->n_buckets;
        set->n = newer->n;
        free(buckets);
        newer->buckets = NULL;
        newer->n_buckets = 0;
        newer->n = 0;
        return;
    }
    for (c = TAILQ_FIRST(&newer->list); c != NULL; c = next) {
        next = TAILQ_NEXT(c, link);
        insert(set, c);
    }
    free(newer->buckets);
    changes_init(newer);
}
