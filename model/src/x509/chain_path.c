// SPDX-License-Identifier: Apache-2.0
//
// A search that can step back. A CA may be there several times (as a root, cross-signed, renewed),
// and the first that fits may lead nowhere. PATH_LINKS_MAX bounds it.
#include "x509/chain_path.h"

struct search {
    struct cs_cert *const *certs;
    size_t n;
    unsigned named[CS_CHAIN_MAX];   // who has the issuer's name, as bits
    unsigned issuers[CS_CHAIN_MAX]; // those of them that signed it
    unsigned roots;                 // those that signed themselves
    unsigned going_on;              // those with a path that continues
    size_t distance[CS_CHAIN_MAX];  // least number of links from the leaf; n where there is no way
    size_t path[CS_CHAIN_MAX];
    size_t best[CS_CHAIN_MAX];
    size_t best_len; // 0: none yet
};

static unsigned bit(size_t i) {
    return 1u << i;
}

// False where there are more links than any real set has.
static bool find_named(struct search *s) {
    size_t links = 0;
    for (size_t i = 0; i < s->n; i++) {
        s->named[i] = 0;
        for (size_t k = 1; k < s->n; k++)
            if (k == i ? s->certs[i]->self_issued : name_equal(s->certs[i]->issuer, s->certs[k]->subject)) {
                s->named[i] |= bit(k);
                links++;
            }
    }
    return links <= PATH_LINKS_MAX;
}

// Who signed certs[i], and whether it signed itself. Old roots may have signed themselves with
// SHA-1. That is accepted: nobody else can have signed it then.
static void find_issuers(struct cs_crypto *c, struct search *s, size_t i) {
    const struct cs_cert *cert = s->certs[i];
    s->issuers[i] = 0;
    for (size_t k = 1; k < s->n; k++)
        if (k != i && (s->named[i] & bit(k)) && s->certs[k]->can_sign_certs &&
            cert_signature_good(c, cert, s->certs[k]))
            s->issuers[i] |= bit(k);
    if (cert->self_issued && (cert_inside(cert)->alg.kind == SIG_WEAK || cert_signature_good(c, cert, cert)))
        s->roots |= bit(i);
}

// RFC 5280 section 6.1.4 (l) and (m): whether certs[k] may stand above the first len of the path.
// Self-issued certificates do not count.
static bool length_holds(const struct search *s, size_t len, size_t k) {
    int below = 0;
    for (size_t i = 1; i < len; i++)
        below += !s->certs[s->path[i]]->self_issued;
    int path_len = cert_inside(s->certs[k])->ext.path_len;
    return path_len < 0 || below <= path_len;
}

// For two at the same distance from the leaf: the one that ends later first, then the lesser
// fingerprint.
static int compare(const struct search *s, size_t a, size_t b) {
    const struct cs_cert *x = s->certs[a], *y = s->certs[b];
    if (x->not_after_s != y->not_after_s)
        return x->not_after_s > y->not_after_s ? -1 : 1;
    return memcmp(x->sha256, y->sha256, sizeof x->sha256);
}

static bool ends_at_root(const struct search *s, const size_t *path, size_t len) {
    return s->roots & bit(path[len - 1]);
}

// A path that ends at a root comes first, then a shorter one.
static bool better(const struct search *s, size_t len) {
    if (s->best_len == 0)
        return true;
    bool root = ends_at_root(s, s->path, len), best_root = ends_at_root(s, s->best, s->best_len);
    if (root != best_root)
        return root;
    if (len != s->best_len)
        return len < s->best_len;
    for (size_t i = 0; i < len; i++) {
        int order = compare(s, s->path[i], s->best[i]);
        if (order != 0)
            return order < 0;
    }
    return false;
}

// Tries all continuations of the path's first len. used: these certificates, as bits.
static void walk(struct cs_crypto *c, struct search *s, size_t len, unsigned used) {
    size_t end = s->path[len - 1];
    bool leads_on = false;
    if (s->distance[end] == s->n)
        find_issuers(c, s, end);
    if (len - 1 < s->distance[end])
        s->distance[end] = len - 1;
    for (size_t k = 1; k < s->n; k++) {
        if (!(s->issuers[end] & ~used & bit(k)) || !length_holds(s, len, k))
            continue;
        leads_on = true;
        s->going_on |= bit(end);
        s->path[len] = k;
        walk(c, s, len + 1, used | bit(k));
    }
    bool complete = !leads_on || (s->roots & bit(end));
    if (complete && better(s, len)) {
        memcpy(s->best, s->path, len * sizeof *s->path);
        s->best_len = len;
    }
}

// A certificate that no way from the leaf reaches. If it has the name of a missing issuer, it did
// not sign, or may not: that is chain.broken.
static bool find_culprit(const struct search *s, struct path_order *ret) {
    ret->code = CS_CODE_NONE;
    for (size_t k = 1; k < s->n; k++) {
        if (s->distance[k] < s->n)
            continue;
        bool broken = false;
        for (size_t i = 0; i < s->n; i++)
            broken |= s->distance[i] < s->n && (s->named[i] & bit(k)) && !((s->going_on | s->roots) & bit(i));
        enum cs_code code = broken ? CS_CODE_CHAIN_BROKEN : CS_CODE_CHAIN_STRAY;
        bool first = ret->code == CS_CODE_NONE || (broken && ret->code == CS_CODE_CHAIN_STRAY);
        if (first || (code == ret->code && compare(s, k, ret->culprit) < 0)) {
            ret->code = code;
            ret->culprit = k;
        }
    }
    return ret->code != CS_CODE_NONE;
}

static void put_in_order(const struct search *s, struct path_order *ret) {
    size_t at = s->best_len;
    unsigned used = 0;
    memcpy(ret->at, s->best, s->best_len * sizeof *s->best);
    for (size_t i = 0; i < s->best_len; i++)
        used |= bit(s->best[i]);
    for (size_t k = 1; k < s->n; k++) {
        if (used & bit(k))
            continue;
        size_t to = at++;
        for (; to > s->best_len; to--) {
            size_t before = ret->at[to - 1];
            if (s->distance[before] < s->distance[k] ||
                (s->distance[before] == s->distance[k] && compare(s, before, k) < 0))
                break;
            ret->at[to] = before;
        }
        ret->at[to] = k;
    }
    ret->path_len = s->best_len;
}

void path_find(struct cs_crypto *c, struct cs_cert *const *certs, size_t n, struct path_order *ret) {
    struct search s = {.certs = certs, .n = n};
    *ret = (struct path_order){.code = CS_CODE_NONE};
    for (size_t i = 0; i < n; i++)
        s.distance[i] = n;
    if (find_named(&s))
        walk(c, &s, 1, bit(0));
    if (!find_culprit(&s, ret))
        put_in_order(&s, ret);
    ret->alone = n == 1 && !(s.roots & bit(0));
}
