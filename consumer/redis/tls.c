// SPDX-License-Identifier: Apache-2.0
#include "redis/tls.h"

#ifndef CERTSYNC_REDIS_TLS

bool cs_redis_tls_begin(redisContext *c, const struct cs_redis_target *target, const char *ca_file,
                        struct ssl_ctx_st **kept, struct cs_err *err) {
    (void)c;
    (void)target;
    (void)ca_file;
    (void)kept;
    (void)err;
    return true;
}

void cs_redis_tls_free(struct ssl_ctx_st *kept) {
    (void)kept;
}

const char *cs_redis_why(redisContext *c) {
    return c->errstr;
}

#else

#include <hiredis/hiredis_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

#define SYSTEM_CAS "/etc/ssl/certs"

// The first error's text: the others follow from it. NULL: the queue is empty. Use it at once.
static const char *reason(void) {
    unsigned long e = ERR_get_error();
    const char *text = ERR_SYSTEM_ERROR(e) ? strerror(ERR_GET_REASON(e)) : ERR_reason_error_string(e);
    ERR_clear_error();
    return e == 0 ? NULL : text ? text : "OpenSSL gives no reason";
}

static bool renew(const char *ca_file, SSL_CTX **kept, struct cs_err *err) {
    ERR_clear_error();
    SSL_CTX *fresh = SSL_CTX_new(TLS_client_method());
    bool ok = fresh && SSL_CTX_load_verify_locations(fresh, ca_file[0] ? ca_file : NULL,
                                                     ca_file[0] ? NULL : SYSTEM_CAS) == 1;
    const char *why = reason();
    if (!ok) {
        SSL_CTX_free(fresh);
        return *kept || cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                                   "cannot set up TLS for Redis with the CAs of %s: %s; check redis.ca",
                                   ca_file[0] ? ca_file : SYSTEM_CAS, why ? why : "out of memory");
    }
    SSL_CTX_set_verify(fresh, SSL_VERIFY_PEER, NULL);
    SSL_CTX_free(*kept);
    *kept = fresh;
    return true;
}

bool cs_redis_tls_begin(redisContext *c, const struct cs_redis_target *target, const char *ca_file,
                        struct ssl_ctx_st **kept, struct cs_err *err) {
    if (target->transport != CS_REDIS_TLS)
        return true;
    if (!renew(ca_file, kept, err))
        return false;
    SSL *ssl = SSL_new(*kept);
    if (!ssl || SSL_set_tlsext_host_name(ssl, target->host) != 1) {
        SSL_free(ssl);
        return cs_err_oom(err);
    }
    c->privdata = ssl; // borrowed: the connection owns it from here on
    if (redisInitiateSSL(c, ssl) == REDIS_OK)
        return true;
    cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "%s", cs_redis_why(c));
    c->privdata = NULL;
    SSL_free(ssl); // a connection that failed does not own it
    return false;
}

void cs_redis_tls_free(struct ssl_ctx_st *kept) {
    SSL_CTX_free(kept);
}

const char *cs_redis_why(redisContext *c) {
    if (!c->privdata)
        return c->errstr;
    const char *why = reason();
    long verified = SSL_get_verify_result(c->privdata);
    if (verified != X509_V_OK)
        snprintf(c->errstr, sizeof c->errstr, "TLS with Redis failed: its certificate: %s; check redis.ca",
                 X509_verify_cert_error_string(verified));
    else if (why && (c->err == REDIS_ERR_IO || c->err == REDIS_ERR_EOF))
        snprintf(c->errstr, sizeof c->errstr, "TLS with Redis failed: %s", why);
    return c->errstr;
}

#endif
