// SPDX-License-Identifier: Apache-2.0
//
// What certificates are to each other: links, chains, pairs; and the leaf's own rules.
#include "cert_impl.h"

#include <openssl/x509v3.h> // KU_ names

// Negative answers are kept as well: both are functions of bytes.
static bool signature_good(struct cs_crypto *c, const struct cs_cert *cert, const struct cs_cert *issuer) {
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
    return name_equal(cert->issuer, issuer->subject) && signature_good(c, cert, issuer);
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

// The issuer at place i (the leaf is at 0) may sign what is below it: RFC 5280 section 6.1.4 (k) to (n).
// Self-issued certificates in between do not count against the path length.
static bool may_issue(struct cs_cert *const *certs, size_t i) {
    int below = 0;
    for (size_t k = 1; k < i; k++)
        below += !certs[k]->self_issued;
    int path_len = cert_inside(certs[i])->path_len;
    return certs[i]->can_sign_certs && (path_len < 0 || below <= path_len);
}

// Whether, going by names alone, every certificate has a place in one path from certs[0].
static bool names_form_a_path(struct cs_cert *const *certs, size_t n) {
    bool used[CS_CHAIN_MAX] = {true};
    size_t at = 0, placed = 1;
    for (bool found = true; found && placed < n;) {
        found = false;
        for (size_t i = 1; i < n && !found; i++) {
            found = !used[i] && name_equal(certs[at]->issuer, certs[i]->subject);
            if (found) {
                used[i] = true;
                at = i;
                placed++;
            }
        }
    }
    return placed == n;
}

enum cs_code cs_chain_check(struct cs_crypto *c, struct cs_cert *const *certs, size_t n,
                            bool *ret_incomplete) {
    if (n > CS_CHAIN_MAX)
        return CS_CODE_CERT_TOO_MANY;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (same(certs[i], certs[k]))
                return CS_CODE_CHAIN_STRAY;
    for (size_t i = 0; i + 1 < n; i++) {
        if (!name_equal(certs[i]->issuer, certs[i + 1]->subject))
            return names_form_a_path(certs, n) ? CS_CODE_CHAIN_ORDER : CS_CODE_CHAIN_STRAY;
        if (!may_issue(certs, i + 1) || !signature_good(c, certs[i], certs[i + 1]))
            return CS_CODE_CHAIN_BROKEN;
    }
    *ret_incomplete = n == 1 && !(certs[0]->self_issued && signature_good(c, certs[0], certs[0]));
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

static void move_to(struct cs_cert **certs, size_t from, size_t to) {
    struct cs_cert *t = certs[to];
    certs[to] = certs[from];
    certs[from] = t;
}

static bool find_leaf(struct cs_cert *const *certs, size_t n, struct cs_bytes key_spki, size_t *ret,
                      struct cs_err *err) {
    size_t leaf = n;
    for (size_t i = 0; i < n; i++) {
        bool fits = key_spki.len > 0 ? der_equal(certs[i]->spki, key_spki) : !certs[i]->is_ca;
        if (!fits || (leaf < n && certs[i]->is_ca))
            continue;
        if (leaf < n && !certs[leaf]->is_ca)
            return reject_member(err, CS_CODE_CHAIN_STRAY, certs[i]);
        leaf = i;
    }
    if (leaf == n && key_spki.len > 0)
        return cs_err_reject(err, CS_CODE_KEY_MISMATCH);
    if (leaf == n)
        return cs_err_reject(err, CS_CODE_CERT_IS_CA);
    *ret = leaf;
    return true;
}

// Puts the issuer of certs[at] to certs[at + 1]. False where there is none; *ret_broken is then the member
// that has the issuer's name but did not sign or may not.
static bool find_issuer(struct cs_crypto *c, struct cs_cert **certs, size_t n, size_t at,
                        const struct cs_cert **ret_broken) {
    *ret_broken = NULL;
    for (size_t i = at + 1; i < n; i++) {
        if (!name_equal(certs[at]->issuer, certs[i]->subject))
            continue;
        move_to(certs, i, at + 1);
        if (may_issue(certs, at + 1) && signature_good(c, certs[at], certs[at + 1]))
            return true;
        *ret_broken = certs[at + 1];
        move_to(certs, i, at + 1);
    }
    return false;
}

bool cs_chain_order(struct cs_crypto *c, struct cs_cert **certs, size_t *n, struct cs_bytes key_spki,
                    struct cs_err *err) {
    size_t leaf = 0;
    const struct cs_cert *broken;
    drop_doubles(certs, n);
    if (*n > CS_CHAIN_MAX)
        return cs_err_reject(err, CS_CODE_CERT_TOO_MANY);
    if (!find_leaf(certs, *n, key_spki, &leaf, err))
        return false;
    move_to(certs, leaf, 0);
    for (size_t at = 0; at + 1 < *n; at++)
        if (!find_issuer(c, certs, *n, at, &broken))
            return broken ? reject_member(err, CS_CODE_CHAIN_BROKEN, broken)
                          : reject_member(err, CS_CODE_CHAIN_STRAY, certs[at + 1]);
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
