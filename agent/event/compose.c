// SPDX-License-Identifier: Apache-2.0
#include "event/compose.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "certsync/base/secret.h"
#include "certsync/base/text.h"
#include "certsync/model/pem.h"
#include "certsync/model/sign.h"

void cs_composed_free(struct cs_composed *c) {
    if (!c)
        return;
    for (size_t i = 0; i < CS_ARRAY_LEN(c->chains); i++)
        cs_certs_free(c->chains[i].certs, c->chains[i].n);
    for (size_t i = 0; i < c->owned_len; i++)
        free(c->owned[i]);
    cs_csr_free(c->csr);
    free(c);
}

bool cs_compose_uuid(int64_t now_ms, cs_uuid ret, struct cs_err *err) {
    uint8_t random[10];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "the system gives no random bytes: %s",
                          strerror(errno));
    cs_uuid_v7(now_ms, random, ret);
    return true;
}

static void copy_text(char *to, size_t size, const char *from) {
    snprintf(to, size, "%s", from);
}

bool cs_compose_event(const struct cs_compose *c, enum cs_event_type type, const char *subject,
                      struct cs_composed **ret, struct cs_err *err) {
    CS_AUTO(cs_composed_free) struct cs_composed *out = calloc(1, sizeof *out);
    if (!out)
        return cs_err_oom(err);
    struct cs_event *ev = &out->event;
    ev->type = type;
    if (!cs_compose_uuid(c->now_ms, ev->id, err))
        return false;
    copy_text(ev->log_id, sizeof ev->log_id, c->log_id);
    copy_text(ev->account, sizeof ev->account, c->account);
    copy_text(ev->kid, sizeof ev->kid, c->kid);
    if (subject)
        copy_text(ev->subject, sizeof ev->subject, subject);
    else if (!cs_compose_uuid(c->now_ms, ev->subject, err))
        return false;
    ev->time_s = c->now_ms / 1000;
    ev->seq = 1; // until the spool gives the number
    *ret = CS_TAKE(out);
    return true;
}

static bool refuse(struct cs_err *err, enum cs_code code, const char *label) {
    char shown[300];
    cs_secret_show(label, strlen(label), shown, sizeof shown);
    return cs_err_set(err, CS_ERR_REJECT, code, "%s: %s", shown, cs_code_sentence(code));
}

// --- certificates ------------------------------------------------------------------------------

static bool append_certs(struct cs_composed *out, size_t part, struct cs_cert **more, size_t n,
                         struct cs_err *err) {
    struct cs_cert **all =
        realloc(out->chains[part].certs, (out->chains[part].n + n) * sizeof(struct cs_cert *));
    if (!all) {
        cs_certs_free(more, n);
        return cs_err_oom(err);
    }
    memcpy(all + out->chains[part].n, more, n * sizeof(struct cs_cert *));
    free(more);
    out->chains[part].certs = all;
    out->chains[part].n += n;
    return true;
}

static bool read_chain(struct cs_crypto *crypto, const struct cs_keyed_source *src, size_t part,
                       struct cs_composed *out, struct cs_err *err) {
    struct cs_cert **certs;
    size_t n;
    if (!cs_pem_certs(crypto, src->cert.label, src->cert.bytes, &certs, &n, err))
        return false;
    out->chains[part].certs = certs;
    out->chains[part].n = n;
    if (!src->chain.bytes.data)
        return true;
    return cs_pem_certs(crypto, src->chain.label, src->chain.bytes, &certs, &n, err) &&
           append_certs(out, part, certs, n, err);
}

// The most common mistake is a key that fits none of the certificates. It is reported before any
// fault of order.
static bool check_key_fits_one(const struct cs_keyed_source *src, const struct cs_composed *out, size_t part,
                               struct cs_bytes spki, struct cs_err *err) {
    for (size_t i = 0; i < out->chains[part].n; i++)
        if (cs_bytes_equal(out->chains[part].certs[i]->spki, spki))
            return true;
    return cs_err_set(err, CS_ERR_REJECT, CS_CODE_KEY_MISMATCH,
                      "%s: the private key does not belong to the certificate in %s.", src->key.label,
                      src->cert.label);
}

static bool order_chain(struct cs_crypto *crypto, const struct cs_keyed_source *src, size_t part,
                        struct cs_bytes spki, int64_t now_s, struct cs_composed *out, struct cs_err *err) {
    const char *also = src->chain.bytes.data ? src->chain.label : NULL;
    if (!cs_chain_order(crypto, out->chains[part].certs, &out->chains[part].n, spki, err))
        return cs_err_prepend(err, "%s%s%s", src->cert.label, also ? ", " : "", also ? also : "");
    if (out->chains[part].n > CS_CHAIN_MAX)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_CERT_TOO_MANY, "%s%s%s: %s There are %zu.",
                          src->cert.label, also ? ", " : "", also ? also : "",
                          cs_code_sentence(CS_CODE_CERT_TOO_MANY), out->chains[part].n);
    struct cs_chain_facts facts;
    enum cs_code code = cs_chain_check(crypto, out->chains[part].certs, out->chains[part].n, &facts);
    if (code != CS_CODE_NONE)
        return refuse(err, code, src->cert.label);
    out->notes |= cs_chain_notes(&facts, now_s);
    out->leaves[part] = out->chains[part].certs[0];
    out->leaves_len = part + 1;
    int64_t ends_s = out->leaves[part]->not_after_s;
    if (facts.ends_s < ends_s)
        ends_s = facts.ends_s;
    if (part == 0 || ends_s < out->ends_s)
        out->ends_s = ends_s;
    return true;
}

static bool check_leaf(const struct cs_keyed_source *src, const struct cs_cert *leaf,
                       enum cs_algorithm algorithm, int64_t now_s, struct cs_err *err) {
    enum cs_code code = cs_leaf_check(leaf, algorithm, now_s);
    if (code == CS_CODE_NONE)
        return true;
    char from[CS_TIME_TEXT_SIZE], until[CS_TIME_TEXT_SIZE], now[CS_TIME_TEXT_SIZE];
    cs_time_format(leaf->not_before_s, from);
    cs_time_format(leaf->not_after_s, until);
    cs_time_format(now_s, now);
    if (code == CS_CODE_CERT_EXPIRED || code == CS_CODE_CERT_NOT_YET_VALID)
        return cs_err_set(err, CS_ERR_REJECT, code,
                          "%s: %s It is valid from %s until %s; this host's clock says %s.", src->cert.label,
                          cs_code_sentence(code), from, until, now);
    if (code == CS_CODE_CERT_ALGORITHM)
        return cs_err_set(err, CS_ERR_REJECT, code, "%s: %s Its key is %s, the algorithm is %s.",
                          src->cert.label, cs_code_sentence(code), cs_key_type_name(leaf->key_type),
                          cs_algorithm_name(algorithm));
    return refuse(err, code, src->cert.label);
}

// --- keys ----------------------------------------------------------------------------------------

static void own(struct cs_composed *out, uint8_t *p) {
    out->owned[out->owned_len++] = p;
}

struct to_seal {
    const struct cs_privkey *key;
    const char *key_label;
    enum cs_key_role role;
    const uint8_t *spki_sha256;
    const struct cs_cert *leaf; // NULL for a CSR
    const struct cs_csr *csr;
};

// Seals the key. Then the key signs the proof of possession, which is bound to the sealed bytes.
static bool seal_and_prove(const struct cs_compose *c, const struct to_seal *s, struct cs_composed *out,
                           struct cs_encoded *ret_key, struct cs_encoded *ret_pop, struct cs_err *err) {
    const struct cs_event *ev = &out->event;
    struct cs_seal_context ctx = {c->log_id, c->account, ev->subject, s->role, s->spki_sha256};
    uint8_t *sealed;
    size_t sealed_len, pop_len;
    if (!cs_seal(c->crypto, c->custodian, &ctx, s->key, &sealed, &sealed_len, err))
        return cs_err_prepend(err, "%s", s->key_label);
    own(out, sealed);
    uint8_t *pop = malloc(CS_POP_MAX);
    if (!pop)
        return cs_err_oom(err);
    own(out, pop);
    struct cs_pop_fields f = {.log_id = c->log_id,
                              .account = c->account,
                              .kid = c->kid,
                              .event_id = ev->id,
                              .subject = ev->subject,
                              .sealed_key = {sealed, sealed_len},
                              .leaf_sha256 = s->leaf ? s->leaf->sha256 : s->csr->sha256};
    bool ok = cs_pop_sign(c->crypto, s->key, s->leaf ? s->leaf->key : s->csr->key, &f, pop, &pop_len, err);
    if (!ok)
        return cs_err_prepend(err, "%s", s->key_label);
    ret_key->bytes = (struct cs_bytes){sealed, sealed_len};
    ret_pop->bytes = (struct cs_bytes){pop, pop_len};
    return true;
}

static bool read_key(struct cs_crypto *crypto, const struct cs_source_text *text, struct cs_privkey **ret_key,
                     uint8_t **ret_spki, size_t *ret_spki_len, struct cs_err *err) {
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = NULL;
    if (!cs_pem_privkey(crypto, text->label, text->bytes, &key, err))
        return false;
    if (!cs_privkey_spki(key, ret_spki, ret_spki_len, err))
        return cs_err_prepend(err, "%s", text->label);
    *ret_key = CS_TAKE(key);
    return true;
}

static void put_chain(struct cs_composed *out, size_t part) {
    struct cs_keyed_chain *to = &out->event.data.upload.part[part];
    to->chain_len = out->chains[part].n;
    for (size_t i = 0; i < to->chain_len; i++)
        to->chain[i].bytes = out->chains[part].certs[i]->der;
}

static bool compose_part(const struct cs_compose *c, const struct cs_upload_source *src, size_t part,
                         struct cs_composed *out, struct cs_err *err) {
    const struct cs_keyed_source *in = &src->part[part];
    struct cs_keyed_chain *to = &out->event.data.upload.part[part];
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = NULL;
    uint8_t *spki = NULL;
    size_t spki_len = 0;
    if (!in->csr && !in->key.bytes.data)
        return refuse(err, CS_CODE_KEY_MISSING, in->cert.label);
    if (!read_chain(c->crypto, in, part, out, err))
        return false;
    if (!in->csr) {
        if (!read_key(c->crypto, &in->key, &key, &spki, &spki_len, err))
            return false;
        own(out, spki);
        if (!check_key_fits_one(in, out, part, (struct cs_bytes){spki, spki_len}, err))
            return false;
    }
    if (!order_chain(c->crypto, in, part, (struct cs_bytes){spki, spki_len}, c->now_ms / 1000, out, err) ||
        !check_leaf(in, out->leaves[part], src->algorithm, c->now_ms / 1000, err))
        return false;
    put_chain(out, part);
    to->csr = in->csr;
    if (in->csr)
        return true;
    static const enum cs_key_role sm2_roles[] = {CS_ROLE_SM2_SIGN, CS_ROLE_SM2_ENCRYPT};
    struct to_seal s = {key,
                        in->key.label,
                        src->parts == 1 ? CS_ROLE_SINGLE : sm2_roles[part],
                        out->leaves[part]->spki_sha256,
                        out->leaves[part],
                        NULL};
    return seal_and_prove(c, &s, out, &to->key, &to->pop, err);
}

bool cs_compose_key_fits(struct cs_crypto *crypto, const struct cs_keyed_source *src, struct cs_err *err) {
    CS_AUTO(cs_composed_free) struct cs_composed *out = calloc(1, sizeof *out);
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = NULL;
    uint8_t *spki;
    size_t len;
    if (!out)
        return cs_err_oom(err);
    if (!read_chain(crypto, src, 0, out, err) || !read_key(crypto, &src->key, &key, &spki, &len, err))
        return false;
    own(out, spki);
    return check_key_fits_one(src, out, 0, (struct cs_bytes){spki, len}, err);
}

// --- whole events --------------------------------------------------------------------------------

static bool check_name(const char *name, enum cs_algorithm algorithm, struct cs_err *err) {
    bool random = cs_secret_is_random(name, strlen(name));
    if (cs_name_valid(name, strlen(name), algorithm) && !random)
        return true;
    char shown[CS_SECRET_QUOTE_SIZE];
    cs_secret_quote(name, strlen(name), shown, sizeof shown);
    if (random) // one line of random characters: names are shown to everybody
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_NAME_INVALID,
                          "\"%s\": this looks like a part of a key, not like a name; choose another name.",
                          shown);
    return cs_err_set(err, CS_ERR_REJECT, CS_CODE_NAME_INVALID, "\"%s\": %s", shown,
                      cs_code_sentence(CS_CODE_NAME_INVALID));
}

static bool put_tags(const char *const *tags, size_t n, struct cs_tag_list *ret, struct cs_err *err) {
    if (n > CS_TAGS_MAX)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "there are %zu tags; a certificate takes %d", n,
                          CS_TAGS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (!cs_tag_valid(tags[i], strlen(tags[i])))
            return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                              "tag %zu is none: it begins with a letter or digit, then also . _ : = / - "
                              "are allowed, at most %d characters",
                              i + 1, CS_TAG_MAX);
        copy_text(ret->tag[i], sizeof ret->tag[i], tags[i]);
    }
    ret->len = n;
    return true;
}

void cs_compose_place(struct cs_crypto *c, const char *account, const char *path, bool hidden, cs_place ret) {
    static const char what[] = "certsync.place.v1";
    uint8_t hash[32];
    if (!hidden && cs_place_valid(path, strlen(path))) {
        copy_text(ret, sizeof(cs_place), path);
        return;
    }
    cs_crypto_sha256_parts(c,
                           (const struct cs_bytes[]){{(const uint8_t *)what, sizeof what},
                                                     {(const uint8_t *)account, strlen(account) + 1},
                                                     {(const uint8_t *)path, strlen(path)}},
                           3, hash);
    memcpy(ret, "sha256:", 7);
    cs_hex_encode(hash, 16, ret + 7);
}

// Text of people: it is shown to everybody who may read the account.
static bool put_text(const char *option, const char *text, char *ret, size_t size, struct cs_err *err) {
    size_t len = text ? strlen(text) : 0;
    if (len >= size)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: %zu bytes, more than %zu", option, len,
                          size - 1);
    if (len > 0 && cs_secret_is_random(text, len))
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "%s: this looks like a part of a key. It is shown to others: choose other words.",
                          option);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F)
            return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                              "%s: it has a control character, as a line end is one. Give one line.", option);
    copy_text(ret, size, text ? text : "");
    return true;
}

bool cs_compose_upload(const struct cs_compose *c, const struct cs_upload_source *src,
                       struct cs_composed **ret, struct cs_err *err) {
    CS_AUTO(cs_composed_free) struct cs_composed *out = NULL;
    if (!check_name(src->name, src->algorithm, err) || !cs_compose_event(c, src->type, NULL, &out, err))
        return false;
    struct cs_event_upload *to = &out->event.data.upload;
    to->source = src->source;
    copy_text(to->name, sizeof to->name, src->name);
    to->algorithm = src->algorithm;
    to->replace = src->replace;
    to->force = src->force;
    to->parts = src->parts;
    copy_text(to->place, sizeof to->place, src->place ? src->place : "");
    if (!put_tags(src->tags, src->tags_len, &to->tags, err))
        return false;
    for (size_t i = 0; i < src->parts; i++)
        if (!compose_part(c, src, i, out, err))
            return false;
    for (unsigned i = 0; src->strict && i < CS_NOTE_COUNT; i++)
        if (out->notes >> i & 1)
            return refuse(err, cs_note_code(i), src->part[0].cert.label);
    if (src->parts == 2) {
        enum cs_code code = cs_sm2_pair_check(out->leaves[0], out->leaves[1]);
        if (code != CS_CODE_NONE)
            return cs_err_set(err, CS_ERR_REJECT, code, "%s, %s: %s", src->part[0].cert.label,
                              src->part[1].cert.label, cs_code_sentence(code));
    }
    *ret = CS_TAKE(out);
    return true;
}

// The leaf is the one that the catalog holds. A file that has another one is another certificate's.
static bool revise_chain(const struct cs_compose *c, const struct cs_keyed_source *in, size_t part,
                         struct cs_composed *out, struct cs_err *err) {
    if (!read_chain(c->crypto, in, part, out, err))
        return false;
    const struct cs_cert *leaf = out->chains[part].certs[0];
    for (size_t i = 1; i < out->chains[part].n; i++)
        if (!out->chains[part].certs[i]->is_ca &&
            memcmp(out->chains[part].certs[i]->sha256, leaf->sha256, 32) != 0)
            return refuse(err, CS_CODE_CHAIN_OTHER, in->chain.label);
    uint8_t *spki = malloc(leaf->spki.len);
    if (!spki)
        return cs_err_oom(err);
    own(out, spki);
    memcpy(spki, leaf->spki.data, leaf->spki.len);
    if (!order_chain(c->crypto, in, part, (struct cs_bytes){spki, leaf->spki.len}, c->now_ms / 1000, out,
                     err))
        return false;
    put_chain(out, part);
    return true;
}

bool cs_compose_update(const struct cs_compose *c, const char *id, const struct cs_update_source *src,
                       struct cs_composed **ret, struct cs_err *err) {
    CS_AUTO(cs_composed_free) struct cs_composed *out = NULL;
    if ((src->name && !check_name(src->name, CS_ALGORITHM_INTERNATIONAL, err)) ||
        !cs_compose_event(c, CS_EVENT_CERTIFICATE_UPDATE, id, &out, err))
        return false;
    struct cs_event_upload *to = &out->event.data.upload;
    to->has_name = src->name != NULL;
    to->has_tags = src->has_tags;
    to->has_contact = src->contact != NULL;
    to->has_note = src->note != NULL;
    if (!put_tags(src->tags, src->tags_len, &to->tags, err) ||
        !put_text("--contact", src->contact, to->contact, sizeof to->contact, err) ||
        !put_text("--note", src->note, to->note, sizeof to->note, err))
        return false;
    copy_text(to->name, sizeof to->name, src->name ? src->name : "");
    to->parts = src->parts;
    for (size_t i = 0; i < src->parts; i++)
        if (!revise_chain(c, &src->part[i], i, out, err))
            return false;
    *ret = CS_TAKE(out);
    return true;
}

bool cs_compose_csr_key(const struct cs_compose *c, const char *name, struct cs_csr *csr,
                        const struct cs_privkey *key, struct cs_composed **ret, struct cs_err *err) {
    CS_AUTO(cs_composed_free) struct cs_composed *out = NULL;
    if (!check_name(name, CS_ALGORITHM_INTERNATIONAL, err) ||
        !cs_compose_event(c, CS_EVENT_CSR_ADD, NULL, &out, err)) {
        cs_csr_free(csr);
        return false;
    }
    out->csr = csr;
    copy_text(out->event.data.csr.name, sizeof out->event.data.csr.name, name);
    out->event.data.csr.csr.bytes = csr->der;
    struct to_seal s = {key, "the private key", CS_ROLE_SINGLE, csr->spki_sha256, NULL, csr};
    if (!seal_and_prove(c, &s, out, &out->event.data.csr.key, &out->event.data.csr.pop, err))
        return false;
    *ret = CS_TAKE(out);
    return true;
}

bool cs_compose_csr(const struct cs_compose *c, const char *name, const struct cs_source_text *csr,
                    const struct cs_source_text *key, struct cs_composed **ret, struct cs_err *err) {
    CS_AUTO(cs_csr_free) struct cs_csr *request = NULL;
    CS_AUTO(cs_privkey_free) struct cs_privkey *private = NULL;
    uint8_t *spki = NULL;
    size_t spki_len;
    if (!cs_pem_csr(c->crypto, csr->label, csr->bytes, &request, err) ||
        !read_key(c->crypto, key, &private, &spki, &spki_len, err))
        return false;
    bool fits = cs_bytes_equal(request->spki, (struct cs_bytes){spki, spki_len});
    free(spki);
    if (!fits)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_KEY_MISMATCH,
                          "%s: the private key does not belong to the request in %s.", key->label,
                          csr->label);
    enum cs_code code = cs_csr_check(request);
    if (code != CS_CODE_NONE)
        return cs_err_set(err, CS_ERR_REJECT, code, "%s: %s", csr->label, cs_code_sentence(code));
    return cs_compose_csr_key(c, name, CS_TAKE(request), private, ret, err);
}

bool cs_compose_public_key(const struct cs_compose *c, enum cs_event_type type,
                           const struct cs_source_text *key, struct cs_composed **ret, struct cs_err *err) {
    uint8_t *spki;
    size_t spki_len;
    cs_kid kid;
    if (!cs_pem_spki(c->crypto, key->label, key->bytes, &spki, &spki_len, err))
        return false;
    cs_kid_of_spki(c->crypto, (struct cs_bytes){spki, spki_len}, kid);
    struct cs_composed *out;
    if (!cs_compose_event(c, type, kid, &out, err)) {
        free(spki);
        return false;
    }
    own(out, spki);
    struct cs_encoded encoded = {.bytes = {spki, spki_len}};
    if (type == CS_EVENT_TRUST_ADD)
        out->event.data.trust.key = encoded;
    else
        out->event.data.enroll.key = encoded;
    *ret = out;
    return true;
}
