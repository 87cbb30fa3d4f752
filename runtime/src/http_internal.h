// SPDX-License-Identifier: Apache-2.0
//
// Shared by the parts of the HTTP server: its life (http.c), connections and their deadlines
// (http_conn.c), what clients send (http_message.c), requests and answers (http_request.c),
// listening (http_listen.c), TLS (http_tls.c).
#pragma once

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "certsync/runtime/http.h"
#include "http_message.h"

#define HTTP_PARAMS_MAX      6
#define HTTP_PARAM_NAME_SIZE ((size_t)64)
#define HTTP_QUERY_MAX       32
#define HTTP_ID_SIZE         65
#define HTTP_HEADERS_MAX     8
#define HTTP_PEER_SIZE       64

// The state of a connection. Each state has one timeout. So the connections of a state, in the
// order in which they came to it, are also in the order of their deadlines.
enum conn_state {
    CONN_IDLE,     // between requests: idle timeout
    CONN_HEAD,     // a head is coming in; after accepting also the handshake: header timeout
    CONN_BODY,     // a body is coming in: request timeout
    CONN_HANDLING, // the handler has it: reply timeout
    CONN_WRITING,  // the answer goes out: request timeout
    CONN_LINGER,   // the answer is sent, the client should close: its further bytes are thrown away
};
#define CONN_STATES 6

struct http_conn {
    struct http_conn *prev, *next; // in the state's list
    struct cs_http_server *server;
    struct bufferevent *bev;
    enum conn_state state;
    int64_t deadline_ms;
    bool close;            // after the answer
    bool eof;              // the client sends no more
    struct http_scan scan; // of the head that is coming in
    struct http_message *message;
    struct http_chunks chunks;
    struct cs_http_request *request;
    char peer[HTTP_PEER_SIZE];
};

struct http_list {
    struct http_conn *first, *last;
};

// A connection that was accepted, on its way to the server that serves it.
struct http_given {
    struct http_given *next;
    int fd;
    bool full; // that server had no place left
    char peer[HTTP_PEER_SIZE];
};

struct cs_http_server {
    struct event_base *base;
    struct cs_http_options options;
    struct cs_http_server *first; // that listens; itself, or it shares
    struct event *sweep;
    struct http_list conns[CONN_STATES];
    size_t max_conns;          // its part of options.max_connections
    _Atomic size_t conn_count; // with those on their way
    _Atomic size_t busy_count; // of these: they wait for an answer, or take it
    bool stopping;             // of the first: other threads read it under the lock
    // Of one that shares: what it is given.
    pthread_mutex_t given_lock;
    struct http_given *given;
    struct event *woken;
    // Of the first:
    struct cs_http_server *sharing; // the others
    struct cs_http_server *next;    // of these
    size_t sharing_count;
    struct cs_http_server *last;                 // who got the last connection
    char *listen, *tls_cert_file, *tls_key_file; // what the options point at
    int port;
    char *unix_path;
    pthread_mutex_t lock; // what follows
    SSL_CTX *tls;
    struct evconnlistener *listener;
    bool paused; // until there is a place
};

struct http_pair {
    const char *name;
    const char *value;
};

struct cs_http_request {
    struct cs_http_server *server;
    struct http_conn *conn; // NULL: answered by the server, or the client is gone
    struct http_message *message;
    const struct cs_http_route *route;
    char *texts; // what params and queries point into
    struct http_pair params[HTTP_PARAMS_MAX];
    size_t param_count;
    struct http_pair queries[HTTP_QUERY_MAX];
    size_t query_count;
    struct http_pair headers[HTTP_HEADERS_MAX]; // of the answer; owned
    size_t header_count;
    char id[HTTP_ID_SIZE];
    char peer[HTTP_PEER_SIZE];
    int64_t start_us;
    void (*on_cancel)(struct cs_http_request *req, void *arg);
    void *cancel_arg;
};

int64_t http_now_us(void);

// ---- http_conn.c

// evconnlistener's callbacks.
void http_on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int len,
                    void *server);
void http_on_accept_error(struct evconnlistener *listener, void *server);
// Takes further connections again, unless it ends.
void http_accept_again(struct cs_http_server *s);
// Takes what it was given (the callback of s->woken).
void http_on_given(evutil_socket_t fd, short what, void *server);
// Looks after deadlines, a few times a second.
bool http_sweep_start(struct cs_http_server *s);
// The end: those that have nothing under way; all.
void http_conns_stop(struct cs_http_server *s);
void http_conns_free(struct cs_http_server *s);
// Puts an answer into the connection's output. That ends the request there. It also ends the
// connection, if that is wanted or necessary.
void http_conn_answered(struct http_conn *c, bool close);

// ---- http_request.c

// A whole request has come in: takes message. Answers, or the handler does, now or later.
void http_request_start(struct http_conn *c, struct http_message *message);
// The server gives up on a request: status 503 is sent to the client, or nothing if it is gone
// (status 0).
void http_request_cancel(struct cs_http_request *req, int status);
// Answers bytes that never became a request, and closes. method: if it is known, else NULL.
void http_refuse(struct http_conn *c, const char *method, const struct http_refusal *refusal);

// ---- the others

// The listening socket for "host:port" or "unix:/path". The caller owns *ret_unix_path; NULL for
// TCP. *ret_in_use (set also on failure): it failed because somebody listens there.
bool http_listen(const char *text, int *ret_fd, int *ret_port, char **ret_unix_path, bool *ret_in_use,
                 struct cs_err *err);

// Of the options it reads the TLS files and the names of their settings.
bool http_tls_new(const struct cs_http_options *o, SSL_CTX **ret, struct cs_err *err);
// "SETTING: " before the message, where there is a setting. Always false.
bool http_setting_failed(struct cs_err *err, const char *setting);
