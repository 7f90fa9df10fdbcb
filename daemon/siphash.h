/*
 * siphash - SipHash-2-4: a keyed hash of 64 bits (Aumasson and Bernstein, "SipHash: a fast short-input PRF"). Pure.
 *
 * With a secret key nobody can choose inputs that fall together; with a known one it is a good checksum.
 */
#ifndef TWISTY_SIPHASH_H
#define TWISTY_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t siphash(const uint64_t key[2], const void *bytes, size_t n);

#endif
