// SPDX-License-Identifier: Apache-2.0
#include "certsync/model/dns.h"

#include <string.h>

#include <arpa/inet.h>

#include "x509/name.h"

#define NAME_MAX_LEN  253 // RFC 1035 section 2.3.4, as text
#define LABEL_MAX_LEN 63

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

// ---- the form of patterns

static bool label_valid(const char *s, size_t len) {
    if (len == 0 || len > LABEL_MAX_LEN || s[0] == '-' || s[len - 1] == '-')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9') || s[i] == '-' || s[i] == '_'))
            return false;
    return true;
}

// The last label is no number: such a text is an address (RFC 3696 section 2).
static bool host_valid(const char *s, size_t len) {
    if (len == 0 || len > NAME_MAX_LEN)
        return false;
    for (;;) {
        const char *dot = memchr(s, '.', len);
        size_t label = dot ? (size_t)(dot - s) : len;
        if (!label_valid(s, label))
            return false;
        if (!dot)
            return strspn(s, "0123456789") < label;
        s += label + 1;
        len -= label + 1;
    }
}

static bool address_valid(const char *s, size_t len) {
    char text[INET6_ADDRSTRLEN], again[INET6_ADDRSTRLEN];
    uint8_t bytes[16];
    if (len >= sizeof text)
        return false;
    memcpy(text, s, len);
    text[len] = '\0';
    if (strcmp(text, "*") == 0)
        return true;
    int family = strchr(text, ':') ? AF_INET6 : AF_INET;
    return inet_pton(family, text, bytes) == 1 && inet_ntop(family, bytes, again, sizeof again) &&
           strcmp(text, again) == 0;
}

#define IP     "IP:"
#define IP_LEN (sizeof IP - 1)

// How many stars it begins with, where a dot follows.
static size_t stars_of(const char *s, size_t len) {
    size_t n = 0;
    while (n < 2 && n < len && s[n] == '*')
        n++;
    return n > 0 && n < len && s[n] == '.' ? n : 0;
}

bool cs_dns_pattern_valid(const char *s, size_t len) {
    if (memchr(s, '\0', len))
        return false;
    if (len >= IP_LEN && memcmp(s, IP, IP_LEN) == 0)
        return address_valid(s + IP_LEN, len - IP_LEN);
    size_t stars = stars_of(s, len), before = stars > 0 ? stars + 1 : 0;
    return host_valid(s + before, len - before);
}

// ---- names under patterns

struct pattern {
    const char *s;
    size_t len;
};

static bool next_pattern(const char **list, struct pattern *ret) {
    if (**list == '\0')
        return false;
    size_t len = strcspn(*list, "\n");
    *ret = (struct pattern){*list, len};
    *list += len + ((*list)[len] == '\n');
    return true;
}

static bool equal(const char *name, struct pattern p) {
    for (size_t i = 0; i < p.len; i++)
        if (lower(name[i]) != p.s[i])
            return false;
    return name[p.len] == '\0';
}

// "base" below which name has at least one label; *ret: where the labels above it end. NULL: it is none.
static bool is_below(const char *name, struct pattern base, size_t *ret_above) {
    size_t len = strlen(name);
    if (len < base.len + 2 || name[len - base.len - 1] != '.')
        return false;
    *ret_above = len - base.len - 1;
    return equal(name + len - base.len, base);
}

static bool labels_full(const char *name) {
    return name[0] != '\0' && name[0] != '.' && !strstr(name, "..") && name[strlen(name) - 1] != '.';
}

bool cs_dns_is_wildcard(const char *name) {
    return memchr(name, '*', strcspn(name, ".")) != NULL;
}

// A wildcard name stands for hosts with one label in the place of its first one. So it is covered as a
// host there is, but never by the name of one host.
static bool covers(struct pattern p, const char *name) {
    size_t stars = stars_of(p.s, p.len), above;
    if (stars == 0)
        return !strchr(name, '*') && equal(name, p);
    struct pattern base = {p.s + stars + 1, p.len - stars - 1};
    if (!is_below(name, base, &above) || strchr(name + strcspn(name, "."), '*'))
        return false;
    return stars == 2 || !memchr(name, '.', above);
}

bool cs_dns_covers(const char *patterns, const char *name) {
    struct pattern p;
    if (!labels_full(name) || strlen(name) > NAME_MAX_LEN)
        return false;
    while (next_pattern(&patterns, &p))
        if (covers(p, name))
            return true;
    return false;
}

bool cs_dns_covers_address(const char *patterns, const char *address) {
    struct pattern p;
    while (next_pattern(&patterns, &p)) {
        if (p.len <= IP_LEN || memcmp(p.s, IP, IP_LEN) != 0)
            continue;
        struct pattern of = {p.s + IP_LEN, p.len - IP_LEN};
        if ((of.len == 1 && of.s[0] == '*') || equal(address, of))
            return true;
    }
    return false;
}

// ---- lists within lists

static bool one_within(struct pattern p, const char *outer) {
    char text[CS_DNS_PATTERN_MAX + 1];
    struct pattern o;
    if (p.len > CS_DNS_PATTERN_MAX)
        return false;
    memcpy(text, p.s, p.len);
    text[p.len] = '\0';
    if (strncmp(text, IP, IP_LEN) == 0)
        return cs_dns_covers_address(outer, text + IP_LEN);
    size_t stars = stars_of(p.s, p.len);
    if (stars < 2) // "*.example.com" stands for the same hosts as a name and as a pattern
        return cs_dns_covers(outer, text);
    while (next_pattern(&outer, &o)) {
        size_t above, theirs = stars_of(o.s, o.len);
        struct pattern base = {o.s + theirs + 1, o.len - theirs - 1};
        if (theirs == 2 && (equal(text + 3, base) || is_below(text + 3, base, &above)))
            return true;
    }
    return false;
}

bool cs_dns_within(const char *inner, const char *outer) {
    struct pattern p;
    if (outer[0] == '\0')
        return true;
    if (inner[0] == '\0')
        return false;
    while (next_pattern(&inner, &p))
        if (!one_within(p, outer))
            return false;
    return true;
}

// ---- what a certificate names

static struct cs_bytes rest_of(const struct der *d) {
    return (struct cs_bytes){d->p, (size_t)(d->end - d->p)};
}

static struct cs_hosts hosts_of(struct cs_bytes alt_names, const char *common_name) {
    struct der outer = der_of(alt_names), names;
    struct cs_hosts h = {.common_name = common_name};
    if (alt_names.len > 0 && der_enter(&outer, DER_SEQUENCE, &names))
        h.rest = rest_of(&names);
    return h;
}

struct cs_hosts cs_hosts_of_cert(const struct cs_cert *cert) {
    return hosts_of(cert->alt_names, cert->common_name);
}

struct cs_hosts cs_hosts_of_csr(const struct cs_csr *csr) {
    return hosts_of(csr->alt_names, csr->common_name);
}

static void cut(const void *s, size_t len, char out[CS_HOST_TEXT_SIZE]) {
    if (len > CS_HOST_TEXT_SIZE - 1)
        len = CS_HOST_TEXT_SIZE - 1;
    memcpy(out, s, len);
    out[len] = '\0';
}

bool cs_hosts_next(struct cs_hosts *h, struct cs_host *ret) {
    struct der d = der_of(h->rest);
    struct der_value v;
    while (!der_done(&d) && der_next(&d, &v)) {
        h->rest = rest_of(&d);
        ret->address = v.tag == GENERAL_NAME_IP;
        if (ret->address)
            inet_ntop(v.content.len == 4 ? AF_INET : AF_INET6, v.content.data, ret->text, sizeof ret->text);
        else if (v.tag == GENERAL_NAME_DNS && v.content.len > 0)
            cut(v.content.data, v.content.len, ret->text);
        else
            continue;
        h->any = true;
        return true;
    }
    if (h->any || h->common_name[0] == '\0')
        return false;
    h->any = true;
    ret->address = false;
    cut(h->common_name, strlen(h->common_name), ret->text);
    return true;
}
