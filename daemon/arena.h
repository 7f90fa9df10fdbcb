/*
 * arena - memory for many small objects that come and go together: one behind the other, and all of it free again
 * when the last one has gone.
 *
 * What a parsed call consists of is such. What does not fit is malloc's. For one thread.
 */
#ifndef TWISTY_ARENA_H
#define TWISTY_ARENA_H

#include <stddef.h>

/* As malloc() and free(). */
void *arena_alloc(size_t n);
void arena_free(void *p);

#endif
