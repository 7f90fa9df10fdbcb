/*
 * reloader - carries reloads out, one at a time, without holding the loop for any of it.
 *
 * A configuration is read and compared on a thread of its own, checked and applied in slices from the loop, and what
 * is left of it is freed on that thread again, with the memory given back to the system. Of the configuration in force
 * only the digest is kept.
 *
 * Whoever asks while a reload is under way gets another one after it, since the file may have changed since it was
 * read; however many ask meanwhile, it is one.
 */
#ifndef TWISTY_RELOADER_H
#define TWISTY_RELOADER_H

#include "reload.h"
#include "watch.h"

struct reloader;

struct reloader_hooks {
    void (*begin)(void *ctx);
    /* The config has no mistakes, and its jobs are going to be started; it is valid until the end. */
    void (*apply)(void *ctx, const struct config *config);
    /*
     * It is over: 0; -EINVAL with the mistakes, and nothing is changed; or -ENOMEM. On 0 the settings, the defaults
     * and the actions may be taken out of the config.
     */
    void (*end)(void *ctx, int r, const struct reload_plan *plan, struct config *config,
                const struct text_list *mistakes);
    void (*ready)(void *ctx); // there is work for reloader_work()
    void *ctx;
};

/* `path` may be NULL: no configuration. It and the jobs are borrowed. NULL when there is no memory or descriptor. */
struct reloader *reloader_new(const char *path, struct jobs *jobs, struct watch_set *watches,
                              const struct reloader_hooks *hooks);

/* Breaks off what is under way. */
void reloader_free(struct reloader *r);

/* The first configuration, at once and without a word to the hooks; takes it over. As reload_step(). */
int reloader_start(struct reloader *r, struct config *config, int64_t now);

void reloader_ask(struct reloader *r);

/* Has it been asked for a reload that is not over? */
bool reloader_under_way(const struct reloader *r);

/* Is there work, and do one slice of it. */
bool reloader_busy(const struct reloader *r);
void reloader_work(struct reloader *r, int64_t now);

#endif
