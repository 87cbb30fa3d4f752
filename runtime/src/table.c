// SPDX-License-Identifier: Apache-2.0
#include "certsync/runtime/table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "certsync/base/grow.h"
#include "certsync/base/text.h"
#include "certsync/runtime/terminal.h"

#define GAP       2 // blanks between columns
#define MIN_WIDTH 6 // no column is cut below this

struct cs_table {
    size_t columns;
    char *headers[CS_TABLE_COLUMNS_MAX];
    bool right[CS_TABLE_COLUMNS_MAX];
    char **cells;
    size_t count, cap;
    bool failed;
};

// One character: its bytes, and how many columns it takes.
struct glyph {
    size_t len;
    unsigned width;
    bool shown; // false: '?' stands for it
};

static bool is_wide(uint32_t c) {
    // East Asian Wide and Fullwidth (Unicode 15, UAX 11), and emoji; in blocks, which is near
    // enough for a table.
    return (c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf && c != 0x303f) ||
           (c >= 0xac00 && c <= 0xd7a3) || (c >= 0xf900 && c <= 0xfaff) || (c >= 0xfe30 && c <= 0xfe6f) ||
           (c >= 0xff00 && c <= 0xff60) || (c >= 0xffe0 && c <= 0xffe6) || (c >= 0x1f300 && c <= 0x1f64f) ||
           (c >= 0x20000 && c <= 0x3fffd);
}

static bool is_combining(uint32_t c) {
    return (c >= 0x0300 && c <= 0x036f) || (c >= 0x1ab0 && c <= 0x1aff) || (c >= 0x20d0 && c <= 0x20ff) ||
           (c >= 0xfe00 && c <= 0xfe0f) || (c >= 0xfe20 && c <= 0xfe2f);
}

static struct glyph next_glyph(const char *s) {
    const unsigned char *u = (const unsigned char *)s;
    size_t len = u[0] < 0x80 ? 1 : u[0] >= 0xc2 && u[0] < 0xe0 ? 2 : u[0] >= 0xe0 && u[0] < 0xf0 ? 3 : 4;
    if (u[0] >= 0x80 && (u[0] < 0xc2 || u[0] > 0xf4))
        return (struct glyph){1, 1, false};
    uint32_t c = len == 1 ? u[0] : u[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((u[i] & 0xc0) != 0x80) // also stops at the NUL
            return (struct glyph){1, 1, false};
        c = c << 6 | (u[i] & 0x3f);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) || cs_text_hidden(c))
        return (struct glyph){len, 1, false};
    return (struct glyph){len, is_combining(c) ? 0 : is_wide(c) ? 2 : 1, true};
}

static size_t text_width(const char *s) {
    size_t width = 0;
    while (*s) {
        struct glyph g = next_glyph(s);
        width += g.width;
        s += g.len;
    }
    return width;
}

struct cs_table *cs_table_new(const char *const *headers) {
    struct cs_table *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    for (; headers[t->columns] && t->columns < CS_TABLE_COLUMNS_MAX; t->columns++) {
        const char *h = headers[t->columns];
        t->right[t->columns] = *h == '>';
        t->headers[t->columns] = strdup(h + (*h == '>'));
        t->failed = t->failed || !t->headers[t->columns];
    }
    t->failed = t->failed || headers[t->columns];
    return t;
}

void cs_table_free(struct cs_table *t) {
    if (!t)
        return;
    for (size_t i = 0; i < t->columns; i++)
        free(t->headers[i]);
    for (size_t i = 0; i < t->count; i++)
        free(t->cells[i]);
    free(t->cells);
    free(t);
}

// Shows hidden characters as terminal.h does, so that the columns keep their width. NULL: out of
// memory.
static char *visible(const char *text) {
    char *out = NULL;
    size_t len = 0;
    FILE *memory = open_memstream(&out, &len), *f = memory ? cs_terminal_open(memory, true) : NULL;
    if (f) {
        fputs(text, f);
        fclose(f);
    }
    if (memory)
        fclose(memory);
    if (f)
        return out;
    free(out);
    return NULL;
}

static bool has_hidden(const char *s) {
    size_t len = strlen(s), n;
    uint32_t c = 0;
    for (size_t i = 0; i < len; i += n) {
        n = cs_text_character(s + i, len - i, &c);
        if (n == 0 || cs_text_hidden(c))
            return true;
    }
    return false;
}

void cs_table_cell(struct cs_table *t, const char *text) {
    if (!t || t->failed)
        return;
    if (!CS_GROW(&t->cells, &t->cap, t->count + 1)) {
        t->failed = true;
        return;
    }
    char *copy = !text ? strdup("") : has_hidden(text) ? visible(text) : strdup(text);
    if (copy)
        t->cells[t->count++] = copy;
    else
        t->failed = true;
}

void cs_table_cellf(struct cs_table *t, const char *fmt, ...) {
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    cs_table_cell(t, text);
}

size_t cs_table_rows(const struct cs_table *t) {
    return t ? t->count / t->columns : 0;
}

// Makes the widest columns narrower until all fit.
static void fit(size_t *widths, size_t columns, size_t limit) {
    for (;;) {
        size_t total = GAP * (columns - 1), widest = 0;
        for (size_t i = 0; i < columns; i++) {
            total += widths[i];
            widest = widths[i] > widths[widest] ? i : widest;
        }
        if (total <= limit || widths[widest] <= MIN_WIDTH)
            return;
        size_t over = total - limit, room = widths[widest] - MIN_WIDTH;
        // Not below the next widest in one step, so that the cut is shared.
        size_t step = over < room ? over : room;
        widths[widest] -= step > 4 ? step / 2 : 1;
    }
}

static void put_blanks(size_t n, FILE *out) {
    while (n-- > 0)
        fputc(' ', out);
}

// Writes the text within width columns, cut with "…" if it is longer. Returns the columns used.
static size_t put_cut(const char *s, size_t width, FILE *out) {
    bool cut = text_width(s) > width;
    size_t limit = cut ? width - 1 : width, used = 0;
    while (*s) {
        struct glyph g = next_glyph(s);
        if (used + g.width > limit)
            break;
        if (g.shown)
            fwrite(s, 1, g.len, out);
        else
            fputc('?', out);
        used += g.width;
        s += g.len;
    }
    if (cut) {
        fputs("…", out);
        used++;
    }
    return used;
}

static void print_row(const struct cs_table *t, char *const *cells, const size_t *widths, FILE *out) {
    for (size_t i = 0; i < t->columns; i++) {
        size_t own = text_width(cells[i]);
        size_t pad = own < widths[i] ? widths[i] - own : 0;
        if (t->right[i])
            put_blanks(pad, out);
        size_t used = put_cut(cells[i], widths[i], out);
        bool last = i + 1 == t->columns; // no blanks at the end of the line
        if (!last)
            put_blanks((t->right[i] ? 0 : widths[i] - used) + GAP, out);
    }
}

bool cs_table_print_width(const struct cs_table *t, FILE *out, size_t width, bool bold) {
    if (!t || t->failed)
        return false;
    size_t widths[CS_TABLE_COLUMNS_MAX], rows = cs_table_rows(t);
    for (size_t i = 0; i < t->columns; i++) {
        widths[i] = text_width(t->headers[i]);
        for (size_t r = 0; r < rows; r++) {
            size_t w = text_width(t->cells[r * t->columns + i]);
            widths[i] = w > widths[i] ? w : widths[i];
        }
    }
    if (width > 0)
        fit(widths, t->columns, width);
    if (bold)
        fputs("\033[1m", out);
    print_row(t, t->headers, widths, out);
    fputs(bold ? "\033[0m\n" : "\n", out);
    for (size_t r = 0; r < rows; r++) {
        print_row(t, &t->cells[r * t->columns], widths, out);
        fputc('\n', out);
    }
    return !ferror(out);
}

bool cs_table_print(const struct cs_table *t, FILE *out) {
    struct winsize size = {0};
    // Streams of terminal.h have no descriptor. They stand for standard output.
    int fd = fileno(out) >= 0 ? fileno(out) : STDOUT_FILENO;
    bool tty = fd >= 0 && isatty(fd) == 1;
    bool known = tty && ioctl(fd, TIOCGWINSZ, &size) == 0;
    return cs_table_print_width(t, out, known ? size.ws_col : 0, tty);
}

// ---- CSV

static void put_csv(const char *s, FILE *out) {
    bool formula = strchr("=+-@", *s) && *s && strspn(s, "-0123456789") != strlen(s);
    bool quoted = strpbrk(s, ",\"\r\n") != NULL || formula;
    if (quoted)
        fputc('"', out);
    if (formula)
        fputc('\'', out);
    for (; *s; s++) {
        if (*s == '"')
            fputc('"', out);
        fputc(*s, out);
    }
    if (quoted)
        fputc('"', out);
}

static void put_csv_header(const char *s, FILE *out) {
    for (; *s; s++)
        fputc(*s == ' ' ? '_' : *s >= 'A' && *s <= 'Z' ? *s - 'A' + 'a' : *s, out);
}

bool cs_table_print_csv(const struct cs_table *t, FILE *out) {
    if (!t || t->failed)
        return false;
    for (size_t i = 0; i < t->columns; i++) {
        put_csv_header(t->headers[i], out);
        fputc(i + 1 < t->columns ? ',' : '\n', out);
    }
    for (size_t i = 0; i < cs_table_rows(t) * t->columns; i++) {
        put_csv(t->cells[i], out);
        fputc((i + 1) % t->columns ? ',' : '\n', out);
    }
    return !ferror(out);
}
