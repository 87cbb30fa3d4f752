// SPDX-License-Identifier: Apache-2.0
#include "certsync/runtime/settings.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "certsync/base/secret.h"
#include "certsync/base/text.h"
#include "certsync/runtime/fileio.h"
#include "certsync/runtime/mask.h"
#include "settings_internal.h"

#define FILE_MAX      (1 << 20)
#define LINE_MAX_LEN  8192
#define SECTION_MAX   48
#define ITEM_NAME_MAX 32
#define KEY_MAX       256

// What loading needs while it runs.
struct loader {
    const struct cs_settings_table *table;
    void *values;
    struct cs_err *err;
    // The file:
    const char *file;
    const char *section;
    int line;
    struct cs_map seen; // keys of the file, with the line as value
};

static bool at_fault(struct cs_err *err, const char *where, const char *key, const char *text) {
    char shown[300];
    cs_secret_quote(key, strlen(key), shown, sizeof shown);
    return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: %s: %s", where, shown, text);
}

// The row of a key in these rows. *ret_rest is the name in a map. *ret_file: the key ended in
// "_file".
static const struct cs_setting *find_row(const struct cs_setting *rows, size_t count, const char *key,
                                         const char **ret_rest, bool *ret_file) {
    size_t len = strlen(key);
    *ret_rest = NULL;
    *ret_file = false;
    for (size_t i = 0; i < count; i++) {
        const struct cs_setting *row = &rows[i];
        if (row->type == CS_SETTING_TYPE_MAP) {
            size_t prefix = setting_map_prefix(row);
            if (strncmp(key, row->key, prefix) != 0)
                continue;
            *ret_rest = key + prefix;
            return row;
        }
        if (strcmp(key, row->key) == 0)
            return row;
        size_t row_len = strlen(row->key);
        if (row->type == CS_SETTING_TYPE_SECRET && len == row_len + 5 &&
            strncmp(key, row->key, row_len) == 0 && strcmp(key + row_len, "_file") == 0) {
            *ret_file = true;
            return row;
        }
    }
    return NULL;
}

static bool unknown_key(const struct cs_setting *rows, size_t count, const char *where, const char *key,
                        struct cs_err *err) {
    const char *best = NULL;
    unsigned best_distance = 255;
    for (size_t i = 0; i < count; i++) {
        unsigned d = cs_text_distance(key, rows[i].key);
        if (d < best_distance && !(rows[i].flags & CS_SETTING_HIDDEN)) {
            best_distance = d;
            best = rows[i].key;
        }
    }
    char text[KEY_MAX + 64];
    // If it differs in more than half of the key, it is another word, not a typing error.
    if (best && best_distance <= strlen(key) / 2 + 1)
        snprintf(text, sizeof text, "no such setting; did you mean %s?", best);
    else
        snprintf(text, sizeof text, "no such setting");
    return at_fault(err, where, key, text);
}

static bool read_secret(const struct cs_setting *row, const char *path, void *values, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, SETTING_SECRET_MAX);
    if (!cs_file_read(path, 0, &b, err))
        return false;
    while (b.len > 0 && (b.data[b.len - 1] == '\n' || b.data[b.len - 1] == '\r'))
        b.data[--b.len] = '\0';
    bool ok = b.len == 0 ? setting_parse(row, "", values, err)
              : memchr(b.data, '\0', b.len)
                  ? cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: holds a NUL", path)
                  : setting_parse(row, (const char *)b.data, values, err);
    if (b.data)
        explicit_bzero(b.data, b.cap);
    return ok;
}

static bool set_row(const struct cs_setting *rows, size_t count, void *values, const char *where,
                    const char *key, const char *text, struct cs_err *err) {
    const char *rest = NULL;
    bool file = false;
    const struct cs_setting *row = find_row(rows, count, key, &rest, &file);
    if (!row)
        return unknown_key(rows, count, where, key, err);
    // Settings name files. A key inside a setting would be shown by everything that shows settings.
    bool secret = (row->type == CS_SETTING_TYPE_SECRET && !file) || (rest && cs_mask_names_secret(rest));
    bool ok =
        !secret && cs_secret_is_key(text, strlen(text))
            ? cs_err_set(
                  err, CS_ERR_CONFIG, CS_CODE_NONE,
                  "a private key itself stands here, where it can be read by others; put it into a file "
                  "of mode 0600, and name that file")
        : file ? read_secret(row, text, values, err)
        : rest ? setting_map_put(row, rest, text, values, err)
               : setting_parse(row, text, values, err);
    if (ok)
        return true;
    char shown[300];
    cs_secret_quote(key, strlen(key), shown, sizeof shown);
    return cs_err_prepend(err, "%s: %s", where, shown);
}

static bool item_name_valid(const char *name) {
    size_t len = strlen(name);
    if (len == 0 || len > ITEM_NAME_MAX)
        return false;
    for (; *name; name++) {
        if (!isalnum((unsigned char)*name) && !strchr("._-", *name))
            return false;
    }
    return true;
}

static bool set_defaults(const struct cs_setting *rows, size_t count, void *values, struct cs_err *err) {
    for (size_t i = 0; i < count; i++) {
        if (!setting_parse(&rows[i], rows[i].default_text, values, err)) {
            err->kind = CS_ERR_FATAL; // the table itself is wrong
            return cs_err_prepend(err, "default of %s", rows[i].key);
        }
    }
    return true;
}

// The item of this name. A new one is made with its defaults.
static void *group_item(const struct cs_settings_group *g, void *values, const char *name, const char *where,
                        struct cs_err *err) {
    struct cs_settings_items *items = (void *)((char *)values + g->offset);
    for (size_t i = 0; i < items->count; i++) {
        char *item = (char *)items->items + i * g->item_size;
        if (strcmp(*(char **)(void *)item, name) == 0)
            return item;
    }
    if (!item_name_valid(name)) {
        at_fault(err, where, name, "not a name for a section (letters, digits, '.', '_', '-', at most 32)");
        return NULL;
    }
    if (items->count >= g->max_items) {
        at_fault(err, where, g->name, "too many sections of this kind");
        return NULL;
    }
    void *grown = realloc(items->items, (items->count + 1) * g->item_size);
    char *copy = strdup(name);
    if (grown)
        items->items = grown;
    if (!grown || !copy) {
        free(copy);
        cs_err_oom(err);
        return NULL;
    }
    char *item = (char *)items->items + items->count * g->item_size;
    memset(item, 0, g->item_size);
    *(char **)(void *)item = copy;
    items->count++;
    return set_defaults(g->rows, g->row_count, item, err) ? item : NULL;
}

// The group that "watch www" belongs to; *ret_name is "www...".
static const struct cs_settings_group *find_group(const struct cs_settings_table *t, const char *text,
                                                  const char **ret_name) {
    for (size_t i = 0; i < t->group_count; i++) {
        size_t len = strlen(t->groups[i].name);
        if (strncmp(text, t->groups[i].name, len) == 0 && text[len] == ' ') {
            *ret_name = text + len + strspn(text + len, " ");
            return &t->groups[i];
        }
    }
    return NULL;
}

// key: "kafka.brokers" or "watch www.path". The name may contain dots, the row's key may not.
static bool set_key(struct loader *l, const char *where, const char *key, const char *text) {
    const char *name = NULL;
    const struct cs_settings_group *g = find_group(l->table, key, &name);
    if (!g)
        return set_row(l->table->rows, l->table->row_count, l->values, where, key, text, l->err);
    const char *dot = strrchr(name, '.');
    char item_name[KEY_MAX];
    if (!dot || (size_t)(dot - name) >= sizeof item_name)
        return at_fault(l->err, where, key, "expected SECTION NAME.KEY");
    memcpy(item_name, name, (size_t)(dot - name));
    item_name[dot - name] = '\0';
    void *item = group_item(g, l->values, item_name, where, l->err);
    return item && set_row(g->rows, g->row_count, item, where, dot + 1, text, l->err);
}

// "text" -> text, with \" and \\ undone. In place.
static bool unquote(char *s) {
    size_t len = strlen(s);
    if (s[0] != '"')
        return true;
    if (len < 2 || s[len - 1] != '"')
        return false;
    char *out = s;
    for (size_t i = 1; i < len - 1; i++) {
        if (s[i] == '"')
            return false;
        if (s[i] == '\\' && ++i >= len - 1)
            return false;
        *out++ = s[i];
    }
    *out = '\0';
    return true;
}

// Remembers the key. False if the file had it before.
static bool first_time(struct loader *l, const char *where, const char *key) {
    static const struct cs_setting seen_row = {.key = "*", .type = CS_SETTING_TYPE_MAP, .max = 20000};
    for (size_t i = 0; i < l->seen.count; i++) {
        if (strcmp(l->seen.pairs[i].name, key) == 0) {
            char text[64];
            snprintf(text, sizeof text, "set already on line %s", l->seen.pairs[i].value);
            return at_fault(l->err, where, key, text);
        }
    }
    char line[16];
    snprintf(line, sizeof line, "%d", l->line);
    return setting_map_put(&seen_row, key, line, &l->seen, l->err) || cs_err_prepend(l->err, "%s", where);
}

static bool read_value(struct loader *l, const char *where, const char *name, char *text) {
    char key[KEY_MAX];
    int n = snprintf(key, sizeof key, "%s%s%s", l->section, *l->section ? "." : "", name);
    if (n < 0 || (size_t)n >= sizeof key)
        return at_fault(l->err, where, name, "the key is too long");
    if (!unquote(text))
        return at_fault(l->err, where, key, "the quotes do not fit; write \\\" for a quote within quotes");
    return first_time(l, where, key) && set_key(l, where, key, text);
}

// Removes white space at both ends. In place.
static char *trim(char *s) {
    size_t len = strlen(s);
    while (len > 0 && isspace((unsigned char)s[len - 1]))
        s[--len] = '\0';
    while (isspace((unsigned char)*s))
        s++;
    return s;
}

// What no line may contain.
static const char *line_fault(const char *line, size_t len) {
    return len > LINE_MAX_LEN - 8                       ? "the line is longer than 8 KiB"
           : memchr(line, '\0', len)                    ? "the line holds a NUL"
           : !cs_utf8_valid((const uint8_t *)line, len) ? "not UTF-8"
                                                        : NULL;
}

// [section], key = value or key: value, a comment, or nothing. White space around each is ignored,
// and also what follows a section's bracket.
static bool read_line(struct loader *l, char *line, size_t len) {
    char where[512], *s = line, *end = NULL;
    snprintf(where, sizeof where, "%s:%d", l->file, l->line);
    const char *fault = line_fault(line, len);
    if (!fault) {
        s = trim(line);
        if (*s == '\0' || *s == '#' || *s == ';')
            return true;
        end = strpbrk(s, *s == '[' ? "]" : "=:");
        fault = !end                                     ? "neither [section] nor key = value nor a comment"
                : *s == '[' && end - s - 1 > SECTION_MAX ? "the section's name is too long"
                                                         : NULL;
    }
    if (fault)
        return cs_err_set(l->err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: %s", where, fault);
    *end = '\0';
    if (*s != '[')
        return read_value(l, where, trim(s), trim(end + 1));
    l->section = s + 1;
    return true;
}

static bool read_lines(struct loader *l, char *text, size_t len) {
    static const char bom[] = "\xef\xbb\xbf";
    char *at = text, *end = text + len;
    if (len >= 3 && memcmp(text, bom, 3) == 0)
        at += 3;
    l->section = "";
    for (l->line = 1; at < end; l->line++) {
        char *nl = memchr(at, '\n', (size_t)(end - at));
        char *line_end = nl ? nl : end;
        *line_end = '\0'; // a buffer has a NUL behind it
        if (!read_line(l, at, (size_t)(line_end - at)))
            return false;
        at = line_end + 1;
    }
    return true;
}

static bool load_file(struct loader *l, bool optional) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, FILE_MAX);
    if (optional && access(l->file, F_OK) < 0)
        return true;
    if (!cs_file_read(l->file, 0, &b, l->err))
        return cs_err_prepend(l->err, "settings");
    bool ok = b.len == 0 || read_lines(l, (char *)b.data, b.len);
    if (b.data)
        explicit_bzero(b.data, b.cap); // it may contain secrets
    return ok;
}

bool cs_settings_env_name(const struct cs_settings_table *table, const char *key, char *out,
                          size_t out_size) {
    int n = snprintf(out, out_size, "%s%s", table->env_prefix, key);
    if (n < 0 || (size_t)n >= out_size)
        return false;
    for (char *p = out + strlen(table->env_prefix); *p; p++)
        *p = *p == '.' || *p == '-' ? '_' : (char)toupper((unsigned char)*p);
    return true;
}

// Whether the name is one of the patterns, or one that Kubernetes makes for a service.
static bool env_ignored(const struct cs_settings_table *t, const char *name) {
    for (const char *const *p = t->env_ignore; p && *p; p++) {
        size_t len = strlen(*p);
        if (len > 0 && (*p)[len - 1] == '*' ? strncmp(name, *p, len - 1) == 0 : strcmp(name, *p) == 0)
            return true;
    }
    size_t len = strlen(name);
    const char *port = strstr(name, "_PORT");
    return strstr(name, "_SERVICE_HOST") || strstr(name, "_SERVICE_PORT") ||
           (port && (strstr(port, "_TCP") || strstr(port, "_UDP"))) ||
           (len > 5 && strcmp(name + len - 5, "_PORT") == 0);
}

static bool set_env(struct loader *l, const char *name, const char *text) {
    char known[KEY_MAX], where[KEY_MAX], key[KEY_MAX];
    snprintf(where, sizeof where, "environment %s", name);
    const struct cs_settings_table *t = l->table;
    for (size_t i = 0; i < t->row_count; i++) {
        const struct cs_setting *row = &t->rows[i];
        if (!cs_settings_env_name(t, row->key, known, sizeof known))
            continue;
        size_t len = strlen(known);
        if (row->type == CS_SETTING_TYPE_MAP && strncmp(name, known, len - 1) == 0) { // without the '*'
            int n =
                snprintf(key, sizeof key, "%.*s%s", (int)setting_map_prefix(row), row->key, name + len - 1);
            if (n < 0 || (size_t)n >= sizeof key)
                break;
            for (char *p = key + setting_map_prefix(row); *p; p++)
                *p = *p == '_' ? '.' : (char)tolower((unsigned char)*p);
            return set_key(l, where, key, text);
        }
        bool file = row->type == CS_SETTING_TYPE_SECRET && strncmp(name, known, len) == 0 &&
                    strcmp(name + len, "_FILE") == 0;
        if (strcmp(name, known) == 0 || file) {
            snprintf(key, sizeof key, "%s%s", row->key, file ? "_file" : "");
            return set_key(l, where, key, text);
        }
    }
    if (env_ignored(t, name))
        return true;
    // As a key, so that the nearest key can be found.
    snprintf(key, sizeof key, "%s", name + strlen(t->env_prefix));
    for (char *p = key; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    char *first = strchr(key, '_');
    if (first)
        *first = '.';
    return unknown_key(t->rows, t->row_count, where, key, l->err);
}

static bool load_env(struct loader *l, const char *const *env) {
    size_t prefix = strlen(l->table->env_prefix);
    for (; env && *env; env++) {
        const char *eq = strchr(*env, '=');
        if (!eq || strncmp(*env, l->table->env_prefix, prefix) != 0)
            continue;
        char name[KEY_MAX];
        snprintf(name, sizeof name, "%.*s", (int)(eq - *env), *env);
        if (!set_env(l, name, eq + 1))
            return false;
    }
    return true;
}

static bool check_required(const struct cs_setting *rows, size_t count, const void *values,
                           const char *section, const struct cs_settings_table *t, const char *file,
                           struct cs_err *err) {
    for (size_t i = 0; i < count; i++) {
        if (!(rows[i].flags & CS_SETTING_REQUIRED) || !setting_is_empty(&rows[i], values))
            continue;
        char env[KEY_MAX] = "", shown[PATH_MAX] = "";
        if (file)
            cs_mask_text(file, shown, sizeof shown, true);
        if (section)
            return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "[%s]: %s is not set: %s", section,
                              rows[i].key, rows[i].text);
        cs_settings_env_name(t, rows[i].key, env, sizeof env);
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "%s is not set (in the settings file%s%s, or %s): %s", rows[i].key,
                          shown[0] ? " " : "", shown, env, rows[i].text);
    }
    return true;
}

static bool check_all(struct loader *l) {
    const struct cs_settings_table *t = l->table;
    if (!check_required(t->rows, t->row_count, l->values, NULL, t, l->file, l->err))
        return false;
    for (size_t g = 0; g < t->group_count; g++) {
        const struct cs_settings_group *group = &t->groups[g];
        const struct cs_settings_items *items = (void *)((char *)l->values + group->offset);
        for (size_t i = 0; i < items->count; i++) {
            const char *item = (const char *)items->items + i * group->item_size;
            char section[128];
            snprintf(section, sizeof section, "%s %s", group->name, *(char *const *)(const void *)item);
            if (!check_required(group->rows, group->row_count, item, section, t, l->file, l->err))
                return false;
        }
    }
    return !t->check || t->check(l->values, l->err);
}

static bool load_overrides(struct loader *l, const struct cs_settings_source *source) {
    for (size_t i = 0; i < source->override_count; i++) {
        const struct cs_settings_override *o = &source->overrides[i];
        if (!set_key(l, o->origin ? o->origin : "--set", o->key, o->value))
            return false;
    }
    return true;
}

bool cs_settings_load(const struct cs_settings_table *table, const struct cs_settings_source *source,
                      void **ret_values, struct cs_err *err) {
    struct loader l = {.table = table, .err = err, .file = source->file};
    l.values = calloc(1, table->values_size);
    if (!l.values)
        return cs_err_oom(err);
    bool ok = set_defaults(table->rows, table->row_count, l.values, err) &&
              (!source->file || load_file(&l, source->file_optional)) && load_env(&l, source->env) &&
              load_overrides(&l, source) && check_all(&l);
    setting_clear(&(struct cs_setting){.type = CS_SETTING_TYPE_MAP}, &l.seen);
    if (!ok) {
        cs_settings_free(table, l.values);
        return false;
    }
    *ret_values = l.values;
    return true;
}

void cs_settings_free(const struct cs_settings_table *table, void *values) {
    if (!values)
        return;
    for (size_t i = 0; i < table->row_count; i++)
        setting_clear(&table->rows[i], values);
    for (size_t g = 0; g < table->group_count; g++) {
        const struct cs_settings_group *group = &table->groups[g];
        struct cs_settings_items *items = (void *)((char *)values + group->offset);
        for (size_t i = 0; i < items->count; i++) {
            char *item = (char *)items->items + i * group->item_size;
            free(*(char **)(void *)item);
            for (size_t r = 0; r < group->row_count; r++)
                setting_clear(&group->rows[r], item);
        }
        free(items->items);
    }
    free(values);
}
