// SPDX-License-Identifier: Apache-2.0
//
// Deciding, and the working set, with the Nth allocation failing, for every N: FATAL, the catalog as it was
// before, nothing leaked, and the same verdict once there is memory. Linked with --wrap for the functions
// that allocate.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rules/rules_internal.h"
#include "share_family.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *s);

static long left = -1; // allocations that succeed before one fails; -1: none fails

static bool fails(void) {
    return left >= 0 && left-- == 0;
}

void *__wrap_malloc(size_t size) {
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size) {
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size) {
    return fails() ? NULL : __real_realloc(p, size);
}

char *__wrap_strdup(const char *s) {
    return fails() ? NULL : __real_strdup(s);
}

static int setup(void **state) {
    struct fx *fx = fx_new(2);
    fx->tell_keys = true; // decisions do no arithmetic
    fx_begin(fx);
    *state = fx;
    return 0;
}

static int teardown(void **state) {
    fx_free(*state);
    return 0;
}

static void dump(struct fx *fx, int32_t partition, struct cs_buf *b) {
    cs_buf_init(b, (size_t)16 << 20);
    fx_dump(fx->partition[partition].state, b);
}

// Decides the event with one allocation failing after the other, until none does: what is said then.
static const struct cs_verdict *suffer(struct fx *fx, struct fx_key *by, const struct cs_event *ev) {
    static struct cs_verdict said;
    int32_t partition = fx_partition_of(fx, ev->account);
    struct fx_record *record = fx_record(fx, by, ev);
    record->r.partition = partition;
    record->r.offset = fx->partition[partition].offset;
    struct cs_prepared *p = fx_prepare(fx, &record->r);
    struct cs_rule_context ctx = fx_context(fx, partition);
    struct cs_buf before, after;
    dump(fx, partition, &before);
    long n = 0;
    for (bool whole = false; !whole; n++) {
        struct cs_decision d;
        struct cs_err err = {0};
        bool needed = false;
        left = n;
        bool ok = cs_decide(&ctx, fx->partition[partition].state, &record->r, p, &d, &needed, &err);
        whole = left >= 0;
        left = -1;
        assert_int_equal(ok, whole);
        if (ok) {
            said = d.verdict;
            said.concludes = NULL; // goes with d
            cs_decision_clear(&d);
            break;
        }
        assert_int_equal(err.kind, CS_ERR_FATAL);
        dump(fx, partition, &after);
        assert_int_equal(after.len, before.len);
        assert_memory_equal(after.data, before.data, before.len);
        cs_buf_clear(&after);
    }
    assert_true(n > 3);
    cs_buf_clear(&before);
    cs_prepared_free(p);
    cs_state_changes_clear(fx->partition[partition].state);
    return &said;
}

static struct cs_event delete_of(struct fx *fx, const struct family *f) {
    struct cs_event ev = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, f->owner, f->owner_key, f->certificate);
    ev.data.del.cascade = true;
    return ev;
}

static void certificates(void **state) {
    struct fx *fx = *state;
    struct family f;
    family_make(fx, &f);
    struct cs_event ev =
        fx_upload(fx, f.owner, f.owner_key, NULL, "new", fx_cert(fx, (struct fx_cert_how){0}));
    assert_applied(suffer(fx, f.owner_key, &ev));
    ev = fx_upload(fx, f.owner, f.owner_key, NULL, "new", fx_cert(fx, (struct fx_cert_how){0}));
    ev.data.upload.replace = true;
    assert_applied(suffer(fx, f.owner_key, &ev));
    ev = fx_csr(fx, f.owner, f.owner_key, NULL, "request", fx_cert_key_only(fx, "P-256"));
    assert_applied(suffer(fx, f.owner_key, &ev));
    ev = delete_of(fx, &f);
    assert_applied(suffer(fx, f.owner_key, &ev));
}

static void shares(void **state) {
    struct fx *fx = *state;
    for (int way = 0; way < 3; way++) {
        struct family f;
        family_make(fx, &f);
        struct cs_event ev = fx_event(fx, CS_EVENT_CERTIFICATE_SHARE, f.owner, f.owner_key, f.certificate);
        strcpy(ev.data.share.to, "nobody");
        assert_verdict(suffer(fx, f.owner_key, &ev), PENDING, NONE);
        assert_verdict(fx_share(fx, f.owner, f.owner_key, f.certificate, f.recipient), PENDING, NONE);
        ev = *fx_peek(fx);
        assert_applied(suffer(fx, fx->service, &ev)); // the offer
        fx_deliver_all(fx);                           // once more, which is a duplicate: the answer is lost
        ev = fx_issue(fx, f.owner, NULL, f.name, fx_cert(fx, (struct fx_cert_how){0}));
        ev.data.upload.replace = true;
        assert_applied(suffer(fx, fx->issuer, &ev));
        ev = fx_event(fx, CS_EVENT_ACCOUNT_UPDATE, way == 1 ? f.owner : f.recipient, fx->admin,
                      way == 1 ? f.owner : f.recipient);
        ev.data.account.has_verified = true;
        if (way == 0)
            ev = delete_of(fx, &f);
        assert_applied(suffer(fx, way == 0 ? f.owner_key : fx->admin, &ev));
        family_emitted(fx);
    }
}

// Records that were prepared under ruleset 1, and are judged under a ruleset 2 that is only for this test.
static void across_a_switch(void **state) {
    struct fx *fx = *state;
    struct family f;
    family_make(fx, &f);
    struct cs_rulebook two = cs_rulebook;
    two.latest = 2;
    fx->book = &two;
    fx->apart = true; // to be read again takes memory, then
    for (int32_t partition = 0; partition < 2; partition++) {
        struct cs_event ev = fx_event(fx, CS_EVENT_SYSTEM_RULESET, "", fx->root, FX_DEPLOYMENT);
        ev.data.ruleset.ruleset = 2;
        assert_applied(fx_judge(fx, partition, fx_record(fx, fx->root, &ev)));
    }
    struct cs_event ev =
        fx_upload(fx, f.owner, f.owner_key, NULL, "after", fx_cert(fx, (struct fx_cert_how){0}));
    assert_applied(suffer(fx, f.owner_key, &ev));
    ev = delete_of(fx, &f);
    assert_applied(suffer(fx, f.owner_key, &ev));
    fx->book = NULL;
}

// Loading, and the first sight of keys.
static void working_set(void **state) {
    (void)state;
    const struct cs_member members[] = {{"a", 1}, {"b", 2}, {"c", 3}};
    const struct cs_bytes value = {(const uint8_t *)"1", 1};
    for (long n = 0;; n++) {
        struct cs_err err;
        struct cs_state *s = NULL;
        left = n;
        bool ok = cs_state_new(false, &s, &err);
        for (int i = 0; ok && i < 100; i++) {
            char key[16];
            snprintf(key, sizeof(key), "key-%d", i);
            struct cs_bytes v;
            (void)cs_state_get(s, key, &v);
            ok = cs_state_fill(s, key, value, &err);
        }
        ok = ok && cs_state_fill_index(s, "i", members, 3, &err);
        if (ok) {
            cs_state_begin(s);
            cs_state_add(s, "i", "d", 4);
            cs_state_trim(s, "i", 2);
            cs_state_remove(s, "i", "d");
            cs_state_delete(s, "key-1");
            ok = cs_state_keep(s, &err);
        }
        bool whole = left >= 0;
        left = -1;
        if (whole)
            assert_true(ok);
        if (s && cs_state_changes_count(s) == 0 && ok)
            fail_msg("kept without its changes");
        cs_state_free(s);
        if (whole)
            break;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates), cmocka_unit_test(shares), cmocka_unit_test(working_set),
        cmocka_unit_test(across_a_switch), // the last: its book is gone after it
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
