// SPDX-License-Identifier: Apache-2.0
// The host's key by URI. Here the store is OpenSSL's own, of files; a TPM's is tests/e2e/test_agent_tpm.py.
#include "agent_fixture.h"

#include <sys/stat.h>
#include <unistd.h>

#include "certsync/model/sign.h"
#include "certsync/runtime/fileio.h"
#include "event/keystore.h"

static int setup(void **state) {
    *state = agent_fixture_new();
    return 0;
}

static int teardown(void **state) {
    agent_fixture_free(*state);
    return 0;
}

static void what_is_a_uri(void **state) {
    static const char *const uris[] = {"pkcs11:token=a;object=b", "handle:0x81000001", "file:/etc/key.pem",
                                       "x-my+store.1:a"};
    static const char *const paths[] = {
        "", "/etc/certsync/agent.key", "agent.key", "./a:b", "dir/a:b", "C", "c:", "a b:c", ":x"};
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(uris); i++)
        assert_true(cs_keystore_is_uri(uris[i]));
    for (size_t i = 0; i < CS_ARRAY_LEN(paths); i++)
        assert_false(cs_keystore_is_uri(paths[i]));
}

static void put_key(const struct agent_fixture *f, enum cs_key_type type, char uri[PATH_MAX + 8]) {
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = NULL;
    struct cs_err err;
    uint8_t *pem;
    size_t len;
    if (type != CS_KEY_P256)
        ASSERT_OK(cs_privkey_generate(type, 0, &key, &err), err);
    ASSERT_OK(cs_privkey_to_pem(key ? key : f->key, &pem, &len, &err), err);
    snprintf(uri, PATH_MAX + 8, "file:%s/key.pem", f->dir);
    ASSERT_OK(cs_file_write(uri + 5, (struct cs_bytes){pem, len}, 0600, &err), err);
    cs_secure_free(pem, len);
}

static void a_key_signs_from_its_store_and_stays_there(void **state) {
    const struct agent_fixture *f = *state;
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = NULL;
    CS_AUTO(cs_pubkey_free) struct cs_pubkey *pub = NULL;
    struct cs_err err;
    char uri[PATH_MAX + 8];
    uint8_t *out, sig[CS_EVENT_SIG_MAX], es256[CS_ES256_SIG_LEN];
    size_t len;
    const struct cs_bytes text = {(const uint8_t *)"text", 4};
    put_key(f, CS_KEY_P256, uri);
    ASSERT_OK(cs_keystore_open(uri, "", &key, &err), err);
    assert_int_equal(cs_privkey_type(key), CS_KEY_P256);
    ASSERT_OK(cs_privkey_spki(key, &out, &len, &err), err);
    assert_int_equal(len, f->spki_len);
    assert_memory_equal(out, f->spki, len);
    free(out);
    ASSERT_OK(cs_pubkey_new(f->crypto, (struct cs_bytes){f->spki, f->spki_len}, &pub, &err), err);
    ASSERT_OK(cs_event_sign(f->crypto, key, text, sig, &len, &err), err);
    assert_true(cs_event_verify(f->crypto, pub, text, (struct cs_bytes){sig, len}));
    for (int i = 0; i < 300; i++) { // also where r or s is short
        ASSERT_OK(cs_es256_sign(f->crypto, key, text, es256, &err), err);
        assert_true(cs_es256_verify(f->crypto, pub, text, es256));
    }
    assert_false(cs_privkey_to_pkcs8(key, &out, &len, &err));
    assert_false(cs_privkey_to_pem(key, &out, &len, &err));
    assert_non_null(strstr(err.msg, "does not leave"));
}

static void what_is_no_key_for_us_is_said(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_privkey *key = NULL;
    struct cs_err err;
    char uri[PATH_MAX + 8], missing[PATH_MAX + 16];
    put_key(f, CS_KEY_P384, uri);
    assert_false(cs_keystore_open(uri, "", &key, &err));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
    assert_non_null(strstr(err.msg, "not a P-256 key"));
    snprintf(missing, sizeof missing, "%s.missing", uri);
    assert_false(cs_keystore_open(missing, "", &key, &err));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
    assert_false(cs_keystore_open("nostore:a?pin-value=1234", "", &key, &err));
    assert_non_null(strstr(err.msg, "agent.key_provider"));
    assert_null(strstr(err.msg, "1234"));
    assert_false(cs_keystore_open(uri, "no-such-provider", &key, &err));
    assert_non_null(strstr(err.msg, "no-such-provider"));
    assert_null(key);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_a_uri, setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_signs_from_its_store_and_stays_there, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_key_for_us_is_said, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
