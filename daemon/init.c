#include "init.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const int passed_on[] = {SIGTERM, SIGINT, SIGHUP};

/* Wait for all that have ended. Was the daemon among them? */
static bool reap(pid_t daemon, int *status)
{
    bool found = false;
    int how;
    pid_t pid;

    while ((pid = waitpid(-1, &how, WNOHANG)) > 0) {
        if (pid != daemon)
            continue;
        found = true;
        *status = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
    }
    return found;
}

static void serve(pid_t daemon, const sigset_t *signals, int *status)
{
    for (;;) {
        int signal_nr = sigwaitinfo(signals, NULL);

        if (signal_nr == SIGCHLD && reap(daemon, status))
            return;
        if (signal_nr > 0 && signal_nr != SIGCHLD)
            kill(daemon, signal_nr);
    }
}

/* What was left for process 1 is meant for the one that goes on. */
static void take_over(const char *name)
{
    const char *value = getenv(name);
    char text[24];

    if (value == NULL || strcmp(value, "1") != 0)
        return;
    snprintf(text, sizeof text, "%ld", (long)getpid());
    setenv(name, text, 1); // without memory there is no socket passed, which will be said
}

static void go_on(const sigset_t *mask)
{
    sigprocmask(SIG_SETMASK, mask, NULL);
    take_over("LISTEN_PID");
    take_over("WATCHDOG_PID");
}

int init_fork(int *status)
{
    sigset_t signals, before;

    if (getpid() != 1)
        return 0;
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    for (unsigned i = 0; i < sizeof passed_on / sizeof passed_on[0]; i++)
        sigaddset(&signals, passed_on[i]);
    signal(SIGCHLD, SIG_DFL);                  // if it were ignored, nobody would be told how a child has ended
    sigprocmask(SIG_BLOCK, &signals, &before); // until they are waited for
    pid_t daemon = fork();
    if (daemon > 0) {
        serve(daemon, &signals, status);
        return 1;
    }
    int r = daemon < 0 ? -errno : 0;
    go_on(&before);
    return r;
}
