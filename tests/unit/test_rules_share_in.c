// SPDX-License-Identifier: Apache-2.0
//
// The recipient's end of shares: every cell of state and event; and both ends together.
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

enum end { NONE_YET, OPEN, CLOSED };
// What comes: an offer of a version; the same while something does not hold; a withdrawal...
enum does {
    OFFER_1,
    OFFER_2,
    BAD_OWNER,
    BAD_SITE,
    BAD_VERIFIED,
    BAD_EXPIRED,
    BAD_SELF,
    WITHDRAW,
    DELETE_FROM,
    OWNER,
    SITE,
    UNVERIFIED,
    OTHER_UPDATE
};

// A summary as the owner's partition would send it.
static struct cs_event offer(struct fx *fx, const struct family *f, int64_t version) {
    struct cs_event ev = family_derived(fx, CS_EVENT_SHARE_OFFER, f->recipient, f->owner, f->certificate);
    strcpy(ev.data.offer.share, f->share);
    strcpy(ev.data.offer.owner_account, f->owner);
    strcpy(ev.data.offer.owner, "acme-inc");
    ev.data.offer.site = CS_SITE_CN;
    ev.data.offer.version = version;
    ev.data.offer.origin = fx_partition_of(fx, f->owner);
    struct cs_cert_summary *s = &ev.data.offer.certificate;
    strcpy(s->name, f->name);
    s->algorithm = CS_ALGORITHM_INTERNATIONAL;
    s->source = CS_SOURCE_OFFICIAL;
    s->version = version;
    s->leaves_len = 1;
    s->leaves[0] = (struct cs_leaf){.serial = "01",
                                    .key_type = CS_KEY_P256,
                                    .key_bits = 256,
                                    .not_before_s = fx_now_s(fx) - FX_DAY,
                                    .not_after_s = fx_now_s(fx) + version * FX_DAY,
                                    .subject = (char *)(uintptr_t) "CN=www.example.com",
                                    .issuer = (char *)(uintptr_t) "CN=Example CA"};
    return ev;
}

static const struct cs_verdict *withdraw(struct fx *fx, const struct family *f) {
    struct cs_event ev = family_derived(fx, CS_EVENT_SHARE_WITHDRAW, f->recipient, f->owner, f->certificate);
    strcpy(ev.data.withdraw.share, f->share);
    strcpy(ev.data.withdraw.owner_account, f->owner);
    ev.data.withdraw.code = CS_CODE_SHARE_CLOSED;
    ev.data.withdraw.origin = fx_partition_of(fx, f->owner);
    return fx_send(fx, fx->service, &ev);
}

static const struct cs_verdict *delete_from(struct fx *fx, const struct family *f) {
    struct cs_event ev =
        fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, f->recipient, f->recipient_key, f->certificate);
    strcpy(ev.data.del.from, f->owner);
    return fx_send(fx, f->recipient_key, &ev);
}

// An offer whose sender says something else than the recipient's account does.
static const struct cs_verdict *bad_offer(struct fx *fx, struct family *f, int64_t version, enum does what) {
    struct cs_event ev = offer(fx, f, version);
    if (what == BAD_OWNER)
        strcpy(ev.data.offer.owner, "somebody-else");
    if (what == BAD_SITE)
        ev.data.offer.site = CS_SITE_INTL;
    if (what == BAD_EXPIRED)
        ev.data.offer.certificate.leaves[0].not_after_s = fx_now_s(fx) - 1;
    if (what == BAD_SELF)
        strcpy(ev.data.offer.owner_account, f->recipient);
    if (what != BAD_VERIFIED)
        return fx_send(fx, fx->service, &ev);
    // Not by an update, which would end the share: as a catalog that holds just this.
    struct cs_state *s = fx->partition[fx_partition_of(fx, f->recipient)].state;
    struct cs_account a;
    struct cs_err err;
    const char *key = fx_text(fx, "account/%s", f->recipient);
    assert_true(cs_account_decode(fx_doc(fx, f->recipient, key), &a, &err));
    a.verified = false;
    struct cs_buf b;
    cs_buf_init(&b, 4096);
    cs_account_encode(&b, &a);
    cs_state_begin(s);
    cs_state_put(s, key, cs_buf_bytes(&b));
    assert_true(cs_state_keep(s, &err));
    cs_buf_clear(&b);
    return fx_send(fx, fx->service, &ev);
}

static const struct cs_verdict *act(struct fx *fx, struct family *f, enum end end, enum does what) {
    struct cs_event ev;
    switch (what) {
    case OFFER_1:
    case OFFER_2:
        ev = offer(fx, f, what == OFFER_1 ? 1 : 2);
        return fx_send(fx, fx->service, &ev);
    case BAD_OWNER:
    case BAD_SITE:
    case BAD_VERIFIED:
    case BAD_EXPIRED:
    case BAD_SELF:
        return bad_offer(fx, f, end == NONE_YET ? 1 : 2, what);
    case WITHDRAW:
        return withdraw(fx, f);
    case DELETE_FROM:
        return delete_from(fx, f);
    case OWNER:
        return family_update(fx, f->recipient, CS_CODE_SHARE_OWNER);
    case SITE:
        return family_update(fx, f->recipient, CS_CODE_SHARE_SITE);
    case UNVERIFIED:
        return family_update(fx, f->recipient, CS_CODE_SHARE_UNVERIFIED);
    case OTHER_UPDATE:
        return family_update(fx, f->recipient, CS_CODE_NONE);
    }
    return NULL;
}

static void bring_to(struct fx *fx, struct family *f, enum end end) {
    family_make(fx, f);
    strcpy(f->share, fx_uuid(fx));
    if (end != NONE_YET)
        assert_applied(act(fx, f, NONE_YET, OFFER_1));
    if (end == CLOSED)
        assert_applied(delete_from(fx, f));
    family_emitted(fx);
}

#define SC      CS_CODE_SHARE_CLOSED
#define C_OF(x) CS_CODE_SHARE_##x
static const struct cell {
    enum end end;
    enum does does;
    enum cs_code code; // of the verdict, which is applied; but for certificate.not_found
    enum end after;
    enum cs_code why; // of the recipient's end, where it is closed
    int64_t version;  // that the recipient holds afterwards
    const char *answered;
} cells[] = {
    {NONE_YET, OFFER_1, 0, OPEN, 0, 1, "accepted 1"},
    {NONE_YET, OFFER_2, 0, OPEN, 0, 2, "accepted 2"},
    {NONE_YET, BAD_OWNER, C_OF(OWNER), NONE_YET, 0, 0, "refused 1 share.owner"},
    {NONE_YET, BAD_SITE, C_OF(SITE), NONE_YET, 0, 0, "refused 1 share.site"},
    {NONE_YET, BAD_VERIFIED, C_OF(UNVERIFIED), NONE_YET, 0, 0, "refused 1 share.unverified"},
    {NONE_YET, BAD_EXPIRED, C_OF(EXPIRED), NONE_YET, 0, 0, "refused 1 share.expired"},
    {NONE_YET, BAD_SELF, C_OF(SELF), NONE_YET, 0, 0, "refused 1 share.self"},
    {NONE_YET, WITHDRAW, SC, NONE_YET, 0, 0, ""},
    {NONE_YET, DELETE_FROM, CS_CODE_CERTIFICATE_NOT_FOUND, NONE_YET, 0, 0, ""},
    {NONE_YET, OWNER, 0, NONE_YET, 0, 0, ""},
    {NONE_YET, SITE, 0, NONE_YET, 0, 0, ""},
    {NONE_YET, UNVERIFIED, 0, NONE_YET, 0, 0, ""},

    {OPEN, OFFER_1, 0, OPEN, 0, 1, "accepted 1"},
    {OPEN, OFFER_2, 0, OPEN, 0, 2, "accepted 2"},
    {OPEN, BAD_OWNER, C_OF(OWNER), NONE_YET, 0, 0, "removed 1 share.owner"},
    {OPEN, BAD_SITE, C_OF(SITE), NONE_YET, 0, 0, "removed 1 share.site"},
    {OPEN, BAD_VERIFIED, C_OF(UNVERIFIED), NONE_YET, 0, 0, "removed 1 share.unverified"},
    {OPEN, BAD_EXPIRED, C_OF(EXPIRED), NONE_YET, 0, 0, "removed 1 share.expired"},
    {OPEN, WITHDRAW, 0, NONE_YET, 0, 0, ""},
    {OPEN, DELETE_FROM, 0, CLOSED, 0, 0, "removed 1"},
    {OPEN, OWNER, 0, CLOSED, C_OF(OWNER), 0, "removed 1 share.owner"},
    {OPEN, SITE, 0, CLOSED, C_OF(SITE), 0, "removed 1 share.site"},
    {OPEN, UNVERIFIED, 0, CLOSED, C_OF(UNVERIFIED), 0, "removed 1 share.unverified"},
    {OPEN, OTHER_UPDATE, 0, OPEN, 0, 1, ""},

    {CLOSED, OFFER_1, SC, CLOSED, 0, 0, "removed 1 share.closed"},
    {CLOSED, OFFER_2, SC, CLOSED, 0, 0, "removed 2 share.closed"},
    {CLOSED, BAD_OWNER, SC, CLOSED, 0, 0, "removed 2 share.closed"},
    {CLOSED, WITHDRAW, SC, NONE_YET, 0, 0, ""},
    {CLOSED, DELETE_FROM, CS_CODE_CERTIFICATE_NOT_FOUND, CLOSED, 0, 0, ""},
    {CLOSED, OWNER, 0, CLOSED, 0, 0, ""},
    {CLOSED, SITE, 0, CLOSED, 0, 0, ""},
    {CLOSED, UNVERIFIED, 0, CLOSED, 0, 0, ""},
};

static enum end end_of(struct fx *fx, const struct family *f, enum cs_code *ret_why) {
    struct cs_share_in in = {.open = false};
    struct cs_err err;
    struct cs_bytes doc = fx_doc(fx, f->recipient, fx_text(fx, "share-in/%s/%s", f->recipient, f->share));
    *ret_why = CS_CODE_NONE;
    if (!doc.data)
        return NONE_YET;
    assert_true(cs_share_in_decode(doc, &in, &err));
    *ret_why = in.code;
    return in.open ? OPEN : CLOSED;
}

// What the recipient sees: the entry, its version, and the three indexes; all or none of them.
static int64_t held(struct fx *fx, const struct family *f) {
    struct cs_bytes doc =
        fx_doc(fx, f->recipient, fx_text(fx, "shared-in/%s/%s/%s", f->recipient, f->owner, f->certificate));
    const char *member = fx_text(fx, "%s/s/%s/%s", f->name, f->owner, f->certificate);
    struct cs_shared_in entry;
    memset(&entry, 0, sizeof(entry));
    struct cs_err err;
    int64_t ends = 0;
    if (doc.data)
        assert_true(cs_shared_in_decode(doc, &entry, &err));
    assert_int_equal(fx_in_index(fx, f->recipient, fx_text(fx, "view/%s", f->recipient), member, NULL),
                     doc.data != NULL);
    assert_int_equal(fx_in_index(fx, f->recipient, fx_text(fx, "expiry/%s", f->recipient), member, &ends),
                     doc.data != NULL);
    assert_int_equal(fx_in_index(fx, f->recipient, fx_text(fx, "shares/%s", f->recipient),
                                 fx_text(fx, "in/%s", f->share), NULL),
                     doc.data != NULL);
    int64_t version = entry.summary.version;
    if (doc.data) {
        assert_string_equal(entry.share, f->share);
        assert_int_equal(ends, entry.summary.leaves[0].not_after_s);
    }
    cs_shared_in_clear(&entry);
    return version;
}

struct search {
    const char *account;
    size_t found;
};

static void count_named(struct search *s, const char *text) {
    const char *at = strstr(text, s->account);
    char after = at ? at[strlen(s->account)] : 'x';
    s->found += after == '/' || after == '\0';
}

static bool count_doc(void *arg, const char *key, struct cs_bytes value) {
    (void)value;
    count_named(arg, key);
    return true;
}

static bool count_members(void *arg, const char *key, const struct cs_member *members, size_t n) {
    struct search *s = arg;
    for (size_t i = 0; i < n; i++) {
        count_named(s, key);
        count_named(s, members[i].name);
    }
    return true;
}

// How many documents and members of indexes are in an account's space, its outcomes among them.
static size_t left_at(struct fx *fx, const char *account) {
    struct search s = {.account = account};
    assert_true(
        cs_state_each(fx->partition[fx_partition_of(fx, account)].state, count_doc, count_members, &s));
    return s.found;
}

static void every_cell(void **state) {
    struct fx *fx = *state;
    for (size_t i = 0; i < CS_ARRAY_LEN(cells); i++) {
        const struct cell *cell = &cells[i];
        print_message("cell: end %d, event %d\n", cell->end, cell->does);
        struct family f;
        bring_to(fx, &f, cell->end);
        size_t before = left_at(fx, f.recipient);
        const struct cs_verdict *v = act(fx, &f, cell->end, cell->does);
        assert_int_equal(v->status, cell->code == CS_CODE_CERTIFICATE_NOT_FOUND ? CS_STATUS_REJECTED
                                                                                : CS_STATUS_APPLIED);
        assert_int_equal(v->code, cell->code);
        assert_int_equal(v->concludes_len, 0);
        assert_string_equal(family_emitted(fx), cell->answered);
        enum cs_code why;
        assert_int_equal(end_of(fx, &f, &why), cell->after);
        assert_int_equal(why, cell->why);
        // What brought nothing into the account's space has left nothing there.
        if (cell->end == NONE_YET && cell->after == NONE_YET && cell->does <= WITHDRAW)
            assert_int_equal(left_at(fx, f.recipient), before);
        if (cell->does != BAD_SELF)
            assert_int_equal(held(fx, &f), cell->version);
    }
}

// What is offered again is accepted again, and nothing else.
static void an_old_offer_changes_nothing(void **state) {
    struct fx *fx = *state;
    struct family f;
    bring_to(fx, &f, OPEN);
    assert_applied(act(fx, &f, OPEN, OFFER_2));
    family_emitted(fx);
    const char *key = fx_text(fx, "shared-in/%s/%s/%s", f.recipient, f.owner, f.certificate);
    struct cs_bytes before = fx_doc(fx, f.recipient, key);
    uint8_t *copy = fx_alloc(fx, before.len);
    memcpy(copy, before.data, before.len);
    fx->now_ms += 1000;
    for (enum does again = OFFER_1; again <= OFFER_2; again++) {
        assert_applied(act(fx, &f, OPEN, again));
        assert_string_equal(family_emitted(fx), "accepted 2");
        struct cs_bytes after = fx_doc(fx, f.recipient, key);
        assert_int_equal(after.len, before.len);
        assert_memory_equal(after.data, copy, after.len);
    }
    fx->now_ms -= 1000;
}

// An offer to an account that there is not is refused like one to a stranger's, and leaves nothing.
static void accounts_that_do_not_exist(void **state) {
    struct fx *fx = *state;
    struct family f;
    family_make(fx, &f);
    strcpy(f.recipient, "not-yet");
    strcpy(f.share, fx_uuid(fx));
    assert_verdict(act(fx, &f, NONE_YET, OFFER_1), APPLIED, SHARE_OWNER);
    assert_string_equal(family_emitted(fx), "refused 1 share.owner");
    assert_int_equal(left_at(fx, "not-yet"), 0);
    strcpy(f.recipient, "never");
    assert_verdict(withdraw(fx, &f), APPLIED, SHARE_CLOSED);
    assert_int_equal(left_at(fx, "never"), 0);
}

// A version that was offered before the refusal of the one before arrived may be taken: its owner,
// where the share is closed, takes it back.
static void what_is_taken_after_a_refusal_is_taken_back(void **state) {
    (void)state;
    struct fx *fx = fx_new(2);
    fx_begin(fx);
    struct family f;
    family_make(fx, &f);
    assert_applied(family_update(fx, f.recipient, CS_CODE_SHARE_SITE));
    assert_verdict(fx_share(fx, f.owner, f.owner_key, f.certificate, f.recipient), PENDING, NONE);
    assert_applied(family_renew(fx, &f, 0));
    assert_verdict(fx_deliver_next(fx), APPLIED, SHARE_SITE); // version 1
    assert_applied(family_update(fx, f.recipient, CS_CODE_NONE));
    assert_applied(fx_deliver_next(fx)); // version 2
    const char *seen = fx_text(fx, "shared-in/%s/%s/%s", f.recipient, f.owner, f.certificate);
    assert_non_null(fx_doc(fx, f.recipient, seen).data);
    assert_applied(fx_deliver_next(fx));                        // the refusal
    assert_verdict(fx_deliver_next(fx), APPLIED, SHARE_CLOSED); // the acceptance
    assert_applied(fx_deliver_next(fx));                        // the withdrawal
    assert_null(fx_doc(fx, f.recipient, seen).data);
    fx_check_invariants(fx);
    fx_free(fx);
}

// Should a withdrawal be lost, the next share of the certificate takes the place of the one before.
static void a_newer_share_takes_the_place_of_an_older_one(void **state) {
    struct fx *fx = *state;
    struct family f, old;
    bring_to(fx, &f, OPEN);
    old = f;
    strcpy(f.share, fx_uuid(fx));
    assert_applied(act(fx, &f, NONE_YET, OFFER_1));
    assert_string_equal(family_emitted(fx), "accepted 1");
    assert_int_equal(held(fx, &f), 1);
    enum cs_code why;
    assert_int_equal(end_of(fx, &old, &why), NONE_YET);
    // What comes for the older one does not touch the newer.
    assert_verdict(withdraw(fx, &old), APPLIED, SHARE_CLOSED);
    assert_int_equal(held(fx, &f), 1);
    family_emitted(fx);
}

// Share ids are chosen by agents: one account's does not reach another's.
static void an_id_of_another_share_is_a_closed_one(void **state) {
    struct fx *fx = *state;
    struct family f, thief;
    bring_to(fx, &f, OPEN);
    family_make(fx, &thief);
    strcpy(thief.recipient, f.recipient);
    strcpy(thief.share, f.share);
    assert_verdict(act(fx, &thief, NONE_YET, OFFER_2), APPLIED, SHARE_CLOSED);
    assert_string_equal(family_emitted(fx), "removed 2 share.closed");
    assert_verdict(withdraw(fx, &thief), APPLIED, SHARE_CLOSED);
    assert_int_equal(held(fx, &f), 1);
}

static void the_recipients_pattern_covers_what_it_removes(void **state) {
    struct fx *fx = *state;
    struct family f;
    bring_to(fx, &f, OPEN);
    f.recipient_key = fx_agent(fx, f.recipient, CS_CAN_DELETE, "*.internal");
    assert_rejected(delete_from(fx, &f), EVENT_FORBIDDEN);
    f.recipient_key = fx_agent(fx, f.recipient, CS_CAN_DELETE, "www.*");
    // Without `from` it is not the account's own.
    struct cs_event ev =
        fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, f.recipient, f.recipient_key, f.certificate);
    assert_rejected(fx_send(fx, f.recipient_key, &ev), CERTIFICATE_NOT_FOUND);
    assert_applied(delete_from(fx, &f));
    family_emitted(fx);
}

// ---- derived events as a stream

static void derived_events_are_counted_by_their_origin(void **state) {
    struct fx *fx = *state;
    struct family f;
    family_make(fx, &f);
    assert_verdict(fx_share(fx, f.owner, f.owner_key, f.certificate, f.recipient), PENDING, NONE);
    struct fx_record *record = fx_record(fx, fx->service, fx_peek(fx));
    int32_t p = fx_partition_of(fx, f.recipient);
    assert_applied(fx_judge(fx, p, record));
    const char *stream = fx_text(fx, "stream/p%d", (int)fx_partition_of(fx, f.owner));
    assert_non_null(fx_doc(fx, f.recipient, stream).data);
    // A producer that was thought dead sends it once more.
    const struct cs_verdict *v = fx_judge(fx, p, record);
    assert_verdict(v, DUPLICATE, NONE);
    assert_int_equal(v->gap, 0);
    fx->queue_at++; // sent by hand
    cs_event_free(fx->queue[fx->queue_at - 1].event);
    // Numbers that go elsewhere are no gap.
    fx->partition[fx_partition_of(fx, f.owner)].derived += 7;
    strcpy(f.share, fx_uuid(fx));
    struct cs_event ev = offer(fx, &f, 1);
    v = fx_send(fx, fx->service, &ev);
    assert_applied(v);
    assert_int_equal(v->gap, 0);
    family_emitted(fx);
}

// ---- both ends

static void both_ends_agree(void **state) {
    (void)state;
    struct fx *fx = fx_new(2);
    fx_begin(fx);
    struct family f;
    family_make(fx, &f);
    const struct cs_verdict *v = fx_share(fx, f.owner, f.owner_key, f.certificate, f.recipient);
    assert_verdict(v, PENDING, NONE);
    assert_applied(fx_deliver_next(fx)); // the offer
    v = fx_deliver_next(fx);             // the answer
    assert_applied(v);
    assert_int_equal(v->concludes_len, 1);
    assert_int_equal(v->concludes[0].status, CS_STATUS_APPLIED);
    fx_check_invariants(fx);
    // A new version reaches the recipient under the same id.
    assert_applied(family_renew(fx, &f, 0));
    fx_deliver_all(fx);
    fx_check_invariants(fx);
    // The same, and withdrawn while it is on its way.
    assert_applied(family_renew(fx, &f, 0));
    assert_applied(fx_unshare(fx, f.owner, f.owner_key, f.certificate, f.recipient));
    fx_deliver_all(fx);
    fx_check_invariants(fx);
    // Shared and taken back before anybody answered; then shared again.
    assert_verdict(fx_share(fx, f.owner, f.owner_key, f.certificate, f.recipient), PENDING, NONE);
    assert_applied(fx_unshare(fx, f.owner, f.owner_key, f.certificate, f.recipient));
    assert_verdict(fx_share(fx, f.owner, f.owner_key, f.certificate, f.recipient), PENDING, NONE);
    fx_deliver_all(fx);
    fx_check_invariants(fx);
    // A renewal and the recipient's removal cross.
    assert_applied(family_renew(fx, &f, 0));
    assert_applied(delete_from(fx, &f));
    fx_deliver_all(fx);
    fx_check_invariants(fx);
    // Both ends change at once.
    assert_verdict(fx_share(fx, f.owner, f.owner_key, f.certificate, f.recipient), PENDING, NONE);
    fx_deliver_all(fx);
    assert_applied(family_update(fx, f.owner, CS_CODE_SHARE_SITE));
    assert_applied(family_update(fx, f.recipient, CS_CODE_SHARE_OWNER));
    fx_deliver_all(fx);
    fx_check_invariants(fx);
    fx_free(fx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell),
        cmocka_unit_test(an_old_offer_changes_nothing),
        cmocka_unit_test(accounts_that_do_not_exist),
        cmocka_unit_test(what_is_taken_after_a_refusal_is_taken_back),
        cmocka_unit_test(a_newer_share_takes_the_place_of_an_older_one),
        cmocka_unit_test(an_id_of_another_share_is_a_closed_one),
        cmocka_unit_test(the_recipients_pattern_covers_what_it_removes),
        cmocka_unit_test(derived_events_are_counted_by_their_origin),
        cmocka_unit_test(both_ends_agree),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
