// SPDX-License-Identifier: Apache-2.0
//
// Requests of an account, and certificates that find their key by one.
#define _GNU_SOURCE // memmem
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/json_write.h"
#include "fixture.h"

static struct fx_key *agent; // may do everything to every name

static int setup(void **state) {
    struct fx *fx = fx_new(2);
    fx_begin(fx);
    fx_account(fx, "acme", "acme-inc", CS_SITE_CN, true);
    agent = fx_agent(fx, "acme", CS_CAN_ALL & ~CS_CAN_ENROLL, "*");
    *state = fx;
    return 0;
}

static int teardown(void **state) {
    fx_check_invariants(*state);
    fx_free(*state);
    return 0;
}

static bool holds(struct cs_bytes doc, const char *text) {
    return doc.data && memmem(doc.data, doc.len, text, strlen(text));
}

static struct cs_event matching_by(struct fx *fx, enum cs_event_type type, struct fx_key *by,
                                   const char *name, const struct fx_cert *cert) {
    struct cs_event ev = fx_event(fx, type, "acme", by, NULL);
    strcpy(ev.data.upload.name, name);
    ev.data.upload.algorithm = CS_ALGORITHM_INTERNATIONAL;
    ev.data.upload.source = type == CS_EVENT_CERTIFICATE_UPLOAD ? CS_SOURCE_UPLOADED : CS_SOURCE_OFFICIAL;
    ev.data.upload.parts = 1;
    ev.data.upload.part[0].csr = true;
    ev.data.upload.part[0].chain_len = 2;
    ev.data.upload.part[0].chain[0].bytes = cert->chain[0];
    ev.data.upload.part[0].chain[1].bytes = cert->chain[1];
    return ev;
}

static struct cs_event matching(struct fx *fx, const char *name, const struct fx_cert *cert) {
    return matching_by(fx, CS_EVENT_CERTIFICATE_UPLOAD, agent, name, cert);
}

static void requests_are_matched_by_their_key(void **state) {
    struct fx *fx = *state;
    struct fx_cert *key = fx_cert_key_only(fx, "P-256");
    struct fx_cert *cert = fx_cert(fx, (struct fx_cert_how){.same_key = key});
    struct cs_event ev = matching(fx, "matched", cert);
    assert_rejected(fx_send(fx, agent, &ev), CSR_NO_MATCH);
    const char *csr = fx_uuid(fx);
    struct cs_event add = fx_csr(fx, "acme", agent, csr, "request", key);
    assert_applied(fx_send(fx, agent, &add));
    assert_true(fx_in_index(fx, "acme", "csrs/acme", fx_text(fx, "request/%s", csr), NULL));
    ev = matching(fx, "matched", cert);
    const struct cs_verdict *v = fx_send(fx, agent, &ev);
    assert_applied(v);
    // The key is the request's, as it was sealed for it.
    struct cs_buf b;
    cs_buf_init(&b, 1 << 16);
    cs_json_put_base64(&b, add.data.csr.key.bytes);
    cs_buf_puts(&b, fx_text(fx, ",\"key_subject\":\"%s\",\"role\":\"single\"", csr));
    assert_true(holds(fx_doc(fx, "acme", fx_text(fx, "material/acme/%s", ev.subject)), (const char *)b.data));
    cs_buf_clear(&b);

    // The certificate keeps its key when the request goes, and is still the same one.
    struct cs_event del = fx_event(fx, CS_EVENT_CSR_DELETE, "acme", agent, csr);
    assert_applied(fx_send(fx, agent, &del));
    assert_false(fx_in_index(fx, "acme", "csrs/acme", fx_text(fx, "request/%s", csr), NULL));
    ev = matching(fx, "matched", cert);
    assert_verdict(fx_send(fx, agent, &ev), APPLIED, UNCHANGED);
    ev = matching(fx, "unmatched", cert);
    assert_rejected(fx_send(fx, agent, &ev), CSR_NO_MATCH);
    del = fx_event(fx, CS_EVENT_CSR_DELETE, "acme", agent, csr);
    assert_rejected(fx_send(fx, agent, &del), CSR_NOT_FOUND);
    add = fx_csr(fx, "acme", agent, csr, "request", fx_cert_key_only(fx, "P-256"));
    assert_rejected(fx_send(fx, agent, &add), CERTIFICATE_ID_USED);
}

static void the_same_request_again(void **state) {
    struct fx *fx = *state;
    struct fx_cert *key = fx_cert_key_only(fx, "P-384");
    const char *id = fx_uuid(fx);
    struct cs_event ev = fx_csr(fx, "acme", agent, id, "first", key);
    assert_applied(fx_send(fx, agent, &ev));
    struct cs_event again = fx_csr_of(fx, "acme", agent, NULL, "first", key, ev.data.csr.csr.bytes);
    const struct cs_verdict *v = fx_send(fx, agent, &again);
    assert_verdict(v, APPLIED, UNCHANGED);
    assert_string_equal(v->subject, id);
    again = fx_csr_of(fx, "acme", agent, id, "first", key, ev.data.csr.csr.bytes);
    assert_verdict(fx_send(fx, agent, &again), APPLIED, UNCHANGED);
    // Another name, or another request by the same key: neither would be there if it were called applied.
    again = fx_csr_of(fx, "acme", agent, NULL, "second", key, ev.data.csr.csr.bytes);
    assert_rejected(fx_send(fx, agent, &again), CSR_EXISTS);
    again = fx_csr(fx, "acme", agent, NULL, "first", key);
    assert_rejected(fx_send(fx, agent, &again), CSR_EXISTS);
    // Whose name is taken learns that, not whose it is.
    again = fx_csr(fx, "acme", agent, id, "first", fx_cert_key_only(fx, "P-256"));
    assert_rejected(fx_send(fx, agent, &again), CSR_NAME_TAKEN);
    again = fx_csr(fx, "acme", agent, id, "other", fx_cert_key_only(fx, "P-256"));
    assert_rejected(fx_send(fx, agent, &again), CERTIFICATE_ID_USED);
    // A name is free again when its request is deleted; the one of a certificate is another thing.
    struct cs_event del = fx_event(fx, CS_EVENT_CSR_DELETE, "acme", agent, id);
    assert_applied(fx_send(fx, agent, &del));
    again = fx_csr(fx, "acme", agent, NULL, "first", key);
    assert_applied(fx_send(fx, agent, &again));
}

static void a_used_request_says_by_what(void **state) {
    struct fx *fx = *state;
    struct fx_cert *key = fx_cert_key_only(fx, "P-256");
    struct cs_event add = fx_csr(fx, "acme", agent, NULL, "to-use", key);
    assert_applied(fx_send(fx, agent, &add));
    const char *doc = fx_text(fx, "csr/acme/%s", add.subject);
    assert_false(holds(fx_doc(fx, "acme", doc), "\"used\""));
    struct cs_event first = matching(fx, "used-by", fx_cert(fx, (struct fx_cert_how){.same_key = key}));
    assert_applied(fx_send(fx, agent, &first));
    assert_true(holds(
        fx_doc(fx, "acme", doc),
        fx_text(fx, "\"used\":{\"certificate\":\"%s\",\"name\":\"used-by\",\"version\":1,", first.subject)));
    struct cs_event next = matching(fx, "used-by", fx_cert(fx, (struct fx_cert_how){.same_key = key}));
    next.data.upload.replace = true;
    assert_applied(fx_send(fx, agent, &next));
    assert_true(holds(
        fx_doc(fx, "acme", doc),
        fx_text(fx, "\"used\":{\"certificate\":\"%s\",\"name\":\"used-by\",\"version\":2,", first.subject)));
}

static void a_request_needs_a_name(void **state) {
    struct fx *fx = *state;
    struct fx_cert *key = fx_cert_key_only(fx, "P-256");
    EVP_PKEY *pkey = key->key;
    X509_REQ *req = X509_REQ_new();
    assert_true(X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(req), "CN", MBSTRING_ASC,
                                           (const unsigned char *)"www.example.com", -1, -1, 0));
    assert_true(X509_REQ_set_pubkey(req, pkey) && X509_REQ_sign(req, pkey, EVP_sha256()) > 0);
    uint8_t *der = NULL;
    int len = i2d_X509_REQ(req, &der);
    assert_true(len > 0);
    struct cs_event ev =
        fx_csr_of(fx, "acme", agent, NULL, "nameless", key, (struct cs_bytes){der, (size_t)len});
    assert_rejected(fx_send(fx, agent, &ev), CSR_NO_NAME);
    OPENSSL_free(der);
    X509_REQ_free(req);
}

// The public key of a request is no secret: it stands in every certificate for it, and anybody may issue one. Who
// may not touch the request gets nothing of it.
static void a_request_gives_its_key_to_those_who_may_touch_it(void **state) {
    struct fx *fx = *state;
    static const struct {
        unsigned can;
        const char *names;
        bool may;
    } rows[] = {
        {CS_CAN_UPLOAD | CS_CAN_CSR, "*", true},
        {CS_CAN_UPLOAD | CS_CAN_CSR, "*e*", true}, // both names
        {CS_CAN_UPLOAD, "*", false},
        {CS_CAN_CSR, "*", false},
        {CS_CAN_UPLOAD | CS_CAN_CSR, "taken-*", false}, // not the request's
        {CS_CAN_UPLOAD | CS_CAN_CSR, "secret", false},  // not the certificate's
        {CS_CAN_UPLOAD | CS_CAN_DELETE | CS_CAN_SHARE | CS_CAN_READ, "*", false},
    };
    for (int replaces = 0; replaces < 2; replaces++)
        for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
            const char *name = fx_text(fx, "taken-%d-%zu", replaces, i);
            struct fx_cert *key = fx_cert_key_only(fx, "P-256"), *own = fx_cert(fx, (struct fx_cert_how){0});
            struct fx_cert *cert = fx_cert(fx, (struct fx_cert_how){.same_key = key});
            struct fx_key *by = fx_agent(fx, "acme", rows[i].can, rows[i].names);
            struct cs_event add = fx_csr(fx, "acme", agent, NULL, "secret", key);
            assert_applied(fx_send(fx, agent, &add));
            struct cs_event ev = fx_upload(fx, "acme", agent, NULL, name, own);
            if (replaces)
                assert_applied(fx_send(fx, agent, &ev));
            ev = matching_by(fx, CS_EVENT_CERTIFICATE_UPLOAD, by, name, cert);
            ev.data.upload.replace = replaces;
            if (rows[i].may)
                assert_applied(fx_send(fx, by, &ev));
            else
                assert_rejected(fx_send(fx, by, &ev), EVENT_FORBIDDEN);
            add = fx_event(fx, CS_EVENT_CSR_DELETE, "acme", agent, add.subject);
            assert_applied(fx_send(fx, agent, &add));
        }
}

// The platform's CA brings certificates for all names.
static void issuers_answer_requests(void **state) {
    struct fx *fx = *state;
    struct fx_cert *key = fx_cert_key_only(fx, "P-256");
    struct fx_cert *cert = fx_cert(fx, (struct fx_cert_how){.same_key = key});
    struct cs_event ev = matching_by(fx, CS_EVENT_CERTIFICATE_ISSUE, fx->issuer, "issued", cert);
    assert_rejected(fx_send(fx, fx->issuer, &ev), CSR_NO_MATCH);
    struct cs_event add = fx_csr(fx, "acme", agent, NULL, "to-be-issued", key);
    assert_applied(fx_send(fx, agent, &add));
    ev = matching_by(fx, CS_EVENT_CERTIFICATE_ISSUE, fx->issuer, "issued", cert);
    assert_applied(fx_send(fx, fx->issuer, &ev));
}

static void odd_requests(void **state) {
    struct fx *fx = *state;
    struct fx_cert *key = fx_cert_key_only(fx, "P-256");
    struct cs_event ev = fx_csr(fx, "acme", agent, NULL, "a/b", key);
    assert_rejected(fx_send(fx, agent, &ev), NAME_INVALID);
    ev = fx_csr(fx, "acme", agent, NULL, "odd", key);
    ev.data.csr.csr.bytes.len--;
    assert_rejected(fx_send(fx, agent, &ev), CSR_MALFORMED);
    ev = fx_csr(fx, "acme", agent, NULL, "odd", key);
    uint8_t *changed = fx_alloc(fx, ev.data.csr.csr.bytes.len);
    memcpy(changed, ev.data.csr.csr.bytes.data, ev.data.csr.csr.bytes.len);
    char *cn = memmem(changed, ev.data.csr.csr.bytes.len, "www", 3);
    assert_non_null(cn);
    cn[0] = 'x';
    ev.data.csr.csr.bytes.data = changed;
    assert_rejected(fx_send(fx, agent, &ev), CSR_BAD_SIGNATURE);
    ev = fx_csr(fx, "acme", agent, NULL, "odd", key);
    ev.data.csr.key.bytes = ev.data.csr.csr.bytes;
    assert_rejected(fx_send(fx, agent, &ev), KEY_MALFORMED);
    ev = fx_csr(fx, "acme", agent, NULL, "odd", key);
    strcpy(ev.id, fx_uuid(fx)); // the proof was made for another event
    assert_rejected(fx_send(fx, agent, &ev), KEY_MISMATCH);
    ev = fx_csr(fx, "acme", agent, NULL, "odd", key);
    assert_applied(fx_send(fx, agent, &ev));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_matched_by_their_key),
        cmocka_unit_test(the_same_request_again),
        cmocka_unit_test(a_used_request_says_by_what),
        cmocka_unit_test(a_request_needs_a_name),
        cmocka_unit_test(a_request_gives_its_key_to_those_who_may_touch_it),
        cmocka_unit_test(issuers_answer_requests),
        cmocka_unit_test(odd_requests),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
