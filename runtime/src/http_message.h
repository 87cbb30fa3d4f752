// SPDX-License-Identifier: Apache-2.0
//
// What a client sent, from bytes to a request (RFC 9112). Pure: no connection, no clock.
//
// Strict on purpose: it refuses everything that two parsers could read in two ways. So nobody can
// make a proxy before this server see other requests than the server does. It refuses: a line that
// does not end in CR LF; a control character, above all NUL; white space before a colon or at a
// line's start (folding); more than one blank in the request line; Content-Length that is no plain
// number, that is given twice (also with one value), or beside Transfer-Encoding; a transfer coding
// other than chunked; either of them with a method that has no body here; Transfer-Encoding in
// HTTP/1.0; no Host or two in HTTP/1.1; two Authorizations.
#pragma once

#include "certsync/base/buf.h"

#define HTTP_FIELDS_MAX 100

struct http_field {
    const char *name;
    const char *value; // without white space around it
};

struct http_message {
    char *text;         // owned; what the others point into
    const char *method; // one of a fixed list, static
    const char *path;   // as sent, without the query; "*" for OPTIONS *
    const char *query;  // without '?'; "" where there is none
    int minor;          // HTTP/1.minor
    struct http_field fields[HTTP_FIELDS_MAX];
    size_t field_count;
    bool keep_alive;
    bool expects_continue;
    bool chunked;
    size_t content_length;
    struct cs_buf body;
};
void http_message_free(struct http_message *m); // takes NULL
CS_DEFINE_AUTO(struct http_message, http_message_free)

// Why a request is refused: the status, and a sentence for whoever sent it.
struct http_refusal {
    int status;
    const char *why; // static
};

// Finds the end of a request's head in bytes that come bit by bit. Begins as {0}.
struct http_scan {
    size_t at, line, start; // looked at so far; where the line begins; where the head does
};
enum http_step { HTTP_STEP_MORE, HTTP_STEP_DONE, HTTP_STEP_REFUSED };
// data: all bytes since the head's first. DONE: the head is data[scan->start..scan->at).
enum http_step http_head_scan(struct http_scan *scan, const uint8_t *data, size_t len, size_t max_len,
                              struct http_refusal *refusal);
// Reads the whole head, with its empty line. False: refused. *ret_method is set if it is known,
// also then.
bool http_head_parse(const uint8_t *head, size_t len, size_t max_body, struct http_message **ret,
                     const char **ret_method, struct http_refusal *refusal);

// A chunked body that comes bit by bit. Begins as {0}.
struct http_chunks {
    int state;
    size_t left;   // of the chunk
    size_t digits; // of its size
    size_t extra;  // bytes of this line that are not content; of all trailers
};
// Appends the contents to body, whose max is the limit. *ret_eaten bytes of data are done.
enum http_step http_chunks_eat(struct http_chunks *c, const uint8_t *data, size_t len, size_t *ret_eaten,
                               struct cs_buf *body, struct http_refusal *refusal);

const char *http_field_value(const struct http_message *m, const char *name); // the first; NULL: none
