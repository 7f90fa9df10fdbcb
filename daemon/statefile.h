/*
 * statefile - the state file as a file: where it is, whose, locked, and how one takes the place of another.
 *
 * A new file is made whole under another name before it gets this one, so that what has the name is never half made;
 * and a damaged one is renamed, never written to. Beside PATH there may be for a moment PATH.new, which is being made,
 * and PATH.saved, which is whole and shall become PATH: whoever opens PATH next sees to that first.
 */
#ifndef TWISTY_STATEFILE_H
#define TWISTY_STATEFILE_H

#include <stddef.h>
#include <sys/stat.h>

/* A file as we have left it. */
struct statefile_mark {
    dev_t dev;
    ino_t ino; // 0: not known
    off_t length;
    struct timespec written;
};

struct statefile {
    char *path;     // owned, as the next four; its directory's links are resolved
    char *path_log; // PATH-wal
    char *path_new;
    char *path_saved;
    char *dir;
    int dir_fd;                           // its directory; locked until statefile_settled()
    int fd;                               // of PATH, locked; -1: there is none
    int unwritable;                       // why PATH can only be read: a negative errno; else 0
    struct statefile_mark mark, mark_log; // of PATH and its log
    char aside[512]; // the name that a file was given which statefile_open() or statefile_replace() put aside
};

/*
 * Find and lock the file. 0; -ENOENT: there is none; -EADDRINUSE: another daemon has it; -EPERM: a link, or somebody
 * else's; or another negative errno. On error `why` has a line that says what is wrong and what to do. Whatever is
 * returned, statefile_close() it.
 */
int statefile_open(struct statefile *f, const char *path, char *why, size_t size);

void statefile_close(struct statefile *f);

/* Open PATH, which is there now, and lock it. As statefile_open(). */
int statefile_lock(struct statefile *f, char *why, size_t size);

/* Opening is over: others may open files in this directory again. */
void statefile_settled(struct statefile *f);

/* We have opened PATH for writing, or have written to it and to its log, or to the log alone: remember them so. */
void statefile_note(struct statefile *f);
void statefile_note_log(struct statefile *f);

/*
 * Are they still the files that we have opened, as we have left them? -ESTALE, with a phrase in `what`; or why it
 * cannot be told.
 */
int statefile_check(const struct statefile *f, char *what, size_t size);

/* Another PATH is going to be made: remove what is left of a PATH.new. As statefile_open(), but nothing is locked. */
int statefile_begin_new(struct statefile *f, char *why, size_t size);

/*
 * PATH.new is whole, and no program has it open: let it become PATH, and lock it. What has the name meanwhile, ours or
 * not, is put aside; -EADDRINUSE: unless another daemon has it. As statefile_open().
 */
int statefile_end_new(struct statefile *f, char *why, size_t size);

/* Remove what is left of a PATH.new. */
void statefile_discard_new(const struct statefile *f);

/* The same while the directory is locked: let PATH.new become PATH. 0 or negative errno. */
int statefile_replace(struct statefile *f);

#endif
