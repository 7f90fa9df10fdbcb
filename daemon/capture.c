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

static void tell_line(struct capture *c, void (*tell)(void *ctx, const char *line), void *ctx)
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
    tell(ctx, c->line);
    c->len = 0;
    c->cut = false;
}

void capture_feed(struct capture *c, const char *bytes, size_t n, void (*tell)(void *ctx, const char *line), void *ctx)
{
    const char *newline;

    while (n > 0 && (newline = memchr(bytes, '\n', n)) != NULL) {
        size_t len = (size_t)(newline - bytes);
        append(c, bytes, len);
        tell_line(c, tell, ctx);
        bytes += len + 1;
        n -= len + 1;
    }
    append(c, bytes, n);
}

void capture_end(struct capture *c, void (*tell)(void *ctx, const char *line), void *ctx)
{
    if (c->len > 0)
        tell_line(c, tell, ctx);
}
