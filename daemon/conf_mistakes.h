/*
 * conf_mistakes - what is wrong with a configuration, told in the order of files and lines.
 *
 * Mistakes are found in several passes, so they are kept and sorted before they are told. The list is bounded: of
 * more mistakes than CONF_MISTAKES_TOLD only the first ones are kept and the others counted.
 */
#ifndef TWISTY_CONF_MISTAKES_H
#define TWISTY_CONF_MISTAKES_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#define CONF_MISTAKES_TOLD 1000

/* Where something stands. Lines count from 1; 0 means the file as a whole, and in a zeroed place: nowhere. */
struct conf_place {
    uint32_t file; // as conf_mistakes_file() numbered it
    uint32_t line;
};

struct conf_mistake {
    struct conf_place place;
    size_t serial; // keeps those of one line in the order in which they were found
    char *text;    // owned
};

/* Zero-initialised is empty. */
struct conf_mistakes {
    char **files; // owned, as are the names
    uint32_t n_files;
    struct conf_mistake *list; // owned
    size_t n, room;
    size_t found;
    int error; // -ENOMEM once a mistake could not be kept
};

/* Number a file. The name is made safe to print. 0 or -ENOMEM. */
int conf_mistakes_file(struct conf_mistakes *m, const char *name, uint32_t *out);

/* Note "FILE:LINE: SECTION: KEY: ...". Section and key may be NULL. */
void conf_mistakes_add(struct conf_mistakes *m, struct conf_place place, const char *section, const char *key,
                       const char *format, ...) __attribute__((format(printf, 5, 6)));
void conf_mistakes_vadd(struct conf_mistakes *m, struct conf_place place, const char *section, const char *key,
                        const char *format, va_list args) __attribute__((format(printf, 5, 0)));

/* Tell them in order, and how many were left out. */
void conf_mistakes_tell(struct conf_mistakes *m, void (*tell)(void *ctx, const char *line), void *ctx);

void conf_mistakes_clear(struct conf_mistakes *m);

#endif
