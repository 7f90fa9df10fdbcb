#include "conf_text.h"

#include "text.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* inih's buffer also holds the line's end, which may be "\r\n", and a NUL. */
_Static_assert(CONF_LINE_MAX + 3 <= INI_MAX_LINE, "inih would cut lines that we let through");

/* The words of sections; one that ends with a colon has a name of the user's own behind it. */
static const struct {
    const char *word;
    enum conf_kind kind;
} sections[] = {{"job:", CONF_JOB}, {"action:", CONF_ACTION}, {"daemon", CONF_DAEMON}, {"defaults", CONF_DEFAULTS}};

#define NAMED_SECTIONS 2

static const char byte_order_mark[] = "\xef\xbb\xbf";

/* Sections and entries live as long as each other, so they are cut from large chunks and freed with those. */
#define CHUNK_SIZE ((size_t)64 * 1024)

struct conf_chunk {
    struct conf_chunk *next; // conf_text::chunks
    size_t used;
    char bytes[CHUNK_SIZE] __attribute__((aligned));
};

/* What has been read of a file so far; inih's reader and handler share it. */
struct reader {
    struct conf_text *text;
    const char *at, *end;
    struct conf_place place;
    struct conf_section *section; // the open one; NULL: none, or a refused one
    bool refused;                 // what follows is of no known section
    bool expecting;               // inih was given what should be a key and its value
    uint32_t seen[CONF_KEYS_MAX]; // the line of each key of the open section; 0: not yet
    int error;                    // -ENOMEM, -ECANCELED
};

const char *conf_words_at(const struct conf_words *words, size_t i)
{
    return *(const char *const *)((const char *)words->table + i * words->stride);
}

int conf_words_find(const struct conf_words *words, const char *wanted)
{
    for (size_t i = 0; i < words->n; i++) {
        const char *word = conf_words_at(words, i);
        if (word[0] == wanted[0] && strcmp(word, wanted) == 0) // few begin alike
            return (int)i;
    }
    return -1;
}

int conf_words_nearest(const struct conf_words *words, const char *wanted)
{
    const char *nearest = nearest_of(wanted, words->table, words->n, words->stride);

    return nearest != NULL ? conf_words_find(words, nearest) : -1;
}

void conf_text_init(struct conf_text *t, const struct conf_words *keys, struct conf_mistakes *mistakes)
{
    *t = (struct conf_text){.keys = keys, .mistakes = mistakes};
}

void conf_text_clear(struct conf_text *t)
{
    while (t->chunks != NULL) {
        struct conf_chunk *next = t->chunks->next;
        free(t->chunks);
        t->chunks = next;
    }
    free(t->buckets);
    *t = (struct conf_text){0};
}

/* Memory as long-lived as the text, not initialised. `size` is well below CHUNK_SIZE. */
static void *take(struct conf_text *t, size_t size)
{
    struct conf_chunk *chunk = t->chunks;

    size = (size + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
    if (chunk == NULL || size > CHUNK_SIZE - chunk->used) {
        chunk = malloc(sizeof *chunk);
        if (chunk == NULL)
            return NULL;
        chunk->used = 0;
        chunk->next = t->chunks;
        t->chunks = chunk;
    }
    void *memory = chunk->bytes + chunk->used;
    chunk->used += size;
    return memory;
}

/* FNV-1a. */
static size_t hash(const char *name)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (; *name != '\0'; name++)
        h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return (size_t)(h ^ h >> 32);
}

struct conf_section *conf_text_find(const struct conf_text *t, const char *name)
{
    if (t->n_buckets == 0)
        return NULL;
    struct conf_section *section = t->buckets[hash(name) & (t->n_buckets - 1)];
    while (section != NULL && strcmp(section->name, name) != 0)
        section = section->chained;
    return section;
}

static void chain_section(struct conf_section **buckets, size_t n_buckets, struct conf_section *section)
{
    struct conf_section **bucket = &buckets[hash(section->name) & (n_buckets - 1)];

    section->chained = *bucket;
    *bucket = section;
}

/* Twice the buckets, once there are as many sections. */
static int grow_buckets(struct conf_text *t)
{
    size_t n = t->n_buckets != 0 ? 2 * t->n_buckets : 64;
    struct conf_section **buckets = calloc(n, sizeof(struct conf_section *));

    if (buckets == NULL)
        return -ENOMEM;
    for (struct conf_section *s = t->first; s != NULL; s = s->next)
        if (!s->repeated)
            chain_section(buckets, n, s);
    free(t->buckets);
    t->buckets = buckets;
    t->n_buckets = n;
    return 0;
}

/* A new section at the end of the list; NULL when there is no memory. */
static struct conf_section *add_section(struct conf_text *t, const char *name, enum conf_kind kind,
                                        struct conf_place place, bool repeated)
{
    if (t->n_sections >= t->n_buckets && grow_buckets(t) < 0)
        return NULL;
    size_t size = strlen(name) + 1;
    struct conf_section *section = take(t, sizeof *section + size);
    if (section == NULL)
        return NULL;
    *section = (struct conf_section){.place = place, .latest = place, .kind = kind, .repeated = repeated};
    memcpy(section->name, name, size);
    if (!repeated)
        chain_section(t->buckets, t->n_buckets, section);
    if (t->last != NULL)
        t->last->next = section;
    else
        t->first = section;
    t->last = section;
    t->n_sections++;
    return section;
}

static int add_entry(struct reader *r, uint8_t key, const char *value)
{
    struct conf_section *section = r->section;
    size_t size = strlen(value) + 1;
    struct conf_entry *entry = take(r->text, sizeof *entry + size);

    if (entry == NULL)
        return -ENOMEM;
    *entry = (struct conf_entry){.place = r->place, .key = key};
    memcpy(entry->value, value, size);
    if (section->last != NULL)
        section->last->next = entry;
    else
        section->first = entry;
    section->last = entry;
    return 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_comment(const char *s)
{
    return *s == ';' || *s == '#';
}

/* Note a mistake in the line at hand. */
__attribute__((format(printf, 3, 4))) static void mistake(struct reader *r, const char *key, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    conf_mistakes_vadd(r->text->mistakes, r->place, r->section != NULL ? r->section->name : NULL, key, format, args);
    va_end(args);
}

static enum conf_kind kind_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
        const char *word = sections[i].word;
        if (i < NAMED_SECTIONS ? strncmp(name, word, strlen(word)) == 0 : strcmp(name, word) == 0)
            return sections[i].kind;
    }
    return CONF_KINDS;
}

/* Of a section with a colon only what stands before it is compared: the rest is a name of the user's own. */
static void tell_unknown_section(struct reader *r, const char *name)
{
    size_t prefix = strcspn(name, ":");
    bool named = name[prefix] == ':';
    char kind[CONF_SECTION_MAX + 1] = "";
    const char *nearest;

    memcpy(kind, name, prefix + named);
    if (named)
        nearest = nearest_of(kind, sections, NAMED_SECTIONS, sizeof sections[0]);
    else
        nearest =
            nearest_of(kind, sections + NAMED_SECTIONS, ARRAY_SIZE(sections) - NAMED_SECTIONS, sizeof sections[0]);
    if (nearest != NULL)
        conf_mistakes_add(r->text->mistakes, r->place, name, NULL, "unknown section; did you mean '%s%s'?", nearest,
                          name + prefix + named);
    else
        conf_mistakes_add(r->text->mistakes, r->place, name, NULL,
                          "unknown section; there are daemon, defaults, action:NAME and job:NAME");
}

/* Open the section that a header names: a new one, or one of an earlier file. */
static void open_section(struct reader *r, const char *name)
{
    struct conf_section *section = conf_text_find(r->text, name);
    bool repeated = section != NULL && section->latest.file == r->place.file;
    enum conf_kind kind = kind_of(name);

    if (kind == CONF_KINDS) {
        tell_unknown_section(r, name);
        return;
    }
    if (repeated)
        conf_mistakes_add(r->text->mistakes, r->place, name, NULL, "this section was begun before, in line %u",
                          section->latest.line);
    if (section != NULL && !repeated) {
        section->latest = r->place;
    } else if ((section = add_section(r->text, name, kind, r->place, repeated)) == NULL) {
        r->error = -ENOMEM;
        return;
    }
    r->section = section;
    memset(r->seen, 0, sizeof r->seen);
}

/* Open the section of a line that begins with "[". */
static void read_header(struct reader *r, const char *line)
{
    char name[CONF_SECTION_MAX + 1] = "";
    size_t len = strcspn(line + 1, "]");
    const char *rest = line + 1 + len;

    if (*rest == '\0') {
        mistake(r, NULL, "the section header has no ']'");
        return;
    }
    do
        rest++;
    while (is_blank(*rest));
    if (*rest != '\0' && !is_comment(rest)) {
        mistake(r, NULL, "text after the section header's ']'");
    } else if (len > CONF_SECTION_MAX) {
        mistake(r, NULL, "the section's name is %zu bytes long; at most %d are possible", len, CONF_SECTION_MAX);
    } else {
        memcpy(name, line + 1, len);
        open_section(r, name);
    }
}

/* Are these printable ASCII, as nearly all lines are? */
static bool is_plain(const char *raw, size_t len)
{
    size_t i = 0;

    while (i < len && raw[i] >= ' ' && raw[i] <= '~')
        i++;
    return i == len;
}

/* UTF-8 without control characters, but for tabs? */
static bool check_bytes(struct reader *r, const char *raw, size_t len)
{
    char line[CONF_LINE_MAX + 1];

    if (is_plain(raw, len))
        return true;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)raw[i];
        line[i] = (char)(c == '\t' ? ' ' : c);
        if (c == '\0') {
            mistake(r, NULL, "a NUL byte");
            return false;
        }
        if (c != '\t' && (c < 0x20 || c == 0x7f)) {
            mistake(r, NULL, "a control character, \\x%02x", c);
            return false;
        }
    }
    line[len] = '\0';
    if (text_printable(line))
        return true;
    mistake(r, NULL, "bytes that are not UTF-8 text without control characters");
    return false;
}

/* Does the line fit into inih's buffer of `size` bytes, with a newline and a NUL, and may its bytes be there? */
static bool check_line(struct reader *r, const char *raw, size_t len, size_t size)
{
    if (len > CONF_LINE_MAX || len + 2 > size) {
        mistake(r, NULL, "the line is %zu bytes long; at most %d are possible", len, CONF_LINE_MAX);
        return false;
    }
    return check_bytes(r, raw, len);
}

/* Shall inih see the line? Section headers it sees only for its own state; they are ours to read. */
static bool judge_line(struct reader *r, const char *line)
{
    if (*line == '\0' || is_comment(line))
        return true;
    if (*line == '[') {
        read_header(r, line);
        return r->section != NULL;
    }
    if (r->section == NULL) {
        if (!r->refused)
            mistake(r, NULL, "text before the first section header");
        return false;
    }
    r->expecting = true;
    return true;
}

/* inih drops without a word what it does not understand; its handler did not get the last line. */
static void tell_dropped_line(struct reader *r)
{
    if (!r->expecting)
        return;
    r->expecting = false;
    mistake(r, NULL, "neither KEY = VALUE nor a section header nor a comment");
    r->section->doubtful = UINT32_MAX;
}

/* The next line, without its end. */
static const char *cut_line(struct reader *r, size_t *len)
{
    const char *line = r->at;
    const char *newline = memchr(line, '\n', (size_t)(r->end - line));

    *len = (size_t)((newline != NULL ? newline : r->end) - line);
    r->at = newline != NULL ? newline + 1 : r->end;
    r->place.line++;
    if (*len > 0 && line[*len - 1] == '\r')
        --*len;
    return line;
}

/*
 * inih's fgets(). Leading blanks are left out, lest inih takes the line for more of the value above; a refused line
 * becomes a blank one.
 */
static char *read_line(char *buf, int size, void *stream)
{
    struct reader *r = stream;

    tell_dropped_line(r);
    if (r->text->given_up != NULL && atomic_load(r->text->given_up))
        r->error = -ECANCELED;
    if (r->at == r->end || r->error < 0)
        return NULL;

    size_t len, blanks = 0;
    const char *raw = cut_line(r, &len);
    while (blanks < len && is_blank(raw[blanks]))
        blanks++;
    if (blanks < len && raw[blanks] == '[') { // whatever is wrong with it, the section above ends here
        r->section = NULL;
        r->refused = true;
    }

    size_t shown = 0;
    if (check_line(r, raw, len, (size_t)size)) {
        shown = len - blanks;
        memcpy(buf, raw + blanks, shown);
        buf[shown] = '\0';
        if (!judge_line(r, buf))
            shown = 0;
        else if (*buf == '[') // inih looks for the end of a name byte by byte, and nobody asks it for that
            shown = (size_t)(stpcpy(buf, "[]") - buf);
    } else if (r->section != NULL) {
        r->section->doubtful = UINT32_MAX;
    }
    memcpy(buf + shown, "\n", 2);
    return buf;
}

static void tell_unknown_key(struct reader *r, const struct conf_words *words, const char *name)
{
    int nearest = conf_words_nearest(words, name);

    if (nearest < 0) {
        mistake(r, name, "unknown key");
        return;
    }
    mistake(r, name, "unknown key; did you mean '%s'?", conf_words_at(words, (size_t)nearest));
    r->section->doubtful |= UINT32_C(1) << nearest;
}

/* inih's handler. It is only called for lines of the open section. */
static int take_key(void *user, const char *section, const char *name, const char *value)
{
    struct reader *r = user;
    const struct conf_words *words = &r->text->keys[r->section->kind];
    int key = conf_words_find(words, name);

    (void)section; // cut at 49 bytes, and not told when it has no keys
    r->expecting = false;
    if (*name == '\0') {
        mistake(r, NULL, "a value without a key");
    } else if (key < 0) {
        tell_unknown_key(r, words, name);
    } else if (r->seen[key] != 0) {
        mistake(r, name, "set before, in line %u", r->seen[key]);
    } else {
        r->seen[key] = r->place.line;
        r->error = add_entry(r, (uint8_t)key, value);
    }
    return 1;
}

int conf_text_add(struct conf_text *t, uint32_t file, const char *text, size_t len)
{
    struct reader r = {.text = t, .at = text, .end = text + len, .place = {.file = file}};
    size_t mark = sizeof byte_order_mark - 1;

    if (len >= mark && memcmp(text, byte_order_mark, mark) == 0)
        r.at += mark;
    ini_parse_stream(read_line, &r, take_key, &r);
    return r.error;
}
