// SPDX-License-Identifier: Apache-2.0
//
// Installations: which host has which version of a certificate where. The invariants that teardown checks
// count every document, count and index member again.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

#define HOST_CAN (CS_CAN_UPLOAD | CS_CAN_DELETE)
#define PLACE    "/etc/ssl/www.pem"

static struct fx_key *a, *b, *c; // hosts

static int setup(void **state) {
    struct fx *fx = fx_new(2);
    fx_begin(fx);
    fx_account(fx, "acme", "acme-inc", CS_SITE_CN, true);
    fx_account(fx, "other", "other-inc", CS_SITE_CN, true);
    a = fx_agent(fx, "acme", HOST_CAN | CS_CAN_SHARE, "*");
    b = fx_agent(fx, "acme", HOST_CAN, "*");
    c = fx_agent(fx, "acme", HOST_CAN, "*");
    *state = fx;
    return 0;
}

static int teardown(void **state) {
    fx_deliver_all(*state);
    fx_check_invariants(*state);
    fx_free(*state);
    return 0;
}

static struct fx_cert *any_cert(struct fx *fx) {
    return fx_cert(fx, (struct fx_cert_how){0});
}

// As a daemon does: with a place, ready to replace.
static const struct cs_verdict *bring(struct fx *fx, struct fx_key *by, const char *name,
                                      const struct fx_cert *cert, const char *place) {
    struct cs_event ev = fx_upload(fx, "acme", by, NULL, name, cert);
    ev.data.upload.replace = true;
    strcpy(ev.data.upload.place, place);
    return fx_send(fx, by, &ev);
}

static const char *brought(struct fx *fx, struct fx_key *by, const char *name, const struct fx_cert *cert) {
    const struct cs_verdict *v = bring(fx, by, name, cert, PLACE);
    assert_applied(v);
    return fx_text(fx, "%s", v->subject);
}

static const struct cs_verdict *seen(struct fx *fx, struct fx_key *by, const char *id,
                                     const struct fx_cert *cert, const char *place) {
    struct cs_event ev = fx_event(fx, CS_EVENT_CERTIFICATE_SEEN, "acme", by, id);
    strcpy(ev.data.installed.place, place);
    memcpy(ev.data.installed.sha256, cert->leaf->sha256, 32);
    return fx_send(fx, by, &ev);
}

static const struct cs_verdict *gone(struct fx *fx, struct fx_key *by, const char *id, const char *place,
                                     bool remove) {
    struct cs_event ev = fx_event(fx, CS_EVENT_CERTIFICATE_GONE, "acme", by, id);
    strcpy(ev.data.installed.place, place);
    ev.data.installed.remove = remove;
    return fx_send(fx, by, &ev);
}

static const struct cs_verdict *revoke(struct fx *fx, const char *kid) {
    struct cs_event ev = fx_event(fx, CS_EVENT_AGENT_REVOKE, "acme", fx->admin, kid);
    return fx_send(fx, fx->admin, &ev);
}

static void check(struct fx *fx, const char *id, int64_t hosts, int64_t behind, int64_t ends_s) {
    CS_AUTO(cs_certificate_clear) struct cs_certificate cert = {0};
    struct cs_err err;
    assert_true(cs_certificate_decode(fx_doc(fx, "acme", fx_text(fx, "cert/acme/%s", id)), &cert, &err));
    assert_int_equal(cs_certificate_hosts(&cert), hosts);
    assert_int_equal(cs_certificate_behind(&cert), behind);
    if (ends_s)
        assert_int_equal(cs_certificate_ends_in_use(&cert), ends_s);
}

static bool lives(struct fx *fx, const char *name) {
    return fx_doc(fx, "acme", fx_text(fx, "name/acme/%s", name)).data != NULL;
}

// A pool that gets its files by rsync: renewed at one, copied later.
static void a_pool(void **state) {
    struct fx *fx = *state;
    struct fx_cert *old = fx_cert(fx, (struct fx_cert_how){.lasts_s = 10 * FX_DAY}), *next = any_cert(fx);
    const char *id = brought(fx, a, "www", old);
    assert_applied(seen(fx, b, id, old, PLACE));
    const struct cs_verdict *v = bring(fx, c, "www", old, PLACE); // at the same time
    assert_applied(v);
    assert_string_equal(v->detail, "changed: place");
    check(fx, id, 3, 0, old->leaf->not_after_s);
    assert_verdict(seen(fx, b, id, old, PLACE), APPLIED, UNCHANGED);
    assert_verdict(bring(fx, c, "www", old, PLACE), APPLIED, UNCHANGED);
    assert_applied(bring(fx, a, "www", next, PLACE));
    check(fx, id, 3, 2, old->leaf->not_after_s);
    assert_true(fx_in_index(fx, "acme", fx_text(fx, "hosts/acme/%s", id),
                            fx_text(fx, "0000000001/%s", b->kid), NULL));
    assert_applied(seen(fx, b, id, next, PLACE));
    assert_applied(bring(fx, c, "www", next, PLACE));
    check(fx, id, 3, 0, next->leaf->not_after_s);
    // One comes back from last month's image, and then sees it again.
    assert_applied(seen(fx, c, id, old, PLACE));
    check(fx, id, 3, 1, old->leaf->not_after_s);
    assert_applied(seen(fx, c, id, next, PLACE));
    check(fx, id, 3, 0, next->leaf->not_after_s);
}

static void who_replaces_must_have_held(void **state) {
    struct fx *fx = *state;
    const char *id = brought(fx, a, "www", any_cert(fx));
    assert_rejected(bring(fx, b, "www", any_cert(fx), PLACE), REPLACE_NOT_HELD);
    assert_applied(bring(fx, b, "www-b", any_cert(fx), PLACE));
    struct cs_event ev = fx_upload(fx, "acme", b, NULL, "www", any_cert(fx)); // a person
    ev.data.upload.replace = true;
    assert_applied(fx_send(fx, b, &ev));
    check(fx, id, 1, 1, 0);
    assert_applied(bring(fx, b, "www", any_cert(fx), PLACE)); // it sent the present one
    check(fx, id, 2, 1, 0);
    assert_applied(gone(fx, a, id, PLACE, false));
    assert_rejected(bring(fx, a, "www", any_cert(fx), PLACE), REPLACE_NOT_HELD);
    // A rotated key is the same host.
    struct fx_key *next = fx_key_new(fx);
    ev = fx_event(fx, CS_EVENT_AGENT_ROTATE, "acme", b, next->kid);
    ev.data.enroll.key.bytes = cs_pubkey_spki(next->pub);
    assert_applied(fx_send(fx, b, &ev));
    assert_applied(bring(fx, next, "www", any_cert(fx), PLACE));
    check(fx, id, 1, 0, 0);
    assert_applied(gone(fx, next, id, PLACE, false));
    assert_applied(bring(fx, next, "www", any_cert(fx), PLACE)); // sent it by the key before
}

static void places(void **state) {
    struct fx *fx = *state;
    struct fx_cert *old = any_cert(fx), *next = any_cert(fx);
    const char *id = brought(fx, a, "www", old);
    for (int i = 1; i < CS_PLACES_MAX; i++)
        assert_applied(seen(fx, a, id, old, fx_text(fx, "/srv/%d.pem", i)));
    assert_rejected(seen(fx, a, id, old, "/srv/more.pem"), QUOTA_INSTALLATIONS);
    check(fx, id, 1, 0, 0);
    assert_applied(bring(fx, a, "www", next, PLACE));
    check(fx, id, 1, 1, 0); // the lowest version that it has
    for (int i = 1; i < CS_PLACES_MAX - 1; i++)
        assert_applied(seen(fx, a, id, next, fx_text(fx, "/srv/%d.pem", i)));
    check(fx, id, 1, 1, 0);
    assert_applied(gone(fx, a, id, fx_text(fx, "/srv/%d.pem", CS_PLACES_MAX - 1), true));
    check(fx, id, 1, 0, 0);
    assert_verdict(gone(fx, a, id, "/not/there.pem", true), APPLIED, UNCHANGED);
    assert_verdict(gone(fx, b, id, PLACE, true), APPLIED, UNCHANGED); // another host's
    assert_applied(seen(fx, b, id, next, "sha256:00112233445566778899aabbccddeeff"));
    check(fx, id, 2, 0, 0);
}

static void bad_places(void **state) {
    struct fx *fx = *state;
    const struct {
        const char *place;
        bool valid;
    } rows[] = {{"/", true},
                {"/srv/b\xc3\xbcro.pem", true},
                {"", false},
                {"srv/www.pem", false},
                {"/srv/two\nlines.pem", false},
                {"/srv/\x7f", false},
                {"/srv/\xc2\x85", false},
                {"/srv/\xff", false},
                {"sha256:00112233445566778899aabbccddeeff", true},
                {"sha256:00112233445566778899aabbccddeef", false},
                {"sha256:00112233445566778899AABBCCDDEEFF", false}};
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++)
        assert_int_equal(cs_place_valid(rows[i].place, strlen(rows[i].place)), rows[i].valid);
    char *longest = fx_alloc(fx, 4001);
    memset(longest, 'x', 4000);
    longest[0] = '/';
    assert_true(cs_place_valid(longest, CS_PLACE_MAX));
    assert_false(cs_place_valid(longest, CS_PLACE_MAX + 1));
    assert_false(cs_place_valid(longest, 4000));
}

static void delete_means_not_here_any_more(void **state) {
    struct fx *fx = *state;
    struct fx_cert *cert = any_cert(fx);
    const char *id = brought(fx, a, "www", cert);
    assert_applied(seen(fx, b, id, cert, PLACE));
    assert_applied(seen(fx, b, id, cert, "/srv/copy.pem"));
    const struct cs_verdict *v = gone(fx, a, id, PLACE, true);
    assert_applied(v);
    assert_true(strlen(v->detail) > 0);
    assert_true(lives(fx, "www"));
    struct fx_key *weak = fx_agent(fx, "acme", CS_CAN_UPLOAD, "*");
    assert_applied(seen(fx, weak, id, cert, PLACE));
    assert_rejected(gone(fx, weak, id, PLACE, true), EVENT_FORBIDDEN);
    assert_applied(gone(fx, weak, id, PLACE, false));
    assert_applied(gone(fx, b, id, PLACE, true));
    assert_true(lives(fx, "www"));
    assert_applied(gone(fx, b, id, "/srv/copy.pem", true));
    assert_false(lives(fx, "www"));
    assert_rejected(gone(fx, b, id, PLACE, true), CERTIFICATE_NOT_FOUND);
    assert_rejected(seen(fx, b, id, cert, PLACE), CERTIFICATE_NOT_FOUND);
    // What nobody told a place of goes only by delete.
    struct cs_event ev = fx_upload(fx, "acme", a, NULL, "person", any_cert(fx));
    assert_applied(fx_send(fx, a, &ev));
    assert_verdict(gone(fx, a, ev.subject, PLACE, true), APPLIED, UNCHANGED);
    assert_true(lives(fx, "person"));
    // A shared one stays.
    const char *shared = fx_official(fx, "acme", "shared");
    fx_account(fx, "sister", "acme-inc", CS_SITE_CN, true);
    fx_share(fx, "acme", a, shared, "sister");
    fx_deliver_all(fx);
    CS_AUTO(cs_certificate_clear) struct cs_certificate held = {0};
    struct cs_err err;
    assert_true(cs_certificate_decode(fx_doc(fx, "acme", fx_text(fx, "cert/acme/%s", shared)), &held, &err));
    struct cs_event tell = fx_event(fx, CS_EVENT_CERTIFICATE_SEEN, "acme", a, shared);
    strcpy(tell.data.installed.place, PLACE);
    memcpy(tell.data.installed.sha256, held.summary.leaves[0].sha256, 32);
    assert_applied(fx_send(fx, a, &tell));
    assert_applied(gone(fx, a, shared, PLACE, true));
    assert_true(lives(fx, "shared"));
    check(fx, shared, 0, 0, 0);
}

static void ends(void **state) {
    struct fx *fx = *state;
    struct fx_cert *cert = any_cert(fx), *other = any_cert(fx);
    const char *id = brought(fx, a, "www", cert), *second = brought(fx, b, "mail", other);
    assert_applied(seen(fx, b, id, cert, PLACE));
    assert_applied(seen(fx, c, id, cert, PLACE));
    assert_applied(seen(fx, b, id, cert, "/srv/copy.pem"));
    assert_applied(bring(fx, a, "www", any_cert(fx), PLACE));
    check(fx, id, 3, 2, 0);
    // A revoked host's installations end; the certificates stay.
    assert_applied(revoke(fx, b->kid));
    check(fx, id, 2, 1, 0);
    check(fx, second, 0, 0, 0);
    assert_rejected(gone(fx, b, id, PLACE, false), EVENT_REVOKED_SIGNER);
    assert_rejected(seen(fx, b, id, cert, PLACE), EVENT_REVOKED_SIGNER);
    assert_verdict(revoke(fx, b->kid), APPLIED, UNCHANGED);
    // The same of a line of keys, by its first one.
    struct fx_key *next = fx_key_new(fx);
    struct cs_event ev = fx_event(fx, CS_EVENT_AGENT_ROTATE, "acme", c, next->kid);
    ev.data.enroll.key.bytes = cs_pubkey_spki(next->pub);
    assert_applied(fx_send(fx, c, &ev));
    check(fx, id, 2, 1, 0);
    assert_applied(seen(fx, next, id, cert, "/srv/next.pem"));
    check(fx, id, 2, 1, 0);
    assert_applied(revoke(fx, c->kid));
    check(fx, id, 1, 0, 0);
    // Another account's, and one that is not there.
    struct fx_key *stranger = fx_agent(fx, "other", HOST_CAN, "*");
    ev = fx_event(fx, CS_EVENT_CERTIFICATE_SEEN, "other", stranger, id);
    strcpy(ev.data.installed.place, PLACE);
    memcpy(ev.data.installed.sha256, cert->leaf->sha256, 32);
    assert_rejected(fx_send(fx, stranger, &ev), CERTIFICATE_NOT_FOUND);
    ev = fx_event(fx, CS_EVENT_CERTIFICATE_GONE, "acme", stranger, id);
    strcpy(ev.data.installed.place, PLACE);
    assert_rejected(fx_send(fx, stranger, &ev), EVENT_UNKNOWN_SIGNER);
    assert_rejected(seen(fx, a, id, any_cert(fx), PLACE), CERTIFICATE_VERSION);
    struct fx_key *narrow = fx_agent(fx, "acme", HOST_CAN, "mail*");
    assert_rejected(seen(fx, narrow, id, cert, PLACE), EVENT_FORBIDDEN);
    // With the certificate all end.
    ev = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, "acme", a, id);
    assert_applied(fx_send(fx, a, &ev));
    assert_null(fx_doc(fx, "acme", fx_text(fx, "installed/acme/%s/%s", id, a->kid)).data);
}

// Hosts of versions that are remembered no more count on, with the earliest end.
static void old_versions(void **state) {
    struct fx *fx = *state;
    struct fx_cert *first = fx_cert(fx, (struct fx_cert_how){.lasts_s = 5 * FX_DAY}), *last = NULL;
    const char *id = brought(fx, a, "www", first);
    assert_applied(seen(fx, b, id, first, PLACE));
    assert_applied(seen(fx, c, id, first, PLACE));
    for (int i = 0; i < CS_OLD_VERSIONS_MAX + 2; i++)
        assert_applied(bring(fx, a, "www", last = any_cert(fx), PLACE));
    check(fx, id, 3, 2, first->leaf->not_after_s);
    assert_rejected(seen(fx, b, id, first, "/srv/copy.pem"), CERTIFICATE_VERSION);
    assert_applied(seen(fx, b, id, last, PLACE));
    check(fx, id, 3, 1, first->leaf->not_after_s);
    assert_applied(gone(fx, c, id, PLACE, false));
    check(fx, id, 2, 0, last->leaf->not_after_s);
}

static void limits(void **state) {
    struct fx *fx = *state;
    struct fx_cert *cert = any_cert(fx);
    struct cs_event ev = fx_event(fx, CS_EVENT_ACCOUNT_UPDATE, "acme", fx->admin, "acme");
    ev.data.account.has_installations = true;
    ev.data.account.limit_installations = 1;
    assert_applied(fx_send(fx, fx->admin, &ev));
    const char *id = brought(fx, a, "www", cert);
    assert_rejected(seen(fx, b, id, cert, PLACE), QUOTA_INSTALLATIONS);
    assert_applied(seen(fx, a, id, cert, "/srv/copy.pem")); // the same host
    // An upload is more than its place: it is taken.
    assert_applied(bring(fx, b, "mail", any_cert(fx), PLACE));
    check(fx, id, 1, 0, 0);
    assert_applied(gone(fx, a, id, PLACE, false));
    assert_applied(gone(fx, a, id, "/srv/copy.pem", false));
    assert_applied(seen(fx, b, id, cert, PLACE));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_pool, setup, teardown),
        cmocka_unit_test_setup_teardown(who_replaces_must_have_held, setup, teardown),
        cmocka_unit_test_setup_teardown(places, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_places, setup, teardown),
        cmocka_unit_test_setup_teardown(delete_means_not_here_any_more, setup, teardown),
        cmocka_unit_test_setup_teardown(ends, setup, teardown),
        cmocka_unit_test_setup_teardown(old_versions, setup, teardown),
        cmocka_unit_test_setup_teardown(limits, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
