// SPDX-License-Identifier: Apache-2.0
//
// What the decoder says of an event, asserted. Include cmocka.h before.
#pragma once

#include <stdlib.h>
#include <string.h>

#include "certsync/model/codes.h"
#include "certsync/model/event.h"

// Decodes from a block of exactly the text's length, so that a sanitizer sees a read behind it.
static inline struct cs_event *decode_bytes(const char *text, size_t len, struct cs_err *err) {
    uint8_t *exact = malloc(len + (len == 0));
    assert_non_null(exact);
    memcpy(exact, text, len);
    struct cs_event *ev = NULL;
    memset(err, 0, sizeof *err);
    bool ok = cs_event_decode((struct cs_bytes){exact, len}, &ev, err);
    free(exact);
    assert_int_equal(ok, ev != NULL);
    return ev;
}

static inline struct cs_event *decode(const char *text) {
    struct cs_err err;
    struct cs_event *ev = decode_bytes(text, strlen(text), &err);
    if (!ev)
        fail_msg("%s: %s", text, err.msg);
    return ev;
}

// detail NULL: is accepted. Frees text.
static inline void expect(char *text, enum cs_code code, const char *detail) {
    struct cs_err err;
    struct cs_event *ev = decode_bytes(text, strlen(text), &err);
    cs_event_free(ev);
    if (detail == NULL && ev == NULL)
        fail_msg("refused (%s): %.400s", err.msg, text);
    if (detail != NULL) {
        if (ev != NULL)
            fail_msg("accepted, not \"%s\": %.400s", detail, text);
        if (strcmp(err.msg, detail) != 0)
            fail_msg("\"%s\", not \"%s\": %.400s", err.msg, detail, text);
        assert_int_equal(err.code, code);
        assert_int_equal(err.kind, CS_ERR_REJECT);
        assert_true(strlen(err.msg) <= CS_DETAIL_MAX);
    }
    free(text);
}

static inline void expect_malformed(char *text, const char *detail) {
    expect(text, CS_CODE_EVENT_MALFORMED, detail);
}
