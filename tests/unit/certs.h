// SPDX-License-Identifier: Apache-2.0
//
// Reading what tests/support/make_certs.sh made. Whatever fails here fails the test.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/model/pem.h"

#define TEST_FILE_MAX (1024 * 1024)

struct file {
    struct cs_bytes bytes;
    uint8_t *data; // NUL after the bytes
};

static inline void file_clear(struct file *f) {
    free(f->data);
    *f = (struct file){0};
}
CS_DEFINE_AUTO_CLEAR(struct file, file_clear)

static inline struct file file_read(const char *path) {
    struct file f = {.data = malloc(TEST_FILE_MAX + 1)};
    FILE *in = fopen(path, "rb");
    if (!in)
        fail_msg("cannot open %s", path);
    assert_non_null(f.data);
    f.bytes.len = fread(f.data, 1, TEST_FILE_MAX, in);
    fclose(in);
    f.data[f.bytes.len] = 0;
    f.bytes.data = f.data;
    return f;
}

static inline struct file test_file(const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", CERTSYNC_TEST_CERTS, name);
    return file_read(path);
}

static inline struct cs_crypto *test_crypto(void) {
    struct cs_crypto *c = NULL;
    struct cs_err err;
    if (!cs_crypto_new(&c, &err))
        fail_msg("%s", err.msg);
    return c;
}

// The first certificate of NAME.pem.
static inline struct cs_cert *test_cert(struct cs_crypto *c, const char *name) {
    char file[64];
    struct cs_err err;
    struct cs_cert **certs = NULL;
    size_t n = 0;
    snprintf(file, sizeof file, "%s.pem", name);
    CS_AUTO(file_clear) struct file f = test_file(file);
    if (!cs_pem_certs(c, file, f.bytes, &certs, &n, &err))
        fail_msg("%s", err.msg);
    struct cs_cert *first = certs[0];
    certs[0] = NULL;
    cs_certs_free(certs, n);
    return first;
}

static inline struct cs_privkey *test_key(const char *name) {
    char file[64];
    struct cs_err err;
    struct cs_privkey *key = NULL;
    snprintf(file, sizeof file, "%s.key", name);
    CS_AUTO(file_clear) struct file f = test_file(file);
    if (!cs_pem_privkey(NULL, file, f.bytes, &key, &err))
        fail_msg("%s", err.msg);
    return key;
}
