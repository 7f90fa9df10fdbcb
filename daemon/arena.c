#include "arena.h"

#include <sanitizer/asan_interface.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

/* A call that adds one job takes about 2 KiB, and the arena should not push everything else out of the cache. */
#define ARENA_SIZE (16u << 10)
#define ALIGNMENT  alignof(max_align_t)

static struct {
    alignas(ALIGNMENT) char bytes[ARENA_SIZE];
    size_t used; // from the front
    size_t live; // pieces that have not been freed
} arena;

void *arena_alloc(size_t n)
{
    if (n >= ARENA_SIZE - arena.used) // a piece of nothing has a place in it, too
        return malloc(n);
    char *piece = arena.bytes + arena.used;
    arena.used += (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    arena.live++;
    ASAN_UNPOISON_MEMORY_REGION(piece, n);
    return piece;
}

void arena_free(void *p)
{
    if ((uintptr_t)p - (uintptr_t)arena.bytes >= ARENA_SIZE) {
        free(p);
        return;
    }
    if (--arena.live > 0)
        return;
    arena.used = 0;
    ASAN_POISON_MEMORY_REGION(arena.bytes, ARENA_SIZE); // whoever still comes here is found out
}
