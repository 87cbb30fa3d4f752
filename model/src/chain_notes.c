// SPDX-License-Identifier: Apache-2.0
//
// Nothing here refuses: another client may know another certificate of the same CA, or the extension. Only the path is
// looked at (chain_path.h), as a client that is given this chain does.
#include "chain_notes.h"

#include <strings.h>

// ---- name constraints (RFC 5280 section 4.2.1.10)

static bool ends_with(struct cs_bytes text, struct cs_bytes end) {
    return text.len >= end.len &&
           strncasecmp((const char *)text.data + (text.len - end.len), (const char *)end.data, end.len) == 0;
}

// base and what is below it; with a dot in front only what is below.
static bool host_within(struct cs_bytes host, struct cs_bytes base) {
    if (base.len == 0)
        return true;
    if (!ends_with(host, base))
        return false;
    return host.len == base.len || base.data[0] == '.' || host.data[host.len - base.len - 1] == '.';
}

// The one host, or with a dot in front what is below it.
static bool host_is(struct cs_bytes host, struct cs_bytes base) {
    bool below = base.len > 0 && base.data[0] == '.';
    return ends_with(host, base) && (below ? host.len > base.len : host.len == base.len);
}

static struct cs_bytes after(struct cs_bytes text, size_t n) {
    return (struct cs_bytes){text.data + n, text.len - n};
}

// What stands behind the last c; the whole text where there is none.
static struct cs_bytes behind_last(struct cs_bytes text, uint8_t c) {
    for (size_t n = text.len; n > 0; n--)
        if (text.data[n - 1] == c)
            return after(text, n);
    return text;
}

static struct cs_bytes until_any(struct cs_bytes text, const char *stops) {
    size_t n = 0;
    while (n < text.len && !(text.data[n] != 0 && strchr(stops, text.data[n])))
        n++;
    return (struct cs_bytes){text.data, n};
}

static bool email_within(struct cs_bytes email, struct cs_bytes base) {
    bool mailbox = behind_last(base, '@').len != base.len;
    return host_is(mailbox ? email : behind_last(email, '@'), base);
}

// The host of an authority (RFC 3986 section 3.2).
static bool uri_within(struct cs_bytes uri, struct cs_bytes base) {
    struct cs_bytes rest = after(uri, until_any(uri, ":").len);
    if (rest.len < 3 || memcmp(rest.data, "://", 3) != 0)
        return false;
    return host_is(until_any(behind_last(until_any(after(rest, 3), "/?#"), '@'), ":"), base);
}

// An address and its mask.
static bool ip_within(struct cs_bytes ip, struct cs_bytes base) {
    for (size_t i = 0; i < ip.len && base.len == 2 * ip.len; i++)
        if ((ip.data[i] ^ base.data[i]) & base.data[ip.len + i])
            return false;
    return base.len == 2 * ip.len;
}

static bool within(const struct der_value *name, const struct der_value *base) {
    switch (name->tag) {
    case GENERAL_NAME_DNS:
        return host_within(name->content, base->content);
    case GENERAL_NAME_EMAIL:
        return email_within(name->content, base->content);
    case GENERAL_NAME_URI:
        return uri_within(name->content, base->content);
    case GENERAL_NAME_IP:
        return ip_within(name->content, base->content);
    case GENERAL_NAME_DIRECTORY:
        return name_within(name->content, base->content);
    default:
        return der_equal(name->content, base->content);
    }
}

// Whether one of the subtrees has the name; *ret_any: whether one is of its kind at all.
static bool in_subtrees(const struct der_value *name, struct cs_bytes subtrees, bool *ret_any) {
    struct der d = der_of(subtrees), tree;
    struct der_value base;
    bool found = false;
    *ret_any = false;
    while (!der_done(&d) && der_enter(&d, DER_SEQUENCE, &tree) && der_next(&tree, &base)) {
        if (base.tag != name->tag)
            continue;
        *ret_any = true;
        found |= within(name, &base);
    }
    return found;
}

static bool name_allowed(const struct ext_facts *ca, const struct der_value *name) {
    bool any;
    if (in_subtrees(name, ca->excluded, &any))
        return false;
    return in_subtrees(name, ca->permitted, &any) || !any;
}

static bool names_allowed(const struct ext_facts *ca, const struct cs_cert *leaf) {
    struct der outer = der_of(cert_inside(leaf)->ext.alt_names), seq;
    struct der_value v = {GENERAL_NAME_DIRECTORY, leaf->subject, leaf->subject};
    if (!name_empty(leaf->subject) && !name_allowed(ca, &v))
        return false;
    if (der_done(&outer) || !der_enter(&outer, DER_SEQUENCE, &seq))
        return true;
    while (!der_done(&seq) && der_next(&seq, &v))
        if (!name_allowed(ca, &v))
            return false;
    return true;
}

// ---- key identifiers (RFC 5280 section 4.2.1.1), as OpenSSL compares them

static bool issuer_name_fits(struct cs_bytes general_names, const struct cs_cert *issuer) {
    struct der d = der_of(general_names);
    struct der_value v;
    while (!der_done(&d) && der_next(&d, &v))
        if (v.tag == GENERAL_NAME_DIRECTORY)
            return name_equal(v.content, issuer->issuer);
    return true;
}

static bool key_id_fits(const struct cs_cert *cert, const struct cs_cert *issuer) {
    const struct ext_facts *ext = &cert_inside(cert)->ext, *above = &cert_inside(issuer)->ext;
    if (ext->issuer_key_id.data && above->subject_key_id.data &&
        !der_equal(ext->issuer_key_id, above->subject_key_id))
        return false;
    if (ext->issuer_serial.data && !der_equal(ext->issuer_serial, cert_inside(issuer)->serial))
        return false;
    return !ext->issuer_names.data || issuer_name_fits(ext->issuer_names, issuer);
}

static uint32_t notes_of_one(const struct ext_facts *ext) {
    uint32_t notes = 0;
    if (ext->unknown_critical)
        notes |= CS_NOTE(CERT_CRITICAL);
    if (ext->purposes && !ext->for_servers)
        notes |= CS_NOTE(CERT_PURPOSE);
    return notes;
}

void chain_notes(struct cs_cert *const *certs, const struct path_order *order, struct cs_chain_facts *ret) {
    const struct cs_cert *leaf = certs[0];
    *ret = (struct cs_chain_facts){.starts_s = INT64_MIN, .ends_s = INT64_MAX};
    ret->notes = notes_of_one(&cert_inside(leaf)->ext);
    if (!cert_inside(leaf)->ext.alt_names.data)
        ret->notes |= CS_NOTE(CERT_NO_SAN);
    if (order->alone)
        ret->notes |= CS_NOTE(CHAIN_INCOMPLETE);
    for (size_t i = 1; i < order->path_len; i++) {
        const struct cs_cert *issuer = certs[order->at[i]];
        const struct ext_facts *ext = &cert_inside(issuer)->ext;
        ret->notes |= notes_of_one(ext);
        if (!key_id_fits(certs[order->at[i - 1]], issuer))
            ret->notes |= CS_NOTE(CHAIN_KEY_ID);
        if ((ext->permitted.data || ext->excluded.data) && !names_allowed(ext, leaf))
            ret->notes |= CS_NOTE(CHAIN_NAMES);
        if (issuer->not_before_s > ret->starts_s)
            ret->starts_s = issuer->not_before_s;
        if (issuer->not_after_s < ret->ends_s)
            ret->ends_s = issuer->not_after_s;
    }
    if (ret->ends_s < leaf->not_after_s)
        ret->notes |= CS_NOTE(CHAIN_ENDS_EARLY);
}

void cs_chain_facts_add(struct cs_chain_facts *to, const struct cs_chain_facts *more) {
    to->notes |= more->notes;
    if (more->starts_s > to->starts_s)
        to->starts_s = more->starts_s;
    if (more->ends_s < to->ends_s)
        to->ends_s = more->ends_s;
}

uint32_t cs_chain_notes(const struct cs_chain_facts *f, int64_t now_s) {
    if (now_s > f->ends_s)
        return (f->notes & ~CS_NOTE(CHAIN_ENDS_EARLY)) | CS_NOTE(CHAIN_EXPIRED);
    return f->notes | (now_s < f->starts_s ? CS_NOTE(CHAIN_NOT_YET_VALID) : 0);
}
