// SPDX-License-Identifier: Apache-2.0
//
// One request: its route, its parts, and its one answer.
#include <event2/buffer.h>
#include <event2/util.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "certsync/base/json_write.h"
#include "certsync/base/text.h"
#include "http_internal.h"

#define JSON_TYPE    "application/json"
#define PROBLEM_TYPE "application/problem+json"

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
                   {408, "Request Timeout"},
                   {409, "Conflict"},
                   {413, "Content Too Large"},
                   {414, "URI Too Long"},
                   {415, "Unsupported Media Type"},
                   {417, "Expectation Failed"},
                   {422, "Unprocessable Content"},
                   {429, "Too Many Requests"},
                   {431, "Request Header Fields Too Large"},
                   {500, "Internal Server Error"},
                   {501, "Not Implemented"},
                   {502, "Bad Gateway"},
                   {503, "Service Unavailable"},
                   {504, "Gateway Timeout"},
                   {505, "HTTP Version Not Supported"}};
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
    http_message_free(r->message);
    free(r->texts);
    free(r);
}

static void observe(const struct cs_http_request *r, int status) {
    const struct cs_http_options *o = &r->server->options;
    if (!o->on_exchange)
        return;
    struct cs_http_exchange x = {.method = r->message->method,
                                 .route = r->route ? r->route->pattern : "",
                                 .path = r->message->path,
                                 .peer = r->peer,
                                 .request_id = r->id,
                                 .status = status,
                                 .duration_us = http_now_us() - r->start_us};
    o->on_exchange(&x, o->arg);
}

// ---- writing

#define HEAD_MAX ((size_t)64 * 1024)

static void put_line(struct cs_buf *out, const char *name, const char *value) {
    cs_buf_puts(out, name);
    cs_buf_put(out, ": ", 2);
    cs_buf_puts(out, value);
    cs_buf_put(out, "\r\n", 2);
}

static void put_number_line(struct cs_buf *out, const char *name, size_t n) {
    char text[24], *end = text + sizeof text - 1;
    *end = '\0';
    put_line(out, name, cs_decimal_before(end, n));
}

static void put_date(struct cs_buf *out) {
    char text[64];
    time_t now = time(NULL);
    struct tm tm;
    if (gmtime_r(&now, &tm) && evutil_date_rfc1123(text, sizeof text, &tm) > 0)
        put_line(out, "Date", text);
}

static void put_status(struct cs_buf *out, int status) {
    cs_buf_printf(out, "HTTP/1.1 %d %s\r\n", status, status_phrase(status));
    put_date(out);
}

static bool has_header(const struct cs_http_request *r, const char *name) {
    for (size_t i = 0; i < r->header_count; i++)
        if (strcasecmp(r->headers[i].name, name) == 0)
            return true;
    return false;
}

static void put_headers(const struct cs_http_request *r, struct cs_buf *out, bool close) {
    if (!has_header(r, "Cache-Control"))
        put_line(out, "Cache-Control", "no-store");
    put_line(out, "X-Content-Type-Options", "nosniff");
    put_line(out, "X-Request-Id", r->id);
    if (close)
        put_line(out, "Connection", "close");
    else if (r->message->minor == 0)
        put_line(out, "Connection", "keep-alive");
    for (size_t i = 0; i < r->header_count; i++)
        put_line(out, r->headers[i].name, r->headers[i].value);
}

// In one piece: each piece would be a TLS record, and a write, of its own. False: the client must not
// take half an answer for a whole one.
static bool send_pieces(struct http_conn *c, struct cs_buf *head, struct cs_bytes body) {
    struct evbuffer *out = bufferevent_get_output(c->bev);
    bool ok = !head->failed && evbuffer_expand(out, head->len + body.len) == 0 &&
              evbuffer_add(out, head->data, head->len) == 0;
    return ok && (body.len == 0 || evbuffer_add(out, body.data, body.len) == 0);
}

// Ends the request on its connection. r stays.
static void send_answer(struct cs_http_request *r, int status, const char *type, struct cs_bytes body,
                        bool close) {
    struct http_conn *c = CS_TAKE(r->conn);
    CS_AUTO(cs_buf_clear) struct cs_buf head;
    bool has_body = status != 204 && status != 304;
    bool sends_body = has_body && strcmp(r->message->method, "HEAD") != 0;
    cs_buf_init(&head, HEAD_MAX);
    close = close || r->server->stopping || !r->message->keep_alive || c->eof;
    put_status(&head, status);
    put_headers(r, &head, close);
    if (has_body) {
        put_line(&head, "Content-Type", type);
        put_number_line(&head, "Content-Length", body.len);
    }
    cs_buf_put(&head, "\r\n", 2);
    if (!send_pieces(c, &head, sends_body ? body : (struct cs_bytes){0}))
        close = true;
    observe(r, status);
    http_conn_answered(c, close);
}

static void put_problem(const char *id, int status, const char *code, const char *detail,
                        struct cs_buf *out) {
    cs_json_begin(out, '{');
    cs_json_str(out, "type", "about:blank");
    cs_json_str(out, "title", status_phrase(status));
    cs_json_int(out, "status", status);
    cs_json_str(out, "detail", detail);
    if (code)
        cs_json_str(out, "code", code);
    if (id)
        cs_json_str(out, "request_id", id);
    cs_json_end(out, '}');
}

static void send_problem(struct cs_http_request *r, int status, const char *code, const char *detail,
                         bool close) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, 16384);
    put_problem(r->id, status, code, detail, &b);
    if (b.failed)
        send_answer(r, status, PROBLEM_TYPE, (struct cs_bytes){(const uint8_t *)"{}", 2}, close);
    else
        send_answer(r, status, PROBLEM_TYPE, cs_buf_bytes(&b), close);
}

void http_refuse(struct http_conn *c, const char *method, const struct http_refusal *refusal) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    CS_AUTO(cs_buf_clear) struct cs_buf head;
    cs_buf_init(&b, 1024);
    cs_buf_init(&head, HEAD_MAX);
    put_problem(NULL, refusal->status, NULL, refusal->why, &b);
    put_status(&head, refusal->status);
    put_line(&head, "Cache-Control", "no-store");
    put_line(&head, "X-Content-Type-Options", "nosniff");
    put_line(&head, "Connection", "close");
    put_line(&head, "Content-Type", PROBLEM_TYPE);
    put_number_line(&head, "Content-Length", b.len);
    cs_buf_put(&head, "\r\n", 2);
    bool sends_body = !method || strcmp(method, "HEAD") != 0;
    (void)send_pieces(c, &head, sends_body ? cs_buf_bytes(&b) : (struct cs_bytes){0});
    http_conn_answered(c, true);
}

void http_request_cancel(struct cs_http_request *r, int status) {
    if (r->conn && status != 0) {
        send_problem(r, status, NULL, "The answer took too long, or the server is stopping.", true);
    } else if (r->conn) {
        r->conn->request = NULL;
        r->conn = NULL;
        observe(r, 0);
    }
    void (*fn)(struct cs_http_request *, void *) = r->on_cancel;
    if (fn) {
        fn(r, r->cancel_arg);
        request_free(r);
    }
}

// ---- the parts of a request

// Decodes len bytes at s to *out and moves *out behind a NUL. False: a broken escape, a NUL, or not
// UTF-8.
static bool decode(const char *s, size_t len, bool plus, char **out) {
    char *start = *out, *p = *out;
    for (size_t i = 0; i < len; i++) {
        int c = (unsigned char)s[i];
        if (c == '%') {
            int hi = i + 2 < len ? cs_hex_value(s[i + 1]) : -1;
            int lo = i + 2 < len ? cs_hex_value(s[i + 2]) : -1;
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

// Whether the path fits the pattern. Segments that are parameters are noted, not decoded.
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
        if (!match(route->pattern, r->message->path, segments, count))
            continue;
        if (serves(route, r->message->method))
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

static struct cs_http_request *request_new(struct http_conn *c, struct http_message *m) {
    struct cs_http_request *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    // Decoding never makes a text longer. Each part needs one more byte for its NUL.
    r->texts = malloc(strlen(m->path) + strlen(m->query) + (HTTP_PARAM_NAME_SIZE + 1) * HTTP_PARAMS_MAX +
                      (size_t)2 * HTTP_QUERY_MAX);
    if (!r->texts) {
        free(r);
        return NULL;
    }
    r->server = c->server;
    r->conn = c;
    r->message = m;
    r->start_us = http_now_us();
    memcpy(r->peer, c->peer, sizeof r->peer);
    set_id(r);
    return r;
}

static void answer_and_free(struct cs_http_request *r, int status, const char *detail, bool close) {
    send_problem(r, status, NULL, detail, close);
    request_free(r);
}

static void answer_options(struct cs_http_request *r, const char *allow) {
    cs_http_set_header(r, "Allow", allow);
    send_answer(r, 204, "", (struct cs_bytes){0}, false);
    request_free(r);
}

static void dispatch(struct cs_http_request *r) {
    struct segment segments[HTTP_PARAMS_MAX];
    size_t count = 0;
    char allow[128], *out = r->texts;
    bool options = strcmp(r->message->method, "OPTIONS") == 0;
    r->route = find_route(r, segments, &count, allow, sizeof allow);
    if (options && r->message->path[0] == '*') {
        answer_options(r, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    } else if (!r->route && !*allow) {
        answer_and_free(r, 404, "There is nothing at this path.", false);
    } else if (!r->route && options) {
        answer_options(r, allow);
    } else if (!r->route) {
        cs_http_set_header(r, "Allow", allow);
        answer_and_free(r, 405, "The method is not allowed at this path; see the Allow header.", false);
    } else if (!take_params(r, segments, count, &out) || !parse_query(r, r->message->query, &out)) {
        answer_and_free(r, 400,
                        "The path or the query is not well-formed (escapes, UTF-8, at most 32 parameters).",
                        false);
    } else {
        r->route->handler(r, r->server->options.arg);
    }
}

void http_request_start(struct http_conn *c, struct http_message *message) {
    static const struct http_refusal no_memory = {503, "The server is out of memory."};
    struct cs_http_request *r = request_new(c, message);
    if (!r) {
        http_refuse(c, message->method, &no_memory);
        http_message_free(message);
        return;
    }
    c->request = r;
    dispatch(r);
}

const char *cs_http_method(const struct cs_http_request *r) {
    return r->message->method;
}

const char *cs_http_path(const struct cs_http_request *r) {
    return r->message->path;
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
    return http_field_value(r->message, name);
}

const char *cs_http_bearer(const struct cs_http_request *r) {
    const char *value = cs_http_header(r, "Authorization");
    if (!value || strncasecmp(value, "Bearer ", 7) != 0)
        return NULL;
    value += 7 + strspn(value + 7, " ");
    return *value ? value : NULL;
}

struct cs_bytes cs_http_body(const struct cs_http_request *r) {
    return cs_buf_bytes(&r->message->body);
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
    // A value with a line break would begin another header.
    if (r->header_count >= HTTP_HEADERS_MAX || strpbrk(value, "\r\n"))
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
    if (r->conn)
        send_answer(r, status, content_type, body, false);
    request_free(r);
}

void cs_http_reply_json(struct cs_http_request *r, int status, const struct cs_buf *body) {
    if (r->conn && body->failed)
        send_problem(r, 500, NULL, "The answer could not be made: too large, or out of memory.", false);
    else if (r->conn)
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
    if (r->conn)
        send_problem(r, status, code, detail, false);
    request_free(r);
}
