// SPDX-License-Identifier: Apache-2.0
//
// Chains and sealed keys, and the issuers that chains have in common.
#include <string.h>

#include "certsync/base/json_write.h"
#include "certsync/base/text.h"
#include "certsync/model/entry.h"
#include "codec/entry_fields.h"

// Base64 as it came: a view. It needs no escape.
static bool read_text(struct cs_reader *r, const struct cs_field *f, void *base) {
    struct cs_string s;
    if (!cs_read_string(r, "a base64 string", &s))
        return false;
    if (s.escaped || s.len == 0)
        return cs_reader_fail(r, "must be a base64 string");
    *(struct cs_bytes *)cs_field_at(f, base) = (struct cs_bytes){(const uint8_t *)s.s, s.len};
    return true;
}

static void write_text(struct cs_buf *b, const struct cs_field *f, const void *base) {
    const struct cs_bytes *text = cs_field_get(f, base);
    cs_json_put_raw(b, (struct cs_bytes){(const uint8_t *)"\"", 1});
    cs_buf_put(b, text->data, text->len);
    cs_buf_putc(b, '"');
}

static const struct cs_field_type type_text = {read_text, write_text, NULL};

static bool read_issuers(struct cs_reader *r, const struct cs_field *f, void *base) {
    struct cs_material_part *part = base;
    (void)f;
    if (!cs_read_array(r, "an array of hashes"))
        return false;
    for (;;) {
        struct cs_string s;
        uint8_t hash[32];
        bool end;
        if (!cs_read_item(r, &end))
            return false;
        if (end)
            return true;
        if (part->issuers_len == CS_ARRAY_LEN(part->issuers))
            return cs_reader_fail(r, "too many");
        if (!cs_read_string(r, "a hash in lower-case hex", &s))
            return false;
        if (s.escaped || s.len != 2 * sizeof hash || !cs_hex_decode(s.s, s.len, hash))
            return cs_reader_fail(r, "must be a hash in lower-case hex");
        memcpy(part->issuers[part->issuers_len++], s.s, s.len);
    }
}

static void write_issuers(struct cs_buf *b, const struct cs_field *f, const void *base) {
    const struct cs_material_part *part = base;
    (void)f;
    cs_json_begin(b, '[');
    for (size_t i = 0; i < part->issuers_len; i++)
        cs_json_put_strn(b, part->issuers[i], sizeof part->issuers[i] - 1);
    cs_json_end(b, ']');
}

static const struct cs_field_type type_issuers = {read_issuers, write_issuers, NULL};

// ---- material

static const struct cs_field part_rows[] = {
    {CS_FIELD("leaf", struct cs_material_part, leaf), .type = &type_text},
    {CS_FIELD("issuers", struct cs_material_part, issuers), .type = &type_issuers},
    {CS_FIELD("key", struct cs_material_part, key), .type = &type_text},
    {CS_FIELD("key_subject", struct cs_material_part, key_subject), .type = &cs_type_string,
     .form = &cs_form_uuid},
    {CS_FIELD("role", struct cs_material_part, role), .type = &cs_type_string, .form = &cs_form_ascii},
};
static const struct cs_fields part_fields = {CS_FIELDS(part_rows)};

static const struct cs_field material_rows[] = {
    {CS_FIELD("parts", struct cs_material, part), .type = &cs_type_list, .fields = &part_fields,
     .item_size = sizeof(struct cs_material_part), .min = 1, .max = 2,
     .len_at = offsetof(struct cs_material, len)},
};
static const struct cs_fields material_fields = {CS_FIELDS(material_rows)};
CS_DEFINE_ENTRY(material, struct cs_material)

// ---- issuer

static const struct cs_field issuer_rows[] = {
    {CS_FIELD("used", struct cs_issuer, used), .type = &cs_type_int, .min = 1, .max = CS_JSON_INT_MAX},
    {CS_FIELD("certificate", struct cs_issuer, der), .type = &type_text},
};
static const struct cs_fields issuer_fields = {CS_FIELDS(issuer_rows)};
CS_DEFINE_ENTRY(issuer, struct cs_issuer)
