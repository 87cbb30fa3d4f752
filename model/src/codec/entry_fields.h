// SPDX-License-Identifier: Apache-2.0
//
// Tables and member types that entries, events and outcomes share (fields.h), internal to model/.
#pragma once

#include <string.h>

#include "certsync/model/entry.h"
#include "codec/fields.h"

extern const struct cs_field_type cs_type_role;       // enum cs_trust_role
extern const struct cs_field_type cs_type_can;        // unsigned, CS_CAN_ bits, as an array of names
extern const struct cs_field_type cs_type_incomplete; // bool: "note" or "reject"
extern const struct cs_field_type cs_type_tags;       // struct cs_tag_list
extern const struct cs_field_type cs_type_notes;      // uint32_t, CS_NOTE bits, as an array of codes
extern const struct cs_field_type cs_type_keys;       // struct cs_policy_keys, as an array of names
extern const struct cs_field_type cs_type_wildcards;  // bool: "allow" or "reject"
extern const struct cs_fields cs_policy_fields;       // struct cs_policy
extern const struct cs_fields cs_summary_fields;      // struct cs_cert_summary

#define CS_PLACE_FORM                                                                                        \
    "an absolute path of at most 255 bytes without control characters, or \"sha256:\" and 32 hex digits"

// A time: broker timestamps and validities, which may lie before 1970.
#define CS_FIELD_ANY_TIME .type = &cs_type_int, .min = -CS_JSON_INT_MAX, .max = CS_JSON_INT_MAX
#define CS_FIELD_COUNT    .type = &cs_type_int, .min = 0, .max = CS_JSON_INT_MAX

// Reads a catalog's document into *zeroed; FATAL where it is not one. What was allocated is in
// *zeroed also on failure.
CS_MUST_USE bool cs_entry_read(struct cs_bytes json, const struct cs_fields *fs, void *zeroed,
                               struct cs_err *err);

// The two functions of an entry that owns nothing, by the table <tag>_fields.
#define CS_DEFINE_ENTRY(tag, T)                                                                              \
    void cs_##tag##_encode(struct cs_buf *b, const T *v) {                                                   \
        cs_fields_write(b, &tag##_fields, v);                                                                \
    }                                                                                                        \
    bool cs_##tag##_decode(struct cs_bytes json, T *ret, struct cs_err *err) {                               \
        T v;                                                                                                 \
        memset(&v, 0, sizeof v);                                                                             \
        if (!cs_entry_read(json, &tag##_fields, &v, err))                                                    \
            return false;                                                                                    \
        *ret = v;                                                                                            \
        return true;                                                                                         \
    }
