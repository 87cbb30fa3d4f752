// SPDX-License-Identifier: Apache-2.0
#include "certsync/model/entry.h"

#include <string.h>

#include "certsync/base/json_write.h"
#include "certsync/base/text.h"
#include "codec/entry_fields.h"

// ---- wire names

static bool name_at(const char *const *names, size_t n, const char *s, size_t len, unsigned *ret_index) {
    for (unsigned i = 0; i < n; i++)
        if (strlen(names[i]) == len && memcmp(names[i], s, len) == 0) {
            *ret_index = i;
            return true;
        }
    return false;
}

// Of enums that count from 1.
#define DEFINE_NAMES(storage, T, name_fn, parse_fn, names)                                                   \
    storage const char *name_fn(T v) {                                                                       \
        return (unsigned)v - 1 < CS_ARRAY_LEN(names) ? names[(unsigned)v - 1] : "";                          \
    }                                                                                                        \
    storage bool parse_fn(const char *s, size_t len, T *ret) {                                               \
        unsigned i;                                                                                          \
        if (!name_at(names, CS_ARRAY_LEN(names), s, len, &i))                                                \
            return false;                                                                                    \
        *ret = (T)(i + 1);                                                                                   \
        return true;                                                                                         \
    }

static const char *const role_names[] = {"admin", "issuer", "service", "auditor", "custodian"};
DEFINE_NAMES(, enum cs_trust_role, cs_trust_role_name, cs_trust_role_parse, role_names)

static const char *const agent_state_names[] = {"enrolled", "revoked", "rotated"};
DEFINE_NAMES(static, enum cs_agent_state, agent_state_name, agent_state_parse, agent_state_names)

static const char *const share_state_names[] = {"pending", "open", "closed"};
DEFINE_NAMES(static, enum cs_share_state, share_state_name, share_state_parse, share_state_names)

static const char *const can_names[] = {"upload", "delete", "share", "csr", "read", "enroll"};

const char *cs_can_name(unsigned bit) {
    for (unsigned i = 0; i < CS_ARRAY_LEN(can_names); i++)
        if (bit == 1u << i)
            return can_names[i];
    return "";
}

bool cs_can_parse(const char *s, size_t len, unsigned *ret_bit) {
    unsigned i;
    if (!name_at(can_names, CS_ARRAY_LEN(can_names), s, len, &i))
        return false;
    *ret_bit = 1u << i;
    return true;
}

CS_DEFINE_ENUM_TYPE(, role, enum cs_trust_role, cs_trust_role_name, cs_trust_role_parse,
                    "\"admin\", \"issuer\", \"service\", \"auditor\" or \"custodian\"");
CS_DEFINE_ENUM_TYPE(static, agent_state, enum cs_agent_state, agent_state_name, agent_state_parse,
                    "a key's state");
CS_DEFINE_ENUM_TYPE(static, share_state, enum cs_share_state, share_state_name, share_state_parse,
                    "a share's state");

// ---- rights, limits, keys

static bool read_can(struct cs_reader *r, const struct cs_field *f, void *base) {
    static const char what[] = "one of \"upload\", \"delete\", \"share\", \"csr\", \"read\", \"enroll\"";
    unsigned can = 0;
    if (!cs_read_array(r, "an array of rights"))
        return false;
    for (;;) {
        struct cs_string s;
        char name[8];
        unsigned bit;
        bool end;
        if (!cs_read_item(r, &end))
            return false;
        if (end)
            break;
        if (!cs_read_string(r, what, &s))
            return false;
        size_t len = cs_string_copy(s, name, sizeof name);
        if (len >= sizeof name || !cs_can_parse(name, len, &bit))
            return cs_reader_fail(r, "must be %s", what);
        if (can & bit)
            return cs_reader_fail(r, "given twice");
        if (r->canonical && can > bit)
            return cs_reader_fail(r, "not in order");
        can |= bit;
    }
    *(unsigned *)cs_field_at(f, base) = can;
    return true;
}

static void write_can(struct cs_buf *b, const struct cs_field *f, const void *base) {
    unsigned can = *(const unsigned *)cs_field_get(f, base);
    cs_json_begin(b, '[');
    for (unsigned i = 0; i < CS_ARRAY_LEN(can_names); i++)
        if (can >> i & 1)
            cs_json_put_str(b, can_names[i]);
    cs_json_end(b, ']');
}

const struct cs_field_type cs_type_can = {read_can, write_can, NULL};

static bool read_incomplete(struct cs_reader *r, const struct cs_field *f, void *base) {
    static const char what[] = "\"note\" or \"reject\"";
    struct cs_string s;
    if (!cs_read_string(r, what, &s))
        return false;
    bool reject = cs_string_is(s, "reject", 6);
    if (!reject && !cs_string_is(s, "note", 4))
        return cs_reader_fail(r, "must be %s", what);
    *(bool *)cs_field_at(f, base) = reject;
    return true;
}

static void write_incomplete(struct cs_buf *b, const struct cs_field *f, const void *base) {
    cs_json_put_str(b, *(const bool *)cs_field_get(f, base) ? "reject" : "note");
}

const struct cs_field_type cs_type_incomplete = {read_incomplete, write_incomplete, NULL};

static bool read_spki(struct cs_reader *r, const struct cs_field *f, void *base) {
    struct cs_spki *ret = cs_field_at(f, base);
    struct cs_string s;
    uint8_t data[CS_SPKI_MAX + 3];
    if (!cs_read_string(r, "a base64 string", &s))
        return false;
    if (s.escaped || cs_base64_decoded_max(s.len) > sizeof data ||
        !cs_base64_decode(s.s, s.len, data, &ret->len))
        return cs_reader_fail(r, "not canonical base64, or too long");
    if (ret->len == 0 || ret->len > CS_SPKI_MAX)
        return cs_reader_fail(r, "must have 1 to %d bytes", CS_SPKI_MAX);
    memcpy(ret->data, data, ret->len);
    return true;
}

static void write_spki(struct cs_buf *b, const struct cs_field *f, const void *base) {
    const struct cs_spki *v = cs_field_get(f, base);
    cs_json_put_base64(b, (struct cs_bytes){v->data, v->len});
}

static const struct cs_field_type cs_type_spki = {read_spki, write_spki, NULL};

// ---- reading and writing

bool cs_entry_read(struct cs_bytes json, const struct cs_fields *fs, void *zeroed, struct cs_err *err) {
    if (cs_fields_decode(json, fs, zeroed, err))
        return true;
    err->kind = CS_ERR_FATAL;
    err->code = CS_CODE_NONE;
    return cs_err_prepend(err, "the catalog holds a document that this release cannot read");
}

static const struct cs_field system_rows[] = {
    {CS_FIELD("log", struct cs_system, log_id), .type = &cs_type_string, .form = &cs_form_log_id},
    {CS_FIELD("partitions", struct cs_system, partitions), .type = &cs_type_int, .min = 1, .max = INT32_MAX},
    {CS_FIELD("ruleset", struct cs_system, ruleset), CS_FIELD_COUNT},
};
static const struct cs_fields system_fields = {CS_FIELDS(system_rows)};
CS_DEFINE_ENTRY(system, struct cs_system)

static const struct cs_field trust_key_rows[] = {
    {CS_FIELD("role", struct cs_trust_key, role), .type = &cs_type_role},
    {CS_FIELD("key", struct cs_trust_key, key), .type = &cs_type_spki},
    {CS_FIELD("label", struct cs_trust_key, label), .type = &cs_type_string, .form = &cs_form_text,
     .optional = true},
    {CS_FIELD("added_ms", struct cs_trust_key, added_ms), CS_FIELD_ANY_TIME},
    {CS_FIELD("removed_ms", struct cs_trust_key, removed_ms), CS_FIELD_ANY_TIME, .optional = true},
};
static const struct cs_fields trust_key_fields = {CS_FIELDS(trust_key_rows)};
CS_DEFINE_ENTRY(trust_key, struct cs_trust_key)

static const struct cs_field stream_rows[] = {{CS_FIELD("seq", struct cs_stream, seq), CS_FIELD_COUNT}};
static const struct cs_fields stream_fields = {CS_FIELDS(stream_rows)};
CS_DEFINE_ENTRY(stream, struct cs_stream)

static const struct cs_field tombstones_rows[] = {
    {CS_FIELD("first", struct cs_tombstones, first), CS_FIELD_COUNT},
    {CS_FIELD("next", struct cs_tombstones, next), CS_FIELD_COUNT},
    {CS_FIELD("oldest_ms", struct cs_tombstones, oldest_ms), CS_FIELD_ANY_TIME},
};
static const struct cs_fields tombstones_fields = {CS_FIELDS(tombstones_rows)};
CS_DEFINE_ENTRY(tombstones, struct cs_tombstones)

static const struct cs_field tombstone_rows[] = {
    {CS_FIELD("key", struct cs_tombstone, key), .type = &cs_type_string, .form = &cs_form_ascii},
    {CS_FIELD("at_ms", struct cs_tombstone, at_ms), CS_FIELD_ANY_TIME},
};
static const struct cs_fields tombstone_fields = {CS_FIELDS(tombstone_rows)};
CS_DEFINE_ENTRY(tombstone, struct cs_tombstone)

static const struct cs_field limits_rows[] = {
    {CS_FIELD("certificates", struct cs_account, limit_certificates), CS_FIELD_COUNT},
    {CS_FIELD("shares", struct cs_account, limit_shares), CS_FIELD_COUNT},
#define X(name, at_first, most, text) {CS_FIELD(#name, struct cs_account, limit_##name), CS_FIELD_COUNT},
    CS_ACCOUNT_COUNTS(X)
#undef X
        {CS_FIELD("incomplete_chain", struct cs_account, reject_incomplete_chain),
         .type = &cs_type_incomplete},
};
static const struct cs_fields limits_fields = {CS_FIELDS(limits_rows)};
static const struct cs_field account_rows[] = {
    {CS_FIELD("site", struct cs_account, site), .type = &cs_type_site},
    {CS_FIELD("owner", struct cs_account, owner), .type = &cs_type_string, .form = &cs_form_owner},
    {CS_FIELD("verified", struct cs_account, verified), .type = &cs_type_bool},
    {CS_FIELD_NAMED("limits"), .type = &cs_type_object, .fields = &limits_fields},
    {CS_FIELD("policy", struct cs_account, policy), .type = &cs_type_object, .fields = &cs_policy_fields,
     .optional = true},
    {CS_FIELD("certificates", struct cs_account, certificates), CS_FIELD_COUNT},
#define X(name, at_first, most, text) {CS_FIELD(#name, struct cs_account, name), CS_FIELD_COUNT},
    CS_ACCOUNT_COUNTS(X)
#undef X
        {CS_FIELD("created_ms", struct cs_account, created_ms), CS_FIELD_ANY_TIME},
    {CS_FIELD("updated_ms", struct cs_account, updated_ms), CS_FIELD_ANY_TIME},
};
static const struct cs_fields account_fields = {CS_FIELDS(account_rows)};
CS_DEFINE_ENTRY(account, struct cs_account)

static const struct cs_field grant_rows[] = {
    {CS_FIELD("can", struct cs_agent, grant_can), .type = &cs_type_can},
    {CS_FIELD("names", struct cs_agent, grant_names), .type = &cs_type_string, .form = &cs_form_pattern},
    {CS_FIELD("dns", struct cs_agent, grant_dns), .type = &cs_type_lines, .form = &cs_form_dns,
     .optional = true},
};
static const struct cs_fields grant_fields = {CS_FIELDS(grant_rows)};

static const struct cs_field agent_rows[] = {
    {CS_FIELD("state", struct cs_agent, state), .type = &cs_type_agent_state},
    {CS_FIELD("key", struct cs_agent, key), .type = &cs_type_spki},
    {CS_FIELD("can", struct cs_agent, can), .type = &cs_type_can},
    {CS_FIELD("names", struct cs_agent, names), .type = &cs_type_string, .form = &cs_form_pattern},
    {CS_FIELD("dns", struct cs_agent, dns), .type = &cs_type_lines, .form = &cs_form_dns, .optional = true},
    {CS_FIELD("label", struct cs_agent, label), .type = &cs_type_string, .form = &cs_form_text,
     .optional = true},
    {CS_FIELD("uses_left", struct cs_agent, uses_left), CS_FIELD_COUNT, .none = -1, .optional = true},
    {CS_FIELD("expires_s", struct cs_agent, expires_s), CS_FIELD_ANY_TIME, .optional = true},
    {CS_FIELD_NAMED("grant"), .type = &cs_type_object, .fields = &grant_fields, .optional = true,
     .has = offsetof(struct cs_agent, has_grant) + 1},
    {CS_FIELD("enrolled_by", struct cs_agent, enrolled_by), .type = &cs_type_string, .form = &cs_form_kid},
    {CS_FIELD("enrolled_keys", struct cs_agent, enrolled_keys), CS_FIELD_COUNT, .optional = true},
    {CS_FIELD("rotated_to", struct cs_agent, rotated_to), .type = &cs_type_string, .form = &cs_form_kid,
     .optional = true},
    {CS_FIELD("first", struct cs_agent, first), .type = &cs_type_string, .form = &cs_form_kid,
     .optional = true},
    {CS_FIELD("latest", struct cs_agent, latest), .type = &cs_type_string, .form = &cs_form_kid,
     .optional = true},
    {CS_FIELD("enrolled_ms", struct cs_agent, enrolled_ms), CS_FIELD_ANY_TIME},
    {CS_FIELD("ended_ms", struct cs_agent, ended_ms), CS_FIELD_ANY_TIME, .optional = true},
};
static const struct cs_fields agent_fields = {CS_FIELDS(agent_rows)};

void cs_agent_encode(struct cs_buf *b, const struct cs_agent *v) {
    cs_fields_write(b, &agent_fields, v);
}

bool cs_agent_decode(struct cs_bytes json, struct cs_agent *ret, struct cs_err *err) {
    struct cs_agent v = {.uses_left = -1};
    if (!cs_entry_read(json, &agent_fields, &v, err))
        return false;
    *ret = v;
    return true;
}

static const struct cs_field share_rows[] = {
    {CS_FIELD("id", struct cs_share, id), .type = &cs_type_string, .form = &cs_form_uuid},
    {CS_FIELD("certificate", struct cs_share, certificate), .type = &cs_type_string, .form = &cs_form_uuid},
    {CS_FIELD("to", struct cs_share, to), .type = &cs_type_string, .form = &cs_form_account},
    {CS_FIELD("state", struct cs_share, state), .type = &cs_type_share_state},
    {CS_FIELD("version", struct cs_share, version), CS_FIELD_COUNT},
    {CS_FIELD("accepted", struct cs_share, accepted), CS_FIELD_COUNT, .optional = true},
    {CS_FIELD("code", struct cs_share, code), .type = &cs_type_code, .optional = true},
    {CS_FIELD("created_ms", struct cs_share, created_ms), CS_FIELD_ANY_TIME},
    {CS_FIELD("updated_ms", struct cs_share, updated_ms), CS_FIELD_ANY_TIME},
};
static const struct cs_fields share_fields = {CS_FIELDS(share_rows)};
CS_DEFINE_ENTRY(share, struct cs_share)

static const struct cs_field share_in_rows[] = {
    {CS_FIELD("id", struct cs_share_in, id), .type = &cs_type_string, .form = &cs_form_uuid},
    {CS_FIELD("owner_account", struct cs_share_in, owner_account), .type = &cs_type_string,
     .form = &cs_form_account},
    {CS_FIELD("certificate", struct cs_share_in, certificate), .type = &cs_type_string,
     .form = &cs_form_uuid},
    {CS_FIELD("open", struct cs_share_in, open), .type = &cs_type_bool},
    {CS_FIELD("code", struct cs_share_in, code), .type = &cs_type_code, .optional = true},
    {CS_FIELD("updated_ms", struct cs_share_in, updated_ms), CS_FIELD_ANY_TIME},
};
static const struct cs_fields share_in_fields = {CS_FIELDS(share_in_rows)};
CS_DEFINE_ENTRY(share_in, struct cs_share_in)

#define NO_EDGE "must be the edge of that many outcomes in base64"

// The hashes of the edge, one after the other. How many there are follows from the number of
// outcomes, which was read before.
static bool read_edge(struct cs_reader *r, const struct cs_field *f, void *base) {
    struct cs_position *p = base;
    size_t want = cs_merkle_edge_len(p->outcomes) * sizeof p->edge.roots[0];
    uint8_t bytes[sizeof p->edge.roots + 2]; // base64 is decoded by threes
    struct cs_string s;
    size_t len = 0;
    (void)f;
    if (!cs_read_string(r, "a base64 string", &s))
        return false;
    if (want == 0 && s.len > 0) { // the number is missing, or zero: position_check
        p->edge.roots[0].sha256[0] = 1;
        return true;
    }
    if (s.escaped || s.len != cs_base64_encoded_len(want) || !cs_base64_decode(s.s, s.len, bytes, &len) ||
        len != want)
        return cs_reader_fail(r, NO_EDGE);
    memcpy(p->edge.roots, bytes, want);
    return true;
}

static void write_edge(struct cs_buf *b, const struct cs_field *f, const void *base) {
    const struct cs_position *p = base;
    (void)f;
    cs_json_put_base64(b, (struct cs_bytes){p->edge.roots[0].sha256,
                                            cs_merkle_edge_len(p->outcomes) * sizeof p->edge.roots[0]});
}
static const struct cs_field_type type_edge = {read_edge, write_edge, NULL};

static const struct cs_field position_rows[] = {
    {CS_FIELD("next_offset", struct cs_position, next_offset), CS_FIELD_COUNT},
    {CS_FIELD("record_sha256", struct cs_position, record_sha256), .type = &cs_type_hash},
    {CS_FIELD("outcomes", struct cs_position, outcomes), CS_FIELD_COUNT},
    {CS_FIELD("chain_sha256", struct cs_position, chain_sha256), .type = &cs_type_hash},
    {CS_FIELD("derived", struct cs_position, derived), CS_FIELD_COUNT},
    {CS_FIELD("edge", struct cs_position, edge), .type = &type_edge},
    {CS_FIELD("epoch", struct cs_position, epoch), CS_FIELD_COUNT, .optional = true},
};
static bool position_check(struct cs_reader *r, const void *base, uint32_t seen) {
    const struct cs_position *p = base;
    (void)seen;
    return p->outcomes > 0 || !p->edge.roots[0].sha256[0] || cs_reader_fail_member(r, "edge", NO_EDGE);
}
static const struct cs_fields position_fields = {CS_FIELDS(position_rows), .check = position_check};
CS_DEFINE_ENTRY(position, struct cs_position)

bool cs_position_equal(const struct cs_position *a, const struct cs_position *b) {
    return a->next_offset == b->next_offset && a->outcomes == b->outcomes && a->derived == b->derived &&
           a->epoch == b->epoch && memcmp(a->record_sha256, b->record_sha256, sizeof a->record_sha256) == 0 &&
           memcmp(a->chain_sha256, b->chain_sha256, sizeof a->chain_sha256) == 0 &&
           memcmp(a->edge.roots, b->edge.roots, cs_merkle_edge_len(a->outcomes) * sizeof a->edge.roots[0]) ==
               0;
}
