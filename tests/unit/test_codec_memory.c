// SPDX-License-Identifier: Apache-2.0
//
// Decoding and encoding with the Nth allocation failing, for every N: FATAL "out of memory" or a buffer's
// failure, nothing leaked or touched (the sanitizers' builds see the leaks). Linked with --wrap for the
// functions that allocate.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "entry_samples.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *s);

static long left = -1; // allocations that succeed before one fails; -1: none fails

static bool fails(void) {
    if (left < 0)
        return false;
    return left-- == 0;
}

void *__wrap_malloc(size_t size) {
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size) {
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size) {
    return fails() ? NULL : __real_realloc(p, size);
}

char *__wrap_strdup(const char *s) {
    return fails() ? NULL : __real_strdup(s);
}

static void entries(void **state) {
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(entry_samples); i++) {
        const char *text = entry_samples[i].text;
        struct cs_bytes bytes = {(const uint8_t *)text, strlen(text)};
        long failures = 0;
        for (bool whole = false; !whole; failures++) {
            struct cs_err err = {0};
            struct cs_buf b;
            cs_buf_init(&b, CS_EVENT_MAX);
            left = failures;
            bool ok = entry_samples[i].again(bytes, &b, &err);
            whole = left >= 0; // none failed
            left = -1;
            if (!ok) {
                assert_int_equal(err.kind, CS_ERR_FATAL);
                assert_non_null(strstr(err.msg, "out of memory"));
            }
            assert_int_equal(ok && cs_buf_ok(&b, &err), whole);
            cs_buf_clear(&b);
        }
        assert_true(failures > 1);
    }
}

static void events(void **state) {
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(samples); i++) {
        struct cs_bytes bytes = {(const uint8_t *)samples[i].text, strlen(samples[i].text)};
        long failures = 0;
        for (bool whole = false; !whole; failures++) {
            struct cs_err err = {0};
            struct cs_event *ev = NULL;
            struct cs_buf b;
            cs_buf_init(&b, CS_EVENT_MAX);
            left = failures;
            bool ok = cs_event_decode(bytes, &ev, &err) && cs_event_encode(ev, &b, &err);
            whole = left >= 0;
            left = -1;
            assert_int_equal(ok, whole);
            if (!ok)
                assert_int_equal(err.kind, CS_ERR_FATAL);
            cs_event_free(ev);
            cs_buf_clear(&b);
        }
        assert_true(failures > 3);
    }
}

static void copies(void **state) {
    (void)state;
    const char *text = entry_sample("certificate")->text;
    struct cs_err err;
    CS_AUTO(cs_certificate_clear) struct cs_certificate c;
    assert_true(cs_certificate_decode((struct cs_bytes){(const uint8_t *)text, strlen(text)}, &c, &err));
    long failures = 0;
    for (bool whole = false; !whole; failures++) {
        struct cs_cert_summary copy;
        left = failures;
        bool ok = cs_cert_summary_copy(&c.summary, &copy, &err);
        whole = left >= 0;
        left = -1;
        assert_int_equal(ok, whole);
        if (ok)
            cs_cert_summary_clear(&copy);
        else
            assert_int_equal(err.kind, CS_ERR_FATAL);
    }
    assert_int_equal(failures, 6); // subject, issuer, the list, two names
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries),
        cmocka_unit_test(events),
        cmocka_unit_test(copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
