/*
 * limits - how many descriptors the daemon may have.
 */
#ifndef TWISTY_LIMITS_H
#define TWISTY_LIMITS_H

#include <stdint.h>

/*
 * Raise the limit to `wanted` if it is lower, as far as the kernel lets us, but have it nowhere above `most`. Returns
 * what it is then. What is started from here on has the same.
 */
uint64_t limits_files(uint64_t wanted, uint64_t most);

#endif
