#include "capture.h"

#include <string.h>
#include <sys/param.h>

static const char cut_mark[] = "...";

static void append(struct capture *c, const char *bytes, size_t n)
{
    size_t fits = MIN(n, CAPTURE_LINE_MAX - c->len);

    memcpy(c->line + c->len, bytes, fits);
    c->len += fits;
    c->cut |= fits < n;
}

/* It is complete: make a text of it, and begin another. */
static void finish_line(struct capture *c)
{
    size_t mark = sizeof cut_mark - 1;
    char *nul = c->line;

    if (c->cut)
        memcpy(c->line + CAPTURE_LINE_MAX - mark, cut_mark, mark);
    else if (c->len > 0 && c->line[c->len - 1] == '\r')
        c->len--;
    while ((nul = memchr(nul, '\0', c->len - (size_t)(nul - c->line))) != NULL)
        *nul = '?';
    c->line[c->len] = '\0';
    if (c->len > 0) {
        size_t len = MIN(c->len, CAPTURE_LAST_MAX);
        memcpy(c->last, c->line, len);
        c->last[len] = '\0';
    }
    c->len = 0;
    c->cut = false;
}

static size_t count_newlines(const char *bytes, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += bytes[i] == '\n';
    return count;
}

/* Whole lines that nobody is told; the last of them that is not empty is still looked at. */
static size_t skip_lines(struct capture *c, const char *bytes, size_t n)
{
    const char *end = bytes + n - 1;

    while (end > bytes && (end[-1] == '\n' || end[-1] == '\r'))
        end--;
    const char *before = memrchr(bytes, '\n', (size_t)(end - bytes));
    const char *begin = before != NULL ? before + 1 : bytes;
    if (before != NULL) {
        c->len = 0;
        c->cut = false;
    }
    append(c, begin, (size_t)(end - begin));
    finish_line(c);
    return count_newlines(bytes, n);
}

size_t capture_feed(struct capture *c, const char *bytes, size_t n, size_t most,
                    void (*tell)(void *ctx, const char *line), void *ctx)
{
    const char *newline;
    size_t skipped = 0;

    for (; most > 0 && n > 0 && (newline = memchr(bytes, '\n', n)) != NULL; most--) {
        size_t len = (size_t)(newline - bytes);
        append(c, bytes, len);
        finish_line(c);
        tell(ctx, c->line);
        bytes += len + 1;
        n -= len + 1;
    }
    newline = n > 0 ? memrchr(bytes, '\n', n) : NULL; // when there is still one, `most` are told
    if (newline != NULL) {
        size_t len = (size_t)(newline + 1 - bytes);
        skipped = skip_lines(c, bytes, len);
        bytes += len;
        n -= len;
    }
    append(c, bytes, n);
    return skipped;
}

size_t capture_end(struct capture *c, size_t most, void (*tell)(void *ctx, const char *line), void *ctx)
{
    if (c->len == 0)
        return 0;
    finish_line(c);
    if (most == 0)
        return 1;
    tell(ctx, c->line);
    return 0;
}
