// SPDX-License-Identifier: Apache-2.0
#include "certsync/base/secret.h"

#include <stdio.h>
#include <string.h>

#include "certsync/base/text.h"

#define DER_HEAD      9  // SEQUENCE with a length of up to 4 bytes, the version, the next tag
#define SHORT_RUN     11 // 8 bytes are 11 characters of base64
#define SHORT_HEX     16 // and 16 of hexadecimal
#define LONG_RUN      40 // 30 bytes
#define PATH_RUN      24 // 18 bytes
#define SHOWN_MAX     4
#define RANDOM_PERMIL 450 // of neighbours differ in kind: 620 in random base64, under 300 in words
#define LONG_PERMIL   300 // for a long run of random characters, which may have so few

// Takes both alphabets.
static int base64_value(char c) {
    int value = cs_base64_value(c);
    return value >= 0 ? value : cs_base64url_value(c);
}

// SEQUENCE { INTEGER 0 or 1, then SEQUENCE (PKCS#8), INTEGER (PKCS#1) or OCTET STRING (SEC1).
// Certificates, requests and public keys have no number there.
static bool key_head(const uint8_t head[DER_HEAD]) {
    size_t at = head[1] < 0x80 ? 2 : head[1] == 0x81 ? 3 : head[1] == 0x82 ? 4 : 0;
    return head[0] == 0x30 && at > 0 && head[at] == 0x02 && head[at + 1] == 0x01 && head[at + 2] <= 1 &&
           (head[at + 3] == 0x30 || head[at + 3] == 0x02 || head[at + 3] == 0x04);
}

static bool base64_head(const char *s, size_t len) {
    uint8_t head[DER_HEAD];
    if (len < DER_HEAD / 3 * 4)
        return false;
    for (size_t i = 0; i < DER_HEAD / 3; i++) {
        uint32_t group = 0;
        for (size_t j = 0; j < 4; j++) {
            int v = base64_value(s[4 * i + j]);
            if (v < 0)
                return false;
            group = group << 6 | (uint32_t)v;
        }
        head[3 * i] = (uint8_t)(group >> 16);
        head[3 * i + 1] = (uint8_t)(group >> 8);
        head[3 * i + 2] = (uint8_t)group;
    }
    return key_head(head);
}

static bool hex_head(const char *s, size_t len) {
    uint8_t head[DER_HEAD];
    if (len < sizeof head * 2)
        return false;
    for (size_t i = 0; i < sizeof head; i++) {
        int hi = cs_hex_value(s[2 * i]), lo = cs_hex_value(s[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        head[i] = (uint8_t)(hi << 4 | lo);
    }
    return key_head(head);
}

bool cs_secret_is_key(const char *s, size_t len) {
    static const char label[] = "PRIVATE KEY-";
    for (size_t i = 0; i < len; i++) {
        size_t left = len - i;
        if (s[i] == 'P' && left >= sizeof label - 1 && memcmp(s + i, label, sizeof label - 1) == 0)
            return true;
        if (s[i] == 'M' && base64_head(s + i, left)) // 0x30 begins so in base64
            return true;
        if (s[i] == '3' && hex_head(s + i, left))
            return true;
    }
    return false;
}

enum kind { NONE, UPPER, LOWER, DIGIT, SIGN };
#define BOTH_CASES (1u << UPPER | 1u << LOWER)

static enum kind kind_of(char c) {
    if (c >= 'A' && c <= 'Z')
        return UPPER;
    if (c >= 'a' && c <= 'z')
        return LOWER;
    if (c >= '0' && c <= '9')
        return DIGIT;
    return c == '+' || c == '/' || c == '=' ? SIGN : NONE;
}

// Characters of base64 that lie together, how often their kind changes, and which kinds they have.
struct run {
    size_t len, changes;
    unsigned kinds;
};

// The run that begins here, at most max long.
static struct run next_run(const char *s, size_t max, bool slash) {
    struct run r = {0};
    enum kind last = NONE;
    for (; r.len < max; r.len++) {
        enum kind k = s[r.len] == '/' && !slash ? NONE : kind_of(s[r.len]);
        if (k == NONE)
            break;
        r.changes += last != NONE && k != last;
        r.kinds |= 1u << k;
        last = k;
    }
    return r;
}

// Paths have slashes, and so has base64.
static bool slash_counts(const char *s, size_t len) {
    return len == 0 || (s[0] != '/' && s[0] != '.' && s[0] != '~');
}

// Random base64 has letters of both cases; names and hexadecimal numbers have one case. One stretch
// of this length is enough: the text around it may be less random (a key's header is).
static bool random_run(const char *s, size_t len, size_t stretch, size_t permil) {
    bool slash = slash_counts(s, len);
    for (size_t i = 0; i + stretch <= len; i++) {
        struct run r = next_run(s + i, stretch, slash);
        if (r.len == stretch && (r.kinds & BOTH_CASES) == BOTH_CASES &&
            r.changes * 1000 >= (stretch - 1) * permil)
            return true;
    }
    return false;
}

bool cs_secret_is_random(const char *s, size_t len) {
    return random_run(s, len, LONG_RUN, RANDOM_PERMIL);
}

// How many hexadecimal digits begin here; 0 without a letter among them.
static size_t hex_run(const char *s, size_t len) {
    size_t n = 0, digits = 0;
    for (; n < len && cs_hex_value(s[n]) >= 0; n++)
        digits += kind_of(s[n]) == DIGIT;
    return digits > 0 && digits < n ? n : 0;
}

// Some directories and files are named by a SHA-1 or SHA-256: these lengths are no secret.
static bool long_hex(const char *s, size_t len) {
    for (size_t i = 0; i < len; i++) {
        size_t n = hex_run(s + i, len - i);
        if (n > 2 * 16 && n != 2 * 20 && n != 2 * 32)
            return true;
        i += n;
    }
    return false;
}

// SHORT_RUN characters with letters of both cases that change their kind four times. Words do so
// twice.
static bool busy_window(const char *s, size_t len, bool slash) {
    struct run r = next_run(s, len < SHORT_RUN ? len : SHORT_RUN, slash);
    return r.len == SHORT_RUN && r.changes >= 4 && (r.kinds & BOTH_CASES) == BOTH_CASES;
}

// PEM has such dashes; no name or path does.
static bool has_dashes(const char *s, size_t len) {
    for (size_t i = 0; i + 5 <= len; i++)
        if (memcmp(s + i, "-----", 5) == 0)
            return true;
    return false;
}

// DER, or a part of it. Names that try to steer a terminal have escapes, but none of these
// controls.
static bool is_binary(const char *s, size_t len) {
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)s[i];
        if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r' && c != 0x1b) || c == 0x7f)
            return true;
    }
    return !cs_utf8_valid((const uint8_t *)s, len);
}

bool cs_secret_may_be(const char *s, size_t len) {
    bool slash = slash_counts(s, len);
    if (cs_secret_is_key(s, len) || !cs_utf8_valid((const uint8_t *)s, len))
        return true;
    for (size_t i = 0; i < len; i++)
        if (busy_window(s + i, len - i, slash) || hex_run(s + i, len - i) >= SHORT_HEX)
            return true;
    return has_dashes(s, len);
}

static void put_head(const char *s, size_t len, char *out, size_t out_size) {
    char head[4 * SHOWN_MAX + 1];
    cs_text_escape(s, len < SHOWN_MAX ? len : SHOWN_MAX, head, sizeof head);
    snprintf(out, out_size, "%s... (%zu bytes, not shown: perhaps a key)", head, len);
}

void cs_secret_quote(const char *s, size_t len, char *out, size_t out_size) {
    if (cs_secret_may_be(s, len))
        put_head(s, len, out, out_size);
    else
        cs_text_escape(s, len, out, out_size);
}

void cs_secret_show(const char *s, size_t len, char *out, size_t out_size) {
    if (cs_secret_is_key(s, len) || is_binary(s, len) || has_dashes(s, len) ||
        random_run(s, len, PATH_RUN, RANDOM_PERMIL) || random_run(s, len, LONG_RUN, LONG_PERMIL) ||
        long_hex(s, len))
        put_head(s, len, out, out_size);
    else
        cs_text_escape(s, len, out, out_size);
}
