// SPDX-License-Identifier: Apache-2.0
//
// Shared by the parts of the HTTP server: connections and their deadlines (http.c), requests
// (http_request.c), listening (http_listen.c) and TLS (http_tls.c).
#pragma once

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <openssl/ssl.h>

#include "certsync/runtime/http.h"

#define HTTP_PARAMS_MAX      6
#define HTTP_PARAM_NAME_SIZE ((size_t)64)
#define HTTP_QUERY_MAX       32
#define HTTP_ID_SIZE         65
#define HTTP_HEADERS_MAX     8

// What a connection is busy with, and until when it may be.
enum conn_state {
    CONN_READING,  // a request (or the handshake) is coming in: request timeout
    CONN_HANDLING, // the handler has it: reply timeout
    CONN_WRITING,  // the answer goes out: request timeout
    CONN_IDLE,     // between requests: idle timeout
};

// evhttp tells nobody about connections that never send a whole request, and its timeouts begin anew with
// every byte. So each connection is watched here: we hold a reference to its bufferevent, see its buffers
// grow, and look over all of them a few times a second.
struct http_conn {
    struct http_conn *prev, *next;
    struct cs_http_server *server;
    struct bufferevent *bev; // one reference
    enum conn_state state;
    int64_t deadline_ms;
    bool poisoned; // evhttp refused something on it: what follows must not be taken for a request
    bool shut;
    struct cs_http_request *request;
};

struct cs_http_server {
    struct event_base *base;
    struct cs_http_options options;
    char *listen;
    char *tls_cert_file, *tls_key_file;
    SSL_CTX *tls;
    struct evhttp *http;
    struct evconnlistener *listener; // evhttp's
    int port;
    char *unix_path;
    struct event *sweep;
    struct http_conn *conns;
    size_t conn_count;
    size_t request_count;
    bool full; // the listener is off until a connection ends
    bool stopping;
};

struct http_pair {
    const char *name;
    const char *value;
};

struct cs_http_request {
    struct cs_http_server *server;
    struct http_conn *conn;
    struct evhttp_request *ev; // NULL: answered by the server, or the client is gone
    const struct cs_http_route *route;
    const char *method;
    char *path;
    char *texts; // what params and queries point into
    struct http_pair params[HTTP_PARAMS_MAX];
    size_t param_count;
    struct http_pair queries[HTTP_QUERY_MAX];
    size_t query_count;
    struct http_pair headers[HTTP_HEADERS_MAX]; // of the answer; owned
    size_t header_count;
    char id[HTTP_ID_SIZE];
    char peer[64];
    int64_t start_us;
    void (*on_cancel)(struct cs_http_request *req, void *arg);
    void *cancel_arg;
};

int64_t http_now_ms(void);
int64_t http_now_us(void);
struct http_conn *http_conn_find(struct cs_http_server *server, struct bufferevent *bev);
void http_conn_set(struct http_conn *c, enum conn_state state);
void http_conn_shut(struct http_conn *c); // evhttp then sees the end and frees its part

// evhttp's callback for each complete request.
void http_request_start(struct evhttp_request *ev, void *server);
// The server gives up on a request: status 503 is sent to the client, or nothing if it is gone (status 0).
void http_request_cancel(struct cs_http_request *req, int status);

// The listening socket for "host:port" or "unix:/path". *ret_unix_path is owned by the caller, NULL for TCP.
bool http_listen(const char *text, int *ret_fd, int *ret_port, char **ret_unix_path, struct cs_err *err);

bool http_tls_new(const char *cert_file, const char *key_file, SSL_CTX **ret, struct cs_err *err);
