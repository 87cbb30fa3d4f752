// SPDX-License-Identifier: Apache-2.0
#include "certsync/model/prepare.h"

#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/model/seal.h"
#include "rules/rules_internal.h"
#include "x509/cert_impl.h"

static void clear_content(struct cs_prepared *p) {
    cs_event_free(CS_TAKE(p->event));
    cs_cert_free(CS_TAKE(p->leaf[0]));
    cs_cert_free(CS_TAKE(p->leaf[1]));
    p->leaves_len = 0;
    cs_csr_free(CS_TAKE(p->csr));
}

void cs_prepared_free(struct cs_prepared *p) {
    if (!p)
        return;
    clear_content(p);
    if (!p->region)
        free(p);
}

static void put_u64(uint8_t ret[8], uint64_t v) {
    for (int i = 7; i >= 0; i--, v >>= 8)
        ret[i] = (uint8_t)v;
}

#define HASH_HEADERS_INLINE 8

void cs_record_sha256(struct cs_crypto *c, const struct cs_record *r, uint8_t ret[32]) {
    // timestamp, key, count, (name, value) of each header, value. All but the first and the count
    // carry their length.
    struct cs_bytes inline_parts[6 + 4 * HASH_HEADERS_INLINE], *parts = inline_parts, *many = NULL;
    uint8_t inline_lengths[4 + 2 * HASH_HEADERS_INLINE][8], (*lengths)[8] = inline_lengths, (*more)[8] = NULL;
    if (r->headers_len > HASH_HEADERS_INLINE) {
        many = calloc(6 + 4 * r->headers_len, sizeof(*many));
        more = calloc(4 + 2 * r->headers_len, sizeof(*more));
        if (!many || !more)
            abort(); // a wrong hash would be worse
        parts = many;
        lengths = more;
    }
    size_t n = 0, l = 0;
#define PUT_NUMBER(v) (put_u64(lengths[l], (uint64_t)(v)), parts[n++] = (struct cs_bytes){lengths[l++], 8})
#define PUT_BYTES(b)                                                                                         \
    do {                                                                                                     \
        PUT_NUMBER((b).data ? (b).len : UINT64_MAX);                                                         \
        if ((b).data)                                                                                        \
            parts[n++] = (b);                                                                                \
    } while (0)
    PUT_NUMBER(r->timestamp_ms);
    PUT_BYTES(r->key);
    PUT_NUMBER(r->headers_len);
    for (size_t i = 0; i < r->headers_len; i++) {
        struct cs_bytes name = {(const uint8_t *)r->headers[i].name, strlen(r->headers[i].name)};
        PUT_BYTES(name);
        PUT_BYTES(r->headers[i].value);
    }
    PUT_BYTES(r->value);
#undef PUT_BYTES
#undef PUT_NUMBER
    cs_crypto_sha256_parts(c, parts, n, ret);
    free(many);
    free(more);
}

// The one header of this name. NULL where it is missing, or null, or there twice.
static const struct cs_header *only_header(const struct cs_record *r, const char *name) {
    const struct cs_header *found = NULL;
    for (size_t i = 0; i < r->headers_len; i++) {
        if (strcmp(r->headers[i].name, name) != 0)
            continue;
        if (found)
            return NULL;
        found = &r->headers[i];
    }
    return found && found->value.data ? found : NULL;
}

bool cs_record_signature(const struct cs_record *r, uint8_t ret[CS_EVENT_SIG_MAX], size_t *ret_len) {
    const struct cs_header *h = only_header(r, CS_SIG_HEADER);
    uint8_t bytes[CS_EVENT_SIG_MAX + 2]; // base64 is decoded by threes
    if (!h || h->value.len == 0 || h->value.len > cs_base64_encoded_len(CS_EVENT_SIG_MAX))
        return false;
    if (!cs_base64_decode((const char *)h->value.data, h->value.len, bytes, ret_len) ||
        *ret_len > CS_EVENT_SIG_MAX)
        return false;
    memcpy(ret, bytes, *ret_len);
    return true;
}

bool cs_record_is_cloudevent(const struct cs_record *r) {
    const struct cs_header *type = only_header(r, "content-type");
    return type && type->value.len == strlen(CS_CONTENT_TYPE) &&
           memcmp(type->value.data, CS_CONTENT_TYPE, type->value.len) == 0;
}

static void refuse(struct cs_prepared *p, enum cs_code code, const char *detail) {
    p->code = code;
    size_t len = strlen(detail);
    if (len > CS_DETAIL_MAX)
        len = CS_DETAIL_MAX;
    memcpy(p->detail, detail, len);
    p->detail[len] = '\0';
}

// What every event must have under any ruleset: event.too_large, event.unsigned, event.malformed.
// Sets p->value where it does.
static void take_value(const struct cs_record *r, struct cs_prepared *p) {
    if (r->value.data && r->value.len > CS_EVENT_MAX) {
        refuse(p, CS_CODE_EVENT_TOO_LARGE, "");
        return;
    }
    if (!cs_record_signature(r, p->sig, &p->sig_len)) {
        refuse(p, CS_CODE_EVENT_UNSIGNED, "");
        return;
    }
    if (!cs_record_is_cloudevent(r))
        refuse(p, CS_CODE_EVENT_MALFORMED, "content-type");
    else if (!r->value.data)
        refuse(p, CS_CODE_EVENT_MALFORMED, "value");
    else
        p->value = r->value;
}

// event.malformed, event.unknown_type. False: FATAL.
static bool read_event(const struct cs_rulebook *book, struct cs_region *scratch, struct cs_prepared *p,
                       struct cs_err *err) {
    struct cs_event_grammar grammar = {book->kinds, p->ruleset};
    if (cs_event_decode_by(grammar, p->value, p->region, p->region ? scratch : NULL, &p->event, err))
        return true;
    if (err->kind != CS_ERR_REJECT)
        return false;
    refuse(p, err->code, err->code == CS_CODE_EVENT_MALFORMED ? err->msg : "");
    return true;
}

// An event must be of this log and in its account's partition. Some types are written to
// every partition.
static void check_place(const char *log_id, int32_t partition_count, const struct cs_record *r,
                        struct cs_prepared *p) {
    const struct cs_event *ev = p->event;
    if (cs_event_origin(ev) >= partition_count) {
        refuse(p, CS_CODE_EVENT_MALFORMED, "data.origin");
        cs_event_free(CS_TAKE(p->event));
    } else if (strcmp(ev->log_id, log_id) != 0) {
        cs_deployment_id ours;
        cs_log_id_deployment(log_id, ours);
        refuse(p, cs_log_id_is_of(ev->log_id, ours) ? CS_CODE_EVENT_INCARNATION : CS_CODE_EVENT_DEPLOYMENT,
               "");
    } else if (ev->account[0] != '\0' && cs_partition_of(ev->account, partition_count) != r->partition) {
        refuse(p, CS_CODE_EVENT_MISROUTED, "");
    }
}

static void check_signature(struct cs_crypto *c, cs_key_lookup lookup, void *lookup_arg,
                            struct cs_prepared *p) {
    const struct cs_pubkey *key = lookup ? lookup(lookup_arg, p->event->account, p->event->kid) : NULL;
    if (!key || cs_pubkey_type(key) != CS_KEY_P256)
        return;
    struct cs_bytes spki = cs_pubkey_spki(key);
    if (spki.len > CS_SPKI_MAX)
        return;
    memcpy(p->sig_spki.data, spki.data, spki.len);
    p->sig_spki.len = spki.len;
    p->sig_good = cs_event_verify(c, key, p->value, (struct cs_bytes){p->sig, p->sig_len});
    p->sig_checked = true;
}

// The content breaks a rule. The first one counts. False: FATAL.
static bool refuse_content(struct cs_prepared *p, const struct cs_err *err) {
    if (err->kind != CS_ERR_REJECT)
        return false;
    p->content_code = err->code;
    return true;
}

// key.malformed: the sealed form is invalid, or the keys of a pair are sealed to different
// custodians.
static enum cs_code take_custodian(struct cs_bytes sealed, struct cs_prepared *p) {
    cs_kid custodian;
    if (sealed.len > CS_SEALED_MAX || !cs_sealed_kid(sealed, custodian))
        return CS_CODE_KEY_MALFORMED;
    if (p->custodian[0] != '\0' && strcmp(p->custodian, custodian) != 0)
        return CS_CODE_KEY_MALFORMED;
    memcpy(p->custodian, custodian, sizeof(custodian));
    return CS_CODE_NONE;
}

static struct cs_pop_fields pop_fields(const struct cs_event *ev, struct cs_bytes sealed,
                                       const uint8_t *sha256) {
    return (struct cs_pop_fields){.log_id = ev->log_id,
                                  .account = ev->account,
                                  .kid = ev->kid,
                                  .event_id = ev->id,
                                  .subject = ev->subject,
                                  .sealed_key = sealed,
                                  .leaf_sha256 = sha256};
}

// key.missing, key.many, key.mismatch (a key without its proof of possession).
static enum cs_code check_key_there(const struct cs_keyed_chain *part) {
    bool key = part->key.bytes.len > 0, pop = part->pop.bytes.len > 0;
    if (part->csr)
        return key || pop ? CS_CODE_KEY_MANY : CS_CODE_NONE;
    if (!key)
        return CS_CODE_KEY_MISSING;
    return pop ? CS_CODE_NONE : CS_CODE_KEY_MISMATCH;
}

// Parses one chain, checks leaf and links, and gives the leaf to p. False: FATAL.
static bool read_chain(struct cs_crypto *c, const struct cs_event_upload *up, size_t which,
                       struct cs_prepared *p, struct cs_err *err) {
    const struct cs_keyed_chain *part = &up->part[which];
    if (part->chain_len > CS_CHAIN_MAX) {
        p->content_code = CS_CODE_CERT_TOO_MANY;
        return true;
    }
    struct cs_cert *certs[CS_CHAIN_MAX] = {NULL};
    bool ok = true;
    for (size_t i = 0; i < part->chain_len && ok && p->content_code == CS_CODE_NONE; i++)
        if (!cert_parse_into(c, part->chain[i].bytes, i == 0 ? p->region : NULL, &certs[i], err))
            ok = refuse_content(p, err);
    if (ok && p->content_code == CS_CODE_NONE) {
        // The dates are another rule: it needs the record's time.
        enum cs_code code = cs_leaf_check(certs[0], up->algorithm, certs[0]->not_before_s);
        p->content_code =
            code == CS_CODE_CERT_EXPIRED || code == CS_CODE_CERT_NOT_YET_VALID ? CS_CODE_NONE : code;
    }
    if (ok && p->content_code == CS_CODE_NONE) {
        struct cs_chain_facts facts = {.starts_s = INT64_MIN, .ends_s = INT64_MAX};
        p->content_code = cs_chain_check(c, certs, part->chain_len, &facts);
        cs_chain_facts_add(&p->chain, &facts);
    }
    for (size_t i = 1; ok && i < part->chain_len && certs[i]; i++) {
        memcpy(p->issuer_sha256[which][i - 1], certs[i]->sha256, sizeof certs[i]->sha256);
        memcpy(p->issuer_spki_sha256[which][i - 1], certs[i]->spki_sha256, sizeof certs[i]->spki_sha256);
    }
    if (ok) {
        p->leaf[which] = CS_TAKE(certs[0]);
        p->leaves_len = which + 1;
    }
    for (size_t i = 0; i < CS_CHAIN_MAX; i++)
        cs_cert_free(certs[i]);
    return ok;
}

// The chains alone. False: FATAL.
static bool prepare_chains(struct cs_crypto *c, struct cs_prepared *p, struct cs_err *err) {
    const struct cs_event_upload *up = &p->event->data.upload;
    p->chain = (struct cs_chain_facts){.starts_s = INT64_MIN, .ends_s = INT64_MAX};
    for (size_t i = 0; i < up->parts && p->content_code == CS_CODE_NONE; i++)
        if (!read_chain(c, up, i, p, err))
            return false;
    if (up->parts == 2 && p->content_code == CS_CODE_NONE)
        p->content_code = cs_sm2_pair_check(p->leaf[0], p->leaf[1]);
    return true;
}

static bool prepare_upload(struct cs_crypto *c, struct cs_prepared *p, struct cs_err *err) {
    const struct cs_event_upload *up = &p->event->data.upload;
    for (size_t i = 0; i < up->parts; i++) {
        p->content_code = check_key_there(&up->part[i]);
        if (p->content_code != CS_CODE_NONE)
            return true;
    }
    if (!prepare_chains(c, p, err))
        return false;
    for (size_t i = 0; i < up->parts && p->content_code == CS_CODE_NONE; i++)
        if (!up->part[i].csr)
            p->content_code = take_custodian(up->part[i].key.bytes, p);
    for (size_t i = 0; i < up->parts && p->content_code == CS_CODE_NONE; i++) {
        const struct cs_keyed_chain *part = &up->part[i];
        struct cs_pop_fields fields = pop_fields(p->event, part->key.bytes, p->leaf[i]->sha256);
        if (!part->csr && !cs_pop_verify(c, p->leaf[i]->key, &fields, part->pop.bytes))
            p->content_code = CS_CODE_KEY_MISMATCH;
    }
    return true;
}

static bool prepare_csr(struct cs_crypto *c, struct cs_prepared *p, struct cs_err *err) {
    const struct cs_event *ev = p->event;
    struct cs_bytes key = ev->data.csr.key.bytes, pop = ev->data.csr.pop.bytes;
    if (!cs_csr_parse(c, ev->data.csr.csr.bytes, &p->csr, err))
        return refuse_content(p, err);
    p->content_code = cs_csr_check(p->csr);
    if (p->content_code == CS_CODE_NONE)
        p->content_code = take_custodian(key, p);
    if (p->content_code != CS_CODE_NONE)
        return true;
    struct cs_pop_fields fields = pop_fields(ev, key, p->csr->sha256);
    if (!cs_pop_verify(c, p->csr->key, &fields, pop))
        p->content_code = CS_CODE_KEY_MISMATCH;
    return true;
}

// A sender's key is a P-256 key. A custodian's is an X25519 key to seal to, or a P-256 key for its
// API tokens. The subject is its kid.
static bool prepare_key(struct cs_crypto *c, struct cs_prepared *p, struct cs_err *err) {
    const struct cs_event *ev = p->event;
    struct cs_bytes spki = cs_event_key(ev)->bytes;
    bool custodian = ev->type == CS_EVENT_TRUST_ADD && ev->data.trust.role == CS_TRUST_CUSTODIAN;
    cs_kid kid;
    cs_kid_of_spki(c, spki, kid);
    const char *detail = NULL;
    CS_AUTO(cs_pubkey_free) struct cs_pubkey *key = NULL;
    if (spki.len > CS_SPKI_MAX) {
        detail = "data.key: too long";
    } else if (!cs_pubkey_new(c, spki, &key, err)) {
        if (err->kind != CS_ERR_REJECT)
            return false;
        detail = "data.key: not a public key";
    } else if (cs_pubkey_type(key) != CS_KEY_P256 && !(custodian && cs_pubkey_type(key) == CS_KEY_X25519)) {
        detail = custodian ? "data.key: neither X25519 nor P-256" : "data.key: not P-256";
    } else if (strcmp(kid, ev->subject) != 0) {
        detail = "subject: not the key's id";
    }
    if (detail) {
        p->content_code = CS_CODE_EVENT_MALFORMED;
        memcpy(p->detail, detail, strlen(detail) + 1);
    }
    return true;
}

static bool prepare_nothing(struct cs_crypto *c, struct cs_prepared *p, struct cs_err *err) {
    (void)c, (void)p, (void)err;
    return true;
}

typedef bool examine_fn(struct cs_crypto *c, struct cs_prepared *p, struct cs_err *err);
static examine_fn *const examine[CS_EVENT_TYPE_END] = {
#define X(symbol, name, since, place, fields, sender, prepare, ...) [CS_EVENT_##symbol] = prepare_##prepare,
    CS_EVENT_TYPES(X)
#undef X
};

bool cs_prepare_content(struct cs_crypto *c, struct cs_prepared *p, struct cs_err *err) {
    if (p->examined)
        return true;
    if (!p->event->storage) // it was released, with what the last record left there
        cs_region_reset(&c->scratch);
    if (!cs_event_recall_bytes(p->event, &c->scratch, err) || !examine[p->event->type](c, p, err))
        return false;
    cs_event_forget_bytes(p->event); // the rules keep texts
    p->examined = true;
    return true;
}

static bool read_record(const struct cs_rulebook *book, struct cs_crypto *c, const char *log_id,
                        int32_t partition_count, const struct cs_record *r, struct cs_prepared *p,
                        struct cs_err *err) {
    cs_region_reset(&c->scratch);
    if (!p->value.data)
        return true;
    if (!read_event(book, &c->scratch, p, err))
        return false;
    if (p->code == CS_CODE_NONE)
        check_place(log_id, partition_count, r, p);
    return true;
}

bool cs_prepare_by(const struct cs_rulebook *book, struct cs_crypto *c, const char *log_id,
                   int32_t partition_count, int64_t ruleset, const struct cs_record *r, cs_key_lookup lookup,
                   void *lookup_arg, struct cs_region *region, struct cs_prepared **ret, struct cs_err *err) {
    CS_AUTO(cs_prepared_free) struct cs_prepared *p = cs_region_take_zeroed(region, sizeof(*p));
    if (!p)
        return cs_err_oom(err);
    p->region = region;
    p->ruleset = ruleset;
    cs_record_sha256(c, r, p->record_sha256);
    take_value(r, p);
    if (!read_record(book, c, log_id, partition_count, r, p, err))
        return false;
    if (p->code == CS_CODE_NONE) {
        // We compute nothing for a sender who may not send. If the signer is not known yet, the
        // content waits until the record is decided and its signature was found good.
        check_signature(c, lookup, lookup_arg, p);
        if (!p->sig_checked || !p->sig_good)
            cs_event_forget_bytes(p->event);
        else if (!cs_prepare_content(c, p, err))
            return false;
    }
    *ret = CS_TAKE(p);
    return true;
}

bool cs_prepare(struct cs_crypto *c, const char *log_id, int32_t partition_count, int64_t ruleset,
                const struct cs_record *r, cs_key_lookup lookup, void *lookup_arg, struct cs_region *region,
                struct cs_prepared **ret, struct cs_err *err) {
    return cs_prepare_by(&cs_rulebook, c, log_id, partition_count, ruleset, r, lookup, lookup_arg, region,
                         ret, err);
}

// The facts about the bytes hold under every ruleset. What was read and found in them is dropped.
bool cs_prepare_again(const struct cs_rule_context *ctx, const struct cs_record *r, int64_t ruleset,
                      struct cs_prepared *p, struct cs_err *err) {
    p->ruleset = ruleset;
    if (!p->value.data)
        return true;
    clear_content(p);
    p->code = p->content_code = CS_CODE_NONE;
    p->detail[0] = p->custodian[0] = '\0';
    p->examined = false;
    if (!read_record(ctx->book ? ctx->book : &cs_rulebook, ctx->crypto, ctx->log_id, ctx->partition_count, r,
                     p, err)) {
        p->ruleset = 0; // nothing is read: a next try must read it
        return false;
    }
    if (p->event)
        cs_event_forget_bytes(p->event);
    return true;
}
