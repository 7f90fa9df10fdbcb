/*
 * report - job events to log lines and journal fields, as twistyd(8) has them under "The log".
 *
 * Which ticks are written is decided here: a job's report rule, the daemon's log level and its report-limit. When
 * the receiver is stuck or the limit is used up, only the latest tick of each job is kept, and its line says how
 * many were suppressed; every other line is kept and delivered.
 */
#ifndef TWISTY_REPORT_H
#define TWISTY_REPORT_H

#include "job.h"
#include "sink.h"

struct report;

/* The words that lines begin with; systemd/twisty.catalog explains each. */
struct report_event {
    const char *word;
    const char *message_id; // on the journal
};

#define REPORT_EVENTS 15

extern const struct report_event report_events[REPORT_EVENTS];

struct report_config {
    int log_level;
    uint32_t limit; // tick lines a second; 0: none
};

/* The sink is borrowed. NULL when there is no memory. */
struct report *report_new(struct sink *sink, const struct report_config *config);

/* Kept ticks are let go; jobs that have one must still be there, or be forgotten by report_forget(). */
void report_free(struct report *r);

void report_configure(struct report *r, const struct report_config *config);

/* A job's event, at ev->at. */
void report_job(struct report *r, struct job *job, const struct job_event *ev);

/* The job is going away: what was kept of it is written. */
void report_forget(struct report *r, struct job *job);

/*
 * The daemon's own lines: "ready", "state", "reload", "exit" and what it has to say at `priority`. Always kept. What
 * comes from outside cannot break the line; within quotes it is for the caller to text_escape().
 */
void report_daemon(struct report *r, int priority, const char *event, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* A run of an action. */
struct report_run {
    const char *job;
    uint64_t id;
    const char *action;
    const char *event; // of the job
};

/* How a try ended. The texts may be any bytes. */
struct report_failure {
    const char *status;    // "3", "SIGSEGV", "timeout"
    int64_t runtime;       // ns
    uint32_t attempt;      // from 1
    int64_t retry_in;      // ns; 0: it is not tried again
    uint64_t refused;      // > 0: it stands for so many that were not even tried
    const char *error;     // what the status does not say, or NULL
    const char *last_line; // of its stderr, or NULL
};

/* "action-failed": always kept. */
void report_action_failed(struct report *r, const struct report_run *run, const struct report_failure *failure);

/*
 * "output": a line that an action wrote. False when it is left out: the limit, which is the same as for ticks and
 * counts apart from them, is used up, or the receiver is stuck.
 */
bool report_output(struct report *r, const struct report_run *run, bool error_output, const char *text, int64_t now);

/* Lines of a run's output that were left out. */
void report_untold(struct report *r, const struct report_run *run, uint64_t lines);

/*
 * Write kept ticks, a bounded number at a time, as far as the receiver and the limit allow. Called by the sink's
 * on_ready, and at report_due(), which has changed afterwards.
 */
void report_flush(struct report *r, int64_t now);

/* When report_flush() is to be called: now or later; TIME_NEVER when nothing waits, or on_ready will tell. */
int64_t report_due(const struct report *r);

/* Tick lines that were suppressed since the start. */
uint64_t report_suppressed(const struct report *r);

#endif
