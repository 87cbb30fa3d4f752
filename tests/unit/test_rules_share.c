// SPDX-License-Identifier: Apache-2.0
//
// The owner's end of shares: who may share what, and every cell of state and event.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "share_family.h"

static int setup(void **state) {
    struct fx *fx = fx_new(2);
    fx_begin(fx);
    *state = fx;
    return 0;
}

static int teardown(void **state) {
    fx_free(*state);
    return 0;
}

static bool read_share(struct fx *fx, const struct family *f, struct cs_share *ret) {
    struct cs_err err;
    struct cs_bytes doc = fx_doc(fx, f->owner, fx_text(fx, "share/%s/%s", f->owner, f->share));
    return doc.data && cs_share_decode(doc, ret, &err);
}

// ---- who may share what

static const struct cs_verdict *share(struct fx *fx, struct family *f, const char *id, const char *to) {
    return fx_share(fx, f->owner, f->owner_key, id, to);
}

static void a_share_is_pending_and_offered(void **state) {
    struct fx *fx = *state;
    struct family f;
    family_make(fx, &f);
    struct cs_event ev = fx_event(fx, CS_EVENT_CERTIFICATE_SHARE, f.owner, f.owner_key, f.certificate);
    strcpy(ev.data.share.to, f.recipient);
    const struct cs_verdict *v = fx_send(fx, f.owner_key, &ev);
    assert_verdict(v, PENDING, NONE);
    assert_string_equal(v->subject, f.certificate);
    assert_int_equal(v->version, 1);
    assert_int_equal(v->concludes_len, 0);
    strcpy(f.share, ev.id);
    struct cs_share s;
    assert_true(read_share(fx, &f, &s));
    assert_int_equal(s.state, CS_SHARE_PENDING);
    assert_string_equal(s.to, f.recipient);
    assert_string_equal(s.certificate, f.certificate);
    assert_int_equal(s.version, 1);
    assert_int_equal(s.accepted, 0);
    assert_true(
        fx_in_index(fx, f.owner, fx_text(fx, "shares/%s", f.owner), fx_text(fx, "out/%s", f.share), NULL));
    assert_int_equal(fx_waiting(fx), 1);
    const struct cs_event *offer = fx_peek(fx);
    assert_int_equal(offer->type, CS_EVENT_SHARE_OFFER);
    assert_string_equal(offer->account, f.recipient);
    assert_string_equal(offer->subject, f.certificate);
    assert_string_equal(offer->data.offer.share, f.share);
    assert_string_equal(offer->data.offer.owner_account, f.owner);
    assert_string_equal(offer->data.offer.owner, "acme-inc");
    assert_int_equal(offer->data.offer.site, CS_SITE_CN);
    assert_int_equal(offer->data.offer.version, 1);
    assert_int_equal(offer->data.offer.origin, fx_partition_of(fx, f.owner));
    assert_string_equal(offer->data.offer.certificate.name, f.name);
    assert_int_equal(offer->time_s, fx_now_s(fx));
    // The id is made from the event and the number of what it emitted, so that it is the same every time.
    uint8_t hash[32];
    cs_uuid id;
    struct cs_bytes parts[] = {{(const uint8_t *)"certsync.derived.v1", 20},
                               {(const uint8_t *)FX_LOG, sizeof FX_LOG},
                               {(const uint8_t *)ev.id, CS_UUID_LEN + 1},
                               {(const uint8_t *)"1", 2}};
    cs_crypto_sha256_parts(fx->crypto, parts, 4, hash);
    cs_uuid_v8(hash, id);
    assert_string_equal(offer->id, id);
    family_emitted(fx);
}

static void what_may_not_be_shared(void **state) {
    struct fx *fx = *state;
    struct family f;
    family_make(fx, &f);
    assert_rejected(share(fx, &f, fx_uuid(fx), f.recipient), CERTIFICATE_NOT_FOUND);
    assert_rejected(share(fx, &f, f.certificate, f.owner), SHARE_SELF);
    const char *uploaded = fx_uuid(fx);
    struct cs_event ev =
        fx_upload(fx, f.owner, f.owner_key, uploaded, "own", fx_cert(fx, (struct fx_cert_how){0}));
    assert_applied(fx_send(fx, f.owner_key, &ev));
    assert_rejected(share(fx, &f, uploaded, f.recipient), SHARE_UPLOADED);
    // Test certificates may be.
    const char *test = fx_uuid(fx), *brief = fx_uuid(fx), *gone = fx_uuid(fx);
    ev = fx_issue(fx, f.owner, test, "test", fx_cert(fx, (struct fx_cert_how){0}));
    ev.data.upload.source = CS_SOURCE_TEST;
    assert_applied(fx_send(fx, fx->issuer, &ev));
    assert_verdict(share(fx, &f, test, f.recipient), PENDING, NONE);
    assert_rejected(share(fx, &f, test, f.recipient), SHARE_EXISTS); // pending counts
    ev = fx_issue(fx, f.owner, brief, "brief", fx_cert(fx, (struct fx_cert_how){.lasts_s = FX_DAY + 1}));
    assert_applied(fx_send(fx, fx->issuer, &ev));
    fx->now_ms += 1999; // one second later it still is valid
    assert_verdict(share(fx, &f, brief, f.recipient), PENDING, NONE);
    fx->now_ms += 1;
    assert_rejected(share(fx, &f, brief, "another"), SHARE_EXPIRED);
    fx->now_ms = FX_NOW_MS;
    ev = fx_issue(fx, f.owner, gone, "gone", fx_cert(fx, (struct fx_cert_how){0}));
    assert_applied(fx_send(fx, fx->issuer, &ev));
    ev = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, f.owner, f.owner_key, gone);
    assert_applied(fx_send(fx, f.owner_key, &ev));
    assert_rejected(share(fx, &f, gone, f.recipient), CERTIFICATE_NOT_FOUND);
    family_emitted(fx);
    assert_applied(family_update(fx, f.owner, CS_CODE_SHARE_UNVERIFIED));
    family_emitted(fx);
    assert_rejected(share(fx, &f, f.certificate, f.recipient), SHARE_UNVERIFIED);
    assert_string_equal(family_emitted(fx), "");
}

static void what_was_shared_in_is_not_shared_on(void **state) {
    struct fx *fx = *state;
    struct family f;
    family_make(fx, &f);
    assert_verdict(share(fx, &f, f.certificate, f.recipient), PENDING, NONE);
    assert_rejected(fx_share(fx, f.recipient, f.recipient_key, f.certificate, "third"),
                    CERTIFICATE_NOT_FOUND);
    fx_deliver_all(fx);
    assert_rejected(fx_share(fx, f.recipient, f.recipient_key, f.certificate, "third"), SHARE_RESHARE);
    assert_rejected(fx_share(fx, f.recipient, f.recipient_key, fx_uuid(fx), "third"), CERTIFICATE_NOT_FOUND);
}

static void the_limit_counts_open_and_pending_shares(void **state) {
    struct fx *fx = *state;
    struct family f;
    family_make(fx, &f);
    struct cs_event ev = fx_event(fx, CS_EVENT_ACCOUNT_UPDATE, f.owner, fx->admin, f.owner);
    ev.data.account.has_shares = true;
    ev.data.account.limit_shares = 2;
    assert_applied(fx_send(fx, fx->admin, &ev));
    assert_verdict(share(fx, &f, f.certificate, f.recipient), PENDING, NONE);
    fx_deliver_all(fx);
    assert_verdict(share(fx, &f, f.certificate, "second"), PENDING, NONE);
    assert_rejected(share(fx, &f, f.certificate, "third"), SHARE_LIMIT);
    fx_deliver_all(fx); // the second does not exist: refused
    assert_verdict(share(fx, &f, f.certificate, "third"), PENDING, NONE);
    family_emitted(fx);
}

// What comes of one event is bounded: 1,000 shares end with a change of the account, one more and it is refused.
static void no_more_shares_end_with_one_event(void **state) {
    struct fx *fx = *state;
    struct family f;
    family_make(fx, &f);
    struct cs_event ev = fx_event(fx, CS_EVENT_ACCOUNT_UPDATE, f.owner, fx->admin, f.owner);
    ev.data.account.has_shares = ev.data.account.has_shares_out = true;
    ev.data.account.limit_shares = CS_SHARES_MAX;
    ev.data.account.limit_shares_out = CS_SHARES_MAX + 1;
    assert_applied(fx_send(fx, fx->admin, &ev));
    for (int i = 0; i < CS_SHARES_MAX; i++)
        assert_verdict(share(fx, &f, f.certificate, fx_text(fx, "to-%d", i)), PENDING, NONE);
    const char *another = fx_official(fx, f.owner, "another");
    assert_verdict(share(fx, &f, another, f.recipient), PENDING, NONE);
    while (fx_waiting(fx) > 0) // the offers
        family_emitted(fx);
    assert_rejected(family_update(fx, f.owner, CS_CODE_SHARE_OWNER), ACCOUNT_SHARES);
    assert_rejected(family_update(fx, f.owner, CS_CODE_SHARE_UNVERIFIED), ACCOUNT_SHARES);
    assert_int_equal(fx_waiting(fx), 0);
    ev = fx_event(fx, CS_EVENT_ACCOUNT_UPDATE, f.owner, fx->admin, f.owner); // what ends none is as it was
    ev.data.account.has_shares = true;
    ev.data.account.limit_shares = 7;
    assert_applied(fx_send(fx, fx->admin, &ev));
    assert_applied(fx_unshare(fx, f.owner, f.owner_key, another, f.recipient));
    family_emitted(fx);
    assert_applied(family_update(fx, f.owner, CS_CODE_SHARE_UNVERIFIED));
    assert_int_equal(fx_waiting(fx), CS_SHARES_MAX);
    while (fx_waiting(fx) > 0)
        family_emitted(fx);
}

// The share's id is the event's, which is the sender's choice.
static void an_id_that_was_used_makes_no_share(void **state) {
    struct fx *fx = *state;
    struct family f;
    family_make(fx, &f);
    struct cs_event ev = fx_event(fx, CS_EVENT_CERTIFICATE_SHARE, f.owner, f.owner_key, f.certificate);
    strcpy(ev.data.share.to, f.recipient);
    assert_verdict(fx_send(fx, f.owner_key, &ev), PENDING, NONE);
    assert_applied(fx_unshare(fx, f.owner, f.owner_key, f.certificate, f.recipient));
    ev.seq = ++f.owner_key->seq;
    assert_rejected(fx_send(fx, f.owner_key, &ev), CERTIFICATE_ID_USED);
    family_emitted(fx);
}

// ---- the table

enum does {
    ACCEPTED_1,
    ACCEPTED_2,
    REFUSED,
    REMOVED,
    UNSHARE,
    CASCADE,
    OWNER,
    SITE,
    UNVERIFIED,
    OTHER_UPDATE,
    RENEW,
    STRANGER
};

static const struct cs_verdict *answer(struct fx *fx, const struct family *f, const char *by,
                                       enum cs_share_reply reply, int64_t version, enum cs_code code) {
    struct cs_event ev = family_derived(fx, CS_EVENT_SHARE_ANSWER, f->owner, f->recipient, f->certificate);
    strcpy(ev.data.answer.share, f->share);
    strcpy(ev.data.answer.recipient, by);
    ev.data.answer.reply = reply;
    ev.data.answer.version = version;
    ev.data.answer.code = code;
    ev.data.answer.origin = fx_partition_of(fx, f->recipient);
    return fx_send(fx, fx->service, &ev);
}

static const struct cs_verdict *act(struct fx *fx, struct family *f, enum does what) {
    struct cs_event ev;
    switch (what) {
    case ACCEPTED_1:
        return answer(fx, f, f->recipient, CS_REPLY_ACCEPTED, 1, CS_CODE_NONE);
    case ACCEPTED_2:
        return answer(fx, f, f->recipient, CS_REPLY_ACCEPTED, 2, CS_CODE_NONE);
    case REFUSED:
        return answer(fx, f, f->recipient, CS_REPLY_REFUSED, 1, CS_CODE_SHARE_SITE);
    case REMOVED:
        return answer(fx, f, f->recipient, CS_REPLY_REMOVED, 1, CS_CODE_NONE);
    case STRANGER:
        return answer(fx, f, "somebody", CS_REPLY_REFUSED, 1, CS_CODE_SHARE_SITE);
    case UNSHARE:
        return fx_unshare(fx, f->owner, f->owner_key, f->certificate, f->recipient);
    case CASCADE:
        ev = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, f->owner, f->owner_key, f->certificate);
        ev.data.del.cascade = true;
        return fx_send(fx, f->owner_key, &ev);
    case OWNER:
        return family_update(fx, f->owner, CS_CODE_SHARE_OWNER);
    case SITE:
        return family_update(fx, f->owner, CS_CODE_SHARE_SITE);
    case UNVERIFIED:
        return family_update(fx, f->owner, CS_CODE_SHARE_UNVERIFIED);
    case OTHER_UPDATE:
        return family_update(fx, f->owner, CS_CODE_NONE);
    case RENEW:
        return family_renew(fx, f, 0);
    }
    return NULL;
}

static void bring_to(struct fx *fx, struct family *f, enum cs_share_state state) {
    family_make(fx, f);
    if (state == 0) {
        strcpy(f->share, fx_uuid(fx));
        return;
    }
    struct cs_event ev = fx_event(fx, CS_EVENT_CERTIFICATE_SHARE, f->owner, f->owner_key, f->certificate);
    strcpy(ev.data.share.to, f->recipient);
    strcpy(f->share, ev.id);
    assert_verdict(fx_send(fx, f->owner_key, &ev), PENDING, NONE);
    if (state == CS_SHARE_OPEN)
        assert_applied(act(fx, f, ACCEPTED_1));
    else if (state == CS_SHARE_CLOSED)
        assert_applied(act(fx, f, UNSHARE));
    family_emitted(fx);
}

#define NOTHING  0, CS_CODE_NONE
#define CLOSED   CS_CODE_SHARE_CLOSED
#define APPLIED  CS_STATUS_APPLIED
#define REJECTED CS_STATUS_REJECTED
#define P        CS_SHARE_PENDING
#define O        CS_SHARE_OPEN
#define C        CS_SHARE_CLOSED
#define C_OF(x)  CS_CODE_SHARE_##x
static const struct cell {
    enum cs_share_state state; // 0: there is no such share
    enum does does;
    enum cs_status status; // of the event
    enum cs_code code;
    enum cs_share_state after;
    enum cs_code why; // of the share, where it is closed by this
    int64_t accepted;
    enum cs_status concluded; // of the share's event; 0: not concluded
    enum cs_code concluded_code;
    const char *emitted;
} cells[] = {
    {0, ACCEPTED_1, APPLIED, CLOSED, 0, 0, 0, NOTHING, "withdraw share.closed"},
    {0, REFUSED, APPLIED, CLOSED, 0, 0, 0, NOTHING, ""},
    {0, REMOVED, APPLIED, CLOSED, 0, 0, 0, NOTHING, ""},
    {0, UNSHARE, REJECTED, C_OF(NOT_FOUND), 0, 0, 0, NOTHING, ""},
    {0, CASCADE, APPLIED, 0, 0, 0, 0, NOTHING, ""},
    {0, OWNER, APPLIED, 0, 0, 0, 0, NOTHING, ""},
    {0, RENEW, APPLIED, 0, 0, 0, 0, NOTHING, ""},

    {P, ACCEPTED_1, APPLIED, 0, O, 0, 1, APPLIED, 0, ""},
    {P, REFUSED, APPLIED, 0, C, C_OF(SITE), 0, REJECTED, C_OF(SITE), ""},
    {P, REMOVED, APPLIED, 0, C, CLOSED, 0, REJECTED, CLOSED, "withdraw share.closed"},
    {P, UNSHARE, APPLIED, 0, C, CLOSED, 0, REJECTED, CLOSED, "withdraw share.closed"},
    {P, CASCADE, APPLIED, 0, C, CLOSED, 0, REJECTED, CLOSED, "withdraw share.closed"},
    {P, OWNER, APPLIED, 0, C, C_OF(OWNER), 0, REJECTED, CLOSED, "withdraw share.owner"},
    {P, SITE, APPLIED, 0, C, C_OF(SITE), 0, REJECTED, CLOSED, "withdraw share.site"},
    {P, UNVERIFIED, APPLIED, 0, C, C_OF(UNVERIFIED), 0, REJECTED, CLOSED, "withdraw share.unverified"},
    {P, OTHER_UPDATE, APPLIED, 0, P, 0, 0, NOTHING, ""},
    {P, RENEW, APPLIED, 0, P, 0, 0, NOTHING, "offer 2"},
    {P, STRANGER, APPLIED, CLOSED, P, 0, 0, NOTHING, ""},

    {O, ACCEPTED_1, APPLIED, 0, O, 0, 1, NOTHING, ""},
    {O, ACCEPTED_2, APPLIED, 0, O, 0, 2, NOTHING, ""},
    {O, REFUSED, APPLIED, 0, C, C_OF(SITE), 1, NOTHING, ""},
    {O, REMOVED, APPLIED, 0, C, CLOSED, 1, NOTHING, "withdraw share.closed"},
    {O, UNSHARE, APPLIED, 0, C, CLOSED, 1, NOTHING, "withdraw share.closed"},
    {O, CASCADE, APPLIED, 0, C, CLOSED, 1, NOTHING, "withdraw share.closed"},
    {O, OWNER, APPLIED, 0, C, C_OF(OWNER), 1, NOTHING, "withdraw share.owner"},
    {O, SITE, APPLIED, 0, C, C_OF(SITE), 1, NOTHING, "withdraw share.site"},
    {O, UNVERIFIED, APPLIED, 0, C, C_OF(UNVERIFIED), 1, NOTHING, "withdraw share.unverified"},
    {O, OTHER_UPDATE, APPLIED, 0, O, 0, 1, NOTHING, ""},
    {O, RENEW, APPLIED, 0, O, 0, 1, NOTHING, "offer 2"},
    {O, STRANGER, APPLIED, CLOSED, O, 0, 1, NOTHING, ""},

    {C, ACCEPTED_1, APPLIED, CLOSED, C, CLOSED, 0, NOTHING, "withdraw share.closed"},
    {C, REFUSED, APPLIED, CLOSED, C, CLOSED, 0, NOTHING, ""},
    {C, REMOVED, APPLIED, CLOSED, C, CLOSED, 0, NOTHING, ""},
    {C, UNSHARE, REJECTED, C_OF(NOT_FOUND), C, CLOSED, 0, NOTHING, ""},
    {C, CASCADE, APPLIED, 0, C, CLOSED, 0, NOTHING, ""},
    {C, OWNER, APPLIED, 0, C, CLOSED, 0, NOTHING, ""},
    {C, RENEW, APPLIED, 0, C, CLOSED, 0, NOTHING, ""},
};

static void check_ref(struct fx *fx, const struct family *f, bool live, bool deleted) {
    struct cs_certificate c;
    struct cs_err err;
    assert_true(cs_certificate_decode(
        fx_doc(fx, f->owner, fx_text(fx, "cert/%s/%s", f->owner, f->certificate)), &c, &err));
    assert_int_equal(c.deleted, deleted);
    assert_int_equal(c.shares_len, live ? 1 : 0);
    cs_certificate_clear(&c);
    assert_int_equal(
        fx_in_index(fx, f->owner, fx_text(fx, "shares/%s", f->owner), fx_text(fx, "out/%s", f->share), NULL),
        live);
}

static void check_cell(struct fx *fx, const struct cell *cell) {
    struct family f;
    bring_to(fx, &f, cell->state);
    fx->now_ms += 1000;
    const struct cs_verdict *v = act(fx, &f, cell->does);
    assert_int_equal(v->status, cell->status);
    assert_int_equal(v->code, cell->code);
    assert_int_equal(v->concludes_len, cell->concluded ? 1 : 0);
    if (cell->concluded) {
        assert_string_equal(v->concludes[0].event, f.share);
        assert_string_equal(v->concludes[0].account, f.owner);
        assert_int_equal(v->concludes[0].status, cell->concluded);
        assert_int_equal(v->concludes[0].code, cell->concluded_code);
        struct cs_bytes doc = fx_doc(fx, f.owner, fx_text(fx, "outcome/%s/%s", f.owner, f.share));
        assert_non_null(strstr(fx_text(fx, "%.*s", (int)(doc.len > 500 ? 500 : doc.len),
                                       (const char *)doc.data + doc.len - (doc.len > 500 ? 500 : doc.len)),
                               "\"final\":{"));
    }
    assert_string_equal(family_emitted(fx), cell->emitted);
    struct cs_share s;
    bool there = read_share(fx, &f, &s);
    assert_int_equal(there, cell->after != 0);
    check_ref(fx, &f, cell->after == P || cell->after == O, cell->does == CASCADE);
    if (there) {
        assert_int_equal(s.state, cell->after);
        assert_int_equal(s.code, cell->why);
        assert_int_equal(s.accepted, cell->accepted);
        assert_int_equal(s.version, cell->does == RENEW && cell->state != C ? 2 : 1);
    }
    int64_t since_ms = 0;
    assert_int_equal(fx_in_index(fx, f.owner, "pending", fx_text(fx, "%s/%s", f.owner, f.share), &since_ms),
                     cell->after == P);
    if (cell->after == P)
        assert_int_equal(since_ms, s.created_ms);
    fx->now_ms -= 1000;
}

static void every_cell(void **state) {
    for (size_t i = 0; i < CS_ARRAY_LEN(cells); i++) {
        print_message("cell: state %d, event %d\n", cells[i].state, cells[i].does);
        check_cell(*state, &cells[i]);
    }
}

// What is under way and what has come are never mixed up: the highest acceptance counts.
static void acceptances_may_come_late(void **state) {
    struct fx *fx = *state;
    struct family f;
    bring_to(fx, &f, O);
    assert_applied(act(fx, &f, ACCEPTED_2));
    assert_applied(act(fx, &f, ACCEPTED_1));
    struct cs_share s;
    assert_true(read_share(fx, &f, &s));
    assert_int_equal(s.accepted, 2);
    family_emitted(fx);
}

static void shared_certificates_are_not_deleted(void **state) {
    struct fx *fx = *state;
    for (enum cs_share_state st = P; st <= C; st++) {
        struct family f;
        bring_to(fx, &f, st);
        struct cs_event ev = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, f.owner, f.owner_key, f.certificate);
        const struct cs_verdict *v = fx_send(fx, f.owner_key, &ev);
        if (st == C)
            assert_applied(v);
        else
            assert_rejected(v, DELETE_SHARED);
    }
}

// Many shares of many certificates end at once, each with its own conclusion.
static void all_shares_end_together(void **state) {
    struct fx *fx = *state;
    struct family f;
    family_make(fx, &f);
    const char *other = fx_official(fx, f.owner, "other.example.com");
    for (int i = 0; i < 4; i++) {
        const char *to = i % 2 ? f.recipient : "nobody";
        assert_verdict(share(fx, &f, i < 2 ? f.certificate : other, to), PENDING, NONE);
        if (i == 1)
            fx_deliver_all(fx); // nobody refuses, the recipient accepts
    }
    family_emitted(fx);
    const struct cs_verdict *v = family_update(fx, f.owner, CS_CODE_SHARE_SITE);
    assert_applied(v);
    assert_int_equal(v->concludes_len, 2);
    assert_string_equal(family_emitted(fx), "withdraw share.site; withdraw share.site; withdraw share.site");
    f.certificate = other;
    check_ref(fx, &f, false, false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_share_is_pending_and_offered),
        cmocka_unit_test(what_may_not_be_shared),
        cmocka_unit_test(what_was_shared_in_is_not_shared_on),
        cmocka_unit_test(the_limit_counts_open_and_pending_shares),
        cmocka_unit_test(no_more_shares_end_with_one_event),
        cmocka_unit_test(an_id_that_was_used_makes_no_share),
        cmocka_unit_test(every_cell),
        cmocka_unit_test(acceptances_may_come_late),
        cmocka_unit_test(shared_certificates_are_not_deleted),
        cmocka_unit_test(all_shares_end_together),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
