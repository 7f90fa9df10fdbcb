/*
 * digest - what a configuration asked for, small enough to be kept: the names of its jobs, and of each spec a print.
 *
 * Pure. A reload compares two configurations, and only one of them is still there: of the other its digest. Names are
 * in the order of their bytes, and each is kept as what differs from the name before it (front coding: Witten, Moffat
 * and Bell, "Managing Gigabytes"); so a job takes ten bytes and what is new in its name.
 *
 * A print is a hash of 64 bits (spec_print()). Only the two prints of one name are ever compared: a changed job is
 * taken for unchanged once in 2^64 changes. Nobody gains by making that happen on purpose: who writes the file may
 * change the job anyhow.
 */
#ifndef TWISTY_DIGEST_H
#define TWISTY_DIGEST_H

#include "text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialised is empty. */
struct digest {
    unsigned char *bytes; // owned
    size_t len, room;
    size_t n;                    // jobs
    char last[NAME_LEN_MAX + 1]; // the last name
};

/* Append a job; its name comes after that of the last one. 0 or -ENOMEM, with the digest as it was. */
int digest_add(struct digest *d, const char *name, uint64_t print);

void digest_clear(struct digest *d);

/* Reads a digest from its beginning; it is borrowed. */
struct digest_reader {
    const struct digest *digest;
    size_t at;
    char name[NAME_LEN_MAX + 1];
    uint64_t print;
};

void digest_begin(struct digest_reader *r, const struct digest *d);

/* The next job's name and print; false at the end, and then the name is "". */
bool digest_next(struct digest_reader *r);

#endif
