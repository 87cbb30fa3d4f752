// SPDX-License-Identifier: Apache-2.0
//
// Nothing here refuses: another client may know another certificate of the CA, or the extension. As
// a client with this chain does, this looks only at the path (chain_path.h).
#include "x509/chain_notes.h"
#include "x509/name_limits.h"

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
        !cs_bytes_equal(ext->issuer_key_id, above->subject_key_id))
        return false;
    if (ext->issuer_serial.data && !cs_bytes_equal(ext->issuer_serial, cert_inside(issuer)->serial))
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

// Whether the CA at place i of the path may sign for the names below it. What a CA signed for
// itself passes.
static bool names_hold(struct cs_cert *const *certs, const struct path_order *order, size_t i) {
    const struct ext_facts *ca = &cert_inside(certs[order->at[i]])->ext;
    for (size_t k = 0; k < i; k++) {
        const struct cs_cert *below = certs[order->at[k]];
        if ((k == 0 || !below->self_issued) && !name_limits_hold(ca, below, k == 0))
            return false;
    }
    return true;
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
        if (!names_hold(certs, order, i))
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
