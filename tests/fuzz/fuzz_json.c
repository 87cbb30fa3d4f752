// SPDX-License-Identifier: Apache-2.0
//
// The JSON reader: reading a text as it stands and only checking it must agree, strings must fit where the
// header says that they fit, and details must be fit to be shown.
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "codec/json.h"
#include "fuzz.h"

static void require(bool holds) {
    if (!holds)
        abort();
}

static bool read_value(struct cs_reader *r);

static bool read_text(struct cs_reader *r) {
    struct cs_string s;
    if (!cs_read_string(r, "a string", &s))
        return false;
    char *whole = malloc(s.len + 1);
    require(whole != NULL);
    size_t len = cs_string_copy(s, whole, s.len + 1);
    require(len <= s.len && strlen(whole) == len && cs_utf8_valid((const uint8_t *)whole, len));
    require(cs_string_is(s, whole, len) && !cs_string_is(s, whole, len + 1));
    char cut[5];
    require(cs_string_copy(s, cut, sizeof cut) == len && strncmp(cut, whole, strlen(cut)) == 0);
    require(cs_utf8_valid((const uint8_t *)cut, strlen(cut)));
    free(whole);
    return true;
}

static bool read_members(struct cs_reader *r) {
    if (!cs_read_object(r))
        return false;
    for (;;) {
        struct cs_string name;
        bool end;
        if (!cs_read_member(r, &name, &end))
            return false;
        if (end)
            return true;
        if (!read_value(r))
            return false;
    }
}

static bool read_items(struct cs_reader *r) {
    if (!cs_read_array(r, "an array"))
        return false;
    for (;;) {
        bool end;
        if (!cs_read_item(r, &end))
            return false;
        if (end)
            return true;
        if (!read_value(r))
            return false;
    }
}

static bool read_value(struct cs_reader *r) {
    const char *p = r->at;
    while (p < r->end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
        p++;
    int64_t number;
    bool truth;
    switch (p < r->end ? *p : '\0') {
    case '{':
        return read_members(r);
    case '[':
        return read_items(r);
    case '"':
        return read_text(r);
    case 't':
    case 'f':
        return cs_read_bool(r, &truth);
    case 'n':
        return cs_read_skip(r);
    default:
        return cs_read_int(r, -CS_JSON_INT_MAX, CS_JSON_INT_MAX, &number);
    }
}

static void check_detail(const struct cs_err *err) {
    size_t len = strlen(err->msg);
    require(err->kind == CS_ERR_REJECT && len > 0 && len <= CS_READER_DETAIL_MAX);
    require(cs_utf8_valid((const uint8_t *)err->msg, len));
    for (size_t i = 0; i < len; i++)
        require((unsigned char)err->msg[i] >= 0x20 && err->msg[i] != 0x7F);
}

static bool run(struct cs_bytes text, bool canonical, bool (*value)(struct cs_reader *r)) {
    struct cs_reader r;
    struct cs_err err;
    bool ok = cs_reader_init(&r, text, 8, &err);
    r.canonical = canonical;
    ok = ok && value(&r) && cs_reader_end(&r);
    if (!ok)
        check_detail(&err);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    struct cs_bytes text = {data, len};
    bool skipped = run(text, false, cs_read_skip);
    // What is skipped is judged for doubles as well; what is read is so by fields.h.
    require(!skipped || run(text, false, read_value));
    require(!run(text, true, cs_read_skip) || skipped);
    return 0;
}
