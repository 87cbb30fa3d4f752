// SPDX-License-Identifier: Apache-2.0
//
// One request: routing, its parts, and its one answer.
#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "certsync/model/text.h"
#include "http_internal.h"

#define JSON_TYPE    "application/json"
#define PROBLEM_TYPE "application/problem+json"

static const struct {
    enum evhttp_cmd_type type;
    const char *name;
} methods[] = {{EVHTTP_REQ_GET, "GET"},     {EVHTTP_REQ_POST, "POST"},       {EVHTTP_REQ_HEAD, "HEAD"},
               {EVHTTP_REQ_PUT, "PUT"},     {EVHTTP_REQ_DELETE, "DELETE"},   {EVHTTP_REQ_OPTIONS, "OPTIONS"},
               {EVHTTP_REQ_TRACE, "TRACE"}, {EVHTTP_REQ_CONNECT, "CONNECT"}, {EVHTTP_REQ_PATCH, "PATCH"}};

static const char *method_name(enum evhttp_cmd_type type) {
    for (size_t i = 0; i < CS_ARRAY_LEN(methods); i++) {
        if (methods[i].type == type)
            return methods[i].name;
    }
    return "UNKNOWN";
}

static const char *status_phrase(int status) {
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {{200, "OK"},
                   {201, "Created"},
                   {202, "Accepted"},
                   {204, "No Content"},
                   {304, "Not Modified"},
                   {400, "Bad Request"},
                   {401, "Unauthorized"},
                   {403, "Forbidden"},
                   {404, "Not Found"},
                   {405, "Method Not Allowed"},
                   {409, "Conflict"},
                   {413, "Content Too Large"},
                   {415, "Unsupported Media Type"},
                   {422, "Unprocessable Content"},
                   {429, "Too Many Requests"},
                   {500, "Internal Server Error"},
                   {501, "Not Implemented"},
                   {502, "Bad Gateway"},
                   {503, "Service Unavailable"},
                   {504, "Gateway Timeout"}};
    for (size_t i = 0; i < CS_ARRAY_LEN(phrases); i++) {
        if (phrases[i].status == status)
            return phrases[i].phrase;
    }
    return "Status";
}

static void request_free(struct cs_http_request *r) {
    if (r->conn)
        r->conn->request = NULL;
    for (size_t i = 0; i < r->header_count; i++) {
        free((char *)r->headers[i].name);
        free((char *)r->headers[i].value);
    }
    free(r->path);
    free(r->texts);
    free(r);
}

static void observe(const struct cs_http_request *r, int status) {
    const struct cs_http_options *o = &r->server->options;
    if (!o->on_exchange)
        return;
    struct cs_http_exchange x = {.method = r->method,
                                 .route = r->route ? r->route->pattern : "",
                                 .path = r->path ? r->path : "",
                                 .peer = r->peer,
                                 .request_id = r->id,
                                 .status = status,
                                 .duration_us = http_now_us() - r->start_us};
    o->on_exchange(&x, o->arg);
}

static void on_sent(struct evhttp_request *ev, void *arg) {
    struct cs_http_server *s = arg;
    struct evhttp_connection *evcon = evhttp_request_get_connection(ev);
    struct bufferevent *bev = evcon ? evhttp_connection_get_bufferevent(evcon) : NULL;
    struct http_conn *c = bev ? http_conn_find(s, bev) : NULL;
    if (!c)
        return;
    bool more = evbuffer_get_length(bufferevent_get_input(bev)) > 0;
    http_conn_set(c, more ? CONN_READING : CONN_IDLE);
}

static void put_common_headers(const struct cs_http_request *r, struct evkeyvalq *out, bool close) {
    evhttp_add_header(out, "Cache-Control", "no-store");
    evhttp_add_header(out, "X-Content-Type-Options", "nosniff");
    evhttp_add_header(out, "X-Request-Id", r->id);
    if (close)
        evhttp_add_header(out, "Connection", "close");
    for (size_t i = 0; i < r->header_count; i++) {
        // evhttp refuses values with line breaks, so nothing can be smuggled in here.
        evhttp_remove_header(out, r->headers[i].name);
        evhttp_add_header(out, r->headers[i].name, r->headers[i].value);
    }
}

// Sends and lets go of the evhttp request; r stays.
static void send_answer(struct cs_http_request *r, int status, const char *type, struct cs_bytes body,
                        bool close) {
    struct evhttp_request *ev = r->ev;
    struct http_conn *c = r->conn;
    r->ev = NULL;
    r->server->request_count--;
    struct evkeyvalq *headers = evhttp_request_get_output_headers(ev);
    put_common_headers(r, headers, close || r->server->stopping);
    struct evbuffer *out = evbuffer_new();
    if (status != 204 && status != 304) {
        char length[24];
        snprintf(length, sizeof length, "%zu", body.len);
        evhttp_add_header(headers, "Content-Type", type);
        evhttp_add_header(headers, "Content-Length", length);
        if (strcmp(r->method, "HEAD") != 0 && body.len > 0 && out)
            evbuffer_add(out, body.data, body.len);
    }
    if (c) {
        http_conn_set(c, CONN_WRITING);
        c->request = NULL;
        r->conn = NULL;
        evhttp_request_set_on_complete_cb(ev, on_sent, r->server);
    }
    observe(r, status);
    evhttp_send_reply(ev, status, status_phrase(status), out); // may be the end of the connection
    if (out)
        evbuffer_free(out);
}

static void problem_body(const struct cs_http_request *r, int status, const char *code, const char *detail,
                         struct cs_buf *out) {
    cs_json_begin(out, '{');
    cs_json_str(out, "type", "about:blank");
    cs_json_str(out, "title", status_phrase(status));
    cs_json_int(out, "status", status);
    cs_json_str(out, "detail", detail);
    if (code)
        cs_json_str(out, "code", code);
    cs_json_str(out, "request_id", r->id);
    cs_json_end(out, '}');
}

static void send_problem(struct cs_http_request *r, int status, const char *code, const char *detail,
                         bool close) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, 16384);
    problem_body(r, status, code, detail, &b);
    if (b.failed)
        send_answer(r, status, PROBLEM_TYPE, (struct cs_bytes){(const uint8_t *)"{}", 2}, close);
    else
        send_answer(r, status, PROBLEM_TYPE, cs_buf_bytes(&b), close);
}

void http_request_cancel(struct cs_http_request *r, int status) {
    struct http_conn *c = r->conn;
    // The client is told (if it is still there) and evhttp's part is let go. It is the same for a client that
    // left: the write fails and ends the connection.
    if (r->ev && status != 0) {
        send_problem(r, status, NULL, "The answer took too long, or the server is stopping.", true);
    } else if (r->ev) {
        struct evhttp_request *ev = r->ev;
        r->ev = NULL;
        r->server->request_count--;
        observe(r, 0);
        evhttp_add_header(evhttp_request_get_output_headers(ev), "Connection", "close");
        if (c)
            http_conn_set(c, CONN_WRITING);
        evhttp_send_reply(ev, 503, status_phrase(503), NULL);
    }
    if (c)
        c->request = NULL;
    r->conn = NULL;
    void (*fn)(struct cs_http_request *, void *) = r->on_cancel;
    if (fn) {
        fn(r, r->cancel_arg);
        request_free(r);
    }
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

// Decodes len bytes at s to *out, which is moved on past a NUL. False: a broken escape, a NUL, or not UTF-8.
static bool decode(const char *s, size_t len, bool plus, char **out) {
    char *start = *out, *p = *out;
    for (size_t i = 0; i < len; i++) {
        int c = (unsigned char)s[i];
        if (c == '%') {
            int hi = i + 2 < len ? hex_digit(s[i + 1]) : -1;
            int lo = i + 2 < len ? hex_digit(s[i + 2]) : -1;
            if (hi < 0 || lo < 0)
                return false;
            c = hi * 16 + lo;
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if (c == 0)
            return false;
        *p++ = (char)c;
    }
    *p++ = '\0';
    *out = p;
    return cs_utf8_valid((const uint8_t *)start, (size_t)(p - 1 - start));
}

static bool parse_query(struct cs_http_request *r, const char *query, char **out) {
    while (query && *query) {
        size_t len = strcspn(query, "&"), name_len = strcspn(query, "=&");
        if (len > 0) {
            if (r->query_count >= HTTP_QUERY_MAX)
                return false;
            struct http_pair *q = &r->queries[r->query_count];
            bool has_value = name_len < len;
            q->name = *out;
            if (!decode(query, name_len, true, out))
                return false;
            q->value = *out;
            if (!decode(query + name_len + has_value, len - name_len - has_value, true, out))
                return false;
            r->query_count++;
        }
        query += len + (query[len] == '&');
    }
    return true;
}

// Whether the path has the pattern's form. Segments of parameters are noted, not decoded.
struct segment {
    const char *name;
    size_t name_len;
    const char *text;
    size_t len;
};

static bool match(const char *pattern, const char *path, struct segment *segments, size_t *ret_count) {
    size_t count = 0;
    while (*pattern && *path) {
        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        size_t name_len = strcspn(pattern, "}") - 1, len = strcspn(path, "/");
        if (len == 0 || count >= HTTP_PARAMS_MAX || name_len >= HTTP_PARAM_NAME_SIZE)
            return false;
        segments[count++] = (struct segment){pattern + 1, name_len, path, len};
        pattern += name_len + 2;
        path += len;
    }
    *ret_count = count;
    return *pattern == '\0' && *path == '\0';
}

static bool take_params(struct cs_http_request *r, const struct segment *segments, size_t count, char **out) {
    for (size_t i = 0; i < count; i++) {
        struct http_pair *p = &r->params[i];
        p->name = *out;
        memcpy(*out, segments[i].name, segments[i].name_len);
        (*out)[segments[i].name_len] = '\0';
        *out += segments[i].name_len + 1;
        p->value = *out;
        if (!decode(segments[i].text, segments[i].len, false, out))
            return false;
        r->param_count++;
    }
    return true;
}

static bool serves(const struct cs_http_route *route, const char *method) {
    return strcmp(route->method, method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

// The route, or NULL; *allow then lists the methods of routes that have this path.
static const struct cs_http_route *find_route(const struct cs_http_request *r, struct segment *segments,
                                              size_t *count, char *allow, size_t allow_size) {
    const struct cs_http_options *o = &r->server->options;
    allow[0] = '\0';
    for (size_t i = 0; i < o->route_count; i++) {
        const struct cs_http_route *route = &o->routes[i];
        if (!match(route->pattern, r->path, segments, count))
            continue;
        if (serves(route, r->method))
            return route;
        size_t used = strlen(allow);
        snprintf(allow + used, allow_size - used, "%s%s%s", used ? ", " : "", route->method,
                 strcmp(route->method, "GET") == 0 ? ", HEAD" : "");
    }
    return NULL;
}

static bool id_valid(const char *s) {
    size_t len = strlen(s);
    if (len == 0 || len >= HTTP_ID_SIZE)
        return false;
    return strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

static void set_id(struct cs_http_request *r) {
    const char *given = cs_http_header(r, "X-Request-Id");
    uint8_t random[8] = {0};
    if (given && id_valid(given)) {
        snprintf(r->id, sizeof r->id, "%s", given);
        return;
    }
    if (RAND_bytes(random, sizeof random) != 1)
        memset(random, 0, sizeof random);
    cs_hex_encode(random, sizeof random, r->id);
}

static void set_peer(struct cs_http_request *r) {
    char *address = NULL;
    ev_uint16_t port = 0;
    if (r->server->unix_path) {
        snprintf(r->peer, sizeof r->peer, "unix");
        return;
    }
    evhttp_connection_get_peer(evhttp_request_get_connection(r->ev), &address, &port);
    snprintf(r->peer, sizeof r->peer, "%s", address ? address : "");
}

// Two ways to tell the body's length, or a length that is not a number, are how requests are smuggled past a
// proxy: such a request is refused and its connection closed.
static bool framing_ok(struct evhttp_request *ev) {
    int lengths = 0, codings = 0;
    struct evkeyval *kv;
    for (kv = evhttp_request_get_input_headers(ev)->tqh_first; kv; kv = kv->next.tqe_next) {
        if (strcasecmp(kv->key, "Content-Length") == 0) {
            lengths++;
            if (!*kv->value || strspn(kv->value, "0123456789") != strlen(kv->value))
                return false;
        } else if (strcasecmp(kv->key, "Transfer-Encoding") == 0) {
            codings++;
            if (strcasecmp(kv->value, "chunked") != 0)
                return false;
        }
    }
    return lengths + codings <= 1;
}

static struct cs_http_request *request_new(struct cs_http_server *s, struct evhttp_request *ev,
                                           struct http_conn *c) {
    const char *uri = evhttp_request_get_uri(ev);
    const struct evhttp_uri *parsed = evhttp_request_get_evhttp_uri(ev);
    const char *path = parsed ? evhttp_uri_get_path(parsed) : NULL;
    struct cs_http_request *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->path = strdup(path && *path ? path : "/");
    // Decoding never makes a text longer; each of the parts takes one more byte for its NUL.
    r->texts = malloc(strlen(uri ? uri : "") + (HTTP_PARAM_NAME_SIZE + 1) * HTTP_PARAMS_MAX +
                      (size_t)2 * HTTP_QUERY_MAX);
    if (!r->path || !r->texts) {
        free(r->path);
        free(r->texts);
        free(r);
        return NULL;
    }
    r->server = s;
    r->conn = c;
    r->ev = ev;
    r->method = method_name(evhttp_request_get_command(ev));
    r->start_us = http_now_us();
    set_id(r);
    set_peer(r);
    return r;
}

static void answer_and_free(struct cs_http_request *r, int status, const char *detail, bool close) {
    send_problem(r, status, NULL, detail, close);
    request_free(r);
}

static void dispatch(struct cs_http_request *r) {
    struct segment segments[HTTP_PARAMS_MAX];
    size_t count = 0;
    char allow[128], *out = r->texts;
    const struct evhttp_uri *parsed = evhttp_request_get_evhttp_uri(r->ev);
    if (!framing_ok(r->ev)) {
        answer_and_free(r, 400, "The length of the body is not told in one clear way.", true);
        return;
    }
    r->route = find_route(r, segments, &count, allow, sizeof allow);
    if (!r->route && !*allow) {
        answer_and_free(r, 404, "There is nothing at this path.", false);
    } else if (!r->route) {
        bool options = strcmp(r->method, "OPTIONS") == 0;
        cs_http_set_header(r, "Allow", allow);
        if (options) {
            send_answer(r, 204, "", (struct cs_bytes){0}, false);
            request_free(r);
        } else {
            answer_and_free(r, 405, "The method is not allowed at this path; see the Allow header.", false);
        }
    } else if (!take_params(r, segments, count, &out) ||
               !parse_query(r, parsed ? evhttp_uri_get_query(parsed) : NULL, &out)) {
        answer_and_free(r, 400,
                        "The path or the query is not well-formed (escapes, UTF-8, at most 32 parameters).",
                        false);
    } else {
        r->route->handler(r, r->server->options.arg);
    }
}

void http_request_start(struct evhttp_request *ev, void *arg) {
    struct cs_http_server *s = arg;
    struct evhttp_connection *evcon = evhttp_request_get_connection(ev);
    struct http_conn *c = http_conn_find(s, evhttp_connection_get_bufferevent(evcon));
    // Without a watched connection there was no memory for it; after a refusal what comes is not a request.
    if (!c || c->poisoned) {
        evhttp_add_header(evhttp_request_get_output_headers(ev), "Connection", "close");
        evhttp_send_reply(ev, c ? 400 : 503, status_phrase(c ? 400 : 503), NULL);
        return;
    }
    http_conn_set(c, CONN_HANDLING);
    struct cs_http_request *r = request_new(s, ev, c);
    if (!r) {
        evhttp_add_header(evhttp_request_get_output_headers(ev), "Connection", "close");
        evhttp_send_reply(ev, 503, status_phrase(503), NULL);
        return;
    }
    c->request = r;
    s->request_count++;
    dispatch(r);
}

const char *cs_http_method(const struct cs_http_request *r) {
    return r->method;
}

const char *cs_http_path(const struct cs_http_request *r) {
    return r->path;
}

const char *cs_http_param(const struct cs_http_request *r, const char *name) {
    for (size_t i = 0; i < r->param_count; i++) {
        if (strcmp(r->params[i].name, name) == 0)
            return r->params[i].value;
    }
    return "";
}

const char *cs_http_query(const struct cs_http_request *r, const char *name) {
    for (size_t i = 0; i < r->query_count; i++) {
        if (strcmp(r->queries[i].name, name) == 0)
            return r->queries[i].value;
    }
    return NULL;
}

size_t cs_http_query_count(const struct cs_http_request *r) {
    return r->query_count;
}

const char *cs_http_query_name(const struct cs_http_request *r, size_t i) {
    return i < r->query_count ? r->queries[i].name : "";
}

const char *cs_http_header(const struct cs_http_request *r, const char *name) {
    return r->ev ? evhttp_find_header(evhttp_request_get_input_headers(r->ev), name) : NULL;
}

const char *cs_http_bearer(const struct cs_http_request *r) {
    const char *value = cs_http_header(r, "Authorization");
    if (!value || strncasecmp(value, "Bearer ", 7) != 0)
        return NULL;
    value += 7 + strspn(value + 7, " ");
    return *value ? value : NULL;
}

struct cs_bytes cs_http_body(const struct cs_http_request *r) {
    if (!r->ev)
        return (struct cs_bytes){0};
    struct evbuffer *in = evhttp_request_get_input_buffer(r->ev);
    size_t len = evbuffer_get_length(in);
    return (struct cs_bytes){len ? evbuffer_pullup(in, -1) : NULL, len};
}

const char *cs_http_request_id(const struct cs_http_request *r) {
    return r->id;
}

const char *cs_http_peer(const struct cs_http_request *r) {
    return r->peer;
}

void *cs_http_arg(const struct cs_http_request *r) {
    return r->server->options.arg;
}

void cs_http_on_cancel(struct cs_http_request *r, void (*fn)(struct cs_http_request *req, void *arg),
                       void *arg) {
    r->on_cancel = fn;
    r->cancel_arg = arg;
}

void cs_http_set_header(struct cs_http_request *r, const char *name, const char *value) {
    if (r->header_count >= HTTP_HEADERS_MAX)
        return;
    char *n = strdup(name), *v = strdup(value);
    if (!n || !v) {
        free(n);
        free(v);
        return;
    }
    r->headers[r->header_count++] = (struct http_pair){n, v};
}

void cs_http_reply(struct cs_http_request *r, int status, const char *content_type, struct cs_bytes body) {
    if (r->ev)
        send_answer(r, status, content_type, body, false);
    request_free(r);
}

void cs_http_reply_json(struct cs_http_request *r, int status, const struct cs_buf *body) {
    if (r->ev && body->failed)
        send_problem(r, 500, NULL, "The answer could not be made: too large, or out of memory.", false);
    else if (r->ev)
        send_answer(r, status, JSON_TYPE, cs_buf_bytes(body), false);
    request_free(r);
}

void cs_http_problem(struct cs_http_request *r, int status, const char *code, const char *fmt, ...) {
    char detail[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(detail, sizeof detail, fmt, ap);
    va_end(ap);
    if (!cs_utf8_valid((const uint8_t *)detail, strlen(detail)))
        detail[0] = '\0'; // cut within a character, or not text at all
    if (r->ev)
        send_problem(r, status, code, detail, false);
    request_free(r);
}
