/* Pieces of the arena are each somebody's own, and all of it is there again when they have gone. */
#include "daemon/arena.h"
#include "tests/unit/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PIECES    300
#define PIECE_MAX 200

struct piece {
    unsigned char *bytes; // all of them are `mark`
    size_t n;
    unsigned char mark;
};

static void take(struct piece *piece, struct random *random, int i)
{
    piece->n = random_below(random, PIECE_MAX);
    piece->mark = (unsigned char)i;
    piece->bytes = arena_alloc(piece->n);
    assert_non_null(piece->bytes);
    assert_int_equal((uintptr_t)piece->bytes % _Alignof(max_align_t), 0);
    memset(piece->bytes, piece->mark, piece->n);
}

static void give_back(struct piece *piece)
{
    for (size_t i = 0; i < piece->n; i++)
        assert_int_equal(piece->bytes[i], piece->mark);
    arena_free(piece->bytes);
    *piece = (struct piece){0};
}

/* More than fits, in any order; each round begins where the first did. */
static void test_pieces_are_apart(void **state)
{
    static struct piece pieces[PIECES];
    struct random random = random_start(1);
    void *first = arena_alloc(1);

    (void)state;
    arena_free(first);
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < PIECES; i++)
            take(&pieces[i], &random, i);
        assert_ptr_equal(pieces[0].bytes, first);
        for (int left = PIECES; left > 0; left--) {
            struct piece *piece = &pieces[random_below(&random, (uint64_t)left)], *last = &pieces[left - 1];
            give_back(piece);
            *piece = *last;
        }
    }
}

static void test_no_piece(void **state)
{
    (void)state;
    arena_free(NULL);
    arena_free(malloc(1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_are_apart),
        cmocka_unit_test(test_no_piece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
