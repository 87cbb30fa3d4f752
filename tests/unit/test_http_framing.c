// SPDX-License-Identifier: Apache-2.0
//
// Where a request ends (RFC 9112): raw bytes over a socket, each row sent at once and byte by byte. What two parsers
// could read in two ways is refused and the connection closed: no row may ever reach /echo/hidden.
#include "http_fixture.h"

#include <netinet/tcp.h>

#define HIDDEN "GET /echo/hidden HTTP/1.1\r\nHost: h\r\n\r\n"
#define GET    "GET /echo/seen HTTP/1.1\r\nHost: h\r\n"
#define POST   "POST /body HTTP/1.1\r\nHost: h\r\n"

struct row {
    const char *what;
    const char *text;
    size_t len;
    int status; // of the first answer
};
#define ROW(what, text, status)                                                                              \
    { what, text, sizeof text - 1, status }

// Refused with this status, then closed: what comes behind (a request that would be answered) is not one.
static const struct row refused[] = {
    // The length of the body.
    ROW("body after HEAD", "HEAD /echo/seen HTTP/1.1\r\nHost: h\r\nContent-Length: 38\r\n\r\n" HIDDEN, 400),
    ROW("body after GET", GET "Content-Length: 38\r\n\r\n" HIDDEN, 400),
    ROW("body after OPTIONS", "OPTIONS /body HTTP/1.1\r\nHost: h\r\nContent-Length: 38\r\n\r\n" HIDDEN, 400),
    ROW("body after TRACE", "TRACE /body HTTP/1.1\r\nHost: h\r\nContent-Length: 38\r\n\r\n" HIDDEN, 400),
    ROW("chunks after GET", GET "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" HIDDEN, 400),
    ROW("chunks after HEAD",
        "HEAD / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" HIDDEN, 400),
    ROW("both", POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" HIDDEN, 400),
    ROW("both, other order", POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" HIDDEN,
        400),
    ROW("two lengths", POST "Content-Length: 0\r\nContent-Length: 38\r\n\r\n" HIDDEN, 400),
    ROW("the same length twice", POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc" HIDDEN, 400),
    ROW("a list of lengths", POST "Content-Length: 3, 3\r\n\r\nabc" HIDDEN, 400),
    ROW("plus", POST "Content-Length: +3\r\n\r\nabc" HIDDEN, 400),
    ROW("minus", POST "Content-Length: -3\r\n\r\nabc" HIDDEN, 400),
    ROW("hexadecimal", POST "Content-Length: 0x3\r\n\r\nabc" HIDDEN, 400),
    ROW("a blank in it", POST "Content-Length: 3 9\r\n\r\nabc" HIDDEN, 400),
    ROW("empty", POST "Content-Length:\r\n\r\n" HIDDEN, 400),
    ROW("beyond 64 bits", POST "Content-Length: 18446744073709551619\r\n\r\nabc" HIDDEN, 400),
    ROW("too large", POST "Content-Length: 5000000\r\n\r\n" HIDDEN, 413),
    ROW("underscore", POST "Content_Length: 3\r\nContent-Length : 3\r\n\r\nabc" HIDDEN, 400),
    ROW("gzip, chunked", POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" HIDDEN, 400),
    ROW("chunked twice", POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" HIDDEN, 400),
    ROW("two codings",
        POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" HIDDEN, 400),
    ROW("identity", POST "Transfer-Encoding: identity\r\n\r\n" HIDDEN, 400),
    ROW("xchunked", POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" HIDDEN, 400),
    ROW("quoted", POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n" HIDDEN, 400),
    ROW("a vertical tab", POST "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n" HIDDEN, 400),
    ROW("chunks in 1.0", "POST /body HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" HIDDEN, 400),
    // Header lines.
    ROW("blank before the colon", POST "Content-Length : 39\r\n\r\n" HIDDEN, 400),
    ROW("tab before the colon", POST "Content-Length\t: 39\r\n\r\n" HIDDEN, 400),
    ROW("blank before the colon of another", GET "X : y\r\n\r\n" HIDDEN, 400),
    ROW("NUL in a value", GET "X: a\0b\r\n\r\n" HIDDEN, 400),
    ROW("NUL in a name", GET "X\0Y: a\r\n\r\n" HIDDEN, 400),
    ROW("NUL hides a length", POST "X: a\0\r\nContent-Length: 38\r\n\r\n" HIDDEN, 400),
    ROW("a control character",
        GET "X: a\x01"
            "b\r\n\r\n" HIDDEN,
        400),
    ROW("DEL", GET "X: a\x7f\r\n\r\n" HIDDEN, 400),
    ROW("folding", GET "X: a\r\n b\r\n\r\n" HIDDEN, 400),
    ROW("folding with a tab", GET "X: a\r\n\tb\r\n\r\n" HIDDEN, 400),
    ROW("a folded length", POST "Content-Length:\r\n 39\r\n\r\n" HIDDEN, 400),
    ROW("blank before the first field", "GET /echo/seen HTTP/1.1\r\n Host: h\r\n\r\n" HIDDEN, 400),
    ROW("no colon", GET "nothing\r\n\r\n" HIDDEN, 400),
    ROW("no name", GET ": a\r\n\r\n" HIDDEN, 400),
    ROW("not ASCII in a name", GET "X\xc3\xa9: a\r\n\r\n" HIDDEN, 400),
    ROW("brackets in a name", GET "X[]: a\r\n\r\n" HIDDEN, 400),
    ROW("two authorizations", GET "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n" HIDDEN, 400),
    // Ends of lines.
    ROW("bare LF", "GET /echo/seen HTTP/1.1\nHost: h\n\n" HIDDEN, 400),
    ROW("bare LF in a header", GET "X: a\nContent-Length: 38\r\n\r\n" HIDDEN, 400),
    ROW("bare LF at the end", GET "X: a\r\n\n" HIDDEN, 400),
    ROW("bare CR", "GET /echo/seen HTTP/1.1\rHost: h\r\r" HIDDEN, 400),
    ROW("bare CR in a value", GET "X: a\rY: b\r\n\r\n" HIDDEN, 400),
    ROW("CR CR LF", GET "X: a\r\r\n\r\n" HIDDEN, 400),
    ROW("two empty lines before", "\r\n\r\n" HIDDEN, 400),
    // The request line.
    ROW("no version", "GET /echo/seen\r\nHost: h\r\n\r\n" HIDDEN, 400),
    ROW("two blanks", "GET  /echo/seen HTTP/1.1\r\nHost: h\r\n\r\n" HIDDEN, 400),
    ROW("a blank behind", "GET /echo/seen HTTP/1.1 \r\nHost: h\r\n\r\n" HIDDEN, 400),
    ROW("a tab", "GET\t/echo/seen HTTP/1.1\r\nHost: h\r\n\r\n" HIDDEN, 400),
    ROW("a blank before", " GET /echo/seen HTTP/1.1\r\nHost: h\r\n\r\n" HIDDEN, 400),
    ROW("a blank in the target", "GET /echo/se en HTTP/1.1\r\nHost: h\r\n\r\n" HIDDEN, 400),
    ROW("a control character in the target", "GET /echo/\x01 HTTP/1.1\r\nHost: h\r\n\r\n" HIDDEN, 400),
    ROW("NUL in the target", "GET /echo/\0 HTTP/1.1\r\nHost: h\r\n\r\n" HIDDEN, 400),
    ROW("not ASCII in the target", "GET /echo/\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n" HIDDEN, 400),
    ROW("a fragment", "GET /echo/seen#x HTTP/1.1\r\nHost: h\r\n\r\n" HIDDEN, 400),
    ROW("no path", "GET echo/seen HTTP/1.1\r\nHost: h\r\n\r\n" HIDDEN, 400),
    ROW("an asterisk for GET", "GET * HTTP/1.1\r\nHost: h\r\n\r\n" HIDDEN, 400),
    ROW("no host in the target", "GET http:///echo/seen HTTP/1.1\r\nHost: h\r\n\r\n" HIDDEN, 400),
    ROW("a user in the target", "GET http://u@h/echo/seen HTTP/1.1\r\nHost: h\r\n\r\n" HIDDEN, 400),
    ROW("another scheme", "GET ftp://h/echo/seen HTTP/1.1\r\nHost: h\r\n\r\n" HIDDEN, 400),
    ROW("lower case", "get /echo/seen HTTP/1.1\r\nHost: h\r\n\r\n" HIDDEN, 501),
    ROW("an unknown method", "FETCH /echo/seen HTTP/1.1\r\nHost: h\r\n\r\n" HIDDEN, 501),
    ROW("a tunnel", "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n" HIDDEN, 501),
    ROW("a method that is no token", "G@T /echo/seen HTTP/1.1\r\nHost: h\r\n\r\n" HIDDEN, 400),
    ROW("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" HIDDEN, 505),
    ROW("HTTP/1.2", "GET /echo/seen HTTP/1.2\r\nHost: h\r\n\r\n" HIDDEN, 505),
    ROW("HTTP/1.10", "GET /echo/seen HTTP/1.10\r\nHost: h\r\n\r\n" HIDDEN, 400),
    ROW("http/1.1", "GET /echo/seen http/1.1\r\nHost: h\r\n\r\n" HIDDEN, 400),
    ROW("TLS without TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n" HIDDEN, 400),
    // Host.
    ROW("no host", "GET /echo/seen HTTP/1.1\r\n\r\n" HIDDEN, 400),
    ROW("two hosts", GET "Host: h\r\n\r\n" HIDDEN, 400),
    ROW("two hosts in 1.0", "GET /echo/seen HTTP/1.0\r\nHost: h\r\nHost: i\r\n\r\n" HIDDEN, 400),
    ROW("a host that is none", "GET /echo/seen HTTP/1.1\r\nHost: h/x@y\r\n\r\n" HIDDEN, 400),
    ROW("a list of hosts", "GET /echo/seen HTTP/1.1\r\nHost: h i\r\n\r\n" HIDDEN, 400),
    // Expect.
    ROW("another expectation", POST "Expect: 200-ok\r\nContent-Length: 3\r\n\r\nabc" HIDDEN, 417),
// Chunks.
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
    ROW("no size", CHUNKED "\r\n\r\n" HIDDEN, 400),
    ROW("a size with 0x", CHUNKED "0x3\r\nabc\r\n0\r\n\r\n" HIDDEN, 400),
    ROW("a size with a sign", CHUNKED "+3\r\nabc\r\n0\r\n\r\n" HIDDEN, 400),
    ROW("a blank behind the size", CHUNKED "3 \r\nabc\r\n0\r\n\r\n" HIDDEN, 400),
    ROW("a blank before the size", CHUNKED " 3\r\nabc\r\n0\r\n\r\n" HIDDEN, 400),
    ROW("a size beyond 32 bits", CHUNKED "100000003\r\nabc\r\n0\r\n\r\n" HIDDEN, 400),
    ROW("a size beyond 64 bits", CHUNKED "10000000000000003\r\nabc\r\n0\r\n\r\n" HIDDEN, 400),
    ROW("bare LF behind the size", CHUNKED "3\nabc\r\n0\r\n\r\n" HIDDEN, 400),
    ROW("bare LF in an extension", CHUNKED "3;a\nb\r\nabc\r\n0\r\n\r\n" HIDDEN, 400),
    ROW("bare CR in an extension", CHUNKED "3;a\rb\r\nabc\r\n0\r\n\r\n" HIDDEN, 400),
    ROW("NUL in an extension", CHUNKED "3;a\0b\r\nabc\r\n0\r\n\r\n" HIDDEN, 400),
    ROW("a chunk longer than its size", CHUNKED "3\r\nabcd\r\n0\r\n\r\n" HIDDEN, 400),
    ROW("a chunk shorter than its size", CHUNKED "5\r\nabc\r\n0\r\n\r\n" HIDDEN, 400),
    ROW("no CR LF behind a chunk", CHUNKED "3\r\nabc0\r\n\r\n" HIDDEN, 400),
    ROW("bare LF behind a chunk", CHUNKED "3\r\nabc\n0\r\n\r\n" HIDDEN, 400),
    ROW("a trailer without a colon", CHUNKED "0\r\nnothing\r\n\r\n" HIDDEN, 400),
    ROW("a folded trailer", CHUNKED "0\r\nX: a\r\n b\r\n\r\n" HIDDEN, 400),
    ROW("bare LF behind a trailer", CHUNKED "0\r\nX: a\n\r\n" HIDDEN, 400),
    ROW("bare LF at the end of all", CHUNKED "0\r\n\n" HIDDEN, 400),
    ROW("chunks too large", CHUNKED "7fffffff\r\n" HIDDEN, 413),
};

// Answered, and the request behind it too: where the first ends is clear.
#define NEXT "GET /echo/next HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
static const struct row taken[] = {
    ROW("plain", GET "\r\n" NEXT, 200),
    ROW("no body", GET "Content-Length: 0\r\n\r\n" NEXT, 200),
    ROW("one empty line before", "\r\n" GET "\r\n" NEXT, 200),
    ROW("no blank behind the colon", GET "X:a\r\nY:\r\nZ: \t a \t\r\n\r\n" NEXT, 200),
    ROW("not ASCII in a value", GET "X: \xc3\xa9\r\n\r\n" NEXT, 200),
    ROW("absolute form", "GET http://h:80/echo/seen?q=1 HTTP/1.1\r\nHost: h\r\n\r\n" NEXT, 200),
    ROW("no host in the field", "GET /echo/seen HTTP/1.1\r\nHost:\r\n\r\n" NEXT, 200),
    ROW("an IPv6 host", "GET /echo/seen HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n" NEXT, 200),
    ROW("keep-alive in 1.0", "GET /echo/seen HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n" NEXT, 200),
    ROW("words of Connection", GET "Connection: keep-alive, upgrade\r\n\r\n" NEXT, 200),
    ROW("HEAD", "HEAD /echo/seen HTTP/1.1\r\nHost: h\r\n\r\n" NEXT, 200),
    ROW("OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n" NEXT, 204),
    ROW("an error", "GET /none HTTP/1.1\r\nHost: h\r\n\r\n" NEXT, 404),
    ROW("an error of a request with a body",
        "POST /none HTTP/1.1\r\nHost: h\r\nContent-Length: 38\r\n\r\n" HIDDEN NEXT, 404),
    ROW("a method that is not served",
        "PUT /body HTTP/1.1\r\nHost: h\r\nContent-Length: 38\r\n\r\n" HIDDEN NEXT, 405),
    ROW("a body that is not read",
        "DELETE /body HTTP/1.1\r\nHost: h\r\nContent-Length: 38\r\n\r\n" HIDDEN NEXT, 403),
    ROW("chunks that are not read",
        "DELETE /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n26\r\n" HIDDEN
        "\r\n0\r\n\r\n" NEXT,
        403),
    ROW("a body", POST "Content-Length: 38\r\n\r\n" HIDDEN NEXT, 201),
    ROW("chunks", CHUNKED "3\r\nabc\r\n02\r\nde\r\n0\r\n\r\n" NEXT, 201),
    ROW("Chunked", POST "Transfer-Encoding: Chunked\r\n\r\nA\r\n0123456789\r\n00\r\n\r\n" NEXT, 201),
    ROW("extensions", CHUNKED "3;a=b;c=\"d\"\r\nabc\r\n0;x\r\n\r\n" NEXT, 201),
    ROW("trailers", CHUNKED "0\r\nContent-Length: 39\r\nX: y\r\n\r\n" NEXT, 201),
};

// A connection that is to be closed, and what is behind it is not answered.
static const struct row last[] = {
    ROW("1.0", "GET /echo/seen HTTP/1.0\r\n\r\n" HIDDEN, 200),
    ROW("close", GET "Connection: close\r\n\r\n" HIDDEN, 200),
    ROW("Close among words", GET "Connection: x, Close\r\n\r\n" HIDDEN, 200),
    ROW("keep-alive and close", GET "Connection: keep-alive\r\nConnection: close\r\n\r\n" HIDDEN, 200),
};

// At once, or byte by byte, until the server closes.
static void exchange(const struct fixture *f, const struct row *row, bool bytes, char *out, size_t size) {
    int fd = dial(cs_http_server_port(f->server)), on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    for (size_t i = 0; i < row->len;) {
        size_t n = bytes ? 1 : row->len;
        if (!put(fd, row->text + i, n))
            break; // it has closed already
        i += n;
    }
    get(fd, out, size, NULL);
    close(fd);
}

static void check(const struct fixture *f, const struct row *row, const char *must_have) {
    char out[16384];
    for (int bytes = 0; bytes <= 1; bytes++) {
        exchange(f, row, bytes, out, sizeof out);
        int status = 0;
        if (sscanf(out, "HTTP/1.1 %d ", &status) != 1 || status != row->status)
            fail_msg("%s (bytes %d): not %d: \"%s\"", row->what, bytes, row->status, out);
        if (strstr(out, "\"hidden\""))
            fail_msg("%s (bytes %d): the hidden request was answered: \"%s\"", row->what, bytes, out);
        if (must_have && !strstr(out, must_have))
            fail_msg("%s (bytes %d): no %s: \"%s\"", row->what, bytes, must_have, out);
        if (!must_have && strstr(strstr(out, "Date: ") + 1, "Date: "))
            fail_msg("%s (bytes %d): a second answer: \"%s\"", row->what, bytes, out);
        if (!must_have && !strstr(out, "Connection: close\r\n"))
            fail_msg("%s (bytes %d): closed without saying so: \"%s\"", row->what, bytes, out);
    }
}

static void test_refused(void **state) {
    (void)state;
    struct fixture f;
    start(&f, (struct cs_http_options){0});
    for (size_t i = 0; i < CS_ARRAY_LEN(refused); i++)
        check(&f, &refused[i], NULL);
    assert_int_equal(atomic_load(&f.exchanges), 0); // none reached a route
    stop(&f);
}

static void test_taken(void **state) {
    (void)state;
    struct fixture f;
    start(&f, (struct cs_http_options){0});
    for (size_t i = 0; i < CS_ARRAY_LEN(taken); i++)
        check(&f, &taken[i], "\"next\"");
    for (size_t i = 0; i < CS_ARRAY_LEN(last); i++)
        check(&f, &last[i], NULL);
    stop(&f);
}

// Lines and heads beyond the limits, as soon as they are beyond them: without their end.
static void test_too_long(void **state) {
    (void)state;
    struct fixture f;
    static char text[20000];
    char out[4096];
    start(&f, (struct cs_http_options){.max_header_bytes = 8192});
    static const struct {
        const char *begins;
        int status;
    } rows[] = {
        {"GET /", 414}, {"", 414}, {"GET /echo/x HTTP/1.1\r\nX: ", 431}, {"GET /echo/x HTTP/1.1\r\nX", 431}};
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        memset(text, 'a', sizeof text);
        memcpy(text, rows[i].begins, strlen(rows[i].begins));
        struct row row = {.what = rows[i].begins, .text = text, .len = sizeof text, .status = rows[i].status};
        exchange(&f, &row, false, out, sizeof out);
        int status = 0;
        assert_int_equal(sscanf(out, "HTTP/1.1 %d ", &status), 1);
        assert_int_equal(status, rows[i].status);
    }
    size_t len = (size_t)snprintf(text, sizeof text, "GET /echo/x HTTP/1.1\r\nHost: h\r\n");
    for (int i = 0; i < 200; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "X: %d\r\n", i);
    len += (size_t)snprintf(text + len, sizeof text - len, "\r\n");
    struct row many = {.what = "many fields", .text = text, .len = len, .status = 431};
    exchange(&f, &many, false, out, sizeof out);
    assert_non_null(strstr(out, "HTTP/1.1 431 "));
    stop(&f);
}

static void test_continue(void **state) {
    (void)state;
    struct fixture f;
    char out[4096];
    start(&f, (struct cs_http_options){0});
    int fd = dial(cs_http_server_port(f.server));
    puts_to(fd, POST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    get(fd, out, sizeof out, "100 Continue\r\n\r\n");
    puts_to(fd, "abc");
    get(fd, out, sizeof out, "stored");
    assert_non_null(strstr(out, "HTTP/1.1 201 "));
    // Too large: said before it is sent.
    puts_to(fd, POST "Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n");
    get(fd, out, sizeof out, NULL);
    assert_non_null(strstr(out, "HTTP/1.1 413 "));
    assert_null(strstr(out, "100 Continue"));
    close(fd);
    stop(&f);
}

// As many requests as are sent ahead are answered, in order.
static void test_pipeline(void **state) {
    (void)state;
    struct fixture f;
    static char out[400000];
    char request[128];
    start(&f, (struct cs_http_options){0});
    int fd = dial(cs_http_server_port(f.server));
    for (int i = 0; i < 500; i++) {
        snprintf(request, sizeof request, "%s /echo/n%d HTTP/1.1\r\nHost: h\r\n%s\r\n", "GET", i,
                 i == 499 ? "Connection: close\r\n" : "");
        puts_to(fd, request);
    }
    get(fd, out, sizeof out, NULL);
    const char *at = out;
    for (int i = 0; i < 500; i++) {
        snprintf(request, sizeof request, "\"n%d\"", i);
        at = strstr(at, request);
        assert_non_null(at);
    }
    close(fd);
    stop(&f);
}

// Whoever connects and is silent, sends a byte, or does not take his answer keeps nobody out.
static void test_room(void **state) {
    (void)state;
    static const char *const habits[] = {NULL, "G", "GET /echo/x HTTP/1.1\r\nHost: h\r\n\r\n",
                                         "POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nx",
                                         "GET /big HTTP/1.1\r\nHost: h\r\n\r\n"};
    struct fixture f;
    char out[4096];
    int fds[200];
    start(&f, (struct cs_http_options){.max_connections = 32});
    for (size_t h = 0; h < CS_ARRAY_LEN(habits); h++) {
        bool slow = strstr(habits[h] ? habits[h] : "", "big") != NULL;
        size_t n = slow ? 40 : CS_ARRAY_LEN(fds);
        for (size_t i = 0; i < n; i++) {
            int small = 4096;
            fds[i] = dial(cs_http_server_port(f.server));
            setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
            if (habits[h])
                put(fds[i], habits[h], strlen(habits[h])); // false: it has made way already
        }
        int64_t begin = now_ms();
        ask(&f, "GET /echo/ok HTTP/1.0\r\n\r\n", out, sizeof out);
        assert_non_null(strstr(out, "\"ok\""));
        // Those that do not take their answers are let be for a second.
        if (now_ms() - begin > (slow ? 4000 : 2000))
            fail_msg("habit %zu: took %d ms", h, (int)(now_ms() - begin));
        size_t conns = 0;
        in_loop(&f, count_conns, &conns);
        assert_true(conns <= 33);
        for (size_t i = 0; i < n; i++)
            close(fds[i]);
    }
    stop(&f);
}

// The head of a request has three seconds, however its bytes come in.
static void test_head_time(void **state) {
    (void)state;
    struct fixture f;
    char out[4096];
    start(&f, (struct cs_http_options){0});
    int64_t begin = now_ms();
    int fd = dial(cs_http_server_port(f.server)), silent = dial(cs_http_server_port(f.server));
    puts_to(fd, GET);
    get(fd, out, sizeof out, NULL);
    int64_t took = now_ms() - begin;
    assert_non_null(strstr(out, "HTTP/1.1 408 "));
    assert_true(took >= 2900 && took < 6000);
    assert_int_equal(get(silent, out, sizeof out, NULL), 0);
    assert_true(now_ms() - begin < 6000);
    close(fd);
    close(silent);
    stop(&f);
}

// Answers do not wait for acknowledgements.
static void test_nodelay(void **state) {
    (void)state;
    struct fixture f;
    char out[4096];
    start(&f, (struct cs_http_options){0});
    int fd = dial(cs_http_server_port(f.server));
    int64_t begin = now_ms();
    for (int i = 0; i < 50; i++) {
        puts_to(fd, GET "\r\n");
        get(fd, out, sizeof out, "\"seen\"");
    }
    assert_true(now_ms() - begin < 50 * 20); // a delayed acknowledgement is 40 ms
    close(fd);
    stop(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_taken),    cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_continue),  cmocka_unit_test(test_pipeline), cmocka_unit_test(test_room),
        cmocka_unit_test(test_head_time), cmocka_unit_test(test_nodelay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
