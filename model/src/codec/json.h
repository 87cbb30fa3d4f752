// SPDX-License-Identifier: Apache-2.0
//
// A strict pull reader for JSON (RFC 8259), internal to model/. It reads the forms of events,
// entries and outcomes. It refuses the rest of JSON: duplicate members, numbers that are not
// integers below 2^53, lone surrogates, \u0000, more than depth_max levels, bytes after the value.
// Why not Jansson: it took 32 us and 97 allocations an event. Decoding may take only a few per cent
// of verifying a signature (60 us). This reader allocates nothing.
//
// Strings are views into the text, valid as long as it. On false, the reader's cs_err has REJECT
// event.malformed, and a detail in our own words that names the member ("data.chain[1]: not
// canonical base64"). It has at most CS_READER_DETAIL_MAX bytes, with untrusted text escaped. After
// that the reader must not be used.
//
//     if (!cs_read_object(r)) return false;
//     for (;;) {
//         if (!cs_read_member(r, &name, &end)) return false;
//         if (end) break;
//         ... read exactly one value
//     }
#pragma once

#include "certsync/base/err.h"

#define CS_READER_DEPTH_MAX   16
#define CS_READER_DETAIL_MAX  160
#define CS_READER_MEMBERS_MAX 64 // of an object whose members nobody knows (cs_read_skip)
#define CS_JSON_INT_MAX       (((int64_t)1 << 53) - 1)

// The body of a string as it stands between its quotes: with escapes where escaped.
struct cs_string {
    const char *s;
    size_t len;
    bool escaped;
};

// Where the reader is: the member or item of each open object or array.
struct cs_reader_step {
    enum { CS_STEP_NONE, CS_STEP_MEMBER, CS_STEP_ITEM } kind;
    struct cs_string name;
    unsigned index;
};

struct cs_reader {
    const char *text, *at, *end;
    // Canonical texts only, as json_write.h writes them: no white space, no escape that is not
    // needed. (The order of members is for fields.h to check.)
    bool canonical;
    unsigned depth, depth_max;
    struct cs_reader_step path[CS_READER_DEPTH_MAX];
    int64_t ruleset; // in force, for fields.h; all that is known where nobody says
    uint8_t *store;  // where fields.h puts decoded bytes; the caller knows that they fit
    bool views;      // and leaves texts where they are; none has an escape
    struct cs_err *err;
};

// text and err are borrowed. Checks that text is UTF-8. depth_max is at most CS_READER_DEPTH_MAX.
CS_MUST_USE bool cs_reader_init(struct cs_reader *r, struct cs_bytes text, unsigned depth_max,
                                struct cs_err *err);
// That nothing follows the value.
CS_MUST_USE bool cs_reader_end(struct cs_reader *r);

// "<path>: <message>"; always false.
bool cs_reader_fail(struct cs_reader *r, const char *fmt, ...) CS_PRINTF(2, 3);
// The same of a member of the object that was read last.
bool cs_reader_fail_member(struct cs_reader *r, const char *member, const char *fmt, ...) CS_PRINTF(3, 4);

CS_MUST_USE bool cs_read_object(struct cs_reader *r);
CS_MUST_USE bool cs_read_member(struct cs_reader *r, struct cs_string *ret_name, bool *ret_end);
CS_MUST_USE bool cs_read_array(struct cs_reader *r, const char *what); // "must be <what>" where it is none
CS_MUST_USE bool cs_read_item(struct cs_reader *r, bool *ret_end);
CS_MUST_USE bool cs_read_string(struct cs_reader *r, const char *what, struct cs_string *ret);
CS_MUST_USE bool cs_read_int(struct cs_reader *r, int64_t min, int64_t max, int64_t *ret);
CS_MUST_USE bool cs_read_bool(struct cs_reader *r, bool *ret);
// Any one value (null too), checked as strictly as one that is read.
CS_MUST_USE bool cs_read_skip(struct cs_reader *r);

// Whether the string says text.
bool cs_string_is(struct cs_string s, const char *text, size_t len);
// The string without its escapes and with a NUL, cut to whole characters if it does not fit.
// Returns the whole length; it did fit if that is below size. The length is never above s.len.
size_t cs_string_copy(struct cs_string s, char *out, size_t size);
