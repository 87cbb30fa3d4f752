// SPDX-License-Identifier: Apache-2.0
#include "api/filter.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

const char *const api_filter_parameters[] = {"part",        "dns",      "issuer", "serial",
                                             "fingerprint", "key_type", "tag",    NULL};

static void lower(char *text) {
    for (; *text; text++)
        if (*text >= 'A' && *text <= 'Z')
            *text = (char)(*text - 'A' + 'a');
}

static void copy_lower(char *to, size_t size, const char *from) {
    snprintf(to, size, "%s", from);
    lower(to);
}

// ---- words of a certificate

struct emit {
    void (*put)(void *arg, char kind, const char *text);
    void *arg;
};

static void put_lower(const struct emit *e, char kind, const char *text) {
    char word[API_WORD_MAX + 1];
    copy_lower(word, sizeof word, text);
    e->put(e->arg, kind, word);
}

// "*.example.com" is a name like others here: it is the child of example.com.
static void put_name(const struct emit *e, const char *name) {
    if (strchr(name, ':')) // IP:, email:, URI:
        return;
    put_lower(e, 'd', name);
    const char *dot = strchr(name, '.');
    if (dot && dot[1])
        put_lower(e, 'p', dot + 1);
}

// The name in the form of RFC 2253: attributes with ',' or '+' between, '\' before a character that means
// nothing. Of its common name and organization the values are words, too.
static void put_issuer(const struct emit *e, const char *issuer) {
    put_lower(e, 'i', issuer);
    for (const char *at = issuer; *at;) {
        char value[API_WORD_MAX + 1];
        size_t len = 0;
        bool wanted = strncmp(at, "CN=", 3) == 0 || strncmp(at, "O=", 2) == 0;
        at += strcspn(at, "=");
        at += *at == '=';
        for (; *at && *at != ',' && *at != '+'; at++) {
            at += *at == '\\' && at[1];
            if (len < API_WORD_MAX)
                value[len++] = *at;
        }
        at += *at != '\0';
        value[len] = '\0';
        if (wanted && len > 0)
            put_lower(e, 'i', value);
    }
}

static void put_hash(const struct emit *e, char kind, const uint8_t sha256[32]) {
    static const char digits[] = "0123456789abcdef";
    char text[65];
    for (size_t i = 0; i < 32; i++) {
        text[2 * i] = digits[sha256[i] >> 4];
        text[2 * i + 1] = digits[sha256[i] & 15];
    }
    text[64] = '\0';
    e->put(e->arg, kind, text);
}

static void put_key(const struct emit *e, const struct cs_leaf *leaf) {
    char text[64];
    put_lower(e, 'k', cs_key_type_name(leaf->key_type));
    snprintf(text, sizeof text, "%s-%d", cs_key_type_name(leaf->key_type), leaf->key_bits);
    put_lower(e, 'k', text);
}

static void put_trigrams(const struct emit *e, const char *text) {
    char name[CS_NAME_MAX + 1];
    copy_lower(name, sizeof name, text);
    for (size_t i = 0; strlen(name + i) >= API_PART_MIN; i++) {
        char word[API_PART_MIN + 1];
        memcpy(word, name + i, API_PART_MIN);
        word[API_PART_MIN] = '\0';
        e->put(e->arg, 'n', word);
    }
}

void api_words(const struct cs_cert_summary *s, void (*put)(void *arg, char kind, const char *text),
               void *arg) {
    const struct emit e = {put, arg};
    for (size_t l = 0; l < s->leaves_len; l++) {
        const struct cs_leaf *leaf = &s->leaves[l];
        for (size_t i = 0; i < leaf->names_len; i++)
            put_name(&e, leaf->names[i]);
        put_issuer(&e, leaf->issuer ? leaf->issuer : "");
        put(arg, 's', leaf->serial);
        put_hash(&e, 'f', leaf->sha256);
        put_key(&e, leaf);
    }
    for (size_t i = 0; i < s->tags.len; i++)
        put(arg, 't', s->tags.tag[i]);
    put_trigrams(&e, s->name);
}

// ---- parameters

static struct api_wanted *add(struct api_filter *f, const char *parameter, char kind, const char *text) {
    struct api_wanted *w = &f->wanted[f->wanted_len++];
    *w = (struct api_wanted){.parameter = parameter, .kind = {kind}, .len = 1};
    snprintf(w->text[0], sizeof w->text[0], "%s", text);
    return w;
}

static const char *take_part(struct api_filter *f, const char *value) {
    if (strlen(value) < API_PART_MIN || !cs_name_valid(value, strlen(value), CS_ALGORITHM_INTERNATIONAL))
        return "part must be at least 3 characters of a name: letters, digits, '.', '_' and '-'.";
    copy_lower(f->part, sizeof f->part, value);
    return NULL;
}

// Labels with dots between; '*' may be the first one.
static bool is_dns(const char *s) {
    size_t len = strlen(s);
    if (len == 0 || len > 253 || s[len - 1] == '.' || strstr(s, ".."))
        return false;
    if (strncmp(s, "*.", 2) == 0)
        s += 2;
    return *s != '.' && s[strcspn(s, "*:/ ")] == '\0';
}

// A name, and the wildcard that stands for it; or all below a parent.
static const char *take_dns(struct api_filter *f, const char *value) {
    char name[API_WORD_MAX + 1];
    if (!is_dns(value))
        return "dns must be a DNS name, or *.PARENT for all names right below it.";
    copy_lower(name, sizeof name, value);
    if (strncmp(name, "*.", 2) == 0) {
        add(f, "dns", 'p', name + 2);
        return NULL;
    }
    struct api_wanted *w = add(f, "dns", 'd', name);
    const char *dot = strchr(name, '.');
    if (dot && strchr(dot + 1, '.')) { // no wildcard stands for all of a top level domain
        w->kind[w->len] = 'd';
        snprintf(w->text[w->len++], sizeof w->text[0], "*%s", dot);
    }
    return NULL;
}

static const char *take_issuer(struct api_filter *f, const char *value) {
    size_t len = strlen(value);
    if (len == 0 || len > API_WORD_MAX)
        return "issuer must be the issuer's name as certificates show it, or its common name or "
               "organization.";
    char text[API_WORD_MAX + 1];
    copy_lower(text, sizeof text, value);
    add(f, "issuer", 'i', text);
    return NULL;
}

// Hex as people have it: with colons or blanks, in any case. False: it is none, or too long.
static bool take_hex(const char *value, char *out, size_t size) {
    size_t len = 0;
    for (; *value; value++) {
        if (*value == ':' || *value == ' ')
            continue;
        if (!isxdigit((unsigned char)*value) || len + 1 >= size)
            return false;
        out[len++] = (char)tolower((unsigned char)*value);
    }
    out[len] = '\0';
    return len > 0;
}

// Serial numbers are shown without leading zeros beyond a byte.
static const char *take_serial(struct api_filter *f, const char *value) {
    char hex[API_WORD_MAX - 1], text[API_WORD_MAX + 1];
    bool negative = value[0] == '-';
    if (!take_hex(value + negative, hex, CS_SERIAL_TEXT_SIZE + 2))
        return "serial must be a serial number in hex.";
    const char *at = hex + strspn(hex, "0");
    snprintf(text, sizeof text, "%s%s%s", negative ? "-" : "",
             *at == '\0'      ? "00"
             : strlen(at) % 2 ? "0"
                              : "",
             at);
    add(f, "serial", 's', text);
    return NULL;
}

static const char *take_fingerprint(struct api_filter *f, const char *value) {
    char hex[65];
    if (!take_hex(value, hex, sizeof hex) || strlen(hex) != 64)
        return "fingerprint must be the SHA-256 of the certificate, 64 hex digits.";
    add(f, "fingerprint", 'f', hex);
    return NULL;
}

static const char *take_key_type(struct api_filter *f, const char *value) {
    char text[64];
    size_t len = strlen(value);
    if (len == 0 || len >= sizeof text ||
        value[strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                            "0123456789-")] != '\0')
        return "key_type must be a type of key, such as P-256, RSA, RSA-2048, Ed25519 or SM2.";
    copy_lower(text, sizeof text, value);
    add(f, "key_type", 'k', text);
    return NULL;
}

static const char *take_tag(struct api_filter *f, const char *value) {
    if (!cs_tag_valid(value, strlen(value)))
        return "tag must be a tag: a letter or digit, then also . _ : = / and -.";
    add(f, "tag", 't', value);
    return NULL;
}

bool api_filter_take(struct api_filter *f, const char *parameter, const char *value,
                     const char **ret_problem) {
    static const char *(*const take[])(struct api_filter * f, const char *value) = {
        take_part, take_dns, take_issuer, take_serial, take_fingerprint, take_key_type, take_tag};
    for (size_t i = 0; api_filter_parameters[i]; i++)
        if (strcmp(api_filter_parameters[i], parameter) == 0) {
            *ret_problem = take[i](f, value);
            return true;
        }
    return false;
}

// ---- documents

struct look {
    const struct api_filter *f;
    bool found[API_FILTERS_MAX];
};

static void compare(void *arg, char kind, const char *text) {
    struct look *l = arg;
    for (size_t i = 0; i < l->f->wanted_len; i++) {
        const struct api_wanted *w = &l->f->wanted[i];
        for (size_t k = 0; k < w->len; k++)
            if (w->kind[k] == kind && strcmp(w->text[k], text) == 0)
                l->found[i] = true;
    }
}

// A pair is valid while both certificates are.
int64_t api_starts(const struct cs_cert_summary *s) {
    int64_t t = s->leaves[0].not_before_s;
    return s->leaves_len > 1 && s->leaves[1].not_before_s > t ? s->leaves[1].not_before_s : t;
}

// notBefore and notAfter are within the validity (RFC 5280 section 4.1.2.5). If the chain ends
// before the leaf, the item ends with it.
enum api_status api_status_of(const struct cs_cert_summary *s, int64_t now_s, int64_t within_s) {
    if (cs_summary_ends(s) < now_s)
        return API_EXPIRED;
    if (api_starts(s) > now_s)
        return API_NOT_YET_VALID;
    return cs_summary_ends(s) - now_s < within_s ? API_EXPIRING : API_VALID;
}

static bool source_passes(const struct api_filter *f, const struct cs_cert_summary *s, bool shared) {
    return f->source == CS_SOURCE_SHARED ? shared : !shared && s->source == f->source;
}

bool api_filter_passes(const struct api_filter *f, const struct cs_cert_summary *s, bool shared,
                       int64_t now_s) {
    char name[CS_NAME_MAX + 1];
    struct look l = {.f = f};
    copy_lower(name, sizeof name, s->name);
    if ((f->has_source && !source_passes(f, s, shared)) ||
        (f->has_algorithm && s->algorithm != f->algorithm) ||
        (f->has_status && api_status_of(s, now_s, f->within_s) != f->status) || !strstr(name, f->part) ||
        strncmp(s->name, f->prefix, strlen(f->prefix)) != 0)
        return false;
    if (f->wanted_len > 0)
        api_words(s, compare, &l);
    for (size_t i = 0; i < f->wanted_len; i++)
        if (!l.found[i])
            return false;
    return true;
}
