// SPDX-License-Identifier: Apache-2.0
//
// HTTP/1.1 server on libevent's bufferevents, over TCP, TLS (1.2 or newer) or a Unix socket: routes
// with parameters, limits that slow, huge and malformed requests cannot pass, problem details (RFC
// 9457), and answers that may be given later.
//
// What it does by itself: 404; 405 with Allow; HEAD for every GET route; OPTIONS (204 with Allow);
// Cache-Control: no-store and X-Content-Type-Options: nosniff on every answer; X-Request-Id (the
// client's if it is [A-Za-z0-9._-]{1,64}, else a new one); Connection: close while stopping. It
// refuses what is too large, what is late, and what another server could understand as another
// request (src/http_message.h has the list): 400, 408, 413, 414, 417, 431, 501 or 505. Then it
// closes the connection, so that nothing after it is taken for a request.
//
// Limits. A request's head must be complete header_timeout_ms after its first byte (the first one:
// after the connection, with the TLS handshake), its body request_timeout_ms later. The client must
// take the answer within request_timeout_ms. An idle connection is closed after idle_timeout_ms. If
// a handler has not answered after reply_timeout_ms, the server answers 503 (then its on_cancel
// runs). At max_connections, a new connection replaces the one that is silent for longest. If none
// is silent, further ones wait in the backlog. So clients that connect and say nothing keep nobody
// out.
//
// Several loops, each in a thread of its own, can serve one address: one server listens, and hands
// each connection to the server that has the most places left (cs_http_server_share). Everything else
// belongs to the thread of the server's loop.
#pragma once

#include "certsync/base/buf.h"

struct event_base;
struct cs_http_server;
struct cs_http_request;

typedef void (*cs_http_handler)(struct cs_http_request *req, void *arg);

struct cs_http_route {
    const char *method; // "GET", "POST", "PUT", "DELETE", "PATCH"
    // "/v1/accounts/{account}/certificates/{id}": a parameter is one whole, non-empty segment
    const char *pattern;
    cs_http_handler handler;
};

// What was done, for logs and metrics; called once for each request that reached the routes.
struct cs_http_exchange {
    const char *method;
    const char *route; // pattern, or "" where none matched: safe as a label
    const char *path;  // as sent; untrusted
    const char *peer;
    const char *request_id;
    int status; // 0: the client went away before the answer
    int64_t duration_us;
};

struct cs_http_options {
    // "127.0.0.1:8080", "[::1]:8080", ":8080" (all addresses), port 0 picks one; "unix:/path"
    const char *listen;
    const char *tls_cert_file; // PEM chain; NULL or "": no TLS
    const char *tls_key_file;  // PEM
    // The settings that the three came from, for messages; "" or NULL if there are none.
    const char *listen_setting, *tls_cert_setting, *tls_key_setting;
    const struct cs_http_route *routes; // borrowed for the server's life
    size_t route_count;
    // for handlers and on_exchange
    void *arg;
    void (*on_exchange)(const struct cs_http_exchange *x, void *arg); // may be NULL
    // 0 takes the default:
    size_t max_header_bytes;    // 16 KiB
    size_t max_body_bytes;      // 1 MiB
    size_t max_connections;     // 256
    int64_t header_timeout_ms;  // 3 s; no more than request_timeout_ms
    int64_t request_timeout_ms; // 10 s
    int64_t idle_timeout_ms;    // 60 s
    int64_t reply_timeout_ms;   // 30 s
};

// Errors: CONFIG (address in use, certificate does not match its key, ...).
CS_MUST_USE bool cs_http_server_new(struct event_base *base, const struct cs_http_options *options,
                                    struct cs_http_server **ret_server, struct cs_err *err);
// A server on another loop that takes its share of the connections which `first` accepts: the same
// options, another arg; max_connections is of all together. Make it before the loops run. When it is
// stopped or freed, its loop does not run any more, or it is done in that loop; `first` is freed
// last, and stopped first.
CS_MUST_USE bool cs_http_server_share(struct cs_http_server *first, struct event_base *base, void *arg,
                                      struct cs_http_server **ret_server, struct cs_err *err);
// Whether a server could start with these options: reads the TLS files, binds the address and
// releases it. Only listen, the TLS files and the names of their settings count. *ret_in_use: the
// only fault is that somebody listens at the address; that may be a server with these very options.
CS_MUST_USE bool cs_http_server_try(const struct cs_http_options *options, bool *ret_in_use,
                                    struct cs_err *err);
// Requests that are open are cancelled (on_cancel runs), connections closed.
void cs_http_server_free(struct cs_http_server *server);
CS_DEFINE_AUTO(struct cs_http_server, cs_http_server_free)
// Takes no new connections. Open requests may still be answered. Idle connections are closed. When
// cs_http_server_connections is 0, all answers are sent.
void cs_http_server_stop(struct cs_http_server *server);
int cs_http_server_port(const struct cs_http_server *server); // the bound one; 0 for a Unix socket
// Any thread may ask these two, each of one server. Requests whose answers are not sent yet.
size_t cs_http_server_open_requests(const struct cs_http_server *server);
size_t cs_http_server_connections(const struct cs_http_server *server);
// Reads the certificate and key files again, all or nothing; of the one that listens, for all that
// share. Open connections keep the old ones. Without TLS it does nothing and returns true.
CS_MUST_USE bool cs_http_server_reload_tls(struct cs_http_server *server, struct cs_err *err);

// The request. Texts are borrowed until it is answered or cancelled.
const char *cs_http_method(const struct cs_http_request *req);
// as sent, without the query
const char *cs_http_path(const struct cs_http_request *req);
// {name}, decoded; never NULL
const char *cs_http_param(const struct cs_http_request *req, const char *name);
// First query parameter of this name, decoded ('+' is a blank); NULL where there is none.
const char *cs_http_query(const struct cs_http_request *req, const char *name);
size_t cs_http_query_count(const struct cs_http_request *req);
const char *cs_http_query_name(const struct cs_http_request *req, size_t i);
// NULL where there is none
const char *cs_http_header(const struct cs_http_request *req, const char *name);
// What follows "Authorization: Bearer "; NULL where there is none.
const char *cs_http_bearer(const struct cs_http_request *req);
struct cs_bytes cs_http_body(const struct cs_http_request *req);
const char *cs_http_request_id(const struct cs_http_request *req);
// address without port; "unix" for a Unix socket
const char *cs_http_peer(const struct cs_http_request *req);
void *cs_http_arg(const struct cs_http_request *req);

// Answers. Each request gets exactly one, in the handler or later; the call frees the request. A
// handler that answers later should set on_cancel. It runs once, in the loop, if the client leaves,
// the reply timeout passes or the server is freed before the answer. After it the request must not
// be touched. Without on_cancel, the request stays valid until it is answered; that answer may then
// go nowhere.
void cs_http_on_cancel(struct cs_http_request *req, void (*fn)(struct cs_http_request *req, void *arg),
                       void *arg);
void cs_http_set_header(struct cs_http_request *req, const char *name,
                        const char *value); // before the answer
void cs_http_reply(struct cs_http_request *req, int status, const char *content_type,
                   struct cs_bytes body); // copies
// body: JSON. If the buffer has failed, the answer is a 500.
void cs_http_reply_json(struct cs_http_request *req, int status, const struct cs_buf *body);
// application/problem+json:
// {"type":"about:blank","title":…,"status":…,"detail":…,"code":…,"request_id":…}; title is the
// status' reason phrase; code is a stable word such as "account.unknown", or NULL.
void cs_http_problem(struct cs_http_request *req, int status, const char *code, const char *fmt, ...)
    CS_PRINTF(4, 5);
