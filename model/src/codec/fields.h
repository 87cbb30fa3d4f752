// SPDX-License-Identifier: Apache-2.0
//
// Tables that say how members of JSON objects and members of structs belong together, internal to
// model/. One table drives reading, writing and the details of what is refused:
//
//     static const struct cs_field rows[] = {
//         {CS_FIELD("seq", struct cs_stream, seq), .type = &cs_type_int, .max = CS_JSON_INT_MAX},
//     };
//     static const struct cs_fields fields = {rows, CS_ARRAY_LEN(rows)};
//
// Members are written in the table's order. They are read in any order, each at most once. A
// canonical text (json.h) must have the table's order, and must leave out an optional member with
// its default. Zero the struct before reading. After a failed read it holds what was allocated, for
// its _clear.
#pragma once

#include "certsync/base/json_write.h"
#include "certsync/model/ident.h"
#include "codec/json.h"

struct cs_field;

struct cs_field_type {
    bool (*read)(struct cs_reader *r, const struct cs_field *f, void *base);
    void (*write)(struct cs_buf *b, const struct cs_field *f, const void *base);
    // the value of an optional member that is left out
    bool (*absent)(const struct cs_field *f, const void *base);
};

// What a string may hold.
struct cs_form {
    bool (*valid)(const char *s, size_t len);
    const char *what; // "must be <what>"
};

struct cs_fields {
    const struct cs_field *rows; // at most 32
    size_t n;
    // Both may be NULL. check: what no row can say alone; seen has a bit for each row. absent: for
    // an optional object.
    bool (*check)(struct cs_reader *r, const void *base, uint32_t seen);
    bool (*absent)(const void *base);
};

struct cs_field {
    const char *name;
    const char *token; // ,"name":
    uint16_t name_len;
    uint16_t at;     // offset in the struct
    uint16_t size;   // of the member
    uint16_t len_at; // lists: offset of the size_t that counts
    // 1 + offset of the bool that says whether an optional member is there; 0: there is none,
    // compare with the default
    uint16_t has;
    bool optional;
    // the ruleset that brings the member: before that it is unknown; 0: always there
    uint8_t since;
    const struct cs_field_type *type;
    int64_t min, max;               // integers; lists: numbers of items
    int64_t none;                   // integers: the default
    const struct cs_form *form;     // strings
    const struct cs_fields *fields; // objects and lists of objects
    uint16_t item_size;             // lists of objects
};

#define CS_FIELD_NAMED(json) .name = json, .token = ",\"" json "\":", .name_len = sizeof(json) - 1
#define CS_FIELD(json, T, member)                                                                            \
    CS_FIELD_NAMED(json), .at = offsetof(T, member), .size = sizeof(((T *)0)->member)
// A member that is a pointer.
#define CS_FIELD_POINTER(json, T, member) CS_FIELD_NAMED(json), .at = offsetof(T, member)
#define CS_FIELDS(array)                  .rows = (array), .n = CS_ARRAY_LEN(array)

CS_MUST_USE bool cs_fields_read(struct cs_reader *r, const struct cs_fields *fs, void *base);
void cs_fields_write(struct cs_buf *b, const struct cs_fields *fs, const void *base);
// Only the rows whose bits are in which.
void cs_fields_write_some(struct cs_buf *b, const struct cs_fields *fs, const void *base, uint32_t which);
// The whole text is one canonical object; err is what the reader says of it.
CS_MUST_USE bool cs_fields_decode(struct cs_bytes text, const struct cs_fields *fs, void *base,
                                  struct cs_err *err);

extern const struct cs_form cs_form_uuid, cs_form_kid, cs_form_account, cs_form_deployment, cs_form_nonce,
    cs_form_log_id, cs_form_owner, cs_form_pattern, cs_form_dns, cs_form_issuer;
// at most CS_NAME_MAX printable ASCII characters, also none: the rules look closer
extern const struct cs_form cs_form_name;
extern const struct cs_form cs_form_ascii; // printable ASCII
extern const struct cs_form cs_form_text;  // UTF-8 without control characters

extern const struct cs_field_type cs_type_string; // char [size], form
// char [size]: an array of strings of this form, none twice, at least min; one a line. No form lets a line
// feed pass
extern const struct cs_field_type cs_type_lines;
extern const struct cs_field_type cs_type_int;       // int32_t or int64_t (or int, size_t), min .. max
extern const struct cs_field_type cs_type_sequence;  // int64_t as cs_sequence_format writes it; absent: 0
extern const struct cs_field_type cs_type_bool;      // bool
extern const struct cs_field_type cs_type_time;      // int64_t seconds as RFC 3339 text
extern const struct cs_field_type cs_type_hash;      // uint8_t [size] as hex
extern const struct cs_field_type cs_type_heap;      // char *, any text
extern const struct cs_field_type cs_type_heaps;     // char **, len_at, at most max
extern const struct cs_field_type cs_type_bytes;     // struct cs_bytes, owned, as base64
extern const struct cs_field_type cs_type_object;    // a struct at .at by .fields
extern const struct cs_field_type cs_type_list;      // array of structs in place, len_at, min .. max
extern const struct cs_field_type cs_type_heap_list; // pointer to structs, owned, len_at, min .. max
extern const struct cs_field_type cs_type_algorithm, cs_type_site, cs_type_source, cs_type_code;

static inline void *cs_field_at(const struct cs_field *f, void *base) {
    return (char *)base + f->at;
}
static inline const void *cs_field_get(const struct cs_field *f, const void *base) {
    return (const char *)base + f->at;
}
static inline size_t *cs_field_len(const struct cs_field *f, void *base) {
    return (size_t *)(void *)((char *)base + f->len_at);
}
static inline size_t cs_field_count(const struct cs_field *f, const void *base) {
    return *(const size_t *)(const void *)((const char *)base + f->len_at);
}

// The type of an enum with its _name and _parse functions; what: "must be <what>".
#define CS_DEFINE_ENUM_TYPE(storage, ident, T, name_fn, parse_fn, what)                                      \
    static bool read_##ident(struct cs_reader *r, const struct cs_field *f, void *base) {                    \
        struct cs_string s;                                                                                  \
        char text[40];                                                                                       \
        if (!cs_read_string(r, what, &s))                                                                    \
            return false;                                                                                    \
        size_t len = cs_string_copy(s, text, sizeof text);                                                   \
        if (len >= sizeof text || !parse_fn(text, len, (T *)cs_field_at(f, base)))                           \
            return cs_reader_fail(r, "must be %s", what);                                                    \
        return true;                                                                                         \
    }                                                                                                        \
    static void write_##ident(struct cs_buf *b, const struct cs_field *f, const void *base) {                \
        cs_json_put_str(b, name_fn(*(const T *)cs_field_get(f, base)));                                      \
    }                                                                                                        \
    static bool absent_##ident(const struct cs_field *f, const void *base) {                                 \
        return (int)*(const T *)cs_field_get(f, base) == 0;                                                  \
    }                                                                                                        \
    storage const struct cs_field_type cs_type_##ident = {read_##ident, write_##ident, absent_##ident}
