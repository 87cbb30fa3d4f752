// SPDX-License-Identifier: Apache-2.0
//
// The server's TLS: versions, certificates that are read again all or nothing, handshakes that never end.
#include "http_fixture.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static void write_pair(const char *dir, const char *cn, EVP_PKEY *other_key) {
    char path[128];
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    assert_true(key && x);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)cn, -1,
                               -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, key);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    snprintf(path, sizeof path, "%s/cert.pem", dir);
    FILE *f = fopen(path, "w");
    assert_true(f && PEM_write_X509(f, x));
    fclose(f);
    snprintf(path, sizeof path, "%s/key.pem", dir);
    f = fopen(path, "w");
    assert_true(f && PEM_write_PrivateKey(f, other_key ? other_key : key, NULL, NULL, 0, NULL, NULL));
    fclose(f);
    X509_free(x);
    EVP_PKEY_free(key);
}

// Connects with TLS; NULL where the handshake fails.
static SSL *tls_dial(SSL_CTX *ctx, int port, int max_version, char *cn, size_t size) {
    SSL *ssl = SSL_new(ctx);
    int fd = dial(port);
    SSL_set_fd(ssl, fd);
    if (max_version)
        SSL_set_max_proto_version(ssl, max_version);
    if (SSL_connect(ssl) != 1) {
        SSL_free(ssl);
        close(fd);
        return NULL;
    }
    X509 *peer = SSL_get1_peer_certificate(ssl);
    X509_NAME_get_text_by_NID(X509_get_subject_name(peer), NID_commonName, cn, (int)size);
    X509_free(peer);
    return ssl;
}

static void tls_close(SSL *ssl) {
    int fd = SSL_get_fd(ssl);
    SSL_free(ssl);
    close(fd);
}

static void tls_ask(SSL *ssl, const char *until) {
    static const char request[] = "GET /echo/tls HTTP/1.1\r\nHost: h\r\n\r\n";
    char out[4096] = "";
    size_t len = 0;
    assert_int_equal(SSL_write(ssl, request, sizeof request - 1), sizeof request - 1);
    while (!strstr(out, until)) {
        int n = SSL_read(ssl, out + len, (int)(sizeof out - 1 - len));
        assert_true(n > 0);
        len += (size_t)n;
        out[len] = '\0';
    }
}

struct reload {
    bool ok;
    struct cs_err err;
};
static void do_reload(struct fixture *f, void *arg) {
    struct reload *r = arg;
    r->ok = cs_http_server_reload_tls(f->server, &r->err);
}

static void test_tls(void **state) {
    (void)state;
    struct fixture f;
    char dir[] = "/tmp/test_http.XXXXXX", cert[64], key[64], cn[64];
    assert_non_null(mkdtemp(dir));
    snprintf(cert, sizeof cert, "%s/cert.pem", dir);
    snprintf(key, sizeof key, "%s/key.pem", dir);
    write_pair(dir, "first", NULL);
    start(&f,
          (struct cs_http_options){.tls_cert_file = cert, .tls_key_file = key, .request_timeout_ms = 1500});
    int port = cs_http_server_port(f.server);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(ctx, 0);
    SSL *one = tls_dial(ctx, port, 0, cn, sizeof cn);
    assert_non_null(one);
    assert_string_equal(cn, "first");
    tls_ask(one, "\"tls\"");
    // A kept connection answers at once: a second record does not wait 40 ms for the client's acknowledgement.
    int64_t begin = now_ms();
    for (int i = 0; i < 50; i++)
        tls_ask(one, "\"tls\"");
    assert_true(now_ms() - begin < 50 * 20);
    assert_null(tls_dial(ctx, port, TLS1_1_VERSION, cn, sizeof cn));
    // A pair that does not fit is not taken, not even in part.
    EVP_PKEY *other = EVP_EC_gen("P-256");
    write_pair(dir, "broken", other);
    EVP_PKEY_free(other);
    struct reload r = {.ok = true};
    in_loop(&f, do_reload, &r);
    assert_false(r.ok);
    assert_int_equal(r.err.kind, CS_ERR_CONFIG);
    SSL *two = tls_dial(ctx, port, 0, cn, sizeof cn);
    assert_non_null(two);
    assert_string_equal(cn, "first");
    // A good one is, and connections that are open live on.
    write_pair(dir, "second", NULL);
    in_loop(&f, do_reload, &r);
    assert_true(r.ok);
    SSL *three = tls_dial(ctx, port, TLS1_2_VERSION, cn, sizeof cn);
    assert_non_null(three);
    assert_string_equal(cn, "second");
    tls_ask(three, "\"tls\"");
    tls_ask(one, "\"tls\"");
    tls_close(one);
    tls_close(two);
    tls_close(three);
    // A client that never finishes its handshake is let go.
    char out[64];
    int fd = dial(port);
    puts_to(fd, "\x16\x03\x01");
    get(fd, out, sizeof out, NULL);
    close(fd);
    SSL_CTX_free(ctx);
    stop(&f);
    unlink(cert);
    unlink(key);
    rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tls)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
