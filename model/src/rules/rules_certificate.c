// SPDX-License-Identifier: Apache-2.0
//
// Certificates of an account: upload, issue, replace, delete.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/json_write.h"
#include "certsync/model/seal.h"
#include "rules/rules_internal.h"
#include "rules/rules_table.h"

// ---- rules of all that has a name

// Names of SM2 certificates have no '.'.
bool cs_rule_name(struct cs_judge *j) {
    return j->f.name && cs_name_valid(j->f.name, strlen(j->f.name), j->f.algorithm);
}

bool cs_rule_pattern(struct cs_judge *j) {
    return j->f.name && cs_pattern_matches(j->f.agent.names, j->f.name);
}

// prepare.c found what the bytes say by themselves.
bool cs_rule_content(struct cs_judge *j) {
    return j->prepared->content_code != j->asked;
}

bool cs_rule_custodian(struct cs_judge *j) {
    return j->prepared->custodian[0] == '\0' || j->f.custodian;
}

// ---- rules of upload and issue

bool cs_rule_begun(struct cs_judge *j) {
    for (size_t i = 0; i < j->prepared->leaves_len; i++)
        if (j->now_s < j->prepared->leaf[i]->not_before_s)
            return false;
    return true;
}

bool cs_rule_not_expired(struct cs_judge *j) {
    for (size_t i = 0; i < j->prepared->leaves_len; i++)
        if (j->now_s > j->prepared->leaf[i]->not_after_s)
            return false;
    return true;
}

bool cs_rule_chain_complete(struct cs_judge *j) {
    return !(j->prepared->chain.notes & CS_NOTE(CHAIN_INCOMPLETE)) || !j->f.account.reject_incomplete_chain;
}

// How many certificates of the held chain are also in part i of the upload. The leaf is, where it is
// the same.
static size_t kept_of(const struct cs_judge *j, size_t i) {
    const struct cs_material_part *held = &j->f.material.part[i];
    struct cs_material_part sent = {.issuers_len = 0};
    size_t kept = 1;
    cs_issuers_name(j, i, &sent);
    for (size_t a = 0; a < held->issuers_len; a++)
        for (size_t b = 0; b < sent.issuers_len; b++)
            kept += strcmp(held->issuers[a], sent.issuers[b]) == 0;
    return kept;
}

enum chain_change { CHAIN_SAME, CHAIN_MORE, CHAIN_OTHER };

// For the same leaf. A chain is more complete if it holds every certificate of the held chain and
// one more. In a pair, one half may stay as it is.
static enum chain_change chain_change(const struct cs_judge *j) {
    enum chain_change change = CHAIN_SAME;
    for (size_t i = 0; i < j->ev->data.upload.parts; i++) {
        size_t held = j->f.material.part[i].issuers_len + 1, sent = j->ev->data.upload.part[i].chain_len;
        if (kept_of(j, i) < held)
            return CHAIN_OTHER;
        if (sent > held)
            change = CHAIN_MORE;
    }
    return change;
}

// A chain that is only different, or shorter, is taken only where that is meant.
static bool takes_chain(const struct cs_judge *j) {
    enum chain_change change = j->f.same_leaf ? chain_change(j) : CHAIN_SAME;
    bool meant = j->ev->data.upload.force || j->ev->type == CS_EVENT_CERTIFICATE_UPDATE;
    return change == CHAIN_MORE || (change == CHAIN_OTHER && meant);
}

// An upload that names no tags leaves them as they are.
static bool takes_tags(const struct cs_judge *j) {
    const struct cs_event_upload *up = &j->ev->data.upload;
    return up->has_tags && !cs_tags_equal(&up->tags, &j->f.cert.summary.tags);
}

static bool is_replacement(const struct cs_judge *j) {
    return j->f.has_cert && !j->f.same_leaf;
}

bool cs_rule_csr_match(struct cs_judge *j) {
    return !j->ev->data.upload.part[0].csr || j->f.has_csr || j->f.same_leaf;
}

// Everybody can read the request's public key in its certificate. Without this rule, he could put
// the request's sealed key under a name of his own.
bool cs_rule_csr_pattern(struct cs_judge *j) {
    bool takes = j->ev->data.upload.part[0].csr && !j->f.same_leaf;
    return !takes || j->f.signer != CS_SIGNER_AGENT || cs_pattern_matches(j->f.agent.names, j->f.csr.name);
}

bool cs_rule_name_free(struct cs_judge *j) {
    return !is_replacement(j) || j->ev->data.upload.replace;
}

// An issuer must not call a certificate official that is there as uploaded: it could not be shared.
bool cs_rule_same_source(struct cs_judge *j) {
    const struct cs_event_upload *up = &j->ev->data.upload;
    if (j->f.same_leaf && j->ev->type == CS_EVENT_CERTIFICATE_ISSUE)
        return up->source == j->f.cert.summary.source;
    return !is_replacement(j) ||
           (up->source == j->f.cert.summary.source && up->algorithm == j->f.cert.summary.algorithm);
}

bool cs_rule_not_older(struct cs_judge *j) {
    return !is_replacement(j) || j->ev->data.upload.force ||
           j->prepared->leaf[0]->not_before_s >= j->f.cert.summary.leaves[0].not_before_s;
}

// A daemon asks for the name that its settings give. Another host may have it for another certificate.
bool cs_rule_held(struct cs_judge *j) {
    bool host = j->ev->type == CS_EVENT_CERTIFICATE_UPLOAD && j->ev->data.upload.place[0];
    return !host || !is_replacement(j) || j->f.has_installed || j->f.sent_it;
}

// The sender chooses the ids of certificates, requests and shares, each id once.
bool cs_rule_id_new(struct cs_judge *j) {
    return !j->f.id_used;
}

bool cs_rule_quota(struct cs_judge *j) {
    return j->f.has_cert || j->f.account.certificates < j->f.account.limit_certificates;
}

// ---- what an upload adds to the account's bytes and tags

// Of canonical base64.
static int64_t decoded_len(struct cs_bytes text) {
    size_t padding = 0;
    while (padding < 2 && padding < text.len && text.data[text.len - 1 - padding] == '=')
        padding++;
    return (int64_t)(text.len / 4 * 3 - padding);
}

// The leaves of the certificate that is there, their chains and sealed keys. A chain counts in full, also
// where other certificates have it, too.
static int64_t held_bytes(struct cs_judge *j) {
    int64_t bytes = 0;
    for (size_t i = 0; j->f.has_cert && i < j->f.material.len; i++) {
        const struct cs_material_part *part = &j->f.material.part[i];
        bytes += decoded_len(part->leaf) + decoded_len(part->key);
        for (size_t k = 0; k < part->issuers_len; k++) {
            struct cs_issuer issuer;
            const char *key = cs_key_issuer(CS_NEW_KEY, part->issuers[k]);
            if (cs_judge_read_issuer(j, key, &issuer))
                bytes += decoded_len(issuer.der);
            else
                cs_judge_lacks(j, key);
        }
    }
    return bytes;
}

// What is to be held instead. The same leaf keeps its keys; a matched request gives its own.
static int64_t sent_bytes(const struct cs_judge *j) {
    int64_t bytes = 0;
    for (size_t i = 0; i < j->ev->data.upload.parts; i++) {
        const struct cs_keyed_chain *part = &j->ev->data.upload.part[i];
        for (size_t k = 0; k < part->chain_len; k++)
            bytes += decoded_len(part->chain[k].text);
        if (j->f.same_leaf)
            bytes += decoded_len(j->f.material.part[i].key);
        else
            bytes += part->csr ? (int64_t)j->f.csr.key.len : decoded_len(part->key.text);
    }
    return bytes;
}

static int64_t more_bytes(struct cs_judge *j) {
    bool stays = j->f.same_leaf || j->ev->type == CS_EVENT_CERTIFICATE_UPDATE;
    return stays && !takes_chain(j) ? 0 : sent_bytes(j) - held_bytes(j);
}

static int64_t more_tags(const struct cs_judge *j) {
    size_t sent = j->ev->data.upload.tags.len, held = j->f.has_cert ? j->f.cert.summary.tags.len : 0;
    return j->ev->data.upload.has_tags ? (int64_t)sent - (int64_t)held : 0;
}

bool cs_rule_quota_tags(struct cs_judge *j) {
    int64_t more = more_tags(j);
    return more <= 0 || j->f.account.tags + more <= j->f.account.limit_tags;
}

// A renewed certificate is seldom as long as the old one was. So a full account has a reserve for what it
// has already: else it could not renew.
bool cs_rule_quota_bytes(struct cs_judge *j) {
    int64_t limit = j->f.account.limit_bytes;
    int64_t more = j->ev->type == CS_EVENT_CSR_ADD ? cs_csr_more_bytes(j) : more_bytes(j);
    if (j->ev->type != CS_EVENT_CSR_ADD && j->f.has_cert)
        limit += limit / 10;
    return more <= 0 || j->f.account.bytes + more <= limit;
}

// Before the material is written.
static void count_upload(struct cs_judge *j) {
    int64_t bytes = more_bytes(j), tags = more_tags(j);
    j->f.account.certificates += !j->f.has_cert;
    j->f.account.bytes += bytes;
    j->f.account.tags += tags;
    if (bytes != 0 || tags != 0)
        cs_judge_put_account(j);
}

// ---- rules of delete

bool cs_rule_certificate(struct cs_judge *j) {
    if (j->ev->type == CS_EVENT_CERTIFICATE_DELETE && j->ev->data.del.from[0])
        return j->f.has_shared_in;
    return j->f.has_cert;
}

bool cs_rule_not_shared(struct cs_judge *j) {
    return j->ev->data.del.cascade || j->f.cert.shares_len == 0;
}

// ---- effects

size_t cs_names_listed(char *const *names, size_t n) {
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        total += strlen(names[i]);
        if (total > CS_NAMES_TEXT_MAX)
            return i;
    }
    return n;
}

// The summary borrows strings from the parsed certificates.
static void summarise(const struct cs_judge *j, struct cs_cert_summary *s) {
    const struct cs_event_upload *up = &j->ev->data.upload;
    struct cs_tag_list tags = up->has_tags || !j->f.has_cert ? up->tags : j->f.cert.summary.tags;
    memset(s, 0, sizeof(*s));
    CS_COPY(s->name, up->name);
    s->algorithm = up->algorithm;
    s->source = up->source;
    s->notes = j->ret->verdict.notes;
    s->tags = tags;
    s->leaves_len = j->prepared->leaves_len;
    for (size_t i = 0; i < s->leaves_len; i++) {
        struct cs_cert *c = j->prepared->leaf[i];
        struct cs_leaf *leaf = &s->leaves[i];
        memcpy(leaf->sha256, c->sha256, 32);
        memcpy(leaf->spki_sha256, c->spki_sha256, 32);
        memcpy(leaf->serial, c->serial_hex, sizeof(leaf->serial));
        leaf->not_before_s = c->not_before_s;
        leaf->not_after_s = c->not_after_s;
        leaf->key_type = c->key_type;
        leaf->key_bits = c->key_bits;
        leaf->subject = c->subject_name;
        leaf->issuer = c->issuer_name;
        leaf->names_total = c->names_total;
        leaf->names_len = cs_names_listed(c->names, c->names_len);
        leaf->names = c->names;
    }
    int64_t ends_s = j->prepared->chain.ends_s;
    if (ends_s < cs_summary_not_after(s))
        s->chain_ends_s = ends_s > 0 ? ends_s : 1;
}

// Leaves and sealed keys are kept as they came, beside the issuers that all have in common. A matched
// request gives its own key, which was sealed for it. A certificate that is there already keeps its keys.
static void put_material(struct cs_judge *j, const char *id) {
    const struct cs_event *ev = j->ev;
    const struct cs_event_upload *up = &ev->data.upload;
    struct cs_material m = {.len = up->parts};
    CS_AUTO(cs_buf_clear) struct cs_buf matched;
    cs_buf_init(&matched, 2 * CS_SEALED_MAX);
    for (size_t i = 0; i < up->parts; i++) {
        const struct cs_keyed_chain *from = &up->part[i];
        struct cs_material_part *to = &m.part[i];
        to->leaf = from->chain[0].text;
        cs_issuers_name(j, i, to);
        to->key = from->key.text;
        CS_COPY(to->key_subject, ev->subject);
        CS_COPY(to->role, cs_key_role_name(up->parts == 1 ? CS_ROLE_SINGLE
                                           : i == 0       ? CS_ROLE_SM2_SIGN
                                                          : CS_ROLE_SM2_ENCRYPT));
        if (j->f.same_leaf) {
            to->key = j->f.material.part[i].key;
            CS_COPY(to->key_subject, j->f.material.part[i].key_subject);
        } else if (from->csr) {
            cs_json_put_base64(&matched, j->f.csr.key);
            if (!cs_buf_ok(&matched, j->err)) {
                j->failed = true;
                return;
            }
            to->key = (struct cs_bytes){matched.data + 1, matched.len - 2}; // without the quotes
            CS_COPY(to->key_subject, j->f.csr.id);
        }
    }
    // Added before the old ones go: what both have stays.
    cs_issuers_add(j, &m);
    if (j->f.has_cert)
        cs_issuers_remove(j, &j->f.material);
    cs_material_encode(cs_judge_begin(j), &m);
    cs_judge_put(j, cs_key_material(CS_NEW_KEY, ev->account, id));
}

// Hosts of a version that is remembered no more count together, with the earliest end.
static void forget_oldest(struct cs_certificate *cert) {
    const struct cs_old_version *last = &cert->old[CS_OLD_VERSIONS_MAX - 1];
    int64_t ends_s = last->ends_s != 0 ? last->ends_s : last->not_after_s;
    if (cert->old_len < CS_OLD_VERSIONS_MAX || last->installed == 0)
        return;
    if (cert->older_installed == 0 || ends_s < cert->older_ends_s)
        cert->older_ends_s = ends_s;
    cert->older_installed += last->installed;
}

static void remember_old(struct cs_certificate *cert) {
    const struct cs_leaf *leaf = &cert->summary.leaves[0];
    int64_t ends_s = cs_summary_ends(&cert->summary);
    forget_oldest(cert);
    if (cert->old_len < CS_OLD_VERSIONS_MAX)
        cert->old_len++;
    memmove(&cert->old[1], &cert->old[0], (cert->old_len - 1) * sizeof(cert->old[0]));
    struct cs_old_version *old = &cert->old[0];
    *old = (struct cs_old_version){.version = cert->summary.version,
                                   .not_after_s = leaf->not_after_s,
                                   .ends_s = ends_s < leaf->not_after_s ? ends_s : 0,
                                   .installed = cert->installed};
    cert->installed = 0;
    memcpy(old->sha256, leaf->sha256, 32);
    memcpy(old->serial, leaf->serial, sizeof(old->serial));
}

static void put_new(struct cs_judge *j, struct cs_certificate *cert) {
    const struct cs_event *ev = j->ev;
    cert->summary.version = 1;
    CS_COPY(cert->id, ev->subject);
    cert->created_ms = j->record->timestamp_ms;
    cs_judge_put_id(j, cs_key_name(CS_NEW_KEY, ev->account, cert->summary.name), cert->id);
    cs_key member;
    cs_state_add(j->state, cs_key_view(CS_NEW_KEY, ev->account),
                 cs_member_view(member, cert->summary.name, NULL, cert->id), 0);
}

unsigned cs_certificate_take(struct cs_judge *j, struct cs_certificate *cert) {
    bool chain = takes_chain(j), tags = takes_tags(j);
    count_upload(j);
    if (chain) {
        struct cs_cert_summary fresh, *held = &cert->summary;
        j->ret->verdict.notes = cs_chain_notes(&j->prepared->chain, j->now_s);
        summarise(j, &fresh);
        CS_COPY(fresh.name, held->name);
        fresh.version = held->version;
        fresh.source = held->source;
        fresh.tags = held->tags;
        *held = fresh;
        put_material(j, cert->id);
    }
    if (tags)
        cert->summary.tags = j->ev->data.upload.tags;
    return (chain ? CS_TOOK_CHAIN : 0) | (tags ? CS_TOOK_TAGS : 0);
}

static void tell_taken(struct cs_verdict *v, unsigned took) {
    static const char *const names[] = {"chain", "tags", "name", "contact", "note", "place"};
    const char *between = "changed: ";
    size_t len = 0;
    for (unsigned i = 0; i < CS_ARRAY_LEN(names); i++) {
        if (!(took >> i & 1))
            continue;
        len += (size_t)snprintf(v->detail + len, sizeof(v->detail) - len, "%s%s", between, names[i]);
        between = ", ";
    }
}

void cs_certificate_taken(struct cs_judge *j, struct cs_certificate *cert, unsigned took) {
    if (took == 0) {
        j->ret->verdict.code = CS_CODE_UNCHANGED;
        return;
    }
    if (took != CS_TOOK_PLACE)
        cert->updated_ms = j->record->timestamp_ms;
    cs_judge_put_certificate(j, cert);
    cs_key member;
    cs_state_add(j->state, cs_key_expiry(CS_NEW_KEY, j->ev->account),
                 cs_member_view(member, cert->summary.name, NULL, cert->id), cs_summary_ends(&cert->summary));
    if (took & (CS_TOOK_CHAIN | CS_TOOK_TAGS | CS_TOOK_NAME))
        cs_share_offer_all(j, cert);
    tell_taken(&j->ret->verdict, took);
}

static bool takes_place(struct cs_judge *j, struct cs_certificate *cert) {
    const char *place = j->ev->data.upload.place;
    return place[0] && cs_installed_set(j, cert, cert->summary.version, place);
}

// The same certificate with a more complete chain, or with other tags. The entry changes, and those
// it is shared with are told. Version, keys and owner stay.
static void change_same(struct cs_judge *j) {
    struct cs_certificate cert = j->f.cert; // owns nothing of its own, as below
    cs_judge_tell(j, &j->f.cert.summary);   // leaves, name and version stay
    unsigned took = cs_certificate_take(j, &cert);
    if (takes_place(j, &cert))
        took |= CS_TOOK_PLACE;
    cs_certificate_taken(j, &cert, took);
    if (took == 0 && chain_change(j) == CHAIN_OTHER)
        CS_COPY(j->ret->verdict.detail, "The chain is not more complete than the one that is held, which "
                                        "stays; --replace --force takes it.");
}

// A new name makes a certificate. A replacement keeps id, name, shares and source. It is offered to
// all it is shared with.
void cs_effect_upload(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    struct cs_verdict *v = &j->ret->verdict;
    bool replacement = j->f.has_cert;
    if (replacement)
        CS_COPY(v->subject, j->f.cert.id);
    if (j->f.same_leaf) {
        change_same(j);
        return;
    }
    count_upload(j);
    v->notes = cs_chain_notes(&j->prepared->chain, j->now_s);
    // cert owns nothing: the leaves own the strings, the facts own the list of shares.
    struct cs_certificate cert = j->f.cert;
    int64_t version = cert.summary.version;
    if (replacement)
        remember_old(&cert);
    summarise(j, &cert.summary);
    cert.summary.version = version + 1;
    CS_COPY(cert.by, ev->kid);
    cert.updated_ms = j->record->timestamp_ms;
    if (!replacement)
        put_new(j, &cert);
    (void)takes_place(j, &cert);
    cs_judge_put_certificate(j, &cert);
    put_material(j, cert.id);
    if (ev->data.upload.part[0].csr)
        cs_csr_used(j, &cert);
    cs_key member;
    cs_state_add(j->state, cs_key_expiry(CS_NEW_KEY, ev->account),
                 cs_member_view(member, cert.summary.name, NULL, cert.id), cs_summary_ends(&cert.summary));
    if (replacement)
        cs_share_offer_all(j, &cert);
    cs_judge_tell(j, &cert.summary);
}

static void close_all(struct cs_judge *j, const struct cs_certificate *cert) {
    for (size_t i = 0; i < cert->shares_len; i++) {
        struct cs_share share;
        if (cs_judge_read_share(j, cs_key_share(CS_NEW_KEY, j->ev->account, cert->shares[i].share), &share))
            cs_share_close(j, &share, CS_CODE_SHARE_CLOSED);
    }
}

// A certificate that was shared in leaves the recipient's view, and its owner is told. An own
// certificate goes with its chain, sealed keys and shares. Its id stays as a tombstone.
void cs_effect_delete(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    if (ev->data.del.from[0]) {
        cs_judge_tell(j, &j->f.shared_in.summary);
        cs_shared_in_remove(j, &j->f.shared_in, CS_CODE_NONE);
        return;
    }
    cs_certificate_remove(j);
}

void cs_certificate_remove(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    const struct cs_certificate *cert = &j->f.cert;
    cs_judge_tell(j, &cert->summary);
    close_all(j, cert);
    cs_installed_end_certificate(j, cert);
    struct cs_certificate tombstone = {.deleted = true, .updated_ms = j->record->timestamp_ms};
    memcpy(tombstone.id, cert->id, sizeof(tombstone.id));
    cs_judge_put_certificate(j, &tombstone);
    cs_tombstone_add(j, cs_key_cert(CS_NEW_KEY, ev->account, cert->id));
    j->f.account.bytes -= held_bytes(j);
    j->f.account.tags -= (int64_t)cert->summary.tags.len;
    cs_issuers_remove(j, &j->f.material);
    cs_state_delete(j->state, cs_key_material(CS_NEW_KEY, ev->account, cert->id));
    cs_state_delete(j->state, cs_key_name(CS_NEW_KEY, ev->account, cert->summary.name));
    cs_key member;
    cs_member_view(member, cert->summary.name, NULL, cert->id);
    cs_state_remove(j->state, cs_key_view(CS_NEW_KEY, ev->account), member);
    cs_state_remove(j->state, cs_key_expiry(CS_NEW_KEY, ev->account), member);
    j->f.account.certificates--;
    cs_judge_put_account(j);
}
