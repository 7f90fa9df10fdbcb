#include "daemon/text.h"
#include "output.h"
#include "say.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What does not fit is cut; a name has at most 40 characters. */
#define CELL_MAX 64

struct row {
    char cell[LIST_COLUMNS][CELL_MAX];
};

/* A kind of list. */
struct table {
    const char *const *headings;
    unsigned columns;
    unsigned numbers; // a bit for each column that is aligned to the right
    void (*fill)(struct row *row, struct skim_value item);
    const char *none; // what is said when there is nothing
};

static void set_text(char *cell, struct skim_value value)
{
    char buf[CELL_MAX];
    const char *text = skim_text(value, buf, sizeof buf);

    cell[0] = '\0';
    text_escape(cell, CELL_MAX, 0, text != NULL ? text : "-");
}

static void set_number(char *cell, struct skim_value value)
{
    int64_t n = 0;

    skim_int(value, &n);
    snprintf(cell, CELL_MAX, "%" PRId64, n);
}

static void put_row(const struct output *out, const struct table *table, const struct row *row)
{
    unsigned c;

    for (c = 0; c < table->columns - 1; c++) {
        bool number = (table->numbers >> c & 1) != 0;
        printf("%*s  ", number ? out->widths[c] : -out->widths[c], row->cell[c]);
    }
    if ((table->numbers >> c & 1) != 0)
        printf("%*s\n", out->widths[c], row->cell[c]);
    else
        puts(row->cell[c]);
}

static void widen(struct output *out, const struct table *table, const struct row *row)
{
    for (unsigned c = 0; c < table->columns; c++)
        if ((int)strlen(row->cell[c]) > out->widths[c])
            out->widths[c] = (int)strlen(row->cell[c]);
}

static void begin_list(struct output *out, const struct table *table, struct skim_value items)
{
    struct skim s = skim_array(items);
    struct skim_value item;
    struct row headings, row;

    for (unsigned c = 0; c < table->columns; c++)
        snprintf(headings.cell[c], CELL_MAX, "%s", table->headings[c]);
    if (!out->quiet)
        widen(out, table, &headings);
    while (skim_next(&s, &item)) {
        table->fill(&row, item);
        widen(out, table, &row);
        out->begun = true;
    }
    if (out->begun && !out->quiet)
        put_row(out, table, &headings);
}

static void put_slice(struct output *out, const struct table *table, struct skim_value items, bool last)
{
    struct skim s = skim_array(items);
    struct skim_value item;
    struct row row;

    if (!out->begun)
        begin_list(out, table, items);
    while (skim_next(&s, &item)) {
        table->fill(&row, item);
        put_row(out, table, &row);
    }
    if (last && !out->begun && !out->quiet)
        puts(table->none);
}

/* Jobs */

enum job_column {
    COLUMN_NAME,
    COLUMN_KIND,
    COLUMN_STATE,
    COLUMN_LEFT,
    COLUMN_TICKS,
    COLUMN_MISSED,
    COLUMN_RATE,
    COLUMN_EVERY,
    COLUMN_NEXT,
    JOB_COLUMNS,
};

static const char *const job_headings[JOB_COLUMNS] = {
    [COLUMN_NAME] = "NAME", [COLUMN_KIND] = "KIND",   [COLUMN_STATE] = "STATE",
    [COLUMN_LEFT] = "LEFT", [COLUMN_TICKS] = "TICKS", [COLUMN_MISSED] = "MISSED",
    [COLUMN_RATE] = "RATE", [COLUMN_EVERY] = "EVERY", [COLUMN_NEXT] = "NEXT",
};

/* What a row is made of, in the order in which the daemon has the members. */
enum { NAME, KIND, STATE, LEFT, TICKS, MISSED, COUNT, RATE, INTERVAL, AFTER, NEXT, LIST_MEMBERS };

static const char *const list_members[LIST_MEMBERS] = {
    [NAME] = "name",   [KIND] = "kind",     [STATE] = "state",
    [LEFT] = "left",   [TICKS] = "ticks",   [MISSED] = "missed",
    [COUNT] = "count", [RATE] = "rate",     [INTERVAL] = "intervalNsec",
    [AFTER] = "after", [NEXT] = "nextNsec",
};

/* "3/5": what is left of the count. */
static void set_left(char *cell, struct skim_value left_value, struct skim_value count_value)
{
    int64_t count, left;

    if (skim_int(count_value, &count) && skim_int(left_value, &left))
        snprintf(cell, CELL_MAX, "%" PRId64 "/%" PRId64, left, count);
    else
        snprintf(cell, CELL_MAX, "-");
}

static void set_span(char *cell, struct skim_value value, const char *after)
{
    char span[SPAN_HUMAN_MAX];
    int64_t ns;

    if (skim_int(value, &ns))
        snprintf(cell, CELL_MAX, "%s%s", span_human(ns > 0 ? ns : 0, span, sizeof span), after);
    else
        snprintf(cell, CELL_MAX, "-");
}

/* Until the job has something to do; or what it waits for. */
static void set_next(char *cell, const char *state, struct skim_value next, struct skim_value awaited)
{
    char name[CELL_MAX];
    int64_t ns;

    if (strcmp(state, "waiting") == 0 && !skim_int(next, &ns) && skim_text(awaited, name, sizeof name) != NULL) {
        snprintf(cell, CELL_MAX, "after ");
        text_escape(cell, CELL_MAX, strlen(cell), name);
        return;
    }
    set_span(cell, next, strcmp(state, "paused") == 0 ? " (paused)" : "");
}

static void fill_job(struct row *row, struct skim_value job)
{
    struct skim_value members[LIST_MEMBERS];

    skim_members(job, list_members, members, LIST_MEMBERS);
    set_text(row->cell[COLUMN_NAME], members[NAME]);
    set_text(row->cell[COLUMN_KIND], members[KIND]);
    set_text(row->cell[COLUMN_STATE], members[STATE]);
    set_left(row->cell[COLUMN_LEFT], members[LEFT], members[COUNT]);
    set_number(row->cell[COLUMN_TICKS], members[TICKS]);
    set_number(row->cell[COLUMN_MISSED], members[MISSED]);
    set_text(row->cell[COLUMN_RATE], members[RATE]);
    set_span(row->cell[COLUMN_EVERY], members[INTERVAL], "");
    set_next(row->cell[COLUMN_NEXT], row->cell[COLUMN_STATE], members[NEXT], members[AFTER]);
}

void output_list_jobs(struct output *out, struct skim_value jobs, bool last)
{
    static const struct table table = {
        .headings = job_headings,
        .columns = JOB_COLUMNS,
        .numbers = 1U << COLUMN_LEFT | 1U << COLUMN_TICKS | 1U << COLUMN_MISSED,
        .fill = fill_job,
        .none = "no jobs",
    };

    put_slice(out, &table, jobs, last);
}

/* Actions */

/* Columns and members alike; what is counted stands in an object of its own. */
enum { ACTION_NAME, ACTION_ALLOW, ACTION_TIMEOUT, ACTION_OVERLAP, ACTION_RETRY, ACTION_RUNS, ACTION_MEMBERS };
enum { RUNS_RUNNING, RUNS_QUEUED, RUNS_STARTED, RUNS_FAILED, RUNS_SKIPPED, RUNS_MEMBERS };

#define ACTION_COLUMNS (ACTION_RUNS + RUNS_MEMBERS)

_Static_assert(ACTION_COLUMNS <= LIST_COLUMNS && JOB_COLUMNS <= LIST_COLUMNS, "a row has room for them");

static const char *const action_headings[ACTION_COLUMNS] = {
    "NAME", "ALLOW", "TIMEOUT", "OVERLAP", "RETRY", "RUNNING", "QUEUED", "STARTED", "FAILED", "SKIPPED",
};

static void fill_action(struct row *row, struct skim_value action)
{
    static const char *const members[ACTION_MEMBERS] = {"name", "allow", "timeout", "overlap", "retry", "runs"};
    static const char *const counts[RUNS_MEMBERS] = {"running", "queued", "started", "failed", "skipped"};
    struct skim_value values[ACTION_MEMBERS], runs[RUNS_MEMBERS];

    skim_members(action, members, values, ACTION_MEMBERS);
    skim_members(values[ACTION_RUNS], counts, runs, RUNS_MEMBERS);
    for (unsigned i = 0; i < ACTION_RETRY; i++)
        set_text(row->cell[i], values[i]);
    set_number(row->cell[ACTION_RETRY], values[ACTION_RETRY]);
    for (unsigned i = 0; i < RUNS_MEMBERS; i++)
        set_number(row->cell[ACTION_RUNS + i], runs[i]);
}

void output_list_actions(struct output *out, struct skim_value actions, bool last)
{
    static const struct table table = {
        .headings = action_headings,
        .columns = ACTION_COLUMNS,
        .numbers = ((1U << ACTION_COLUMNS) - 1) & ~((1U << ACTION_RETRY) - 1),
        .fill = fill_action,
        .none = "no actions",
    };

    put_slice(out, &table, actions, last);
}
