// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "api/token.h"
#include "fixture.h"
#include "jwt_make.h"

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
    return jwt_sign(fx->crypto, key->priv, header, claims);
}

#define HEADER "{\"alg\":\"ES256\",\"kid\":\"%s\"}"
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
        {"{\"alg\":\"ES256\",\"typ\":\"JWT\"}", fx_text(fx, CLAIMS, key->kid, ""), "kid"},
        {fx_text(fx, "{\"alg\":\"ES256\",\"kid\":\"%s\",\"crit\":[\"exp\"]}", key->kid),
         fx_text(fx, CLAIMS, key->kid, ""), "crit"},
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

// Signed well, and with a header that must not pass.
static void test_hostile_headers(void **state) {
    (void)state;
    static const struct {
        const char *header, *says;
    } cases[] = {
        {"{\"kid\":\"%s\"}", "alg"},
        {"{\"alg\":\"none\",\"kid\":\"%s\"}", "alg"},
        {"{\"alg\":\"None\",\"kid\":\"%s\"}", "alg"},
        {"{\"alg\":\"\",\"kid\":\"%s\"}", "alg"},
        {"{\"alg\":null,\"kid\":\"%s\"}", "alg"},
        {"{\"alg\":[\"ES256\"],\"kid\":\"%s\"}", "alg"},
        {"{\"alg\":\"es256\",\"kid\":\"%s\"}", "alg"},
        {"{\"alg\":\"Es256\",\"kid\":\"%s\"}", "alg"},
        {"{\"alg\":\"ES256 \",\"kid\":\"%s\"}", "alg"},
        {"{\"alg\":\"HS256\",\"kid\":\"%s\"}", "alg"},
        {"{\"alg\":\"ES384\",\"kid\":\"%s\"}", "alg"},
        {"{\"Alg\":\"ES256\",\"kid\":\"%s\"}", "alg"},
        {"{\"alg\":\"ES256\\u0000\",\"kid\":\"%s\"}", "cannot be read"},
        {"{\"alg\":\"ES256\",\"alg\":\"none\",\"kid\":\"%s\"}", "cannot be read"},
        {"{\"alg\":\"none\",\"alg\":\"ES256\",\"kid\":\"%s\"}", "cannot be read"},
        {"{\"alg\":\"ES256\",\"kid\":\"%s\",\"kid\":\"x\"}", "cannot be read"},
        {"{\"alg\":\"ES256\",\"kid\":\"%s\",\"crit\":[]}", "crit"},
        {"{\"alg\":\"ES256\",\"kid\":\"%s\",\"crit\":null}", "crit"},
        {"{\"alg\":\"ES256\",\"kid\":\"%s\",\"crit\":\"b64\",\"b64\":false}", "crit"},
        {"{\"alg\":\"ES256\",\"kid\":\"%s\",\"typ\":\"JWE\"}", "typ"},
        {"{\"alg\":\"ES256\",\"kid\":[\"%s\"]}", "kid"},
        {"{\"alg\":\"ES256\",\"kid\":\"%s \"}", "kid"},
        {"{\"alg\":\"ES256\",\"kid\":\"%s\"}}", "cannot be read"},
        {"{\"alg\":\"ES256\",\"kid\":\"%s\"", "cannot be read"},
        {"[{\"alg\":\"ES256\",\"kid\":\"%s\"}]", "cannot be read"},
        {"\"%s\"", "cannot be read"},
        {"null", "cannot be read"},
        {"{\"alg\":\"ES256\",\"kid\":\"%s\",\"x\":\"\xff\"}", "cannot be read"},
        {"{\"alg\":\"ES256\",\"kid\":\"%s\",\"x\":99999999999999999999}", "cannot be read"},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        char *text = make(fx_text(fx, cases[i].header, key->kid), fx_text(fx, CLAIMS, key->kid, ""));
        assert_false(reads(text, cases[i].says));
        free(text);
    }
    char *mixed_typ = make(fx_text(fx, "{\"alg\":\"ES256\",\"kid\":\"%s\",\"typ\":\"jwt\"}", key->kid),
                           fx_text(fx, CLAIMS, key->kid, ""));
    assert_true(reads(mixed_typ, ""));
    free(mixed_typ);
}

static void test_hostile_claims(void **state) {
    (void)state;
    const char *header = fx_text(fx, HEADER, key->kid);
    const struct {
        const char *more, *says;
    } cases[] = {
        {",\"nbf\":null", "future"},
        {",\"nbf\":1795435200.5", "future"},
        {",\"exp\":9795435320", "cannot be read"}, // twice
        {",\"sub\":\"*\"", "cannot be read"},
        {"}{", "cannot be read"},
        {",", "cannot be read"},
        {",\"x\":{\"a\":1,\"a\":2}", "cannot be read"},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        char *text = make(header, fx_text(fx, CLAIMS, key->kid, cases[i].more));
        assert_false(reads(text, cases[i].says));
        free(text);
    }
    // A number with a fraction is no time.
    char *real = make(header, fx_text(fx,
                                      "{\"iss\":\"%s\",\"sub\":\"acme\",\"aud\":\"test.example\",\"iat\":"
                                      "1795435200.0,\"exp\":1795435320}",
                                      key->kid));
    assert_false(reads(real, "iat"));
    free(real);
}

// A part more or less, other alphabets, bits that nothing uses, the largest size.
static void test_hostile_encoding(void **state) {
    (void)state;
    char *good = make(fx_text(fx, HEADER, key->kid), fx_text(fx, CLAIMS, key->kid, ""));
    char *c = strchr(good, '.') + 1, *s = strrchr(good, '.') + 1;
    c[-1] = s[-1] = '\0';
    const char *h = good;
    const char *const forms[] = {fx_text(fx, "%s..%s", h, s),
                                 fx_text(fx, "..%s", s),
                                 fx_text(fx, "%s.%s", h, s),
                                 fx_text(fx, ".%s.%s", c, s),
                                 fx_text(fx, "%s.%s.", h, c),
                                 fx_text(fx, "%s.%s.%s.x", h, c, s),
                                 fx_text(fx, "%s.%s.%s.", h, c, s),
                                 fx_text(fx, ".%s.%s.%s", h, c, s),
                                 fx_text(fx, "%s..%s.%s", h, c, s),
                                 fx_text(fx, "%s=.%s.%s", h, c, s),
                                 fx_text(fx, "%s.%s+.%s", h, c, s),
                                 fx_text(fx, "%s.%s/.%s", h, c, s),
                                 fx_text(fx, "%s.%s\n.%s", h, c, s),
                                 fx_text(fx, "%s.%s.%s\n", h, c, s),
                                 fx_text(fx, "%s\xc3\xa9.%s.%s", h, c, s)};
    for (size_t i = 0; i < CS_ARRAY_LEN(forms); i++)
        assert_false(reads(forms[i], "not a signed"));
    assert_false(reads(fx_text(fx, "%sA.%s.%s", h, c, s), "cannot be read"));
    assert_false(reads(fx_text(fx, "%s.%sAAAA.%s", h, c, s), "cannot be read")); // NULs behind the JSON
    // {} is e30; the two bits behind it must be zero.
    assert_false(reads(fx_text(fx, "e30.e30.%s", s), "alg"));
    assert_false(reads(fx_text(fx, "e31.e30.%s", s), "cannot be read"));
    // {"a":1} with a NUL behind the number.
    assert_false(reads(fx_text(fx, "eyJhIjoxfQ.e30.%s", s), "alg"));
    assert_false(reads(fx_text(fx, "eyJhIjoxAH0.e30.%s", s), "cannot be read"));
    free(good);
    // The largest that is read at all. base64 steps over some lengths: it is within three bytes of the limit.
    char claims[CS_TOKEN_MAX];
    size_t len = 0, longest = 0;
    for (int spaces = 1000; len <= CS_TOKEN_MAX; spaces++) {
        snprintf(claims, sizeof claims, "%s%*s", fx_text(fx, CLAIMS, key->kid, ""), spaces, "");
        char *text = make(fx_text(fx, HEADER, key->kid), claims);
        len = strlen(text);
        assert_int_equal(reads(text, "2048"), len <= CS_TOKEN_MAX);
        longest = len <= CS_TOKEN_MAX ? len : longest;
        free(text);
    }
    assert_true(longest >= CS_TOKEN_MAX - 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_many_signatures),
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_form),
        cmocka_unit_test(test_hostile_headers),
        cmocka_unit_test(test_hostile_claims),
        cmocka_unit_test(test_hostile_encoding),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
