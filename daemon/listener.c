#include "listener.h"

#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PATH_SIZE sizeof(((struct listener *)0)->path)

static int set_path(struct listener *l, const char *path, char *why, size_t size)
{
    size_t len = strlen(path);

    if (len >= PATH_SIZE)
        return text_explain(why, size, -ENAMETOOLONG,
                            "%s: a socket's path has at most %zu bytes; choose another with --socket", path,
                            PATH_SIZE - 1);
    memcpy(l->path, path, len + 1);
    return 0;
}

/* The directory must be one where nobody else can put another socket in this place. */
static int check_directory(const char *path, char *why, size_t size)
{
    char copy[PATH_SIZE];
    struct stat st;

    memcpy(copy, path, strlen(path) + 1);
    const char *dir = dirname(copy);
    if (mkdir(dir, geteuid() == 0 ? 0755 : 0700) < 0 && errno != EEXIST)
        return text_explain(why, size, -errno,
                            "%s: cannot make this directory: %s; make it, or choose another with --socket", dir,
                            strerror(errno));
    if (stat(dir, &st) < 0)
        return text_explain(why, size, -errno, "%s: %s", dir, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return text_explain(why, size, -ENOTDIR, "%s: is not a directory; choose another with --socket", dir);
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return text_explain(why, size, -EPERM, "%s: belongs to another user; choose another place with --socket", dir);
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (st.st_mode & S_ISVTX) == 0)
        return text_explain(why, size, -EPERM,
                            "%s: others may write to this directory; chmod go-w it, or choose another", dir);
    return 0;
}

/* The file may be unlinked by a daemon that ends just now: then the lock is on a file that nobody else will see. */
static bool is_still_there(int fd, const char *path)
{
    struct stat held, there;

    return fstat(fd, &held) == 0 && lstat(path, &there) == 0 && held.st_dev == there.st_dev &&
           held.st_ino == there.st_ino;
}

/* In a directory like /tmp somebody may have put a file or a link here, for us to overwrite something. */
static bool is_own_file(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink <= 1 && st.st_uid == geteuid();
}

/* Somebody else has the lock; the file says who. */
static int refuse_lock(struct listener *l, char *why, size_t size)
{
    int error = errno == EWOULDBLOCK ? -EADDRINUSE : -errno;
    long pid = 0;
    char text[24] = "";

    if (read(l->lock_fd, text, sizeof text - 1) > 0)
        pid = strtol(text, NULL, 10);
    close(l->lock_fd);
    l->lock_fd = -1; // not ours to unlink
    if (error != -EADDRINUSE)
        return text_explain(why, size, error, "%s.lock: cannot lock: %s", l->path, strerror(-error));
    return text_explain(why, size, error,
                        "%s: another twistyd (pid %ld) listens here; stop it, or choose another with --socket", l->path,
                        pid);
}

static int take_lock(struct listener *l, char *why, size_t size)
{
    char path[PATH_SIZE + 8], pid[24];

    snprintf(path, sizeof path, "%s.lock", l->path);
    do {
        if (l->lock_fd >= 0)
            close(l->lock_fd);
        l->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (l->lock_fd < 0)
            return text_explain(why, size, -errno, "%s: cannot open the lock: %s", path, strerror(errno));
        if (!is_own_file(l->lock_fd)) {
            close(l->lock_fd);
            l->lock_fd = -1; // not ours to unlink
            return text_explain(why, size, -EPERM,
                                "%s: is no lock file of this user; remove it, or choose another with --socket", path);
        }
        if (flock(l->lock_fd, LOCK_EX | LOCK_NB) < 0)
            return refuse_lock(l, why, size);
    } while (!is_still_there(l->lock_fd, path));

    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(l->lock_fd, 0) < 0 || write(l->lock_fd, pid, (size_t)n) != n)
        return text_explain(why, size, -EIO, "%s: cannot write the lock: %s", path, strerror(errno));
    return 0;
}

static struct sockaddr_un address_of(const struct listener *l)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    memcpy(address.sun_path, l->path, strlen(l->path) + 1);
    return address;
}

/* Nobody of ours runs, since we have the lock: what lies at the path is stale if it is our own, and silent. */
static int remove_stale(const struct listener *l, char *why, size_t size)
{
    struct sockaddr_un address = address_of(l);
    struct stat st;

    if (lstat(l->path, &st) < 0)
        return errno == ENOENT ? 0 : text_explain(why, size, -errno, "%s: %s", l->path, strerror(errno));
    if (!S_ISSOCK(st.st_mode))
        return text_explain(why, size, -EEXIST,
                            "%s: is there, and is no socket; remove it, or choose another with --socket", l->path);
    if (st.st_uid != geteuid())
        return text_explain(why, size, -EPERM, "%s: is another user's socket; choose another with --socket", l->path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return text_explain(why, size, -errno, "%s: %s", l->path, strerror(errno));
    int r = connect(fd, (const struct sockaddr *)&address, sizeof address);
    int error = errno;
    close(fd);
    if (r == 0 || error != ECONNREFUSED)
        return text_explain(why, size, -EADDRINUSE, "%s: another program listens here; choose another with --socket",
                            l->path);
    return unlink(l->path) < 0 ? text_explain(why, size, -errno, "%s: cannot unlink: %s", l->path, strerror(errno)) : 0;
}

static int bind_and_listen(struct listener *l, char *why, size_t size)
{
    struct sockaddr_un address = address_of(l);
    const struct group *group = geteuid() == 0 ? getgrnam(CONTROL_GROUP) : NULL;

    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0)
        return text_explain(why, size, -errno, "%s: %s", l->path, strerror(errno));
    mode_t mask = umask(group != NULL ? 0117 : 0177); // from the first moment, not by a later chmod
    int r = bind(l->fd, (const struct sockaddr *)&address, sizeof address);
    int error = errno;
    umask(mask);
    if (r < 0)
        return text_explain(why, size, -error, "%s: cannot bind: %s", l->path, strerror(error));
    l->bound = true;
    if (group != NULL && chown(l->path, (uid_t)-1, group->gr_gid) < 0)
        return text_explain(why, size, -errno, "%s: cannot give it to group %s: %s", l->path, CONTROL_GROUP,
                            strerror(errno));
    if (listen(l->fd, SOMAXCONN) < 0)
        return text_explain(why, size, -errno, "%s: cannot listen: %s", l->path, strerror(errno));
    l->group = group != NULL ? group->gr_gid : getegid();
    return 0;
}

int listener_open(struct listener *l, const char *path, char *why, size_t size)
{

    *l = (struct listener){.fd = -1, .lock_fd = -1};
    int r = set_path(l, path, why, size);
    if (r == 0)
        r = check_directory(l->path, why, size);
    if (r == 0)
        r = take_lock(l, why, size);
    if (r == 0)
        r = remove_stale(l, why, size);
    if (r == 0)
        r = bind_and_listen(l, why, size);
    if (r < 0)
        listener_close(l);
    return r;
}

int listener_inherit(struct listener *l, int fd, char *why, size_t size)
{
    struct sockaddr_un address = {0};
    socklen_t len = sizeof address;
    struct stat st;

    *l = (struct listener){.fd = fd, .lock_fd = -1, .group = getegid(), .path = "inherited socket"};
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return text_explain(why, size, -errno, "inherited socket: %s", strerror(errno));
    if (getsockname(fd, (struct sockaddr *)&address, &len) < 0 || address.sun_path[0] != '/')
        return 0;
    snprintf(l->path, sizeof l->path, "%.*s", (int)sizeof address.sun_path, address.sun_path);
    if (stat(l->path, &st) == 0)
        l->group = st.st_gid;
    return 0;
}

void listener_close(struct listener *l)
{
    if (l->fd >= 0)
        close(l->fd);
    if (l->bound)
        unlink(l->path);
    if (l->lock_fd >= 0) {
        char path[PATH_SIZE + 8];
        snprintf(path, sizeof path, "%s.lock", l->path);
        unlink(path); // while it is locked: see is_still_there()
        close(l->lock_fd);
    }
    *l = (struct listener){.fd = -1, .lock_fd = -1};
}
