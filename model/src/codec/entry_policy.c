// SPDX-License-Identifier: Apache-2.0
//
// Policies, as events and documents have them.
#include <string.h>

#include "codec/entry_fields.h"

static bool read_keys(struct cs_reader *r, const struct cs_field *f, void *base) {
    static const char what[] =
        "\"RSA-<2048 to 8192>\", \"P-256\", \"P-384\", \"P-521\", \"Ed25519\" or \"SM2\"";
    struct cs_policy_keys keys = {0};
    if (!cs_read_array(r, "an array of types of keys"))
        return false;
    for (;;) {
        struct cs_string s;
        char name[CS_POLICY_KEY_SIZE];
        bool end;
        if (!cs_read_item(r, &end))
            return false;
        if (end)
            break;
        if (!cs_read_string(r, what, &s))
            return false;
        unsigned before = keys.types;
        size_t len = cs_string_copy(s, name, sizeof name);
        if (len >= sizeof name || !cs_policy_keys_add(&keys, name, len))
            return cs_reader_fail(r, "must be %s, each type once", what);
        if (r->canonical && before > (keys.types & ~before))
            return cs_reader_fail(r, "not in order");
    }
    *(struct cs_policy_keys *)cs_field_at(f, base) = keys;
    return true;
}

static void write_keys(struct cs_buf *b, const struct cs_field *f, const void *base) {
    const struct cs_policy_keys *keys = cs_field_get(f, base);
    cs_json_begin(b, '[');
    for (int t = CS_KEY_RSA; t <= CS_KEY_SM2; t++) {
        char text[CS_POLICY_KEY_SIZE];
        if (!(keys->types >> t & 1))
            continue;
        cs_policy_key_text(keys, (enum cs_key_type)t, text);
        cs_json_put_str(b, text);
    }
    cs_json_end(b, ']');
}

static bool absent_keys(const struct cs_field *f, const void *base) {
    return ((const struct cs_policy_keys *)cs_field_get(f, base))->types == 0;
}

const struct cs_field_type cs_type_keys = {read_keys, write_keys, absent_keys};

static bool read_wildcards(struct cs_reader *r, const struct cs_field *f, void *base) {
    static const char what[] = "\"allow\" or \"reject\"";
    struct cs_string s;
    if (!cs_read_string(r, what, &s))
        return false;
    bool reject = cs_string_is(s, "reject", 6);
    if (!reject && !cs_string_is(s, "allow", 5))
        return cs_reader_fail(r, "must be %s", what);
    *(bool *)cs_field_at(f, base) = reject;
    return true;
}

static void write_wildcards(struct cs_buf *b, const struct cs_field *f, const void *base) {
    cs_json_put_str(b, *(const bool *)cs_field_get(f, base) ? "reject" : "allow");
}

static bool absent_wildcards(const struct cs_field *f, const void *base) {
    return !*(const bool *)cs_field_get(f, base);
}

const struct cs_field_type cs_type_wildcards = {read_wildcards, write_wildcards, absent_wildcards};

static const struct cs_field rows[] = {
    {CS_FIELD("keys", struct cs_policy, keys), .type = &cs_type_keys, .optional = true},
    {CS_FIELD("days", struct cs_policy, days), .type = &cs_type_int, .max = CS_POLICY_DAYS_MAX,
     .optional = true},
    {CS_FIELD("issuers", struct cs_policy, issuers), .type = &cs_type_lines, .form = &cs_form_issuer,
     .optional = true},
    {CS_FIELD("dns", struct cs_policy, dns), .type = &cs_type_lines, .form = &cs_form_dns, .optional = true},
    {CS_FIELD("wildcards", struct cs_policy, no_wildcards), .type = &cs_type_wildcards, .optional = true},
};
static bool absent(const void *base) {
    return cs_policy_is_empty(base);
}
const struct cs_fields cs_policy_fields = {CS_FIELDS(rows), .absent = absent};

bool cs_policy_decode(struct cs_bytes json, struct cs_policy *ret, struct cs_err *err) {
    struct cs_policy p;
    struct cs_reader r;
    memset(&p, 0, sizeof p);
    if (!cs_reader_init(&r, json, CS_READER_DEPTH_MAX, err) || !cs_fields_read(&r, &cs_policy_fields, &p) ||
        !cs_reader_end(&r))
        return false;
    *ret = p;
    return true;
}

void cs_policy_encode(struct cs_buf *b, const struct cs_policy *p) {
    cs_fields_write(b, &cs_policy_fields, p);
}
