// SPDX-License-Identifier: Apache-2.0
#include "certsync/model/policy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "certsync/base/text.h"

#define DAY_S INT64_C(86400)

bool cs_policy_is_empty(const struct cs_policy *p) {
    return p->keys.types == 0 && p->days == 0 && p->issuers[0] == '\0' && p->dns[0] == '\0' &&
           !p->no_wildcards;
}

bool cs_policy_equal(const struct cs_policy *a, const struct cs_policy *b) {
    return a->keys.types == b->keys.types && a->keys.rsa_bits == b->keys.rsa_bits && a->days == b->days &&
           strcmp(a->issuers, b->issuers) == 0 && strcmp(a->dns, b->dns) == 0 &&
           a->no_wildcards == b->no_wildcards;
}

// ---- forms

#define SPKI_PREFIX "spki:"
#define NAME_PREFIX "name:"
#define PREFIX_LEN  (sizeof SPKI_PREFIX - 1)

// A pattern that is stars alone stands for every issuer.
static bool name_pattern_valid(const char *s, size_t len) {
    size_t stars = 0;
    for (size_t i = 0; i < len; i++)
        stars += s[i] == '*';
    return len > stars;
}

bool cs_policy_issuer_valid(const char *s, size_t len) {
    uint8_t sha256[32];
    if (len <= PREFIX_LEN)
        return false;
    if (memcmp(s, SPKI_PREFIX, PREFIX_LEN) == 0)
        return len == PREFIX_LEN + 2 * sizeof sha256 &&
               cs_hex_decode(s + PREFIX_LEN, 2 * sizeof sha256, sha256);
    if (memcmp(s, NAME_PREFIX, PREFIX_LEN) != 0 || !cs_utf8_valid((const uint8_t *)s, len))
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7F)
            return false;
    return name_pattern_valid(s + PREFIX_LEN, len - PREFIX_LEN);
}

#define RSA_PREFIX     "RSA-"
#define RSA_PREFIX_LEN (sizeof RSA_PREFIX - 1)

static bool rsa_bits_parse(const char *s, size_t len, int32_t *ret) {
    int32_t bits = 0;
    if (len != 4 || s[0] == '0')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        bits = bits * 10 + (s[i] - '0');
    }
    *ret = bits;
    return bits >= CS_RSA_BITS_MIN && bits <= CS_RSA_BITS_MAX;
}

bool cs_policy_keys_add(struct cs_policy_keys *k, const char *s, size_t len) {
    enum cs_key_type type = CS_KEY_RSA;
    int32_t bits = 0;
    if (len > RSA_PREFIX_LEN && memcmp(s, RSA_PREFIX, RSA_PREFIX_LEN) == 0) {
        if (!rsa_bits_parse(s + RSA_PREFIX_LEN, len - RSA_PREFIX_LEN, &bits))
            return false;
    } else if (!cs_key_type_parse(s, len, &type) || type == CS_KEY_RSA || type == CS_KEY_X25519) {
        return false;
    }
    if (k->types >> type & 1)
        return false;
    k->types |= 1u << type;
    if (type == CS_KEY_RSA)
        k->rsa_bits = bits;
    return true;
}

void cs_policy_key_text(const struct cs_policy_keys *k, enum cs_key_type type, char out[CS_POLICY_KEY_SIZE]) {
    if (type == CS_KEY_RSA)
        snprintf(out, CS_POLICY_KEY_SIZE, RSA_PREFIX "%d", (int)k->rsa_bits);
    else
        snprintf(out, CS_POLICY_KEY_SIZE, "%s", cs_key_type_name(type));
}

// ---- what fits

bool cs_policy_key_fits(const struct cs_policy *p, enum cs_key_type type, int bits,
                        char detail[CS_POLICY_DETAIL_SIZE]) {
    const struct cs_policy_keys *k = &p->keys;
    if (k->types == 0 || ((k->types >> type & 1) && (type != CS_KEY_RSA || bits >= k->rsa_bits)))
        return true;
    int len = type == CS_KEY_RSA
                  ? snprintf(detail, CS_POLICY_DETAIL_SIZE, "It is RSA-%d; allowed:", bits)
                  : snprintf(detail, CS_POLICY_DETAIL_SIZE, "It is %s; allowed:", cs_key_type_name(type));
    for (int t = CS_KEY_RSA; t <= CS_KEY_SM2; t++) {
        char text[CS_POLICY_KEY_SIZE];
        if (!(k->types >> t & 1))
            continue;
        cs_policy_key_text(k, (enum cs_key_type)t, text);
        len += snprintf(detail + len, CS_POLICY_DETAIL_SIZE - (size_t)len, " %s", text);
    }
    return false;
}

bool cs_policy_lifetime_fits(const struct cs_policy *p, int64_t not_before_s, int64_t not_after_s,
                             char detail[CS_POLICY_DETAIL_SIZE]) {
    int64_t lifetime_s = not_after_s - not_before_s;
    if (p->days == 0 || lifetime_s <= p->days * DAY_S)
        return true;
    snprintf(detail, CS_POLICY_DETAIL_SIZE, "It is valid for %" PRId64 " days; allowed: %" PRId64,
             (lifetime_s + DAY_S - 1) / DAY_S, p->days);
    return false;
}

static bool issuer_matches(const char *line, size_t len, const char *issuer_name,
                           const uint8_t (*spki_sha256)[32], size_t n) {
    char text[CS_POLICY_ISSUER_MAX + 1];
    uint8_t wanted[32];
    if (len >= sizeof text)
        return false;
    memcpy(text, line, len);
    text[len] = '\0';
    if (memcmp(text, NAME_PREFIX, PREFIX_LEN) == 0)
        return cs_pattern_matches(text + PREFIX_LEN, issuer_name);
    if (!cs_hex_decode(text + PREFIX_LEN, len - PREFIX_LEN, wanted))
        return false;
    for (size_t i = 0; i < n; i++)
        if (memcmp(spki_sha256[i], wanted, sizeof wanted) == 0)
            return true;
    return false;
}

bool cs_policy_issuer_fits(const struct cs_policy *p, const char *issuer_name,
                           const uint8_t (*spki_sha256)[32], size_t n) {
    const char *line = p->issuers;
    if (*line == '\0')
        return true;
    for (;;) {
        size_t len = strcspn(line, "\n");
        if (issuer_matches(line, len, issuer_name, spki_sha256, n))
            return true;
        if (line[len] == '\0')
            return false;
        line += len + 1;
    }
}

// Names that are long, or may show as something else, are left out: the certificate tells them.
static void tell_host(const char *what, const struct cs_host *h, char detail[CS_POLICY_DETAIL_SIZE]) {
    size_t len = strlen(h->text);
    bool plain = len <= 100;
    for (size_t i = 0; i < len; i++)
        plain = plain && h->text[i] > 0x20 && h->text[i] < 0x7F && h->text[i] != '"' && h->text[i] != '\\';
    if (plain)
        snprintf(detail, CS_POLICY_DETAIL_SIZE, "%s: %s%s", what, h->address ? "IP:" : "", h->text);
}

bool cs_policy_hosts_fit(const char *patterns, struct cs_hosts hosts, char detail[CS_POLICY_DETAIL_SIZE]) {
    struct cs_host h;
    if (patterns[0] == '\0')
        return true;
    while (cs_hosts_next(&hosts, &h)) {
        if (h.address ? cs_dns_covers_address(patterns, h.text) : cs_dns_covers(patterns, h.text))
            continue;
        tell_host("Not covered", &h, detail);
        return false;
    }
    if (!hosts.any)
        snprintf(detail, CS_POLICY_DETAIL_SIZE, "It names no host.");
    return hosts.any;
}

bool cs_policy_wildcards_fit(const struct cs_policy *p, struct cs_hosts hosts,
                             char detail[CS_POLICY_DETAIL_SIZE]) {
    struct cs_host h;
    while (p->no_wildcards && cs_hosts_next(&hosts, &h))
        if (!h.address && strchr(h.text, '*')) {
            tell_host("A wildcard", &h, detail);
            return false;
        }
    return true;
}

// ---- all of it

static enum cs_code check_hosts(const struct cs_policy *p, struct cs_hosts hosts,
                                char detail[CS_POLICY_DETAIL_SIZE]) {
    if (!cs_policy_hosts_fit(p->dns, hosts, detail))
        return CS_CODE_POLICY_DNS;
    return cs_policy_wildcards_fit(p, hosts, detail) ? CS_CODE_NONE : CS_CODE_POLICY_WILDCARD;
}

enum cs_code cs_policy_check_chain(const struct cs_policy *p, struct cs_cert *const *certs, size_t n,
                                   char detail[CS_POLICY_DETAIL_SIZE]) {
    const struct cs_cert *leaf = certs[0];
    uint8_t spki_sha256[CS_CHAIN_MAX][32];
    detail[0] = '\0';
    for (size_t i = 1; i < n && i < CS_CHAIN_MAX; i++)
        memcpy(spki_sha256[i - 1], certs[i]->spki_sha256, 32);
    if (!cs_policy_key_fits(p, leaf->key_type, leaf->key_bits, detail))
        return CS_CODE_POLICY_KEY;
    if (!cs_policy_lifetime_fits(p, leaf->not_before_s, leaf->not_after_s, detail))
        return CS_CODE_POLICY_LIFETIME;
    if (!cs_policy_issuer_fits(p, leaf->issuer_name, (const uint8_t(*)[32])spki_sha256, n - 1))
        return CS_CODE_POLICY_ISSUER;
    return check_hosts(p, cs_hosts_of_cert(leaf), detail);
}

enum cs_code cs_policy_check_csr(const struct cs_policy *p, const struct cs_csr *csr,
                                 char detail[CS_POLICY_DETAIL_SIZE]) {
    detail[0] = '\0';
    if (!cs_policy_key_fits(p, csr->key_type, csr->key_bits, detail))
        return CS_CODE_POLICY_KEY;
    return check_hosts(p, cs_hosts_of_csr(csr), detail);
}
