// SPDX-License-Identifier: Apache-2.0
// What a host refuses before it sends anything, each with its code and the file named; and that what it
// composes is what the consumer's own checks take.
#include <fcntl.h>
#include <unistd.h>

#include "agent_fixture.h"
#include "certsync/model/codes.h"
#include "certsync/model/seal.h"
#include "event/input.h"

#define JOINED_MAX (64 * 1024)

static struct agent_fixture *fixture;
static struct cs_privkey *custodian;
static uint8_t *custodian_spki;
static size_t custodian_spki_len;
static int64_t now_ms;

// Files of the test certificates; "A+B" is one after the other; NULL: not given.
static struct cs_source_text text(const char *name) {
    static struct cs_input inputs[16];
    static char labels[16][64];
    static unsigned next;
    static uint8_t joined[16][JOINED_MAX];
    if (!name)
        return (struct cs_source_text){0};
    unsigned slot = next++ % 16;
    size_t len = 0;
    snprintf(labels[slot], sizeof labels[slot], "%s", name);
    char part[64];
    for (const char *p = name; *p;) {
        size_t n = strcspn(p, "+");
        char path[512];
        struct cs_err err;
        snprintf(part, sizeof part, "%.*s", (int)n, p);
        snprintf(path, sizeof path, CERTSYNC_TEST_CERTS "/%s", part);
        cs_input_clear(&inputs[slot]);
        ASSERT_OK(cs_input_read(path, 0, &inputs[slot], &err), err);
        assert_true(len + inputs[slot].bytes.len <= sizeof joined[slot]);
        memcpy(joined[slot] + len, inputs[slot].bytes.data, inputs[slot].bytes.len);
        len += inputs[slot].bytes.len;
        p += n + (p[n] == '+');
    }
    return (struct cs_source_text){labels[slot], {joined[slot], len}};
}

static struct cs_compose compose(void) {
    return (struct cs_compose){.crypto = fixture->crypto,
                               .log_id = "unit_0a1b2c3d",
                               .account = "acme",
                               .kid = fixture->kid,
                               .custodian = {custodian_spki, custodian_spki_len},
                               .now_ms = now_ms};
}

struct row {
    const char *name;
    const char *cert, *key, *chain;
    bool csr;
    enum cs_code code; // CS_CODE_NONE: composed
    const char *says;  // part of the message
    int64_t days;      // the clock is so many days ahead
};

static bool upload(const struct row *r, struct cs_composed **ret, struct cs_err *err) {
    struct cs_compose c = compose();
    c.now_ms += r->days * 86400000;
    struct cs_upload_source src = {.type = CS_EVENT_CERTIFICATE_UPLOAD,
                                   .source = CS_SOURCE_UPLOADED,
                                   .name = r->name ? r->name : "www",
                                   .algorithm = CS_ALGORITHM_INTERNATIONAL,
                                   .parts = 1};
    src.part[0] = (struct cs_keyed_source){text(r->cert), text(r->chain), text(r->key), r->csr};
    return cs_compose_upload(&c, &src, ret, err);
}

static const struct row refused[] = {
    {.name = "w w", .cert = "p256.pem", .key = "p256.key", .code = CS_CODE_NAME_INVALID, .says = "w w"},
    {.name = "", .cert = "p256.pem", .key = "p256.key", .code = CS_CODE_NAME_INVALID, .says = ""},
    {.cert = "p256.pem", .code = CS_CODE_KEY_MISSING, .says = "p256.pem"},
    {.cert = "p256.pem", .key = "other.key", .code = CS_CODE_KEY_MISMATCH, .says = "other.key"},
    {.cert = "p256.pem", .key = "rsa.key", .code = CS_CODE_KEY_MISMATCH, .says = "p256.pem"},
    {.cert = "rsa.pem", .key = "rsa.legacy", .code = CS_CODE_KEY_ENCRYPTED, .says = "openssl pkey"},
    {.cert = "rsa.pem", .key = "rsa.pkcs8e", .code = CS_CODE_KEY_ENCRYPTED, .says = "rsa.pkcs8e"},
    {.cert = "rsa.pem", .key = "rsa.key.der", .code = CS_CODE_KEY_MALFORMED, .says = "openssl"},
    {.cert = "p256.pem", .key = "p256.pem", .code = CS_CODE_KEY_MISSING, .says = "certificate"},
    {.cert = "p256.pem", .key = "p256.pub", .code = CS_CODE_KEY_MISSING, .says = "public key"},
    {.cert = "p256.pem", .key = "p256.key+other.key", .code = CS_CODE_KEY_MANY, .says = "key"},
    {.cert = "p256.key", .key = "p256.key", .code = CS_CODE_CERT_MALFORMED, .says = "private key"},
    {.cert = "p256.der",
     .key = "p256.key",
     .code = CS_CODE_CERT_MALFORMED,
     .says = "openssl x509 -inform DER"},
    {.cert = "p256.p12", .key = "p256.key", .code = CS_CODE_CERT_MALFORMED, .says = "openssl pkcs12"},
    {.cert = "p256.p7", .key = "p256.key", .code = CS_CODE_CERT_MALFORMED, .says = "openssl pkcs7"},
    {.cert = "ca-root.pem", .key = "ca-root.key", .code = CS_CODE_CERT_IS_CA, .says = "ca-root.pem"},
    {.cert = "no-name.pem", .key = "no-name.key", .code = CS_CODE_CERT_NO_NAME, .says = "no-name.pem"},
    {.cert = "v1.pem", .key = "v1.key", .code = CS_CODE_CERT_NOT_V3, .says = "v1.pem"},
    {.cert = "weak-rsa.pem", .key = "weak-rsa.key", .code = CS_CODE_CERT_WEAK_KEY, .says = "weak-rsa.pem"},
    {.cert = "secp256k1.pem", .key = "secp256k1.key", .code = CS_CODE_CERT_WEAK_KEY, .says = "secp256k1.pem"},
    {.cert = "sha1.pem", .key = "sha1.key", .code = CS_CODE_CERT_WEAK_SIGNATURE, .says = "sha1.pem"},
    {.cert = "explicit.pem",
     .key = "explicit.key",
     .code = CS_CODE_CERT_EXPLICIT_CURVE,
     .says = "explicit.pem"},
    {.cert = "p256.pem", .key = "p256.key", .days = 400, .code = CS_CODE_CERT_EXPIRED, .says = "valid from"},
    {.cert = "p256.pem",
     .key = "p256.key",
     .days = -10,
     .code = CS_CODE_CERT_NOT_YET_VALID,
     .says = "p256.pem"},
    {.cert = "sm2-sign.pem", .key = "sm2-sign.key", .code = CS_CODE_CERT_ALGORITHM, .says = "SM2"},
    {.cert = "p256.pem",
     .key = "p256.key",
     .chain = "ca-rsa.pem",
     .code = CS_CODE_CHAIN_STRAY,
     .says = "ca-rsa.pem"},
    {.cert = "p256.pem",
     .key = "p256.key",
     .chain = "other.pem",
     .code = CS_CODE_CHAIN_STRAY,
     .says = "other.pem"},
    {.cert = "p256.pem",
     .key = "p256.key",
     .chain = "ca-impostor.pem",
     .code = CS_CODE_CHAIN_BROKEN,
     .says = "ca-impostor.pem"},
    {.cert = "p256.pem",
     .csr = true,
     .chain = "ca-rsa.pem",
     .code = CS_CODE_CHAIN_STRAY,
     .says = "ca-rsa.pem"},
};

static void every_local_refusal_has_its_code_and_names_the_file(void **state) {
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(refused); i++) {
        const struct row *r = &refused[i];
        struct cs_err err = {0};
        struct cs_composed *c = NULL;
        if (upload(r, &c, &err))
            fail_msg("%s with %s was composed; wanted %s", r->cert, r->key ? r->key : "no key",
                     cs_code_name(r->code));
        if (err.kind != CS_ERR_REJECT || err.code != r->code)
            fail_msg("%s with %s: wanted %s, got %s (%s)", r->cert, r->key ? r->key : "no key",
                     cs_code_name(r->code), cs_code_name(err.code), err.msg);
        if (!strstr(err.msg, r->says))
            fail_msg("%s: wanted \"%s\" in: %s", r->cert, r->says, err.msg);
        if (strstr(err.msg, "BEGIN "))
            assert_null(strstr(err.msg, "PRIVATE KEY-----\n"));
    }
}

static const struct row taken[] = {
    {.cert = "p256.pem", .key = "p256.key"},
    {.cert = "p256.pem", .key = "p256.sec1"},
    {.cert = "p256.pem", .key = "p256.prelude"},
    {.cert = "p256.fullchain", .key = "p256.key"},
    {.cert = "p256.bag", .key = "p256.bag"},
    {.cert = "p256.trusted", .key = "p256.key"},
    {.cert = "p256.pem+p256.key", .key = "p256.pem+p256.key"},
    {.cert = "ca-root.pem+ca-sub.pem+p256.pem", .key = "p256.key"},
    {.cert = "p256.pem", .key = "p256.key", .chain = "ca-root.pem+ca-sub.pem"},
    {.cert = "p256.fullchain", .key = "p256.key", .chain = "ca-sub.pem"},
    {.cert = "rsa.pem", .key = "rsa.pkcs1", .chain = "ca-sub.pem"},
    {.cert = "p384.pem", .key = "p384.key"},
    {.cert = "p521.pem", .key = "p521.key"},
    {.cert = "ed25519.pem", .key = "ed25519.key"},
    {.cert = "self.pem", .key = "self.key"},
    {.cert = "no-cn.pem", .key = "no-cn.key"},
    {.cert = "p256.pem", .csr = true, .chain = "ca-sub.pem"},
};

// The event, encoded and decoded, as the consumer gets it.
static struct cs_event *round_trip(const struct cs_composed *c) {
    struct cs_err err;
    struct cs_event *ev;
    CS_AUTO(cs_buf_clear) struct cs_buf value;
    cs_buf_init(&value, CS_EVENT_MAX);
    ASSERT_OK(cs_event_encode(&c->event, &value, &err), err);
    ASSERT_OK(cs_event_decode(cs_buf_bytes(&value), &ev, &err), err);
    return ev;
}

static void check_key(const struct cs_composed *c, const struct cs_event *ev, size_t part,
                      enum cs_key_role role) {
    struct cs_err err;
    const struct cs_keyed_chain *k = &ev->data.upload.part[part];
    const struct cs_cert *leaf = c->leaves[part];
    struct cs_pop_fields f = {.log_id = "unit_0a1b2c3d",
                              .account = "acme",
                              .kid = fixture->kid,
                              .event_id = ev->id,
                              .subject = ev->subject,
                              .sealed_key = k->key.bytes,
                              .leaf_sha256 = leaf->sha256};
    assert_true(cs_pop_verify(fixture->crypto, leaf->key, &f, k->pop.bytes));
    struct cs_seal_context ctx = {"unit_0a1b2c3d", "acme", ev->subject, role, leaf->spki_sha256};
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = NULL;
    ASSERT_OK(cs_unseal(fixture->crypto, custodian, &ctx, k->key.bytes, &key, &err), err);
    uint8_t pop[CS_POP_MAX];
    size_t len;
    ASSERT_OK(cs_pop_sign(fixture->crypto, key, leaf->key, &f, pop, &len, &err), err);
}

static void good_files_become_events_that_hold(void **state) {
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(taken); i++) {
        struct cs_err err;
        struct cs_composed *c = NULL;
        if (!upload(&taken[i], &c, &err))
            fail_msg("%s with %s: %s", taken[i].cert, taken[i].key, err.msg);
        CS_AUTO(cs_event_free) struct cs_event *ev = round_trip(c);
        const struct cs_keyed_chain *k = &ev->data.upload.part[0];
        assert_int_equal(k->chain_len, c->chains[0].n);
        assert_int_equal(k->csr, taken[i].csr);
        struct cs_chain_facts facts;
        assert_int_equal(cs_chain_check(fixture->crypto, c->chains[0].certs, c->chains[0].n, &facts),
                         CS_CODE_NONE);
        if (!taken[i].csr)
            check_key(c, ev, 0, CS_ROLE_SINGLE);
        cs_composed_free(c);
    }
}

static void chains_are_put_in_order_and_doubles_dropped(void **state) {
    (void)state;
    struct cs_err err;
    struct cs_composed *c;
    ASSERT_OK(upload(&(struct row){.cert = "ca-root.pem+ca-sub.pem+p256.pem",
                                   .key = "p256.key",
                                   .chain = "ca-sub.pem"},
                     &c, &err),
              err);
    assert_int_equal(c->chains[0].n, 3);
    assert_string_equal(c->chains[0].certs[0]->common_name, "www.example.com");
    assert_string_equal(c->chains[0].certs[1]->common_name, "Example Sub CA");
    assert_int_equal(c->notes, 0);
    cs_composed_free(c);
    ASSERT_OK(upload(&(struct row){.cert = "p256.pem", .key = "p256.key"}, &c, &err), err);
    assert_int_equal(c->notes, CS_NOTE(CHAIN_INCOMPLETE));
    cs_composed_free(c);
}

// --- SM2 -------------------------------------------------------------------------------------------------

static bool upload_sm2(const char *name, const char *sign, const char *sign_key, const char *enc,
                       const char *enc_key, struct cs_composed **ret, struct cs_err *err) {
    struct cs_compose c = compose();
    struct cs_upload_source src = {.type = CS_EVENT_CERTIFICATE_UPLOAD,
                                   .source = CS_SOURCE_UPLOADED,
                                   .name = name,
                                   .algorithm = CS_ALGORITHM_SM2,
                                   .parts = 2};
    src.part[0] = (struct cs_keyed_source){text(sign), {0}, text(sign_key), false};
    src.part[1] = (struct cs_keyed_source){text(enc), {0}, text(enc_key), false};
    return cs_compose_upload(&c, &src, ret, err);
}

static void sm2_pairs(void **state) {
    static const struct {
        const char *name, *sign, *sign_key, *enc, *enc_key;
        enum cs_code code;
    } rows[] = {
        {"gate", "sm2-sign.pem", "sm2-sign.key", "sm2-enc.pem", "sm2-enc.key", CS_CODE_NONE},
        {"gate", "sm2-sign.pem", "sm2.label", "sm2-enc.pem", "sm2-enc.key", CS_CODE_NONE},
        {"gate.x", "sm2-sign.pem", "sm2-sign.key", "sm2-enc.pem", "sm2-enc.key", CS_CODE_NAME_INVALID},
        {"gate", "sm2-enc.pem", "sm2-enc.key", "sm2-sign.pem", "sm2-sign.key", CS_CODE_SM2_USAGE},
        {"gate", "sm2-sign.pem", "sm2-sign.key", "sm2-samekey.pem", "sm2-samekey.key", CS_CODE_SM2_SAME_KEY},
        {"gate", "sm2-sign.pem", "sm2-sign.key", "sm2-other.pem", "sm2-other.key", CS_CODE_SM2_SUBJECT},
        {"gate", "sm2-sign.pem", "sm2-enc.key", "sm2-enc.pem", "sm2-enc.key", CS_CODE_KEY_MISMATCH},
        {"gate", "p256.pem", "p256.key", "sm2-enc.pem", "sm2-enc.key", CS_CODE_CERT_ALGORITHM},
        {"gate", "sm2-sign.pem", NULL, "sm2-enc.pem", "sm2-enc.key", CS_CODE_KEY_MISSING},
    };
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct cs_err err = {0};
        struct cs_composed *c = NULL;
        bool ok =
            upload_sm2(rows[i].name, rows[i].sign, rows[i].sign_key, rows[i].enc, rows[i].enc_key, &c, &err);
        if (ok != (rows[i].code == CS_CODE_NONE) || (!ok && err.code != rows[i].code))
            fail_msg("%s, %s: wanted %s, got %s: %s", rows[i].sign, rows[i].enc, cs_code_name(rows[i].code),
                     ok ? "an event" : cs_code_name(err.code), ok ? "" : err.msg);
        if (!ok)
            continue;
        CS_AUTO(cs_event_free) struct cs_event *ev = round_trip(c);
        check_key(c, ev, 0, CS_ROLE_SM2_SIGN);
        check_key(c, ev, 1, CS_ROLE_SM2_ENCRYPT);
        cs_composed_free(c);
    }
}

// --- requests and public keys ------------------------------------------------------------------------------

static void requests(void **state) {
    static const struct {
        const char *csr, *key;
        enum cs_code code;
    } rows[] = {
        {"request.pem", "p256.key", CS_CODE_NONE},
        {"request.new", "p256.key", CS_CODE_NONE},
        {"request.pem", "other.key", CS_CODE_KEY_MISMATCH},
        {"p256.pem", "p256.key", CS_CODE_CSR_MALFORMED},
        {"request.der", "p256.key", CS_CODE_CSR_MALFORMED},
        {"request.pem", "rsa.legacy", CS_CODE_KEY_ENCRYPTED},
    };
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct cs_compose c = compose();
        struct cs_err err = {0};
        struct cs_composed *event = NULL;
        struct cs_source_text csr = text(rows[i].csr), key = text(rows[i].key);
        bool ok = cs_compose_csr(&c, "req", &csr, &key, &event, &err);
        if (ok != (rows[i].code == CS_CODE_NONE) || (!ok && err.code != rows[i].code))
            fail_msg("%s: wanted %s, got %s: %s", rows[i].csr, cs_code_name(rows[i].code),
                     ok ? "an event" : cs_code_name(err.code), ok ? "" : err.msg);
        if (!ok)
            continue;
        CS_AUTO(cs_event_free) struct cs_event *ev = round_trip(event);
        struct cs_pop_fields f = {.log_id = "unit_0a1b2c3d",
                                  .account = "acme",
                                  .kid = fixture->kid,
                                  .event_id = ev->id,
                                  .subject = ev->subject,
                                  .sealed_key = ev->data.csr.key.bytes,
                                  .leaf_sha256 = event->csr->sha256};
        assert_true(cs_pop_verify(fixture->crypto, event->csr->key, &f, ev->data.csr.pop.bytes));
        cs_composed_free(event);
    }
}

static void public_keys_name_themselves(void **state) {
    (void)state;
    struct cs_compose c = compose();
    struct cs_err err;
    struct cs_composed *event;
    struct cs_source_text key = text("p256.pub");
    ASSERT_OK(cs_compose_public_key(&c, CS_EVENT_TRUST_ADD, &key, &event, &err), err);
    cs_kid kid;
    cs_kid_of_spki(fixture->crypto, event->event.data.trust.key.bytes, kid);
    assert_string_equal(event->event.subject, kid);
    cs_composed_free(event);
    // A private key is not taken for its public half: it should not have come here.
    static const char *const wrong[] = {"p256.pem", "p256.key", "p256.sec1"};
    for (size_t i = 0; i < CS_ARRAY_LEN(wrong); i++) {
        key = text(wrong[i]);
        assert_false(cs_compose_public_key(&c, CS_EVENT_AGENT_ENROLL, &key, &event, &err));
        assert_int_equal(err.kind, CS_ERR_REJECT);
    }
}

static void tags_are_checked(void **state) {
    (void)state;
    struct cs_compose c = compose();
    struct cs_err err;
    struct cs_composed *event;
    const char *good[] = {"env=prod", "team:web"}, *bad[] = {"env=prod", "no blanks"}, *many[CS_TAGS_MAX + 1];
    for (size_t i = 0; i < CS_ARRAY_LEN(many); i++)
        many[i] = "t";
    struct cs_upload_source src = {.type = CS_EVENT_CERTIFICATE_UPLOAD,
                                   .source = CS_SOURCE_UPLOADED,
                                   .name = "www",
                                   .algorithm = CS_ALGORITHM_INTERNATIONAL,
                                   .parts = 1,
                                   .tags = good,
                                   .tags_len = 2};
    src.part[0] = (struct cs_keyed_source){text("p256.pem"), {0}, text("p256.key"), false};
    ASSERT_OK(cs_compose_upload(&c, &src, &event, &err), err);
    assert_string_equal(event->event.data.upload.tags.tag[1], "team:web");
    cs_composed_free(event);
    src.tags = bad;
    assert_false(cs_compose_upload(&c, &src, &event, &err));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
    src.tags = many;
    src.tags_len = CS_ARRAY_LEN(many);
    assert_false(cs_compose_upload(&c, &src, &event, &err));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
}

static int setup(void **state) {
    struct cs_err err;
    (void)state;
    fixture = agent_fixture_new();
    now_ms = cs_clock_wall_ms(cs_clock_real());
    ASSERT_OK(cs_privkey_generate(CS_KEY_X25519, 0, &custodian, &err), err);
    ASSERT_OK(cs_privkey_spki(custodian, &custodian_spki, &custodian_spki_len, &err), err);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    free(custodian_spki);
    cs_privkey_free(custodian);
    agent_fixture_free(fixture);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_local_refusal_has_its_code_and_names_the_file),
        cmocka_unit_test(good_files_become_events_that_hold),
        cmocka_unit_test(chains_are_put_in_order_and_doubles_dropped),
        cmocka_unit_test(sm2_pairs),
        cmocka_unit_test(requests),
        cmocka_unit_test(public_keys_name_themselves),
        cmocka_unit_test(tags_are_checked),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
