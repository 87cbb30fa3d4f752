// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "http_internal.h"

// The whole error queue, first cause first.
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

// A daemon must not ask for the password of an encrypted key.
static int no_password(char *buf, int size, int writing, void *asked) {
    (void)buf;
    (void)size;
    (void)writing;
    *(bool *)asked = true;
    return -1;
}

// Whether this process can read the file. OpenSSL's own message is hard to understand.
static bool readable(const char *file, struct cs_err *err) {
    FILE *f = fopen(file, "re");
    int code = errno;
    if (f)
        fclose(f);
    return f ? true
             : cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: %s; %s", file, strerror(code),
                          code == EACCES ? "the user that this program runs as must be able to read it"
                                         : "put the file there, or name the one that you have");
}

static bool use_certificate(SSL_CTX *ctx, const char *file, struct cs_err *err) {
    return readable(file, err) &&
           (SSL_CTX_use_certificate_chain_file(ctx, file) == 1 ||
            fail(err, file, "is no PEM certificate chain; give the certificate, then those of its CAs"));
}

static bool use_key(SSL_CTX *ctx, const char *file, struct cs_err *err) {
    static const char other[] = "does not belong to the certificate; give the key that belongs to it";
    if (!readable(file, err))
        return false;
    bool locked = false;
    SSL_CTX_set_default_passwd_cb(ctx, no_password);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, &locked);
    if (SSL_CTX_use_PrivateKey_file(ctx, file, SSL_FILETYPE_PEM) != 1) {
        return fail(err, file,
                    ERR_GET_LIB(ERR_peek_last_error()) == ERR_LIB_X509 ? other
                    : locked ? "is encrypted; decrypt it: openssl pkey -in OLD -out NEW"
                             : "is no PEM private key; give the key of the certificate");
    }
    return SSL_CTX_check_private_key(ctx) == 1 || fail(err, file, other);
}

static bool fill(SSL_CTX *ctx, const struct cs_http_options *o, struct cs_err *err) {
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1)
        return fail(err, "TLS", "cannot be set up");
    if (!use_certificate(ctx, o->tls_cert_file, err))
        return http_setting_failed(err, o->tls_cert_setting);
    return use_key(ctx, o->tls_key_file, err) || http_setting_failed(err, o->tls_key_setting);
}

bool http_tls_new(const struct cs_http_options *o, SSL_CTX **ret, struct cs_err *err) {
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx)
        return fail(err, "TLS", "cannot be set up");
    if (!fill(ctx, o, err)) {
        SSL_CTX_free(ctx);
        return false;
    }
    *ret = ctx;
    return true;
}
