// SPDX-License-Identifier: Apache-2.0
//
// The form of documents in Redis: what is packed is unpacked to the same bytes, whatever it is, and
// nothing that is stored makes unpacking fail in another way than by an error.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/packed.h"
#include "entry_samples.h"

#define KEY "cert/acme/" SAMPLE_ID

static struct cs_bytes bytes_of_text(const char *text) {
    return (struct cs_bytes){(const uint8_t *)text, strlen(text)};
}

// The first byte of the form.
static int again(struct cs_packer *p, struct cs_bytes doc, bool lasting) {
    struct cs_bytes stored, back;
    struct cs_err err = {0};
    assert_true(cs_pack(p, KEY, doc, lasting, &stored, &err));
    int form = stored.len > 0 ? stored.data[0] : 0;
    uint8_t *copy = malloc(stored.len + 1); // of its own size: a sanitizer sees what is read beyond
    memcpy(copy, stored.data, stored.len);
    assert_true(cs_unpack(p, KEY, (struct cs_bytes){copy, stored.len}, &back, &err));
    assert_int_equal(back.len, doc.len);
    assert_memory_equal(back.data, doc.data, doc.len);
    free(copy);
    return form;
}

static void every_entry(void **state) {
    struct cs_packer *p = *state;
    for (size_t i = 0; i < CS_ARRAY_LEN(entry_samples); i++) {
        struct cs_bytes stored, doc = bytes_of_text(entry_samples[i].text);
        struct cs_err err;
        (void)again(p, doc, true);
        assert_int_not_equal(again(p, doc, false), 'z');
        assert_true(cs_pack(p, KEY, doc, true, &stored, &err));
        assert_true(stored.len <= doc.len);
    }
}

static void forms(void **state) {
    struct cs_packer *p = *state;
    static const struct {
        const char *doc;
        int form;
    } cases[] = {
        {"{\"seq\":42}", '{'},
        {"\"" SAMPLE_ID "\"", 'u'},
        {"\"" SAMPLE_ID2 "\"", 'u'},
        {"{\"a\":\"" SAMPLE_ID2 "\"}", 'p'},
        {"{\"a\":\"" SAMPLE_ID "\"}", 'p'},
        {"{\"a\":\"" SAMPLE_KID "\"}", 'p'},
        {"{\"a\":\"AAECAwQFBgcICQoLDA0ODw==\"}", 'p'},
        // What would come back as something else stays as it is.
        {"{\"a\":\"01234567-89AB-CDEF-0123-456789ABCDEF\"}", '{'},
        {"{\"a\":\"0123456789ABCDEF0123456789ABCDE\"}", '{'},
        {"{\"a\":\"AAECAwQFBgcICQoLDA0ODx==\"}", '{'}, // bits behind the end
        {"{\"a\":\"AAECAwQFBgcICQoLDA0ODw\"}", '{'},   // not padded
        {"{\"a\":\"CN=www.example.com, O=Example\"}", '{'},
        {"{\"a\":\"0123456789abcdef\\\\\",\"b\":\"" SAMPLE_ID "\"}", '{'}, // an escape hides what follows
        {"{\"a\":\"\\\"\",\"b\":\"" SAMPLE_ID "\"}", 'p'},
        {"{\"a\":\"", '{'},
        {"\"", '"'},
        {"", '-'},
        {"17", '-'},
        {"p", '-'},
        {"z0123", '-'},
        {"-", '-'},
        {"{\1\2\3}", '-'},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        int form = again(p, bytes_of_text(cases[i].doc), true);
        if (form != cases[i].form)
            fail_msg("%s: %c, not %c", cases[i].doc, form, cases[i].form);
    }
}

// The id that the key ends with takes a byte; of another key it is not there.
static void its_own_id(void **state) {
    struct cs_packer *p = *state;
    struct cs_bytes stored, other, doc = bytes_of_text("{\"a\":\"" SAMPLE_ID "\"}");
    struct cs_err err = {0};
    assert_true(cs_pack(p, KEY, doc, false, &stored, &err));
    assert_int_equal(stored.len, sizeof("p{\"a\":\"4\"}") - 1);
    char copy[64];
    size_t len = stored.len;
    memcpy(copy, stored.data, len);
    stored = (struct cs_bytes){(const uint8_t *)copy, len};
    assert_true(cs_unpack(p, "material/other/" SAMPLE_ID, stored, &other, &err));
    assert_memory_equal(other.data, doc.data, doc.len);
    static const char *const none[] = {NULL, "system", "cert/acme/no-id", "outcome/acme/" SAMPLE_ID "/again"};
    for (size_t i = 0; i < CS_ARRAY_LEN(none); i++) {
        assert_false(cs_unpack(p, none[i], stored, &other, &err));
        assert_true(cs_pack(p, none[i], doc, false, &other, &err));
        assert_int_equal(other.len, len + 16);
    }
}

static void a_certificate_takes_half(void **state) {
    struct cs_packer *p = *state;
    struct cs_bytes stored, doc = bytes_of_text(entry_sample("certificate")->text);
    struct cs_err err;
    assert_int_equal(again(p, doc, true), 'z');
    assert_true(cs_pack(p, KEY, doc, true, &stored, &err));
    assert_true(stored.len < doc.len / 2);
}

static void a_large_one(void **state) {
    struct cs_packer *p = *state;
    struct cs_buf b;
    cs_buf_init(&b, 1 << 20);
    cs_buf_puts(&b, "{\"shares\":[");
    for (int i = 0; i < 1000; i++)
        cs_buf_printf(&b, "%s{\"share\":\"%08x-89ab-4def-8123-456789abcdef\",\"to\":\"account-%d\"}",
                      i ? "," : "", i * 7919, i);
    cs_buf_puts(&b, "],\"key\":\"");
    for (int i = 0; i < 40000; i++)
        cs_buf_puts(&b, "AQID");
    cs_buf_puts(&b, "\"}");
    assert_int_equal(again(p, cs_buf_bytes(&b), true), 'z');
    cs_buf_clear(&b);
}

// A mark proves that certsync wrote it. So this is about releases, not about attackers; it must not
// crash all the same.
static void what_is_no_document(void **state) {
    struct cs_packer *p = *state;
    static const char *const odd[] = {"p\1", "p\1\200\200\200\200\200\1", "p\2\5abc", "p\3short",
                                      "u",   "u0123456789abcde",          "z",        "zabc",
                                      "q{}"};
    struct cs_err err = {0};
    struct cs_bytes stored, back = {0};
    for (size_t i = 0; i < CS_ARRAY_LEN(odd); i++) {
        assert_false(cs_unpack(p, KEY, bytes_of_text(odd[i]), &back, &err));
        assert_int_equal(err.kind, CS_ERR_FATAL);
        assert_non_null(strstr(err.msg, "upgrade certsync-consumer"));
        assert_null(back.data);
    }
    assert_true(cs_unpack(p, KEY, (struct cs_bytes){0}, &back, &err)); // absent
    assert_null(back.data);
    assert_true(cs_pack(p, KEY, bytes_of_text(entry_sample("certificate")->text), true, &stored, &err));
    uint8_t *bent = malloc(stored.len);
    size_t len = stored.len;
    const uint8_t *good = memcpy(malloc(len), stored.data, len);
    for (size_t i = 0; i < len; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            memcpy(bent, good, len);
            bent[i] ^= (uint8_t)(1u << bit);
            bool ok = cs_unpack(p, KEY, (struct cs_bytes){bent, len}, &back, &err);
            assert_true(ok || err.kind == CS_ERR_FATAL);
            ok = cs_unpack(p, KEY, (struct cs_bytes){good, i}, &back, &err);
            assert_true(ok || err.kind == CS_ERR_FATAL);
        }
    free(bent);
    free((void *)(uintptr_t)good);
}

static int setup(void **state) {
    struct cs_err err;
    struct cs_packer *p = NULL;
    if (!cs_packer_new(&p, &err))
        return 1;
    *state = p;
    return 0;
}

static int teardown(void **state) {
    cs_packer_free(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_entry), cmocka_unit_test(forms),
        cmocka_unit_test(its_own_id),  cmocka_unit_test(a_certificate_takes_half),
        cmocka_unit_test(a_large_one), cmocka_unit_test(what_is_no_document),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
