// SPDX-License-Identifier: Apache-2.0
//
// Corrections by root, the epochs that follow from them, and which outcomes count.
#include "certsync/base/text.h"
#include "certsync/model/correction.h"
#include "certsync/model/outcome.h"
#include "certsync/model/sign.h"
#include "worker/corrections.h"
#include "worker/outcome_chain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LOG "prod_1a2b3c4d"

struct world {
    struct cs_crypto *crypto;
    struct cs_privkey *root, *other;
    struct cs_pubkey *pub;
    cs_kid kid;
};

static void must(bool ok, const struct cs_err *err) {
    if (!ok)
        fail_msg("%s", err->msg);
}

static int setup(void **state) {
    struct world *w = calloc(1, sizeof *w);
    struct cs_err err = {0};
    uint8_t *spki = NULL;
    size_t len = 0;
    must(cs_crypto_new(&w->crypto, &err) && cs_privkey_generate(CS_KEY_P256, 0, &w->root, &err) &&
             cs_privkey_generate(CS_KEY_P256, 0, &w->other, &err) &&
             cs_privkey_spki(w->root, &spki, &len, &err) &&
             cs_pubkey_new(w->crypto, (struct cs_bytes){spki, len}, &w->pub, &err),
         &err);
    cs_privkey_kid(w->crypto, w->root, w->kid);
    free(spki);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    cs_pubkey_free(w->pub);
    cs_privkey_free(w->root);
    cs_privkey_free(w->other);
    cs_crypto_free(w->crypto);
    free(w);
    return 0;
}

static struct cs_correction sample(const struct world *w, int number, int32_t partition, int64_t from) {
    struct cs_correction c = {.log_id = LOG,
                              .time_s = 1795435200,
                              .partition = partition,
                              .from = from,
                              .reason = "a release took expired leaves"};
    snprintf(c.id, sizeof c.id, "0192f1d0-1111-7abc-8def-%012d", number);
    memcpy(c.kid, w->kid, sizeof c.kid);
    return c;
}

struct signed_record {
    struct cs_buf value;
    char sig[CS_EVENT_SIG_MAX * 2];
    struct cs_header headers[2];
    struct cs_record r;
};

static void sign(struct world *w, const struct cs_privkey *by, const struct cs_correction *c,
                 struct signed_record *ret) {
    uint8_t sig[CS_EVENT_SIG_MAX];
    size_t len = 0;
    struct cs_err err = {0};
    cs_buf_init(&ret->value, CS_CORRECTION_MAX);
    must(cs_correction_encode(c, &ret->value, &err), &err);
    must(cs_event_sign(w->crypto, by, cs_buf_bytes(&ret->value), sig, &len, &err), &err);
    cs_base64_encode(sig, len, ret->sig);
    ret->headers[0] =
        (struct cs_header){"content-type", {(const uint8_t *)CS_CONTENT_TYPE, strlen(CS_CONTENT_TYPE)}};
    ret->headers[1] =
        (struct cs_header){CS_SIG_HEADER, {(const uint8_t *)ret->sig, cs_base64_encoded_len(len)}};
    ret->r =
        (struct cs_record){.value = cs_buf_bytes(&ret->value), .headers = ret->headers, .headers_len = 2};
}

static void refused(struct world *w, const struct cs_privkey *by, const struct cs_correction *c,
                    const char *why) {
    struct signed_record s;
    struct cs_correction ret;
    struct cs_err err = {0};
    sign(w, by, c, &s);
    assert_false(cs_correction_open(w->crypto, w->pub, LOG, 4, &s.r, &ret, &err));
    assert_string_equal(err.msg, why);
    cs_buf_clear(&s.value);
}

static void only_root_corrects(void **state) {
    struct world *w = *state;
    struct cs_correction c = sample(w, 1, 3, 1042);
    struct cs_correction ret;
    struct signed_record s;
    struct cs_err err = {0};
    sign(w, w->root, &c, &s);
    must(cs_correction_open(w->crypto, w->pub, LOG, 4, &s.r, &ret, &err), &err);
    assert_int_equal(ret.partition, 3);
    assert_int_equal(ret.from, 1042);
    assert_string_equal(ret.reason, c.reason);
    s.r.headers_len = 1;
    assert_false(cs_correction_open(w->crypto, w->pub, LOG, 4, &s.r, &ret, &err));
    cs_buf_clear(&s.value);
    refused(w, w->other, &c, "root has not signed it"); // though it says that it is root's
    memcpy(c.log_id, "prod_99999999", sizeof "prod_99999999");
    refused(w, w->root, &c, "it is for another log");
    c = sample(w, 1, 4, 1);
    refused(w, w->root, &c, "the log has no such partition");
}

static void what_is_no_correction(void **state) {
    struct world *w = *state;
    struct cs_buf b;
    struct cs_err err = {0};
    struct cs_correction c = sample(w, 1, 3, 0);
    cs_buf_init(&b, CS_CORRECTION_MAX);
    assert_false(cs_correction_encode(&c, &b, &err));
    assert_non_null(strstr(err.msg, "from"));
    cs_buf_reset(&b);
    c = sample(w, 1, 3, 1);
    c.reason[0] = '\0';
    assert_false(cs_correction_encode(&c, &b, &err));
    if (!strstr(err.msg, "reason"))
        fail_msg("%s", err.msg);
    cs_buf_clear(&b);
}

// A copy counts once, and what does not count begins no epoch.
static void a_list_of_them(void **state) {
    struct world *w = *state;
    struct cs_corrections *list = NULL;
    struct cs_bytes spki = cs_pubkey_spki(w->pub);
    const struct cs_corrections_of of = {LOG, spki, 4};
    const struct cs_correction all[] = {sample(w, 1, 3, 10), sample(w, 1, 3, 10), sample(w, 2, 3, 5),
                                        sample(w, 3, 9, 1), sample(w, 4, 0, 7)};
    static const bool counts[] = {true, false, true, false, true};
    struct cs_err err = {0};
    must(cs_corrections_new(&of, &list, &err), &err);
    for (size_t i = 0; i < CS_ARRAY_LEN(all); i++) {
        struct signed_record s;
        struct cs_err why;
        bool taken = false;
        sign(w, w->root, &all[i], &s);
        must(cs_corrections_take(list, &s.r, &taken, &why, &err), &err);
        assert_int_equal(taken, counts[i]);
        cs_buf_clear(&s.value);
    }
    struct cs_epochs e = cs_corrections_now(list);
    assert_int_equal(e.len, 3);
    static const int64_t of_3[][2] = {{1, 0}, {4, 0}, {5, 2}, {9, 2}, {10, 2}, {1000, 2}};
    for (size_t i = 0; i < CS_ARRAY_LEN(of_3); i++)
        assert_int_equal(cs_epoch_of(&e, 3, of_3[i][0]), of_3[i][1]);
    assert_int_equal(cs_epoch_last(&e, 3), 2);
    assert_int_equal(cs_epoch_last(&e, 0), 1);
    assert_int_equal(cs_epoch_last(&e, 1), 0);
    assert_int_equal(cs_epoch_began(&e, 3, 2)->from, 5);
    assert_null(cs_epoch_began(&e, 3, 3));
    struct cs_epochs first = cs_epochs_until(&e, 3, 1);
    assert_int_equal(cs_epoch_of(&first, 3, 9), 0);
    assert_int_equal(cs_epoch_of(&first, 3, 10), 1);
    assert_int_equal(cs_epoch_last(&(struct cs_epochs){0}, 3), 0);
    cs_corrections_free(list);
}

// ---- the chain

struct link {
    struct cs_buf value;
    struct cs_header header;
    struct cs_record r;
    uint8_t sha256[32];
};

static void make_link(struct world *w, struct link *l, int64_t offset, int64_t n, int64_t epoch,
                      const uint8_t prev[32]) {
    struct cs_outcome o = {.n = n,
                           .log_id = LOG,
                           .partition = 3,
                           .epoch = epoch,
                           .offset = n - 1,
                           .verdict = {.status = CS_STATUS_REJECTED,
                                       .code = CS_CODE_EVENT_MALFORMED,
                                       .detail = "\"epoch\":7,\"prev\""}};
    static const uint8_t zeros[32];
    cs_outcome_set_id(w->crypto, &o);
    memcpy(o.prev_sha256, prev ? prev : zeros, 32);
    cs_buf_init(&l->value, 4096);
    cs_outcome_encode(&l->value, &o);
    cs_crypto_sha256(w->crypto, cs_buf_bytes(&l->value), l->sha256);
    l->header = (struct cs_header){CS_OUTCOME_MARK_HEADER,
                                   {(const uint8_t *)"01234567.0123456789012345678901", CS_OUTCOME_MARK_LEN}};
    l->r = (struct cs_record){.partition = 3,
                              .offset = offset,
                              .key = {(const uint8_t *)"", 0},
                              .value = cs_buf_bytes(&l->value),
                              .headers = &l->header,
                              .headers_len = 1};
    assert_int_equal(cs_outcome_epoch(l->r.value), epoch);
}

static void the_newest_epoch_counts(void **state) {
    struct world *w = *state;
    const struct cs_correction list[] = {sample(w, 1, 3, 3), sample(w, 2, 3, 2)};
    struct link l[7];
    make_link(w, &l[0], 0, 1, 0, NULL);
    make_link(w, &l[1], 1, 2, 0, l[0].sha256);
    make_link(w, &l[2], 2, 3, 0, l[1].sha256);
    make_link(w, &l[3], 3, 3, 1, l[1].sha256);
    make_link(w, &l[4], 4, 2, 2, l[0].sha256);
    make_link(w, &l[5], 5, 3, 1, l[1].sha256); // by one who had not heard of the second correction
    make_link(w, &l[6], 6, 3, 2, l[4].sha256);
    static const enum cs_chain_link with[3][7] = {
        {CS_CHAIN_NEXT, CS_CHAIN_NEXT, CS_CHAIN_NEXT, CS_CHAIN_NEWER, CS_CHAIN_NEWER, CS_CHAIN_NEWER,
         CS_CHAIN_NEWER},
        {CS_CHAIN_NEXT, CS_CHAIN_NEXT, CS_CHAIN_SUPERSEDED, CS_CHAIN_NEXT, CS_CHAIN_NEWER, CS_CHAIN_COPY,
         CS_CHAIN_NEWER},
        {CS_CHAIN_NEXT, CS_CHAIN_SUPERSEDED, CS_CHAIN_SUPERSEDED, CS_CHAIN_SUPERSEDED, CS_CHAIN_NEXT,
         CS_CHAIN_SUPERSEDED, CS_CHAIN_NEXT},
    };
    for (size_t known = 0; known <= 2; known++) {
        const struct cs_epochs e = {list, known};
        struct cs_chain c;
        cs_chain_begin(&c, NULL, &e, 3, 0, NULL, 0);
        for (size_t i = 0; i < 7; i++) {
            int64_t n = 0;
            assert_int_equal(cs_chain_take(&c, w->crypto, &l[i].r, &n), with[known][i]);
        }
        assert_int_equal(c.last, 3);
        assert_memory_equal(c.sha256, l[known == 0 ? 2 : known == 1 ? 3 : 6].sha256, 32);
    }
    struct cs_err err = {0};
    struct cs_chain c;
    cs_chain_begin(&c, NULL, NULL, 3, 0, NULL, 0);
    assert_false(cs_chain_broken(&c, CS_CHAIN_NEWER, "cert.outcomes", &l[6].r, 3, &err));
    assert_int_equal(err.kind, CS_ERR_RETRY); // its correction may be read yet
    // Where a correction set aside all that was published, a stranger's record does not make the log one without marks.
    const struct cs_epochs all = {&(struct cs_correction){.partition = 3, .from = 1}, 1};
    int64_t n = 0;
    cs_chain_begin(&c, NULL, &all, 3, 0, NULL, 0);
    c.unmarked = 1;
    assert_true(cs_chain_is_unmarked(&c, "cert.outcomes", &err));
    assert_int_equal(cs_chain_take(&c, w->crypto, &l[0].r, &n), CS_CHAIN_SUPERSEDED);
    assert_false(cs_chain_is_unmarked(&c, "cert.outcomes", &err));
    for (size_t i = 0; i < 7; i++)
        cs_buf_clear(&l[i].value);
}

// Each epoch's outcomes and derived events have ids of their own, and epoch 0 stays as it was.
static void an_epoch_has_its_own_ids(void **state) {
    struct world *w = *state;
    struct cs_outcome o = {.n = 7, .log_id = LOG, .partition = 3};
    cs_uuid zero;
    cs_outcome_set_id(w->crypto, &o);
    memcpy(zero, o.id, sizeof zero);
    o.epoch = 1;
    cs_outcome_set_id(w->crypto, &o);
    assert_string_not_equal(o.id, zero);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_root_corrects),       cmocka_unit_test(what_is_no_correction),
        cmocka_unit_test(a_list_of_them),           cmocka_unit_test(the_newest_epoch_counts),
        cmocka_unit_test(an_epoch_has_its_own_ids),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
