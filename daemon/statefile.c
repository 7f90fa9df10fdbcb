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

/*
 * The directory must be one where nobody else can put a file. Where it is sticky they cannot replace ours, but can make
 * the log of one that has none, and what is in that would be believed.
 */
static int open_directory(struct statefile *f, char *why, size_t size)
{
    const char *dir = f->dir;
    struct stat st;

    if (f->dir_fd >= 0)
        close(f->dir_fd);
    f->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->dir_fd < 0 || fstat(f->dir_fd, &st) < 0)
        return text_explain(why, size, -errno, "%s: %s; make this directory, or set another state", dir,
                            strerror(errno));
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return text_explain(why, size, -EPERM, "%s: belongs to another user; set another state", dir);
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
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
    char dir[PATH_MAX];

    base = base == NULL ? path : base + 1;
    snprintf(dir, sizeof dir, "%.*s.", (int)(base - path), path); // its last dot makes "/" and "" directories, too
    f->dir = realpath(dir, NULL);
    if (f->dir == NULL)
        return text_explain(why, size, -errno, "%.*s: %s; make this directory, or set another state",
                            (int)(base - path), path, strerror(errno));
    if (asprintf(&f->path, "%s/%s", strcmp(f->dir, "/") == 0 ? "" : f->dir, base) < 0)
        f->path = NULL;
    if (f->path != NULL) {
        f->path_log = path_with(f->path, "-wal");
        f->path_new = path_with(f->path, ".new");
        f->path_saved = path_with(f->path, ".saved");
    }
    if (f->path == NULL || f->path_log == NULL || f->path_new == NULL || f->path_saved == NULL)
        return text_explain(why, size, -ENOMEM, "out of memory");
    return open_directory(f, why, size);
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

/* Is PATH the file that we have locked? */
static bool is_ours(const struct statefile *f)
{
    struct stat ours, there;

    return f->fd >= 0 && fstat(f->fd, &ours) == 0 && lstat(f->path, &there) == 0 && ours.st_dev == there.st_dev &&
           ours.st_ino == there.st_ino;
}

static int explain_used(const struct statefile *f, char *why, size_t size)
{
    return text_explain(why, size, -EADDRINUSE,
                        "%s: another twistyd keeps its state here; stop it, or set another state", f->path);
}

/* Has another daemon locked it? */
static int check_unused(const struct statefile *f, char *why, size_t size)
{
    int fd = is_ours(f) ? -1 : open(f->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    bool used = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;

    if (fd >= 0)
        close(fd);
    return used ? explain_used(f, why, size) : 0;
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
    if (flock(f->fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return explain_used(f, why, size);
    return text_explain(why, size, -errno, "%s: cannot lock: %s", f->path, strerror(errno));
}

int statefile_lock(struct statefile *f, char *why, size_t size)
{
    const int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    int unwritable = 0;

    int fd = open(f->path, O_RDWR | flags);
    if (fd < 0 && (errno == EROFS || errno == EACCES)) {
        unwritable = -errno;
        fd = open(f->path, O_RDONLY | flags);
    }
    if (fd < 0 && errno == ELOOP)
        return text_explain(why, size, -EPERM, "%s: is a link; remove it, or set another state", f->path);
    if (fd < 0)
        return text_explain(why, size, -errno, "%s: cannot open: %s", f->path, strerror(errno));
    if (f->fd >= 0)
        close(f->fd); // before it is locked: of two descriptors only one can have the lock
    f->fd = fd;
    f->unwritable = unwritable;
    f->mark = f->mark_log = (struct statefile_mark){0};
    return check_file(f, why, size);
}

int statefile_open(struct statefile *f, const char *path, char *why, size_t size)
{
    *f = (struct statefile){.dir_fd = -1, .fd = -1};
    int r = find_path(f, path, why, size);
    if (r < 0)
        return r;
    r = check_unused(f, why, size);
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
    free(f->path_log);
    free(f->path_new);
    free(f->path_saved);
    free(f->dir);
    *f = (struct statefile){.dir_fd = -1, .fd = -1};
}

void statefile_settled(struct statefile *f)
{
    if (f->dir_fd >= 0)
        flock(f->dir_fd, LOCK_UN);
}

static struct statefile_mark mark_of(const char *path)
{
    struct stat st;

    if (lstat(path, &st) < 0)
        return (struct statefile_mark){0};
    return (struct statefile_mark){st.st_dev, st.st_ino, st.st_size, st.st_mtim};
}

void statefile_note(struct statefile *f)
{
    f->mark = mark_of(f->path);
    statefile_note_log(f);
}

void statefile_note_log(struct statefile *f)
{
    f->mark_log = mark_of(f->path_log);
}

static bool is_same_file(const struct statefile_mark *a, const struct statefile_mark *b)
{
    return a->ino != 0 && a->dev == b->dev && a->ino == b->ino;
}

/* The file is there: what has become of it since? NULL: nothing. */
static const char *find_change(const struct statefile_mark *then, const struct statefile_mark *now)
{
    if (now->length < then->length)
        return "was cut short";
    if (now->length > then->length || now->written.tv_sec != then->written.tv_sec ||
        now->written.tv_nsec != then->written.tv_nsec)
        return "was written to by another program";
    return NULL;
}

int statefile_check(const struct statefile *f, char *what, size_t size)
{
    const struct statefile_mark now = mark_of(f->path), log = mark_of(f->path_log);
    const char *change;
    struct stat st;

    if (lstat(f->path, &st) < 0 && errno != ENOENT)
        return -errno;
    if (!is_ours(f))
        return text_explain(what, size, -ESTALE, is_there(f->path) ? "another file had its name" : "it was removed");
    change = f->mark.ino == 0 ? NULL : find_change(&f->mark, &now);
    if (change != NULL)
        return text_explain(what, size, -ESTALE, "it %s", change);
    if (f->mark_log.ino == 0)
        return 0;
    change = is_same_file(&f->mark_log, &log) ? find_change(&f->mark_log, &log) : "was removed";
    return change == NULL ? 0 : text_explain(what, size, -ESTALE, "its log %s", change);
}

int statefile_begin_new(struct statefile *f, char *why, size_t size)
{
    int r = open_directory(f, why, size);

    if (r == 0)
        r = check_unused(f, why, size);
    if (r == 0)
        statefile_discard_new(f);
    statefile_settled(f);
    return r;
}

/* Without the file that it belongs to our log is worth nothing, and beside another one it would do harm. */
static void drop_stray_log(const struct statefile *f)
{
    const struct statefile_mark log = mark_of(f->path_log);

    if (!is_ours(f) && is_same_file(&f->mark_log, &log))
        unlink(f->path_log);
}

int statefile_end_new(struct statefile *f, char *why, size_t size)
{
    int r = open_directory(f, why, size);

    f->aside[0] = '\0';
    if (r == 0)
        r = check_unused(f, why, size);
    if (r == 0) {
        drop_stray_log(f);
        r = statefile_replace(f);
        if (r < 0)
            text_explain(why, size, r, "%s: cannot be put in its place: %s", f->path_new, strerror(-r));
    }
    if (r == 0)
        r = statefile_lock(f, why, size);
    statefile_settled(f);
    return r;
}

void statefile_discard_new(const struct statefile *f)
{
    static const char *const suffixes[] = {"", "-wal", "-journal"};

    for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
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
