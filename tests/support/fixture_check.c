// SPDX-License-Identifier: Apache-2.0
//
// What is looked at afterwards: verdicts, documents, dumps, and that everything that a catalog says twice
// agrees.
#define _GNU_SOURCE // memmem
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "fixture_internal.h"

void fx_assert_verdict_(const struct cs_verdict *v, enum cs_status status, enum cs_code code,
                        const char *file, int line) {
    if (v->status == status && v->code == code)
        return;
    print_error("%s:%d: %s %s (%s), expected %s %s\n", file, line, cs_status_name(v->status),
                cs_code_name(v->code), v->detail, cs_status_name(status), cs_code_name(code));
    fail();
}

struct cs_bytes fx_doc(struct fx *fx, const char *account, const char *key) {
    struct cs_bytes v = {NULL, 0};
    struct cs_state *s = fx->partition[fx_partition_of(fx, account)].state;
    if (cs_state_get(s, key, &v) != CS_FOUND)
        return (struct cs_bytes){NULL, 0};
    return v;
}

bool fx_in_index(struct fx *fx, const char *account, const char *key, const char *member,
                 int64_t *ret_score) {
    int64_t score = 0;
    struct cs_state *s = fx->partition[fx_partition_of(fx, account)].state;
    if (cs_state_member(s, key, member, &score) != CS_FOUND)
        return false;
    if (ret_score)
        *ret_score = score;
    return true;
}

static bool dump_doc(void *arg, const char *key, struct cs_bytes value) {
    cs_buf_printf(arg, "%s = %.*s\n", key, (int)value.len, (const char *)value.data);
    return true;
}

static bool dump_index(void *arg, const char *key, const struct cs_member *members, size_t n) {
    cs_buf_printf(arg, "%s :", key);
    for (size_t i = 0; i < n; i++)
        cs_buf_printf(arg, " %s@%" PRId64, members[i].name, members[i].score);
    cs_buf_putc(arg, '\n');
    return true;
}

void fx_dump(const struct cs_state *s, struct cs_buf *out) {
    assert_true(cs_state_each(s, dump_doc, dump_index, out));
    assert_false(out->failed);
}

// ---- apply

static void put_doc(struct cs_state *s, const char *key, struct cs_bytes outcome,
                    const struct cs_conclusion *c, const char *by, int64_t n) {
    struct cs_buf b;
    cs_buf_init(&b, 1 << 20);
    cs_outcome_doc_encode(&b, outcome, c, by, n);
    assert_false(b.failed);
    cs_state_put(s, key, cs_buf_bytes(&b));
    cs_buf_clear(&b);
}

static bool waits(struct cs_bytes doc) {
    static const char pending[] = "\"data\":{\"status\":\"pending\"", final[] = "},\"final\":{";
    return memmem(doc.data, doc.len, pending, sizeof pending - 1) &&
           !memmem(doc.data, doc.len, final, sizeof final - 1);
}

static void keep_newest(struct cs_state *s, const char *account, const char *member, int64_t n) {
    char key[CS_STATE_KEY_MAX + 1];
    snprintf(key, sizeof(key), "outcomes/%s", account);
    cs_state_add(s, key, member, n);
    cs_state_trim(s, key, CS_OUTCOMES_KEPT);
}

static void conclude(struct cs_state *s, const struct cs_conclusion *c, const char *by, int64_t n) {
    char key[CS_STATE_KEY_MAX + 1];
    snprintf(key, sizeof(key), "outcome/%s/%s", c->account, c->event);
    struct cs_bytes doc;
    enum cs_look found = cs_state_get(s, key, &doc);
    assert_int_not_equal(found, CS_NEEDED); // cs_decide has asked for it
    if (found != CS_FOUND || !waits(doc))
        return;
    // {"outcome":{...}} without what is around the outcome.
    static const char start[] = "{\"outcome\":";
    size_t at = sizeof(start) - 1;
    assert_memory_equal(doc.data, start, at);
    char *copy = malloc(doc.len);
    assert_non_null(copy);
    memcpy(copy, doc.data + at, doc.len - at - 1);
    put_doc(s, key, (struct cs_bytes){(uint8_t *)copy, doc.len - at - 1}, c, by, n);
    free(copy);
    snprintf(key, sizeof(key), "outcomes/%s", c->account);
    char awaited[CS_UUID_LEN + sizeof("/awaited")];
    snprintf(awaited, sizeof(awaited), "%s/awaited", c->event);
    cs_state_remove(s, key, awaited);
    keep_newest(s, c->account, c->event, n);
}

static void keep_outcome(struct cs_state *s, const struct cs_event *ev, const struct cs_verdict *v,
                         struct cs_bytes outcome, int64_t n) {
    char key[CS_STATE_KEY_MAX + 1];
    struct cs_bytes there;
    bool again = v->code == CS_CODE_EVENT_REPLAYED || v->code == CS_CODE_EVENT_REVOKED_SIGNER;
    const char *member = again ? "/again" : "";
    snprintf(key, sizeof(key), "outcome/%s/%s%s", ev->account, ev->id, member);
    if (ev->type == CS_EVENT_CERTIFICATE_SHARE && !again) {
        enum cs_look found = cs_state_get(s, key, &there);
        assert_int_not_equal(found, CS_NEEDED); // cs_decide has asked for it
        if (found == CS_FOUND && waits(there))
            return;
    }
    put_doc(s, key, outcome, NULL, NULL, 0);
    if (v->status == CS_STATUS_PENDING)
        member = "/awaited";
    snprintf(key, sizeof(key), "%s%s", ev->id, member);
    keep_newest(s, ev->account, key, n);
}

void fx_apply(struct fx_partition *p, struct cs_crypto *crypto, int32_t partition, const struct cs_record *r,
              const struct cs_prepared *prepared, const struct cs_decision *d, struct cs_buf *out) {
    const struct cs_event *ev = prepared->event;
    const struct cs_verdict *v = &d->verdict;
    struct cs_outcome o = {.n = ++p->outcomes,
                           .verdict = *v,
                           .partition = partition,
                           .offset = r->offset,
                           .time_ms = r->timestamp_ms,
                           .log_id = FX_LOG};
    cs_outcome_set_id(crypto, &o);
    memcpy(o.record_sha256, prepared->record_sha256, 32);
    memcpy(o.prev_sha256, p->chain_sha256, 32);
    if (ev) {
        o.type = ev->type;
        o.seq = ev->seq;
        CS_COPY_TEXT(o.event, ev->id);
        CS_COPY_TEXT(o.account, ev->account);
        CS_COPY_TEXT(o.kid, ev->kid);
    }
    cs_outcome_encode(out, &o);
    assert_false(out->failed);
    struct cs_bytes outcome = cs_buf_bytes(out);
    cs_crypto_sha256(crypto, outcome, p->chain_sha256);
    cs_state_begin(p->state);
    if (v->signer_known && ev->account[0] && v->status != CS_STATUS_DUPLICATE && !v->leaves_nothing &&
        !(cs_event_origin(ev) >= 0 && v->status == CS_STATUS_REJECTED))
        keep_outcome(p->state, ev, v, outcome, o.n);
    for (size_t i = 0; i < v->concludes_len; i++)
        conclude(p->state, &v->concludes[i], ev->id, o.n);
    struct cs_err err;
    assert_true(cs_state_keep(p->state, &err));
}

// ---- invariants

struct tally {
    struct fx *fx;
    struct cs_state *s;
    size_t live, tombstones, places, names, materials, views, expiries, own_shares, in_shares, out_members,
        in_members;
    size_t csrs, csr_spkis, csr_names, csr_members, refs;
    size_t trusted, trusted_members, accounts, account_members;
    size_t keys, key_members, streams; // streams: of enrolled keys
    // documents of installations, what account documents and certificates count, and both indexes' members
    int64_t installed, installed_of_accounts, installed_of_certificates, hosts, of_hosts;
    struct cs_tombstones queue;
    size_t issuers_len;
    struct {
        cs_issuer_id id;
        int64_t unseen; // uses that no material was seen to make
    } issuers[64];
};

static const char *part_of(const char *key, size_t n, char ret[CS_STATE_KEY_MAX + 1]) {
    for (; n > 0; n--)
        key = strchr(key, '/') + 1;
    size_t len = strcspn(key, "/");
    memcpy(ret, key, len);
    ret[len] = '\0';
    return ret;
}

static bool starts(const char *key, const char *with) {
    return strncmp(key, with, strlen(with)) == 0;
}

static void check_issuer(struct tally *t, const char *id, struct cs_bytes v) {
    struct cs_issuer issuer;
    struct cs_err err;
    uint8_t der[CS_EVENT_MAX], hash[32];
    size_t len = 0;
    cs_issuer_id found;
    assert_true(cs_issuer_decode(v, &issuer, &err));
    assert_true(issuer.der.len < sizeof der);
    assert_true(cs_base64_decode((const char *)issuer.der.data, issuer.der.len, der, &len));
    cs_crypto_sha256(t->fx->crypto, (struct cs_bytes){der, len}, hash);
    cs_hex_encode(hash, sizeof hash, found);
    assert_string_equal(found, id);
    assert_true(t->issuers_len < CS_ARRAY_LEN(t->issuers));
    memcpy(t->issuers[t->issuers_len].id, found, sizeof found);
    t->issuers[t->issuers_len++].unseen = issuer.used;
}

// Comes after all issuers, by the order of the keys.
static void check_material(struct tally *t, struct cs_bytes v) {
    struct cs_material m;
    struct cs_err err;
    assert_true(cs_material_decode(v, &m, &err));
    for (size_t i = 0; i < m.len; i++)
        for (size_t k = 0; k < m.part[i].issuers_len; k++) {
            size_t at = 0;
            while (at < t->issuers_len && strcmp(t->issuers[at].id, m.part[i].issuers[k]) != 0)
                at++;
            assert_true(at < t->issuers_len);
            t->issuers[at].unseen--;
        }
}

// The line's first key leads to its last one, as long as that lives.
static bool line_lives(struct tally *t, const char *account, const struct cs_agent *first) {
    struct cs_agent latest;
    struct cs_bytes v;
    struct cs_err err;
    if (first->first[0] || !first->latest[0])
        return false;
    enum cs_look found = cs_state_get(t->s, fx_text(t->fx, "key/%s/%s", account, first->latest), &v);
    if (found == CS_ABSENT)
        return false;
    assert_true(cs_agent_decode(v, &latest, &err));
    return latest.state == CS_AGENT_ENROLLED;
}

static void check_agent(struct tally *t, const char *account, const struct cs_agent *a) {
    bool lives = a->state == CS_AGENT_ENROLLED && a->uses_left != 0;
    t->tombstones += !lives && !line_lives(t, account, a);
    t->keys++;
}

static void check_certificate(struct tally *t, const char *account, const struct cs_certificate *c) {
    char key[600];
    struct cs_bytes v;
    int64_t score = 0, ends = INT64_MAX;
    snprintf(key, sizeof(key), "material/%s/%s", account, c->id);
    assert_int_equal(cs_state_get(t->s, key, &v), c->deleted ? CS_ABSENT : CS_FOUND);
    if (c->deleted) {
        t->tombstones++;
        return;
    }
    t->live++;
    t->refs += c->shares_len;
    t->installed_of_certificates += cs_certificate_hosts(c);
    assert_int_equal(c->older_ends_s != 0, c->older_installed > 0);
    snprintf(key, sizeof(key), "name/%s/%s", account, c->summary.name);
    assert_int_equal(cs_state_get(t->s, key, &v), CS_FOUND);
    assert_memory_equal(v.data + 1, c->id, CS_UUID_LEN);
    for (size_t i = 0; i < c->summary.leaves_len; i++)
        if (c->summary.leaves[i].not_after_s < ends)
            ends = c->summary.leaves[i].not_after_s;
    const char *member = fx_text(t->fx, "%s/c/%s", c->summary.name, c->id);
    assert_int_equal(cs_state_member(t->s, fx_text(t->fx, "view/%s", account), member, &score), CS_FOUND);
    assert_int_equal(cs_state_member(t->s, fx_text(t->fx, "expiry/%s", account), member, &score), CS_FOUND);
    assert_int_equal(score, ends);
    for (size_t i = 0; i < c->shares_len; i++) {
        struct cs_share share;
        struct cs_err err;
        snprintf(key, sizeof(key), "share/%s/%s", account, c->shares[i].share);
        assert_int_equal(cs_state_get(t->s, key, &v), CS_FOUND);
        assert_true(cs_share_decode(v, &share, &err));
        assert_int_not_equal(share.state, CS_SHARE_CLOSED);
        assert_int_equal(share.version, c->summary.version);
        assert_string_equal(share.certificate, c->id);
        assert_string_equal(share.to, c->shares[i].to);
    }
}

// With no derived event under way a live share is open, at both ends, in the same version.
static void check_share(struct tally *t, const char *account, const struct cs_share *share) {
    int64_t score = 0;
    bool live = share->state != CS_SHARE_CLOSED;
    assert_int_equal(cs_state_member(t->s, fx_text(t->fx, "shares/%s", account),
                                     fx_text(t->fx, "out/%s", share->id), &score),
                     live ? CS_FOUND : CS_ABSENT);
    struct cs_bytes v = fx_doc(t->fx, share->to, fx_text(t->fx, "share-in/%s/%s", share->to, share->id));
    struct cs_share_in in = {.open = false};
    struct cs_err err;
    if (v.data)
        assert_true(cs_share_in_decode(v, &in, &err));
    assert_int_equal(live, in.open);
    if (!live)
        return;
    t->own_shares++;
    assert_int_equal(share->state, CS_SHARE_OPEN);
    assert_int_equal(share->accepted, share->version);
    v = fx_doc(t->fx, share->to,
               fx_text(t->fx, "shared-in/%s/%s/%s", share->to, account, share->certificate));
    assert_non_null(v.data);
    struct cs_shared_in entry;
    assert_true(cs_shared_in_decode(v, &entry, &err));
    assert_string_equal(entry.share, share->id);
    assert_int_equal(entry.summary.version, share->version);
    cs_shared_in_clear(&entry);
}

static void check_shared_in(struct tally *t, const char *account, const struct cs_shared_in *entry) {
    int64_t score = 0;
    const char *member =
        fx_text(t->fx, "%s/s/%s/%s", entry->summary.name, entry->owner_account, entry->certificate);
    assert_int_equal(cs_state_member(t->s, fx_text(t->fx, "view/%s", account), member, &score), CS_FOUND);
    assert_int_equal(cs_state_member(t->s, fx_text(t->fx, "expiry/%s", account), member, &score), CS_FOUND);
    assert_int_equal(cs_state_member(t->s, fx_text(t->fx, "shares/%s", account),
                                     fx_text(t->fx, "in/%s", entry->share), &score),
                     CS_FOUND);
    struct cs_bytes v = fx_doc(t->fx, entry->owner_account,
                               fx_text(t->fx, "share/%s/%s", entry->owner_account, entry->share));
    assert_non_null(v.data);
    t->in_shares++;
}

// What the account's document counts, counted.
static void check_counts(struct tally *t, const char *account, const struct cs_account *a) {
    const struct cs_member *members = NULL;
    size_t n = 0;
    int64_t out = 0, in = 0, keys = 0, tokens = 0;
    if (cs_state_list(t->s, fx_text(t->fx, "csrs/%s", account), &members, &n) != CS_FOUND)
        n = 0;
    assert_int_equal(a->requests, n);
    if (cs_state_list(t->s, fx_text(t->fx, "shares/%s", account), &members, &n) == CS_FOUND)
        for (size_t i = 0; i < n; i++) {
            out += starts(members[i].name, "out/");
            in += starts(members[i].name, "in/");
        }
    assert_int_equal(a->shares_out, out);
    assert_int_equal(a->shares_in, in);
    if (cs_state_list(t->s, fx_text(t->fx, "keys/%s", account), &members, &n) != CS_FOUND)
        n = 0;
    for (size_t i = 0; i < n; i++) {
        struct cs_bytes v;
        struct cs_agent agent;
        struct cs_err err;
        const char *key = fx_text(t->fx, "key/%s/%s", account, members[i].name);
        assert_int_equal(cs_state_get(t->s, key, &v), CS_FOUND);
        assert_true(cs_agent_decode(v, &agent, &err));
        bool lives = agent.state == CS_AGENT_ENROLLED, token = agent.can & CS_CAN_ENROLL;
        keys += lives && !token;
        tokens += lives && token && agent.uses_left != 0;
    }
    assert_int_equal(a->keys, keys);
    assert_int_equal(a->tokens, tokens);
}

static int64_t decoded_len(struct cs_bytes text) {
    uint8_t *bytes = malloc(cs_base64_decoded_max(text.len) + 1);
    size_t len = 0;
    assert_non_null(bytes);
    assert_true(cs_base64_decode((const char *)text.data, text.len, bytes, &len));
    free(bytes);
    return (int64_t)len;
}

static int64_t bytes_of_certificate(struct tally *t, const char *account, const char *id) {
    struct cs_material m;
    struct cs_err err;
    struct cs_bytes v;
    int64_t bytes = 0;
    assert_int_equal(cs_state_get(t->s, fx_text(t->fx, "material/%s/%s", account, id), &v), CS_FOUND);
    assert_true(cs_material_decode(v, &m, &err));
    for (size_t i = 0; i < m.len; i++) {
        bytes += decoded_len(m.part[i].leaf) + decoded_len(m.part[i].key);
        for (size_t k = 0; k < m.part[i].issuers_len; k++) {
            struct cs_issuer issuer;
            assert_int_equal(cs_state_get(t->s, fx_text(t->fx, "issuer/%s", m.part[i].issuers[k]), &v),
                             CS_FOUND);
            assert_true(cs_issuer_decode(v, &issuer, &err));
            bytes += decoded_len(issuer.der);
        }
    }
    return bytes;
}

// The bytes and tags of what lives.
static void check_size(struct tally *t, const char *account, const struct cs_account *a) {
    const struct cs_member *members = NULL;
    struct cs_err err;
    struct cs_bytes v;
    size_t n = 0;
    int64_t bytes = 0, tags = 0;
    if (cs_state_list(t->s, fx_text(t->fx, "view/%s", account), &members, &n) != CS_FOUND)
        n = 0;
    for (size_t i = 0; i < n; i++) {
        if (!strstr(members[i].name, "/c/"))
            continue;
        const char *id = strrchr(members[i].name, '/') + 1;
        struct cs_certificate c;
        assert_int_equal(cs_state_get(t->s, fx_text(t->fx, "cert/%s/%s", account, id), &v), CS_FOUND);
        assert_true(cs_certificate_decode(v, &c, &err));
        tags += (int64_t)c.summary.tags.len;
        cs_certificate_clear(&c);
        bytes += bytes_of_certificate(t, account, id);
    }
    if (cs_state_list(t->s, fx_text(t->fx, "csrs/%s", account), &members, &n) != CS_FOUND)
        n = 0;
    for (size_t i = 0; i < n; i++) {
        const char *id = strrchr(members[i].name, '/') + 1;
        struct cs_csr_entry csr;
        assert_int_equal(cs_state_get(t->s, fx_text(t->fx, "csr/%s/%s", account, id), &v), CS_FOUND);
        assert_true(cs_csr_entry_decode(v, &csr, &err));
        bytes += (int64_t)(csr.der.len + csr.key.len);
        cs_csr_entry_clear(&csr);
    }
    assert_int_equal(a->bytes, bytes);
    assert_int_equal(a->tags, tags);
}

// The certificate counts the host with its lowest version, and both indexes have it.
static void check_installed(struct tally *t, const char *key, struct cs_bytes v) {
    struct cs_installed in;
    struct cs_certificate c;
    struct cs_err err;
    cs_key account, id, host, member;
    int64_t score = 0, counted = 0;
    part_of(key, 1, account);
    part_of(key, 2, id);
    part_of(key, 3, host);
    assert_true(cs_installed_decode(v, &in, &err));
    int64_t lowest = cs_installed_lowest(&in);
    assert_int_equal(cs_state_get(t->s, fx_text(t->fx, "cert/%s/%s", account, id), &v), CS_FOUND);
    assert_true(cs_certificate_decode(v, &c, &err));
    counted = lowest == c.summary.version ? c.installed : c.older_installed;
    for (size_t i = 0; i < c.old_len; i++)
        if (c.old[i].version == lowest)
            counted = c.old[i].installed;
    assert_true(counted > 0);
    cs_certificate_clear(&c);
    assert_int_equal(cs_state_member(t->s, fx_text(t->fx, "hosts/%s/%s", account, id),
                                     cs_member_host(member, lowest, host), &score),
                     CS_FOUND);
    assert_int_equal(cs_state_member(t->s, fx_text(t->fx, "installations/%s/%s", account, host), id, &score),
                     CS_FOUND);
    t->installed++;
}

static void check_account(struct tally *t, const char *account, const struct cs_account *a) {
    check_counts(t, account, a);
    check_size(t, account, a);
    t->installed_of_accounts += a->installations;
    const struct cs_member *members = NULL;
    size_t n = 0;
    int64_t own = 0;
    if (cs_state_list(t->s, fx_text(t->fx, "view/%s", account), &members, &n) == CS_FOUND)
        for (size_t i = 0; i < n; i++)
            own += strstr(members[i].name, "/c/") != NULL;
    assert_int_equal(a->certificates, own);
}

static bool check_doc(void *arg, const char *key, struct cs_bytes v) {
    struct tally *t = arg;
    struct cs_err err;
    char account[CS_STATE_KEY_MAX + 1];
    if (starts(key, "cert/")) {
        struct cs_certificate c;
        assert_true(cs_certificate_decode(v, &c, &err));
        check_certificate(t, part_of(key, 1, account), &c);
        cs_certificate_clear(&c);
    } else if (starts(key, "share/")) {
        struct cs_share share;
        assert_true(cs_share_decode(v, &share, &err));
        check_share(t, part_of(key, 1, account), &share);
        t->tombstones += share.state == CS_SHARE_CLOSED;
    } else if (starts(key, "shared-in/")) {
        struct cs_shared_in entry;
        assert_true(cs_shared_in_decode(v, &entry, &err));
        check_shared_in(t, part_of(key, 1, account), &entry);
        cs_shared_in_clear(&entry);
    } else if (starts(key, "account/")) {
        struct cs_account a;
        assert_true(cs_account_decode(v, &a, &err));
        check_account(t, part_of(key, 1, account), &a);
    } else if (starts(key, "key/")) {
        struct cs_agent a;
        assert_true(cs_agent_decode(v, &a, &err));
        check_agent(t, part_of(key, 1, account), &a);
    } else if (starts(key, "stream/")) {
        t->streams += strchr(key + strlen("stream/"), '/') != NULL;
    } else if (starts(key, "tombstone/")) {
        struct cs_tombstone place;
        assert_true(cs_tombstone_decode(v, &place, &err));
        assert_int_equal(cs_state_get(t->s, place.key, &v), CS_FOUND);
        t->places++;
    } else if (strcmp(key, "tombstones") == 0) {
        assert_true(cs_tombstones_decode(v, &t->queue, &err));
    } else if (starts(key, "installed/")) {
        check_installed(t, key, v);
    } else if (starts(key, "issuer/")) {
        check_issuer(t, key + strlen("issuer/"), v);
    } else if (starts(key, "material/")) {
        check_material(t, v);
    } else if (starts(key, "csr/")) {
        struct cs_csr_entry c;
        assert_true(cs_csr_entry_decode(v, &c, &err));
        t->csrs += !c.deleted;
        t->tombstones += c.deleted;
        cs_csr_entry_clear(&c);
    }
    t->trusted += starts(key, "trust/");
    t->accounts += starts(key, "account/");
    t->names += starts(key, "name/");
    t->materials += starts(key, "material/");
    t->csr_spkis += starts(key, "csr-spki/");
    t->csr_names += starts(key, "csr-name/");
    return true;
}

static bool check_index(void *arg, const char *key, const struct cs_member *members, size_t n) {
    struct tally *t = arg;
    if (starts(key, "view/"))
        t->views += n;
    if (starts(key, "expiry/"))
        t->expiries += n;
    if (starts(key, "csrs/"))
        t->csr_members += n;
    if (starts(key, "hosts/"))
        t->hosts += (int64_t)n;
    if (starts(key, "installations/"))
        t->of_hosts += (int64_t)n;
    if (starts(key, "seen/"))
        assert_true(n <= CS_SEEN_MAX);
    if (starts(key, "keys/"))
        t->key_members += n;
    if (strcmp(key, "trusted") == 0)
        t->trusted_members += n;
    if (strcmp(key, "accounts") == 0)
        t->account_members += n;
    for (size_t i = 0; starts(key, "shares/") && i < n; i++) {
        t->out_members += starts(members[i].name, "out/");
        t->in_members += starts(members[i].name, "in/");
    }
    return true;
}

void fx_check_invariants(struct fx *fx) {
    assert_int_equal(fx_waiting(fx), 0);
    size_t own = 0, in = 0;
    for (int32_t i = 0; i < fx->partitions; i++) {
        struct tally t = {.fx = fx, .s = fx->partition[i].state};
        assert_true(cs_state_each(t.s, check_doc, check_index, &t));
        assert_int_equal(t.trusted_members, t.trusted);
        assert_int_equal(t.account_members, t.accounts);
        assert_int_equal(t.key_members, t.keys);
        assert_true(t.streams <= t.keys);
        assert_int_equal(t.places, t.tombstones);
        assert_int_equal(t.queue.next - t.queue.first, t.tombstones);
        assert_int_equal(t.names, t.live);
        assert_int_equal(t.materials, t.live);
        assert_int_equal(t.views, t.live + t.in_shares);
        assert_int_equal(t.expiries, t.views);
        assert_int_equal(t.refs, t.own_shares);
        assert_int_equal(t.out_members, t.own_shares);
        assert_int_equal(t.in_members, t.in_shares);
        assert_int_equal(t.installed, t.installed_of_accounts);
        assert_int_equal(t.installed, t.installed_of_certificates);
        assert_int_equal(t.installed, t.hosts);
        assert_int_equal(t.installed, t.of_hosts);
        assert_int_equal(t.csrs, t.csr_spkis);
        assert_int_equal(t.csrs, t.csr_names);
        assert_int_equal(t.csrs, t.csr_members);
        for (size_t k = 0; k < t.issuers_len; k++)
            assert_int_equal(t.issuers[k].unseen, 0);
        own += t.own_shares;
        in += t.in_shares;
    }
    assert_int_equal(own, in);
}
