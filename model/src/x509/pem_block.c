// SPDX-License-Identifier: Apache-2.0
#include "x509/pem_block.h"

#include "certsync/base/text.h"

#define BEGIN     PEM_DASHES "BEGIN "
#define END       PEM_DASHES "END "
#define LABEL_MAX 40

struct line {
    const char *s;
    size_t len;
};

static bool starts(struct line l, const char *with) {
    size_t n = strlen(with);
    return l.len >= n && memcmp(l.s, with, n) == 0;
}

// The next line without its end and the white space around it. CR, LF and CRLF all end lines.
static bool next_line(struct pem_reader *r, struct line *ret) {
    if (r->p == r->end)
        return false;
    const char *start = r->p;
    while (r->p < r->end && *r->p != '\n' && *r->p != '\r')
        r->p++;
    const char *stop = r->p;
    if (r->p < r->end)
        r->p++;
    while (start < stop && (*start == ' ' || *start == '\t'))
        start++;
    while (stop > start && (stop[-1] == ' ' || stop[-1] == '\t'))
        stop--;
    *ret = (struct line){start, (size_t)(stop - start)};
    return true;
}

struct pem_reader pem_open(struct cs_bytes text) {
    const char *p = (const char *)text.data;
    if (text.len >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0) // byte order mark
        return (struct pem_reader){p + 3, p + text.len};
    return (struct pem_reader){p, p + text.len};
}

size_t pem_label_len(const char *s, size_t len) {
    size_t n = 0;
    while (n < len && ((s[n] >= 'A' && s[n] <= 'Z') || (s[n] >= '0' && s[n] <= '9') || s[n] == ' '))
        n++;
    return n <= LABEL_MAX ? n : 0;
}

// The label of a BEGIN or END line. False where the line is neither.
static bool line_label(struct line l, const char *what, struct line *ret) {
    size_t head = strlen(what), tail = PEM_DASHES_LEN;
    if (!starts(l, what) || l.len <= head + tail || memcmp(l.s + l.len - tail, PEM_DASHES, tail) != 0)
        return false;
    *ret = (struct line){l.s + head, l.len - head - tail};
    return pem_label_len(ret->s, ret->len) == ret->len;
}

enum pem_step pem_next(struct pem_reader *r, struct pem_block *ret) {
    struct line line, label, end;
    do {
        if (!next_line(r, &line))
            return PEM_END;
    } while (!line_label(line, BEGIN, &label));
    *ret = (struct pem_block){.label = label.s, .label_len = label.len, .body = r->p};
    bool headers = true;
    for (;;) {
        struct pem_reader before = *r;
        if (!next_line(r, &line))
            return PEM_TRUNCATED;
        if (line_label(line, END, &end)) {
            ret->body_len = (size_t)(before.p - ret->body);
            return end.len == label.len && memcmp(end.s, label.s, end.len) == 0 ? PEM_BLOCK : PEM_TRUNCATED;
        }
        if (line_label(line, BEGIN, &end)) { // the next block begins, and is still to be read
            *r = before;
            return PEM_TRUNCATED;
        }
        // RFC 1421 headers come first and have a colon, which base64 has not.
        if (headers && memchr(line.s, ':', line.len)) {
            if (starts(line, "Proc-Type:") && line.len >= 9 &&
                memcmp(line.s + line.len - 9, "ENCRYPTED", 9) == 0)
                ret->encrypted = true;
            ret->body = r->p;
        } else if (line.len > 0) {
            headers = false;
        }
    }
}

bool pem_is(const struct pem_block *b, const char *label) {
    return strlen(label) == b->label_len && memcmp(label, b->label, b->label_len) == 0;
}

bool pem_ends_with(const struct pem_block *b, const char *tail) {
    size_t n = strlen(tail);
    return b->label_len >= n && memcmp(b->label + b->label_len - n, tail, n) == 0;
}

static bool is_space(uint8_t c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool pem_decode(const struct pem_block *b, uint8_t *out, size_t *ret_len) {
    // Copied without white space to the end of out, then decoded to its beginning. Reading stays
    // ahead of writing.
    size_t n = b->body_len;
    uint8_t *at = out + n;
    while (n > 0)
        if (!is_space((uint8_t)b->body[--n]))
            *--at = (uint8_t)b->body[n];
    return cs_base64_decode((char *)at, (size_t)(out + b->body_len - at), out, ret_len);
}

static bool open_sequence(struct cs_bytes data, struct der *ret) {
    struct der d = der_of(data);
    return der_enter(&d, DER_SEQUENCE, ret);
}

static enum pem_guess guess_der(struct der seq) {
    struct der first;
    struct cs_bytes oid;
    int version;
    if (der_at(&seq, DER_INTEGER)) { // PFX has version 3; private keys have 0 or 1
        if (!der_take_small(&seq, &version) || version == 2 || version > 3)
            return GUESS_UNKNOWN;
        return version == 3 ? GUESS_PKCS12 : GUESS_DER_KEY;
    }
    if (der_at(&seq, DER_OID))
        return der_take_oid(&seq, &oid) &&
                       cs_bytes_equal(oid, DER_BYTES("\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"))
                   ? GUESS_PKCS7
                   : GUESS_UNKNOWN;
    if (!der_enter(&seq, DER_SEQUENCE, &first))
        return GUESS_UNKNOWN;
    if (der_at(&first, DER_OID)) // an AlgorithmIdentifier, of a public key or an encrypted private one
        return der_at(&seq, DER_BIT_STRING)     ? GUESS_DER_PUBLIC_KEY
               : der_at(&seq, DER_OCTET_STRING) ? GUESS_DER_ENCRYPTED_KEY
                                                : GUESS_UNKNOWN;
    if (der_at(&first, DER_CONTEXT_CONSTRUCTED(0)))
        return GUESS_DER_CERT;
    // A request is { { version 0, subject, ... }, ... }. A version 1 certificate is { { serial,
    // algorithm, issuer, validity ... } }. The third member of a request is the key's SEQUENCE. In
    // a certificate it is a Name, and a validity follows.
    struct der_value v;
    if (!der_take_small(&first, &version) || version != 0 || !der_next(&first, &v) || !der_next(&first, &v))
        return GUESS_DER_CERT;
    return der_done(&first) || der_at(&first, DER_CONTEXT_CONSTRUCTED(0)) ? GUESS_DER_CSR : GUESS_DER_CERT;
}

static bool bare_base64(struct cs_bytes data) {
    size_t n = 0;
    for (size_t i = 0; i < data.len; i++) {
        uint8_t c = data.data[i];
        if (is_space(c))
            continue;
        if (c != '=' && cs_base64_value((char)c) < 0)
            return false;
        n++;
    }
    return n >= 64 && data.data[0] == 'M';
}

// ASCII in UTF-16: every second byte is 0. odd: at which places.
static bool zeros_at(struct cs_bytes data, size_t odd) {
    size_t n = data.len < 64 ? data.len : 64;
    for (size_t i = 0; i < n; i++)
        if ((data.data[i] == 0) != (i % 2 == odd))
            return false;
    return data.len >= 8 && data.len % 2 == 0;
}

enum pem_guess pem_guess(struct cs_bytes data) {
    struct der seq;
    size_t blank = 0;
    while (blank < data.len && (is_space(data.data[blank]) || data.data[blank] == 0))
        blank++;
    if (blank == data.len)
        return GUESS_EMPTY;
    if (data.len >= 4 && memcmp(data.data, "\xFE\xED\xFE\xED", 4) == 0)
        return GUESS_JKS;
    if (data.len >= 2 && (memcmp(data.data, "\xFF\xFE", 2) == 0 || memcmp(data.data, "\xFE\xFF", 2) == 0))
        return GUESS_UTF16;
    if (zeros_at(data, 1))
        return GUESS_UTF16LE;
    if (zeros_at(data, 0))
        return GUESS_UTF16BE;
    if (data.len >= 20 && memcmp(data.data, "PuTTY-User-Key-File-", 20) == 0)
        return GUESS_PUTTY;
    // PKCS#12 and PKCS#7 files may be BER of indefinite length: 30 80, then as in DER.
    if (data.len > 2 && data.data[0] == DER_SEQUENCE && data.data[1] == 0x80) {
        struct der rest = der_of((struct cs_bytes){data.data + 2, data.len - 2});
        return guess_der(rest);
    }
    if (open_sequence(data, &seq))
        return guess_der(seq);
    return bare_base64(data) ? GUESS_BARE_BASE64 : GUESS_UNKNOWN;
}
