#include "database.h"

#include "statefile.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <unistd.h>

struct database {
    struct statefile file;
    struct session session; // of PATH; while it is renewed, of PATH.new
    struct database_config config;
    char *boot_name;    // owned; config.boot
    int64_t boot;       // its number; 0: nothing is known yet
    bool absent;        // there is no file, and none could be made yet
    bool renewing;      // PATH is damaged, or gone
    bool damaged;       // it was found to be
    char damage[128];   // what was wrong with it
    bool boot_is_new;   // not in the file yet
    int64_t boot_shift; // ... and this goes with it
    int64_t *shifts;    // owned; shifts[b]: what is added to a time of boot b + 1, for one of the present boot
    size_t n_shifts;
    struct row row; // the last that was read
};

/* Examining. */

/* One that cannot be migrated for now is read as it is. */
static int migrate(struct database *db)
{
    struct session *session = &db->session;

    if (session->schema == DATABASE_SCHEMA)
        return 0;
    int r = db->file.unwritable;
    if (r == 0)
        r = session_begin_writing(session);
    if (r == 0)
        r = session_migrate(session);
    if (r == 0 || r == -ENOMEM || r == -EBADMSG || r == -EBUSY || session->schema == 0)
        return r;
    db->file.unwritable = r;
    return 0;
}

/* Look at everything. 0; -EPROTO: a newer daemon's; -EBADMSG, with a phrase in `damage`; or another negative errno. */
static int examine(struct database *db, char *damage, size_t size)
{
    struct session *session = &db->session;

    int r = session_identify(session, damage, size);
    if (r == 0)
        r = session_check_structure(session, damage, size);
    if (r == 0 && session->schema > 0)
        r = session_check_content(session, damage, size);
    if (r == 0)
        r = migrate(db);
    return r;
}

/* Saving what can be read of a damaged file. */

/* An empty PATH.new, open. */
static int make_new(const struct database *db, struct session *session)
{
    int fd = open(db->file.path_new, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return -errno;
    close(fd);
    int r = session_open(session, db->file.path_new, false);
    if (r == 0)
        r = session_begin_writing(session);
    if (r == 0)
        r = session_relax(session);
    if (r == 0)
        r = session_migrate(session);
    return r < 0 ? r : session_prepare(session);
}

/* Copy rows until one cannot be read: 0 at the end, -EBADMSG, or what keeps the new file from being written. */
static int save_rows(struct session *from, enum session_order order, struct session *to, struct database_found *found)
{
    struct row row;
    int64_t boot;
    int r = 0, kept = 0;

    while (kept == 0 && ((r = session_next(from, order, &row, &boot)) == 1 || r == -EILSEQ)) {
        if (r == 1)
            kept = session_put(to, &row, boot);
        else
            found->lost += order == IN_ORDER;
    }
    if (kept < 0)
        return kept;
    return r < 0 ? -EBADMSG : 0;
}

static int save_boot(void *ctx, int64_t boot, int64_t shift)
{
    return session_put_boot(ctx, boot, shift);
}

/* The clock, or if that cannot be read the best guess: that this is the boot that the latest rows are of. */
static int save_clock(struct database *db, struct session *to, struct database_found *found)
{
    int64_t rows = 0, last_id = 0, last_boot = 0;
    struct clock clock;

    int r = session_measure(to, &rows, &last_id, &last_boot);
    if (r < 0)
        return r;
    found->saved = (uint64_t)rows;
    if (session_read_clock(&db->session, &clock) == 0)
        return session_put_clock(to, &clock);
    clock = (struct clock){.boot = MAX(last_boot, 1),
                           .progress = {.now = db->config.now, .next_id = (uint64_t)last_id + 1}};
    snprintf(clock.name, sizeof clock.name, "%s", db->boot_name);
    return session_put_clock(to, &clock);
}

/* From both ends, as far as each goes: a row that is met twice is the same. What cannot be asked for is not there. */
static int save_all(struct database *db, struct session *to, struct database_found *found)
{
    struct session *from = &db->session;
    int r = 0;

    if (session_prepare_rest(from) == 0)
        r = save_rows(from, IN_ORDER, to, found);
    if (r == -EBADMSG)
        r = save_rows(from, BACKWARDS, to, found);
    if (r < 0 && r != -EBADMSG)
        return r;
    r = session_read_boots(from, save_boot, to);
    return r == -ENOMEM ? r : save_clock(db, to, found);
}

/* Make another file of what can be read, or an empty one, and let it take the place of this one. */
static int replace_file(struct database *db, struct database_found *found)
{
    struct session new = {0};

    int r = make_new(db, &new);
    if (r == 0 && db->session.sql != NULL) {
        r = session_begin(&new);
        if (r == 0)
            r = session_end(&new, save_all(db, &new, found));
    }
    if (r == 0)
        r = session_flush(&new);
    session_close(&new);
    session_abandon(&db->session); // what is damaged stays as it is
    if (r == 0)
        r = statefile_replace(&db->file);
    if (r < 0)
        statefile_discard_new(&db->file);
    return r;
}

/* Boots. */

static int note_shift(void *ctx, int64_t boot, int64_t shift)
{
    struct database *db = ctx;

    if (boot <= db->boot)
        db->shifts[boot - 1] = shift;
    return 0;
}

/* What to add to times of each boot, for those of the present one: the sum of all shifts since. */
static int load_shifts(struct database *db)
{
    free(db->shifts);
    db->n_shifts = (size_t)db->boot;
    db->shifts = calloc(db->n_shifts + 1, sizeof *db->shifts);
    if (db->shifts == NULL)
        return -ENOMEM;
    int r = session_read_boots(&db->session, note_shift, db);
    if (r < 0)
        return r;
    if (db->boot_is_new)
        db->shifts[db->boot - 1] = db->boot_shift;
    // shifts[b - 1] leads from boot b - 1 to boot b: summed up from behind, it leads from there to the present one.
    for (size_t i = db->n_shifts; i-- > 1;)
        if (__builtin_add_overflow(db->shifts[i - 1], db->shifts[i], &db->shifts[i - 1]))
            db->shifts[i - 1] = 0;
    return 0;
}

/* A time of another boot. However wrong the clocks were, it stays one that can be written. */
static int64_t shifted(int64_t time, int64_t shift)
{
    int64_t sum;

    if (__builtin_add_overflow(time, shift, &sum))
        sum = shift < 0 ? -DATABASE_TIME_MAX : DATABASE_TIME_MAX;
    return MIN(MAX(sum, -DATABASE_TIME_MAX), DATABASE_TIME_MAX);
}

/* The first time of all, or the first since a reboot: how the clocks go together, and how long nobody was there. */
static int begin_boot(struct database *db, const struct clock *last, struct database_found *found)
{
    const struct moment *now = &db->config.now, *then = &last->progress.now;
    int64_t elapsed = now->real - then->real;

    db->boot = last->boot + 1;
    db->boot_is_new = true;
    found->rebooted = last->boot > 0;
    if (!found->rebooted)
        return 0;
    if (db->boot > DATABASE_BOOTS_MAX)
        return -EOVERFLOW;
    found->clock_back = MAX(-elapsed, 0);
    found->away = MAX(elapsed, 0);
    db->boot_shift = shifted(shifted(now->loop, -found->away), -then->loop);
    return 0;
}

static int load_clock(struct database *db, struct database_found *found)
{
    struct clock last;

    int r = session_read_clock(&db->session, &last);
    if (r < 0 && r != -ENOENT)
        return r;
    found->progress = last.progress;
    if (last.boot == 0 || strcmp(last.name, db->config.boot) != 0) {
        r = begin_boot(db, &last, found);
        if (r < 0)
            return r;
        found->progress.now.loop = shifted(found->progress.now.loop, db->boot_shift);
        found->progress.stamp = shifted(found->progress.stamp, db->boot_shift);
    } else {
        db->boot = last.boot;
        found->away = MAX(db->config.now.loop - last.progress.now.loop, 0);
    }
    found->progress.stamp = MIN(found->progress.stamp, db->config.now.loop); // what is to come has not been done
    return load_shifts(db);
}

/* Opening. */

/* SQLite reads a file on a read-only disk only if it is whole by itself. */
static int check_log_is_empty(const struct database *db, char *why, size_t size)
{
    struct stat st;

    if (db->file.unwritable == 0 || stat(db->file.path_log, &st) < 0 || st.st_size == 0)
        return 0;
    return text_explain(why, size, -EROFS,
                        "%s: the last changes are in %s, and cannot be read while nothing can be written; "
                        "make the directory writable",
                        db->file.path, db->file.path_log);
}

/* The session is of PATH, examined: get ready to write it, if it can be. */
static int ready(struct database *db)
{
    int r = db->file.unwritable == 0 ? session_begin_writing(&db->session) : 0;

    if (r == 0)
        r = session_prepare(&db->session);
    if (r == 0 && db->file.unwritable == 0)
        statefile_note(&db->file);
    return r;
}

/* Why no file can be made beside PATH, such as its log: SQLite says what another try came to. Else r. */
static int find_reason(const struct database *db, int r)
{
    int fd = r == -ENOENT ? open(db->file.path_new, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;

    if (r == -ENOENT && fd < 0)
        return -errno;
    if (fd >= 0) {
        close(fd);
        statefile_discard_new(&db->file);
    }
    return r;
}

static int read_file(struct database *db, struct database_found *found)
{
    snprintf(found->damage, sizeof found->damage, "it is no database");
    int r = session_open(&db->session, db->file.path, db->file.unwritable != 0);
    if (r == 0)
        r = examine(db, found->damage, sizeof found->damage);
    if (r == 0)
        r = ready(db);
    return r < 0 ? r : load_clock(db, found);
}

/* It cannot be opened for writing. If that is for want of a log alone, it can be read. */
static int read_without_log(struct database *db, struct database_found *found, int error)
{
    struct stat st;

    if (db->file.unwritable != 0 || (stat(db->file.path_log, &st) == 0 && st.st_size > 0))
        return error;
    session_abandon(&db->session);
    db->file.unwritable = find_reason(db, error);
    return read_file(db, found);
}

/* The file as it is. 0; -EBADMSG, with found->damage; or another negative errno, with a line in `why`. */
static int open_file(struct database *db, struct database_found *found, char *why, size_t size)
{
    int r = check_log_is_empty(db, why, size);

    if (r < 0)
        return r;
    r = read_file(db, found);
    if (r < 0 && r != -EPROTO && r != -EBADMSG && r != -EBUSY && r != -ENOMEM)
        r = read_without_log(db, found, r);
    if (r == -EPROTO)
        return text_explain(why, size, r,
                            "%s: was written by a newer twistyd (schema %s, this one knows %d); install that one, "
                            "or set another state",
                            db->file.path, found->damage, DATABASE_SCHEMA);
    if (r == 0)
        found->damage[0] = '\0';
    else if (r == -EBUSY)
        text_explain(why, size, r, "%s: another program has it open; end that, or set another state", db->file.path);
    else if (r != -EBADMSG)
        text_explain(why, size, r, "%s: cannot be read: %s", db->file.path, strerror(-r));
    return r;
}

/* There was none. That none can be made for now is no error: it will be of this boot. */
static int open_first(struct database *db, struct database_found *found, char *why, size_t size)
{
    int r = replace_file(db, found);

    if (r == -ENOMEM)
        return text_explain(why, size, r, "out of memory");
    if (r < 0) {
        db->absent = true;
        found->unwritable = r;
        return begin_boot(db, &(struct clock){0}, found);
    }
    r = statefile_lock(&db->file, why, size);
    return r < 0 ? r : open_file(db, found, why, size);
}

/* It is damaged. */
static int open_saved(struct database *db, struct database_found *found, char *why, size_t size)
{
    char damage[sizeof found->damage];

    memcpy(damage, found->damage, sizeof damage);
    if (db->file.unwritable != 0)
        return text_explain(why, size, -EROFS,
                            "%s: is damaged: %s; and nothing can be written: make the directory writable",
                            db->file.path, damage);
    int r = replace_file(db, found);
    if (r < 0)
        return text_explain(why, size, r, "%s: is damaged: %s; and it cannot be set aside: %s", db->file.path, damage,
                            strerror(-r));
    r = statefile_lock(&db->file, why, size);
    if (r == 0)
        r = open_file(db, found, why, size);
    memcpy(found->damage, damage, sizeof damage);
    return r;
}

int database_open(const struct database_config *config, struct database **out, struct database_found *found, char *why,
                  size_t size)
{
    struct database *db = calloc(1, sizeof *db);

    if (db == NULL || (db->boot_name = strdup(config->boot)) == NULL) {
        free(db);
        return text_explain(why, size, -ENOMEM, "out of memory");
    }
    *found = (struct database_found){0};
    db->config = *config;
    db->config.boot = db->boot_name;
    int r = statefile_open(&db->file, config->path, why, size);
    bool left_over = db->file.aside[0] != '\0';
    if (r == 0)
        r = open_file(db, found, why, size);
    else if (r == -ENOENT && db->file.path != NULL)
        r = open_first(db, found, why, size);
    if (r == -EBADMSG)
        r = open_saved(db, found, why, size);
    if (r == -EBADMSG)
        text_explain(why, size, r, "%s: is damaged: %s", db->file.path, found->damage);
    statefile_settled(&db->file);
    snprintf(found->set_aside, sizeof found->set_aside, "%s", db->file.aside);
    if (found->set_aside[0] != '\0' && found->damage[0] == '\0')
        snprintf(found->damage, sizeof found->damage,
                 left_over ? "an earlier start found it damaged" : "there was nothing but its log");
    if (db->file.unwritable != 0)
        found->unwritable = db->file.unwritable;
    if (r < 0) {
        database_close(db);
        return r;
    }
    *out = db;
    return 0;
}

/* One that is not to be believed any more stays as it is; one that was to take its place is not needed. */
static void end_session(struct database *db)
{
    if (db->damaged || db->renewing)
        session_abandon(&db->session);
    else
        session_close(&db->session);
    if (db->renewing)
        statefile_discard_new(&db->file);
    db->renewing = false;
}

void database_close(struct database *db)
{
    if (db == NULL)
        return;
    end_session(db);
    statefile_close(&db->file); // after SQLite: closing it would let go of SQLite's locks
    free(db->shifts);
    free(db->boot_name);
    free(db);
}

/* Reading */

static void shift_row(const struct database *db, struct row *row, int64_t boot)
{
    int64_t shift = boot > 0 && boot < db->boot ? db->shifts[boot] : 0;

    // Nothing lies in the future: with a clock that could not be read, a job begins now.
    if (shifted(row->added, shift) > db->config.now.loop)
        shift = db->config.now.loop - row->added;
    row->added = shifted(row->added, shift);
    row->t0 = shifted(row->t0, shift);
    row->since = shifted(row->since, shift);
}

int database_next(struct database *db, struct row *out)
{
    int64_t boot;
    int r = session_next(&db->session, IN_ORDER, out, &boot);

    if (r == 1)
        shift_row(db, out, boot);
    else if (r == -EILSEQ)
        session_rewind(&db->session, IN_ORDER);
    return r;
}

/* Writing */

/* What could not be written, made or migrated at the beginning, or not be opened again: can it be now? */
static int try_again_to_write(struct database *db, char *why, size_t size)
{
    struct database_found found = {0};
    int r = 0;

    if (db->absent && access(db->file.path, F_OK) == 0)
        return text_explain(why, size, -EEXIST, "%s: has appeared; restart twistyd to read it", db->file.path);
    session_close(&db->session);
    if (db->absent)
        r = replace_file(db, &found);
    if (r == 0)
        db->absent = false;
    if (r == 0)
        r = statefile_lock(&db->file, why, size);
    if (r == 0)
        r = db->file.unwritable;
    if (r == 0)
        r = session_open(&db->session, db->file.path, false);
    if (r == 0)
        r = session_identify(&db->session, found.damage, sizeof found.damage);
    if (r == 0)
        r = session_begin_writing(&db->session);
    if (r == 0)
        r = session_migrate(&db->session);
    if (r == 0)
        r = ready(db);
    if (r < 0)
        session_close(&db->session);
    return find_reason(db, r);
}

static int write_changes(struct database *db, const struct changes *changes, const struct progress *progress)
{
    struct session *session = &db->session;
    struct clock clock = {.boot = db->boot, .progress = *progress};
    const struct change *c;
    int r = 0;

    if (db->boot_is_new)
        r = session_forget_clock(session);
    if (r == 0 && db->boot_is_new)
        r = session_put_boot(session, db->boot, db->boot_shift);
    TAILQ_FOREACH (c, &changes->list, link) {
        if (r == 0)
            r = c->gone ? session_remove(session, c->row.id) : session_put(session, &c->row, db->boot);
    }
    snprintf(clock.name, sizeof clock.name, "%s", db->boot_name);
    return r < 0 ? r : session_put_clock(session, &clock);
}

/* Note what is wrong with the file: nothing can be written to it any more. */
static int note_damage(struct database *db, const char *what)
{
    snprintf(db->damage, sizeof db->damage, "%s", what);
    db->damaged = true;
    return -ESTALE;
}

/* Can the file be written, and is it still the one that was opened? */
static int get_ready(struct database *db, char *why, size_t size)
{
    char what[sizeof db->damage];
    int r;

    if (db->renewing)
        return 0;
    if (db->damaged)
        return -ESTALE;
    r = db->absent ? 0 : statefile_check(&db->file, what, sizeof what);
    if (r == -ESTALE)
        return note_damage(db, what);
    return r == 0 && (db->session.sql == NULL || db->file.unwritable != 0) ? try_again_to_write(db, why, size) : r;
}

static int commit(struct database *db, const struct changes *changes, const struct progress *progress)
{
    int r = session_begin(&db->session);

    if (r == 0)
        r = session_end(&db->session, write_changes(db, changes, progress));
    if (!db->renewing)
        statefile_note_log(&db->file); // what has failed may have got there in part
    return r;
}

int database_write(struct database *db, const struct changes *changes, const struct progress *progress, char *why,
                   size_t size)
{
    why[0] = '\0';
    int r = get_ready(db, why, size);
    if (r == 0)
        r = commit(db, changes, progress);
    if (r == -EBADMSG && !db->renewing)
        r = note_damage(db, "it was found when it was written");
    if (r == -ESTALE)
        text_explain(why, size, r, "%s: is damaged: %s; it is being written anew", db->file.path, db->damage);
    else if (r < 0 && why[0] == '\0')
        text_explain(why, size, r, "%s: %s", db->file.path, strerror(-r));
    if (r == 0)
        db->boot_is_new = false;
    return r;
}

void database_tidy(struct database *db)
{
    int r = session_tidy(&db->session);

    if (r != 0 && !db->renewing)
        statefile_note(&db->file);
    if (r == -EBADMSG && !db->renewing)
        note_damage(db, "it was found when its log was moved into it");
}

/* Renewal */

int database_renew(struct database *db, char *why, size_t size)
{
    why[0] = '\0';
    session_abandon(&db->session);
    db->renewing = true;
    db->boot_is_new = true;
    int r = statefile_begin_new(&db->file, why, size);
    if (r == 0)
        r = make_new(db, &db->session);
    if (r < 0 && why[0] == '\0')
        text_explain(why, size, r, "%s: %s", db->file.path_new, strerror(-r));
    return r;
}

int database_end_renewal(struct database *db, struct database_found *found, char *why, size_t size)
{
    int64_t rows = 0, ignored = 0;

    why[0] = '\0';
    *found = (struct database_found){0};
    int r = session_measure(&db->session, &rows, &ignored, &ignored);
    if (r == 0)
        r = session_flush(&db->session);
    if (r == 0)
        session_close(&db->session);
    if (r < 0)
        return text_explain(why, size, r, "%s: %s", db->file.path_new, strerror(-r));
    r = statefile_end_new(&db->file, why, size);
    if (r < 0)
        return r;
    db->renewing = db->damaged = false;
    snprintf(found->damage, sizeof found->damage, "%s", db->damage);
    snprintf(found->set_aside, sizeof found->set_aside, "%s", db->file.aside);
    found->saved = (uint64_t)rows;
    try_again_to_write(db, why, size); // or with the next changes
    return 0;
}
