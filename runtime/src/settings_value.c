// SPDX-License-Identifier: Apache-2.0
#include "settings_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "certsync/base/text.h"

struct unit {
    const char *name;
    int64_t factor;
};

// The largest first: formatting takes the first that divides.
static const struct unit duration_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
static const struct unit size_units[] = {
    {"GiB", INT64_C(1) << 30}, {"MiB", INT64_C(1) << 20}, {"KiB", INT64_C(1) << 10}, {"", 1}};

static bool fault(struct cs_err *err, const char *text) {
    return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s", text);
}

// Decimal digits with an optional sign; *ret_end is what follows.
static bool parse_number(const char *text, int64_t *ret, const char **ret_end) {
    const char *digits = text + (*text == '-' || *text == '+');
    if (*digits < '0' || *digits > '9')
        return false;
    char *end = NULL;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (errno != 0)
        return false;
    *ret = v;
    *ret_end = end;
    return true;
}

static bool parse_with_unit(const char *text, const struct unit *units, size_t count, bool bare,
                            int64_t *ret) {
    int64_t v = 0;
    const char *end = NULL;
    if (!parse_number(text, &v, &end))
        return false;
    if (*end == '\0' && (bare || v == 0)) {
        *ret = v;
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(end, units[i].name) == 0)
            return !__builtin_mul_overflow(v, units[i].factor, ret);
    }
    return false;
}

bool cs_duration_parse(const char *text, int64_t *ret_ms) {
    return setting_parse_duration(text, ret_ms);
}

bool setting_parse_duration(const char *text, int64_t *ret_ms) {
    return parse_with_unit(text, duration_units, CS_ARRAY_LEN(duration_units), false, ret_ms);
}

static void format_with_unit(int64_t v, const struct unit *units, size_t count, struct cs_buf *out) {
    size_t i = 0;
    while (i + 1 < count && (v == 0 || v % units[i].factor != 0))
        i++;
    cs_buf_printf(out, "%" PRId64 "%s", v / units[i].factor, units[i].name);
}

void setting_format_duration(int64_t ms, struct cs_buf *out) {
    format_with_unit(ms, duration_units, CS_ARRAY_LEN(duration_units), out);
}

void setting_format_size(int64_t bytes, struct cs_buf *out) {
    format_with_unit(bytes, size_units, CS_ARRAY_LEN(size_units), out);
}

static void format_number(const struct cs_setting *row, int64_t v, struct cs_buf *out) {
    if (row->type == CS_SETTING_TYPE_DURATION)
        setting_format_duration(v, out);
    else if (row->type == CS_SETTING_TYPE_SIZE)
        setting_format_size(v, out);
    else
        cs_buf_printf(out, "%" PRId64, v);
}

static bool store_number(const struct cs_setting *row, int64_t v, void *values, struct cs_err *err) {
    if (v < row->min || v > row->max) {
        CS_AUTO(cs_buf_clear) struct cs_buf range;
        cs_buf_init(&range, 256);
        cs_buf_puts(&range, "out of range, which is ");
        format_number(row, row->min, &range);
        cs_buf_puts(&range, " to ");
        format_number(row, row->max, &range);
        if (row->unit)
            cs_buf_printf(&range, " %s", row->unit);
        return range.failed ? cs_err_oom(err) : fault(err, (const char *)range.data);
    }
    *(int64_t *)setting_at(row, values) = v;
    return true;
}

static bool parse_int(const struct cs_setting *row, const char *text, void *values, struct cs_err *err) {
    int64_t v = 0;
    const char *end = "";
    if (!parse_number(text, &v, &end) || *end)
        return fault(err, "not a whole number");
    return store_number(row, v, values, err);
}

static bool parse_bool(const struct cs_setting *row, const char *text, void *values, struct cs_err *err) {
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"yes", true}, {"no", false},  {"true", true}, {"false", false},
                 {"on", true},  {"off", false}, {"1", true},    {"0", false}};
    for (size_t i = 0; i < CS_ARRAY_LEN(words); i++) {
        if (strcasecmp(text, words[i].word) == 0) {
            *(bool *)setting_at(row, values) = words[i].value;
            return true;
        }
    }
    return fault(err, "neither yes nor no");
}

static bool parse_choice(const struct cs_setting *row, const char *text, void *values, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf words;
    cs_buf_init(&words, 512);
    cs_buf_puts(&words, "not one of ");
    for (int64_t i = 0; row->choices[i]; i++) {
        if (strcasecmp(text, row->choices[i]) == 0) {
            *(int64_t *)setting_at(row, values) = i;
            return true;
        }
        cs_buf_printf(&words, "%s%s", i ? ", " : "", row->choices[i]);
    }
    return words.failed ? cs_err_oom(err) : fault(err, (const char *)words.data);
}

static void wipe_free(char *s) {
    if (s)
        explicit_bzero(s, strlen(s));
    free(s);
}

static bool parse_string(const struct cs_setting *row, const char *text, void *values, struct cs_err *err) {
    bool secret = row->type == CS_SETTING_TYPE_SECRET;
    size_t len = strlen(text);
    size_t max = row->max > 0 ? (size_t)row->max : secret ? SETTING_SECRET_MAX : SETTING_STRING_MAX;
    if (len > max)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "longer than %zu bytes", max);
    if (len > 0 && row->min > 0 && len < (size_t)row->min)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "shorter than %" PRId64 " bytes", row->min);
    if (!secret && !cs_utf8_valid((const uint8_t *)text, len))
        return fault(err, "not UTF-8");
    for (size_t i = 0; i < len && !secret; i++) {
        // A line break would make the dump unreadable. A NUL cannot occur here.
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return fault(err, "holds a control character");
    }
    char *copy = strdup(text);
    if (!copy)
        return cs_err_oom(err);
    char **at = setting_at(row, values);
    wipe_free(*at);
    *at = copy;
    return true;
}

static void list_clear(struct cs_list *l) {
    for (size_t i = 0; i < l->count; i++)
        free(l->items[i]);
    free(l->items);
    *l = (struct cs_list){0};
}

static bool list_add(struct cs_list *l, const char *s, size_t len) {
    char **items = realloc(l->items, (l->count + 1) * sizeof *items);
    if (!items)
        return false;
    l->items = items;
    l->items[l->count] = strndup(s, len);
    if (!l->items[l->count])
        return false;
    l->count++;
    return true;
}

static bool split_list(const char *text, struct cs_list *l, struct cs_err *err) {
    for (const char *p = text; *p;) {
        size_t len = strcspn(p, ",");
        const char *s = p, *next = p + len + (p[len] == ',');
        while (len > 0 && (*s == ' ' || *s == '\t')) {
            s++;
            len--;
        }
        while (len > 0 && (s[len - 1] == ' ' || s[len - 1] == '\t'))
            len--;
        if (len == 0)
            return fault(err, "an item of the list is empty");
        if (l->count >= SETTING_LIST_MAX)
            return fault(err, "more than 64 items");
        if (!list_add(l, s, len))
            return cs_err_oom(err);
        p = next;
    }
    return true;
}

static bool parse_list(const struct cs_setting *row, const char *text, void *values, struct cs_err *err) {
    if (!cs_utf8_valid((const uint8_t *)text, strlen(text)))
        return fault(err, "not UTF-8");
    struct cs_list l = {0};
    const char *p = text + strspn(text, " \t");
    if (!split_list(p, &l, err)) {
        list_clear(&l);
        return false;
    }
    struct cs_list *at = setting_at(row, values);
    list_clear(at);
    *at = l;
    return true;
}

bool setting_parse(const struct cs_setting *row, const char *text, void *values, struct cs_err *err) {
    int64_t v = 0;
    switch (row->type) {
    case CS_SETTING_TYPE_STRING:
    case CS_SETTING_TYPE_SECRET:
    case CS_SETTING_TYPE_PATH:
        return parse_string(row, text, values, err);
    case CS_SETTING_TYPE_INT:
        return parse_int(row, text, values, err);
    case CS_SETTING_TYPE_SIZE:
        if (!parse_with_unit(text, size_units, CS_ARRAY_LEN(size_units), true, &v))
            return fault(err, "not a size: a number of bytes, or with KiB, MiB or GiB");
        return store_number(row, v, values, err);
    case CS_SETTING_TYPE_DURATION:
        if (!setting_parse_duration(text, &v))
            return fault(err, "not a duration: a number with ms, s, m, h or d, such as 10s");
        return store_number(row, v, values, err);
    case CS_SETTING_TYPE_BOOL:
        return parse_bool(row, text, values, err);
    case CS_SETTING_TYPE_CHOICE:
        return parse_choice(row, text, values, err);
    case CS_SETTING_TYPE_LIST:
        return parse_list(row, text, values, err);
    case CS_SETTING_TYPE_MAP:
        return *text ? fault(err, "a map takes no value itself") : true;
    }
    return fault(err, "of an unknown type");
}

static void map_clear(struct cs_map *m) {
    for (size_t i = 0; i < m->count; i++) {
        free(m->pairs[i].name);
        wipe_free(m->pairs[i].value);
    }
    free(m->pairs);
    *m = (struct cs_map){0};
}

static bool map_append(struct cs_map *m, const char *name, char *value) {
    struct cs_pair *pairs = realloc(m->pairs, (m->count + 1) * sizeof *pairs);
    if (!pairs)
        return false;
    m->pairs = pairs;
    char *copy = strdup(name);
    if (!copy)
        return false;
    m->pairs[m->count++] = (struct cs_pair){copy, value};
    return true;
}

bool setting_map_put(const struct cs_setting *row, const char *name, const char *text, void *values,
                     struct cs_err *err) {
    struct cs_map *m = setting_at(row, values);
    if (!*name)
        return fault(err, "the name after the last dot is missing");
    if (strlen(text) > SETTING_SECRET_MAX)
        return fault(err, "too long");
    if (m->count >= (row->max > 0 ? (size_t)row->max : SETTING_MAP_MAX))
        return fault(err, "too many entries");
    char *value = strdup(text);
    if (!value)
        return cs_err_oom(err);
    for (size_t i = 0; i < m->count; i++) {
        if (strcmp(m->pairs[i].name, name) == 0) {
            wipe_free(m->pairs[i].value);
            m->pairs[i].value = value;
            return true;
        }
    }
    if (map_append(m, name, value))
        return true;
    wipe_free(value);
    return cs_err_oom(err);
}

void setting_clear(const struct cs_setting *row, void *values) {
    switch (row->type) {
    case CS_SETTING_TYPE_STRING:
    case CS_SETTING_TYPE_SECRET:
    case CS_SETTING_TYPE_PATH:
        wipe_free(*(char **)setting_at(row, values));
        *(char **)setting_at(row, values) = NULL;
        return;
    case CS_SETTING_TYPE_LIST:
        list_clear(setting_at(row, values));
        return;
    case CS_SETTING_TYPE_MAP:
        map_clear(setting_at(row, values));
        return;
    case CS_SETTING_TYPE_INT:
    case CS_SETTING_TYPE_SIZE:
    case CS_SETTING_TYPE_DURATION:
    case CS_SETTING_TYPE_BOOL:
    case CS_SETTING_TYPE_CHOICE:
        return;
    }
}

bool setting_is_empty(const struct cs_setting *row, const void *values) {
    const void *at = setting_at(row, values);
    switch (row->type) {
    case CS_SETTING_TYPE_STRING:
    case CS_SETTING_TYPE_SECRET:
    case CS_SETTING_TYPE_PATH:
        return **(char *const *)at == '\0';
    case CS_SETTING_TYPE_LIST:
        return ((const struct cs_list *)at)->count == 0;
    case CS_SETTING_TYPE_MAP:
        return ((const struct cs_map *)at)->count == 0;
    case CS_SETTING_TYPE_INT:
    case CS_SETTING_TYPE_SIZE:
    case CS_SETTING_TYPE_DURATION:
    case CS_SETTING_TYPE_BOOL:
    case CS_SETTING_TYPE_CHOICE:
        return false;
    }
    return false;
}

static bool map_equal(const struct cs_map *a, const struct cs_map *b) {
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (strcmp(a->pairs[i].name, b->pairs[i].name) != 0 ||
            strcmp(a->pairs[i].value, b->pairs[i].value) != 0)
            return false;
    }
    return true;
}

static bool list_equal(const struct cs_list *a, const struct cs_list *b) {
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    }
    return true;
}

bool setting_equal(const struct cs_setting *row, const void *a, const void *b) {
    const void *x = setting_at(row, a), *y = setting_at(row, b);
    switch (row->type) {
    case CS_SETTING_TYPE_STRING:
    case CS_SETTING_TYPE_SECRET:
    case CS_SETTING_TYPE_PATH:
        return strcmp(*(char *const *)x, *(char *const *)y) == 0;
    case CS_SETTING_TYPE_LIST:
        return list_equal(x, y);
    case CS_SETTING_TYPE_MAP:
        return map_equal(x, y);
    case CS_SETTING_TYPE_BOOL:
        return *(const bool *)x == *(const bool *)y;
    case CS_SETTING_TYPE_INT:
    case CS_SETTING_TYPE_SIZE:
    case CS_SETTING_TYPE_DURATION:
    case CS_SETTING_TYPE_CHOICE:
        return *(const int64_t *)x == *(const int64_t *)y;
    }
    return false;
}

// Quotes only text that the file parser would change.
static void put_text(const char *s, struct cs_buf *out) {
    size_t len = strlen(s);
    if (len == 0 || (s[0] != '"' && s[0] != ' ' && s[len - 1] != ' ')) {
        cs_buf_puts(out, s);
        return;
    }
    cs_buf_putc(out, '"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            cs_buf_putc(out, '\\');
        cs_buf_putc(out, *s);
    }
    cs_buf_putc(out, '"');
}

void setting_format(const struct cs_setting *row, const void *values, struct cs_buf *out) {
    const void *at = setting_at(row, values);
    switch (row->type) {
    case CS_SETTING_TYPE_STRING:
    case CS_SETTING_TYPE_SECRET:
    case CS_SETTING_TYPE_PATH:
        put_text(*(char *const *)at, out);
        return;
    case CS_SETTING_TYPE_INT:
    case CS_SETTING_TYPE_SIZE:
    case CS_SETTING_TYPE_DURATION:
        format_number(row, *(const int64_t *)at, out);
        return;
    case CS_SETTING_TYPE_BOOL:
        cs_buf_puts(out, *(const bool *)at ? "yes" : "no");
        return;
    case CS_SETTING_TYPE_CHOICE:
        cs_buf_puts(out, row->choices[*(const int64_t *)at]);
        return;
    case CS_SETTING_TYPE_LIST:
        for (size_t i = 0; i < ((const struct cs_list *)at)->count; i++)
            cs_buf_printf(out, "%s%s", i ? ", " : "", ((const struct cs_list *)at)->items[i]);
        return;
    case CS_SETTING_TYPE_MAP:
        return;
    }
}

size_t setting_map_prefix(const struct cs_setting *row) {
    return strlen(row->key) - 1;
}
