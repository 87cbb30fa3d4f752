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

// Each message begins with the setting at fault, and says what to do. A try says what a start says.
static void expect_start(const struct cs_http_options *o, bool in_use, const char *const *words) {
    struct cs_loop *loop = NULL;
    struct cs_http_server *server = NULL;
    struct cs_err tried = {0}, started = {0};
    bool busy = false;
    assert_true(cs_loop_new(&(struct cs_loop_hooks){0}, &loop, &started));
    bool could = cs_http_server_try(o, &busy, &tried);
    bool did = cs_http_server_new(cs_loop_base(loop), o, &server, &started);
    assert_int_equal(busy, in_use);
    assert_int_equal(could, did || in_use);
    if (!did && !in_use)
        assert_string_equal(tried.msg, started.msg);
    for (; *words; words++)
        if (!strstr(did ? "" : started.msg, *words))
            fail_msg("\"%s\" is not in: %s", *words, started.msg);
    cs_http_server_free(server);
    cs_loop_free(loop);
}

static void copy_key(const char *from, const char *to, const EVP_CIPHER *cipher) {
    FILE *in = fopen(from, "r"), *out = fopen(to, "w");
    assert_true(in && out);
    EVP_PKEY *key = PEM_read_PrivateKey(in, NULL, NULL, NULL);
    assert_true(PEM_write_PrivateKey(out, key, cipher, (const unsigned char *)"word", 4, NULL, NULL));
    EVP_PKEY_free(key);
    fclose(in);
    fclose(out);
}

static void test_what_keeps_it_from_starting(void **state) {
    (void)state;
    char dir[] = "/tmp/test_http.XXXXXX", cert[64], key[64], locked[64], other[64], absent[64], listen[64];
    assert_non_null(mkdtemp(dir));
    snprintf(cert, sizeof cert, "%s/cert.pem", dir);
    snprintf(key, sizeof key, "%s/key.pem", dir);
    snprintf(locked, sizeof locked, "%s/locked.pem", dir);
    snprintf(other, sizeof other, "%s/other.pem", dir);
    snprintf(absent, sizeof absent, "%s/absent.pem", dir);
    write_pair(dir, "other", NULL);
    copy_key(key, other, NULL);
    write_pair(dir, "first", NULL);
    copy_key(key, locked, EVP_aes_128_cbc());
    const struct {
        const char *cert, *key;
        const char *words[4];
    } rows[] = {
        {cert, key, {NULL}},
        {absent, key, {"api.tls_certificate: ", absent, "No such file", NULL}},
        {cert, absent, {"api.tls_key: ", absent, "No such file", NULL}},
        {key, key, {"api.tls_certificate: ", "no PEM certificate", NULL}},
        {cert, cert, {"api.tls_key: ", "no PEM private key", NULL}},
        {cert, other, {"api.tls_key: ", other, "does not belong to the certificate", NULL}},
        {cert, locked, {"api.tls_key: ", "is encrypted; decrypt it: openssl pkey", NULL}},
    };
    struct cs_http_options o = {.listen = "127.0.0.1:0",
                                .listen_setting = "api.listen",
                                .tls_cert_setting = "api.tls_certificate",
                                .tls_key_setting = "api.tls_key"};
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        o.tls_cert_file = rows[i].cert;
        o.tls_key_file = rows[i].key;
        expect_start(&o, false, rows[i].words);
    }
    // An address that is taken, or that is no one's here.
    struct fixture f;
    start(&f, (struct cs_http_options){0});
    snprintf(listen, sizeof listen, "127.0.0.1:%d", cs_http_server_port(f.server));
    o = (struct cs_http_options){.listen = listen, .listen_setting = "api.listen"};
    expect_start(&o, true,
                 (const char *const[]){"api.listen: ", listen, "another program listens there", NULL});
    stop(&f);
    o.listen = "192.0.2.1:8080";
    expect_start(&o, false, (const char *const[]){"api.listen: ", "has no such address", NULL});
    o.listen = "unix:/nowhere/socket";
    expect_start(&o, false, (const char *const[]){"api.listen: ", "directory must exist", NULL});
    unlink(cert);
    unlink(key);
    unlink(locked);
    unlink(other);
    rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tls),
                                       cmocka_unit_test(test_what_keeps_it_from_starting)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
