/*
 * waits - jobs that start when others finish: the key `after`.
 *
 * A job that waits is live, with nothing due. It is started when the job that it waits for finishes, on the moment that
 * was due for, so that a chain does not drift; at once, if that one has finished already. When that one ends in any
 * other way, and no other takes its name, it can never finish, and the job that waits for it fails.
 *
 * Who waits is found by the name that is waited for, and only jobs that wait cost anything.
 */
#ifndef TWISTY_WAITS_H
#define TWISTY_WAITS_H

#include "jobs.h"

struct waits;

/* The jobs are borrowed. NULL when there is no memory. */
struct waits *waits_new(struct jobs *jobs);

/* After the jobs. */
void waits_free(struct waits *w);

/* Jobs that were there before wait as they should. False: -ENOMEM. */
bool waits_take_up(struct waits *w);

/* Something happened to a job; from within a step, so that nothing is done to jobs here. False: -ENOMEM. */
bool waits_job_event(struct waits *w, struct job *job, const struct job_event *ev);

/* The job is going away. */
void waits_forget(struct waits *w, struct job *job);

/* Is there something to do, and do some of it: start those whose time has come. */
bool waits_busy(const struct waits *w);
void waits_work(struct waits *w, int64_t now);

/*
 * What is wrong with `after` of specs that are to be added, before they are: the first mistake. 0; -ENOENT: there is
 * no such job, nor among the specs, and *nearest is one that may have been meant, or NULL; -ESTALE: that job has ended
 * without finishing; -ELOOP: with `path` as chain_check() has it; -E2BIG. *failed is the index of the spec.
 */
int waits_check(const struct jobs *jobs, const struct job_spec *specs, size_t n, size_t *failed, const char **nearest,
                char *path, size_t size);

#endif
