#include "status.h"

#include "text.h"

static void put_loop_source(void *ctx, const char *purpose, const char *detail, int number, unsigned what)
{
    static const struct {
        unsigned bit;
        const char *word;
    } words[] = {{WATCH_READ, "read"}, {WATCH_WRITE, "write"}, {WATCH_TIMEOUT, "timeout"}, {WATCH_SIGNAL, "signal"}};
    struct emit *e = ctx;

    emit_open(e, NULL, '{');
    emit_text(e, "purpose", purpose);
    emit_text(e, "detail", detail);
    if (number < 0)
        emit_null(e, "number");
    else
        emit_int(e, "number", number);
    emit_open(e, "waitsFor", '[');
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if ((what & words[i].bit) != 0)
            emit_text(e, NULL, words[i].word);
    emit_close(e, ']');
    emit_close(e, '}');
}

static void put_counts(struct emit *e, const struct jobs_counts *counts)
{
    emit_open(e, "jobs", '{');
    emit_int(e, "listed", counts->listed);
    emit_int(e, "live", counts->live);
    emit_int(e, "foreground", counts->foreground);
    emit_int(e, "paused", counts->paused);
    emit_int(e, "ever", (int64_t)counts->ever);
    emit_close(e, '}');
    emit_int(e, "ticks", (int64_t)counts->ticks);
    emit_int(e, "missed", (int64_t)counts->missed);
}

static void put_next(struct emit *e, struct jobs *jobs, const struct wire_clock *clock)
{
    struct job *job;
    int64_t due;

    if (!jobs_next_due(jobs, &due, &job)) {
        emit_null(e, "nextName");
        emit_null(e, "nextUsec");
        emit_null(e, "nextNsec");
        return;
    }
    emit_text(e, "nextName", job_name(job));
    emit_int(e, "nextUsec", wire_usec(clock, due));
    emit_int(e, "nextNsec", due - clock->now);
}

static void put_lateness(struct emit *e, const struct lateness *lateness)
{
    if (lateness->n == 0) {
        emit_null(e, "lateness");
        return;
    }
    emit_open(e, "lateness", '{');
    emit_int(e, "p50Nsec", lateness_within(lateness, 50));
    emit_int(e, "p99Nsec", lateness_within(lateness, 99));
    emit_int(e, "maxNsec", lateness->max);
    emit_close(e, '}');
}

static void put_daemon(struct emit *e, const struct status *s, const struct wire_clock *clock)
{
    const struct daemon_status *daemon = &s->daemon;

    emit_text(e, "version", TWISTY_VERSION);
    emit_int(e, "pid", daemon->pid);
    emit_int(e, "startUsec", wire_usec(clock, daemon->start));
    emit_int(e, "uptimeNsec", clock->now - daemon->start);
    emit_text(e, "backend", loop_backend(s->loop));
    emit_text(e, "clock", daemon->clock);
    emit_text(e, "logTarget", daemon->log_target);
    wire_text(e, "configuration", daemon->configuration);
    wire_text(e, "socket", control_path(s->control));
    wire_text(e, "stateFile", durable_path(s->durable));
    wire_text(e, "degraded", durable_degraded(s->durable));
    emit_bool(e, "exitWhenDone", daemon->exit_when_done);
    put_lateness(e, daemon->lateness);
    emit_int(e, "suppressed", (int64_t)daemon->suppressed);
    emit_int(e, "logLost", (int64_t)daemon->log_lost);
    wire_counts(e, "actions", &daemon->actions);
    emit_int(e, "connections", control_connections(s->control));
}

void status_put(struct emit *e, const struct status *s, const struct wire_clock *clock, bool loop)
{
    struct jobs_counts counts;

    jobs_counts(s->jobs, &counts);
    emit_open(e, "status", '{');
    put_daemon(e, s, clock);
    put_counts(e, &counts);
    put_next(e, s->jobs, clock);
    if (loop) {
        emit_open(e, "loop", '[');
        watch_describe(loop_watches(s->loop), put_loop_source, e);
        emit_close(e, ']');
    }
    emit_close(e, '}');
}
