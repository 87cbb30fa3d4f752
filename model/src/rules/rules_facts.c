// SPDX-License-Identifier: Apache-2.0
//
// The facts: all documents that the decision will read, as far as this can be foreseen. They are
// loaded in as few rounds as their references allow: a name leads to a certificate, a certificate
// to its shares.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "rules/rules_internal.h"

enum cs_look cs_judge_look(struct cs_judge *j, const char *key, struct cs_bytes *ret) {
    enum cs_look found = cs_state_get(j->state, key, ret);
    if (found == CS_NEEDED)
        j->needed = true;
    return found;
}

// Notes a document that will be read, or whose absence matters.
static void touch(struct cs_judge *j, const char *key) {
    struct cs_bytes value;
    (void)cs_judge_look(j, key, &value);
}

static void unreadable(struct cs_judge *j, const char *key) {
    cs_err_prepend(j->err, "document %s", key);
    j->failed = true;
}

#define DEFINE_READ(name, type, decode)                                                                      \
    bool cs_judge_read_##name(struct cs_judge *j, const char *key, struct type *ret) {                       \
        struct cs_bytes value;                                                                               \
        if (j->failed || cs_judge_look(j, key, &value) != CS_FOUND)                                          \
            return false;                                                                                    \
        if (decode(value, ret, j->err))                                                                      \
            return true;                                                                                     \
        unreadable(j, key);                                                                                  \
        return false;                                                                                        \
    }
bool cs_judge_keep_decoded(struct cs_judge *j, void **place, const void *decoded, size_t size) {
    void *copy = malloc(size);
    if (!copy) {
        cs_judge_fail_oom(j);
        return false;
    }
    memcpy(copy, decoded, size);
    *place = copy;
    return true;
}

// For documents that are read again and again. The decoded form is kept; it owns no memory.
#define DEFINE_READ_KEPT(name, type, decode)                                                                 \
    bool cs_judge_read_##name(struct cs_judge *j, const char *key, struct type *ret) {                       \
        struct cs_bytes value;                                                                               \
        void **kept = NULL;                                                                                  \
        enum cs_look found = j->failed ? CS_ABSENT : cs_state_look(j->state, key, &value, &kept);            \
        j->needed = j->needed || found == CS_NEEDED;                                                         \
        if (found != CS_FOUND)                                                                               \
            return false;                                                                                    \
        if (*kept) {                                                                                         \
            *ret = *(const struct type *)*kept;                                                              \
            return true;                                                                                     \
        }                                                                                                    \
        if (!decode(value, ret, j->err)) {                                                                   \
            unreadable(j, key);                                                                              \
            return false;                                                                                    \
        }                                                                                                    \
        return cs_judge_keep_decoded(j, kept, ret, sizeof *ret);                                             \
    }
DEFINE_READ_KEPT(system, cs_system, cs_system_decode)
DEFINE_READ_KEPT(trust, cs_trust_key, cs_trust_key_decode)
DEFINE_READ_KEPT(tombstones, cs_tombstones, cs_tombstones_decode)
DEFINE_READ(tombstone, cs_tombstone, cs_tombstone_decode)
DEFINE_READ_KEPT(account, cs_account, cs_account_decode)
DEFINE_READ_KEPT(agent, cs_agent, cs_agent_decode)
DEFINE_READ(stream, cs_stream, cs_stream_decode)
DEFINE_READ(certificate, cs_certificate, cs_certificate_decode)
DEFINE_READ(material, cs_material, cs_material_decode)
DEFINE_READ(issuer, cs_issuer, cs_issuer_decode)
DEFINE_READ(installed, cs_installed, cs_installed_decode)
DEFINE_READ(csr, cs_csr_entry, cs_csr_entry_decode)
DEFINE_READ(share, cs_share, cs_share_decode)
DEFINE_READ(share_in, cs_share_in, cs_share_in_decode)
DEFINE_READ(shared_in, cs_shared_in, cs_shared_in_decode)

void cs_judge_lacks(struct cs_judge *j, const char *key) {
    if (cs_judge_stopped(j))
        return;
    cs_err_set(j->err, CS_ERR_DAMAGED, CS_CODE_NONE, "the catalog lacks the document %s, which others name",
               key);
    j->failed = true;
}

bool cs_judge_read_id(struct cs_judge *j, const char *key, cs_uuid ret) {
    struct cs_bytes v;
    if (j->failed || cs_judge_look(j, key, &v) != CS_FOUND)
        return false;
    if (v.len != CS_UUID_LEN + 2 || v.data[0] != '"' || v.data[v.len - 1] != '"' ||
        !cs_uuid_valid((const char *)v.data + 1, CS_UUID_LEN)) {
        cs_err_set(j->err, CS_ERR_FATAL, CS_CODE_NONE,
                   "the catalog holds a document that this release cannot read: not an id");
        unreadable(j, key);
        return false;
    }
    memcpy(ret, v.data + 1, CS_UUID_LEN);
    ret[CS_UUID_LEN] = '\0';
    return true;
}

// A document without an id was not read.
void cs_facts_clear(struct cs_facts *f) {
    if (f->cert.id[0])
        cs_certificate_clear(&f->cert);
    if (f->csr.id[0])
        cs_csr_entry_clear(&f->csr);
    if (f->shared_in.share[0])
        cs_shared_in_clear(&f->shared_in);
}

// Who the kid is: root, or a key that root trusts, or a key of the account.
static void gather_signer(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    struct cs_facts *f = &j->f;
    cs_kid root;
    cs_pubkey_kid(j->ctx->root, root);
    if (strcmp(ev->kid, root) == 0) {
        f->signer = CS_SIGNER_ROOT;
        return;
    }
    struct cs_trust_key trust;
    bool trusted = cs_judge_read_trust(j, cs_key_trust(CS_NEW_KEY, ev->kid), &trust);
    bool enrolled =
        ev->account[0] && cs_judge_read_agent(j, cs_key_agent(CS_NEW_KEY, ev->account, ev->kid), &f->agent);
    if (trusted) {
        f->signer = CS_SIGNER_TRUSTED;
        f->role = trust.role;
        f->revoked = trust.removed_ms != 0;
        f->signer_key = trust.key;
        CS_COPY(f->label, trust.label);
    } else if (enrolled) {
        f->signer = CS_SIGNER_AGENT;
        f->revoked = f->agent.state != CS_AGENT_ENROLLED;
        f->signer_key = f->agent.key;
        CS_COPY(f->label, f->agent.label);
    }
}

// The partition that emits derived events numbers them, whichever service key signs; in each epoch from 1 on. What an enrolled key
// leaves is its account's, and ends with it. As long as it is not known who signed, it is most likely one of these.
static void name_stream(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    const struct cs_facts *f = &j->f;
    int32_t origin = cs_event_origin(ev);
    bool derived =
        origin >= 0 && (j->needed || (f->signer == CS_SIGNER_TRUSTED && f->role == CS_TRUST_SERVICE));
    int64_t epoch = cs_event_epoch(ev);
    if (derived && epoch > 0)
        snprintf(j->stream, sizeof(j->stream), "p%d.%" PRId64, (int)origin, epoch);
    else if (derived)
        snprintf(j->stream, sizeof(j->stream), "p%d", (int)origin);
    else if (f->signer == CS_SIGNER_AGENT || (f->signer == CS_SIGNER_NONE && ev->account[0]))
        cs_stream_of_agent(j->stream, ev->account, ev->kid);
    else
        CS_COPY(j->stream, ev->kid);
}

static void gather_stream(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    struct cs_facts *f = &j->f;
    name_stream(j);
    struct cs_stream stream;
    if (cs_judge_read_stream(j, cs_key_stream(CS_NEW_KEY, j->stream), &stream))
        f->watermark = stream.seq;
    if (ev->seq > f->watermark || f->signer == CS_SIGNER_NONE || cs_judge_stopped(j))
        return;
    // Only an event that comes again needs the index of what came before.
    int64_t seq = 0;
    enum cs_look found = cs_state_member(j->state, cs_key_seen(CS_NEW_KEY, j->stream), ev->id, &seq);
    f->remembered = found == CS_FOUND;
    j->needed = j->needed || found == CS_NEEDED;
}

static void gather_custodian(struct cs_judge *j) {
    struct cs_trust_key key;
    if (j->prepared->custodian[0] &&
        cs_judge_read_trust(j, cs_key_trust(CS_NEW_KEY, j->prepared->custodian), &key))
        j->f.custodian = key.role == CS_TRUST_CUSTODIAN && key.removed_ms == 0;
}

// The certificate by id. A deleted one does not count.
static void gather_certificate(struct cs_judge *j, const char *id) {
    struct cs_facts *f = &j->f;
    if (!cs_judge_read_certificate(j, cs_key_cert(CS_NEW_KEY, j->ev->account, id), &f->cert))
        return;
    f->has_cert = !f->cert.deleted;
    if (!f->name)
        f->name = f->cert.summary.name;
}

static void touch_shares(struct cs_judge *j, const char *to) {
    const struct cs_certificate *cert = &j->f.cert;
    for (size_t i = 0; j->f.has_cert && i < cert->shares_len; i++)
        if (!to || strcmp(cert->shares[i].to, to) == 0)
            touch(j, cs_key_share(CS_NEW_KEY, j->ev->account, cert->shares[i].share));
}

// What is kept with a certificate that is changed or deleted.
static void gather_material(struct cs_judge *j) {
    struct cs_facts *f = &j->f;
    if (!f->has_cert)
        return;
    const char *key = cs_key_material(CS_NEW_KEY, j->ev->account, f->cert.id);
    if (cs_judge_read_material(j, key, &f->material))
        cs_issuers_touch(j, &f->material);
    else
        cs_judge_lacks(j, key);
}

// Whether the upload brings the same certificate that has the name.
static void gather_same_leaf(struct cs_judge *j) {
    struct cs_facts *f = &j->f;
    const struct cs_cert_summary *s = &f->cert.summary;
    if (!f->has_cert || j->prepared->content_code != CS_CODE_NONE || s->leaves_len != j->prepared->leaves_len)
        return;
    for (size_t i = 0; i < s->leaves_len; i++)
        if (memcmp(s->leaves[i].sha256, j->prepared->leaf[i]->sha256, 32) != 0)
            return;
    f->same_leaf = true;
}

// The host that sent it: its key, or the first one of the line of rotated keys.
static const char *line_of(const struct cs_agent *agent, const char *kid) {
    return agent->first[0] ? agent->first : kid;
}

static void gather_installed(struct cs_judge *j) {
    struct cs_facts *f = &j->f;
    CS_COPY(f->host, line_of(&f->agent, j->ev->kid));
    if (f->has_cert)
        f->has_installed = cs_judge_read_installed(
            j, cs_key_installed(CS_NEW_KEY, j->ev->account, f->cert.id, f->host), &f->installed);
}

// An upload that tells its place comes from a host, which may replace only what it had.
static void gather_place(struct cs_judge *j) {
    struct cs_facts *f = &j->f;
    struct cs_agent by;
    if (j->ev->data.upload.place[0] == '\0')
        return;
    gather_installed(j);
    if (f->has_cert && !f->has_installed)
        f->sent_it = strcmp(f->cert.by, j->ev->kid) == 0 ||
                     (cs_judge_read_agent(j, cs_key_agent(CS_NEW_KEY, j->ev->account, f->cert.by), &by) &&
                      strcmp(line_of(&by, f->cert.by), f->host) == 0);
}

static void gather_upload(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    const struct cs_event_upload *up = &ev->data.upload;
    struct cs_facts *f = &j->f;
    gather_custodian(j);
    f->name = up->name;
    f->algorithm = up->algorithm;
    cs_uuid id;
    struct cs_bytes value;
    bool used = cs_judge_look(j, cs_key_cert(CS_NEW_KEY, ev->account, ev->subject), &value) == CS_FOUND;
    if (cs_judge_read_id(j, cs_key_name(CS_NEW_KEY, ev->account, up->name), id)) {
        gather_certificate(j, id);
        touch_shares(j, NULL);
        gather_same_leaf(j);
        gather_material(j);
    }
    cs_issuers_touch_sent(j);
    gather_place(j);
    f->id_used = used && !f->has_cert; // what has the name keeps its own id
    if (up->parts == 1 && up->part[0].csr && j->prepared->leaf[0]) {
        char spki[65];
        cs_hex_encode(j->prepared->leaf[0]->spki_sha256, 32, spki);
        f->has_csr = cs_judge_read_id(j, cs_key_csr_spki(CS_NEW_KEY, ev->account, spki), id) &&
                     cs_judge_read_csr(j, cs_key_csr(CS_NEW_KEY, ev->account, id), &f->csr);
    }
}

static void gather_revision(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    const struct cs_event_upload *up = &ev->data.upload;
    struct cs_facts *f = &j->f;
    cs_uuid id;
    gather_certificate(j, ev->subject);
    touch_shares(j, NULL);
    gather_same_leaf(j);
    if (up->parts > 0)
        gather_material(j);
    cs_issuers_touch_sent(j);
    if (!f->has_cert || !up->has_name || strcmp(up->name, f->cert.summary.name) == 0)
        return;
    f->renames = true;
    if (cs_name_valid(up->name, strlen(up->name), f->cert.summary.algorithm))
        f->name_used = cs_judge_read_id(j, cs_key_name(CS_NEW_KEY, ev->account, up->name), id);
}

static void gather_seen(struct cs_judge *j) {
    struct cs_facts *f = &j->f;
    const uint8_t *sha256 = j->ev->data.installed.sha256;
    gather_certificate(j, j->ev->subject);
    gather_installed(j);
    if (f->has_cert && memcmp(f->cert.summary.leaves[0].sha256, sha256, 32) == 0)
        f->seen_version = f->cert.summary.version;
    for (size_t i = 0; f->has_cert && f->seen_version == 0 && i < f->cert.old_len; i++)
        if (memcmp(f->cert.old[i].sha256, sha256, 32) == 0)
            f->seen_version = f->cert.old[i].version;
}

static void gather_gone(struct cs_judge *j) {
    gather_certificate(j, j->ev->subject);
    gather_installed(j);
    if (j->ev->data.installed.remove)
        gather_material(j);
}

// Whether the view holds this certificate as shared in.
static void gather_reshare(struct cs_judge *j) {
    const struct cs_member *members = NULL;
    size_t n = 0;
    enum cs_look found = cs_state_list(j->state, cs_key_view(CS_NEW_KEY, j->ev->account), &members, &n);
    j->needed = j->needed || found == CS_NEEDED;
    for (size_t i = 0; found == CS_FOUND && i < n; i++) {
        const char *kind = strchr(members[i].name, '/');
        const char *id = strrchr(members[i].name, '/');
        if (kind && strncmp(kind, "/s/", 3) == 0 && strcmp(id + 1, j->ev->subject) == 0)
            j->f.shared_in_only = true;
    }
}

static void gather_csr_add(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    struct cs_facts *f = &j->f;
    struct cs_bytes value;
    gather_custodian(j);
    f->name = ev->data.csr.name;
    f->algorithm = CS_ALGORITHM_INTERNATIONAL; // requests are
    f->id_used = cs_judge_look(j, cs_key_csr(CS_NEW_KEY, ev->account, ev->subject), &value) == CS_FOUND;
    f->csr_named =
        cs_judge_look(j, cs_key_csr_name(CS_NEW_KEY, ev->account, ev->data.csr.name), &value) == CS_FOUND;
    if (!j->prepared->csr)
        return;
    char spki[65];
    cs_uuid id;
    cs_hex_encode(j->prepared->csr->spki_sha256, 32, spki);
    f->has_csr = cs_judge_read_id(j, cs_key_csr_spki(CS_NEW_KEY, ev->account, spki), id) &&
                 cs_judge_read_csr(j, cs_key_csr(CS_NEW_KEY, ev->account, id), &f->csr);
    f->id_used = f->id_used && !f->has_csr; // the same request again changes nothing
}

static void gather_csr_delete(struct cs_judge *j) {
    struct cs_facts *f = &j->f;
    f->has_csr = cs_judge_read_csr(j, cs_key_csr(CS_NEW_KEY, j->ev->account, j->ev->subject), &f->csr) &&
                 !f->csr.deleted;
    f->name = f->csr.name;
}

static void gather_target(struct cs_judge *j) {
    struct cs_bytes value;
    cs_kid root;
    cs_pubkey_kid(j->ctx->root, root);
    j->f.subject_trusted = cs_judge_look(j, cs_key_trust(CS_NEW_KEY, j->ev->subject), &value) == CS_FOUND ||
                           strcmp(root, j->ev->subject) == 0;
    j->f.has_target =
        cs_judge_read_agent(j, cs_key_agent(CS_NEW_KEY, j->ev->account, j->ev->subject), &j->f.target);
}

// A key that another key names must be there.
static void read_of_line(struct cs_judge *j, const char *kid, struct cs_agent *ret) {
    const char *key = cs_key_agent(CS_NEW_KEY, j->ev->account, kid);
    if (!cs_judge_read_agent(j, key, ret))
        cs_judge_lacks(j, key);
}

// The signer's line of rotated keys goes on.
static void gather_rotation(struct cs_judge *j) {
    struct cs_facts *f = &j->f;
    gather_target(j);
    if (f->signer != CS_SIGNER_AGENT || f->agent.first[0] == '\0')
        return;
    CS_COPY(f->first_kid, f->agent.first);
    read_of_line(j, f->first_kid, &f->first);
}

// What a revoked key was rotated to, at the end of its line.
static void gather_revocation(struct cs_judge *j) {
    struct cs_facts *f = &j->f;
    gather_target(j);
    if (f->has_target)
        cs_installed_touch_host(j, line_of(&f->target, j->ev->subject));
    if (!f->has_target || f->target.state != CS_AGENT_ROTATED)
        return;
    struct cs_agent first = f->target;
    if (f->target.first[0])
        read_of_line(j, f->target.first, &first);
    if (cs_judge_stopped(j))
        return;
    CS_COPY(f->latest_kid, first.latest);
    read_of_line(j, f->latest_kid, &f->latest);
}

static void gather_account_update(struct cs_judge *j) {
    struct cs_facts *f = &j->f;
    if (!f->has_account || !cs_account_ends_shares(&f->account, &j->ev->data.account))
        return;
    const struct cs_member *members = NULL;
    size_t n = 0;
    enum cs_look found = cs_state_list(j->state, cs_key_shares(CS_NEW_KEY, j->ev->account), &members, &n);
    j->needed = j->needed || found == CS_NEEDED;
    f->ends_shares = found == CS_FOUND ? n : 0;
}

static void gather_trust(struct cs_judge *j) {
    cs_kid root;
    cs_pubkey_kid(j->ctx->root, root);
    j->f.subject_trusted = cs_judge_read_trust(j, cs_key_trust(CS_NEW_KEY, j->ev->subject), &j->f.trust) ||
                           strcmp(root, j->ev->subject) == 0;
}

static void gather_share(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    struct cs_facts *f = &j->f;
    struct cs_bytes value;
    gather_certificate(j, ev->subject);
    f->id_used = cs_judge_look(j, cs_key_share(CS_NEW_KEY, ev->account, ev->id), &value) == CS_FOUND;
    if (!cs_judge_stopped(j) && !f->has_cert)
        gather_reshare(j);
}

static void gather_unshare(struct cs_judge *j) {
    gather_certificate(j, j->ev->subject);
    touch_shares(j, j->ev->data.share.to);
}

static void gather_delete(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    struct cs_facts *f = &j->f;
    if (ev->data.del.from[0]) {
        f->has_shared_in = cs_judge_read_shared_in(
            j, cs_key_shared_in(CS_NEW_KEY, ev->account, ev->data.del.from, ev->subject), &f->shared_in);
        f->name = f->shared_in.summary.name;
        return;
    }
    gather_certificate(j, ev->subject);
    gather_material(j);
    if (f->has_cert)
        cs_installed_touch_certificate(j, &f->cert);
    if (ev->data.del.cascade)
        touch_shares(j, NULL);
}

static void gather_answer(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    struct cs_facts *f = &j->f;
    f->has_share =
        cs_judge_read_share(j, cs_key_share(CS_NEW_KEY, ev->account, ev->data.answer.share), &f->share) &&
        strcmp(f->share.to, ev->data.answer.recipient) == 0 && strcmp(f->share.certificate, ev->subject) == 0;
    touch(j, cs_key_outcome(CS_NEW_KEY, ev->account, ev->data.answer.share));
    gather_certificate(j, ev->subject);
}

static void gather_share_in(struct cs_judge *j, const char *share, const char *owner_account) {
    const struct cs_event *ev = j->ev;
    struct cs_facts *f = &j->f;
    f->has_share_in =
        cs_judge_read_share_in(j, cs_key_share_in(CS_NEW_KEY, ev->account, share), &f->share_in);
    f->has_shared_in = cs_judge_read_shared_in(
        j, cs_key_shared_in(CS_NEW_KEY, ev->account, owner_account, ev->subject), &f->shared_in);
}

static void gather_offer(struct cs_judge *j) {
    gather_share_in(j, j->ev->data.offer.share, j->ev->data.offer.owner_account);
}

static void gather_withdraw(struct cs_judge *j) {
    gather_share_in(j, j->ev->data.withdraw.share, j->ev->data.withdraw.owner_account);
}

static void gather_nothing(struct cs_judge *j) {
    (void)j;
}

typedef void gather_fn(struct cs_judge *j);
static gather_fn *const gather[CS_EVENT_TYPE_END] = {
#define X(symbol, name, since, place, fields, sender, prepare, reads, ...)                                   \
    [CS_EVENT_##symbol] = gather_##reads,
    CS_EVENT_TYPES(X)
#undef X
};

void cs_facts_signer(struct cs_judge *j) {
    gather_signer(j);
    gather_stream(j);
}

void cs_facts_subject(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    if (ev->account[0])
        j->f.has_account = cs_judge_read_account(j, cs_key_account(CS_NEW_KEY, ev->account), &j->f.account);
    gather[ev->type](j);
}
