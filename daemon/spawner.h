/*
 * spawner - starts processes, on a thread of its own.
 *
 * Starting a process as vfork(2) does stops the thread that asks for it until the new program is loaded: a third of a
 * millisecond, or as long as a file system takes that does not answer. So the loop only leaves a request and hears of
 * the result as an event. The thread begins with the first request, and touches nothing but requests.
 *
 * A new process leads a process group of its own, with no signal blocked or ignored, stdin from /dev/null, stdout and
 * stderr to pipes, and no other descriptor. Its end is for the caller to wait for; nobody else in this process waits
 * for children.
 */
#ifndef TWISTY_SPAWNER_H
#define TWISTY_SPAWNER_H

#include "watch.h"

#include <sys/queue.h>
#include <sys/types.h>

/* A process that was started. */
struct spawned {
    pid_t pid;  // and its process group
    int pid_fd; // readable when it has ended: waitid(P_PIDFD)
    int fds[2]; // what it writes to stdout and to stderr; non-blocking
};

/* Start one and wait until its program is loaded. Texts end with NULL. 0, or negative errno with nothing to close. */
int spawn_process(char *const argv[], char *const envp[], struct spawned *out);

struct spawner;

/* What shall be started; the caller's memory until `done` is called. */
struct spawn_request {
    char *const *argv;
    char *const *envp;
    void (*done)(struct spawn_request *request); // from the loop
    int error;                                   // 0, or negative errno and `process` says nothing
    struct spawned process;
    TAILQ_ENTRY(spawn_request) link; // spawner::asked, then spawner::answered
};

/* Lets children be waited for, whatever was inherited. 0 or negative errno. */
int spawner_new(struct watch_set *watches, struct spawner **out);

/* Waits for the request that is being carried out; the others are answered with -ECANCELED. */
void spawner_free(struct spawner *spawner);

/* Ask. `done` will be called, never from here. */
void spawner_ask(struct spawner *spawner, struct spawn_request *request);

#endif
