/*
 * conf_files - finds and reads the configuration: FILE, then FILE.d/ *.conf beside it in name order.
 *
 * For /etc/twisty/twistyd.conf the drop-ins are /etc/twisty/twistyd.conf.d/ *.conf. Only this file knows paths; what
 * the text means is config.c's.
 */
#ifndef TWISTY_CONF_FILES_H
#define TWISTY_CONF_FILES_H

#include "config.h"

/* Larger files are refused. */
#define CONF_FILE_SIZE_MAX (256u << 20)

/*
 * Read FILE and its drop-ins into a config. Every mistake is told through on_error, one that keeps a file from being
 * read included. 0, -EINVAL when there was any mistake, -ENOMEM, or -ECANCELED soon after another thread has made
 * *given_up true (NULL: never). With path NULL: the built-in settings and no jobs.
 */
int conf_files_load(const char *path, config_error_fn *on_error, void *ctx, const atomic_bool *given_up,
                    struct config **out);

/*
 * Read what a descriptor has, to its end; `expected` is how much that may be. 0 with a malloc'd text; -EFBIG: more than
 * CONF_FILE_SIZE_MAX; -ENOMEM or another negative errno.
 */
int conf_files_read(int fd, size_t expected, char **out, size_t *len);

#endif
