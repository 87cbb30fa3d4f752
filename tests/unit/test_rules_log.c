// SPDX-License-Identifier: Apache-2.0
//
// A long random log of several accounts and partitions, with everything that may go wrong in it. It is judged
// once over complete catalogs, and again over working sets that hold nothing and are filled as they ask, in
// batches of varying size: outcomes, derived events and catalogs must be the same bytes. And at the end
// everything that a catalog says twice must agree.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

#define PARTITIONS 3
#define ACCOUNTS   8
#define AGENTS     4
#define CERTS      30
#define IDS        12
#define STEPS      4000

struct entry {
    int32_t partition;
    struct cs_record r;
    struct cs_bytes outcome; // and what was emitted, one after the other
};

struct world {
    struct fx *fx;
    uint64_t random;
    struct {
        cs_account_id id;
        struct fx_key *agent[AGENTS];
        const char *ids[IDS];
        const char *csrs[4];
        size_t ids_len, csrs_len;
    } account[ACCOUNTS];
    struct fx_cert *certs[CERTS], *sm2[2], *keys[4];
    struct fx_record *records[64]; // some that were sent before
    size_t records_len;
    struct entry *log;
    size_t log_len, log_cap;
    size_t codes[CS_CODE_COUNT], statuses[CS_STATUS_DUPLICATE + 1], keys_made;
};

static uint32_t roll(struct world *w, uint32_t n) {
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(w->random >> 33) % n;
}

static bool chance(struct world *w, uint32_t percent) {
    return roll(w, 100) < percent;
}

// ---- writing the log

static void put_emitted(const struct cs_derived *derived, struct cs_buf *out) {
    for (size_t i = 0; i < derived->len; i++) {
        struct cs_event ev = *derived->events[i];
        struct cs_err err;
        strcpy(ev.kid, "00000000000000000000000000000000");
        ev.seq = 1;
        assert_true(cs_event_encode(&ev, out, &err));
        cs_buf_putc(out, '\n');
    }
}

static void remember(struct fx *fx, int32_t partition, const struct cs_record *r,
                     const struct cs_bytes *outcome) {
    struct world *w = fx->arg;
    if (w->log_len == w->log_cap) {
        w->log_cap = w->log_cap ? 2 * w->log_cap : 1024;
        w->log = realloc(w->log, w->log_cap * sizeof(*w->log));
        assert_non_null(w->log);
    }
    struct cs_buf b;
    cs_buf_init(&b, 1 << 20);
    cs_buf_put(&b, outcome->data, outcome->len);
    cs_buf_putc(&b, '\n');
    put_emitted(&fx->last.derived, &b);
    assert_false(b.failed);
    uint8_t *copy = fx_alloc(fx, b.len);
    memcpy(copy, b.data, b.len);
    w->log[w->log_len++] = (struct entry){partition, *r, {copy, b.len}};
    cs_buf_clear(&b);
    w->codes[fx->last.verdict.code]++;
    w->statuses[fx->last.verdict.status]++;
}

static bool send(struct world *w, struct fx_key *by, const struct cs_event *ev) {
    struct fx *fx = w->fx;
    struct fx_record *record = fx_record(fx, by, ev);
    if (chance(w, 10))
        w->records[w->records_len++ % CS_ARRAY_LEN(w->records)] = record;
    int32_t partition = fx_partition_of(fx, ev->account);
    if (chance(w, 1)) {
        struct cs_event other = *ev;
        struct fx_record *forged = fx_record(fx, fx->admin, &other);
        record->headers[1] = forged->headers[1];
    }
    if (chance(w, 1))
        partition = (partition + 1) % PARTITIONS;
    if (chance(w, 1))
        by->seq += 3; // numbers that are lost
    return fx_judge(fx, partition, record)->status == CS_STATUS_APPLIED;
}

static struct fx_key *any_agent(struct world *w, size_t a) {
    return w->account[a].agent[roll(w, AGENTS)];
}

static const char *some_id(struct world *w, size_t a) {
    if (w->account[a].ids_len == 0 || chance(w, 3))
        return fx_uuid(w->fx);
    size_t n = w->account[a].ids_len < IDS ? w->account[a].ids_len : IDS;
    return w->account[a].ids[roll(w, (uint32_t)n)];
}

static const char *name(struct world *w) {
    static const char *const names[] = {"a.example.com", "b.example.com", "c.internal", "d.internal",
                                        "e_5",           "bad name",      "g"};
    return names[roll(w, CS_ARRAY_LEN(names))];
}

// A replaced certificate keeps the id that it has.
static void keep_id(struct world *w, size_t a) {
    const struct cs_verdict *v = &w->fx->last.verdict;
    if (v->version == 1 && v->code == CS_CODE_NONE)
        w->account[a].ids[w->account[a].ids_len++ % IDS] = fx_text(w->fx, "%s", v->subject);
}

static void issue(struct world *w, size_t a) {
    static const char *const names[] = {"o1.example.com", "o2.example.com", "o3.internal", "a.example.com"};
    struct fx *fx = w->fx;
    const char *id = chance(w, 5) ? some_id(w, a) : fx_uuid(fx);
    struct cs_event ev =
        fx_issue(fx, w->account[a].id, id, names[roll(w, CS_ARRAY_LEN(names))], w->certs[roll(w, CERTS)]);
    if (chance(w, 5))
        ev.data.upload.source = CS_SOURCE_TEST;
    ev.data.upload.replace = chance(w, 80);
    ev.data.upload.force = chance(w, 60);
    if (send(w, fx->issuer, &ev))
        keep_id(w, a);
}

static void upload_by(struct world *w, size_t a, struct fx_key *by) {
    struct fx *fx = w->fx;
    bool sm2 = chance(w, 8);
    const struct fx_cert *cert = w->certs[roll(w, CERTS)];
    const char *id = chance(w, 5) ? some_id(w, a) : fx_uuid(fx);
    struct cs_event ev =
        sm2 ? fx_upload_sm2(fx, w->account[a].id, by, id, chance(w, 50) ? "e_5" : "f_6", w->sm2[0], w->sm2[1])
            : fx_upload(fx, w->account[a].id, by, id, name(w), cert);
    ev.data.upload.replace = chance(w, 70);
    ev.data.upload.force = chance(w, 50);
    struct cs_keyed_chain *part = &ev.data.upload.part[0];
    if (!sm2 && chance(w, 30)) {
        part->csr = true;
        part->key.bytes.len = part->pop.bytes.len = 0;
    } else if (chance(w, 3)) {
        part->pop.bytes.len = 0;
    }
    if (send(w, by, &ev))
        keep_id(w, a);
}

static void request(struct world *w, size_t a) {
    struct fx *fx = w->fx;
    struct fx_key *by = any_agent(w, a);
    struct cs_event ev;
    if (chance(w, 60) || w->account[a].csrs_len == 0) {
        const char *id = fx_uuid(fx);
        ev = fx_csr(fx, w->account[a].id, by, id, name(w), w->keys[roll(w, CS_ARRAY_LEN(w->keys))]);
        w->account[a].csrs[w->account[a].csrs_len++ % 4] = id;
    } else {
        size_t n = w->account[a].csrs_len < 4 ? w->account[a].csrs_len : 4;
        ev =
            fx_event(fx, CS_EVENT_CSR_DELETE, w->account[a].id, by, w->account[a].csrs[roll(w, (uint32_t)n)]);
    }
    send(w, by, &ev);
}

static void remove_one(struct world *w, size_t a) {
    struct fx_key *by = any_agent(w, a);
    size_t owner = chance(w, 40) ? roll(w, ACCOUNTS) : a;
    struct cs_event ev =
        fx_event(w->fx, CS_EVENT_CERTIFICATE_DELETE, w->account[a].id, by, some_id(w, owner));
    ev.data.del.cascade = chance(w, 50);
    if (owner != a)
        strcpy(ev.data.del.from, w->account[owner].id);
    send(w, by, &ev);
}

static void share(struct world *w, size_t a) {
    struct fx_key *by = any_agent(w, a);
    size_t to = roll(w, ACCOUNTS), owner = chance(w, 5) ? to : a;
    enum cs_event_type type = chance(w, 75) ? CS_EVENT_CERTIFICATE_SHARE : CS_EVENT_CERTIFICATE_UNSHARE;
    struct cs_event ev = fx_event(w->fx, type, w->account[a].id, by, some_id(w, owner));
    strcpy(ev.data.share.to, chance(w, 3) ? "nobody" : w->account[to].id);
    send(w, by, &ev);
}

static void update(struct world *w, size_t a) {
    struct fx *fx = w->fx;
    struct cs_event ev = fx_event(fx, CS_EVENT_ACCOUNT_UPDATE, w->account[a].id, fx->admin, w->account[a].id);
    struct cs_event_account *e = &ev.data.account;
    if (chance(w, 30)) {
        e->has_verified = true;
        e->verified = chance(w, 80);
    }
    if (chance(w, 15)) {
        e->has_owner = true;
        strcpy(e->owner, chance(w, 90) ? "one" : "two");
    }
    if (chance(w, 10)) {
        e->has_site = true;
        e->site = chance(w, 80) ? CS_SITE_CN : CS_SITE_INTL;
    }
    e->has_certificates = e->has_shares = true;
    e->limit_certificates = 3 + roll(w, 8);
    e->limit_shares = 1 + roll(w, 4);
    e->has_incomplete_chain = chance(w, 20);
    e->reject_incomplete_chain = chance(w, 50);
    send(w, fx->admin, &ev);
}

static void keys(struct world *w, size_t a) {
    struct fx *fx = w->fx;
    const char *account = w->account[a].id;
    struct fx_key **place = &w->account[a].agent[roll(w, AGENTS)], *old = *place;
    if (w->keys_made++ > 300)
        return;
    struct fx_key *next = fx_key_new(fx), *by = chance(w, 50) ? fx->admin : w->account[a].agent[0];
    struct cs_event ev;
    if (chance(w, 50)) {
        ev = fx_event(fx, CS_EVENT_AGENT_ROTATE, account, old, next->kid);
        ev.data.enroll.key.bytes = cs_pubkey_spki(next->pub);
        if (send(w, old, &ev))
            *place = next;
        if (chance(w, 20))
            upload_by(w, a, old);
        return;
    }
    ev = fx_enroll(fx, account, by, next, CS_CAN_SHARE | CS_CAN_DELETE | roll(w, CS_CAN_ENROLL),
                   chance(w, 70) ? "*" : "*.internal");
    if (!send(w, by, &ev) || place == &w->account[a].agent[0])
        return;
    *place = next;
    ev = fx_event(fx, CS_EVENT_AGENT_REVOKE, account, fx->admin, old->kid);
    send(w, fx->admin, &ev);
    if (chance(w, 50))
        upload_by(w, a, old);
}

static void oddity(struct world *w, size_t a) {
    struct fx *fx = w->fx;
    struct fx_key *by = any_agent(w, a);
    int32_t p = fx_partition_of(fx, w->account[a].id);
    if (chance(w, 30)) {
        fx_judge(fx, p,
                 fx_record_of(fx, by, w->account[a].id, (struct cs_bytes){(const uint8_t *)"{\"x\":1}", 7}));
    } else if (w->records_len > 0 && chance(w, 60)) {
        size_t n = w->records_len < CS_ARRAY_LEN(w->records) ? w->records_len : CS_ARRAY_LEN(w->records);
        struct fx_record *again = w->records[roll(w, (uint32_t)n)];
        fx_judge(fx, again->r.partition, again);
    } else {
        struct cs_event ev = fx_event(fx, CS_EVENT_CSR_DELETE, w->account[a].id, by, NULL);
        if (chance(w, 20))
            ev.seq = 1 + roll(w, 20);
        send(w, by, &ev);
    }
}

static void step(struct world *w) {
    size_t a = roll(w, ACCOUNTS);
    uint32_t what = roll(w, 100);
    w->fx->now_ms += roll(w, 60000);
    if (fx_waiting(w->fx) > 0 && chance(w, 25))
        fx_deliver_next(w->fx);
    else if (what < 20)
        upload_by(w, a, any_agent(w, a));
    else if (what < 40)
        issue(w, a);
    else if (what < 45)
        remove_one(w, a);
    else if (what < 72)
        share(w, a);
    else if (what < 80)
        request(w, a);
    else if (what < 85)
        update(w, a);
    else if (what < 89)
        keys(w, a);
    else
        oddity(w, a);
}

static void make_pool(struct world *w) {
    struct fx *fx = w->fx;
    for (size_t i = 0; i < CS_ARRAY_LEN(w->keys); i++)
        w->keys[i] = fx_cert_key_only(fx, "P-256");
    for (size_t i = 0; i < CERTS; i++)
        w->certs[i] = fx_cert(fx, (struct fx_cert_how){.begins_s = -FX_DAY + (int64_t)(i % 5) * 100,
                                                       .lasts_s = i % 7 == 0 ? FX_DAY + 36000 : 0,
                                                       .alone = i % 6 == 0,
                                                       .ca = i == 11,
                                                       .sha1 = i == 17,
                                                       .same_key = i % 4 == 0 ? w->keys[i / 4 % 4] : NULL});
    w->sm2[0] = fx_cert(fx, (struct fx_cert_how){.type = "SM2", .usage = "digitalSignature"});
    w->sm2[1] = fx_cert(fx, (struct fx_cert_how){.type = "SM2", .usage = "keyEncipherment"});
}

static void make_accounts(struct world *w) {
    struct fx *fx = w->fx;
    for (size_t a = 0; a < ACCOUNTS; a++) {
        snprintf(w->account[a].id, sizeof(w->account[a].id), "account-%zu", a);
        fx_account(fx, w->account[a].id, a == 7 ? "two" : "one", CS_SITE_CN, true);
        for (size_t k = 1; k < AGENTS; k++)
            w->account[a].agent[k] = fx_agent(
                fx, w->account[a].id, k == 3 ? CS_CAN_UPLOAD | CS_CAN_SHARE : CS_CAN_ALL & ~CS_CAN_ENROLL,
                k == 2 ? "*.internal" : "*");
        struct fx_key *token = fx_key_new(fx);
        struct cs_event ev = fx_enroll(fx, w->account[a].id, fx->admin, token, CS_CAN_ALL, "*");
        ev.data.enroll.uses = 5;
        ev.data.enroll.has_grant = true;
        ev.data.enroll.grant_can = CS_CAN_ALL & ~CS_CAN_ENROLL;
        strcpy(ev.data.enroll.grant_names, "*");
        assert_applied(fx_send(fx, fx->admin, &ev));
        w->account[a].agent[0] = token;
    }
}

static uint64_t seed = 42; // or the program's first argument

static int setup(void **state) {
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    w->random = seed;
    w->fx = fx_new(PARTITIONS);
    w->fx->arg = w;
    w->fx->on_decided = remember;
    fx_begin(w->fx);
    make_pool(w);
    make_accounts(w);
    for (int i = 0; i < STEPS; i++)
        step(w);
    fx_deliver_all(w->fx);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    fx_free(w->fx);
    free(w->log);
    free(w);
    return 0;
}

static void the_log_is_worth_its_length(void **state) {
    struct world *w = *state;
    size_t codes = 0;
    for (size_t i = 1; i < CS_CODE_COUNT; i++)
        codes += w->codes[i] > 0;
    print_message("%zu records: %zu applied, %zu pending, %zu rejected, %zu duplicate; %zu codes\n",
                  w->log_len, w->statuses[CS_STATUS_APPLIED], w->statuses[CS_STATUS_PENDING],
                  w->statuses[CS_STATUS_REJECTED], w->statuses[CS_STATUS_DUPLICATE], codes);
    for (int c = 1; c < CS_CODE_COUNT; c++)
        if (w->codes[c] > 0)
            print_message("  %s %zu\n", cs_code_name((enum cs_code)c), w->codes[c]);
    assert_true(w->log_len > STEPS);
    assert_true(codes >= 30);
    for (int s = CS_STATUS_APPLIED; s <= CS_STATUS_DUPLICATE; s++)
        assert_true(w->statuses[s] > 10);
    assert_true(w->statuses[CS_STATUS_PENDING] > 100);
    assert_true(w->statuses[CS_STATUS_APPLIED] > w->log_len / 4);
}

static void catalogs_agree_with_themselves(void **state) {
    struct world *w = *state;
    fx_check_invariants(w->fx);
}

// ---- judging it again

struct replay {
    struct world *w;
    int32_t partition;
    struct fx_partition at; // its state holds what was asked for
    struct cs_state *store; // what was committed
    bool touch;             // ask for what a whole batch will read before deciding
    bool hot;               // keep what is held between batches
    bool met;               // preparation knows every key
    size_t rounds;
};

static bool to_store(void *arg, const struct cs_change *c) {
    struct cs_state *s = arg;
    switch (c->kind) {
    case CS_CHANGE_PUT:
        cs_state_put(s, c->key, c->value);
        break;
    case CS_CHANGE_DELETE:
        cs_state_delete(s, c->key);
        break;
    case CS_CHANGE_ADD:
        cs_state_add(s, c->key, c->member, c->score);
        break;
    case CS_CHANGE_REMOVE:
        cs_state_remove(s, c->key, c->member);
        break;
    case CS_CHANGE_TRIM:
        cs_state_trim(s, c->key, c->keep);
        break;
    }
    return true;
}

static void commit(struct replay *r) {
    struct cs_err err;
    cs_state_begin(r->store);
    assert_true(cs_state_changes(r->at.state, to_store, r->store));
    assert_true(cs_state_keep(r->store, &err));
    cs_state_changes_clear(r->store);
    cs_state_changes_clear(r->at.state);
    if (!r->hot)
        cs_state_forget(r->at.state);
}

static void load(struct replay *r) {
    const struct cs_needed *needed = NULL;
    size_t n = cs_state_needed(r->at.state, &needed);
    assert_true(n > 0);
    struct cs_needed *copy = calloc(n, sizeof(*copy));
    assert_non_null(copy);
    memcpy(copy, needed, n * sizeof(*copy));
    cs_state_needed_clear(r->at.state);
    struct cs_err err;
    for (size_t i = 0; i < n; i++) {
        struct cs_bytes v = {NULL, 0};
        const struct cs_member *members = NULL;
        size_t members_len = 0;
        if (copy[i].index) {
            (void)cs_state_list(r->store, copy[i].key, &members, &members_len);
            assert_true(cs_state_fill_index(r->at.state, copy[i].key, members, members_len, &err));
        } else {
            if (cs_state_get(r->store, copy[i].key, &v) != CS_FOUND)
                v.data = NULL;
            assert_true(cs_state_fill(r->at.state, copy[i].key, v, &err));
        }
    }
    free(copy);
    r->rounds++;
}

static void decide(struct replay *r, const struct cs_rule_context *ctx, const struct entry *e,
                   struct cs_prepared *p) {
    struct cs_decision d;
    struct cs_err err;
    bool needed = true;
    for (int round = 0; needed; round++) {
        assert_true(round < 12);
        if (!cs_decide(ctx, r->at.state, &e->r, p, &d, &needed, &err))
            fail_msg("%s", err.msg);
        if (needed)
            load(r);
    }
    struct cs_buf b;
    cs_buf_init(&b, 1 << 20);
    fx_apply(&r->at, r->w->fx->crypto, r->partition, &e->r, p, &d, &b);
    cs_buf_putc(&b, '\n');
    put_emitted(&d.derived, &b);
    if (b.len != e->outcome.len || memcmp(b.data, e->outcome.data, b.len) != 0)
        fail_msg("offset %d:\n%.*s\nbefore:\n%.*s", (int)e->r.offset, (int)b.len, (const char *)b.data,
                 (int)e->outcome.len, (const char *)e->outcome.data);
    cs_buf_clear(&b);
    cs_decision_clear(&d);
}

static void run_batch(struct replay *r, const struct entry **entries, size_t n) {
    struct fx *fx = r->w->fx;
    struct cs_rule_context ctx = fx_context(fx, r->partition);
    struct cs_prepared **p = calloc(n, sizeof(struct cs_prepared *));
    assert_non_null(p);
    for (size_t i = 0; i < n; i++) {
        // A consumer has met most keys before, also those that come in with the same batch.
        fx->tell_keys = r->met || (entries[i]->r.offset * 7 + (int64_t)n) % 3 != 0;
        p[i] = fx_prepare(fx, &entries[i]->r);
    }
    for (bool more = r->touch; more;) {
        more = false;
        for (size_t i = 0; i < n; i++)
            more = cs_decide_touch(&ctx, r->at.state, &entries[i]->r, p[i]) || more;
        if (more)
            load(r);
    }
    for (size_t i = 0; i < n; i++) {
        decide(r, &ctx, entries[i], p[i]);
        cs_prepared_free(p[i]);
    }
    free(p);
    commit(r);
}

static void replay(struct world *w, int32_t partition, size_t batch, bool touch, bool hot, bool met) {
    struct cs_err err;
    struct replay r = {.w = w, .partition = partition, .touch = touch, .hot = hot, .met = met};
    assert_true(cs_state_new(false, &r.at.state, &err));
    assert_true(cs_state_new(true, &r.store, &err));
    const struct entry *entries[512];
    size_t n = 0, size = batch ? batch : 1, batches = 0;
    for (size_t i = 0; i < w->log_len; i++) {
        if (w->log[i].partition != partition)
            continue;
        entries[n++] = &w->log[i];
        if (n < size)
            continue;
        run_batch(&r, entries, n);
        n = 0;
        batches++;
        size = batch ? batch : 1 + (size * 5 + 3) % 211; // 0: of any size
    }
    if (n > 0)
        run_batch(&r, entries, n);
    struct cs_buf once, again;
    cs_buf_init(&once, (size_t)256 << 20);
    cs_buf_init(&again, (size_t)256 << 20);
    fx_dump(w->fx->partition[partition].state, &once);
    fx_dump(r.store, &again);
    assert_int_equal(once.len, again.len);
    assert_memory_equal(once.data, again.data, once.len);
    print_message("partition %d: %zu batches, %zu rounds of loading, %zu bytes of catalog\n", (int)partition,
                  batches + 1, r.rounds, once.len);
    if (touch && met && !hot && batch > 100) // a few a batch, not one a record
        assert_true(r.rounds * 10 < (size_t)w->fx->partition[partition].offset);
    cs_buf_clear(&once);
    cs_buf_clear(&again);
    cs_state_free(r.at.state);
    cs_state_free(r.store);
}

static void again_one_by_one(void **state) {
    for (int32_t p = 0; p < PARTITIONS; p++)
        replay(*state, p, 1, false, false, false);
}

static void again_in_batches_of_any_size(void **state) {
    for (int32_t p = 0; p < PARTITIONS; p++)
        replay(*state, p, 0, p == 1, false, false);
}

static void again_in_large_batches_loaded_ahead(void **state) {
    for (int32_t p = 0; p < PARTITIONS; p++)
        replay(*state, p, 500, true, false, p != 1);
}

static void again_with_what_is_held_kept(void **state) {
    for (int32_t p = 0; p < PARTITIONS; p++)
        replay(*state, p, 37, p != 2, true, false);
}

int main(int argc, char **argv) {
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_log_is_worth_its_length),
        cmocka_unit_test(catalogs_agree_with_themselves),
        cmocka_unit_test(again_one_by_one),
        cmocka_unit_test(again_in_batches_of_any_size),
        cmocka_unit_test(again_in_large_batches_loaded_ahead),
        cmocka_unit_test(again_with_what_is_held_kept),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
