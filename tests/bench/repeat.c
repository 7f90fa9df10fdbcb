/*
 * Runs a command so many times, one after the other, its output thrown away, and prints what a run took as a line of
 * JSON: the caller's share of starting a process is the same for all, and small.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int64_t us(struct timeval tv)
{
    return (int64_t)tv.tv_sec * 1000000 + tv.tv_usec;
}

static int run(char **command, const posix_spawn_file_actions_t *actions)
{
    pid_t pid;
    int status;

    if (posix_spawnp(&pid, command[0], actions, NULL, command, environ) != 0 || waitpid(pid, &status, 0) < 0)
        return -1;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

int main(int argc, char **argv)
{
    posix_spawn_file_actions_t actions;
    struct rusage usage;
    long n = argc > 2 ? strtol(argv[1], NULL, 10) : 0;

    if (n < 1 || posix_spawn_file_actions_init(&actions) != 0 ||
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0) != 0) {
        fprintf(stderr, "Usage: repeat N COMMAND...\n");
        return 2;
    }
    int64_t wall = now();
    for (long i = 0; i < n; i++)
        if (run(argv + 2, &actions) < 0) {
            fprintf(stderr, "%s fails\n", argv[2]);
            return 1;
        }
    wall = now() - wall;
    posix_spawn_file_actions_destroy(&actions);
    getrusage(RUSAGE_CHILDREN, &usage);
    printf("{\"n\": %ld, \"wall_us\": %.1f, \"cpu_us\": %.1f}\n", n, (double)wall / 1000 / (double)n,
           (double)(us(usage.ru_utime) + us(usage.ru_stime)) / (double)n);
    return 0;
}
