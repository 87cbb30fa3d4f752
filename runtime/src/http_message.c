// SPDX-License-Identifier: Apache-2.0
#include "http_message.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "certsync/base/text.h"

#define LENGTH_DIGITS_MAX 15   // of Content-Length
#define CHUNK_DIGITS_MAX  8    // of a chunk's size
#define CHUNK_EXTRA_MAX   512  // of a chunk's extensions
#define TRAILERS_MAX      8192 // of all trailers

static bool refuse(struct http_refusal *r, int status, const char *why) {
    *r = (struct http_refusal){status, why};
    return false;
}

// ---- characters

static bool is_digit(uint8_t c) {
    return c >= '0' && c <= '9';
}

static bool is_alnum(uint8_t c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_token(uint8_t c) { // RFC 9110, 5.6.2
    return is_alnum(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

// A byte of a line: visible, blank, tab, or not ASCII.
static bool is_text(uint8_t c) {
    return (c >= 0x20 && c != 0x7f) || c == '\t';
}

static bool all(const char *s, bool (*is)(uint8_t c)) {
    for (; *s; s++)
        if (!is((uint8_t)*s))
            return false;
    return true;
}

static bool is_target(uint8_t c) {
    return c > 0x20 && c < 0x7f && c != '#';
}

static bool is_authority(uint8_t c) { // uri-host and port, without user information
    return is_alnum(c) || (c && strchr("-._~!$&'()*+,;=:[]%", c));
}

// ---- the head's end

enum http_step http_head_scan(struct http_scan *s, const uint8_t *data, size_t len, size_t max_len,
                              struct http_refusal *refusal) {
    for (; s->at < len && s->at < max_len; s->at++) {
        uint8_t c = data[s->at];
        if (is_text(c))
            continue;
        if (c == '\r' && s->at + 1 == len)
            return HTTP_STEP_MORE;
        if (c != '\r' || data[s->at + 1] != '\n') {
            refuse(refusal, 400, "A line of the head holds a control character, or does not end in CR LF.");
            return HTTP_STEP_REFUSED;
        }
        bool empty = s->line == s->at, leading = s->at == 0;
        s->at++;
        s->line = s->at + 1;
        if (leading) // one empty line before a request is ignored (RFC 9112, 2.2)
            s->start = s->line;
        else if (empty) {
            s->at++;
            return HTTP_STEP_DONE;
        }
    }
    if (s->at < max_len)
        return HTTP_STEP_MORE;
    if (s->line == s->start)
        refuse(refusal, 414, "The request line is too long.");
    else
        refuse(refusal, 431, "The head of the request is too large.");
    return HTTP_STEP_REFUSED;
}

// ---- the request line

static const struct {
    const char *name;
    bool has_body;
} methods[] = {{"GET", false},   {"HEAD", false}, {"POST", true},     {"PUT", true},
               {"DELETE", true}, {"PATCH", true}, {"OPTIONS", false}, {"TRACE", false}};

static bool method_has_body(const char *method) {
    for (size_t i = 0; i < CS_ARRAY_LEN(methods); i++)
        if (strcmp(methods[i].name, method) == 0)
            return methods[i].has_body;
    return false;
}

static bool take_method(const char *text, struct http_message *m, struct http_refusal *r) {
    if (!*text || !all(text, is_token))
        return refuse(r, 400, "The request line has no method.");
    for (size_t i = 0; i < CS_ARRAY_LEN(methods); i++)
        if (strcmp(methods[i].name, text) == 0)
            m->method = methods[i].name;
    return m->method || refuse(r, 501, "The server does not know this method.");
}

static bool take_version(const char *text, struct http_message *m, struct http_refusal *r) {
    if (strncmp(text, "HTTP/", 5) != 0 || !is_digit((uint8_t)text[5]) || text[6] != '.' ||
        !is_digit((uint8_t)text[7]) || text[8])
        return refuse(r, 400, "The request line does not end in a version of HTTP.");
    if (text[5] != '1' || text[7] > '1')
        return refuse(r, 505, "The server speaks HTTP/1.1 and HTTP/1.0.");
    m->minor = text[7] - '0';
    return true;
}

// Origin form, absolute form, or the asterisk. The authority of an absolute form replaces Host.
static bool take_target(char *text, struct http_message *m, struct http_refusal *r) {
    if (!*text || !all(text, is_target))
        return refuse(r, 400, "The target of the request holds a character that it cannot have.");
    size_t scheme = strncasecmp(text, "http://", 7) == 0 ? 7 : strncasecmp(text, "https://", 8) == 0 ? 8 : 0;
    char *question = strchr(text, '?');
    m->query = question ? question + 1 : "";
    if (question)
        *question = '\0';
    m->path = text;
    if (scheme) {
        char *authority = text + scheme, *slash = strchr(authority, '/');
        m->path = slash ? slash : "/";
        if (!*authority || slash == authority)
            return refuse(r, 400, "The target of the request names no host.");
        for (const char *p = authority; *p && p != slash; p++)
            if (!is_authority((uint8_t)*p))
                return refuse(r, 400, "The host in the target of the request is not one.");
    }
    bool asterisk = strcmp(m->path, "*") == 0 && !question && strcmp(m->method, "OPTIONS") == 0;
    if (m->path[0] != '/' && !asterisk)
        return refuse(r, 400, "The target of the request is no path.");
    return true;
}

static bool take_request_line(char *line, struct http_message *m, struct http_refusal *r) {
    char *target = strchr(line, ' '), *version = target ? strchr(target + 1, ' ') : NULL;
    if (!version)
        return refuse(r, 400, "The request line is not METHOD TARGET VERSION.");
    *target++ = '\0';
    *version++ = '\0';
    return take_version(version, m, r) && take_method(line, m, r) && take_target(target, m, r);
}

// ---- fields

static char *trim(char *s) {
    s += strspn(s, " \t");
    for (size_t len = strlen(s); len > 0 && (s[len - 1] == ' ' || s[len - 1] == '\t'); len--)
        s[len - 1] = '\0';
    return s;
}

static bool take_field(char *line, struct http_message *m, struct http_refusal *r) {
    char *colon = strchr(line, ':');
    if (!colon)
        return refuse(r, 400, "A header line has no colon.");
    *colon = '\0';
    // A name with white space in front, or before the colon, is no token and is refused.
    if (!*line || !all(line, is_token))
        return refuse(r, 400, "The name of a header field holds a character that it cannot have.");
    if (m->field_count == HTTP_FIELDS_MAX)
        return refuse(r, 431, "The request has too many header fields.");
    m->fields[m->field_count++] = (struct http_field){line, trim(colon + 1)};
    return true;
}

const char *http_field_value(const struct http_message *m, const char *name) {
    for (size_t i = 0; i < m->field_count; i++)
        if (strcasecmp(m->fields[i].name, name) == 0)
            return m->fields[i].value;
    return NULL;
}

static size_t field_times(const struct http_message *m, const char *name) {
    size_t n = 0;
    for (size_t i = 0; i < m->field_count; i++)
        n += strcasecmp(m->fields[i].name, name) == 0;
    return n;
}

// Whether a list field has this word, in any of its lines.
static bool has_word(const struct http_message *m, const char *name, const char *word) {
    size_t word_len = strlen(word);
    for (size_t i = 0; i < m->field_count; i++) {
        if (strcasecmp(m->fields[i].name, name) != 0)
            continue;
        for (const char *p = m->fields[i].value; *p;) {
            p += strspn(p, " \t,");
            size_t len = strcspn(p, " \t,");
            if (len == word_len && strncasecmp(p, word, len) == 0)
                return true;
            p += len;
        }
    }
    return false;
}

// ---- what the fields say together

static bool check_once(const struct http_message *m, struct http_refusal *r) {
    if (field_times(m, "Content-Length") + field_times(m, "Transfer-Encoding") > 1)
        return refuse(r, 400, "The length of the body is not told in one clear way.");
    if (field_times(m, "Host") > 1)
        return refuse(r, 400, "Host is given twice.");
    if (field_times(m, "Authorization") > 1)
        return refuse(r, 400, "Authorization is given twice.");
    const char *host = http_field_value(m, "Host");
    if (!host && m->minor == 1)
        return refuse(r, 400, "Host is missing.");
    if (host && !all(host, is_authority))
        return refuse(r, 400, "Host is not a name and port.");
    return true;
}

static bool take_length(struct http_message *m, size_t max_body, struct http_refusal *r) {
    const char *length = http_field_value(m, "Content-Length"),
               *coding = http_field_value(m, "Transfer-Encoding");
    if (coding && (strcasecmp(coding, "chunked") != 0 || m->minor == 0))
        return refuse(r, 400, "The only transfer coding here is chunked, and of HTTP/1.1.");
    m->chunked = coding != NULL;
    if (length) {
        size_t len = strlen(length);
        if (len == 0 || len > LENGTH_DIGITS_MAX || strspn(length, "0123456789") != len)
            return refuse(r, 400, "Content-Length is not a plain number.");
        m->content_length = (size_t)strtoull(length, NULL, 10);
    }
    if ((m->chunked || m->content_length > 0) && !method_has_body(m->method))
        return refuse(r, 400, "A request of this method has no body here.");
    if (m->content_length > max_body)
        return refuse(r, 413, "The body of the request is too large.");
    return true;
}

static bool take_meaning(struct http_message *m, size_t max_body, struct http_refusal *r) {
    if (!check_once(m, r) || !take_length(m, max_body, r))
        return false;
    const char *expect = http_field_value(m, "Expect");
    if (expect && m->minor == 1 && strcasecmp(expect, "100-continue") != 0)
        return refuse(r, 417, "The server cannot do what Expect asks for.");
    m->expects_continue = expect && m->minor == 1;
    m->keep_alive =
        !has_word(m, "Connection", "close") && (m->minor == 1 || has_word(m, "Connection", "keep-alive"));
    return true;
}

static bool take_lines(struct http_message *m, size_t max_body, struct http_refusal *r) {
    char *line = m->text, *end = strstr(line, "\r\n");
    *end = '\0';
    if (!take_request_line(line, m, r))
        return false;
    for (line = end + 2; *line && *line != '\r'; line = end + 2) {
        end = strstr(line, "\r\n");
        *end = '\0';
        if (!take_field(line, m, r))
            return false;
    }
    return take_meaning(m, max_body, r);
}

bool http_head_parse(const uint8_t *head, size_t len, size_t max_body, struct http_message **ret,
                     const char **ret_method, struct http_refusal *refusal) {
    CS_AUTO(http_message_free) struct http_message *m = calloc(1, sizeof *m);
    if (!m || !(m->text = malloc(len + 1)))
        return refuse(refusal, 503, "The server is out of memory.");
    memcpy(m->text, head, len);
    m->text[len] = '\0';
    cs_buf_init(&m->body, max_body);
    bool ok = take_lines(m, max_body, refusal);
    *ret_method = m->method;
    if (ok)
        *ret = CS_TAKE(m);
    return ok;
}

void http_message_free(struct http_message *m) {
    if (!m)
        return;
    cs_buf_clear(&m->body);
    free(m->text);
    free(m);
}

// ---- chunks (RFC 9112, 7.1)

enum chunk_state {
    SIZE, // begins with it
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER, // at the start of a line
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    LAST_LF,
    END,
    BROKEN,
};

static int size_digit(struct http_chunks *c, uint8_t byte) {
    int digit = cs_hex_value((char)byte);
    if (digit >= 0) {
        c->left = c->left * 16 + (size_t)digit;
        return ++c->digits <= CHUNK_DIGITS_MAX ? SIZE : BROKEN;
    }
    c->extra = 0;
    if (c->digits == 0)
        return BROKEN;
    return byte == '\r' ? SIZE_LF : byte == ';' ? EXTENSION : BROKEN;
}

// The state after a byte that is not content.
static int after(struct http_chunks *c, uint8_t byte) {
    switch ((enum chunk_state)c->state) {
    case SIZE:
        return size_digit(c, byte);
    case EXTENSION: // extensions mean nothing to us
        return byte == '\r' ? SIZE_LF : is_text(byte) && ++c->extra <= CHUNK_EXTRA_MAX ? EXTENSION : BROKEN;
    case SIZE_LF:
        c->extra = 0;
        return byte != '\n' ? BROKEN : c->left ? DATA : TRAILER;
    case DATA_CR:
        return byte == '\r' ? DATA_LF : BROKEN;
    case DATA_LF:
        c->digits = 0;
        return byte == '\n' ? SIZE : BROKEN;
    case TRAILER:
        return byte == '\r' ? LAST_LF : is_token(byte) ? TRAILER_NAME : BROKEN;
    case TRAILER_NAME:
        return byte == ':'                                    ? TRAILER_VALUE
               : is_token(byte) && ++c->extra <= TRAILERS_MAX ? TRAILER_NAME
                                                              : BROKEN;
    case TRAILER_VALUE:
        return byte == '\r'                                  ? TRAILER_LF
               : is_text(byte) && ++c->extra <= TRAILERS_MAX ? TRAILER_VALUE
                                                             : BROKEN;
    case TRAILER_LF:
        return byte == '\n' && ++c->extra <= TRAILERS_MAX ? TRAILER : BROKEN;
    case LAST_LF:
        return byte == '\n' ? END : BROKEN;
    case DATA:
    case END:
    case BROKEN:
        break;
    }
    return BROKEN;
}

enum http_step http_chunks_eat(struct http_chunks *c, const uint8_t *data, size_t len, size_t *ret_eaten,
                               struct cs_buf *body, struct http_refusal *refusal) {
    size_t i = 0;
    while (i < len && c->state != END && c->state != BROKEN) {
        if (c->state != DATA) {
            c->state = after(c, data[i++]);
            continue;
        }
        size_t n = len - i < c->left ? len - i : c->left;
        if (c->left > body->max - body->len) {
            refuse(refusal, 413, "The body of the request is too large.");
            return HTTP_STEP_REFUSED;
        }
        cs_buf_put(body, data + i, n);
        i += n;
        c->left -= n;
        if (c->left == 0)
            c->state = DATA_CR;
    }
    *ret_eaten = i;
    if (c->state == BROKEN || body->failed) {
        refuse(refusal, body->failed ? 503 : 400,
               body->failed ? "The server is out of memory." : "The chunks of the body are not well-formed.");
        return HTTP_STEP_REFUSED;
    }
    return c->state == END ? HTTP_STEP_DONE : HTTP_STEP_MORE;
}
