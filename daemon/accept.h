/*
 * accept - reads the jobs of an Add() call, and says whether they can be and whether the caller may.
 */
#ifndef TWISTY_ACCEPT_H
#define TWISTY_ACCEPT_H

#include "action.h"
#include "jobs.h"
#include "reply.h"

struct accept {
    const struct jobs *jobs;
    const struct spec_draft *defaults;
    const struct actions *actions;
    const struct request *rq;
};

/*
 * The n jobs of the call as specs, which are zeroed before and to be cleared after, whatever comes. 0; -ENOMEM; or
 * another negative errno, and the error has been replied.
 */
int accept_specs(const struct accept *a, struct job_spec *specs, size_t n);

#endif
