// SPDX-License-Identifier: Apache-2.0
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "http_internal.h"

// The whole error queue, the first cause first.
static bool fail(struct cs_err *err, const char *file, const char *what) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, 400);
    char text[200];
    for (unsigned long e; (e = ERR_get_error()) != 0;) {
        ERR_error_string_n(e, text, sizeof text);
        if (b.len + strlen(text) + 2 < b.max)
            cs_buf_printf(&b, "%s%s", b.len ? "; " : "", text);
    }
    return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: %s (%s)", file, what,
                      b.data ? (const char *)b.data : "no reason given");
}

// An encrypted key must not make a daemon ask for a password.
static int no_password(char *buf, int size, int writing, void *arg) {
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static bool fill(SSL_CTX *ctx, const char *cert_file, const char *key_file, struct cs_err *err) {
    SSL_CTX_set_default_passwd_cb(ctx, no_password);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1)
        return fail(err, "TLS", "cannot be set up");
    if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1)
        return fail(err, cert_file, "is not a readable PEM certificate chain");
    if (SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1)
        return fail(err, key_file, "is not a readable PEM key that belongs to the certificate");
    if (SSL_CTX_check_private_key(ctx) != 1)
        return fail(err, key_file, "does not belong to the certificate");
    return true;
}

bool http_tls_new(const char *cert_file, const char *key_file, SSL_CTX **ret, struct cs_err *err) {
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx)
        return fail(err, "TLS", "cannot be set up");
    if (!fill(ctx, cert_file, key_file, err)) {
        SSL_CTX_free(ctx);
        return false;
    }
    *ret = ctx;
    return true;
}
