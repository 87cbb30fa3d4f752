// SPDX-License-Identifier: Apache-2.0
//
// Shared by the parts of the settings module: one value of one row, to and from text.
#pragma once

#include "certsync/runtime/settings.h"

#define SETTING_STRING_MAX 4096
#define SETTING_SECRET_MAX 65536
#define SETTING_LIST_MAX   64
#define SETTING_MAP_MAX    256

static inline void *setting_at(const struct cs_setting *row, const void *values) {
    return (char *)values + row->offset;
}

// Parses text and replaces the value. The error is only the fault ("not a number"); callers say
// where. Maps are set with setting_map_put.
bool setting_parse(const struct cs_setting *row, const char *text, void *values, struct cs_err *err);
bool setting_map_put(const struct cs_setting *row, const char *name, const char *text, void *values,
                     struct cs_err *err);
void setting_clear(const struct cs_setting *row, void *values);
bool setting_is_empty(const struct cs_setting *row, const void *values);
bool setting_equal(const struct cs_setting *row, const void *a, const void *b);
// The value in the form that setting_parse reads; not for maps.
void setting_format(const struct cs_setting *row, const void *values, struct cs_buf *out);
void setting_format_duration(int64_t ms, struct cs_buf *out);
void setting_format_size(int64_t bytes, struct cs_buf *out);

// "kafka.rdkafka." of "kafka.rdkafka.*": the length of the prefix that a map row stands for.
size_t setting_map_prefix(const struct cs_setting *row);
// Parses "10s" and the like. Shared with the command line.
bool setting_parse_duration(const char *text, int64_t *ret_ms);
