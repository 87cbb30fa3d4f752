// SPDX-License-Identifier: Apache-2.0
#include "codec/event_data.h"

#include <string.h>

#include "certsync/base/json_write.h"
#include "certsync/base/text.h"
#include "certsync/model/cert.h"
#include "codec/entry_fields.h"

#define POSITIVE  .type = &cs_type_int, .min = 1, .max = CS_JSON_INT_MAX
#define STRING(f) .type = &cs_type_string, .form = &(f)

// ---- base64 and chains

// Copies the text into the event's storage, unless it stays in the value.
static const char *store_text(struct cs_reader *r, struct cs_string s, size_t *ret_len) {
    char *text = (char *)r->store;
    *ret_len = s.len;
    if (r->views)
        return s.s;
    // A copy with its NUL would need one byte more than the storage has.
    if (s.escaped)
        *ret_len = cs_string_copy(s, text, s.len + 1);
    else
        memcpy(text, s.s, s.len);
    r->store += *ret_len;
    return text;
}

static bool read_encoded_value(struct cs_reader *r, struct cs_encoded *ret) {
    struct cs_string s;
    if (!cs_read_string(r, "a base64 string", &s))
        return false;
    size_t len = 0;
    const char *text = store_text(r, s, &len);
    uint8_t *data = r->store;
    size_t data_len;
    if (len == 0)
        return cs_reader_fail(r, "empty");
    if (!cs_base64_decode(text, len, data, &data_len))
        return cs_reader_fail(r, "not canonical base64");
    r->store = data + data_len;
    *ret = (struct cs_encoded){{data, data_len}, {(const uint8_t *)text, len}};
    return true;
}

static bool read_encoded(struct cs_reader *r, const struct cs_field *f, void *base) {
    return read_encoded_value(r, cs_field_at(f, base));
}

static void write_encoded(struct cs_buf *b, const struct cs_field *f, const void *base) {
    cs_json_put_base64(b, ((const struct cs_encoded *)cs_field_get(f, base))->bytes);
}

static bool absent_encoded(const struct cs_field *f, const void *base) {
    return ((const struct cs_encoded *)cs_field_get(f, base))->bytes.len == 0;
}

static const struct cs_field_type type_encoded = {read_encoded, write_encoded, absent_encoded};

static bool read_chain(struct cs_reader *r, const struct cs_field *f, void *base) {
    struct cs_keyed_chain *part = cs_field_at(f, base);
    size_t n = 0;
    if (!cs_read_array(r, "an array of base64 strings"))
        return false;
    for (;;) {
        bool end;
        if (!cs_read_item(r, &end))
            return false;
        if (end)
            break;
        struct cs_encoded beyond; // counted, so that the verdict can be cert.too_many
        if (!read_encoded_value(r, n < CS_CHAIN_MAX ? &part->chain[n] : &beyond))
            return false;
        n++;
    }
    part->chain_len = n;
    return n > 0 || cs_reader_fail(r, "empty");
}

static void write_chain(struct cs_buf *b, const struct cs_field *f, const void *base) {
    const struct cs_keyed_chain *part = cs_field_get(f, base);
    cs_json_begin(b, '[');
    for (size_t i = 0; i < part->chain_len; i++)
        cs_json_put_base64(b, part->chain[i].bytes);
    cs_json_end(b, ']');
}

static bool absent_chain(const struct cs_field *f, const void *base) {
    return ((const struct cs_keyed_chain *)cs_field_get(f, base))->chain_len == 0;
}

static const struct cs_field_type type_chain = {read_chain, write_chain, absent_chain};

// ---- system, trust

static const struct cs_field genesis_rows[] = {
    {CS_FIELD("deployment", struct cs_event, data.genesis.deployment), STRING(cs_form_deployment)},
    {CS_FIELD("nonce", struct cs_event, data.genesis.nonce), STRING(cs_form_nonce)},
    {CS_FIELD("partitions", struct cs_event, data.genesis.partitions), .type = &cs_type_int, .min = 1,
     .max = 100000},
    {CS_FIELD("ruleset", struct cs_event, data.genesis.ruleset), POSITIVE},
};
static const struct cs_fields genesis_data = {CS_FIELDS(genesis_rows)};

static const struct cs_field ruleset_rows[] = {
    {CS_FIELD("ruleset", struct cs_event, data.ruleset.ruleset), POSITIVE},
};
static const struct cs_fields ruleset_data = {CS_FIELDS(ruleset_rows)};

static const struct cs_field trust_add_rows[] = {
    {CS_FIELD("role", struct cs_event, data.trust.role), .type = &cs_type_role},
    {CS_FIELD("key", struct cs_event, data.trust.key), .type = &type_encoded},
    {CS_FIELD("label", struct cs_event, data.trust.label), STRING(cs_form_text), .optional = true},
};
static const struct cs_fields trust_add_data = {CS_FIELDS(trust_add_rows)};

static const struct cs_field trust_remove_rows[] = {
    {CS_FIELD("role", struct cs_event, data.trust.role), .type = &cs_type_role},
};
static const struct cs_fields trust_remove_data = {CS_FIELDS(trust_remove_rows)};

// ---- account

#define HAS(member) .optional = true, .has = offsetof(struct cs_event, data.account.member) + 1

static const struct cs_field limits_rows[] = {
    {CS_FIELD("certificates", struct cs_event, data.account.limit_certificates), .type = &cs_type_int,
     .max = 1000000, HAS(has_certificates)},
    {CS_FIELD("shares", struct cs_event, data.account.limit_shares), .type = &cs_type_int,
     .max = CS_SHARES_MAX, HAS(has_shares)},
#define X(name, at_first, most, text)                                                                        \
    {CS_FIELD(#name, struct cs_event, data.account.limit_##name), .type = &cs_type_int, .max = (most),       \
     HAS(has_##name)},
    CS_ACCOUNT_COUNTS(X)
#undef X
        {CS_FIELD("incomplete_chain", struct cs_event, data.account.reject_incomplete_chain),
         .type = &cs_type_incomplete, HAS(has_incomplete_chain)},
};
static bool limits_absent(const void *base) {
    const struct cs_event_account *a = &((const struct cs_event *)base)->data.account;
#define X(name, at_first, most, text) || a->has_##name
    return !(a->has_certificates || a->has_shares || a->has_incomplete_chain CS_ACCOUNT_COUNTS(X));
#undef X
}
static const struct cs_fields limits_fields = {CS_FIELDS(limits_rows), .absent = limits_absent};

static const struct cs_field policy_rows[] = {
    {CS_FIELD("keys", struct cs_event, data.account.policy.keys), .type = &cs_type_keys,
     HAS(has_keys_allowed)},
    {CS_FIELD("days", struct cs_event, data.account.policy.days), .type = &cs_type_int,
     .max = CS_POLICY_DAYS_MAX, HAS(has_days)},
    {CS_FIELD("issuers", struct cs_event, data.account.policy.issuers), .type = &cs_type_lines,
     .form = &cs_form_issuer, HAS(has_issuers)},
    {CS_FIELD("dns", struct cs_event, data.account.policy.dns), .type = &cs_type_lines, .form = &cs_form_dns,
     HAS(has_dns)},
    {CS_FIELD("wildcards", struct cs_event, data.account.policy.no_wildcards), .type = &cs_type_wildcards,
     HAS(has_wildcards)},
};
static bool policy_absent(const void *base) {
    const struct cs_event_account *a = &((const struct cs_event *)base)->data.account;
    return !(a->has_keys_allowed || a->has_days || a->has_issuers || a->has_dns || a->has_wildcards);
}
static const struct cs_fields policy_fields = {CS_FIELDS(policy_rows), .absent = policy_absent};

static const struct cs_field account_rows[] = {
    {CS_FIELD("site", struct cs_event, data.account.site), .type = &cs_type_site, HAS(has_site)},
    {CS_FIELD("owner", struct cs_event, data.account.owner), STRING(cs_form_owner), HAS(has_owner)},
    {CS_FIELD("verified", struct cs_event, data.account.verified), .type = &cs_type_bool, HAS(has_verified)},
    {CS_FIELD_NAMED("limits"), .type = &cs_type_object, .fields = &limits_fields, .optional = true},
    {CS_FIELD_NAMED("policy"), .type = &cs_type_object, .fields = &policy_fields, .optional = true},
};
#define ACCOUNT_LIMITS 8u // bit of limits
#define ACCOUNT_POLICY 16u

static bool check_limits(struct cs_reader *r, const void *base, uint32_t seen) {
    if ((seen & ACCOUNT_LIMITS) && limits_absent(base))
        return cs_reader_fail_member(r, "limits", "empty");
    if ((seen & ACCOUNT_POLICY) && policy_absent(base))
        return cs_reader_fail_member(r, "policy", "empty");
    return true;
}

static bool register_check(struct cs_reader *r, const void *base, uint32_t seen) {
    for (unsigned i = 0; i < 3; i++)
        if (!(seen >> i & 1))
            return cs_reader_fail_member(r, account_rows[i].name, "missing");
    return check_limits(r, base, seen);
}
static const struct cs_fields register_data = {CS_FIELDS(account_rows), .check = register_check};

static bool update_check(struct cs_reader *r, const void *base, uint32_t seen) {
    if (seen == 0)
        return cs_reader_fail(r, "changes nothing");
    return check_limits(r, base, seen);
}
static const struct cs_fields update_data = {CS_FIELDS(account_rows), .check = update_check};

// ---- agent

#define DNS .type = &cs_type_lines, .form = &cs_form_dns, .min = 1, .optional = true

static const struct cs_field grant_rows[] = {
    {CS_FIELD("can", struct cs_event, data.enroll.grant_can), .type = &cs_type_can},
    {CS_FIELD("names", struct cs_event, data.enroll.grant_names), STRING(cs_form_pattern)},
    {CS_FIELD("dns", struct cs_event, data.enroll.grant_dns), DNS},
};
static const struct cs_fields grant_fields = {CS_FIELDS(grant_rows)};

static const struct cs_field enroll_rows[] = {
    {CS_FIELD("key", struct cs_event, data.enroll.key), .type = &type_encoded},
    {CS_FIELD("can", struct cs_event, data.enroll.can), .type = &cs_type_can},
    {CS_FIELD("names", struct cs_event, data.enroll.names), STRING(cs_form_pattern)},
    {CS_FIELD("dns", struct cs_event, data.enroll.dns), DNS},
    {CS_FIELD("label", struct cs_event, data.enroll.label), STRING(cs_form_text), .optional = true},
    {CS_FIELD("uses", struct cs_event, data.enroll.uses), POSITIVE, .optional = true},
    {CS_FIELD("expires", struct cs_event, data.enroll.expires_s), .type = &cs_type_time, .optional = true},
    {CS_FIELD_NAMED("grant"), .type = &cs_type_object, .fields = &grant_fields, .optional = true,
     .has = offsetof(struct cs_event, data.enroll.has_grant) + 1},
};
#define ENROLL_USES 5 // first of the rows that are for keys with the right enroll only

static bool enroll_check(struct cs_reader *r, const void *base, uint32_t seen) {
    const struct cs_event_enroll *e = &((const struct cs_event *)base)->data.enroll;
    if (e->can & CS_CAN_ENROLL)
        return e->has_grant || cs_reader_fail_member(r, "grant", "missing");
    for (unsigned i = ENROLL_USES; i < CS_ARRAY_LEN(enroll_rows); i++)
        if (seen >> i & 1)
            return cs_reader_fail_member(r, enroll_rows[i].name, "only with the right \"enroll\"");
    return true;
}
static const struct cs_fields enroll_data = {CS_FIELDS(enroll_rows), .check = enroll_check};

static const struct cs_field revoke_rows[] = {
    {CS_FIELD("reason", struct cs_event, data.revoke.reason), STRING(cs_form_text), .optional = true},
};
static const struct cs_fields revoke_data = {CS_FIELDS(revoke_rows)};

static const struct cs_field rotate_rows[] = {
    {CS_FIELD("key", struct cs_event, data.enroll.key), .type = &type_encoded},
};
static const struct cs_fields rotate_data = {CS_FIELDS(rotate_rows)};

// ---- certificate

// key and pop may be missing here: prepare.h says what that means (key.missing, key.many).
static const struct cs_field part_rows[] = {
    {CS_FIELD_NAMED("chain"), .type = &type_chain},
    {CS_FIELD("key", struct cs_keyed_chain, key), .type = &type_encoded, .optional = true},
    {CS_FIELD("pop", struct cs_keyed_chain, pop), .type = &type_encoded, .optional = true},
};
static const struct cs_fields part_fields = {CS_FIELDS(part_rows)};

#define PART(json, i)                                                                                        \
    {                                                                                                        \
        CS_FIELD(json, struct cs_event, data.upload.part[i]), .type = &cs_type_object,                       \
                                                              .fields = &part_fields, .optional = true       \
    }
#define UPLOAD_ROWS                                                                                          \
    {CS_FIELD("name", struct cs_event, data.upload.name), STRING(cs_form_name)},                             \
        {CS_FIELD("algorithm", struct cs_event, data.upload.algorithm), .type = &cs_type_algorithm},         \
        {CS_FIELD("replace", struct cs_event, data.upload.replace), .type = &cs_type_bool,                   \
         .optional = true},                                                                                  \
        {CS_FIELD("force", struct cs_event, data.upload.force), .type = &cs_type_bool, .optional = true},    \
        {CS_FIELD("tags", struct cs_event, data.upload.tags), .type = &cs_type_tags, .optional = true},      \
        {CS_FIELD("chain", struct cs_event, data.upload.part[0]), .type = &type_chain, .optional = true},    \
        {CS_FIELD("key", struct cs_event, data.upload.part[0].key), .type = &type_encoded,                   \
         .optional = true},                                                                                  \
        {CS_FIELD("pop", struct cs_event, data.upload.part[0].pop), .type = &type_encoded,                   \
         .optional = true},                                                                                  \
        {CS_FIELD("csr", struct cs_event, data.upload.part[0].csr), .type = &cs_type_bool,                   \
         .optional = true},                                                                                  \
        PART("sign", 0), PART("encrypt", 1)

// Bits of UPLOAD_ROWS.
#define UPLOAD_CHAIN         0x020u
#define UPLOAD_INTERNATIONAL 0x1E0u
#define UPLOAD_SM2           0x600u

// Needs the form of the algorithm, and nothing of the other one's. rows are UPLOAD_ROWS.
static bool check_upload(struct cs_reader *r, const void *base, const struct cs_field *rows, size_t n,
                         uint32_t seen) {
    enum cs_algorithm algorithm = ((const struct cs_event *)base)->data.upload.algorithm;
    bool sm2 = algorithm == CS_ALGORITHM_SM2;
    uint32_t needed = sm2 ? UPLOAD_SM2 : UPLOAD_CHAIN;
    uint32_t stray = sm2 ? UPLOAD_INTERNATIONAL : UPLOAD_SM2;
    for (size_t i = 0; i < n; i++) {
        if (stray & seen & 1u << i)
            return cs_reader_fail_member(r, rows[i].name, "not with algorithm \"%s\"",
                                         cs_algorithm_name(algorithm));
        if (needed & ~seen & 1u << i)
            return cs_reader_fail_member(r, rows[i].name, "missing");
    }
    return true;
}

static const struct cs_form place_form = {cs_place_valid, CS_PLACE_FORM};
// Behind the rows that upload and issue have in common.
static const struct cs_field upload_rows[] = {
    UPLOAD_ROWS,
    {CS_FIELD("place", struct cs_event, data.upload.place), STRING(place_form), .optional = true},
};
static bool upload_check(struct cs_reader *r, const void *base, uint32_t seen) {
    return check_upload(r, base, upload_rows, CS_ARRAY_LEN(upload_rows), seen);
}
static const struct cs_fields upload_data = {CS_FIELDS(upload_rows), .check = upload_check};

static const struct cs_field issue_rows[] = {
    {CS_FIELD("source", struct cs_event, data.upload.source), .type = &cs_type_source},
    UPLOAD_ROWS,
};
static bool issue_check(struct cs_reader *r, const void *base, uint32_t seen) {
    enum cs_source source = ((const struct cs_event *)base)->data.upload.source;
    if (source != CS_SOURCE_OFFICIAL && source != CS_SOURCE_TEST)
        return cs_reader_fail_member(r, "source", "must be \"official\" or \"test\"");
    return check_upload(r, base, issue_rows + 1, CS_ARRAY_LEN(issue_rows) - 1, seen >> 1);
}
static const struct cs_fields issue_data = {CS_FIELDS(issue_rows), .check = issue_check};

// Text that an empty one takes away.
static bool text_or_none(const char *s, size_t len) {
    return len == 0 || cs_form_text.valid(s, len);
}
static const struct cs_form text_or_none_form = {text_or_none, "text without control characters"};

static const struct cs_field chain_rows[] = {{CS_FIELD_NAMED("chain"), .type = &type_chain}};
static const struct cs_fields chain_fields = {CS_FIELDS(chain_rows)};

#define REVISES(member) .optional = true, .has = offsetof(struct cs_event, data.upload.member) + 1
static const struct cs_field revision_rows[] = {
    {CS_FIELD("name", struct cs_event, data.upload.name), STRING(cs_form_name), REVISES(has_name)},
    {CS_FIELD("tags", struct cs_event, data.upload.tags), .type = &cs_type_tags, REVISES(has_tags)},
    {CS_FIELD("contact", struct cs_event, data.upload.contact), STRING(text_or_none_form),
     REVISES(has_contact)},
    {CS_FIELD("note", struct cs_event, data.upload.note), STRING(text_or_none_form), REVISES(has_note)},
    {CS_FIELD("chain", struct cs_event, data.upload.part[0]), .type = &type_chain, .optional = true},
    {CS_FIELD("sign", struct cs_event, data.upload.part[0]), .type = &cs_type_object, .fields = &chain_fields,
     .optional = true},
    {CS_FIELD("encrypt", struct cs_event, data.upload.part[1]), .type = &cs_type_object,
     .fields = &chain_fields, .optional = true},
};
#define REVISION_CHAIN 0x10u
#define REVISION_PAIR  0x60u

static bool revision_check(struct cs_reader *r, const void *base, uint32_t seen) {
    (void)base;
    if (seen == 0)
        return cs_reader_fail(r, "changes nothing");
    if ((seen & REVISION_CHAIN) && (seen & REVISION_PAIR))
        return cs_reader_fail_member(r, "chain", "not with sign and encrypt");
    if ((seen & REVISION_PAIR) && (seen & REVISION_PAIR) != REVISION_PAIR)
        return cs_reader_fail_member(r, seen & 0x20u ? "encrypt" : "sign", "missing");
    return true;
}
static const struct cs_fields revision_data = {CS_FIELDS(revision_rows), .check = revision_check};

static uint32_t revision_stray(const struct cs_event_upload *up) {
    return up->parts == 2 ? REVISION_CHAIN : up->parts == 1 ? REVISION_PAIR : REVISION_CHAIN | REVISION_PAIR;
}

static const struct cs_field delete_rows[] = {
    {CS_FIELD("cascade", struct cs_event, data.del.cascade), .type = &cs_type_bool, .optional = true},
    {CS_FIELD("from", struct cs_event, data.del.from), STRING(cs_form_account), .optional = true},
};
static const struct cs_fields delete_data = {CS_FIELDS(delete_rows)};

static const struct cs_field seen_rows[] = {
    {CS_FIELD("place", struct cs_event, data.installed.place), STRING(place_form)},
    {CS_FIELD("sha256", struct cs_event, data.installed.sha256), .type = &cs_type_hash},
};
static const struct cs_fields seen_data = {CS_FIELDS(seen_rows)};

static const struct cs_field gone_rows[] = {
    {CS_FIELD("place", struct cs_event, data.installed.place), STRING(place_form)},
    {CS_FIELD("delete", struct cs_event, data.installed.remove), .type = &cs_type_bool, .optional = true},
};
static const struct cs_fields gone_data = {CS_FIELDS(gone_rows)};

static const struct cs_field share_rows[] = {
    {CS_FIELD("to", struct cs_event, data.share.to), STRING(cs_form_account)},
};
static const struct cs_fields share_data = {CS_FIELDS(share_rows)};

// ---- csr

static const struct cs_field csr_add_rows[] = {
    {CS_FIELD("name", struct cs_event, data.csr.name), STRING(cs_form_name)},
    {CS_FIELD("csr", struct cs_event, data.csr.csr), .type = &type_encoded},
    {CS_FIELD("key", struct cs_event, data.csr.key), .type = &type_encoded},
    {CS_FIELD("pop", struct cs_event, data.csr.pop), .type = &type_encoded},
};
static const struct cs_fields csr_add_data = {CS_FIELDS(csr_add_rows)};
static const struct cs_fields empty_data = {NULL, 0, NULL, NULL};

// ---- share

static const char *reply_name(enum cs_share_reply v) {
    switch (v) {
    case CS_REPLY_ACCEPTED:
        return "accepted";
    case CS_REPLY_REFUSED:
        return "refused";
    case CS_REPLY_REMOVED:
        return "removed";
    }
    return "";
}

static bool reply_parse(const char *s, size_t len, enum cs_share_reply *ret) {
    for (int i = CS_REPLY_ACCEPTED; i <= CS_REPLY_REMOVED; i++) {
        const char *name = reply_name((enum cs_share_reply)i);
        if (strlen(name) == len && memcmp(name, s, len) == 0) {
            *ret = (enum cs_share_reply)i;
            return true;
        }
    }
    return false;
}
CS_DEFINE_ENUM_TYPE(static, reply, enum cs_share_reply, reply_name, reply_parse,
                    "\"accepted\", \"refused\" or \"removed\"");

#define ORIGIN .type = &cs_type_int, .max = INT32_MAX

static const struct cs_field offer_rows[] = {
    {CS_FIELD("share", struct cs_event, data.offer.share), STRING(cs_form_uuid)},
    {CS_FIELD("owner_account", struct cs_event, data.offer.owner_account), STRING(cs_form_account)},
    {CS_FIELD("owner", struct cs_event, data.offer.owner), STRING(cs_form_owner)},
    {CS_FIELD("site", struct cs_event, data.offer.site), .type = &cs_type_site},
    {CS_FIELD("version", struct cs_event, data.offer.version), POSITIVE},
    {CS_FIELD("origin", struct cs_event, data.offer.origin), ORIGIN},
    {CS_FIELD("epoch", struct cs_event, data.offer.epoch), CS_FIELD_COUNT, .optional = true},
    {CS_FIELD("certificate", struct cs_event, data.offer.certificate), .type = &cs_type_object,
     .fields = &cs_summary_fields},
};
static const struct cs_fields offer_data = {CS_FIELDS(offer_rows)};

static const struct cs_field withdraw_rows[] = {
    {CS_FIELD("share", struct cs_event, data.withdraw.share), STRING(cs_form_uuid)},
    {CS_FIELD("owner_account", struct cs_event, data.withdraw.owner_account), STRING(cs_form_account)},
    {CS_FIELD("origin", struct cs_event, data.withdraw.origin), ORIGIN},
    {CS_FIELD("epoch", struct cs_event, data.withdraw.epoch), CS_FIELD_COUNT, .optional = true},
    {CS_FIELD("code", struct cs_event, data.withdraw.code), .type = &cs_type_code},
};
static const struct cs_fields withdraw_data = {CS_FIELDS(withdraw_rows)};

static const struct cs_field answer_rows[] = {
    {CS_FIELD("share", struct cs_event, data.answer.share), STRING(cs_form_uuid)},
    {CS_FIELD("recipient", struct cs_event, data.answer.recipient), STRING(cs_form_account)},
    {CS_FIELD("version", struct cs_event, data.answer.version), CS_FIELD_COUNT},
    {CS_FIELD("answer", struct cs_event, data.answer.reply), .type = &cs_type_reply},
    {CS_FIELD("code", struct cs_event, data.answer.code), .type = &cs_type_code},
    {CS_FIELD("origin", struct cs_event, data.answer.origin), ORIGIN},
    {CS_FIELD("epoch", struct cs_event, data.answer.epoch), CS_FIELD_COUNT, .optional = true},
};
static const struct cs_fields answer_data = {CS_FIELDS(answer_rows)};

// ---- all of them

static const char *const names[] = {"",
#define X(symbol, name, ...) "certsync." name ".v1",
                                    CS_EVENT_TYPES(X)
#undef X
};
static const char *const short_names[] = {"",
#define X(symbol, name, ...) name,
                                          CS_EVENT_TYPES(X)
#undef X
};

#define IN_LOG(what)       .account = false, .subject = CS_SUBJECT_##what
#define IN_ACCOUNT(what)   .account = true, .subject = CS_SUBJECT_##what
#define AT(member)         offsetof(struct cs_event, member)
#define PLAIN              .derived = false
#define OPENS_SHARE        .share = AT(id)
#define BRINGS_KEY(member) .key = AT(data.member.key)
#define DERIVED(member)                                                                                      \
    .derived = true, .origin = AT(data.member.origin), .epoch = AT(data.member.epoch),                       \
    .share = AT(data.member.share)
const struct cs_event_kind cs_event_kinds[CS_EVENT_TYPE_END] = {
#define X(symbol, name, from, place, fields, sender, prepare, reads, effect, more)                           \
    [CS_EVENT_##symbol] = {.since = from, place, .data = &fields##_data, more},
    CS_EVENT_TYPES(X)
#undef X
};

const char *cs_event_type_name(enum cs_event_type t) {
    return (size_t)t < CS_ARRAY_LEN(names) ? names[t] : "";
}

const char *cs_event_type_short(enum cs_event_type t) {
    return (size_t)t < CS_ARRAY_LEN(short_names) ? short_names[t] : "";
}

enum cs_event_type cs_event_type_of(struct cs_string name) {
    for (size_t t = CS_EVENT_NONE + 1; t < CS_ARRAY_LEN(names); t++)
        if (cs_string_is(name, names[t], strlen(names[t])))
            return (enum cs_event_type)t;
    return CS_EVENT_NONE;
}

bool cs_event_is_derived(enum cs_event_type t) {
    return cs_event_kinds[t].derived;
}

static const void *member(const struct cs_event *ev, size_t offset) {
    return offset ? (const char *)ev + offset : NULL;
}

int32_t cs_event_origin(const struct cs_event *ev) {
    const int32_t *origin = member(ev, cs_event_kinds[ev->type].origin);
    return origin ? *origin : -1;
}

int64_t cs_event_epoch(const struct cs_event *ev) {
    const int64_t *epoch = member(ev, cs_event_kinds[ev->type].epoch);
    return epoch ? *epoch : 0;
}

void cs_event_set_origin(struct cs_event *ev, int32_t partition, int64_t epoch) {
    const struct cs_event_kind *kind = &cs_event_kinds[ev->type];
    memcpy((char *)ev + kind->origin, &partition, sizeof partition);
    memcpy((char *)ev + kind->epoch, &epoch, sizeof epoch);
}

const char *cs_event_share(const struct cs_event *ev) {
    const char *share = member(ev, cs_event_kinds[ev->type].share);
    return share ? share : "";
}

const struct cs_encoded *cs_event_key(const struct cs_event *ev) {
    return member(ev, cs_event_kinds[ev->type].key);
}

bool cs_event_has_chains(const struct cs_event *ev) {
    const struct cs_fields *data = cs_event_kinds[ev->type].data;
    return data == &upload_data || data == &issue_data || data == &revision_data;
}

bool cs_event_data_check(const struct cs_event *ev, struct cs_err *err) {
    if (!cs_event_has_chains(ev))
        return true;
    for (size_t i = 0; i < CS_ARRAY_LEN(ev->data.upload.part); i++)
        if (ev->data.upload.part[i].chain_len > CS_CHAIN_MAX)
            return cs_err_reject(err, CS_CODE_CERT_TOO_MANY);
    return true;
}

void cs_event_data_write(struct cs_buf *b, const struct cs_event *ev) {
    const struct cs_fields *data = cs_event_kinds[ev->type].data;
    uint32_t which = UINT32_MAX;
    if (data == &upload_data || data == &issue_data) {
        uint32_t stray = ev->data.upload.algorithm == CS_ALGORITHM_SM2 ? UPLOAD_INTERNATIONAL : UPLOAD_SM2;
        which = ~(data == &issue_data ? stray << 1 : stray);
    } else if (data == &revision_data) {
        which = ~revision_stray(&ev->data.upload);
    }
    cs_fields_write_some(b, data, ev, which);
}
