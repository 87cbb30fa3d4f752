// SPDX-License-Identifier: Apache-2.0
//
// The API as a server: health, TLS that is renewed while it runs, and clients that are slow, huge, many or
// broken.
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api_fixture.h"

#define RECEIVE_MS 60000

static struct af *f;
static struct fx_key *agent;
static const char *token;

static int setup(void **state) {
    (void)state;
    f = af_new();
    fx_account(f->fx, "acme", "owner-1", CS_SITE_CN, true);
    agent = fx_agent(f->fx, "acme", CS_CAN_UPLOAD | CS_CAN_READ, "*");
    af_commit(f);
    token = af_token(f, agent, "acme");
    f->settings.api_max_connections = 64;
    af_start(f);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    af_stop(f);
    af_free(f);
    return 0;
}

static void test_ready(void **state) {
    (void)state;
    struct cs_board *b = f->consumer.board;
    cs_board_expect_workers(b, 1);
    CS_AUTO(af_answer_clear) struct af_answer alone = af_get(f, NULL, "/readyz");
    assert_status(alone, 503);
    assert_non_null(strstr(af_text(alone.json, "reason"), "0 of 1 workers"));
    cs_board_worker_joined(b, true);
    cs_board_state(b, 0, CS_BOARD_RUNNING, NULL);
    cs_board_progress(b, 0, 40, 42, 40, af_now_ms());
    cs_board_state(b, 1, CS_BOARD_REPLAYING, NULL);
    CS_AUTO(af_answer_clear) struct af_answer replaying = af_get(f, NULL, "/readyz");
    assert_status(replaying, 503);
    const json_t *second = json_array_get(json_object_get(replaying.json, "partitions"), 1);
    assert_string_equal(af_text(second, "state"), "replaying");
    cs_board_state(b, 1, CS_BOARD_ELSEWHERE, NULL);
    CS_AUTO(af_answer_clear) struct af_answer ready = af_get(f, NULL, "/readyz");
    assert_status(ready, 200);
    assert_true(json_is_true(json_object_get(ready.json, "ready")));
    const json_t *partitions = json_object_get(ready.json, "partitions"),
                 *first = json_array_get(partitions, 0);
    assert_int_equal(json_array_size(partitions), AF_PARTITIONS);
    assert_string_equal(af_text(first, "state"), "running");
    assert_int_equal(af_int(first, "next_offset"), 40);
    assert_int_equal(af_int(first, "lag"), 2);
    assert_int_equal(af_int(first, "outcomes"), 40);
    assert_string_equal(af_text(json_array_get(partitions, 2), "state"), "elsewhere");
    cs_board_state(b, 2, CS_BOARD_STOPPED, "the outcome \"41\" differs");
    CS_AUTO(af_answer_clear) struct af_answer fork = af_get(f, NULL, "/readyz");
    assert_status(fork, 503);
    assert_non_null(strstr(af_text(fork.json, "reason"), "the outcome \"41\" differs"));
    assert_string_equal(af_text(json_array_get(json_object_get(fork.json, "partitions"), 2), "reason"),
                        "the outcome \"41\" differs");
    CS_AUTO(af_answer_clear) struct af_answer health = af_get(f, NULL, "/healthz");
    assert_status(health, 200);
    cs_board_state(b, 2, CS_BOARD_ELSEWHERE, NULL);
}

static void test_metrics(void **state) {
    (void)state;
    CS_AUTO(af_answer_clear) struct af_answer list = af_get(f, token, "/v1/accounts/acme/certificates");
    assert_status(list, 200);
    CS_AUTO(af_answer_clear) struct af_answer a = af_get(f, NULL, "/metrics");
    assert_status(a, 200);
    assert_string_equal(a.type, CS_METRICS_CONTENT_TYPE);
    assert_non_null(strstr(
        a.text, "certsync_api_requests_total{route=\"/v1/accounts/{account}/certificates\",status=\"200\"}"));
    assert_non_null(strstr(a.text, "certsync_api_redis_up 1\n"));
    assert_non_null(strstr(a.text, "certsync_api_waiting_requests 0\n"));
}

static void test_paths(void **state) {
    (void)state;
    static const char *const nothing[] = {"/",
                                          "/v1",
                                          "/v1/accounts/",
                                          "/v1/accounts//certificates",
                                          "/v1/accounts/acme/certificates/a/b",
                                          "/v1/accounts/acme/certificates/"};
    for (size_t i = 0; i < CS_ARRAY_LEN(nothing); i++) {
        CS_AUTO(af_answer_clear) struct af_answer a = af_get(f, token, "%s", nothing[i]);
        assert_problem(a, 404, "");
    }
    int fd = af_connect(f);
    static const char post[] =
        "POST /v1/accounts/acme/certificates HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
    assert_int_equal(send(fd, post, sizeof post - 1, MSG_NOSIGNAL), sizeof post - 1);
    assert_int_equal(af_receive(fd, RECEIVE_MS, NULL, 0), 405);
    close(fd);
}

// All connections but a few are held by clients that send nothing, or a byte now and then; others are still
// served, and the slow ones are closed in time.
static void test_hostile(void **state) {
    (void)state;
    int slow[50];
    for (size_t i = 0; i < CS_ARRAY_LEN(slow); i++) {
        slow[i] = af_connect(f);
        if (i % 2)
            assert_int_equal(send(slow[i], "GET /v1/acc", 11, MSG_NOSIGNAL), 11);
    }
    CS_AUTO(af_answer_clear) struct af_answer served = af_get(f, token, "/v1/accounts/acme/certificates");
    assert_status(served, 200);
    assert_true(served.seconds < 5); // long before the slow ones are closed
    int64_t end = af_now_ms() + RECEIVE_MS;
    char byte;
    for (size_t i = 0; i < CS_ARRAY_LEN(slow); i++) {
        struct timeval left = {.tv_sec = (end - af_now_ms()) / 1000 + 1};
        setsockopt(slow[i], SOL_SOCKET, SO_RCVTIMEO, &left, sizeof left);
        while (recv(slow[i], &byte, 1, 0) > 0)
            ;
        assert_true(af_now_ms() < end);
        close(slow[i]);
    }
}

static void test_malformed(void **state) {
    (void)state;
    static char huge_header[60000], huge_path[60000];
    snprintf(
        huge_header, sizeof huge_header,
        "GET /v1/accounts/acme/certificates HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %040000d\r\n\r\n",
        0);
    snprintf(huge_path, sizeof huge_path, "GET /%040000d HTTP/1.1\r\nHost: x\r\n\r\n", 0);
    const char *requests[] = {
        "GARBAGE\r\n\r\n",
        "GET /healthz HTTP/9.9\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        huge_header,
        huge_path,
        "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET /v1/accounts/%zz/certificates HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /v1/accounts/a%00b/certificates HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /v1/accounts/%ff/certificates HTTP/1.1\r\nHost: x\r\n\r\n",
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(requests); i++) {
        int fd = af_connect(f);
        size_t len = strlen(requests[i]);
        if (i == 2)
            len = 11; // has a NUL in it
        send(fd, requests[i], len, MSG_NOSIGNAL);
        shutdown(fd, SHUT_WR);
        int status = af_receive(fd, RECEIVE_MS, NULL, 0);
        assert_true(status == -1 || (status >= 400 && status < 500) || status == 505);
        close(fd);
        CS_AUTO(af_answer_clear) struct af_answer alive = af_get(f, NULL, "/healthz");
        assert_status(alive, 200);
    }
}

// ---- TLS

static const char *cert_file, *key_file;

static void write_pair(const char *cn) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    assert_true(key && x);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), strcmp(cn, "first") == 0 ? 3600 : 7200);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)cn, -1,
                               -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, key);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    FILE *c = fopen(cert_file, "w"), *k = fopen(key_file, "w");
    assert_true(c && k && PEM_write_X509(c, x) && PEM_write_PrivateKey(k, key, NULL, NULL, 0, NULL, NULL));
    fclose(c);
    fclose(k);
    X509_free(x);
    EVP_PKEY_free(key);
}

// The server's common name, after a request over the connection that got the answer 200.
static void get_over_tls(SSL **ret_ssl, char *cn, size_t cn_size) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, af_connect(f));
    assert_int_equal(SSL_connect(ssl), 1);
    X509 *x = SSL_get1_peer_certificate(ssl);
    X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, cn, (int)cn_size);
    X509_free(x);
    SSL_CTX_free(ctx);
    *ret_ssl = ssl;
}

static int ask_over_tls(SSL *ssl) {
    char text[8192];
    int len = snprintf(
        text, sizeof text,
        "GET /v1/accounts/acme/certificates HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", token);
    assert_int_equal(SSL_write(ssl, text, len), len);
    size_t got = 0;
    const char *head = NULL, *length = NULL;
    do { // the whole of it: the connection is used again
        int n = SSL_read(ssl, text + got, (int)(sizeof text - 1 - got));
        assert_true(n > 0);
        got += (size_t)n;
        text[got] = '\0';
        head = strstr(text, "\r\n\r\n");
        length = head ? strstr(text, "Content-Length: ") : NULL;
    } while (!length || strlen(head + 4) < strtoul(length + 16, NULL, 10));
    return atoi(text + 9);
}

static void drop_tls(SSL *ssl) {
    close(SSL_get_fd(ssl));
    SSL_free(ssl);
}

static bool reloaded;
static void reload(struct af *a) {
    struct cs_err err;
    reloaded = cs_api_reload_tls(a->api, &err);
}

static void test_tls(void **state) {
    (void)state;
    char cn[64];
    SSL *first = NULL, *second = NULL, *third = NULL;
    af_stop(f);
    cert_file = fx_text(f->fx, "%s/tls.crt", f->dir);
    key_file = fx_text(f->fx, "%s/tls.key", f->dir);
    write_pair("first");
    f->settings.api_tls_certificate = (char *)(uintptr_t)cert_file;
    f->settings.api_tls_key = (char *)(uintptr_t)key_file;
    af_start(f);
    char expiry[256];
    snprintf(expiry, sizeof expiry, "certsync_tls_certificate_expiry_seconds{file=\"%s\"}", cert_file);
    get_over_tls(&first, cn, sizeof cn);
    assert_string_equal(cn, "first");
    assert_int_equal(ask_over_tls(first), 200);
    // Without anybody's word: in a pod nobody sends a signal.
    af_wait_metric(f, expiry, 1, 1e12);
    double first_end = af_metric(f, expiry);
    write_pair("second");
    af_wait_metric(f, expiry, first_end + 1, 1e12);
    get_over_tls(&second, cn, sizeof cn);
    assert_string_equal(cn, "second");
    assert_int_equal(ask_over_tls(second), 200);
    assert_int_equal(ask_over_tls(first), 200); // goes on with what it had
    // A file that is no certificate changes nothing.
    FILE *c = fopen(cert_file, "w");
    fputs("nothing\n", c);
    fclose(c);
    af_in_loop(f, reload);
    assert_false(reloaded);
    get_over_tls(&third, cn, sizeof cn);
    assert_string_equal(cn, "second");
    assert_int_equal(ask_over_tls(third), 200);
    drop_tls(first);
    drop_tls(second);
    drop_tls(third);
    // Plain HTTP gets nothing there.
    int fd = af_send(f, token, "/healthz");
    assert_int_equal(af_receive(fd, RECEIVE_MS, NULL, 0), -1);
    close(fd);
    af_stop(f);
    f->settings.api_tls_certificate = f->settings.api_tls_key = (char *)(uintptr_t) "";
    af_start(f);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ready),   cmocka_unit_test(test_metrics),   cmocka_unit_test(test_paths),
        cmocka_unit_test(test_hostile), cmocka_unit_test(test_malformed), cmocka_unit_test(test_tls),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
