// SPDX-License-Identifier: Apache-2.0
//
// Requests of an account, and certificates that find their key by one.
#define _GNU_SOURCE // memmem
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

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

static struct cs_event matching(struct fx *fx, const char *name, const struct fx_cert *cert) {
    struct cs_event ev = fx_event(fx, CS_EVENT_CERTIFICATE_UPLOAD, "acme", agent, NULL);
    strcpy(ev.data.upload.name, name);
    ev.data.upload.algorithm = CS_ALGORITHM_INTERNATIONAL;
    ev.data.upload.source = CS_SOURCE_UPLOADED;
    ev.data.upload.parts = 1;
    ev.data.upload.part[0].csr = true;
    ev.data.upload.part[0].chain_len = 2;
    ev.data.upload.part[0].chain[0].bytes = cert->chain[0];
    ev.data.upload.part[0].chain[1].bytes = cert->chain[1];
    return ev;
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
    ev = fx_csr(fx, "acme", agent, NULL, "second", key);
    const struct cs_verdict *v = fx_send(fx, agent, &ev);
    assert_verdict(v, APPLIED, UNCHANGED);
    assert_string_equal(v->subject, id);
    ev = fx_csr(fx, "acme", agent, id, "first", key);
    assert_verdict(fx_send(fx, agent, &ev), APPLIED, UNCHANGED);
    ev = fx_csr(fx, "acme", agent, id, "first", fx_cert_key_only(fx, "P-256"));
    assert_rejected(fx_send(fx, agent, &ev), CERTIFICATE_ID_USED);
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
        cmocka_unit_test(odd_requests),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
