// SPDX-License-Identifier: Apache-2.0
//
// What certificates are to each other: links, chains, pairs; and the leaf's own rules.
#include "x509/chain_notes.h"

#include <openssl/x509v3.h> // KU_ names

// Negative answers are kept as well: both depend on bytes alone.
bool cert_signature_good(struct cs_crypto *c, const struct cs_cert *cert, const struct cs_cert *issuer) {
    size_t s = (cert->sha256[0] | (size_t)cert->sha256[1] << 8) % MEMO_LINK_SETS;
    uint8_t key[64];
    memcpy(key, issuer->spki_sha256, 32);
    memcpy(key + 32, cert->sha256, 32);
    for (size_t i = 0; i < MEMO_WAYS && !c->memo_off; i++)
        if (c->link[s][i].state && memcmp(c->link[s][i].key, key, sizeof key) == 0)
            return c->link[s][i].state == 2;
    const struct cert_inside *inside = cert_inside(cert);
    bool good = crypto_verify(c, issuer->key, &inside->alg, cert->tbs, inside->sig);
    struct memo_link *entry = &c->link[s][c->link_next[s]++ % MEMO_WAYS];
    memcpy(entry->key, key, sizeof key);
    entry->state = good ? 2 : 1;
    return good;
}

bool cs_cert_signed_by(struct cs_crypto *c, const struct cs_cert *cert, const struct cs_cert *issuer) {
    return name_equal(cert->issuer, issuer->subject) && cert_signature_good(c, cert, issuer);
}

enum cs_code cs_leaf_check(const struct cs_cert *leaf, enum cs_algorithm algorithm, int64_t now_s) {
    if (leaf->version != 3)
        return CS_CODE_CERT_NOT_V3;
    if (leaf->is_ca)
        return CS_CODE_CERT_IS_CA;
    if ((leaf->key_type == CS_KEY_SM2) != (algorithm == CS_ALGORITHM_SM2))
        return CS_CODE_CERT_ALGORITHM;
    if (leaf->names_total == 0 && leaf->common_name[0] == '\0')
        return CS_CODE_CERT_NO_NAME;
    if (now_s < leaf->not_before_s)
        return CS_CODE_CERT_NOT_YET_VALID;
    if (now_s > leaf->not_after_s)
        return CS_CODE_CERT_EXPIRED;
    return CS_CODE_NONE;
}

static bool same(const struct cs_cert *a, const struct cs_cert *b) {
    return memcmp(a->sha256, b->sha256, 32) == 0;
}

enum cs_code cs_chain_check(struct cs_crypto *c, struct cs_cert *const *certs, size_t n,
                            struct cs_chain_facts *ret) {
    struct path_order order;
    if (n > CS_CHAIN_MAX)
        return CS_CODE_CERT_TOO_MANY;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (same(certs[i], certs[k]))
                return CS_CODE_CHAIN_STRAY;
    path_find(c, certs, n, &order);
    if (order.code != CS_CODE_NONE)
        return order.code;
    for (size_t i = 0; i < n; i++)
        if (order.at[i] != i)
            return CS_CODE_CHAIN_ORDER;
    chain_notes(certs, &order, ret);
    return CS_CODE_NONE;
}

static bool reject_member(struct cs_err *err, enum cs_code code, const struct cs_cert *cert) {
    return cs_err_set(err, CS_ERR_REJECT, code, "%s It is: %s, issued by %s.", cs_code_sentence(code),
                      cert->subject_name[0] ? cert->subject_name : "(no subject)",
                      cert->issuer_name[0] ? cert->issuer_name : "(no issuer)");
}

static void drop_doubles(struct cs_cert **certs, size_t *n) {
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++) {
        bool doubled = false;
        for (size_t k = 0; k < kept && !doubled; k++)
            doubled = same(certs[i], certs[k]);
        if (doubled)
            cs_cert_free(certs[i]);
        else
            certs[kept++] = certs[i];
    }
    *n = kept;
}

static bool has_issuer(struct cs_cert *const *certs, size_t n, const struct cs_cert *cert) {
    for (size_t i = 0; i < n; i++)
        if (certs[i] != cert && name_equal(cert->issuer, certs[i]->subject))
            return true;
    return false;
}

// Which of two candidates is the leaf. First what is no CA certificate, then what has an issuer in
// the set, then the newer one. The order is total: it does not matter which one was met first.
static bool rather_leaf(struct cs_cert *const *certs, size_t n, const struct cs_cert *a,
                        const struct cs_cert *b) {
    if (a->is_ca != b->is_ca)
        return b->is_ca;
    bool a_linked = has_issuer(certs, n, a), b_linked = has_issuer(certs, n, b);
    if (a_linked != b_linked)
        return a_linked;
    if (a->not_before_s != b->not_before_s)
        return a->not_before_s > b->not_before_s;
    return memcmp(a->sha256, b->sha256, sizeof a->sha256) < 0;
}

// The leaf, and whether another certificate that is no CA certificate might be it as well.
static bool find_leaf(struct cs_cert *const *certs, size_t n, struct cs_bytes key_spki, size_t *ret,
                      struct cs_err *err) {
    size_t leaf = n, other = n;
    for (size_t i = 0; i < n; i++) {
        if (key_spki.len > 0 ? !cs_bytes_equal(certs[i]->spki, key_spki) : certs[i]->is_ca)
            continue;
        size_t second = i;
        if (leaf == n || rather_leaf(certs, n, certs[i], certs[leaf])) {
            second = leaf;
            leaf = i;
        }
        if (second < n && (other == n || rather_leaf(certs, n, certs[second], certs[other])))
            other = second;
    }
    if (leaf == n)
        return cs_err_reject(err, key_spki.len > 0 ? CS_CODE_KEY_MISMATCH : CS_CODE_CERT_IS_CA);
    if (other < n && !certs[other]->is_ca)
        return reject_member(err, CS_CODE_CHAIN_STRAY, certs[other]);
    *ret = leaf;
    return true;
}

static bool signed_with_empty_id(struct cs_crypto *c, struct cs_cert *const *certs, size_t n,
                                 const struct cs_cert *issuer) {
    for (size_t i = 0; i < n; i++) {
        const struct cert_inside *inside = cert_inside(certs[i]);
        if (certs[i] != issuer && inside->alg.kind == SIG_SM2 &&
            name_equal(certs[i]->issuer, issuer->subject) &&
            crypto_sm2_empty_id(c, issuer->key, certs[i]->tbs, inside->sig))
            return true;
    }
    return false;
}

bool cs_chain_order(struct cs_crypto *c, struct cs_cert **certs, size_t *n, struct cs_bytes key_spki,
                    struct cs_err *err) {
    struct cs_cert *ordered[CS_CHAIN_MAX];
    struct path_order order;
    size_t leaf = 0;
    drop_doubles(certs, n);
    if (*n > CS_CHAIN_MAX)
        return cs_err_reject(err, CS_CODE_CERT_TOO_MANY);
    if (!find_leaf(certs, *n, key_spki, &leaf, err))
        return false;
    struct cs_cert *first = certs[0];
    certs[0] = certs[leaf];
    certs[leaf] = first;
    path_find(c, certs, *n, &order);
    if (order.code == CS_CODE_CHAIN_BROKEN && signed_with_empty_id(c, certs, *n, certs[order.culprit]))
        return cs_err_set(
            err, CS_ERR_REJECT, CS_CODE_CHAIN_BROKEN,
            "The certificate is signed with the empty distinguishing id, which is OpenSSL's default and not "
            "SM2's; "
            "have it signed again: openssl x509 -req -sm3 -sigopt distid:1234567812345678 -vfyopt "
            "distid:1234567812345678 (or openssl ca with the same -sigopt). The issuer is: %s.",
            certs[order.culprit]->subject_name);
    if (order.code != CS_CODE_NONE)
        return reject_member(err, order.code, certs[order.culprit]);
    for (size_t i = 0; i < *n; i++)
        ordered[i] = certs[order.at[i]];
    memcpy((void *)certs, (const void *)ordered, *n * sizeof *certs);
    return true;
}

enum cs_code cs_sm2_pair_check(const struct cs_cert *sign, const struct cs_cert *encrypt) {
    if (!(sign->key_usage & KU_DIGITAL_SIGNATURE) ||
        !(encrypt->key_usage & (KU_KEY_ENCIPHERMENT | KU_DATA_ENCIPHERMENT | KU_KEY_AGREEMENT)))
        return CS_CODE_SM2_USAGE;
    if (memcmp(sign->spki_sha256, encrypt->spki_sha256, 32) == 0)
        return CS_CODE_SM2_SAME_KEY;
    if (!name_equal(sign->subject, encrypt->subject))
        return CS_CODE_SM2_SUBJECT;
    return CS_CODE_NONE;
}
