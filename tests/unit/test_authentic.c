// SPDX-License-Identifier: Apache-2.0
//
// The MACs of a catalog against fixed numbers. They were computed by another program: HKDF of
// Python's cryptography, and SipHash-2-4-128 written from the paper, which gives the paper's own
// vectors. Whoever changes their form makes every catalog in Redis damage: then all are made again.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "catalog/witness.h"
#include "certsync/base/text.h"

#define PARTITION 7

// PKCS#8 of the P-256 key whose private number is 0x0102…1f20.
static const char service_hex[] =
    "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420"
    "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20a14403420004"
    "515c3d6eb9e396b904d3feca7f54fdcd0cc1e997bf375dca515ad0a6c3b4035f"
    "4536be3a50f318fbf9a5475902a221502bef0d57e08c53b2cc0a56f17d9f9354";

static struct cs_privkey *service;
static struct cs_authentic *a;

static int set_up(void **state) {
    uint8_t der[sizeof service_hex / 2];
    struct cs_err err;
    (void)state;
    assert_true(cs_hex_decode(service_hex, sizeof service_hex - 1, der));
    assert_true(cs_privkey_from_pkcs8((struct cs_bytes){der, sizeof der}, &service, &err));
    assert_true(cs_authentic_new(service, "example", &a, &err));
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    cs_authentic_free(a);
    cs_privkey_free(service);
    return 0;
}

static void expect_hex(const void *bytes, size_t len, const char *want) {
    char hex[65];
    cs_hex_encode(bytes, len, hex);
    assert_string_equal(hex, want);
}

static struct cs_bytes text(const char *s) {
    return (struct cs_bytes){(const uint8_t *)s, strlen(s)};
}

static void test_root_and_key(void **state) {
    uint8_t root[CS_MAC_ROOT_LEN], key[CS_MAC_KEY_LEN];
    struct cs_err err;
    (void)state;
    assert_true(cs_mac_root(service, "example", "certsync catalog", root, &err));
    expect_hex(root, sizeof root, "53a81a95895f1b626228858efcdc34612381335f668df08e69deed661d608dd5");
    assert_true(cs_mac_key(root, "certsync catalog 7", key, &err));
    expect_hex(key, sizeof key, "f40ef9b32ff088d448e52fc779595cd8");
}

// The paper's vector of no bytes, by the key 00 … 0f.
static void test_siphash(void **state) {
    uint8_t key[CS_MAC_KEY_LEN], mac[CS_MAC_LEN];
    struct cs_mac *m = NULL;
    struct cs_err err;
    (void)state;
    for (uint8_t i = 0; i < sizeof key; i++)
        key[i] = i;
    assert_true(cs_mac_new(&m, &err));
    assert_true(cs_mac_of(m, key, (struct cs_bytes){0}, (struct cs_bytes){0}, mac, &err));
    expect_hex(mac, sizeof mac, "a3817f04ba25a8e66df67214c7550293");
    cs_mac_free(m);
}

static void test_document(void **state) {
    struct cs_mark mark;
    struct cs_place place;
    struct cs_err err;
    (void)state;
    assert_true(cs_authentic_mark(a, PARTITION, "account/acme", text("{\"n\":1}"), &mark, &err));
    expect_hex(mark.mark, sizeof mark.mark, "2a2abc0201c104f5c725");
    expect_hex(mark.witness, sizeof mark.witness, "f9bf058a127e");
    assert_true(cs_authentic_place(a, PARTITION, "account/acme", &place, &err));
    assert_int_equal(place.bucket, 177);
    expect_hex(place.name, sizeof place.name, "15ce71c1448f2188");
}

static void test_member(void **state) {
    char mark[CS_MEMBER_MARK_SIZE];
    uint64_t secret = 0;
    struct cs_err err;
    (void)state;
    assert_true(cs_authentic_member_mark(a, PARTITION, "view/acme", "www/c/1", mark, &secret, &err));
    assert_string_equal(mark, "!bhLQOzZV7V0");
    assert_true(secret == 0xc957d236c0f67987u);
    assert_int_equal(cs_witness_share(secret, 0), 732199649281);
    assert_int_equal(cs_witness_share(secret, 5), 657960468481);
    assert_int_equal(cs_witness_share(secret, 1700000000000), 434601197569);
    assert_int_equal(CS_WITNESS_COUNT(732199649281 + 657960468481), 2);
}

// What a witness and its document say together.
static void test_facts(void **state) {
    struct cs_mark mark;
    struct cs_err err;
    uint8_t stored[7 + CS_MARK_LEN];
    (void)state;
    assert_true(cs_authentic_mark(a, PARTITION, "account/acme", text("{\"n\":1}"), &mark, &err));
    memcpy(stored, "{\"n\":1}", 7);
    memcpy(stored + 7, mark.mark, sizeof mark.mark);
    const struct cs_bytes is = {mark.witness, sizeof mark.witness}, none = {0};
    const struct cs_bytes other = {(const uint8_t *)"\0\0\0\0\0\0", CS_WITNESS_LEN}, cut = {mark.witness, 5};
    const struct {
        bool there;
        struct cs_bytes witness;
        const char *said; // NULL: it is a fact
    } rows[] = {
        {true, is, NULL},        {false, none, NULL},
        {false, is, "is gone"},  {true, none, "was put back, or its witness is gone"},
        {true, other, "newest"}, {true, cut, "newest"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cs_bytes value = {rows[i].there ? stored : NULL, rows[i].there ? sizeof stored : 0};
        bool ok = cs_authentic_fact(a, PARTITION, "account/acme", &value, rows[i].witness, &err);
        assert_int_equal(ok, rows[i].said == NULL);
        if (!ok) {
            assert_int_equal(err.kind, CS_ERR_DAMAGED);
            assert_non_null(strstr(err.msg, rows[i].said));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_root_and_key), cmocka_unit_test(test_siphash), cmocka_unit_test(test_document),
        cmocka_unit_test(test_member),       cmocka_unit_test(test_facts),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
