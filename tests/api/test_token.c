// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jwt.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "token.h"

#define NOW 1795435200

static struct fx *fx;
static struct fx_key *key;

static int setup(void **state) {
    (void)state;
    fx = fx_new(1);
    key = fx_key_new(fx);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    fx_free(fx);
    return 0;
}

// Signs whatever header and claims are given as JSON.
static char *make(const char *header, const char *claims) {
    struct cs_err err;
    uint8_t *pem = NULL;
    size_t len = 0;
    jwt_t *jwt = NULL;
    assert_int_equal(jwt_new(&jwt), 0);
    assert_int_equal(jwt_add_headers_json(jwt, header), 0);
    assert_int_equal(jwt_add_grants_json(jwt, claims), 0);
    assert_true(cs_privkey_to_pem(key->priv, &pem, &len, &err));
    assert_int_equal(jwt_set_alg(jwt, JWT_ALG_ES256, pem, (int)len), 0);
    char *text = jwt_encode_str(jwt);
    assert_non_null(text);
    cs_secure_free(pem, len);
    jwt_free(jwt);
    return text;
}

#define HEADER "{\"kid\":\"%s\"}"
#define CLAIMS                                                                                               \
    "{\"iss\":\"%s\",\"sub\":\"acme\",\"aud\":\"test.example\",\"iat\":1795435200,\"exp\":1795435320%s}"

static struct cs_spki spki_of(const struct fx_key *k) {
    struct cs_spki s = {0};
    struct cs_bytes b = cs_pubkey_spki(k->pub);
    s.len = b.len;
    memcpy(s.data, b.data, b.len);
    return s;
}

static bool reads(const char *text, const char *expected_msg_part) {
    struct cs_token t;
    struct cs_err err = {0};
    bool ok = cs_token_read(text, "test.example", NOW, &t, &err);
    if (!ok) {
        assert_int_equal(err.kind, CS_ERR_REJECT);
        assert_non_null(strstr(err.msg, expected_msg_part));
    }
    return ok;
}

static void test_good(void **state) {
    (void)state;
    char *text = make(fx_text(fx, HEADER, key->kid), fx_text(fx, CLAIMS, key->kid, ""));
    struct cs_token t;
    struct cs_err err;
    assert_true(cs_token_read(text, "test.example", NOW, &t, &err));
    assert_string_equal(t.kid, key->kid);
    assert_string_equal(t.sub, "acme");
    assert_int_equal(t.expires_s - t.issued_s, 120);
    struct cs_spki right = spki_of(key), wrong = spki_of(fx_key_new(fx));
    assert_true(cs_token_signed_by(fx->crypto, text, &right));
    assert_false(cs_token_signed_by(fx->crypto, text, &wrong));
    // Any changed character of the signed part, or of the signature, is noticed.
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i += 7) {
        if (text[i] == '.' || i + 1 == len)
            continue;
        char was = text[i];
        text[i] = was == 'A' ? 'B' : 'A';
        assert_false(cs_token_signed_by(fx->crypto, text, &right));
        text[i] = was;
    }
    // A custodian's sealing key is no signing key.
    struct cs_spki x25519 = {.len = fx->custodian_spki_len};
    memcpy(x25519.data, fx->custodian_spki, fx->custodian_spki_len);
    assert_false(cs_token_signed_by(fx->crypto, text, &x25519));
    // No second form: padding, unused bits, another length.
    assert_false(cs_token_signed_by(fx->crypto, fx_text(fx, "%s=", text), &right));
    assert_false(cs_token_signed_by(fx->crypto, fx_text(fx, "%sA", text), &right));
    text[len - 1]++;
    assert_false(cs_token_signed_by(fx->crypto, text, &right));
    text[len - 1] = '\0';
    assert_false(cs_token_signed_by(fx->crypto, text, &right));
    free(text);
}

// Many signatures, so that r and s of every length and with the high bit set or not come up.
static void test_many_signatures(void **state) {
    (void)state;
    struct cs_spki right = spki_of(key);
    for (int i = 0; i < 600; i++) {
        char *text = make(fx_text(fx, HEADER, key->kid), fx_text(fx, CLAIMS, key->kid, ""));
        assert_true(cs_token_signed_by(fx->crypto, text, &right));
        free(text);
    }
    // r = s = 0, and all ones.
    const char *zero = fx_text(fx, "eyJ9.e30.%086d", 0);
    char *zeros = fx_alloc(fx, strlen(zero) + 1);
    strcpy(zeros, zero);
    memset(zeros + 9, 'A', 86);
    assert_false(cs_token_signed_by(fx->crypto, zeros, &right));
    memset(zeros + 9, '_', 85);
    zeros[9 + 85] = 'w';
    assert_false(cs_token_signed_by(fx->crypto, zeros, &right));
}

static void test_claims(void **state) {
    (void)state;
    const char *header = fx_text(fx, HEADER, key->kid);
    const struct {
        const char *header, *claims, *says;
    } cases[] = {
        {"{\"typ\":\"JWT\"}", fx_text(fx, CLAIMS, key->kid, ""), "kid"},
        {fx_text(fx, "{\"kid\":\"%s\",\"crit\":[\"exp\"]}", key->kid), fx_text(fx, CLAIMS, key->kid, ""),
         "crit"},
        {header, fx_text(fx, CLAIMS, fx_key_new(fx)->kid, ""), "iss"},
        {header, fx_text(fx, CLAIMS, key->kid, ",\"nbf\":1795436000"), "future"},
        {header, fx_text(fx, CLAIMS, key->kid, ",\"nbf\":\"x\""), "future"},
        {header,
         fx_text(fx, "{\"iss\":\"%s\",\"sub\":\"acme\",\"aud\":[\"test.example\"],\"iat\":1,\"exp\":2}",
                 key->kid),
         "aud"},
        {header, fx_text(fx, "{\"iss\":\"%s\",\"aud\":\"test.example\",\"iat\":1,\"exp\":2}", key->kid),
         "sub"},
        {header,
         fx_text(fx, "{\"iss\":\"%s\",\"sub\":\"acme\",\"aud\":\"test.example\",\"exp\":1795435320}",
                 key->kid),
         "iat"},
        {header,
         fx_text(fx,
                 "{\"iss\":\"%s\",\"sub\":\"acme\",\"aud\":\"test.example\",\"iat\":\"1795435200\",\"exp\":"
                 "1795435320}",
                 key->kid),
         "iat"},
        {header,
         fx_text(fx,
                 "{\"iss\":\"%s\",\"sub\":\"acme\",\"aud\":\"test.example\",\"iat\":-9000000000000000000,"
                 "\"exp\":1795435320}",
                 key->kid),
         "iat"},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        char *text = make(cases[i].header, cases[i].claims);
        assert_false(reads(text, cases[i].says));
        free(text);
    }
}

static void test_form(void **state) {
    (void)state;
    char *good = make(fx_text(fx, HEADER, key->kid), fx_text(fx, CLAIMS, key->kid, ""));
    assert_true(reads(good, ""));
    assert_false(reads(fx_text(fx, "%s.", good), "not a signed"));
    assert_false(reads(fx_text(fx, "%s=", good), "not a signed"));
    assert_false(reads(fx_text(fx, " %s", good), "not a signed"));
    assert_false(reads("", "not a signed"));
    assert_false(reads("a.b.", "not a signed"));
    assert_false(reads("aaaa.bbbb.cccc", "cannot be read"));
    char *huge = malloc(CS_TOKEN_MAX + 2);
    memset(huge, 'a', CS_TOKEN_MAX + 1);
    huge[CS_TOKEN_MAX + 1] = '\0';
    assert_false(reads(huge, "2048"));
    free(huge);
    free(good);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_many_signatures),
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_form),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
