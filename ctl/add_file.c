#include "add_file.h"

#include "daemon/conf_files.h"
#include "daemon/text.h"
#include "faults.h"
#include "fields.h"
#include "progress.h"
#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Jobs in a call. It takes a thousand; with fewer, ticks have their turn in between sooner. */
#define BATCH_JOBS 250

/* Calls under way. */
#define WINDOW 4

/* The longest job in a call: its message may have twice the bytes in JSON, all the rest is short. */
#define JOB_TEXT_MAX 2048

struct batch {
    size_t n;
    uint32_t lines[BATCH_JOBS]; // of the jobs' sections
    const char *names[BATCH_JOBS];
};

struct upload {
    const struct invocation *inv;
    struct client *client;
    const char *path;
    const char *file; // its name, for messages
    struct config_builder *jobs;
    struct batch batches[WINDOW];
    size_t sent, answered; // batches
    size_t total, done, added;
    struct progress progress;
    struct emit message;
};

static void print_mistake(void *ctx, const char *line)
{
    (void)ctx;
    say_text(stderr, line);
    fputc('\n', stderr);
}

static int read_file(const struct upload *u, const char *path, char **text, size_t *len)
{
    int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);

    int r = fd < 0 ? -errno : conf_files_read(fd, (size_t)64 << 10, text, len);
    if (fd > STDIN_FILENO)
        close(fd);
    if (r == -EFBIG)
        say_error("%s: is larger than %u MiB; split it", u->file, CONF_FILE_SIZE_MAX >> 20);
    else if (r < 0)
        say_error("%s: cannot be read: %s", u->file, strerror(-r));
    return r;
}

/* Read and check the file. */
static enum ctl_status load(struct upload *u, const char *path)
{
    char *text = NULL;
    size_t len = 0;

    u->jobs = config_builder_new(print_mistake, NULL);
    if (u->jobs == NULL) {
        say_error("out of memory");
        return CTL_FAILED;
    }
    if (read_file(u, path, &text, &len) < 0)
        return CTL_FAILED;
    int r = config_builder_add(u->jobs, u->file, text, len);
    free(text);
    if (r == 0)
        r = config_builder_check_jobs(u->jobs, &u->total);
    if (r == -EINVAL)
        say_error("%s has mistakes; nothing is added", u->file);
    else if (r < 0)
        say_error("%s: %s", u->file, strerror(-r));
    return r == 0 ? CTL_DONE : r == -EINVAL ? CTL_USAGE : CTL_FAILED;
}

/* The next call, with as many jobs as it takes; false when there are no more. */
static bool make_batch(struct upload *u)
{
    struct batch *batch = &u->batches[u->sent % WINDOW];
    struct emit *e = &u->message;
    struct config_job job;

    emit_reset(e);
    client_begin_call(e, "Add", false);
    emit_bool(e, "brief", true);
    emit_bool(e, "ifAbsent", u->inv->value[OPTION_IF_ABSENT] != NULL);
    emit_bool(e, "replace", u->inv->value[OPTION_REPLACE] != NULL);
    emit_bool(e, "reset", u->inv->value[OPTION_RESET_OR_ADD] != NULL);
    emit_open(e, "jobs", '[');
    for (batch->n = 0; batch->n < BATCH_JOBS && e->len < VARLINK_MESSAGE_MAX - JOB_TEXT_MAX; batch->n++) {
        if (!config_builder_next_job(u->jobs, &job))
            break;
        batch->lines[batch->n] = job.line;
        batch->names[batch->n] = job.values[KEY_NAME];
        emit_job(e, job.values);
    }
    emit_close(e, ']');
    return batch->n > 0;
}

/* Which job of a batch an error is about; the first when it does not say. */
static size_t refused_job(const struct batch *batch, struct skim_value p)
{
    int64_t index = number_or_zero(p, "index");

    for (size_t i = 0; i < batch->n; i++)
        if (has_word(p, "name", batch->names[i]))
            return i;
    return index > 0 && (size_t)index < batch->n ? (size_t)index : 0;
}

/* Why it was refused, in few words. */
static void explain(const struct varlink_reply *reply, char *buf, size_t size)
{
    struct skim_value p = reply->parameters;
    char field[64], limit[64], reason[256];
    bool has_reason = text_of(p, "reason", reason, sizeof reason) != NULL;

    if (skim_is_text(reply->error, TWISTY_INTERFACE ".JobExists"))
        snprintf(buf, size, "is there already; use --replace or --if-absent");
    else if (has_reason && text_of(p, "field", field, sizeof field) != NULL)
        snprintf(buf, size, "%s: %s", field, reason);
    else if (text_of(p, "limit", limit, sizeof limit) != NULL)
        snprintf(buf, size, "%s: at most %lld", limit, (long long)number_or_zero(p, "value"));
    else if (has_reason)
        snprintf(buf, size, "%s", reason);
    else
        skim_text(reply->error, buf, size);
}

/* `why` is kept for the one line at the end, which has the numbers. */
static enum ctl_status refuse(const struct upload *u, const struct batch *batch, const struct varlink_reply *reply,
                              char *why, size_t size)
{
    size_t i = refused_job(batch, reply->parameters);
    char reason[384] = "";

    explain(reply, reason, sizeof reason);
    snprintf(why, size, "%s:%u: job:%s: %s", u->file, batch->lines[i], batch->names[i], reason);
    return skim_is_text(reply->error, TWISTY_INTERFACE ".NotPermitted") ? CTL_NOT_PERMITTED : CTL_FAILED;
}

static enum ctl_status receive(struct upload *u, char *why, size_t size)
{
    const struct batch *batch = &u->batches[u->answered++ % WINDOW];
    enum ctl_status status = CTL_DONE;
    struct varlink_reply reply;

    int r = client_receive(u->client, &reply);
    if (r < 0) {
        progress_end(&u->progress);
        u->answered = u->sent; // there are no more replies
        return fault_call(u->path, r);
    }
    if (reply.error.text == NULL) {
        u->added += (size_t)number_or_zero(reply.parameters, "added");
        u->done += batch->n;
        progress_update(&u->progress, u->done);
    } else if (why[0] == '\0') {
        status = refuse(u, batch, &reply, why, size);
    }
    return status;
}

static enum ctl_status send_batch(struct upload *u)
{
    int r = client_send(u->client, &u->message);

    u->sent += r == 0;
    return r == 0 ? CTL_DONE : fault_call(u->path, r);
}

/* Send and receive until all is done or something is refused; then receive what is still to come. */
static enum ctl_status upload(struct upload *u)
{
    enum ctl_status status = CTL_DONE, last;
    char why[512] = "";

    while (status == CTL_DONE && make_batch(u)) {
        status = send_batch(u);
        if (status == CTL_DONE && u->sent - u->answered == WINDOW)
            status = receive(u, why, sizeof why);
    }
    while (u->answered < u->sent) {
        last = receive(u, why, sizeof why);
        status = status == CTL_DONE ? last : status;
    }
    progress_end(&u->progress);
    if (status != CTL_DONE && why[0] != '\0')
        say_error("%s; %zu of %zu jobs were added", why, u->added, u->total);
    else if (status != CTL_DONE)
        say_error("%zu of %zu jobs were added for certain", u->added, u->total);
    return status;
}

enum ctl_status add_file(const struct invocation *inv, struct client *client, const char *path, struct output *out)
{
    const char *file = inv->value[OPTION_FILE];
    struct upload u = {.inv = inv, .client = client, .path = path, .file = strcmp(file, "-") == 0 ? "stdin" : file};

    int r = client_connect(client); // before a file is read that may have no end
    if (r < 0)
        return fault_call(path, r);
    enum ctl_status status = load(&u, file);
    if (status == CTL_DONE) {
        progress_begin(&u.progress, "adding jobs", u.total, out->quiet);
        status = upload(&u);
    }
    if (status == CTL_DONE)
        out->ops->added_many(out, u.added, u.total);
    config_builder_free(u.jobs);
    emit_free(&u.message);
    return status;
}
