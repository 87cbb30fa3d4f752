// SPDX-License-Identifier: Apache-2.0
//
// Reading cert.outcomes: the highest number that was published (the publish cursor), and the published
// outcomes one after the other for comparison. Of each number the first record counts: a paused old owner may
// have published the same again later. One thread. Errors: RETRY, CONFIG, FATAL (records that are no
// outcomes, numbers that are missing).
#pragma once

#include "certsync/model/key.h"

struct cs_kafka_settings;
struct cs_cursor;
struct cs_cursor_options {
    const struct cs_kafka_settings *kafka; // borrowed
    const char *client_id;
    const char *topic; // borrowed
    int wake_fd;       // a byte is written to it when there is something to read; -1: none
};
CS_MUST_USE bool cs_cursor_new(const struct cs_cursor_options *options, struct cs_cursor **ret,
                               struct cs_err *err);
void cs_cursor_free(struct cs_cursor *c);
CS_DEFINE_AUTO(struct cs_cursor, cs_cursor_free)

struct cs_cursor_tail {
    int64_t last;             // highest number among the last records; 0: the partition is empty
    bool found;               // the number that was asked for is among them
    uint8_t found_sha256[32]; // SHA-256 of the value of its first record there
};
// Reads the last CS_CURSOR_TAIL records; waits for them. want: a number whose hash is asked for.
#define CS_CURSOR_TAIL 4096
CS_MUST_USE bool cs_cursor_tail(struct cs_cursor *c, struct cs_crypto *crypto, int32_t partition,
                                int64_t want, int64_t timeout_ms, struct cs_cursor_tail *ret,
                                struct cs_err *err);

// The broker's time of one record of any topic; waits for it.
CS_MUST_USE bool cs_cursor_time(struct cs_cursor *c, const char *topic, int32_t partition, int64_t offset,
                                int timeout_ms, int64_t *ret_ms, struct cs_err *err);

// A partition's outcomes, one after the other from number `first` on. Several may be open; close them before
// the cursor is freed.
struct cs_cursor_stream;
CS_MUST_USE bool cs_cursor_open(struct cs_cursor *c, int32_t partition, int64_t first,
                                struct cs_cursor_stream **ret, struct cs_err *err);
void cs_cursor_close(struct cs_cursor_stream *s); // takes NULL
struct cs_published_outcome {
    int64_t offset;
    struct cs_bytes key;
    struct cs_bytes value;
};
// The next number, which must be n, without waiting: *ret_ready false where it has not arrived yet. Borrowed
// until the next call.
CS_MUST_USE bool cs_cursor_next(struct cs_cursor_stream *s, int64_t n, bool *ret_ready,
                                struct cs_published_outcome *ret, struct cs_err *err);

// The number of an outcome's JSON, which begins with {"n":…; -1 where it does not.
int64_t cs_outcome_number(struct cs_bytes value);
