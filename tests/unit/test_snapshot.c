// SPDX-License-Identifier: Apache-2.0
//
// A snapshot's bytes: a catalog comes back from them, each catalog has one form only, and nothing
// else is taken.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/model/snapshot.h"

#define LOG "snap_1a2b3c4d"

struct fixture {
    struct cs_crypto *c;
    struct cs_note_signer *signer;
    struct cs_state *state;
    struct cs_position at;
    char origin[CS_ORIGIN_MAX + 1];
    struct cs_buf bytes; // of the snapshot
};

static struct cs_bytes text_of(const char *s) {
    return (struct cs_bytes){(const uint8_t *)s, strlen(s)};
}

static bool put(void *arg, struct cs_bytes piece, struct cs_err *err) {
    (void)err;
    cs_buf_put(arg, piece.data, piece.len);
    return true;
}

static bool take(void *arg, uint8_t *to, size_t len, size_t *ret_len, struct cs_err *err) {
    struct cs_bytes *from = arg;
    (void)err;
    *ret_len = len < from->len ? len : from->len;
    memcpy(to, from->data, *ret_len);
    from->data += *ret_len;
    from->len -= *ret_len;
    return true;
}

static void write_to(const struct fixture *f, const struct cs_state *state, const struct cs_position *at,
                     struct cs_buf *b) {
    struct cs_err err;
    cs_buf_init(b, 64 * 1024 * 1024);
    assert_true(cs_snapshot_write(state, f->origin, at, put, b, &err));
    assert_false(b->failed);
}

// What is taken is written again as it was.
static bool reads(const struct fixture *f, struct cs_bytes from, struct cs_err *err) {
    CS_AUTO(cs_state_free) struct cs_state *s = NULL;
    CS_AUTO(cs_buf_clear) struct cs_buf back;
    struct cs_position at;
    struct cs_bytes rest = from;
    cs_buf_init(&back, 1);
    assert_true(cs_state_new(true, &s, err));
    if (!cs_snapshot_read(s, f->origin, take, &rest, NULL, &at, err)) {
        assert_int_equal(err->kind, CS_ERR_REJECT);
        return false;
    }
    assert_int_equal(cs_state_changes_count(s), 0);
    write_to(f, s, &at, &back);
    assert_int_equal(back.len, from.len);
    assert_memory_equal(back.data, from.data, from.len);
    return true;
}

static int setup(void **state) {
    static const uint8_t seed[CS_NOTE_SEED_LEN] = {7};
    struct fixture *f = calloc(1, sizeof *f);
    struct cs_err err;
    char name[32];
    assert_non_null(f);
    assert_true(cs_crypto_new(&f->c, &err));
    assert_true(cs_note_signer_new(f->c, LOG, seed, &f->signer, &err));
    assert_true(cs_state_new(true, &f->state, &err));
    cs_snapshot_origin(LOG, 3, 0, f->origin);
    f->at = (struct cs_position){.next_offset = 6, .outcomes = 6, .derived = 1, .record_sha256 = {1}};
    cs_state_begin(f->state);
    cs_state_put(f->state, "account/acme", text_of("{\"a\":1}"));
    cs_state_put(f->state, "both", text_of("x"));
    cs_state_add(f->state, "both", "member", 1);
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "m%d", 9 - i);
        cs_state_add(f->state, "view/acme", name, i == 0 ? INT64_MIN : i * INT64_C(0x0102030405));
    }
    cs_state_add(f->state, "view/acme", "m0", -1);
    cs_state_add(f->state, "view/acme", "m1", -1);
    cs_state_put(f->state, "zz\xff", text_of("\x01"));
    cs_state_put(f->state, "gone", text_of("y"));
    cs_state_delete(f->state, "gone");
    cs_state_add(f->state, "gone too", "m", 1);
    cs_state_remove(f->state, "gone too", "m");
    assert_true(cs_state_keep(f->state, &err));
    write_to(f, f->state, &f->at, &f->bytes);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    cs_buf_clear(&f->bytes);
    cs_state_free(f->state);
    cs_note_signer_free(f->signer);
    cs_crypto_free(f->c);
    free(f);
    return 0;
}

static void test_round_trip(void **state) {
    const struct fixture *f = *state;
    struct cs_err err;
    assert_true(reads(f, cs_buf_bytes(&f->bytes), &err));
    assert_null(strstr((const char *)f->bytes.data, "gone"));
}

static void test_large(void **state) {
    const struct fixture *f = *state;
    CS_AUTO(cs_state_free) struct cs_state *s = NULL;
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    struct cs_err err;
    char name[32];
    uint8_t *document = calloc(1, CS_STATE_DOCUMENT_MAX);
    assert_non_null(document);
    assert_true(cs_state_new(true, &s, &err));
    cs_state_begin(s);
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "large/%d", i);
        cs_state_put(s, name, (struct cs_bytes){document, CS_STATE_DOCUMENT_MAX});
    }
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "member %d", i);
        cs_state_add(s, "many", name, i / 7);
    }
    assert_true(cs_state_keep(s, &err));
    write_to(f, s, &f->at, &b);
    assert_true(reads(f, cs_buf_bytes(&b), &err));
    free(document);
}

static void test_cut(void **state) {
    const struct fixture *f = *state;
    struct cs_err err;
    for (size_t len = 0; len < f->bytes.len; len++)
        assert_false(reads(f, (struct cs_bytes){f->bytes.data, len}, &err));
}

static void test_longer(void **state) {
    struct fixture *f = *state;
    struct cs_err err;
    cs_buf_putc(&f->bytes, 'e');
    assert_false(reads(f, cs_buf_bytes(&f->bytes), &err));
    assert_non_null(strstr(err.msg, "follows its end"));
}

// Each bit of each byte: it is refused, or is another catalog, in that one's only form.
static void test_flipped(void **state) {
    const struct fixture *f = *state;
    struct cs_err err;
    size_t refused = 0;
    for (size_t i = 0; i < f->bytes.len * 8; i++) {
        f->bytes.data[i / 8] ^= (uint8_t)(1 << i % 8);
        refused += !reads(f, cs_buf_bytes(&f->bytes), &err);
        f->bytes.data[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    assert_true(refused > f->bytes.len);
    assert_true(reads(f, cs_buf_bytes(&f->bytes), &err));
}

#define DOC_A  "d\0\1a\0\0\0\1x"
#define DOC_B  "d\0\1b\0\0\0\1x"
#define X(s)   "" s, sizeof(s) - 1
#define SCORE0 "\0\0\0\0\0\0\0\0"
#define SCORE1 "\0\0\0\0\0\0\0\1"
#define SCOREN "\xff\xff\xff\xff\xff\xff\xff\xff"

static void test_entries(void **state) {
    static const struct {
        const char *body;
        size_t len;
        const char *says; // NULL: it is one
    } cases[] = {
        {X("e"), NULL},
        {X(DOC_A DOC_B "e"), NULL},
        {X(DOC_A "i\0\1a\0\0\0\1\0\1m" SCORE0 "e"), NULL},
        {X(DOC_B DOC_A "e"), "not in order"},
        {X(DOC_A DOC_A "e"), "not in order"},
        {X("i\0\1a\0\0\0\1\0\1m" SCORE0 DOC_A "e"), "not in order"},
        {X("i\0\1a\0\0\0\1\0\1m" SCORE0 "i\0\1a\0\0\0\1\0\1n" SCORE0 "e"), "not in order"},
        {X("i\0\1a\0\0\0\2\0\1m" SCOREN "\0\1n" SCORE0 "e"), NULL},
        {X("i\0\1a\0\0\0\2\0\1m" SCORE0 "\0\1n" SCOREN "e"), "members of an index are not in order"},
        {X("i\0\1a\0\0\0\2\0\1n" SCORE0 "\0\1m" SCORE0 "e"), "members of an index are not in order"},
        {X("i\0\1a\0\0\0\2\0\1m" SCORE0 "\0\1m" SCORE0 "e"), "members of an index are not in order"},
        {X("i\0\1a\0\0\0\2\0\1m" SCORE0 "\0\1m" SCORE1 "e"), "has a member twice"},
        {X("i\0\1a\0\0\0\0e"), "an index is empty"},
        {X("d\0\1a\0\0\0\0e"), "a document is empty"},
        {X("d\0\1a\xff\xff\xff\xff"), "too large"},
        {X("d\0\0\0\0\0\1xe"), "a key is empty"},
        {X("d\1\0"), "too long"},
        {X("d\0\2a\0\0\0\0\1xe"), "a zero byte"},
        {X("i\0\1a\0\0\0\1\0\2m\0" SCORE0 "e"), "a zero byte"},
        {X("x"), "neither a document nor an index"},
    };
    const struct fixture *f = *state;
    const uint8_t *head = f->bytes.data;
    size_t head_len = 0;
    for (int lines = 0; lines < 3; head_len++)
        lines += head[head_len] == '\n';
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        CS_AUTO(cs_buf_clear) struct cs_buf b;
        struct cs_err err;
        cs_buf_init(&b, 4096);
        cs_buf_put(&b, head, head_len);
        cs_buf_put(&b, cases[i].body, cases[i].len);
        assert_int_equal(reads(f, cs_buf_bytes(&b), &err), !cases[i].says);
        if (cases[i].says)
            assert_non_null(strstr(err.msg, cases[i].says));
    }
}

static void test_of_another(void **state) {
    struct fixture *f = *state;
    struct cs_err err;
    cs_snapshot_origin(LOG, 4, 0, f->origin);
    assert_false(reads(f, cs_buf_bytes(&f->bytes), &err));
    assert_non_null(strstr(err.msg, "it is of " LOG "/partitions/3/snapshot, not of"));
    cs_snapshot_origin("snap_00000000", 3, 0, f->origin);
    assert_false(reads(f, cs_buf_bytes(&f->bytes), &err));
}

// After a correction there is another catalog of as many outcomes. Their statements are of two things.
static void test_epochs(void **state) {
    static const struct {
        const char *origin;
        int64_t epoch; // -1: not of the partition
    } cases[] = {{LOG "/partitions/3/snapshot", 0},
                 {LOG "/partitions/3/epochs/1/snapshot", 1},
                 {LOG "/partitions/3/epochs/12/snapshot", 12},
                 {LOG "/partitions/3/epochs/0/snapshot", -1},
                 {LOG "/partitions/3/epochs/01/snapshot", -1},
                 {LOG "/partitions/3/epochs/1", -1},
                 {LOG "/partitions/3/epochs//snapshot", -1},
                 {LOG "/partitions/4/epochs/1/snapshot", -1},
                 {LOG "/partitions/3/epochs/1/snapshot/snapshot", -1},
                 {"/snapshot", -1},
                 {"", -1}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cs_snapshot s = {0};
        char origin[CS_ORIGIN_MAX + 1];
        snprintf(s.at.origin, sizeof s.at.origin, "%s", cases[i].origin);
        assert_int_equal(cs_snapshot_is_of(&s, LOG, 3), cases[i].epoch >= 0);
        if (cases[i].epoch < 0)
            continue;
        assert_int_equal(s.epoch, cases[i].epoch);
        cs_snapshot_origin(LOG, 3, s.epoch, origin);
        assert_string_equal(origin, cases[i].origin);
    }
}

// --- the statement

static void state_it(const struct fixture *f, struct cs_snapshot *s, struct cs_buf *note) {
    uint8_t sha256[32];
    struct cs_err err;
    cs_crypto_sha256(f->c, cs_buf_bytes(&f->bytes), sha256);
    cs_snapshot_of(f->c, f->origin, &f->at, sha256, s);
    cs_buf_init(note, CS_NOTE_MAX);
    assert_true(cs_snapshot_sign(f->c, f->signer, s, note, &err));
}

static void test_statement(void **state) {
    const struct fixture *f = *state;
    const struct cs_note_key *key = cs_note_signer_key(f->signer);
    CS_AUTO(cs_buf_clear) struct cs_buf note;
    struct cs_snapshot s, back;
    struct cs_checkpoint checkpoint;
    struct cs_err err;
    state_it(f, &s, &note);
    assert_true(cs_snapshot_open(f->c, cs_buf_bytes(&note), key, &back, &err));
    assert_true(cs_snapshot_equal(&s, &back));
    for (size_t i = 0; i < note.len; i++) {
        note.data[i] ^= 1;
        assert_false(cs_snapshot_open(f->c, cs_buf_bytes(&note), key, &back, &err) &&
                     !cs_snapshot_equal(&s, &back));
        note.data[i] ^= 1;
        assert_false(cs_snapshot_open(f->c, (struct cs_bytes){note.data, i}, key, &back, &err));
    }
    // Neither is ever taken for the other.
    char origin[CS_ORIGIN_MAX + 1];
    cs_checkpoint_origin(LOG, 3, 0, origin);
    assert_true(cs_checkpoint_open(f->c, cs_buf_bytes(&note), key, &checkpoint, &err));
    assert_string_not_equal(checkpoint.origin, origin);
    snprintf(checkpoint.origin, sizeof checkpoint.origin, "%s", origin);
    cs_buf_reset(&note);
    assert_true(cs_checkpoint_sign(f->c, f->signer, &checkpoint, &note, &err));
    assert_false(cs_snapshot_open(f->c, cs_buf_bytes(&note), key, &back, &err));
    assert_non_null(strstr(err.msg, "no statement of a snapshot"));
}

static void test_statement_by_another(void **state) {
    static const uint8_t seed[CS_NOTE_SEED_LEN] = {8};
    const struct fixture *f = *state;
    CS_AUTO(cs_note_signer_free) struct cs_note_signer *other = NULL;
    CS_AUTO(cs_buf_clear) struct cs_buf note;
    struct cs_snapshot s, back;
    struct cs_err err;
    state_it(f, &s, &note);
    assert_true(cs_note_signer_new(f->c, LOG, seed, &other, &err));
    assert_false(cs_snapshot_open(f->c, cs_buf_bytes(&note), cs_note_signer_key(other), &back, &err));
    assert_int_equal(err.kind, CS_ERR_REJECT);
}

// Each sign of the text is signed, but there is one text of a statement only, also for its signer.
static void test_statement_has_one_form(void **state) {
    static const char *const bad[] = {"next_offset 06\ncatalog %s\n",
                                      "next_offset 6\ncatalog %s\n\n",
                                      "next_offset 6\ncatalog %s\nmore\n",
                                      "next_offset 6 \ncatalog %s\n",
                                      "next_offset +6\ncatalog %s\n",
                                      "catalog %s\nnext_offset 6\n",
                                      "next_offset  6\ncatalog %s\n",
                                      "next_offset 6\ncatalog %.40s\n",
                                      "next_offset 6\n",
                                      "next_offset 6\ncatalog %sAAAA\n"};
    const struct fixture *f = *state;
    const struct cs_note_key *key = cs_note_signer_key(f->signer);
    struct cs_snapshot s, back;
    struct cs_err err;
    for (size_t i = 0; i < CS_ARRAY_LEN(bad) + 1; i++) {
        CS_AUTO(cs_buf_clear) struct cs_buf text;
        CS_AUTO(cs_buf_clear) struct cs_buf note;
        char hash[45] = "", rest[256];
        state_it(f, &s, &note);
        cs_base64_encode(s.catalog.sha256, 32, hash);
        snprintf(rest, sizeof rest, i < CS_ARRAY_LEN(bad) ? bad[i] : "next_offset 6\ncatalog %s\n", hash);
        cs_buf_init(&text, 1024);
        cs_buf_put(&text, note.data,
                   (size_t)(strstr((const char *)note.data, "next_offset") - (char *)note.data));
        cs_buf_puts(&text, rest);
        cs_buf_reset(&note);
        assert_true(cs_note_sign(f->c, f->signer, cs_buf_bytes(&text), &note, &err));
        assert_int_equal(cs_snapshot_open(f->c, cs_buf_bytes(&note), key, &back, &err),
                         i == CS_ARRAY_LEN(bad));
    }
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_round_trip),
        T(test_large),
        T(test_cut),
        T(test_longer),
        T(test_flipped),
        T(test_entries),
        T(test_of_another),
        T(test_epochs),
        T(test_statement),
        T(test_statement_by_another),
        T(test_statement_has_one_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
