#include "statefile.h"

#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* "PATH" and what it is followed by; NULL when there is no memory. */
static char *path_with(const char *path, const char *suffix)
{
    char *text;

    return asprintf(&text, "%s%s", path, suffix) < 0 ? NULL : text;
}

/* The directory must be one where nobody else can put another file in this place. */
static int open_directory(struct statefile *f, const char *dir, char *why, size_t size)
{
    struct stat st;

    f->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->dir_fd < 0 || fstat(f->dir_fd, &st) < 0)
        return text_explain(why, size, -errno, "%s: %s; make this directory, or set another state", dir,
                            strerror(errno));
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return text_explain(why, size, -EPERM, "%s: belongs to another user; set another state", dir);
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (st.st_mode & S_ISVTX) == 0)
        return text_explain(why, size, -EPERM,
                            "%s: others may write to this directory; chmod go-w it, or set another state", dir);
    while (flock(f->dir_fd, LOCK_EX) < 0)
        if (errno != EINTR)
            return text_explain(why, size, -errno, "%s: cannot lock: %s", dir, strerror(errno));
    return 0;
}

/* SQLite follows no links if it is asked to, not even to a directory: so these are resolved for it. */
static int find_path(struct statefile *f, const char *path, char *why, size_t size)
{
    const char *base = strrchr(path, '/');
    char dir[PATH_MAX], *real;

    base = base == NULL ? path : base + 1;
    snprintf(dir, sizeof dir, "%.*s.", (int)(base - path), path); // its last dot makes "/" and "" directories, too
    real = realpath(dir, NULL);
    if (real == NULL)
        return text_explain(why, size, -errno, "%.*s: %s; make this directory, or set another state",
                            (int)(base - path), path, strerror(errno));
    if (asprintf(&f->path, "%s/%s", strcmp(real, "/") == 0 ? "" : real, base) < 0)
        f->path = NULL;
    if (f->path != NULL) {
        f->path_new = path_with(f->path, ".new");
        f->path_saved = path_with(f->path, ".saved");
    }
    if (f->path == NULL || f->path_new == NULL || f->path_saved == NULL) {
        free(real);
        snprintf(why, size, "out of memory");
        return -ENOMEM;
    }
    int r = open_directory(f, real, why, size);
    free(real);
    return r;
}

static bool is_there(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

static bool is_empty(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0;
}

/* Rename the file and its log, if they are there. A log that is left alone would be taken for the next file's. */
static int rename_with_log(const char *from, const char *to, bool *renamed)
{
    char *from_log = path_with(from, "-wal"), *to_log = path_with(to, "-wal");
    int r = from_log == NULL || to_log == NULL ? -ENOMEM : 0;

    *renamed = r == 0 && (is_there(from) || is_there(from_log));
    if (r == 0 && is_empty(from_log))
        unlink(from_log);
    if (r == 0 && rename(from_log, to_log) < 0 && errno != ENOENT)
        r = -errno;
    if (r == 0 && rename(from, to) < 0 && errno != ENOENT)
        r = -errno;
    free(from_log);
    free(to_log);
    return r;
}

/* PATH becomes PATH.corrupt-TIME, and its log goes with it, if they are there. */
static int put_aside(struct statefile *f)
{
    time_t now = time(NULL);
    struct tm tm;
    char when[32];
    bool renamed;

    gmtime_r(&now, &tm);
    strftime(when, sizeof when, "%Y%m%dT%H%M%SZ", &tm);
    snprintf(f->aside, sizeof f->aside, "%s.corrupt-%s", f->path, when);
    for (unsigned n = 2; is_there(f->aside); n++)
        snprintf(f->aside, sizeof f->aside, "%s.corrupt-%s-%u", f->path, when, n);
    int r = rename_with_log(f->path, f->aside, &renamed);
    if (!renamed)
        f->aside[0] = '\0';
    return r;
}

/* PATH.saved is whole: it becomes PATH. */
static int put_in_place(struct statefile *f)
{
    int r = put_aside(f);

    if (r == 0 && rename(f->path_saved, f->path) < 0)
        r = -errno;
    if (r == 0 && fsync(f->dir_fd) < 0)
        r = -errno;
    return r;
}

static int check_file(const struct statefile *f, char *why, size_t size)
{
    struct stat st;

    if (fstat(f->fd, &st) < 0)
        return text_explain(why, size, -errno, "%s: %s", f->path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
        return text_explain(why, size, -EPERM, "%s: is not a file of its own; remove it, or set another state",
                            f->path);
    if (st.st_uid != geteuid())
        return text_explain(why, size, -EPERM, "%s: belongs to another user; chown it, or set another state", f->path);
    if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return text_explain(why, size, -EPERM, "%s: is open to others; chmod 600 it, or set another state", f->path);
    if (flock(f->fd, LOCK_EX | LOCK_NB) < 0)
        return text_explain(why, size, errno == EWOULDBLOCK ? -EADDRINUSE : -errno,
                            "%s: another twistyd keeps its state here; stop it, or set another state", f->path);
    return 0;
}

int statefile_lock(struct statefile *f, char *why, size_t size)
{
    const int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;

    if (f->fd >= 0)
        close(f->fd);
    f->unwritable = 0;
    f->fd = open(f->path, O_RDWR | flags);
    if (f->fd < 0 && (errno == EROFS || errno == EACCES)) {
        f->unwritable = -errno;
        f->fd = open(f->path, O_RDONLY | flags);
    }
    if (f->fd >= 0)
        return check_file(f, why, size);
    if (errno == ELOOP)
        return text_explain(why, size, -EPERM, "%s: is a link; remove it, or set another state", f->path);
    return text_explain(why, size, -errno, "%s: cannot open: %s", f->path, strerror(errno));
}

int statefile_open(struct statefile *f, const char *path, char *why, size_t size)
{
    *f = (struct statefile){.dir_fd = -1, .fd = -1};
    int r = find_path(f, path, why, size);
    if (r < 0)
        return r;
    statefile_discard_new(f);
    if (is_there(f->path_saved)) {
        r = put_in_place(f);
        if (r < 0)
            return text_explain(why, size, r, "%s: cannot be put in its place: %s", f->path_saved, strerror(-r));
    }
    return statefile_lock(f, why, size);
}

void statefile_close(struct statefile *f)
{
    if (f->fd >= 0)
        close(f->fd);
    if (f->dir_fd >= 0)
        close(f->dir_fd);
    free(f->path);
    free(f->path_new);
    free(f->path_saved);
    *f = (struct statefile){.dir_fd = -1, .fd = -1};
}

void statefile_settled(struct statefile *f)
{
    if (f->dir_fd >= 0)
        flock(f->dir_fd, LOCK_UN);
}

void statefile_discard_new(const struct statefile *f)
{
    static const char *const suffixes[] = {"", "-wal", "-journal"};

    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char *path = path_with(f->path_new, suffixes[i]);
        if (path != NULL)
            unlink(path);
        free(path);
    }
}

int statefile_replace(struct statefile *f)
{
    if (rename(f->path_new, f->path_saved) < 0)
        return -errno;
    return put_in_place(f);
}
