#include "lines.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define NSEC_PER_SEC INT64_C(1000000000)

struct options {
    const char *receiver; // NULL: one of our own
    unsigned lines;
    bool paced; // a burst each real millisecond, not one after the other
};

/* Our own receiver. */
static struct {
    int fd;
    char path[64];
    uint64_t lines;
    char sample[4096]; // the last line
} own = {.fd = -1};

static int64_t read_clock(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static int own_receiver(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(own.path, sizeof own.path, "/tmp/lines-%ld.sock", (long)getpid());
    memcpy(address.sun_path, own.path, sizeof own.path);
    own.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return own.fd < 0 ? -1 : bind(own.fd, (struct sockaddr *)&address, sizeof address);
}

static void empty_receiver(void)
{
    ssize_t n;

    while ((n = recv(own.fd, own.sample, sizeof own.sample - 1, MSG_DONTWAIT)) >= 0) {
        own.sample[n] = '\0';
        own.lines++;
    }
}

/* Sleep until the millisecond after the last one. */
static void pace(void)
{
    static int64_t next;

    if (next == 0)
        next = read_clock(CLOCK_MONOTONIC);
    next += NSEC_PER_SEC / 1000;
    struct timespec ts = {.tv_sec = next / NSEC_PER_SEC, .tv_nsec = next % NSEC_PER_SEC};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

/* Make `place` lead to the receiver, with nothing else below the first directory of that path. */
static int lead(const char *place, const char *receiver)
{
    char path[64];
    const char *end = strchr(place + 1, '/');

    snprintf(path, sizeof path, "%.*s", (int)(end - place), place);
    if (mount("tmpfs", path, "tmpfs", 0, NULL) < 0)
        return -1;
    while ((end = strchr(end + 1, '/')) != NULL) {
        snprintf(path, sizeof path, "%.*s", (int)(end - place), place);
        if (mkdir(path, 0755) < 0)
            return -1;
    }
    return symlink(receiver, place);
}

/* A function of its own, and not left by a jump, for callgrind's --toggle-collect. */
__attribute__((noinline)) static void measured_run(unsigned millisecond)
{
    lines_driver.burst(millisecond);
    __asm__ volatile("");
}

static void print_sample(void)
{
    fputs("\"sample\": \"", stdout);
    for (const char *p = own.sample; *p != '\0'; p++)
        printf(*p == '\n' ? "\\n" : *p == '"' || *p == '\\' ? "\\%c" : "%c", *p);
    putchar('"');
}

static int run(const struct options *o)
{
    const char *receiver = o->receiver != NULL ? o->receiver : own.path;
    unsigned bursts = o->lines / LINES_BURST;
    int64_t cpu = 0, real = 0;

    if (o->receiver == NULL && own_receiver() < 0)
        return -1;
    if (lines_driver.place != NULL && lead(lines_driver.place, receiver) < 0)
        return -1;
    if (lines_driver.start(receiver) < 0)
        return -1;
    for (unsigned i = 0; i < bursts; i++) {
        if (o->paced)
            pace();
        int64_t cpu_begin = read_clock(CLOCK_PROCESS_CPUTIME_ID), begin = read_clock(CLOCK_MONOTONIC);
        measured_run(i);
        real += read_clock(CLOCK_MONOTONIC) - begin;
        cpu += read_clock(CLOCK_PROCESS_CPUTIME_ID) - cpu_begin;
        if (own.fd >= 0)
            empty_receiver();
    }
    printf("{\"program\": \"%s\", \"lines\": %u, \"received\": %llu, \"cpu_ns\": %lld, \"real_ns\": %lld, ",
           lines_driver.name, bursts * LINES_BURST, (unsigned long long)own.lines, (long long)cpu, (long long)real);
    print_sample();
    puts("}");
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"lines", required_argument, NULL, 'n'},
        {"receiver", required_argument, NULL, 'r'},
        {"paced", no_argument, NULL, 'p'},
        {0},
    };
    struct options o = {.lines = 100000};
    int c, r;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'n':
            o.lines = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'r':
            o.receiver = optarg;
            break;
        case 'p':
            o.paced = true;
            break;
        default:
            return 2;
        }
    }
    r = run(&o);
    if (r < 0)
        perror(lines_driver.name);
    if (own.fd >= 0)
        unlink(own.path);
    return r < 0;
}
