// SPDX-License-Identifier: Apache-2.0
//
// Batches over a catalog in memory: loading on need, numbers and chain, outcome documents, derived events, a
// batch that is cut, and that none of it depends on how the log is divided into batches.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "bench_events.h"
#include "catalog/catalog.h"
#include "certsync/base/buf.h"
#include "certsync/base/text.h"
#include "worker/apply.h"

#define DEPLOYMENT "apply-test"
#define LOG_ID     DEPLOYMENT "_0a1b2c3d"
#define PARTITIONS 1
#define ACCOUNTS   3
#define ISSUED     30
#define RECORDS    2000

// The log and who wrote it; made once.
static struct {
    struct cs_crypto *crypto;
    struct cs_privkey *root, *admin, *issuer, *service, *custodian;
    uint8_t *root_spki, *admin_spki, *issuer_spki, *service_spki, *custodian_spki;
    size_t root_len, admin_len, issuer_len, service_len, custodian_len;
    cs_kid service_kid, root_kid;
    struct bench_set set;
    size_t len;
    struct bench_event log[RECORDS];
    size_t owned_from; // events before it belong to set
} world;

static void must(bool ok, const struct cs_err *err) {
    if (!ok)
        fail_msg("%s", err->msg);
}

static void make_key(enum cs_key_type type, struct cs_privkey **key, uint8_t **spki, size_t *len) {
    struct cs_err err;
    must(cs_privkey_generate(type, 0, key, &err) && cs_privkey_spki(*key, spki, len, &err), &err);
}

static int make_world(void **state) {
    (void)state;
    struct cs_err err;
    must(cs_crypto_new(&world.crypto, &err), &err);
    make_key(CS_KEY_P256, &world.root, &world.root_spki, &world.root_len);
    make_key(CS_KEY_P256, &world.admin, &world.admin_spki, &world.admin_len);
    make_key(CS_KEY_P256, &world.issuer, &world.issuer_spki, &world.issuer_len);
    make_key(CS_KEY_P256, &world.service, &world.service_spki, &world.service_len);
    make_key(CS_KEY_X25519, &world.custodian, &world.custodian_spki, &world.custodian_len);
    cs_kid_of_spki(world.crypto, (struct cs_bytes){world.service_spki, world.service_len}, world.service_kid);
    cs_kid_of_spki(world.crypto, (struct cs_bytes){world.root_spki, world.root_len}, world.root_kid);
    const struct bench_trust trust[] = {{CS_TRUST_ADMIN, {world.admin_spki, world.admin_len}},
                                        {CS_TRUST_ISSUER, {world.issuer_spki, world.issuer_len}},
                                        {CS_TRUST_SERVICE, {world.service_spki, world.service_len}},
                                        {CS_TRUST_CUSTODIAN, {world.custodian_spki, world.custodian_len}}};
    must(bench_preamble(LOG_ID, PARTITIONS, world.root, trust, 4, world.log, &err), &err);
    world.len = 5;
    struct bench_options o = {.log_id = LOG_ID,
                              .admin = world.admin,
                              .issuer = world.issuer,
                              .custodian_spki = {world.custodian_spki, world.custodian_len},
                              .accounts = ACCOUNTS,
                              .uploads = ISSUED,
                              .kinds = {true, false, false},
                              .seed = 7};
    must(bench_make(&o, &world.set, &err), &err);
    memcpy(world.log + world.len, world.set.events, world.set.len * sizeof *world.log);
    world.len += world.set.len;
    world.owned_from = world.len;
    return 0;
}

static int free_world(void **state) {
    (void)state;
    for (size_t i = 0; i < 5; i++)
        free(world.log[i].value);
    bench_clear(&world.set);
    struct cs_privkey *keys[] = {world.root, world.admin, world.issuer, world.service, world.custodian};
    uint8_t *spkis[] = {world.root_spki, world.admin_spki, world.issuer_spki, world.service_spki,
                        world.custodian_spki};
    for (size_t i = 0; i < 5; i++) {
        cs_privkey_free(keys[i]);
        free(spkis[i]);
    }
    cs_crypto_free(world.crypto);
    return 0;
}

// One consumer of the log.
struct consumer {
    struct cs_memory_store *store; // borrowed
    struct cs_catalog *catalog;
    struct cs_key_cache *keys;
    struct cs_state *hot;
    struct cs_apply apply;
    struct cs_apply_context ctx;
    struct cs_position position;
    int rounds; // of loading, of the last batch
    size_t commits;
    size_t outcomes_len;
    char *outcomes[RECORDS];
    size_t derived_len;
    struct bench_event derived[64];
    bool fed;
    bool counts_only; // outcomes are not kept
};

static void open_consumer(struct consumer *c, struct cs_memory_store *store) {
    struct cs_err err;
    memset(c, 0, sizeof *c);
    c->store = store;
    must(cs_catalog_memory_new(store, &c->catalog, &err), &err);
    must(cs_state_new(false, &c->hot, &err), &err);
    must(cs_key_cache_new(world.crypto, (struct cs_bytes){world.root_spki, world.root_len}, &c->keys, &err),
         &err);
    cs_apply_init(&c->apply);
    c->ctx = (struct cs_apply_context){.rules = {.crypto = world.crypto,
                                                 .log_id = LOG_ID,
                                                 .partition_count = PARTITIONS,
                                                 .root = cs_key_cache_root(c->keys)},
                                       .service = world.service,
                                       .service_kid = world.service_kid,
                                       .keys = c->keys};
}

static void close_consumer(struct consumer *c) {
    for (size_t i = 0; i < c->outcomes_len; i++)
        free(c->outcomes[i]);
    for (size_t i = 0; i < c->derived_len; i++)
        free(c->derived[i].value);
    cs_apply_clear(&c->apply);
    cs_state_free(c->hot);
    cs_key_cache_free(c->keys);
    cs_catalog_free(c->catalog);
}

static int64_t log_time_ms;

static struct cs_record record_of(const struct bench_event *e, int64_t offset, struct cs_header headers[2]) {
    headers[0] =
        (struct cs_header){"content-type", {(const uint8_t *)CS_CONTENT_TYPE, strlen(CS_CONTENT_TYPE)}};
    headers[1] = (struct cs_header){CS_SIG_HEADER, {(const uint8_t *)e->sig, strlen(e->sig)}};
    return (struct cs_record){.offset = offset,
                              .timestamp_ms = log_time_ms,
                              .key = {(const uint8_t *)e->account, strlen(e->account)},
                              .value = {e->value, e->value_len},
                              .headers_len = 2,
                              .headers = headers};
}

struct batch {
    struct cs_batch_record records[500];
    struct cs_header headers[500][2];
    size_t len;
    size_t at; // those before it are committed
};

static void prepare_batch(struct consumer *c, struct batch *b, const struct bench_event *events, size_t n) {
    struct cs_err err;
    b->len = n;
    for (size_t i = 0; i < n; i++) {
        b->records[i].record = record_of(&events[i], c->position.next_offset + (int64_t)i, b->headers[i]);
        must(cs_prepare(world.crypto, LOG_ID, PARTITIONS, CS_RULESET_LATEST, &b->records[i].record,
                        cs_key_cache_lookup, c->keys, NULL, &b->records[i].prepared, &err),
             &err);
        cs_key_cache_learn_from(c->keys, b->records[i].prepared);
    }
}

static void free_batch(struct batch *b) {
    for (size_t i = 0; i < b->len; i++)
        cs_prepared_free(b->records[i].prepared);
}

// Loads and decides. False where a record stops the batch.
static bool decide_batch(struct consumer *c, struct batch *b, struct cs_err *err) {
    bool needed = true;
    c->rounds = 0;
    cs_apply_begin(&c->ctx, &c->apply, &c->position, c->hot, b->records + b->at, b->len - b->at);
    while (needed) {
        struct cs_position at;
        bool moved = false;
        must(c->catalog->ops->load_begin(c->catalog, 0, c->hot, err) &&
                 c->catalog->ops->load_end(c->catalog, &at, &moved, err),
             err);
        assert_false(moved);
        assert_true(cs_position_equal(&at, &c->position));
        c->rounds++;
        if (!cs_apply_decide(&c->ctx, &c->apply, c->hot, b->records + b->at, b->len - b->at, &needed, err))
            return false;
    }
    return true;
}

static bool commit_batch(struct consumer *c) {
    struct cs_err err;
    bool moved = false;
    must(c->catalog->ops->commit_begin(c->catalog, 0, c->hot, &c->apply.from, &c->apply.to, &err) &&
             c->catalog->ops->commit_end(c->catalog, &moved, &err),
         &err);
    if (moved)
        return false;
    cs_state_changes_clear(c->hot);
    c->position = c->apply.to;
    for (size_t i = 0; i < c->apply.outcomes_len; i++) {
        const struct cs_applied_outcome *o = &c->apply.outcomes[i];
        if (c->counts_only)
            continue;
        c->outcomes[c->outcomes_len++] = strndup((const char *)c->apply.values.data + o->at, o->len);
    }
    for (size_t i = 0; i < c->apply.derived_len; i++) {
        const struct cs_applied_derived *d = &c->apply.derived[i];
        struct bench_event *e = &c->derived[c->derived_len++];
        *e = (struct bench_event){.value_len = d->len, .value = malloc(d->len)};
        memcpy(e->value, c->apply.values.data + d->at, d->len);
        memcpy(e->account, d->account, sizeof e->account);
        memcpy(e->sig, d->sig, d->sig_len);
        e->sig[d->sig_len] = '\0';
    }
    return true;
}

static void run_batch(struct consumer *c, const struct bench_event *events, size_t n) {
    struct cs_err err;
    struct batch *b = calloc(1, sizeof *b);
    prepare_batch(c, b, events, n);
    for (; b->at < n; b->at += c->apply.decided) {
        must(decide_batch(c, b, &err), &err);
        assert_in_range(c->apply.decided, 1, n - b->at);
        assert_true(commit_batch(c));
        c->commits++;
    }
    free_batch(b);
    free(b);
}

static void run_log(struct consumer *c, size_t from, size_t to, size_t batch, bool cold) {
    for (size_t i = from; i < to; i += batch) {
        if (cold)
            cs_state_forget(c->hot);
        run_batch(c, world.log + i, to - i < batch ? to - i : batch);
    }
}

static bool dump_doc(void *arg, const char *key, struct cs_bytes v) {
    struct cs_buf *d = arg;
    cs_buf_puts(d, key);
    cs_buf_putc(d, ':');
    cs_buf_put(d, v.data, v.len);
    cs_buf_putc(d, '\n');
    return true;
}
static bool dump_index(void *arg, const char *key, const struct cs_member *members, size_t n) {
    for (size_t i = 0; i < n; i++)
        cs_buf_printf(arg, "%s:%s=%lld\n", key, members[i].name, (long long)members[i].score);
    return true;
}
// Malloc'ed.
static char *dump_of(struct consumer *c) {
    struct cs_buf d;
    struct cs_err err;
    cs_buf_init(&d, (size_t)1 << 30);
    must(c->catalog->ops->each(c->catalog, 0, dump_doc, dump_index, &d, &err), &err);
    cs_buf_putc(&d, '\0');
    must(cs_buf_ok(&d, &err), &err);
    return (char *)d.data;
}

static const char *doc(struct consumer *c, const char *kind, const char *account, const char *id) {
    static char copy[4096];
    char key[256];
    struct cs_bytes v;
    struct cs_err err;
    struct cs_position at;
    struct cs_state *s = NULL;
    snprintf(key, sizeof key, "%s/%s/%s", kind, account, id);
    must(cs_state_new(false, &s, &err), &err);
    (void)cs_state_get(s, key, &v);
    must(cs_catalog_load(c->catalog, 0, s, &at, &err), &err);
    bool found = cs_state_get(s, key, &v) == CS_FOUND;
    if (found)
        snprintf(copy, sizeof copy, "%.*s", (int)v.len, (const char *)v.data);
    cs_state_free(s);
    return found ? copy : NULL;
}

static struct cs_memory_store *new_store(void) {
    struct cs_memory_store *s = NULL;
    struct cs_err err;
    must(cs_memory_store_new(&s, &err), &err);
    return s;
}

// --- cases

static void test_numbers_and_chain(void **state) {
    (void)state;
    struct cs_memory_store *store = new_store();
    struct consumer *c = malloc(sizeof *c);
    open_consumer(c, store);
    run_log(c, 0, world.len, 500, false);
    char want[160], prev[65];
    memset(prev, '0', 64);
    prev[64] = '\0';
    assert_int_equal(c->outcomes_len, world.len);
    for (size_t i = 0; i < c->outcomes_len; i++) {
        uint8_t sha256[32];
        snprintf(want, sizeof want, CS_OUTCOME_HEAD "%016zu\",\"id\":\"", i + 1);
        assert_memory_equal(c->outcomes[i], want, strlen(want));
        assert_non_null(strstr(c->outcomes[i], "\"data\":{\"status\":\"applied\","));
        snprintf(want, sizeof want, "\"prev\":\"%s\"}}", prev);
        assert_string_equal(c->outcomes[i] + strlen(c->outcomes[i]) - strlen(want), want);
        cs_crypto_sha256(world.crypto,
                         (struct cs_bytes){(const uint8_t *)c->outcomes[i], strlen(c->outcomes[i])}, sha256);
        cs_hex_encode(sha256, 32, prev);
    }
    char chain[65];
    cs_hex_encode(c->position.chain_sha256, 32, chain);
    assert_string_equal(chain, prev);
    assert_int_equal(c->position.next_offset, world.len);
    assert_int_equal(c->position.outcomes, world.len);
    // One look at the catalog finds what the whole batch touches, or nearly.
    assert_in_range(c->rounds, 1, 4);
    close_consumer(c);
    free(c);
    cs_memory_store_free(store);
}

// However the log is cut into batches, whatever is kept between them, and however little memory a batch may take: the same
// outcomes, the same catalog.
static void test_division_does_not_matter(void **state) {
    (void)state;
    static const struct {
        size_t batch;
        bool cold;
        size_t memory;
        bool each; // record is committed alone
    } ways[] = {{500, false, 0, false}, {1, false, 0, true},      {1, true, 0, true},
                {7, false, 0, false},   {7, true, 0, false},      {40, true, 0, false},
                {500, false, 1, true},  {500, true, 60000, false}};
    char *first_dump = NULL;
    char *first_outcomes[RECORDS] = {NULL};
    size_t n = 0;
    for (size_t w = 0; w < CS_ARRAY_LEN(ways); w++) {
        struct cs_memory_store *store = new_store();
        struct consumer *c = malloc(sizeof *c);
        open_consumer(c, store);
        c->ctx.batch_memory = ways[w].memory;
        run_log(c, 0, world.len, ways[w].batch, ways[w].cold);
        assert_true(ways[w].each ? c->commits == world.len : c->commits < world.len);
        assert_true(!ways[w].memory || c->commits > 1);
        char *dump = dump_of(c);
        if (w == 0) {
            first_dump = dump;
            n = c->outcomes_len;
            for (size_t i = 0; i < n; i++)
                first_outcomes[i] = strdup(c->outcomes[i]);
        } else {
            assert_string_equal(dump, first_dump);
            free(dump);
            assert_int_equal(c->outcomes_len, n);
            for (size_t i = 0; i < n; i++)
                assert_string_equal(c->outcomes[i], first_outcomes[i]);
        }
        close_consumer(c);
        free(c);
        cs_memory_store_free(store);
    }
    free(first_dump);
    for (size_t i = 0; i < n; i++)
        free(first_outcomes[i]);
}

// A second consumer that stands on the same position decides the same, and only one of the two commits.
static void test_rival(void **state) {
    (void)state;
    struct cs_memory_store *store = new_store();
    struct consumer *a = malloc(sizeof *a);
    struct consumer *b = malloc(sizeof *b);
    struct batch *batch_a = calloc(1, sizeof *batch_a);
    struct batch *batch_b = calloc(1, sizeof *batch_b);
    struct cs_err err;
    open_consumer(a, store);
    open_consumer(b, store);
    run_log(a, 0, 10, 10, false);
    b->position = a->position;
    prepare_batch(a, batch_a, world.log + 10, 10);
    prepare_batch(b, batch_b, world.log + 10, 6);
    must(decide_batch(a, batch_a, &err), &err);
    must(decide_batch(b, batch_b, &err), &err);
    for (size_t i = 0; i < 6; i++) {
        const struct cs_applied_outcome *x = &a->apply.outcomes[i], *y = &b->apply.outcomes[i];
        assert_int_equal(x->len, y->len);
        assert_memory_equal(a->apply.values.data + x->at, b->apply.values.data + y->at, x->len);
    }
    assert_true(commit_batch(b));
    assert_false(commit_batch(a));
    // It starts again from what is stored.
    cs_state_forget(a->hot);
    a->position = b->position;
    run_log(a, 16, 20, 4, false);
    assert_int_equal(a->position.next_offset, 20);
    free_batch(batch_a);
    free_batch(batch_b);
    free(batch_a);
    free(batch_b);
    close_consumer(a);
    close_consumer(b);
    free(a);
    free(b);
    cs_memory_store_free(store);
}

static void next_id(cs_uuid ret) {
    static uint32_t n;
    uint8_t random[10] = {0, 0, 0, 0, 0, 9};
    n++;
    memcpy(random + 6, &n, sizeof n);
    cs_uuid_v7(log_time_ms, random, ret);
}

static cs_uuid share_id;

// A share with that event id, by the first account's agent with the second account.
static struct bench_event share_event_as(const char *id, const char *from, const char *to,
                                         const char *certificate, int64_t seq) {
    struct cs_event ev = {.type = CS_EVENT_CERTIFICATE_SHARE, .seq = seq};
    struct bench_event out = {.value = NULL};
    struct cs_err err;
    uint8_t *spki = NULL;
    size_t len = 0;
    must(cs_privkey_spki(world.set.agents[0], &spki, &len, &err), &err);
    cs_kid_of_spki(world.crypto, (struct cs_bytes){spki, len}, ev.kid);
    free(spki);
    snprintf(ev.id, sizeof ev.id, "%s", id);
    snprintf(ev.account, sizeof ev.account, "%s", from);
    snprintf(ev.subject, sizeof ev.subject, "%s", certificate);
    snprintf(ev.data.share.to, sizeof ev.data.share.to, "%s", to);
    must(bench_sign(world.crypto, LOG_ID, &ev, world.set.agents[0], &out, &err), &err);
    return out;
}

static struct bench_event share_event(const char *from, const char *to, const char *certificate,
                                      int64_t seq) {
    next_id(share_id);
    return share_event_as(share_id, from, to, certificate, seq);
}

static void subject_of(const struct bench_event *e, cs_uuid ret) {
    struct cs_event *ev = NULL;
    struct cs_err err;
    must(cs_event_decode((struct cs_bytes){e->value, e->value_len}, &ev, &err), &err);
    snprintf(ret, sizeof(cs_uuid), "%.36s", ev->subject);
    cs_event_free(ev);
}

// The saga within one partition: pending, the offer, its answer, and the final verdict in the share's
// document. Owners differ, so the recipient's end refuses.
static void test_derived_and_conclusion(void **state) {
    (void)state;
    struct cs_memory_store *store = new_store();
    struct consumer *c = malloc(sizeof *c);
    struct cs_err err;
    cs_uuid certificate;
    const char *from = world.set.events[0].account;
    const char *to = world.set.events[2].account;
    open_consumer(c, store);
    run_log(c, 0, world.len, 500, false);
    subject_of(&world.set.events[world.set.uploads_at], certificate);
    struct bench_event share = share_event(from, to, certificate, 1);
    run_batch(c, &share, 1);
    assert_non_null(strstr(c->outcomes[c->outcomes_len - 1], "\"status\":\"pending\""));
    assert_int_equal(c->derived_len, 1);
    assert_int_equal(c->position.derived, 1);
    assert_string_equal(c->derived[0].account, to);
    struct cs_event *offer = NULL;
    must(cs_event_decode((struct cs_bytes){c->derived[0].value, c->derived[0].value_len}, &offer, &err),
         &err);
    assert_int_equal(offer->type, CS_EVENT_SHARE_OFFER);
    assert_int_equal(offer->seq, 1);
    assert_string_equal(offer->kid, world.service_kid);
    assert_string_equal(offer->account, to);
    cs_event_free(offer);
    const char *pending = doc(c, "outcome", from, share_id);
    assert_non_null(pending);
    assert_null(strstr(pending, "\"final\""));
    char *waits = strdup(pending);
    // Neither the same again nor another event with its id takes the place of what is awaited.
    run_batch(c, &share, 1);
    assert_non_null(strstr(c->outcomes[c->outcomes_len - 1], "\"status\":\"duplicate\""));
    assert_string_equal(doc(c, "outcome", from, share_id), waits);
    struct bench_event other = share_event_as(share_id, from, to, certificate, 2);
    run_batch(c, &other, 1);
    assert_non_null(strstr(c->outcomes[c->outcomes_len - 1], "\"status\":\"rejected\""));
    assert_string_equal(doc(c, "outcome", from, share_id), waits);
    free(other.value);
    free(waits);
    run_batch(c, &c->derived[0], 1); // the offer comes back as a record
    assert_non_null(strstr(c->outcomes[c->outcomes_len - 1], "\"code\":\"share.owner\""));
    assert_int_equal(c->derived_len, 2);
    run_batch(c, &c->derived[1], 1); // and so does the answer
    assert_non_null(strstr(c->outcomes[c->outcomes_len - 1], "\"concludes\":[{\"event\":\""));
    const char *final = doc(c, "outcome", from, share_id);
    assert_non_null(strstr(final, "\"final\":{\"status\":\"rejected\",\"code\":\"share.owner\""));
    assert_non_null(strstr(final, "{\"outcome\":" CS_OUTCOME_HEAD));
    free(share.value);
    close_consumer(c);
    free(c);
    cs_memory_store_free(store);
}

// A derived event is made the same again, but for its signature: id, number and content.
static void test_derived_again(void **state) {
    (void)state;
    struct bench_event first = {.value = NULL};
    cs_uuid certificate;
    subject_of(&world.set.events[world.set.uploads_at], certificate);
    struct bench_event share =
        share_event(world.set.events[0].account, world.set.events[2].account, certificate, 1);
    for (int i = 0; i < 2; i++) {
        struct cs_memory_store *store = new_store();
        struct consumer *c = malloc(sizeof *c);
        open_consumer(c, store);
        run_log(c, 0, world.len, i ? 3 : 500, i == 1);
        run_batch(c, &share, 1);
        assert_int_equal(c->derived_len, 1);
        if (i == 0) {
            first.value = malloc(c->derived[0].value_len);
            first.value_len = c->derived[0].value_len;
            memcpy(first.value, c->derived[0].value, first.value_len);
        } else {
            assert_int_equal(c->derived[0].value_len, first.value_len);
            assert_memory_equal(c->derived[0].value, first.value, first.value_len);
        }
        close_consumer(c);
        free(c);
        cs_memory_store_free(store);
    }
    free(first.value);
    free(share.value);
}

// A ruleset that this release does not know stops before it judges anything: what stands before it may be
// committed.
static void test_cut_by_ruleset(void **state) {
    (void)state;
    struct cs_memory_store *store = new_store();
    struct consumer *c = malloc(sizeof *c);
    struct batch *b = calloc(1, sizeof *b);
    struct cs_err err;
    struct cs_event ev = {.type = CS_EVENT_SYSTEM_RULESET, .seq = 100};
    struct bench_event events[9];
    next_id(ev.id);
    memcpy(ev.kid, world.root_kid, sizeof ev.kid);
    snprintf(ev.subject, sizeof ev.subject, "%s", DEPLOYMENT);
    ev.data.ruleset.ruleset = CS_RULESET_LATEST + 1;
    memcpy(events, world.log, sizeof events);
    events[7] = (struct bench_event){.value = NULL};
    must(bench_sign(world.crypto, LOG_ID, &ev, world.root, &events[7], &err), &err);
    open_consumer(c, store);
    prepare_batch(c, b, events, 9);
    assert_false(decide_batch(c, b, &err));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
    assert_int_equal(c->apply.decided, 7);
    assert_int_equal(c->apply.outcomes_len, 7);
    assert_false(c->apply.torn);
    assert_true(commit_batch(c));
    assert_int_equal(c->position.next_offset, 7);
    free_batch(b);
    free(b);
    free(events[7].value);
    close_consumer(c);
    free(c);
    cs_memory_store_free(store);
}

// Forged and malformed records get their outcomes and move nothing else.
static void test_garbage_goes_on(void **state) {
    (void)state;
    struct cs_memory_store *store = new_store();
    struct consumer *c = malloc(sizeof *c);
    struct bench_event garbage[4] = {{.value = NULL}};
    struct bench_event forged = world.log[12];
    forged.value = malloc(forged.value_len);
    memcpy(forged.value, world.log[12].value, forged.value_len);
    memcpy(forged.sig, world.log[13].sig, sizeof forged.sig);
    garbage[0].value = (uint8_t *)strdup("not json");
    garbage[0].value_len = 8;
    snprintf(garbage[0].sig, sizeof garbage[0].sig, "%s", world.log[0].sig);
    garbage[1] = forged;
    open_consumer(c, store);
    run_log(c, 0, 12, 12, false);
    char *before = dump_of(c);
    run_batch(c, garbage, 4);
    char *after = dump_of(c);
    assert_string_equal(before, after);
    assert_non_null(strstr(c->outcomes[12], "\"code\":\"event.malformed\""));
    assert_non_null(strstr(c->outcomes[13], "\"code\":\"event.bad_signature\""));
    assert_non_null(strstr(c->outcomes[14], "\"status\":\"rejected\""));
    assert_int_equal(c->position.next_offset, 16);
    run_log(c, 12, 13, 1, false);
    assert_non_null(strstr(c->outcomes[16], "\"status\":\"applied\""));
    free(before);
    free(after);
    free(garbage[0].value);
    free(forged.value);
    close_consumer(c);
    free(c);
    cs_memory_store_free(store);
}

static void test_doc_split(void **state) {
    (void)state;
    static const struct {
        const char *doc, *outcome;
        bool final;
    } cases[] = {
        {"{\"outcome\":{\"n\":1}}", "{\"n\":1}", false},
        {"{\"outcome\":{\"a\":\"}\\\"{\",\"b\":[{}]},\"final\":{}}", "{\"a\":\"}\\\"{\",\"b\":[{}]}", true},
        {"{\"outcome\":{\"a\":1}", "{\"a\":1}", false},
        {"{\"outcome\":{\"a\":1", NULL, false},
        {"{\"other\":{}}", NULL, false},
        {"", NULL, false},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        struct cs_bytes out;
        bool final = false;
        bool ok = cs_outcome_doc_split((struct cs_bytes){(const uint8_t *)cases[i].doc, strlen(cases[i].doc)},
                                       &out, &final);
        assert_int_equal(ok, cases[i].outcome != NULL);
        if (!ok)
            continue;
        assert_int_equal(out.len, strlen(cases[i].outcome));
        assert_memory_equal(out.data, cases[i].outcome, out.len);
        assert_int_equal(final, cases[i].final);
    }
}

// ---- a day

#define A_DAY_H    24
#define AN_HOUR_MS INT64_C(3600000)
#define EVENTS_H   120 // of each account

// What an agent sends in vain, hour after hour.
static struct bench_event delete_event(size_t agent, int64_t seq, const char *subject) {
    struct cs_event ev = {.type = CS_EVENT_CERTIFICATE_DELETE, .seq = seq};
    struct bench_event out = {.value = NULL};
    struct cs_err err;
    uint8_t *spki = NULL;
    size_t len = 0;
    must(cs_privkey_spki(world.set.agents[agent], &spki, &len, &err), &err);
    cs_kid_of_spki(world.crypto, (struct cs_bytes){spki, len}, ev.kid);
    free(spki);
    next_id(ev.id);
    snprintf(ev.subject, sizeof ev.subject, "%s", subject);
    snprintf(ev.account, sizeof ev.account, "%s", world.set.events[2 * agent].account);
    must(bench_sign(world.crypto, LOG_ID, &ev, world.set.agents[agent], &out, &err), &err);
    return out;
}

static struct bench_event vain_event(size_t agent, int64_t seq) {
    cs_uuid nothing;
    next_id(nothing);
    return delete_event(agent, seq, nothing);
}

static size_t size_of(struct consumer *c) {
    char *dump = dump_of(c);
    size_t len = strlen(dump);
    free(dump);
    return len;
}

// An hour of events that change nothing: refused, and each of them again, at once and after others;
// and shares that their recipients refuse.
static void live_hour(struct consumer *c, const char *certificate, int64_t *seq) {
    struct bench_event sent[EVENTS_H];
    const char *from = world.set.events[0].account, *to = world.set.events[2].account;
    log_time_ms += AN_HOUR_MS;
    for (size_t a = 0; a < ACCOUNTS; a++) {
        for (int i = 0; i < EVENTS_H; i++)
            sent[i] = vain_event(a, ++seq[a]);
        run_batch(c, sent, EVENTS_H);
        run_batch(c, sent, EVENTS_H);     // duplicates
        run_batch(c, sent, EVENTS_H / 4); // and once more
        for (int i = 0; i < EVENTS_H; i++)
            free(sent[i].value);
    }
    struct bench_event share = share_event(from, to, certificate, ++seq[0]);
    size_t derived = c->derived_len;
    run_batch(c, &share, 1);
    run_batch(c, &c->derived[derived], 1);
    run_batch(c, &c->derived[derived + 1], 1);
    free(share.value);
}

// A fleet lives on, and what it has stays as it is: then the catalog stays as large as it is, but for
// the owner's end of each share, which must stay closed.
static void test_a_day_leaves_the_catalog_flat(void **state) {
    (void)state;
    struct cs_memory_store *store = new_store();
    struct consumer *c = malloc(sizeof *c);
    size_t size[A_DAY_H + 1];
    int64_t seq[ACCOUNTS] = {0}, began_ms = log_time_ms;
    cs_uuid certificate;
    subject_of(&world.set.events[world.set.uploads_at], certificate);
    open_consumer(c, store);
    c->counts_only = true;
    run_log(c, 0, world.len, 500, false);
    for (int h = 1; h <= A_DAY_H; h++) {
        live_hour(c, certificate, seq);
        size[h] = size_of(c);
    }
    int full = CS_OUTCOMES_KEPT / EVENTS_H + 1;
    assert_in_range(full, 2, A_DAY_H / 2);
    const char *closed = doc(c, "share", world.set.events[0].account, share_id);
    assert_non_null(strstr(closed, "\"state\":\"closed\""));
    size_t share = strlen(closed) + 100; // with its key
    for (int h = full + 1; h <= A_DAY_H; h++)
        assert_in_range(size[h], size[full] - size[full] / 100,
                        size[full] + (size_t)(h - full) * share + size[full] / 100);
    assert_in_range(size[1], 0, size[full] / 2); // the window was filled
    const char *to = world.set.events[2].account;
    assert_null(doc(c, "share-in", to, share_id));
    log_time_ms = began_ms;
    close_consumer(c);
    free(c);
    cs_memory_store_free(store);
}

// ---- tombstones

#define DELETED 10
#define AFTER   6
#define KEPT_MS (INT64_C(31) * 24 * AN_HOUR_MS)

static void run_in_batches(struct consumer *c, const struct bench_event *events, size_t n, size_t batch) {
    for (size_t i = 0; i < n; i += batch)
        run_batch(c, events + i, n - i < batch ? n - i : batch);
}

// They go at the same places of the log, however it is cut into batches.
static void test_tombstones_end(void **state) {
    (void)state;
    static const size_t batches[] = {1, 3, 500};
    struct bench_event gone[DELETED], after[AFTER];
    int64_t began_ms = log_time_ms, seq = 1000000;
    size_t n = 0;
    for (size_t i = world.set.uploads_at; n < DELETED && i < world.len; i++) {
        cs_uuid certificate;
        if (strcmp(world.set.events[i].account, world.set.events[0].account) != 0)
            continue;
        subject_of(&world.set.events[i], certificate);
        gone[n++] = delete_event(0, ++seq, certificate);
    }
    assert_int_equal(n, DELETED);
    log_time_ms = began_ms + KEPT_MS + 1;
    for (size_t i = 0; i < AFTER; i++)
        after[i] = vain_event(0, ++seq);
    char *first[2] = {NULL, NULL};
    for (size_t w = 0; w < CS_ARRAY_LEN(batches); w++) {
        struct cs_memory_store *store = new_store();
        struct consumer *c = malloc(sizeof *c);
        char *dump[2];
        open_consumer(c, store);
        log_time_ms = began_ms;
        run_log(c, 0, world.len, 500, false);
        run_in_batches(c, gone, DELETED, batches[w]);
        dump[0] = dump_of(c);
        assert_non_null(strstr(dump[0], "tombstone/10"));
        log_time_ms = began_ms + KEPT_MS + 1;
        run_in_batches(c, after, AFTER, batches[w]);
        dump[1] = dump_of(c);
        assert_null(strstr(dump[1], "tombstone"));
        for (size_t i = 0; i < 2; i++) {
            if (w > 0)
                assert_string_equal(dump[i], first[i]);
            free(first[i]);
            first[i] = dump[i];
        }
        close_consumer(c);
        free(c);
        cs_memory_store_free(store);
    }
    free(first[0]);
    free(first[1]);
    for (size_t i = 0; i < DELETED; i++)
        free(gone[i].value);
    for (size_t i = 0; i < AFTER; i++)
        free(after[i].value);
    log_time_ms = began_ms;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_and_chain),
        cmocka_unit_test(test_division_does_not_matter),
        cmocka_unit_test(test_rival),
        cmocka_unit_test(test_derived_and_conclusion),
        cmocka_unit_test(test_derived_again),
        cmocka_unit_test(test_cut_by_ruleset),
        cmocka_unit_test(test_garbage_goes_on),
        cmocka_unit_test(test_doc_split),
        cmocka_unit_test(test_a_day_leaves_the_catalog_flat),
        cmocka_unit_test(test_tombstones_end),
    };
    log_time_ms = (int64_t)time(NULL) * 1000; // within the certificates' dates
    return cmocka_run_group_tests(tests, make_world, free_world);
}
