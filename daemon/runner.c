#include "runner.h"

#include "environment.h"
#include "quantity.h"
#include "sched.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Commands that are asked for in one call: a fraction of a millisecond. */
#define SLICE_STARTS 8

/* Runs that wait for the same predecessor: one job cannot fill the line alone. */
#define FOLLOWERS_MAX 16

/* Lines of output that a run may have told at once, and after them how many a second. */
#define LINES_BURST   100
#define LINES_PER_SEC 10

/* A power of two. */
#define BUCKETS 1024

enum run_state {
    RUN_HELD,    // behind another for the same event
    RUN_READY,   // in line
    RUN_RUNNING, // or about to start
    RUN_WAITING, // for its next try
};

struct run {
    struct runner *runner;
    struct action *action; // a reference
    struct occasion occasion;
    enum run_state state;
    uint32_t slot; // its handle in runner::sched, its index in runner::slots
    uint32_t attempt;
    enum run_outcome cut; // why it was told to end; RUN_SUCCEEDED: it was not
    int64_t begun;
    uint64_t told, untold; // lines of this try
    struct command *command;
    struct text_list environment;
    char **argv, **envp;                 // owned arrays; of the action's and the environment's texts
    TAILQ_HEAD(run_list, run) followers; // they are held
    unsigned n_followers;
    TAILQ_ENTRY(run) link;  // runner::ready, or run::followers
    LIST_ENTRY(run) bucket; // runner::buckets, unless it is held
};

struct runner {
    struct runner_config config;
    struct runner_hooks hooks;
    struct watch_set *watches;
    struct spawner *spawner;
    struct sched *sched;
    struct run **slots;   // free ones are NULL
    uint32_t *free_slots; // a stack
    uint32_t n_slots, n_free;
    struct run_list ready;                   // oldest first
    LIST_HEAD(bucket, run) buckets[BUCKETS]; // by the job's id
    uint32_t n_foreground;
    bool stopping;
    bool quiet; // being freed
    uint64_t seed;
    struct action_counts counts;
};

/* What is counted of all is counted of the one, too. */
#define COUNT(r, action, member, step)                                                                                 \
    do {                                                                                                               \
        (r)->counts.member step;                                                                                       \
        (action)->tally->counts.member step;                                                                           \
    } while (false)

static uint32_t n_runs(const struct runner *r)
{
    return r->counts.running + r->counts.queued;
}

static struct bucket *bucket_of(struct runner *r, uint64_t job)
{
    return &r->buckets[job % BUCKETS];
}

static struct run *find(struct runner *r, const struct occasion *occasion)
{
    struct run *run;

    LIST_FOREACH (run, bucket_of(r, occasion->id), bucket)
        if (run->occasion.id == occasion->id && run->occasion.hook == occasion->hook)
            return run;
    return NULL;
}

/* Room for so many runs. */
static int reserve(struct runner *r, uint32_t n)
{
    if (n <= r->n_slots)
        return 0;
    struct run **slots = reallocarray(r->slots, n, sizeof(struct run *));
    if (slots == NULL)
        return -ENOMEM;
    r->slots = slots;
    uint32_t *free_slots = reallocarray(r->free_slots, n, sizeof *free_slots);
    if (free_slots == NULL)
        return -ENOMEM;
    r->free_slots = free_slots;
    int error = sched_reserve(r->sched, n);
    if (error < 0)
        return error;
    for (uint32_t slot = n; slot-- > r->n_slots;) {
        r->slots[slot] = NULL;
        r->free_slots[r->n_free++] = slot;
    }
    r->n_slots = n;
    return 0;
}

int runner_configure(struct runner *r, const struct runner_config *config)
{
    int error = reserve(r, config->max_actions + config->max_queued);

    if (error == 0)
        r->config = *config;
    return error;
}

int runner_new(const struct runner_config *config, struct watch_set *watches, const struct runner_hooks *hooks,
               struct runner **out)
{
    struct runner *r = calloc(1, sizeof *r);
    if (r == NULL)
        return -ENOMEM;
    r->hooks = *hooks;
    r->watches = watches;
    TAILQ_INIT(&r->ready);
    r->sched = sched_new();
    int error = r->sched == NULL ? -ENOMEM : runner_configure(r, config);
    if (error == 0 && getrandom(&r->seed, sizeof r->seed, 0) != sizeof r->seed)
        error = -errno;
    if (error == 0)
        error = spawner_new(watches, &r->spawner);
    if (error < 0) {
        runner_free(r);
        return error;
    }
    *out = r;
    return 0;
}

static void forget_texts(struct run *run)
{
    free(run->argv);
    free(run->envp);
    run->argv = run->envp = NULL;
    text_list_clear(&run->environment);
}

static void run_free(struct run *run)
{
    command_free(run->command);
    forget_texts(run);
    action_unref(run->action);
    free(run);
}

void runner_free(struct runner *r)
{
    if (r == NULL)
        return;
    r->quiet = true;
    spawner_free(r->spawner); // answers what was asked
    for (uint32_t slot = 0; slot < r->n_slots; slot++)
        if (r->slots[slot] != NULL)
            run_free(r->slots[slot]);
    sched_free(r->sched);
    free(r->slots);
    free(r->free_slots);
    free(r);
}

/* Into the line. */
static void make_ready(struct run *run)
{
    struct runner *r = run->runner;

    run->state = RUN_READY;
    sched_cancel(r->sched, run->slot);
    TAILQ_INSERT_TAIL(&r->ready, run, link);
}

/* The first of the followers takes its leader's place, with the others behind it. */
static void promote(struct run *leader)
{
    struct run *next = TAILQ_FIRST(&leader->followers);

    if (next == NULL)
        return;
    TAILQ_REMOVE(&leader->followers, next, link);
    TAILQ_CONCAT(&next->followers, &leader->followers, link);
    next->n_followers = leader->n_followers - 1;
    LIST_INSERT_HEAD(bucket_of(next->runner, next->occasion.id), next, bucket);
    make_ready(next);
}

/* What retires is in no list any more. */
static void run_end(struct run *run)
{
    struct runner *r = run->runner;

    sched_cancel(r->sched, run->slot);
    r->slots[run->slot] = NULL;
    r->free_slots[r->n_free++] = run->slot;
    COUNT(r, run->action, queued, --);
    r->n_foreground -= !run->occasion.background;
    run_free(run);
}

/* Nothing more comes of this run: the next for the same event has its turn. */
static void retire(struct run *run)
{
    if (run->state == RUN_READY)
        TAILQ_REMOVE(&run->runner->ready, run, link);
    LIST_REMOVE(run, bucket);
    promote(run);
    run_end(run);
}

static void tell(struct run *run, const struct run_result *result)
{
    struct runner *r = run->runner;

    if (result->outcome == RUN_SUPERSEDED)
        COUNT(r, run->action, skipped, ++);
    else if (result->outcome != RUN_SUCCEEDED)
        COUNT(r, run->action, failed, ++);
    r->hooks.ended(r->hooks.ctx, run->action, &run->occasion, result);
}

/* End one early. What runs is told of when it has ended. */
static void cut_short(struct run *run, enum run_outcome why, int64_t now)
{
    struct runner *r = run->runner;

    if (run->state == RUN_RUNNING) {
        run->cut = why;
        command_signal(run->command, SIGTERM);
        sched_set(r->sched, run->slot, now + r->config.stop_timeout);
        return;
    }
    tell(run, &(struct run_result){.outcome = why, .attempt = run->attempt});
    retire(run);
}

static struct run *run_new(struct runner *r, struct action *action, const struct occasion *occasion)
{
    struct run *run = calloc(1, sizeof *run);
    if (run == NULL)
        return NULL;
    run->runner = r;
    run->action = action_ref(action);
    run->occasion = *occasion;
    TAILQ_INIT(&run->followers);
    run->slot = r->free_slots[--r->n_free];
    r->slots[run->slot] = run;
    COUNT(r, action, queued, ++);
    r->n_foreground += !occasion->background;
    return run;
}

/*
 * Is there a run that takes this occasion along, so that no other is needed? With `kill` the latest one counts: it
 * takes the place of one that has not begun.
 */
static bool absorbs(struct run *leader, const struct action *action, const struct occasion *occasion)
{
    struct run *waiting = leader->state == RUN_READY ? leader : TAILQ_FIRST(&leader->followers);

    if (action->overlap == OVERLAP_KILL && waiting != NULL)
        waiting->occasion = *occasion;
    return action->overlap == OVERLAP_SKIP || (action->overlap == OVERLAP_KILL && waiting != NULL);
}

/* Behind its leader, or into the line. */
static void queue(struct run *run, struct run *leader)
{
    struct runner *r = run->runner;

    if (leader == NULL) {
        LIST_INSERT_HEAD(bucket_of(r, run->occasion.id), run, bucket);
        make_ready(run);
        return;
    }
    run->state = RUN_HELD;
    TAILQ_INSERT_TAIL(&leader->followers, run, link);
    leader->n_followers++;
    if (run->action->overlap == OVERLAP_KILL && leader->cut == RUN_SUCCEEDED)
        cut_short(leader, RUN_SUPERSEDED, r->hooks.now(r->hooks.ctx));
}

int runner_add(struct runner *r, struct action *action, const struct occasion *occasion)
{
    struct run *leader = find(r, occasion), *run;
    int error = 0;

    if (r->stopping) {
        error = -ESHUTDOWN;
    } else if (leader != NULL && absorbs(leader, action, occasion)) {
        COUNT(r, action, skipped, ++);
        return -EALREADY;
    } else if (n_runs(r) >= r->config.max_actions + r->config.max_queued ||
               (leader != NULL && leader->n_followers == FOLLOWERS_MAX)) {
        error = -ENOBUFS;
    } else if ((run = run_new(r, action, occasion)) == NULL) {
        error = -ENOMEM;
    } else {
        queue(run, leader);
    }
    if (error < 0)
        COUNT(r, action, failed, ++);
    return error;
}

/* Running it. */

/* Lines that it may still have told. */
static size_t on_room(void *ctx)
{
    const struct run *run = ctx;
    const struct runner_hooks *hooks = &run->runner->hooks;

    if (run->runner->quiet)
        return 0;
    uint64_t seconds = (uint64_t)((hooks->now(hooks->ctx) - run->begun) / NSEC_PER_SEC);
    uint64_t most = LINES_BURST + seconds * LINES_PER_SEC;
    return most > run->told ? most - run->told : 0;
}

static void on_line(void *ctx, enum command_stream stream, const char *line)
{
    struct run *run = ctx;
    const struct runner_hooks *hooks = &run->runner->hooks;

    if (hooks->line(hooks->ctx, run->action, &run->occasion, stream, line))
        run->told++;
    else
        run->untold++;
}

static void on_skipped(void *ctx, size_t lines)
{
    struct run *run = ctx;

    run->untold += lines;
}

static void on_started(void *ctx)
{
    struct run *run = ctx;
    struct runner *r = run->runner;

    forget_texts(run);
    if (r->quiet || run->cut != RUN_SUCCEEDED)
        return;
    run->begun = r->hooks.now(r->hooks.ctx);
    sched_set(r->sched, run->slot, run->begun + run->action->timeout);
    r->hooks.changed(r->hooks.ctx);
}

/* What came of a try; one that did its work although it was told to end has done its work. */
static struct run_result judge(const struct run *run, int error, int code, int status)
{
    struct run_result result = {.outcome = RUN_SUCCEEDED};

    if (error < 0)
        result = (struct run_result){.outcome = RUN_NOT_STARTED, .number = -error};
    else if (code != CLD_EXITED)
        result = (struct run_result){.outcome = RUN_SIGNALLED, .number = status};
    else if (status != 0)
        result = (struct run_result){.outcome = RUN_EXITED, .number = status};
    if (run->cut != RUN_SUCCEEDED && (result.outcome != RUN_SUCCEEDED || run->cut == RUN_TIMED_OUT))
        result.outcome = run->cut;
    return result;
}

static bool is_tried_again(const struct run *run, enum run_outcome outcome)
{
    bool failed =
        outcome == RUN_EXITED || outcome == RUN_SIGNALLED || outcome == RUN_TIMED_OUT || outcome == RUN_NOT_STARTED;

    return failed && run->attempt <= run->action->retry && !run->runner->stopping;
}

static void end_try(struct run *run, struct run_result *result, int64_t now)
{
    struct runner *r = run->runner;

    COUNT(r, run->action, running, --);
    COUNT(r, run->action, queued, ++);
    result->runtime = now - run->begun;
    result->attempt = run->attempt;
    result->last_line = run->command != NULL ? command_last_line(run->command) : NULL;
    result->untold = run->untold;
    if (is_tried_again(run, result->outcome))
        result->retry_in = action_backoff(run->action->backoff, run->attempt, &r->seed);
    tell(run, result);
    run->state = RUN_WAITING;
    if (result->retry_in == 0) {
        retire(run);
        return;
    }
    command_free(run->command);
    run->command = NULL;
    run->cut = RUN_SUCCEEDED;
    sched_set(r->sched, run->slot, now + result->retry_in);
}

static void on_ended(void *ctx, int error, int code, int status)
{
    struct run *run = ctx;
    struct runner *r = run->runner;
    struct run_result result = judge(run, error, code, status);

    if (r->quiet)
        return;
    forget_texts(run);
    end_try(run, &result, r->hooks.now(r->hooks.ctx));
    r->hooks.changed(r->hooks.ctx);
}

/* An array of the texts as execve(2) has it. */
static char **vector(const struct text_list *list)
{
    char **texts = calloc(list->n + 1, sizeof *texts);

    if (texts != NULL && list->n > 0)
        memcpy(texts, list->items, list->n * sizeof *texts);
    return texts;
}

static int start_command(struct run *run)
{
    struct runner *r = run->runner;
    const struct command_hooks hooks = {
        .room = on_room, .line = on_line, .skipped = on_skipped, .started = on_started, .ended = on_ended, .ctx = run};

    int error = environment_fill(run->action, &run->occasion, &run->environment);
    if (error < 0)
        return error;
    run->argv = vector(&run->action->exec);
    run->envp = vector(&run->environment);
    if (run->argv == NULL || run->envp == NULL)
        return -ENOMEM;
    run->command = command_start(r->spawner, r->watches, run->argv, run->envp, run->action->name, &hooks);
    return run->command == NULL ? -ENOMEM : 0;
}

/* Out of the line; sched has its timeout from here on, though the command may take its time to load. */
static void start(struct run *run, int64_t now)
{
    struct runner *r = run->runner;

    TAILQ_REMOVE(&r->ready, run, link);
    run->state = RUN_RUNNING;
    run->attempt++;
    run->begun = now;
    run->told = run->untold = 0;
    COUNT(r, run->action, queued, --);
    COUNT(r, run->action, running, ++);
    COUNT(r, run->action, started, ++);
    sched_set(r->sched, run->slot, now + run->action->timeout);
    int error = start_command(run);
    if (error == 0)
        return;
    forget_texts(run);
    end_try(run, &(struct run_result){.outcome = RUN_NOT_STARTED, .number = -error}, now);
}

/* Its time has come: to be stopped, to be killed, or to be tried again. */
static void run_due(struct run *run, int64_t now)
{
    if (run->state == RUN_WAITING)
        make_ready(run);
    else if (run->cut == RUN_SUCCEEDED)
        cut_short(run, RUN_TIMED_OUT, now);
    else
        command_signal(run->command, SIGKILL);
}

static bool can_start(const struct runner *r)
{
    return !TAILQ_EMPTY(&r->ready) && r->counts.running < r->config.max_actions && !r->stopping;
}

void runner_work(struct runner *r, int64_t now)
{
    uint32_t slot;

    while (sched_pop_due(r->sched, now, &slot))
        run_due(r->slots[slot], now);
    for (unsigned n = 0; n < SLICE_STARTS && can_start(r); n++)
        start(TAILQ_FIRST(&r->ready), now);
}

int64_t runner_due(const struct runner *r)
{
    int64_t due = TIME_NEVER;

    if (can_start(r))
        return INT64_MIN;
    sched_next(r->sched, &due, NULL);
    return due;
}

static void drop_followers(struct run *leader)
{
    struct run *run;

    while ((run = TAILQ_FIRST(&leader->followers)) != NULL) {
        TAILQ_REMOVE(&leader->followers, run, link);
        tell(run, &(struct run_result){.outcome = RUN_SHUT_DOWN});
        run_end(run);
    }
    leader->n_followers = 0;
}

void runner_stop(struct runner *r, int64_t now)
{
    bool again = r->stopping;

    r->stopping = true;
    for (uint32_t slot = 0; slot < r->n_slots; slot++)
        if (r->slots[slot] != NULL && r->slots[slot]->state != RUN_HELD)
            drop_followers(r->slots[slot]);
    for (uint32_t slot = 0; slot < r->n_slots; slot++) {
        struct run *run = r->slots[slot];
        if (run == NULL)
            continue;
        if (again)
            command_signal(run->command, SIGKILL);
        else if (run->cut == RUN_SUCCEEDED)
            cut_short(run, RUN_SHUT_DOWN, now);
    }
}

bool runner_idle(const struct runner *r, bool foreground)
{
    return foreground ? r->n_foreground == 0 : n_runs(r) == 0;
}

struct action_counts runner_counts(const struct runner *r)
{
    return r->counts;
}
