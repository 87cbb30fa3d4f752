// SPDX-License-Identifier: Apache-2.0
//
// Lines for people and machines on standard error:
//
//     2026-11-23T12:00:00.123Z info event published event=0192... offset=42 name="a b"
//
// One line is one write(2), so lines of several threads and processes do not mix. Under systemd
// (standard error is the journal, by JOURNAL_STREAM) a line has no time, and the level also as
// "<6>". Programs log, libraries do not: once, where the decision is made. Never key material,
// never a secret. All functions are thread-safe and keep errno. Lines are cut at 8 KiB.
#pragma once

#include "certsync/base/err.h"

enum cs_log_level { CS_LOG_ERROR, CS_LOG_WARN, CS_LOG_INFO, CS_LOG_DEBUG };

const char *cs_log_level_name(enum cs_log_level level);
CS_MUST_USE bool cs_log_level_parse(const char *name, enum cs_log_level *ret);
extern const char *const cs_log_level_names[]; // NULL-terminated, for settings tables

void cs_log_set_level(enum cs_log_level level); // default info
bool cs_log_enabled(enum cs_log_level level);

// fields is printf-checked. It has "key=FORMAT" parts with one space between. Each value is quoted
// and escaped as a whole if needed, so untrusted text may be passed as it is:
//     cs_log(CS_LOG_WARN, "outcome differs", "partition=%d offset=%" PRId64 " name=%s", p, offset, name);
// Conversions: %s %.*s %c %d %i %u %x %f %g %% with the modifiers hh h l ll z j t; a NULL string is
// "-".
void cs_log(enum cs_log_level level, const char *msg, const char *fields, ...) CS_PRINTF(3, 4);
// A line without fields.
void cs_log_msg(enum cs_log_level level, const char *msg);
// As cs_log, followed by kind= and error= from err.
void cs_log_err(enum cs_log_level level, const char *msg, const struct cs_err *err, const char *fields, ...)
    CS_PRINTF(4, 5);

// A repeated line: after CS_LOG_BURST lines in CS_LOG_WINDOW_MS, further ones are only counted. The
// next line that is written has suppressed=N.
#define CS_LOG_BURST     5
#define CS_LOG_WINDOW_MS 10000

// For callbacks of libraries. source is e.g. "librdkafka"; syslog_level 0 to 7 (emerg to debug).
void cs_log_foreign(int syslog_level, const char *source, const char *facility, const char *text);
// Sends libevent's own messages through the log.
void cs_log_hook_libevent(void);

// Tests: lines go to fn instead of standard error (whole line with its newline); NULL restores.
typedef void (*cs_log_sink_fn)(const char *line, size_t len, void *arg);
void cs_log_set_sink(cs_log_sink_fn fn, void *arg);
