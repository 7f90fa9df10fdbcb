#include "conf_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* To the end: what the file was when it was opened says too little of one in /proc, or of one that grows. */
int conf_files_read(int fd, size_t expected, char **out, size_t *len)
{
    size_t size = expected + 1;
    char *text = malloc(size);

    for (*len = 0; text != NULL;) {
        ssize_t n = read(fd, text + *len, size - *len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || *len + (size_t)n > CONF_FILE_SIZE_MAX) {
            int error = n < 0 ? -errno : -EFBIG;
            free(text);
            return error;
        }
        if (n == 0) {
            *out = text;
            return 0;
        }
        *len += (size_t)n;
        if (*len == size) {
            size *= 2;
            char *more = realloc(text, size);
            if (more == NULL)
                free(text);
            text = more;
        }
    }
    return -ENOMEM;
}

/*
 * Open a regular file: anything else could block (a FIFO) or never end (a device). 0, -EISDIR, -EINVAL when it is
 * another thing that is no regular file, -EFBIG, or negative errno.
 */
static int open_regular(const char *path, size_t *size)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        return -errno;
    int error = 0;
    if (fstat(fd, &st) < 0)
        error = -errno;
    else if (S_ISDIR(st.st_mode))
        error = -EISDIR;
    else if (!S_ISREG(st.st_mode))
        error = -EINVAL;
    else if (st.st_size > CONF_FILE_SIZE_MAX)
        error = -EFBIG;
    if (error < 0) {
        close(fd);
        return error;
    }
    *size = (size_t)st.st_size;
    return fd;
}

static int tell_unreadable(struct config_builder *b, const char *path, int error)
{
    char why[64];

    switch (error) {
    case -EISDIR:
        return config_builder_refuse(b, path, "is a directory, not a file", 0);
    case -EINVAL:
    case -ENXIO: // a socket
        return config_builder_refuse(b, path, "is not a regular file", 0);
    case -EFBIG:
        snprintf(why, sizeof why, "is larger than %u MiB", CONF_FILE_SIZE_MAX >> 20);
        return config_builder_refuse(b, path, why, 0);
    default:
        return config_builder_refuse(b, path, "cannot be read", -error);
    }
}

/* Add one file. 0, 1 when it cannot be read, which is a mistake, or -ENOMEM. */
static int add_file(struct config_builder *b, const char *path)
{
    char *text = NULL;
    size_t len = 0;
    int fd = open_regular(path, &len);
    int error = fd;

    if (fd >= 0) {
        error = conf_files_read(fd, len, &text, &len);
        close(fd);
    }
    if (error == -ENOMEM)
        return error;
    if (error < 0) {
        error = tell_unreadable(b, path, error);
        return error < 0 ? error : 1;
    }
    error = config_builder_add(b, path, text, len);
    free(text);
    return error;
}

static int is_drop_in(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');

    return entry->d_name[0] != '.' && dot != NULL && strcmp(dot, ".conf") == 0;
}

/* By bytes: alphasort() would make the order depend on the locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int add_drop_in(struct config_builder *b, const char *dir, const char *name)
{
    char *path;

    if (asprintf(&path, "%s/%s", dir, name) < 0)
        return -ENOMEM;
    int error = add_file(b, path);
    free(path);
    return error;
}

/* Add the drop-ins in a directory, which need not exist. */
static int add_drop_ins(struct config_builder *b, const char *dir)
{
    struct dirent **names;
    int n = scandir(dir, &names, is_drop_in, by_name);
    int error = 0;

    if (n < 0) {
        error = -errno;
        if (error == -ENOENT || error == -ENOMEM)
            return error == -ENOENT ? 0 : error;
        return config_builder_refuse(b, dir, "cannot be read", -error);
    }
    for (int i = 0; i < n; i++) {
        if (error >= 0)
            error = add_drop_in(b, dir, names[i]->d_name);
        free(names[i]);
    }
    free(names);
    return error < 0 ? error : 0;
}

/* Without the main file the drop-ins are not read: they would be told to lack what stands in it. */
static int add_all(struct config_builder *b, const char *path)
{
    char *dir;
    int error = add_file(b, path);

    if (error != 0)
        return error < 0 ? error : 0;
    if (asprintf(&dir, "%s.d", path) < 0)
        return -ENOMEM;
    error = add_drop_ins(b, dir);
    free(dir);
    return error;
}

int conf_files_load(const char *path, config_error_fn *on_error, void *ctx, const atomic_bool *given_up,
                    struct config **out)
{
    struct config_builder *b = config_builder_new(on_error, ctx);
    int error = 0;

    if (b == NULL)
        return -ENOMEM;
    config_builder_watch(b, given_up);
    if (path != NULL)
        error = add_all(b, path);
    if (error == 0)
        error = config_builder_finish(b, out);
    config_builder_free(b);
    return error;
}
