// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "fixture.h"
#include "rules/rules_internal.h"

static int setup(void **state) {
    *state = fx_new(4);
    return 0;
}

static int teardown(void **state) {
    fx_free(*state);
    return 0;
}

static struct cs_bytes bytes_of(const char *s) {
    return (struct cs_bytes){(const uint8_t *)s, strlen(s)};
}

// A good event by a key that nobody looks up.
static struct fx_record *revocation(struct fx *fx, const char *account) {
    struct fx_key *k = fx_key_new(fx);
    struct cs_event ev = fx_event(fx, CS_EVENT_AGENT_REVOKE, account, k, k->kid);
    struct fx_record *record = fx_record(fx, k, &ev);
    record->r.partition = fx_partition_of(fx, account);
    return record;
}

static void assert_code(struct fx *fx, struct fx_record *record, enum cs_code code, const char *detail) {
    struct cs_prepared *p = fx_prepare(fx, &record->r);
    if (p->code != code || strcmp(p->detail, detail) != 0)
        fail_msg("%s (%s), expected %s (%s)", cs_code_name(p->code), p->detail, cs_code_name(code), detail);
    bool known = code == CS_CODE_NONE || code == CS_CODE_EVENT_DEPLOYMENT ||
                 code == CS_CODE_EVENT_INCARNATION || code == CS_CODE_EVENT_MISROUTED;
    assert_int_equal(p->event != NULL, known);
    cs_prepared_free(p);
}

static void good(void **state) {
    struct fx *fx = *state;
    assert_code(fx, revocation(fx, "acme"), CS_CODE_NONE, "");
}

static void too_large(void **state) {
    struct fx *fx = *state;
    struct fx_record *record = revocation(fx, "acme");
    size_t len = CS_EVENT_MAX;
    uint8_t *value = fx_alloc(fx, len + 1);
    memset(value, ' ', len + 1);
    memcpy(value, record->r.value.data, record->r.value.len);
    record->r.value = (struct cs_bytes){value, len};
    assert_code(fx, record, CS_CODE_NONE, ""); // white space at the end is JSON's
    record->r.value.len = len + 1;
    assert_code(fx, record, CS_CODE_EVENT_TOO_LARGE, "");
    record->r.headers_len = 0; // before anything else
    assert_code(fx, record, CS_CODE_EVENT_TOO_LARGE, "");
}

static void unsigned_records(void **state) {
    struct fx *fx = *state;
    static const char *const bad[] = {"", "!!!!", "AAA", "AAAAB===", "AA\nA", "AB=="};
    for (size_t i = 0; i < CS_ARRAY_LEN(bad); i++) {
        struct fx_record *record = revocation(fx, "acme");
        record->headers[1].value = bytes_of(bad[i]);
        assert_code(fx, record, CS_CODE_EVENT_UNSIGNED, "");
    }
    struct fx_record *record = revocation(fx, "acme");
    record->r.headers_len = 1;
    assert_code(fx, record, CS_CODE_EVENT_UNSIGNED, "");
    record = revocation(fx, "acme");
    record->headers[1].value = (struct cs_bytes){NULL, 0};
    assert_code(fx, record, CS_CODE_EVENT_UNSIGNED, "");
    record = revocation(fx, "acme");
    record->headers[2] = record->headers[1];
    record->r.headers_len = 3;
    assert_code(fx, record, CS_CODE_EVENT_UNSIGNED, "");
    record = revocation(fx, "acme");
    char *longer = fx_alloc(fx, 200);
    memset(longer, 'A', 112); // 84 bytes
    record->headers[1].value = bytes_of(longer);
    assert_code(fx, record, CS_CODE_EVENT_UNSIGNED, "");
    longer[108] = '\0'; // 81 bytes
    record->headers[1].value = bytes_of(longer);
    assert_code(fx, record, CS_CODE_EVENT_UNSIGNED, "");
}

static void content_type(void **state) {
    struct fx *fx = *state;
    struct fx_record *record = revocation(fx, "acme");
    record->headers[0].value = bytes_of("application/json");
    assert_code(fx, record, CS_CODE_EVENT_MALFORMED, "content-type");
    record = revocation(fx, "acme");
    record->headers[0].name = "Content-Type";
    assert_code(fx, record, CS_CODE_EVENT_MALFORMED, "content-type");
    record = revocation(fx, "acme");
    record->headers[2] = record->headers[0];
    record->r.headers_len = 3;
    assert_code(fx, record, CS_CODE_EVENT_MALFORMED, "content-type");
    record = revocation(fx, "acme"); // other headers are nobody's business
    record->headers[2] = (struct cs_header){"traceparent", bytes_of("00")};
    record->headers[3] = (struct cs_header){"", {NULL, 0}};
    record->r.headers_len = 4;
    assert_code(fx, record, CS_CODE_NONE, "");
}

static void malformed(void **state) {
    struct fx *fx = *state;
    struct fx_record *record = revocation(fx, "acme");
    record->r.value = (struct cs_bytes){NULL, 0};
    assert_code(fx, record, CS_CODE_EVENT_MALFORMED, "value");
    struct fx_key *k = fx_key_new(fx);
    static const char *const bad[] = {"", "not json", "[]", "{}", "{\"specversion\":\"1.0\"}"};
    for (size_t i = 0; i < CS_ARRAY_LEN(bad); i++) {
        record = fx_record_of(fx, k, "acme", bytes_of(bad[i]));
        struct cs_prepared *p = fx_prepare(fx, &record->r);
        assert_int_equal(p->code, CS_CODE_EVENT_MALFORMED);
        assert_true(strlen(p->detail) > 0);
        assert_null(p->event);
        cs_prepared_free(p);
    }
}

// Replaces the first a by b, which is of the same length.
static void replace(struct fx *fx, struct fx_record *record, const char *a, const char *b) {
    assert_int_equal(strlen(a), strlen(b));
    uint8_t *value = fx_alloc(fx, record->r.value.len + 1);
    memcpy(value, record->r.value.data, record->r.value.len);
    char *at = strstr((char *)value, a);
    assert_non_null(at);
    memcpy(at, b, strlen(b));
    record->r.value.data = value;
}

static void unknown_type(void **state) {
    struct fx *fx = *state;
    struct fx_record *record = revocation(fx, "acme");
    replace(fx, record, "agent.revoke", "agent.elevat");
    assert_code(fx, record, CS_CODE_EVENT_UNKNOWN_TYPE, "");
}

static void place(void **state) {
    struct fx *fx = *state;
    struct fx_record *record = revocation(fx, "acme");
    replace(fx, record, FX_DEPLOYMENT, "another.site");
    assert_code(fx, record, CS_CODE_EVENT_DEPLOYMENT, "");
    replace(fx, record, "another.site_0a1b2c3d", FX_DEPLOYMENT "_0a1b2c3e");
    assert_code(fx, record, CS_CODE_EVENT_INCARNATION, "");
    replace(fx, record, FX_DEPLOYMENT, "another.site");
    record->r.partition = (record->r.partition + 1) % fx->partitions;
    assert_code(fx, record, CS_CODE_EVENT_DEPLOYMENT, "");
    record = revocation(fx, "acme");
    record->r.partition = (record->r.partition + 1) % fx->partitions;
    assert_code(fx, record, CS_CODE_EVENT_MISROUTED, "");
    // What root says belongs to every partition.
    struct cs_event ev = fx_event(fx, CS_EVENT_SYSTEM_RULESET, "", fx->root, FX_DEPLOYMENT);
    ev.data.ruleset.ruleset = 2;
    record = fx_record(fx, fx->root, &ev);
    for (record->r.partition = 0; record->r.partition < fx->partitions; record->r.partition++)
        assert_code(fx, record, CS_CODE_NONE, "");
}

static void origin_is_a_partition(void **state) {
    struct fx *fx = *state;
    struct cs_event ev = fx_event(fx, CS_EVENT_SHARE_WITHDRAW, "acme", fx->service, NULL);
    strcpy(ev.data.withdraw.share, fx_uuid(fx));
    strcpy(ev.data.withdraw.owner_account, "other");
    ev.data.withdraw.code = CS_CODE_SHARE_CLOSED;
    ev.data.withdraw.origin = fx->partitions - 1;
    struct fx_record *record = fx_record(fx, fx->service, &ev);
    record->r.partition = fx_partition_of(fx, "acme");
    assert_code(fx, record, CS_CODE_NONE, "");
    ev.data.withdraw.origin = fx->partitions;
    record = fx_record(fx, fx->service, &ev);
    record->r.partition = fx_partition_of(fx, "acme");
    assert_code(fx, record, CS_CODE_EVENT_MALFORMED, "data.origin");
}

static void signature_where_the_key_is_known(void **state) {
    struct fx *fx = *state;
    struct fx_key *k = fx_key_new(fx);
    struct cs_event ev = fx_upload(fx, "acme", k, NULL, "name", fx_cert(fx, (struct fx_cert_how){0}));
    struct fx_record *record = fx_record(fx, k, &ev);
    record->r.partition = fx_partition_of(fx, "acme");
    // Of an unknown signer nothing is examined; the rules ask for it where they know the signer.
    struct cs_prepared *p = fx_prepare(fx, &record->r);
    assert_false(p->sig_checked);
    assert_false(p->examined);
    assert_int_equal(p->leaves_len, 0);
    struct cs_err err;
    for (int again = 0; again < 2; again++) {
        assert_true(cs_prepare_content(fx->crypto, p, &err));
        assert_true(p->examined);
        assert_int_equal(p->content_code, CS_CODE_NONE);
        assert_int_equal(p->leaves_len, 1);
        assert_string_equal(p->custodian, fx->custodian_kid);
    }
    cs_prepared_free(p);

    fx->tell_keys = true;
    p = fx_prepare(fx, &record->r);
    assert_true(p->sig_checked);
    assert_true(p->sig_good);
    struct cs_bytes spki = cs_pubkey_spki(k->pub);
    assert_int_equal(p->sig_spki.len, spki.len);
    assert_memory_equal(p->sig_spki.data, spki.data, spki.len);
    assert_int_equal(p->leaves_len, 1);
    assert_string_equal(p->custodian, fx->custodian_kid);
    cs_prepared_free(p);

    // A forgery costs no more than its signature.
    replace(fx, record, "\"name\":\"name\"", "\"name\":\"game\"");
    p = fx_prepare(fx, &record->r);
    assert_true(p->sig_checked);
    assert_false(p->sig_good);
    assert_false(p->examined);
    assert_int_equal(p->leaves_len, 0);
    cs_prepared_free(p);
    fx->tell_keys = false;
}

static void put_length(struct cs_buf *b, uint64_t n) {
    for (int i = 56; i >= 0; i -= 8)
        cs_buf_putc(b, (char)(n >> i));
}

static void put_part(struct cs_buf *b, struct cs_bytes part) {
    put_length(b, part.data ? part.len : UINT64_MAX);
    cs_buf_put(b, part.data, part.len);
}

static void record_hash(void **state) {
    struct fx *fx = *state;
    struct cs_header headers[40];
    for (size_t n = 0; n <= CS_ARRAY_LEN(headers); n += n < 10 ? 1 : 15) {
        struct cs_buf b;
        cs_buf_init(&b, 1 << 16);
        struct cs_record r = {
            .timestamp_ms = 1795435200123, .value = bytes_of("value"), .headers = headers, .headers_len = n};
        if (n % 2)
            r.key = bytes_of("key");
        put_length(&b, (uint64_t)r.timestamp_ms);
        put_part(&b, r.key);
        put_length(&b, n);
        for (size_t i = 0; i < n; i++) {
            headers[i] = (struct cs_header){fx_text(fx, "h%zu", i),
                                            i % 3 ? bytes_of("x") : (struct cs_bytes){NULL, 0}};
            put_part(&b, bytes_of(headers[i].name));
            put_part(&b, headers[i].value);
        }
        put_part(&b, r.value);
        uint8_t expected[32], got[32];
        cs_crypto_sha256(fx->crypto, cs_buf_bytes(&b), expected);
        cs_record_sha256(fx->crypto, &r, got);
        assert_memory_equal(got, expected, 32);
        cs_buf_clear(&b);
    }
}

static void sender_keys(void **state) {
    struct fx *fx = *state;
    struct fx_key *k = fx_key_new(fx), *other = fx_key_new(fx);
    struct fx_cert *p384 = fx_cert(fx, (struct fx_cert_how){.type = "P-384"});
    struct cs_bytes custodian = {fx->custodian_spki, fx->custodian_spki_len};
    cs_kid p384_kid;
    cs_kid_of_spki(fx->crypto, p384->leaf->spki, p384_kid);
    const struct {
        const char *kid;
        struct cs_bytes spki;
        enum cs_trust_role role; // 0: an agent's
        const char *detail;      // "": good
    } rows[] = {
        {k->kid, cs_pubkey_spki(k->pub), 0, ""},
        {k->kid, cs_pubkey_spki(k->pub), CS_TRUST_ADMIN, ""},
        {k->kid, cs_pubkey_spki(k->pub), CS_TRUST_CUSTODIAN, ""},
        {fx->custodian_kid, custodian, CS_TRUST_CUSTODIAN, ""},
        {fx->custodian_kid, custodian, CS_TRUST_ADMIN, "data.key: not P-256"},
        {fx->custodian_kid, custodian, 0, "data.key: not P-256"},
        {p384_kid, p384->leaf->spki, 0, "data.key: not P-256"},
        {p384_kid, p384->leaf->spki, CS_TRUST_CUSTODIAN, "data.key: neither X25519 nor P-256"},
        {other->kid, cs_pubkey_spki(k->pub), 0, "subject: not the key's id"},
        {k->kid, bytes_of("no key"), 0, "data.key: not a public key"},
        {k->kid, p384->chain[0], 0, "data.key: too long"},
    };
    fx->tell_keys = true;
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct cs_event ev;
        if (rows[i].role) {
            ev = fx_event(fx, CS_EVENT_TRUST_ADD, "", fx->root, rows[i].kid);
            ev.data.trust.role = rows[i].role;
            ev.data.trust.key.bytes = rows[i].spki;
        } else {
            ev = fx_event(fx, CS_EVENT_AGENT_ROTATE, "acme", fx->root, rows[i].kid);
            ev.data.enroll.key.bytes = rows[i].spki;
        }
        struct fx_record *record = fx_record(fx, fx->root, &ev);
        record->r.partition = fx_partition_of(fx, "acme");
        struct cs_prepared *p = fx_prepare(fx, &record->r);
        assert_string_equal(p->detail, rows[i].detail);
        assert_int_equal(p->content_code, rows[i].detail[0] ? CS_CODE_EVENT_MALFORMED : CS_CODE_NONE);
        cs_prepared_free(p);
    }
    fx->tell_keys = false;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),
        cmocka_unit_test(too_large),
        cmocka_unit_test(unsigned_records),
        cmocka_unit_test(content_type),
        cmocka_unit_test(malformed),
        cmocka_unit_test(unknown_type),
        cmocka_unit_test(place),
        cmocka_unit_test(origin_is_a_partition),
        cmocka_unit_test(signature_where_the_key_is_known),
        cmocka_unit_test(record_hash),
        cmocka_unit_test(sender_keys),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
