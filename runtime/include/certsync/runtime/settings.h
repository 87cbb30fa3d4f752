// SPDX-License-Identifier: Apache-2.0
//
// Settings: one table a program drives the file parser, environment names, overrides from the
// command line, the dump, and the documentation.
//
// Values live in a struct of the caller's; each row says where (offset and type are checked by the
// compiler):
//
//     struct demo_settings { char *brokers; int64_t timeout_ms; bool derive; struct cs_list names; };
//     #define S struct demo_settings
//     static const struct cs_setting rows[] = {
//         CS_SETTING_STR("kafka.brokers", S, brokers, "localhost:9092", 0, "Bootstrap brokers."),
//         CS_SETTING_DURATION("kafka.timeout", S, timeout_ms, "10s", 1, 3600000,
//                             CS_SETTING_RELOADABLE, "..."),
//     };
//     static const struct cs_settings_table table = {
//         .program = "demo", .env_prefix = "CERTSYNC_", .values_size = sizeof(S),
//         .rows = rows, .row_count = ...};
//
// Order, later wins: defaults, file, environment, overrides. Loading makes a NEW values struct,
// checks all of it and reports "file:line: section.key: what is wrong". Then the caller swaps it in
// (SIGHUP) or exits.
//
// Forms of values:
//   int       decimal, with sign
//   size      bytes, or with KiB, MiB, GiB
//   duration  500ms 10s 5m 1h 7d; stored in milliseconds
//   bool      yes/no, true/false, on/off, 1/0
//   list      comma-separated, blanks around items are dropped; an empty text is the empty list
//   choice    one of the row's words; stored as its index
//   secret    a string that is never shown; "<key>_file" (and CERTSYNC_..._FILE) names a file to
//             read it from
//   path      a string; relative paths stay as they are
//   map       the row's key ends in ".*": all keys with that prefix, e.g. kafka.rdkafka.*
//             (names may hold dots)
// A text in the file may be in double quotes (then \" and \\ are escapes) to keep blanks at its
// ends. The values struct owns strings on the heap. They are never NULL: "" if not set and without
// a default.
//
// The file is INI: [section], then key = value. The row key "kafka.brokers" is brokers in [kafka].
// A key without a dot stands before the first section. Comments are lines of their own with # or ;.
// The same key twice is an error. Environment: prefix and the key in capitals, with '_' for '.' and
// '-': CERTSYNC_KAFKA_BROKERS. For map rows: CERTSYNC_KAFKA_RDKAFKA_ and the name with '_' for '.',
// e.g. ..._SOCKET_TIMEOUT_MS is socket.timeout.ms.
//
// Limits: file 1 MiB, line 8 KiB, 64 items of a list, 256 entries of a map. Errors are CONFIG.
// Thread rule: a values struct is read-only after loading.
#pragma once

#include "certsync/base/buf.h"

struct cs_list {
    char **items;
    size_t count;
};
struct cs_pair {
    char *name;
    char *value;
};
struct cs_map {
    struct cs_pair *pairs;
    size_t count;
};

enum cs_setting_type {
    CS_SETTING_TYPE_STRING,
    CS_SETTING_TYPE_SECRET,
    CS_SETTING_TYPE_PATH,
    CS_SETTING_TYPE_INT,
    CS_SETTING_TYPE_SIZE,
    CS_SETTING_TYPE_DURATION,
    CS_SETTING_TYPE_BOOL,
    CS_SETTING_TYPE_CHOICE,
    CS_SETTING_TYPE_LIST,
    CS_SETTING_TYPE_MAP,
};

enum cs_setting_flags {
    CS_SETTING_RELOADABLE = 1, // takes effect on SIGHUP; others need a restart
    CS_SETTING_REQUIRED = 2,   // must not be empty after loading
    CS_SETTING_MAP_SECRET = 4, // values of this map are masked
    CS_SETTING_HIDDEN = 8,     // works, but is not in the documentation (for tests)
};

struct cs_setting {
    const char *key;
    enum cs_setting_type type;
    size_t offset;
    const char *default_text;   // never NULL; in the forms above
    int64_t min, max;           // int, size, duration (ms); strings: length in bytes (max 0: 4096)
    const char *const *choices; // NULL-terminated
    const char *unit;           // for int, e.g. "partitions"; may be NULL
    unsigned flags;
    const char *text; // one sentence
};

// Row constructors: (key, struct type, member, default, [range,] flags, sentence).
#define CS_SETTING_AT_(S, member, T)                                                                         \
    (offsetof(S, member) + 0 * sizeof(char[_Generic(&((S *)0)->member, T * : 1)]))
#define CS_SETTING_STR(k, S, m, def, fl, txt)                                                                \
    {                                                                                                        \
        .key = (k), .type = CS_SETTING_TYPE_STRING, .offset = CS_SETTING_AT_(S, m, char *),                  \
        .default_text = (def), .flags = (fl), .text = (txt)                                                  \
    }
#define CS_SETTING_SECRET(k, S, m, fl, txt)                                                                  \
    {                                                                                                        \
        .key = (k), .type = CS_SETTING_TYPE_SECRET, .offset = CS_SETTING_AT_(S, m, char *),                  \
        .default_text = "", .flags = (fl), .text = (txt)                                                     \
    }
#define CS_SETTING_PATH(k, S, m, def, fl, txt)                                                               \
    {                                                                                                        \
        .key = (k), .type = CS_SETTING_TYPE_PATH, .offset = CS_SETTING_AT_(S, m, char *),                    \
        .default_text = (def), .flags = (fl), .text = (txt)                                                  \
    }
#define CS_SETTING_INT(k, S, m, def, lo, hi, un, fl, txt)                                                    \
    {                                                                                                        \
        .key = (k), .type = CS_SETTING_TYPE_INT, .offset = CS_SETTING_AT_(S, m, int64_t),                    \
        .default_text = (def), .min = (lo), .max = (hi), .unit = (un), .flags = (fl), .text = (txt)          \
    }
#define CS_SETTING_SIZE(k, S, m, def, lo, hi, fl, txt)                                                       \
    {                                                                                                        \
        .key = (k), .type = CS_SETTING_TYPE_SIZE, .offset = CS_SETTING_AT_(S, m, int64_t),                   \
        .default_text = (def), .min = (lo), .max = (hi), .flags = (fl), .text = (txt)                        \
    }
#define CS_SETTING_DURATION(k, S, m, def, lo_ms, hi_ms, fl, txt)                                             \
    {                                                                                                        \
        .key = (k), .type = CS_SETTING_TYPE_DURATION, .offset = CS_SETTING_AT_(S, m, int64_t),               \
        .default_text = (def), .min = (lo_ms), .max = (hi_ms), .flags = (fl), .text = (txt)                  \
    }
#define CS_SETTING_BOOL(k, S, m, def, fl, txt)                                                               \
    {                                                                                                        \
        .key = (k), .type = CS_SETTING_TYPE_BOOL, .offset = CS_SETTING_AT_(S, m, bool),                      \
        .default_text = (def), .flags = (fl), .text = (txt)                                                  \
    }
// The member is an int64_t that holds the index in choices_ (a NULL-terminated array of words).
#define CS_SETTING_CHOICE(k, S, m, def, choices_, fl, txt)                                                   \
    {                                                                                                        \
        .key = (k), .type = CS_SETTING_TYPE_CHOICE, .offset = CS_SETTING_AT_(S, m, int64_t),                 \
        .default_text = (def), .choices = (choices_), .flags = (fl), .text = (txt)                           \
    }
#define CS_SETTING_LIST(k, S, m, def, fl, txt)                                                               \
    {                                                                                                        \
        .key = (k), .type = CS_SETTING_TYPE_LIST, .offset = CS_SETTING_AT_(S, m, struct cs_list),            \
        .default_text = (def), .flags = (fl), .text = (txt)                                                  \
    }
#define CS_SETTING_MAP(k, S, m, fl, txt)                                                                     \
    {                                                                                                        \
        .key = (k), .type = CS_SETTING_TYPE_MAP, .offset = CS_SETTING_AT_(S, m, struct cs_map),              \
        .default_text = "", .flags = (fl), .text = (txt)                                                     \
    }

// Sections that may come any number of times, each with a name: [watch www], [watch mail]. Rows are
// relative to the item struct, and their keys have no section ("path", not "watch.path"). Each item
// struct begins with `char *name`. The environment cannot set them; overrides can: --set 'watch
// www.path=/x'.
struct cs_settings_items {
    void *items; // count structs of item_size
    size_t count;
};
struct cs_settings_group {
    const char *name; // "watch"
    size_t offset;    // of a struct cs_settings_items in the values struct
    size_t item_size;
    size_t max_items;
    const struct cs_setting *rows;
    size_t row_count;
    const char *text;
};

struct cs_settings_table {
    const char *program;
    const char *env_prefix; // "CERTSYNC_"
    size_t values_size;
    const struct cs_setting *rows;
    size_t row_count;
    const struct cs_settings_group *groups; // may be NULL
    size_t group_count;
    // Environment names with the prefix that are not in the table and do not concern it (e.g.
    // "CERTSYNC_CONFIG"). NULL-terminated; a '*' at the end matches any rest; may be NULL. Names
    // that Kubernetes makes for services (..._SERVICE_HOST, ..._PORT_443_TCP) are always ignored.
    // All others are errors.
    const char *const *env_ignore;
    // Checks between settings, after all rows passed; may be NULL.
    bool (*check)(const void *values, struct cs_err *err);
};

struct cs_settings_override {
    const char *key;
    const char *value;
    const char *origin; // for messages, e.g. "--brokers"; NULL is "--set"
};
struct cs_settings_source {
    const char *file;       // NULL: none
    bool file_optional;     // a missing file is as an empty one
    const char *const *env; // NULL-terminated NAME=value, usually environ; NULL: none
    const struct cs_settings_override *overrides;
    size_t override_count;
};

// ret_values: a heap struct of table->values_size; cast it to the program's type. Free with
// cs_settings_free.
CS_MUST_USE bool cs_settings_load(const struct cs_settings_table *table,
                                  const struct cs_settings_source *source, void **ret_values,
                                  struct cs_err *err);
void cs_settings_free(const struct cs_settings_table *table, void *values); // wipes secrets

// The effective settings as a file that can be read back. Secrets are comments, "********": reading
// back leaves them to their own source. Sentences are comments too.
void cs_settings_dump(const struct cs_settings_table *table, const void *values, struct cs_buf *out);
// The key of the first row that differs between the two and is not RELOADABLE, or NULL. With it,
// SIGHUP says that a restart is needed. Static text of the table ("watch" for a group).
const char *cs_settings_first_fixed_change(const struct cs_settings_table *table, const void *a,
                                           const void *b);

// Documentation: a Markdown table; a file with all defaults commented out; troff (man) paragraphs.
void cs_settings_markdown(const struct cs_settings_table *table, struct cs_buf *out);
void cs_settings_example(const struct cs_settings_table *table, struct cs_buf *out);
void cs_settings_man(const struct cs_settings_table *table, struct cs_buf *out);
// "CERTSYNC_KAFKA_BROKERS" for "kafka.brokers". False where it does not fit.
bool cs_settings_env_name(const struct cs_settings_table *table, const char *key, char *out, size_t out_size);

// A duration in the form above. False where it is none.
bool cs_duration_parse(const char *text, int64_t *ret_ms);

// Edit distance with transpositions, for "did you mean"; 255 at most. Text over 63 bytes counts as
// its first 63.
unsigned cs_text_distance(const char *a, const char *b);
