// SPDX-License-Identifier: Apache-2.0
// The keys of catalogs, letter by letter: catalogs that are in use have them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "certsync/model/keys.h"

static void every_kind_has_its_form(void **state) {
    (void)state;
    const struct {
        enum cs_kind kind;
        const char *key, *expected;
    } rows[] = {
        {CS_KIND_SYSTEM, cs_key_system(CS_NEW_KEY), "system"},
        {CS_KIND_ACCOUNT, cs_key_account(CS_NEW_KEY, "acme"), "account/acme"},
        {CS_KIND_AGENT, cs_key_agent(CS_NEW_KEY, "acme", "K"), "key/acme/K"},
        {CS_KIND_TRUST, cs_key_trust(CS_NEW_KEY, "K"), "trust/K"},
        {CS_KIND_TOMBSTONES, cs_key_tombstones(CS_NEW_KEY), "tombstones"},
        {CS_KIND_STREAM, cs_key_stream(CS_NEW_KEY, "K"), "stream/K"},
        {CS_KIND_CERT, cs_key_cert(CS_NEW_KEY, "acme", "ID"), "cert/acme/ID"},
        {CS_KIND_MATERIAL, cs_key_material(CS_NEW_KEY, "acme", "ID"), "material/acme/ID"},
        {CS_KIND_ISSUER, cs_key_issuer(CS_NEW_KEY, "00ff"), "issuer/00ff"},
        {CS_KIND_INSTALLED, cs_key_installed(CS_NEW_KEY, "acme", "ID", "K"), "installed/acme/ID/K"},
        {CS_KIND_NAME, cs_key_name(CS_NEW_KEY, "acme", "www"), "name/acme/www"},
        {CS_KIND_CSR, cs_key_csr(CS_NEW_KEY, "acme", "ID"), "csr/acme/ID"},
        {CS_KIND_CSR_NAME, cs_key_csr_name(CS_NEW_KEY, "acme", "www"), "csr-name/acme/www"},
        {CS_KIND_CSR_SPKI, cs_key_csr_spki(CS_NEW_KEY, "acme", "00ff"), "csr-spki/acme/00ff"},
        {CS_KIND_SHARE, cs_key_share(CS_NEW_KEY, "acme", "ID"), "share/acme/ID"},
        {CS_KIND_SHARE_IN, cs_key_share_in(CS_NEW_KEY, "beta", "ID"), "share-in/beta/ID"},
        {CS_KIND_SHARED_IN, cs_key_shared_in(CS_NEW_KEY, "beta", "acme", "ID"), "shared-in/beta/acme/ID"},
        {CS_KIND_TOMBSTONE, cs_key_tombstone(CS_NEW_KEY, "7"), "tombstone/7"},
        {CS_KIND_OUTCOME, cs_key_outcome(CS_NEW_KEY, "acme", "ID"), "outcome/acme/ID"},
        {CS_KIND_SEEN, cs_key_seen(CS_NEW_KEY, "p3"), "seen/p3"},
        {CS_KIND_AGENTS, cs_key_agents(CS_NEW_KEY, "acme"), "keys/acme"},
        {CS_KIND_VIEW, cs_key_view(CS_NEW_KEY, "acme"), "view/acme"},
        {CS_KIND_EXPIRY, cs_key_expiry(CS_NEW_KEY, "acme"), "expiry/acme"},
        {CS_KIND_HOSTS, cs_key_hosts(CS_NEW_KEY, "acme", "ID"), "hosts/acme/ID"},
        {CS_KIND_INSTALLATIONS, cs_key_installations(CS_NEW_KEY, "acme", "K"), "installations/acme/K"},
        {CS_KIND_SHARES, cs_key_shares(CS_NEW_KEY, "acme"), "shares/acme"},
        {CS_KIND_CSRS, cs_key_csrs(CS_NEW_KEY, "acme"), "csrs/acme"},
        {CS_KIND_OUTCOMES, cs_key_outcomes(CS_NEW_KEY, "acme"), "outcomes/acme"},
        {CS_KIND_ACCOUNTS, cs_key_accounts(CS_NEW_KEY), "accounts"},
        {CS_KIND_TRUSTED, cs_key_trusted(CS_NEW_KEY), "trusted"},
        {CS_KIND_PENDING, cs_key_pending(CS_NEW_KEY), "pending"},
    };
    assert_int_equal(sizeof rows / sizeof *rows, CS_KIND_COUNT);
    for (int i = 0; i < CS_KIND_COUNT; i++) {
        assert_int_equal(rows[i].kind, i);
        assert_string_equal(rows[i].key, rows[i].expected);
        for (int kind = 0; kind < CS_KIND_COUNT; kind++) // and is of no other kind: account/ is not accounts
            assert_int_equal(cs_key_is(rows[i].key, (enum cs_kind)kind), kind == i);
    }
    assert_false(cs_key_is("", CS_KIND_CERT));
    assert_false(cs_key_is("cer", CS_KIND_CERT));
    assert_false(cs_key_is("certs/acme", CS_KIND_CERT));
}

static void outcomes(void **state) {
    (void)state;
    static const struct {
        enum cs_outcome_place place;
        const char *member, *document, *goes;
    } rows[] = {
        {CS_OUTCOME_OWN, "ID", "ID", "outcome/acme/ID"},
        {CS_OUTCOME_AGAIN, "ID/again", "ID/again", "outcome/acme/ID/again"},
        {CS_OUTCOME_AWAITED, "ID/awaited", "ID", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cs_key key;
        assert_string_equal(cs_member_outcome(key, "ID", rows[i].place), rows[i].member);
        assert_string_equal(cs_member_outcome_read(key, rows[i].member), rows[i].document);
        const char *goes = cs_key_of_trimmed(key, "outcomes/acme", rows[i].member);
        assert_int_equal(goes == NULL, rows[i].goes == NULL);
        if (goes)
            assert_string_equal(goes, rows[i].goes);
    }
    assert_null(cs_key_of_trimmed(CS_NEW_KEY, "seen/K", "ID"));
}

static void members(void **state) {
    (void)state;
    bool out;
    assert_string_equal(cs_member_pair(CS_NEW_KEY, "acme", "ID"), "acme/ID");
    assert_string_equal(cs_member_view(CS_NEW_KEY, "www", NULL, "ID"), "www/c/ID");
    assert_string_equal(cs_member_view(CS_NEW_KEY, "www", "acme", "ID"), "www/s/acme/ID");
    assert_string_equal(cs_member_share(CS_NEW_KEY, true, "ID"), "out/ID");
    assert_string_equal(cs_member_share(CS_NEW_KEY, false, "ID"), "in/ID");
    assert_string_equal(cs_member_share_read("out/ID", &out), "ID");
    assert_true(out);
    assert_string_equal(cs_member_share_read("in/ID", &out), "ID");
    assert_false(out);
    assert_string_equal(cs_member_share_read("", &out), "");
}

static void a_key_has_an_end(void **state) {
    (void)state;
    char part[CS_STATE_KEY_MAX + 10];
    for (size_t len = CS_STATE_KEY_MAX - 12; len < sizeof part; len++) {
        struct {
            cs_key key;
            char guard;
        } room = {.guard = 'g'};
        memset(part, 'a', len);
        part[len] = '\0';
        cs_key_shared_in(room.key, "b", part, "c");
        assert_true(strlen(room.key) <= CS_STATE_KEY_MAX);
        assert_memory_equal(room.key, "shared-in/b/aaaa", 16);
        assert_int_equal(room.guard, 'g');
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_has_its_form),
        cmocka_unit_test(outcomes),
        cmocka_unit_test(members),
        cmocka_unit_test(a_key_has_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
