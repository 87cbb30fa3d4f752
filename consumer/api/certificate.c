// SPDX-License-Identifier: Apache-2.0
//
// GET …/certificates/{id} and …/certificates/{id}/sealed-key. {id} is the certificate's id or its
// name. Own certificates come first. A certificate of another account is found by its name, or with
// ?owner= by both.
//
// No answer here holds a private key in the clear: only the custodian could make one. Chains are
// public. Sealed keys are only in sealed-key, which needs a custodian's token.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "certsync/base/json_write.h"
#include "certsync/base/text.h"

#define ISSUERS_MAX (2 * CS_ISSUERS_MAX) // of both parts
#define ASKS_MAX    5                    // a chain that is another one at each look

struct detail {
    bool sealed;  // the sealed key is asked for
    bool by_name; // wanted is not, or no longer, taken for an id: it is looked up as a name, once
    char wanted[CS_NAME_MAX + 1];
    cs_account_id owner;    // of ?owner=; "" where not given
    struct cs_shared_in in; // while the owner's material is read
    cs_uuid id;             // of the own certificate that is asked for
    // Issuers that are not at hand are known only once the material was read. Then all is asked for once
    // more, together.
    size_t issuers_len;
    cs_issuer_id issuers[ISSUERS_MAX];
    unsigned asks;
    struct cs_buf json;
};

static void detail_free(void *state) {
    struct detail *d = state;
    cs_shared_in_clear(&d->in);
    cs_buf_clear(&d->json);
    free(d);
}

static void not_found(struct api_call *call) {
    api_not_found(call, CS_CODE_CERTIFICATE_NOT_FOUND);
}

// ---- chains

static void put_issuers(struct cs_buf *command, const struct api_call *call, int32_t partition) {
    const struct detail *d = call->state;
    for (size_t i = 0; i < d->issuers_len; i++)
        api_put_key(command, call, partition, cs_key_issuer(CS_NEW_KEY, d->issuers[i]));
}

// Keeps the issuers in a reply, from `from` on. *ret_absent: the last of them that is not there, or "".
// False: answered.
static bool take_issuers(struct api_call *call, const redisReply *reply, size_t from,
                         cs_issuer_id ret_absent) {
    struct detail *d = call->state;
    ret_absent[0] = '\0';
    for (size_t i = 0; i < d->issuers_len; i++) {
        struct cs_issuer issuer;
        struct cs_err err;
        struct cs_bytes doc = {0};
        if (from + i < api_elements(reply))
            doc = api_bytes(reply->element[from + i]);
        if (doc.data && !cs_issuer_decode(doc, &issuer, &err)) {
            api_unreadable(call, &err);
            return false;
        }
        if (doc.data)
            api_issuer_keep(call->api, d->issuers[i], issuer.der);
        else
            memcpy(ret_absent, d->issuers[i], sizeof d->issuers[i]);
    }
    return true;
}

// Whether all issuers of the material are at hand. Those that are not will be asked for. *ret_gone: one
// is not there, as was found together with this material.
static bool has_issuers(struct detail *d, const struct cs_api *api, const struct cs_material *m,
                        const char *absent, bool *ret_gone) {
    d->issuers_len = 0;
    *ret_gone = false;
    for (size_t i = 0; i < m->len; i++)
        for (size_t k = 0; k < m->part[i].issuers_len; k++) {
            const char *id = m->part[i].issuers[k];
            if (api_issuer(api, id).data)
                continue;
            *ret_gone = *ret_gone || strcmp(absent, id) == 0;
            memcpy(d->issuers[d->issuers_len++], id, sizeof d->issuers[0]);
        }
    return d->issuers_len == 0;
}

// What a chain names is there.
static void issuer_is_gone(struct api_call *call, const char *id) {
    struct cs_err err;
    cs_authentic_damaged(&err, call->asked.partition, "key", cs_key_issuer(CS_NEW_KEY, id), "is gone");
    api_not_genuine(call, call->asked.partition, call->asked.generation, &err);
}

// ---- own certificates

static void on_shares(struct api_call *call, const redisReply *reply) {
    struct detail *d = call->state;
    cs_json_name(&d->json, "shares");
    cs_json_begin(&d->json, '[');
    size_t n = reply ? api_elements(reply) : 0;
    for (size_t i = 0; i < n; i++)
        api_item_put_share(&d->json, reply->element[i]);
    cs_json_end(&d->json, ']');
    cs_json_end(&d->json, '}');
    api_answer(call, &d->json);
}

static void ask_shares(struct api_call *call, const struct cs_certificate *cert) {
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, API_COMMAND_MAX);
    cs_redis_put(&command, cert->shares_len + 1);
    cs_redis_put_text(&command, "MGET");
    for (size_t i = 0; i < cert->shares_len; i++)
        api_put_key(&command, call, call->partition,
                    cs_key_share(CS_NEW_KEY, call->account, cert->shares[i].share));
    api_ask(call, &command, on_shares);
}

static void show_own(struct api_call *call, const struct cs_certificate *cert, const struct cs_material *m) {
    struct detail *d = call->state;
    struct api_item item;
    api_item_of_own(cert, &item);
    item.material = m;
    item.api = call->api;
    cs_json_begin(&d->json, '{');
    api_item_put(&d->json, &item, api_now_s(call->api), API_WITHIN_S);
    if (cert->shares_len > 0)
        ask_shares(call, cert);
    else
        on_shares(call, NULL);
}

static void put_text(struct cs_buf *json, struct cs_bytes text) {
    cs_json_put_strn(json, (const char *)text.data, text.len);
}

// What the custodian needs to open each part's key (seal.h) and to compare it with the certificate.
static void show_sealed(struct api_call *call, const struct cs_certificate *cert,
                        const struct cs_material *m) {
    struct detail *d = call->state;
    struct cs_buf *json = &d->json;
    cs_json_begin(json, '{');
    cs_json_str(json, "id", cert->id);
    cs_json_str(json, "account", call->account);
    cs_json_str(json, "name", cert->summary.name);
    cs_json_int(json, "version", cert->summary.version);
    cs_json_name(json, "parts");
    cs_json_begin(json, '[');
    for (size_t i = 0; i < m->len && i < cert->summary.leaves_len; i++) {
        const struct cs_leaf *leaf = &cert->summary.leaves[i];
        cs_json_begin(json, '{');
        cs_json_str(json, "role", m->part[i].role);
        cs_json_str(json, "key_subject", m->part[i].key_subject);
        cs_json_name(json, "key");
        put_text(json, m->part[i].key);
        cs_json_name(json, "spki_sha256");
        cs_json_put_hex(json, (struct cs_bytes){leaf->spki_sha256, sizeof leaf->spki_sha256});
        cs_json_name(json, "leaf");
        put_text(json, m->part[i].leaf);
        cs_json_end(json, '}');
    }
    cs_json_end(json, ']');
    cs_json_end(json, '}');
    api_answer(call, json);
}

static void ask_name(struct api_call *call);
static void ask_own(struct api_call *call);

static void on_material(struct api_call *call, const redisReply *reply, const struct cs_certificate *cert,
                        const struct cs_material *m) {
    struct detail *d = call->state;
    cs_issuer_id absent;
    bool gone = false;
    if (d->sealed)
        show_sealed(call, cert, m);
    else if (!take_issuers(call, reply, 2, absent))
        return;
    else if (has_issuers(d, call->api, m, absent, &gone))
        show_own(call, cert, m);
    else if (gone)
        issuer_is_gone(call, absent);
    else
        ask_own(call);
}

// The certificate, its material and its issuers are read together: they must be of one version.
static void on_own(struct api_call *call, const redisReply *reply) {
    struct detail *d = call->state;
    struct cs_err err;
    CS_AUTO(cs_certificate_clear) struct cs_certificate cert = {0};
    struct cs_material material;
    struct cs_bytes doc = {0}, chains = {0};
    if (api_elements(reply) >= 2) {
        doc = api_bytes(reply->element[0]);
        chains = api_bytes(reply->element[1]);
    }
    if (doc.data && !cs_certificate_decode(doc, &cert, &err)) {
        api_unreadable(call, &err);
        return;
    }
    if (!doc.data || cert.deleted || !chains.data) {
        // A name may look like an id.
        if (!d->by_name)
            ask_name(call);
        else
            not_found(call);
        return;
    }
    if (!cs_material_decode(chains, &material, &err))
        api_unreadable(call, &err);
    else
        on_material(call, reply, &cert, &material);
}

static void ask_own(struct api_call *call) {
    struct detail *d = call->state;
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, API_COMMAND_MAX);
    if (++d->asks > ASKS_MAX) {
        api_busy(call, "This certificate changes too quickly to be read.");
        return;
    }
    cs_redis_put(&command, 3 + d->issuers_len);
    cs_redis_put_text(&command, "MGET");
    api_put_key(&command, call, call->partition, cs_key_cert(CS_NEW_KEY, call->account, d->id));
    api_put_key(&command, call, call->partition, cs_key_material(CS_NEW_KEY, call->account, d->id));
    put_issuers(&command, call, call->partition);
    api_ask(call, &command, on_own);
}

static void ask_own_id(struct api_call *call, const char *id) {
    struct detail *d = call->state;
    snprintf(d->id, sizeof d->id, "%.*s", CS_UUID_LEN, id);
    d->issuers_len = 0;
    d->asks = 0;
    ask_own(call);
}

// ---- shared in

static void show_shared(struct api_call *call, const struct cs_material *m) {
    struct detail *d = call->state;
    struct api_item item;
    api_item_of_shared(&d->in, &item);
    item.material = m;
    item.api = call->api;
    cs_json_begin(&d->json, '{');
    api_item_put(&d->json, &item, api_now_s(call->api), API_WITHIN_S);
    cs_json_end(&d->json, '}');
    api_answer(call, &d->json);
}

static bool is_leaf(struct cs_crypto *c, struct cs_bytes base64, const uint8_t sha256[32]) {
    size_t der_len = 0;
    uint8_t found[32], *der = malloc(cs_base64_decoded_max(base64.len) + 1);
    bool ok = der && cs_base64_decode((const char *)base64.data, base64.len, der, &der_len);
    if (ok)
        cs_crypto_sha256(c, (struct cs_bytes){der, der_len}, found);
    free(der);
    return ok && memcmp(found, sha256, sizeof found) == 0;
}

// Whether these are the chains of the leaves that the summary describes.
static bool fits_leaves(struct cs_crypto *c, const struct cs_material *m, const struct cs_cert_summary *s) {
    if (m->len != s->leaves_len)
        return false;
    for (size_t i = 0; i < m->len; i++)
        if (!is_leaf(c, m->part[i].leaf, s->leaves[i].sha256))
            return false;
    return true;
}

static void ask_owners_material(struct api_call *call);

// The owner has the chain, and may be a version ahead. Then the chain is left out.
static void on_owners_material(struct api_call *call, const redisReply *reply) {
    struct detail *d = call->state;
    struct cs_err err;
    struct cs_material material;
    struct cs_bytes doc = {0};
    cs_issuer_id absent;
    bool gone = false;
    if (api_elements(reply) >= 1)
        doc = api_bytes(reply->element[0]);
    if (doc.data && !cs_material_decode(doc, &material, &err))
        api_unreadable(call, &err);
    else if (!doc.data || !fits_leaves(call->api->crypto, &material, &d->in.summary))
        show_shared(call, NULL);
    else if (!take_issuers(call, reply, 1, absent))
        return;
    else if (has_issuers(d, call->api, &material, absent, &gone))
        show_shared(call, &material);
    else if (gone)
        issuer_is_gone(call, absent);
    else
        ask_owners_material(call);
}

static void ask_owners_material(struct api_call *call) {
    struct detail *d = call->state;
    int32_t partition = cs_partition_of(d->in.owner_account, call->api->consumer->partition_count);
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, API_COMMAND_MAX);
    if (++d->asks > ASKS_MAX) {
        show_shared(call, NULL); // as of an owner who is ahead
        return;
    }
    cs_redis_put(&command, 2 + d->issuers_len);
    cs_redis_put_text(&command, "MGET");
    api_put_key(&command, call, partition,
                cs_key_material(CS_NEW_KEY, d->in.owner_account, d->in.certificate));
    put_issuers(&command, call, partition);
    api_ask_of(call, partition, &command, on_owners_material);
}

static void ask_view(struct api_call *call);

static void on_shared(struct api_call *call, const redisReply *reply) {
    struct detail *d = call->state;
    struct cs_err err;
    struct cs_bytes doc = api_bytes(reply);
    if (!doc.data && !d->by_name)
        ask_view(call);
    else if (!doc.data)
        not_found(call);
    else if (!cs_shared_in_decode(doc, &d->in, &err))
        api_unreadable(call, &err);
    else {
        d->issuers_len = 0;
        d->asks = 0;
        ask_owners_material(call);
    }
}

static void on_view(struct api_call *call, const redisReply *reply) {
    struct detail *d = call->state;
    size_t n = api_elements(reply);
    if (n == 0) {
        not_found(call);
        return;
    }
    if (n > 1) {
        api_problem(call, 409, NULL, "%s",
                    "Several accounts share a certificate of this name: say which with ?owner=ACCOUNT.");
        return;
    }
    // "<name>/s/<owner account>/<id>"
    const char *owner_and_id = reply->element[0]->str + strlen(d->wanted) + 3;
    api_ask_key(call, on_shared,
                cs_key_make(CS_NEW_KEY, CS_KIND_SHARED_IN, call->account, owner_and_id, NULL));
}

static void ask_view(struct api_call *call) {
    struct detail *d = call->state;
    struct api_page all = {0};
    char prefix[CS_NAME_MAX + CS_ACCOUNT_MAX + 8];
    if (!cs_name_valid(d->wanted, strlen(d->wanted), CS_ALGORITHM_INTERNATIONAL)) {
        not_found(call);
        return;
    }
    d->by_name = true;
    snprintf(prefix, sizeof prefix, "%s/s/%s%s", d->wanted, d->owner, d->owner[0] ? "/" : "");
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, 4096);
    api_page_put_lex(&command, call, &all, CS_KIND_VIEW, prefix, 2);
    api_ask(call, &command, on_view);
}

// ---- by name

static void on_name(struct api_call *call, const redisReply *reply) {
    struct detail *d = call->state;
    struct cs_bytes doc = api_bytes(reply);
    // The id as a JSON string; ids need no escapes.
    if (doc.data && doc.len == CS_UUID_LEN + 2 && cs_uuid_valid((const char *)doc.data + 1, CS_UUID_LEN)) {
        cs_uuid id;
        memcpy(id, doc.data + 1, CS_UUID_LEN);
        id[CS_UUID_LEN] = '\0';
        ask_own_id(call, id);
    } else if (d->sealed) {
        not_found(call);
    } else {
        ask_view(call);
    }
}

static void ask_name(struct api_call *call) {
    struct detail *d = call->state;
    d->by_name = true;
    if (cs_name_valid(d->wanted, strlen(d->wanted), CS_ALGORITHM_INTERNATIONAL))
        api_ask_key(call, on_name, cs_key_name(CS_NEW_KEY, call->account, d->wanted));
    else
        not_found(call);
}

// ---- begin

static void begin(struct api_call *call, bool sealed) {
    const char *wanted = cs_http_param(call->req, "id"), *owner = api_query(call, "owner");
    struct detail *d = calloc(1, sizeof *d);
    if (!d) {
        api_problem(call, 500, NULL, "%s", "The server is out of memory.");
        return;
    }
    call->state = d;
    call->state_free = detail_free;
    d->sealed = sealed;
    cs_buf_init(&d->json, API_BODY_MAX);
    size_t len = strlen(wanted);
    if (owner && !cs_account_valid(owner, strlen(owner))) {
        api_problem(call, 400, NULL, "%s", "owner must be the id of an account.");
        return;
    }
    if (len > CS_NAME_MAX) {
        not_found(call);
        return;
    }
    memcpy(d->wanted, wanted, len + 1);
    bool is_id = cs_uuid_valid(wanted, len);
    if (owner)
        memcpy(d->owner, owner, strlen(owner) + 1);
    if (owner && is_id)
        api_ask_key(call, on_shared, cs_key_shared_in(CS_NEW_KEY, call->account, owner, wanted));
    else if (owner)
        ask_view(call);
    else if (is_id)
        ask_own_id(call, wanted);
    else
        ask_name(call);
}

void api_certificate(struct api_call *call, const redisReply *reply) {
    (void)reply;
    begin(call, false);
}

void api_sealed_key(struct api_call *call, const redisReply *reply) {
    (void)reply;
    begin(call, true);
}
