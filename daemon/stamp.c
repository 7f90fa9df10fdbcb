#include "stamp.h"

#include "siphash.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is in the shared memory; all zero when it is new. */
struct shared {
    _Atomic int64_t when; // one more than it is, so that zero means never
    uint64_t token;       // random, made with it: it lives as long as a boot
};

struct stamp {
    struct shared *shared; // in shared memory, or `own`
    struct shared own;
    bool boot_is_known; // else it is the token that tells boots apart
    char name[64];
    char boot[64];
};

/* Nobody else may have put something in this place. All of its memory is there from the start: it never faults. */
static int open_shared(const char *name)
{
    struct stat st;
    int fd = shm_open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) == 0 && st.st_uid == geteuid() && (st.st_mode & (S_IRWXG | S_IRWXO)) == 0 &&
        posix_fallocate(fd, 0, sizeof(struct shared)) == 0)
        return fd;
    close(fd);
    return -1;
}

static struct shared *map_shared(const char *name)
{
    int fd = open_shared(name);
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (fd >= 0)
        close(fd);
    return at == MAP_FAILED ? NULL : at;
}

/* The kernel's own name for this boot, which a sandbox may hide; false then. */
static bool read_boot_id(char *out, size_t size)
{
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    bool read = file != NULL && fgets(out, (int)size, file) != NULL;

    if (file != NULL)
        fclose(file);
    if (read)
        out[strcspn(out, "\n")] = '\0';
    return read;
}

struct stamp *stamp_open(const char *path, const char *clock)
{
    struct stamp *stamp = calloc(1, sizeof *stamp);
    char boot[40];

    if (stamp == NULL)
        return NULL;
    snprintf(stamp->name, sizeof stamp->name, "/twistyd-%u-%016" PRIx64, geteuid(),
             siphash((const uint64_t[2]){0, 0}, path, strlen(path)));
    stamp->shared = map_shared(stamp->name);
    if (stamp->shared == NULL)
        stamp->shared = &stamp->own;
    while (stamp->shared->token == 0)
        if (getrandom(&stamp->shared->token, sizeof stamp->shared->token, 0) < 0)
            break;
    stamp->boot_is_known = read_boot_id(boot, sizeof boot);
    if (!stamp->boot_is_known)
        snprintf(boot, sizeof boot, "%016" PRIx64, stamp->shared->token);
    snprintf(stamp->boot, sizeof stamp->boot, "%s %s", boot, clock);
    return stamp;
}

void stamp_close(struct stamp *stamp, bool forget)
{
    if (stamp == NULL)
        return;
    if (stamp->shared != &stamp->own)
        munmap(stamp->shared, sizeof *stamp->shared);
    if (forget && stamp->boot_is_known)
        shm_unlink(stamp->name);
    free(stamp);
}

const char *stamp_boot(const struct stamp *stamp)
{
    return stamp->boot;
}

int64_t stamp_get(const struct stamp *stamp)
{
    int64_t when = atomic_load_explicit(&stamp->shared->when, memory_order_relaxed);

    return when == 0 ? INT64_MIN : when - 1;
}

void stamp_set(struct stamp *stamp, int64_t when)
{
    atomic_store_explicit(&stamp->shared->when, when + 1, memory_order_relaxed);
}
