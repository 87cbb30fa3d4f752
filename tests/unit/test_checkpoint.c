// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "certsync/base/text.h"
#include "certsync/model/checkpoint.h"

// The example of https://pkg.go.dev/golang.org/x/mod/sumdb/note, with its private key.
#define GO_VKEY "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
#define GO_SEED "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz" // with its kind before it
#define GO_TEXT                                                                                              \
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
#define GO_LINE                                                                                              \
    "\xe2\x80\x94 PeterNeumann "                                                                             \
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
#define GO_NOTE    GO_TEXT "\n" GO_LINE
#define OTHER_LINE "\xe2\x80\x94 other 4VpRmwAAAAA=\n"

struct fixture {
    struct cs_crypto *c;
    struct cs_note_signer *signer; // of the example
};

static struct cs_bytes text_of(const char *s) {
    return (struct cs_bytes){(const uint8_t *)s, strlen(s)};
}

static int setup(void **state) {
    static struct fixture f;
    struct cs_err err;
    uint8_t seed[36];
    size_t len = 0;
    assert_true(cs_crypto_new(&f.c, &err));
    assert_true(cs_base64_decode(GO_SEED, strlen(GO_SEED), seed, &len));
    assert_int_equal(len, 33);
    assert_true(cs_note_signer_new(f.c, "PeterNeumann", seed + 1, &f.signer, &err));
    *state = &f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    cs_note_signer_free(f->signer);
    cs_crypto_free(f->c);
    return 0;
}

static void test_keys(void **state) {
    static const char *const bad[] = {
        "", "PeterNeumann", "PeterNeumann+c74f20a3", "+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        // a letter of the name, of the id, of the key
        "PeterNeumanm+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TX",
        "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        // of a wrong length, and of an unknown kind, with ids that fit (Go's own tests)
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"};
    // Of a real witness: https://github.com/transparency-dev/formats, note/note_cosigv1_test.go.
    static const char *const good[] = {
        GO_VKEY, "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"};
    const struct fixture *f = *state;
    struct cs_note_key k;
    struct cs_err err;
    char text[CS_NOTE_KEY_TEXT_SIZE];
    for (size_t i = 0; i < CS_ARRAY_LEN(good); i++) {
        assert_true(cs_note_key_parse(f->c, good[i], &k, &err));
        cs_note_key_text(&k, text);
        assert_string_equal(text, good[i]);
    }
    assert_int_equal(k.kind, CS_NOTE_COSIGNATURE);
    for (size_t i = 0; i < CS_ARRAY_LEN(bad); i++) {
        assert_false(cs_note_key_parse(f->c, bad[i], &k, &err));
        assert_int_equal(err.kind, CS_ERR_CONFIG);
    }
    cs_note_key_text(cs_note_signer_key(f->signer), text);
    assert_string_equal(text, GO_VKEY);
}

// Ed25519 signs the same text with the same bytes always.
static void test_sign(void **state) {
    const struct fixture *f = *state;
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    struct cs_err err;
    cs_buf_init(&b, CS_NOTE_MAX);
    assert_true(cs_note_sign(f->c, f->signer, text_of(GO_TEXT), &b, &err));
    assert_string_equal((const char *)b.data, GO_NOTE);
}

static bool opens(const struct fixture *f, const char *note, struct cs_err *err) {
    struct cs_bytes text;
    if (!cs_note_open(f->c, text_of(note), cs_note_signer_key(f->signer), &text, NULL, err))
        return false;
    assert_int_equal(text.len, strlen(GO_TEXT));
    assert_memory_equal(text.data, GO_TEXT, text.len);
    return true;
}

static void test_open(void **state) {
    static const struct {
        const char *note, *says;
    } bad[] = {
        {"", "does not end"},
        {GO_TEXT, "no signature behind"},
        {GO_TEXT "\n", "no signature behind"},
        {GO_TEXT GO_LINE, "no signature behind"},
        {GO_TEXT "\n" OTHER_LINE, "has not signed it"},
        {GO_TEXT "\n" GO_LINE "not a signature\n", "is no signature"},
        {GO_TEXT "\n\xe2\x80\x94 PeterNeumann\n" GO_LINE, "is no signature"},
        {GO_TEXT "\n\xe2\x80\x94  x08go/ZJ\n" GO_LINE, "is no signature"},
        {"if" GO_TEXT "\n" GO_LINE, "was altered"},
        {"\n" GO_NOTE, "was altered"},
        {"\t" GO_NOTE, "control characters"},
        {"\xff" GO_NOTE, "not UTF-8"},
    };
    const struct fixture *f = *state;
    struct cs_err err;
    assert_true(opens(f, GO_NOTE, &err));
    assert_true(opens(f, GO_TEXT "\n" OTHER_LINE GO_LINE OTHER_LINE, &err));
    for (size_t i = 0; i < CS_ARRAY_LEN(bad); i++) {
        assert_false(opens(f, bad[i].note, &err));
        assert_int_equal(err.kind, CS_ERR_REJECT);
        assert_non_null(strstr(err.msg, bad[i].says));
    }
}

// No byte of a note can be altered: it is then another note, or none by this key.
static void test_every_byte(void **state) {
    const struct fixture *f = *state;
    char note[] = GO_NOTE;
    struct cs_err err;
    for (size_t i = 0; i < sizeof note - 1; i++) {
        note[i] ^= 1;
        assert_false(opens(f, note, &err));
        note[i] ^= 1;
    }
    assert_true(opens(f, note, &err));
}

// A checkpoint of a real log, cosigned by real witnesses: the tests of the Python library c2sp
// (checkpoint_test.py). The first line by the log is of a kind that certsync does not know.
#define DASH "\xe2\x80\x94 "
#define LOG  "arche2025h1.staging.ct.transparency.dev"
#define COSIGNED                                                                                             \
    LOG "\n1432088532\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n"                                       \
        "\n" DASH LOG " zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2B" \
        "XaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=\n" DASH LOG                                                       \
        " ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=\n"    \
        "" DASH "transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzw"   \
        "Z2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==\n" DASH                                 \
        "remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5Xe" \
        "U/zZ0WBxtqB0DrAWfBw==\n"

// A witness answers with lines alone, and whoever is asked may answer anything.
static void test_find(const struct fixture *f, const struct cs_note_key *witness) {
    static const char *const bad[] = {
        "", "\n", "ok", "ok\n", OTHER_LINE, OTHER_LINE "x\n", "\xe2\x80\x94 \n"};
    struct cs_bytes text;
    struct cs_bytes lines;
    struct cs_bytes line;
    struct cs_err err;
    int64_t time_s = 0;
    assert_true(cs_note_split(text_of(COSIGNED), &text, &lines, &err));
    assert_true(cs_note_find(f->c, text, lines, witness, &line, &time_s, &err));
    assert_memory_equal(line.data, DASH "remora.n621.de ", sizeof DASH "remora.n621.de " - 1);
    assert_ptr_equal(line.data + line.len, lines.data + lines.len);
    assert_true(cs_note_find(f->c, text, line, witness, &line, &time_s, &err));
    assert_int_equal(time_s, 0x6a122120);
    line.len--;
    assert_false(cs_note_find(f->c, text, line, witness, &line, &time_s, &err));
    for (size_t i = 0; i < CS_ARRAY_LEN(bad); i++) {
        assert_false(cs_note_find(f->c, text, text_of(bad[i]), witness, &line, &time_s, &err));
        assert_int_equal(err.kind, CS_ERR_REJECT);
    }
}

static void test_cosignature(void **state) {
    static const char log_key[] = LOG "+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f";
    static const char witness_key[] = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2";
    const struct fixture *f = *state;
    char altered[] = COSIGNED;
    struct cs_note_key log;
    struct cs_note_key witness;
    struct cs_bytes text;
    struct cs_err err;
    struct cs_checkpoint p;
    int64_t time_s = 0;
    assert_true(cs_note_key_parse(f->c, log_key, &log, &err));
    assert_true(cs_note_key_parse(f->c, witness_key, &witness, &err));
    assert_true(cs_checkpoint_open(f->c, text_of(COSIGNED), &log, &p, &err));
    assert_int_equal(p.size, 1432088532);
    assert_string_equal(p.origin, LOG);
    assert_true(cs_note_open(f->c, text_of(COSIGNED), &witness, &text, &time_s, &err));
    assert_int_equal(time_s, 0x6a122120);
    test_find(f, &witness);
    altered[sizeof LOG] = '2'; // its size
    assert_false(cs_note_open(f->c, text_of(altered), &witness, &text, &time_s, &err));
    assert_false(cs_checkpoint_open(f->c, text_of(altered), &log, &p, &err));
}

static void test_checkpoints(void **state) {
    static const char *const bad[] = {
        "",
        "origin\n",
        "origin\n1\n",
        "\n1\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n",
        "origin\n01\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n",
        "origin\n-1\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n",
        "origin\n9007199254740992\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n",
        "origin\n1\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Q==\n",
        "origin\n1\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro="};
    const struct fixture *f = *state;
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    struct cs_checkpoint p = {.size = 12};
    struct cs_checkpoint back;
    struct cs_err err;
    cs_buf_init(&b, CS_NOTE_MAX);
    cs_checkpoint_origin("prod", 3, 0, p.origin);
    assert_string_equal(p.origin, "prod/partitions/3");
    memset(p.root.sha256, 7, 32);
    assert_true(cs_checkpoint_sign(f->c, f->signer, &p, &b, &err));
    assert_true(cs_checkpoint_open(f->c, cs_buf_bytes(&b), cs_note_signer_key(f->signer), &back, &err));
    assert_string_equal(back.origin, p.origin);
    assert_int_equal(back.size, 12);
    assert_true(cs_hash_equal(&back.root, &p.root));
    for (size_t i = 0; i < CS_ARRAY_LEN(bad); i++) {
        assert_false(cs_checkpoint_parse(text_of(bad[i]), &p, &err));
        assert_int_equal(err.kind, CS_ERR_REJECT);
    }
}

// The key follows from the service's key and the log's id, and from nothing else.
static void test_derived_key(void **state) {
    const struct fixture *f = *state;
    CS_AUTO(cs_privkey_free) struct cs_privkey *service = NULL;
    CS_AUTO(cs_privkey_free) struct cs_privkey *other = NULL;
    struct cs_err err;
    char text[4][CS_NOTE_KEY_TEXT_SIZE];
    assert_true(cs_privkey_generate(CS_KEY_P256, 0, &service, &err));
    assert_true(cs_privkey_generate(CS_KEY_P256, 0, &other, &err));
    for (size_t i = 0; i < 4; i++) {
        CS_AUTO(cs_note_signer_free) struct cs_note_signer *s = NULL;
        assert_true(cs_checkpoint_signer(f->c, i == 2 ? other : service, i == 3 ? "test" : "prod", &s, &err));
        cs_note_key_text(cs_note_signer_key(s), text[i]);
        assert_int_equal(strncmp(text[i], i == 3 ? "test+" : "prod+", 5), 0);
    }
    assert_string_equal(text[0], text[1]);
    assert_string_not_equal(text[0], text[2]);
    assert_string_not_equal(text[0] + 5, text[3] + 5);
    CS_AUTO(cs_privkey_free) struct cs_privkey *p384 = NULL;
    CS_AUTO(cs_note_signer_free) struct cs_note_signer *s = NULL;
    assert_true(cs_privkey_generate(CS_KEY_P384, 0, &p384, &err));
    assert_false(cs_checkpoint_signer(f->c, p384, "prod", &s, &err));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
}

static void test_classes(void **state) {
    int last = -1;
    (void)state;
    for (int64_t size = 1; size < 100000; size++) {
        int n = cs_checkpoint_class(size);
        assert_true(n >= last && (size > 8 || n > last));
        last = n;
    }
    assert_int_equal(last, 8 * 16 + 4);
    assert_true(cs_checkpoint_class(CS_MERKLE_SIZE_MAX) < 8 * 53);
    // eight of each doubling
    for (int64_t size = 8; size < 1024; size *= 2)
        assert_int_equal(cs_checkpoint_class(2 * size) - cs_checkpoint_class(size), 8);
}

// The tree of three leaves, and a proof of each.
static struct cs_buf proof_of(const struct fixture *f, int64_t index) {
    static const char *const values[] = {"{\"n\":1}", "{\"n\":2}", "{\"n\":3}"};
    struct cs_hash leaves[3];
    struct cs_merkle_edge edge = {0};
    struct cs_checkpoint at = {.origin = "prod/partitions/0", .size = 3};
    CS_AUTO(cs_buf_clear) struct cs_buf note;
    struct cs_proof p = {.value = text_of(values[index]), .index = index};
    struct cs_buf b;
    struct cs_err err;
    for (int i = 0; i < 3; i++) {
        cs_merkle_leaf(f->c, text_of(values[i]), &leaves[i]);
        cs_merkle_append(f->c, &edge, i, &leaves[i]);
    }
    cs_merkle_root(f->c, &edge, 3, &at.root);
    cs_buf_init(&note, CS_NOTE_MAX);
    assert_true(cs_checkpoint_sign(f->c, f->signer, &at, &note, &err));
    cs_merkle_prove_leaf(f->c, leaves, 3, index, &p.path);
    p.note = cs_buf_bytes(&note);
    cs_buf_init(&b, CS_PROOF_MAX);
    cs_proof_put(&b, &p);
    assert_true(cs_buf_ok(&b, &err));
    return b;
}

static bool proves(const struct fixture *f, struct cs_bytes text, struct cs_err *err) {
    CS_AUTO(cs_proof_clear) struct cs_proof p = {0};
    struct cs_checkpoint at;
    return cs_proof_parse(text, &p, err) && cs_proof_check(f->c, &p, cs_note_signer_key(f->signer), &at, err);
}

static void test_proofs(void **state) {
    const struct fixture *f = *state;
    struct cs_err err;
    for (int64_t i = 0; i < 3; i++) {
        CS_AUTO(cs_buf_clear) struct cs_buf b = proof_of(f, i);
        assert_true(proves(f, cs_buf_bytes(&b), &err));
        // No byte can be altered, and none be taken away.
        for (size_t at = 0; at < b.len; at++) {
            b.data[at] ^= 1;
            assert_false(proves(f, cs_buf_bytes(&b), &err));
            assert_int_equal(err.kind, CS_ERR_REJECT);
            b.data[at] ^= 1;
            assert_false(proves(f, (struct cs_bytes){b.data, at}, &err));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),        cmocka_unit_test(test_sign),
        cmocka_unit_test(test_open),        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_cosignature), cmocka_unit_test(test_checkpoints),
        cmocka_unit_test(test_derived_key), cmocka_unit_test(test_classes),
        cmocka_unit_test(test_proofs),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
