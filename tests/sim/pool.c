// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixture_internal.h"
#include "sim.h"

static struct sim_event *keep(struct sim_pool *p, int32_t partition, const struct cs_record *r) {
    struct sim_event *e = fx_alloc(p->fx, sizeof *e);
    memcpy(e->headers, r->headers, r->headers_len * sizeof *r->headers);
    e->record = *r;
    e->record.headers = e->headers;
    e->record.partition = partition;
    e->record.offset = 0;
    e->prepared = fx_prepare(p->fx, &e->record);
    return e;
}

// Each record that the fixture judges while the base is made.
static void on_decided(struct fx *fx, int32_t partition, const struct cs_record *r,
                       const struct cs_bytes *outcome) {
    struct sim_pool *p = fx->arg;
    (void)outcome;
    size_t n = p->base_len[partition]++;
    p->base[partition] = realloc(p->base[partition], (n + 1) * sizeof(struct sim_event *));
    p->base[partition][n] = keep(p, partition, r);
}

static struct sim_event *add_record(struct sim_pool *p, int32_t partition, const struct fx_record *r) {
    p->more = realloc(p->more, (p->more_len + 1) * sizeof(struct sim_event *));
    return p->more[p->more_len++] = keep(p, partition, &r->r);
}

static void add(struct sim_pool *p, struct fx_key *by, const struct cs_event *ev) {
    add_record(p, fx_partition_of(p->fx, ev->account), fx_record(p->fx, by, ev));
}

// An account in a partition.
static const char *name_in(struct sim_pool *p, int32_t partition, const char *start) {
    for (int i = 0;; i++) {
        const char *name = fx_text(p->fx, "%s%d", start, i);
        if (fx_partition_of(p->fx, name) == partition)
            return name;
    }
}

static void add_share(struct sim_pool *p, enum cs_event_type type, const char *account, struct fx_key *by,
                      const char *cert, const char *to) {
    struct cs_event ev = fx_event(p->fx, type, account, by, cert);
    CS_COPY_TEXT(ev.data.share.to, to);
    add(p, by, &ev);
}

static void add_owner(struct sim_pool *p, const char *account, const char *owner) {
    struct cs_event ev = fx_event(p->fx, CS_EVENT_ACCOUNT_UPDATE, account, p->fx->admin, account);
    ev.data.account.has_owner = true;
    CS_COPY_TEXT(ev.data.account.owner, owner);
    add(p, p->fx->admin, &ev);
}

// The same event twice, the same id under another number, and numbers that come too late.
static void add_repeated(struct sim_pool *p, const char *account, struct fx_key *by) {
    struct cs_event early = fx_event(p->fx, CS_EVENT_CERTIFICATE_DELETE, account, by, NULL);
    struct cs_event late = fx_event(p->fx, CS_EVENT_CERTIFICATE_DELETE, account, by, NULL);
    struct fx_record *r = fx_record(p->fx, by, &late);
    add_record(p, fx_partition_of(p->fx, account), r);
    add_record(p, fx_partition_of(p->fx, account), r);
    add(p, by, &early);
    early.seq = ++by->seq; // signed again, above the watermark
    add(p, by, &early);
}

static void add_garbage(struct sim_pool *p, const char *account, struct fx_key *by) {
    struct fx *fx = p->fx;
    int32_t home = fx_partition_of(fx, account);
    struct cs_bytes text = {(const uint8_t *)"not json", 8};
    add_record(p, home, fx_record_of(fx, by, account, text));
    struct fx_record *tombstone = fx_record_of(fx, by, account, text);
    tombstone->r.value = (struct cs_bytes){NULL, 0};
    add_record(p, home, tombstone);
    struct cs_event ev = fx_event(fx, CS_EVENT_CSR_DELETE, account, by, NULL); // of none
    add(p, by, &ev);
    ev = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, account, by, NULL);
    add_record(p, 1 - home, fx_record(fx, by, &ev)); // where it does not belong
    struct fx_key *stranger = fx_key_new(fx);
    ev = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, account, stranger, NULL);
    add(p, stranger, &ev);
}

static void make_events(struct sim_pool *p, const char *const accounts[3], struct fx_key *const agents[3],
                        const char *const certs[3]) {
    struct fx *fx = p->fx;
    // Owner to recipient: to another partition, back, within one, and to nobody.
    static const struct { int from, to; } shares[] = {{0, 1}, {1, 0}, {0, 2}, {2, 1}};
    for (int again = 0; again < 2; again++)
        for (size_t i = 0; i < CS_ARRAY_LEN(shares); i++) {
            int from = shares[i].from;
            const char *to = accounts[shares[i].to];
            add_share(p, CS_EVENT_CERTIFICATE_SHARE, accounts[from], agents[from], certs[from], to);
            add_share(p, CS_EVENT_CERTIFICATE_UNSHARE, accounts[from], agents[from], certs[from], to);
        }
    add_share(p, CS_EVENT_CERTIFICATE_SHARE, accounts[0], agents[0], certs[0], name_in(p, 1, "nobody"));
    add_owner(p, accounts[1], "somebody");
    add_owner(p, accounts[1], "owner");
    for (int i = 0; i < 3; i++) {
        struct cs_event ev = fx_upload(fx, accounts[i], agents[i], fx_uuid(fx), "own.example.com",
                                       fx_cert(fx, (struct fx_cert_how){0}));
        add(p, agents[i], &ev);
        add_repeated(p, accounts[i], agents[i]);
        add_garbage(p, accounts[i], agents[i]);
    }
    struct cs_event ev = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, accounts[0], agents[0], certs[0]);
    ev.data.del.cascade = true;
    add(p, agents[0], &ev);
}

void pool_make(struct sim_pool *p) {
    static const char *const starts[] = {"acme", "beta", "corp"};
    static const int32_t homes[] = {0, 1, 0};
    const char *accounts[3];
    struct fx_key *agents[3];
    const char *certs[3];
    *p = (struct sim_pool){.fx = fx_new(PARTITIONS)};
    p->fx->tell_keys = true;
    p->fx->on_decided = on_decided;
    p->fx->arg = p;
    memcpy(p->service_kid, p->fx->service->kid, sizeof p->service_kid);
    struct cs_err err;
    p->service.own = p->fx->service->priv; // borrowed
    if (!cs_outcome_marks_new(p->fx->crypto, &p->service, FX_LOG, &p->marks, &err))
        abort();
    fx_begin(p->fx);
    for (int i = 0; i < 3; i++) {
        accounts[i] = name_in(p, homes[i], starts[i]);
        fx_account(p->fx, accounts[i], "owner", CS_SITE_CN, true);
        agents[i] = fx_agent(p->fx, accounts[i], CS_CAN_UPLOAD | CS_CAN_DELETE | CS_CAN_SHARE, "*");
        certs[i] = fx_official(p->fx, accounts[i], "www.example.com");
    }
    make_events(p, accounts, agents, certs);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        struct cs_event ev = fx_event(p->fx, CS_EVENT_SYSTEM_RULESET, "", p->fx->root, FX_DEPLOYMENT);
        ev.data.ruleset.ruleset = CS_RULESET_LATEST + 1;
        p->unknown_ruleset[i] = keep(p, i, &fx_record(p->fx, p->fx->root, &ev)->r);
    }
}

struct sim_event *pool_derived(struct sim_pool *p, int32_t partition, struct cs_bytes key,
                               struct cs_bytes value, struct cs_bytes sig) {
    struct cs_err err;
    for (size_t i = 0; i < p->derived_len; i++) {
        const struct cs_record *r = &p->derived[i]->record;
        if (r->value.len == value.len && r->partition == partition &&
            memcmp(r->value.data, value.data, value.len) == 0)
            return p->derived[i];
    }
    if (p->derived_len == p->derived_cap) {
        p->derived_cap = p->derived_cap ? 2 * p->derived_cap : 64;
        p->derived = realloc(p->derived, p->derived_cap * sizeof(struct sim_event *));
    }
    struct sim_event *e = fx_alloc(p->fx, sizeof *e);
    struct cs_bytes *parts[] = {&key, &value, &sig};
    for (size_t i = 0; i < 3; i++) {
        uint8_t *copy = fx_alloc(p->fx, parts[i]->len);
        memcpy(copy, parts[i]->data, parts[i]->len);
        parts[i]->data = copy;
    }
    e->headers[0] =
        (struct cs_header){"content-type", {(const uint8_t *)CS_CONTENT_TYPE, strlen(CS_CONTENT_TYPE)}};
    e->headers[1] = (struct cs_header){CS_SIG_HEADER, sig};
    e->record = (struct cs_record){.partition = partition,
                                   .timestamp_ms = FX_NOW_MS,
                                   .key = key,
                                   .value = value,
                                   .headers = e->headers,
                                   .headers_len = 2};
    e->prepared = fx_prepare(p->fx, &e->record);
    (void)err;
    if (!e->prepared->sig_checked || !e->prepared->sig_good) {
        cs_prepared_free(e->prepared);
        return NULL;
    }
    return p->derived[p->derived_len++] = e;
}

void pool_free(struct sim_pool *p) {
    for (int32_t i = 0; i < PARTITIONS; i++) {
        for (size_t k = 0; k < p->base_len[i]; k++)
            cs_prepared_free(p->base[i][k]->prepared);
        cs_prepared_free(p->unknown_ruleset[i]->prepared);
        free(p->base[i]);
    }
    for (size_t i = 0; i < p->more_len; i++)
        cs_prepared_free(p->more[i]->prepared);
    for (size_t i = 0; i < p->derived_len; i++)
        cs_prepared_free(p->derived[i]->prepared);
    free(p->more);
    free(p->derived);
    cs_outcome_marks_free(p->marks);
    fx_free(p->fx);
}
