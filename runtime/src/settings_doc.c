// SPDX-License-Identifier: Apache-2.0
//
// Settings for people: the dump, and the documentation from the table.
#include <string.h>

#include "certsync/runtime/mask.h"

#include "settings_internal.h"
#include "troff.h"

#define TEXT_MAX 16384 // the longest value: a list of 64 items, or a secret

// The length of a key's section: "kafka" of "kafka.brokers", "" of "name".
static size_t section_len(const char *key) {
    const char *dot = strchr(key, '.');
    return dot ? (size_t)(dot - key) : 0;
}

static const char *in_section(const char *key) {
    size_t len = section_len(key);
    return len ? key + len + 1 : key;
}

static bool same_section(const char *a, const char *b) {
    return section_len(a) == section_len(b) && strncmp(a, b, section_len(a)) == 0;
}

static void put_section(const struct cs_setting *rows, size_t i, struct cs_buf *out) {
    if (i > 0 && same_section(rows[i].key, rows[i - 1].key))
        return;
    size_t len = section_len(rows[i].key);
    if (len > 0)
        cs_buf_printf(out, "%s[%.*s]\n", out->len ? "\n" : "", (int)len, rows[i].key);
}

static bool is_secret(const struct cs_setting *row) {
    return row->type == CS_SETTING_TYPE_SECRET ||
           (row->type == CS_SETTING_TYPE_MAP && (row->flags & CS_SETTING_MAP_SECRET));
}

// As setting_format, but masks secrets inside a text. A line that was masked becomes a comment:
// read again, it would be another setting.
static void put_line(const struct cs_setting *row, int prefix, const char *key, const char *name,
                     const void *values, struct cs_buf *out) {
    char masked[TEXT_MAX];
    CS_AUTO(cs_buf_clear) struct cs_buf text;
    cs_buf_init(&text, TEXT_MAX);
    setting_format(row, values, &text);
    const char *plain = text.data ? (const char *)text.data : "";
    cs_mask_text(plain, masked, sizeof masked, false);
    cs_buf_printf(out, "%s%.*s%s = %s\n", strcmp(plain, masked) == 0 ? "" : "# ", prefix, key, name, masked);
}

static void dump_map(const struct cs_setting *row, const void *values, struct cs_buf *out) {
    const struct cs_map *m = setting_at(row, values);
    const char *key = in_section(row->key);
    int prefix = (int)strlen(key) - 1;
    for (size_t i = 0; i < m->count; i++) {
        const char *name = m->pairs[i].name;
        if (is_secret(row) && cs_mask_names_secret(name)) {
            cs_buf_printf(out, "# %.*s%s = ********\n", prefix, key, name);
            continue;
        }
        const struct cs_setting text = {.type = CS_SETTING_TYPE_STRING};
        put_line(&text, prefix, key, name, &m->pairs[i].value, out);
    }
}

static void dump_rows(const struct cs_setting *rows, size_t count, const void *values, bool sections,
                      struct cs_buf *out) {
    for (size_t i = 0; i < count; i++) {
        if (sections)
            put_section(rows, i, out);
        const char *key = sections ? in_section(rows[i].key) : rows[i].key;
        cs_buf_printf(out, "# %s\n", rows[i].text);
        if (rows[i].type == CS_SETTING_TYPE_MAP) {
            dump_map(&rows[i], values, out);
        } else if (is_secret(&rows[i])) {
            cs_buf_printf(out, "# %s = %s\n", key, setting_is_empty(&rows[i], values) ? "" : "********");
        } else {
            put_line(&rows[i], (int)strlen(key), key, "", values, out);
        }
    }
}

void cs_settings_dump(const struct cs_settings_table *table, const void *values, struct cs_buf *out) {
    dump_rows(table->rows, table->row_count, values, true, out);
    for (size_t g = 0; g < table->group_count; g++) {
        const struct cs_settings_group *group = &table->groups[g];
        const struct cs_settings_items *items = (const void *)((const char *)values + group->offset);
        for (size_t i = 0; i < items->count; i++) {
            const char *item = (const char *)items->items + i * group->item_size;
            cs_buf_printf(out, "\n[%s %s]\n", group->name, *(char *const *)(const void *)item);
            dump_rows(group->rows, group->row_count, item, false, out);
        }
    }
}

static bool items_equal(const struct cs_settings_group *g, const struct cs_settings_items *a,
                        const struct cs_settings_items *b) {
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const char *x = (const char *)a->items + i * g->item_size;
        const char *y = (const char *)b->items + i * g->item_size;
        if (strcmp(*(char *const *)(const void *)x, *(char *const *)(const void *)y) != 0)
            return false;
        for (size_t r = 0; r < g->row_count; r++) {
            if (!(g->rows[r].flags & CS_SETTING_RELOADABLE) && !setting_equal(&g->rows[r], x, y))
                return false;
        }
    }
    return true;
}

// A group may come and go at a reload if all of its rows may.
static bool group_reloadable(const struct cs_settings_group *g) {
    for (size_t r = 0; r < g->row_count; r++) {
        if (!(g->rows[r].flags & CS_SETTING_RELOADABLE))
            return false;
    }
    return true;
}

const char *cs_settings_first_fixed_change(const struct cs_settings_table *table, const void *a,
                                           const void *b) {
    for (size_t i = 0; i < table->row_count; i++) {
        const struct cs_setting *row = &table->rows[i];
        if (!(row->flags & CS_SETTING_RELOADABLE) && !setting_equal(row, a, b))
            return row->key;
    }
    for (size_t g = 0; g < table->group_count; g++) {
        const struct cs_settings_group *group = &table->groups[g];
        if (!group_reloadable(group) && !items_equal(group, (const void *)((const char *)a + group->offset),
                                                     (const void *)((const char *)b + group->offset)))
            return group->name;
    }
    return NULL;
}

// "duration, 1ms to 1h" and the like.
static void put_kind(const struct cs_setting *row, struct cs_buf *out) {
    switch (row->type) {
    case CS_SETTING_TYPE_STRING:
        cs_buf_puts(out, "text");
        return;
    case CS_SETTING_TYPE_SECRET:
        cs_buf_puts(out, "secret");
        return;
    case CS_SETTING_TYPE_PATH:
        cs_buf_puts(out, "path");
        return;
    case CS_SETTING_TYPE_INT:
        cs_buf_printf(out, "%s%s%lld to %lld", row->unit ? row->unit : "", row->unit ? ", " : "",
                      (long long)row->min, (long long)row->max);
        return;
    case CS_SETTING_TYPE_SIZE:
        setting_format_size(row->min, out);
        cs_buf_puts(out, " to ");
        setting_format_size(row->max, out);
        cs_buf_puts(out, row->max % 1024 == 0 ? "" : " bytes");
        return;
    case CS_SETTING_TYPE_DURATION:
        setting_format_duration(row->min, out);
        cs_buf_puts(out, " to ");
        setting_format_duration(row->max, out);
        return;
    case CS_SETTING_TYPE_BOOL:
        cs_buf_puts(out, "yes or no");
        return;
    case CS_SETTING_TYPE_CHOICE:
        for (size_t i = 0; row->choices[i]; i++)
            cs_buf_printf(out, "%s%s", i ? ", " : "", row->choices[i]);
        return;
    case CS_SETTING_TYPE_LIST:
        cs_buf_puts(out, "list");
        return;
    case CS_SETTING_TYPE_MAP:
        cs_buf_puts(out, "any number");
        return;
    }
}

static void markdown_row(const struct cs_settings_table *table, const struct cs_setting *row,
                         const char *group, struct cs_buf *out) {
    char env[256] = "";
    if (row->flags & CS_SETTING_HIDDEN)
        return;
    if (group)
        cs_buf_printf(out, "| `[%s NAME]` `%s` | ", group, row->key);
    else
        cs_buf_printf(out, "| `%s` | ", row->key);
    if (!group && cs_settings_env_name(table, row->key, env, sizeof env))
        cs_buf_printf(out, "`%s`", env);
    cs_buf_puts(out, " | ");
    if (*row->default_text)
        cs_buf_printf(out, "`%s`", row->default_text);
    cs_buf_puts(out, row->flags & CS_SETTING_REQUIRED && !*row->default_text ? "(required) | " : " | ");
    put_kind(row, out);
    cs_buf_printf(out, " | %s | %s |\n", row->flags & CS_SETTING_RELOADABLE ? "yes" : "", row->text);
}

void cs_settings_markdown(const struct cs_settings_table *table, struct cs_buf *out) {
    cs_buf_puts(out, "| Setting | Environment | Default | Values | Reload | Meaning |\n"
                     "|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < table->row_count; i++)
        markdown_row(table, &table->rows[i], NULL, out);
    for (size_t g = 0; g < table->group_count; g++) {
        for (size_t i = 0; i < table->groups[g].row_count; i++)
            markdown_row(table, &table->groups[g].rows[i], table->groups[g].name, out);
    }
}

static void example_row(const struct cs_setting *row, const char *key, struct cs_buf *out) {
    if (row->flags & CS_SETTING_HIDDEN)
        return;
    cs_buf_printf(out, "# %s (", row->text);
    put_kind(row, out);
    cs_buf_printf(out, ")\n#%s =%s%s\n", key, *row->default_text ? " " : "", row->default_text);
}

void cs_settings_example(const struct cs_settings_table *table, struct cs_buf *out) {
    for (size_t i = 0; i < table->row_count; i++) {
        put_section(table->rows, i, out);
        example_row(&table->rows[i], in_section(table->rows[i].key), out);
    }
    for (size_t g = 0; g < table->group_count; g++) {
        cs_buf_printf(out, "\n# %s\n#[%s NAME]\n", table->groups[g].text, table->groups[g].name);
        for (size_t i = 0; i < table->groups[g].row_count; i++)
            example_row(&table->groups[g].rows[i], table->groups[g].rows[i].key, out);
    }
}

static void man_row(const struct cs_setting *row, const char *group, struct cs_buf *out) {
    if (row->flags & CS_SETTING_HIDDEN)
        return;
    cs_buf_puts(out, ".TP\n.B ");
    if (group)
        cs_buf_printf(out, "[%s NAME] ", group);
    cs_troff_put(row->key, out);
    cs_buf_puts(out, "\n");
    cs_troff_put(row->text, out);
    cs_buf_puts(out, "\n(");
    CS_AUTO(cs_buf_clear) struct cs_buf kind;
    cs_buf_init(&kind, 4096);
    put_kind(row, &kind);
    cs_troff_put((const char *)kind.data, out);
    if (*row->default_text) {
        cs_buf_puts(out, "; default ");
        cs_troff_put(row->default_text, out);
    }
    cs_buf_puts(out, row->flags & CS_SETTING_RELOADABLE ? "; reloadable)\n" : ")\n");
}

void cs_settings_man(const struct cs_settings_table *table, struct cs_buf *out) {
    for (size_t i = 0; i < table->row_count; i++)
        man_row(&table->rows[i], NULL, out);
    for (size_t g = 0; g < table->group_count; g++) {
        for (size_t i = 0; i < table->groups[g].row_count; i++)
            man_row(&table->groups[g].rows[i], table->groups[g].name, out);
    }
}
