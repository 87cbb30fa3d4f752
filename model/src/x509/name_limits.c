// SPDX-License-Identifier: Apache-2.0
#include "x509/name_limits.h"

#include <strings.h>

// Names times subtrees: every pair is compared. OpenSSL has the same bound.
#define PAIRS_MAX (1 << 20)

#define OTHER_NAME DER_CONTEXT_CONSTRUCTED(0)

// What a list of subtrees says of a name. A later value outweighs an earlier one.
enum fit { NOT_MEANT, OUTSIDE, WITHIN, CANNOT_TELL };

static enum fit fit_if(bool within) {
    return within ? WITHIN : OUTSIDE;
}

static bool ends_with(struct cs_bytes text, struct cs_bytes end) {
    return text.len >= end.len && (end.len == 0 || strncasecmp((const char *)text.data + (text.len - end.len),
                                                               (const char *)end.data, end.len) == 0);
}

static bool has_dot_first(struct cs_bytes base) {
    return base.len > 0 && base.data[0] == '.';
}

static struct cs_bytes after(struct cs_bytes text, size_t n) {
    return (struct cs_bytes){text.data + n, text.len - n};
}

// How many bytes there are up to the last c, with it. 0 where there is no c.
static size_t up_to_last(struct cs_bytes text, uint8_t c) {
    size_t n = text.len;
    while (n > 0 && text.data[n - 1] != c)
        n--;
    return n;
}

static struct cs_bytes until_any(struct cs_bytes text, const char *stops) {
    size_t n = 0;
    while (n < text.len && !(text.data[n] != 0 && strchr(stops, text.data[n])))
        n++;
    return (struct cs_bytes){text.data, n};
}

// base and what is below it. With a dot in front only what is below it.
static enum fit fit_dns(struct cs_bytes host, struct cs_bytes base) {
    return fit_if(ends_with(host, base) && (base.len == 0 || host.len == base.len || has_dot_first(base) ||
                                            host.data[host.len - base.len - 1] == '.'));
}

// This one host. With a dot in front what is below it.
static enum fit fit_host(struct cs_bytes host, struct cs_bytes base) {
    return fit_if(ends_with(host, base) &&
                  (has_dot_first(base) ? host.len > base.len : host.len == base.len));
}

// A mailbox, or all of a host, or all of the hosts below one. The part before the @ is compared
// with its case.
static enum fit fit_email(struct cs_bytes email, struct cs_bytes base) {
    size_t local = up_to_last(email, '@'), base_local = up_to_last(base, '@');
    if (local == 0)
        return CANNOT_TELL;
    if (base_local == 0 && has_dot_first(base))
        return fit_if(ends_with(email, base) && email.len > base.len);
    if (base_local > 1 && (local != base_local || memcmp(email.data, base.data, local) != 0))
        return OUTSIDE;
    struct cs_bytes host = after(email, local), base_host = after(base, base_local);
    return fit_if(host.len == base_host.len && ends_with(host, base_host));
}

// The host of an authority (RFC 3986 section 3.2).
static enum fit fit_uri(struct cs_bytes uri, struct cs_bytes base) {
    struct cs_bytes rest = after(uri, until_any(uri, ":").len);
    if (rest.len < 3 || memcmp(rest.data, "://", 3) != 0)
        return CANNOT_TELL;
    struct cs_bytes authority = until_any(after(rest, 3), "/?#");
    struct cs_bytes host = until_any(after(authority, up_to_last(authority, '@')), ":");
    return host.len == 0 ? CANNOT_TELL : fit_host(host, base);
}

// An address and its mask.
static enum fit fit_ip(struct cs_bytes ip, struct cs_bytes base) {
    for (size_t i = 0; i < ip.len && base.len == 2 * ip.len; i++)
        if ((ip.data[i] ^ base.data[i]) & base.data[ip.len + i])
            return OUTSIDE;
    return fit_if(base.len == 2 * ip.len);
}

static enum fit fit_base(const struct der_value *name, struct cs_bytes base) {
    switch (name->tag) {
    case GENERAL_NAME_DNS:
        return fit_dns(name->content, base);
    case GENERAL_NAME_EMAIL:
        return fit_email(name->content, base);
    case GENERAL_NAME_URI:
        return fit_uri(name->content, base);
    case GENERAL_NAME_IP:
        return fit_ip(name->content, base);
    case GENERAL_NAME_DIRECTORY:
        return fit_if(name_within(name->content, base));
    default:
        return CANNOT_TELL;
    }
}

static bool same_kind(const struct der_value *name, const struct der_value *base) {
    struct der a = der_of(name->content), b = der_of(base->content);
    struct cs_bytes oid_a, oid_b;
    if (name->tag != base->tag)
        return false;
    return name->tag != OTHER_NAME || !der_take_oid(&a, &oid_a) || !der_take_oid(&b, &oid_b) ||
           cs_bytes_equal(oid_a, oid_b);
}

// minimum 0, no maximum: the only bounds that RFC 5280 allows.
static bool bounds_usual(struct der *tree) {
    struct cs_bytes minimum;
    if (der_at(tree, DER_CONTEXT(0)) &&
        (!der_take(tree, DER_CONTEXT(0), &minimum) || minimum.len != 1 || minimum.data[0] != 0))
        return false;
    return der_done(tree);
}

static enum fit fit_subtrees(const struct der_value *name, struct cs_bytes subtrees) {
    struct der d = der_of(subtrees), tree;
    struct der_value base;
    enum fit found = NOT_MEANT;
    while (!der_done(&d) && der_enter(&d, DER_SEQUENCE, &tree) && der_next(&tree, &base)) {
        if (!same_kind(name, &base))
            continue;
        enum fit fit = !bounds_usual(&tree) ? CANNOT_TELL
                       : found == WITHIN    ? WITHIN // one is enough
                                            : fit_base(name, base.content);
        if (fit > found)
            found = fit;
    }
    return found;
}

static bool allowed(const struct ext_facts *ca, uint8_t tag, struct cs_bytes content) {
    struct der_value name = {tag, content, content};
    enum fit permitted = fit_subtrees(&name, ca->permitted), excluded = fit_subtrees(&name, ca->excluded);
    return (permitted == WITHIN || permitted == NOT_MEANT) && (excluded == OUTSIDE || excluded == NOT_MEANT);
}

static size_t count(struct cs_bytes values) {
    struct der d = der_of(values);
    struct der_value v;
    size_t n = 0;
    while (!der_done(&d) && der_next(&d, &v))
        n++;
    return n;
}

// The names of subjectAltName, one after another.
static struct cs_bytes alt_names_of(const struct cs_cert *cert) {
    struct der outer = der_of(cert_inside(cert)->ext.alt_names);
    struct cs_bytes names;
    return !der_done(&outer) && der_take(&outer, DER_SEQUENCE, &names) ? names : (struct cs_bytes){0};
}

// RFC 8398: an e-mail address in UTF-8. The constraints of e-mail addresses apply to it. Bytes that
// are not UTF-8 are no address. (A host that is not ASCII is compared as it stands.)
static struct der_value as_compared(struct der_value v) {
    struct der other = der_of(v.content), inner;
    struct cs_bytes oid, text;
    if (v.tag != OTHER_NAME || !der_take_oid(&other, &oid) ||
        !cs_bytes_equal(oid, DER_BYTES("\x2b\x06\x01\x05\x05\x07\x08\x09")))
        return v;
    if (!der_enter(&other, DER_CONTEXT_CONSTRUCTED(0), &inner) || !der_take(&inner, DER_UTF8_STRING, &text))
        text = (struct cs_bytes){0};
    return (struct der_value){GENERAL_NAME_EMAIL, text, v.whole};
}

static bool alt_names_allowed(const struct ext_facts *ca, struct cs_bytes names, bool *ret_dns) {
    struct der d = der_of(names);
    struct der_value v;
    *ret_dns = false;
    while (!der_done(&d) && der_next(&d, &v)) {
        v = as_compared(v);
        if (!allowed(ca, v.tag, v.content))
            return false;
        *ret_dns |= v.tag == GENERAL_NAME_DNS;
    }
    return true;
}

static bool emails_allowed(const struct ext_facts *ca, struct cs_bytes subject) {
    struct name_walk walk = name_walk(subject);
    struct der_value v;
    while (name_walk_next(&walk, DER_BYTES("\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01"), &v))
        if (v.tag != DER_IA5_STRING || !allowed(ca, GENERAL_NAME_EMAIL, v.content))
            return false;
    return true;
}

// Two or more labels of letters, digits and '_'. '-' and '.' stand inside, and no '-' beside a '.'.
static bool is_host_name(const char *text, size_t len) {
    bool dot = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_')
            continue;
        if (i == 0 || i == len - 1)
            return false;
        if (c != '-' && (c != '.' || text[i + 1] == '.' || text[i - 1] == '-' || text[i + 1] == '-'))
            return false;
        dot |= c == '.';
    }
    return dot;
}

// Clients that find no DNS name use the common name.
static bool common_names_allowed(const struct ext_facts *ca, struct cs_bytes subject) {
    struct name_walk walk = name_walk(subject);
    struct der_value v;
    while (name_walk_next(&walk, DER_BYTES("\x55\x04\x03"), &v)) {
        char text[1024];
        size_t len;
        if (!name_value_text(&v, text, sizeof text, &len))
            return false;
        // Old certificates end with a NUL: it does not count as a part of the name.
        while (len > 0 && text[len - 1] == '\0')
            len--;
        if (memchr(text, 0, len))
            return false;
        if (is_host_name(text, len) &&
            !allowed(ca, GENERAL_NAME_DNS, (struct cs_bytes){(const uint8_t *)text, len}))
            return false;
    }
    return true;
}

bool name_limits_hold(const struct ext_facts *ca, const struct cs_cert *cert, bool leaf) {
    struct cs_bytes names = alt_names_of(cert);
    size_t subtrees = count(ca->permitted) + count(ca->excluded);
    bool dns;
    if (subtrees == 0)
        return true;
    if (NAME_RDNS_MAX + count(names) > PAIRS_MAX / subtrees)
        return false;
    if (!name_empty(cert->subject) && !allowed(ca, GENERAL_NAME_DIRECTORY, cert->subject))
        return false;
    if (!emails_allowed(ca, cert->subject) || !alt_names_allowed(ca, names, &dns))
        return false;
    return !leaf || dns || common_names_allowed(ca, cert->subject);
}
