// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/model/event.h"
#include "event_expect.h"
#include "event_samples.h"
#include "json_edit.h"

static void samples_round_trip(void **state) {
    (void)state;
    bool have[64] = {false};
    for (size_t i = 0; i < CS_ARRAY_LEN(samples); i++) {
        struct cs_err err;
        CS_AUTO(cs_event_free) struct cs_event *ev = decode(samples[i].text);
        assert_int_equal(ev->type, samples[i].type);
        have[ev->type] = true;
        struct cs_buf out;
        cs_buf_init(&out, CS_EVENT_MAX);
        if (!cs_event_encode(ev, &out, &err))
            fail_msg("%s: %s", samples[i].name, err.msg);
        assert_string_equal((const char *)out.data, samples[i].text);
        cs_buf_clear(&out);
    }
#define X(symbol, ...) assert_true(have[CS_EVENT_##symbol]);
    CS_EVENT_TYPES(X)
#undef X
}

static void every_truncation_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(samples); i++) {
        for (size_t len = 0; len < strlen(samples[i].text); len++) {
            struct cs_err err;
            assert_null(decode_bytes(samples[i].text, len, &err));
            assert_int_equal(err.code, CS_CODE_EVENT_MALFORMED);
            assert_true(strlen(err.msg) > 0);
        }
    }
}

// ---- unknown types, order, limits

#define NINES  "999999999999999999999999999999999999999999999999999999999999"
#define FROM_1 "must be an integer from 1 to 9007199254740991"

static void unknown_types(void **state) {
    (void)state;
    const char *share = sample_text("share");
    char *future = json_edit_set(share, "type", "\"certsync.certificate.renew.v1\"");
    expect(strdup(future), CS_CODE_EVENT_UNKNOWN_TYPE,
           "type: \"certsync.certificate.renew.v1\" is not known");
    expect(json_edit_set(share, "type", "\"\""), CS_CODE_EVENT_UNKNOWN_TYPE, "type: \"\" is not known");
    expect(json_edit_set(share, "type", "\"certsync.certificate.share.v2\\u0007\""),
           CS_CODE_EVENT_UNKNOWN_TYPE, "type: \"certsync.certificate.share.v2\\x07\" is not known");
    expect(json_edit_set(share, "type", "\"" NINES NINES "\""), CS_CODE_EVENT_UNKNOWN_TYPE,
           "type: \"" NINES "999\" is not known");
    // Either form of source, any subject, any data: a later version says what they must be.
    static const char *const data[] = {"null",  "7",          "[1,[2,{\"a\":\"b\"}],null,false]",
                                       "\"x\"", "{\"a\":{}}", "{}"};
    for (size_t i = 0; i < CS_ARRAY_LEN(data); i++)
        expect(json_edit_set(future, "data", data[i]), CS_CODE_EVENT_UNKNOWN_TYPE,
               "type: \"certsync.certificate.renew.v1\" is not known");
    expect(json_edit_set(future, "source", "\"//prod.example_0a1b2c3d/keys/" SAMPLE_KID "\""),
           CS_CODE_EVENT_UNKNOWN_TYPE, "type: \"certsync.certificate.renew.v1\" is not known");
    expect(json_edit_set(future, "subject", "\"anything at all\""), CS_CODE_EVENT_UNKNOWN_TYPE,
           "type: \"certsync.certificate.renew.v1\" is not known");
    // But the envelope is as every event's.
    expect_malformed(json_edit_set(future, "source", "\"x\""),
                     "source: must be //LOG/keys/KID or //LOG/accounts/ACCOUNT/keys/KID");
    expect_malformed(
        json_edit_set(future, "sequence", "0"),
        "sequence: must be 16 decimal digits, from \"0000000000000001\" to \"9007199254740991\"");
    expect_malformed(json_edit_set(future, "extra", "0"), "extra: unknown member");
    expect_malformed(json_edit_set(future, "subject", "\"\""),
                     "subject: must be 1 to 63 printable ASCII characters");
    expect_malformed(json_edit_remove(future, "data"), "data: missing");
    expect_malformed(json_edit_set(future, "data.real", "1.5"),
                     "data.real: must be an integer below 2^53, without fraction or exponent");
    expect_malformed(json_edit_double(future, "data.to"), "data.to: given twice");
    free(future);
}

static void members_in_any_order_and_white_space(void **state) {
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(samples); i++) {
        struct cs_err err;
        json_t *root = json_edit_load(samples[i].text);
        char *sorted = json_dumps(root, JSON_SORT_KEYS | JSON_INDENT(2) | JSON_ENSURE_ASCII);
        json_decref(root);
        CS_AUTO(cs_event_free) struct cs_event *ev = decode(sorted);
        struct cs_buf out;
        cs_buf_init(&out, CS_EVENT_MAX);
        assert_true(cs_event_encode(ev, &out, &err));
        assert_string_equal((const char *)out.data, samples[i].text);
        cs_buf_clear(&out);
        free(sorted);
    }
}

// Whether every base64 of the event has these bytes and this text, or has forgotten the bytes.
static void assert_same_encoded(const struct cs_encoded *mine, const struct cs_encoded *theirs,
                                bool forgotten) {
    assert_int_equal(mine->text.len, theirs->text.len);
    if (mine->text.len > 0)
        assert_memory_equal(mine->text.data, theirs->text.data, mine->text.len);
    assert_int_equal(mine->bytes.len, forgotten ? 0 : theirs->bytes.len);
    if (mine->bytes.len > 0)
        assert_memory_equal(mine->bytes.data, theirs->bytes.data, mine->bytes.len);
}

static void assert_upload(const struct cs_event *mine, const struct cs_event *theirs, bool forgotten) {
    for (size_t i = 0; i < theirs->data.upload.parts; i++) {
        const struct cs_keyed_chain *a = &mine->data.upload.part[i], *b = &theirs->data.upload.part[i];
        for (size_t k = 0; k < b->chain_len; k++)
            assert_same_encoded(&a->chain[k], &b->chain[k], forgotten);
        assert_same_encoded(&a->key, &b->key, forgotten);
        assert_same_encoded(&a->pop, &b->pop, forgotten);
    }
}

// A name that begins with an escape.
static char *escape_name(const char *text) {
    static const char name[] = "\"name\":\"";
    const char *at = strstr(text, name);
    char *out = malloc(strlen(text) + 8);
    assert_non_null(at);
    assert_non_null(out);
    at += strlen(name);
    sprintf(out, "%.*s\\u0061%s", (int)(at - text), text, at);
    return out;
}

// The same is read with texts left in the value; with an escape in them they are copied, and nothing is forgotten.
static void views_into_the_value(void **state) {
    (void)state;
    int uploads = 0;
    for (size_t i = 0; i < CS_ARRAY_LEN(samples); i++) {
        struct cs_err err;
        CS_AUTO(cs_event_free) struct cs_event *whole = decode(samples[i].text);
        CS_AUTO(cs_event_free) struct cs_event *view = NULL;
        CS_AUTO(cs_event_free) struct cs_event *escaped = NULL;
        struct cs_bytes text = {(const uint8_t *)samples[i].text, strlen(samples[i].text)};
        assert_true(cs_event_decode_view(text, NULL, NULL, &view, &err));
        assert_int_equal(view->type, whole->type);
        bool upload = view->type == CS_EVENT_CERTIFICATE_UPLOAD || view->type == CS_EVENT_CERTIFICATE_ISSUE;
        if (!upload)
            continue;
        uploads++;
        assert_upload(view, whole, false);
        struct cs_region region = {0}, scratch = {0};
        struct cs_event *lying = NULL;
        assert_true(cs_event_decode_view(text, &region, &scratch, &lying, &err));
        assert_upload(lying, whole, false);
        cs_event_forget_bytes(lying);
        cs_region_reset(&scratch);
        assert_upload(lying, whole, true);
        cs_event_free(lying);
        cs_region_free(&region);
        cs_region_free(&scratch);
        const uint8_t *first = view->data.upload.part[0].chain[0].text.data;
        assert_true(first > text.data && first < text.data + text.len);
        cs_event_forget_bytes(view);
        assert_upload(view, whole, true);
        char *other = escape_name(samples[i].text);
        assert_true(cs_event_decode_view((struct cs_bytes){(const uint8_t *)other, strlen(other)}, NULL, NULL,
                                         &escaped, &err));
        cs_event_forget_bytes(escaped);
        assert_upload(escaped, whole, false);
        free(other);
    }
    assert_true(uploads >= 2);
}

static void size_limit(void **state) {
    (void)state;
    const char *head = sample_text("revoke");
    size_t len = strlen(head);
    char *text = malloc(CS_EVENT_MAX + 2);
    assert_non_null(text);
    memcpy(text, head, len);
    memset(text + len, ' ', CS_EVENT_MAX + 1 - len);
    text[CS_EVENT_MAX] = '\0';
    expect_malformed(strdup(text), NULL);
    text[CS_EVENT_MAX] = ' ';
    text[CS_EVENT_MAX + 1] = '\0';
    expect(text, CS_CODE_EVENT_TOO_LARGE, "262145 bytes, more than 262144");
    struct cs_err err;
    assert_null(decode_bytes("", 0, &err));
    assert_string_equal(err.msg, "must be an object");
    struct cs_event *ev = NULL;
    assert_false(cs_event_decode((struct cs_bytes){NULL, 0}, &ev, &err));
    assert_string_equal(err.msg, "must be an object");
}

static void depth_limit(void **state) {
    (void)state;
    char *future = json_edit_set(sample_text("share"), "type", "\"certsync.x.v1\"");
    expect(json_edit_set(future, "data", "[[[[[[[1]]]]]]]"), CS_CODE_EVENT_UNKNOWN_TYPE,
           "type: \"certsync.x.v1\" is not known");
    expect_malformed(json_edit_set(future, "data", "[[[[[[[[1]]]]]]]]"),
                     "data[0][0][0][0][0][0][0]: nested deeper than 8");
    expect_malformed(
        json_edit_set(sample_text("share"), "data.to", "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}}}"),
        "data.to.a.a.a.a.a.a: nested deeper than 8");
    // Deep enough to end a recursion without a bound.
    char *deep = malloc(CS_EVENT_MAX);
    assert_non_null(deep);
    memset(deep, '[', CS_EVENT_MAX - 1);
    deep[CS_EVENT_MAX - 1] = '\0';
    expect_malformed(deep, "must be an object");
    free(future);
}

// ---- what is decoded

static void assert_encoded(const struct cs_encoded *e, const char *text, const char *bytes, size_t len) {
    assert_int_equal(e->text.len, strlen(text));
    assert_memory_equal(e->text.data, text, e->text.len);
    assert_int_equal(e->bytes.len, len);
    assert_memory_equal(e->bytes.data, bytes, len);
}

static void envelope_and_upload(void **state) {
    (void)state;
    CS_AUTO(cs_event_free) struct cs_event *ev = decode(sample_text("upload"));
    assert_int_equal(ev->type, CS_EVENT_CERTIFICATE_UPLOAD);
    assert_string_equal(cs_event_type_name(ev->type), "certsync.certificate.upload.v1");
    assert_string_equal(ev->id, SAMPLE_ID);
    assert_string_equal(ev->log_id, "prod.example_0a1b2c3d");
    assert_string_equal(ev->account, "acme");
    assert_string_equal(ev->kid, SAMPLE_KID);
    assert_string_equal(ev->subject, SAMPLE_ID2);
    assert_int_equal(ev->time_s, 1795435200);
    assert_int_equal(ev->seq, 42);
    const struct cs_event_upload *up = &ev->data.upload;
    assert_int_equal(up->source, CS_SOURCE_UPLOADED);
    assert_string_equal(up->name, "www.example.com");
    assert_int_equal(up->algorithm, CS_ALGORITHM_INTERNATIONAL);
    assert_true(up->replace && up->force);
    assert_int_equal(up->tags.len, 1);
    assert_string_equal(up->tags.tag[0], "env=prod");
    assert_int_equal(up->parts, 1);
    assert_int_equal(up->part[0].chain_len, 2);
    assert_encoded(&up->part[0].chain[0], "MAAA", "\x30\0\0", 3);
    assert_encoded(&up->part[0].chain[1], "MAAAAA==", "\x30\0\0\0", 4);
    assert_encoded(&up->part[0].key, "AQID", "\1\2\3", 3);
    assert_encoded(&up->part[0].pop, "BAUG", "\4\5\6", 3);
    assert_false(up->part[0].csr);
}

static void escaped_base64_is_read(void **state) {
    (void)state;
    char *text = json_edit_set(sample_text("upload"), "data.chain[0]", "\"A+//\"");
    char *escaped = malloc(strlen(text) + 20), *at = strstr(text, "A+//");
    assert_non_null(escaped);
    sprintf(escaped, "%.*sA\\u002b\\/\\/%s", (int)(at - text), text, at + 4);
    CS_AUTO(cs_event_free) struct cs_event *ev = decode(escaped);
    assert_encoded(&ev->data.upload.part[0].chain[0], "A+//", "\x03\xef\xff", 3);
    assert_encoded(&ev->data.upload.part[0].chain[1], "MAAAAA==", "\x30\0\0\0", 4);
    free(text);
    free(escaped);
}

// The verdict on more certificates than there is room for is a rule's: they are counted, and cannot be
// written.
static void too_many_certificates_are_counted(void **state) {
    (void)state;
    char *text =
        json_edit_set(sample_text("upload"), "data.chain",
                      "[\"AAAA\",\"AAAB\",\"AAAC\",\"AAAD\",\"AAAE\",\"AAAF\",\"AAAG\",\"AAAH\",\"AAAI\","
                      "\"AAAJ\",\"AAAK\",\"AAAL\"]");
    CS_AUTO(cs_event_free) struct cs_event *ev = decode(text);
    const struct cs_keyed_chain *part = &ev->data.upload.part[0];
    assert_int_equal(part->chain_len, 12);
    assert_encoded(&part->chain[9], "AAAJ", "\0\0\x09", 3);
    assert_encoded(&part->key, "AQID", "\1\2\3", 3);
    struct cs_err err;
    struct cs_buf out;
    cs_buf_init(&out, CS_EVENT_MAX);
    assert_false(cs_event_encode(ev, &out, &err));
    assert_int_equal(err.code, CS_CODE_CERT_TOO_MANY);
    cs_buf_clear(&out);
    free(text);
    expect_malformed(json_edit_set(sample_text("upload"), "data.chain",
                                   "[\"AAAA\",\"AAAB\",\"AAAC\",\"AAAD\",\"AAAE\",\"AAAF\",\"AAAG\",\"AAAH\","
                                   "\"AAAI\",\"AAAJ\",\"AAA\"]"),
                     "data.chain[10]: not canonical base64");
}

static void other_types(void **state) {
    (void)state;
    struct cs_event *ev = decode(sample_text("upload sm2"));
    assert_int_equal(ev->data.upload.parts, 2);
    assert_int_equal(ev->data.upload.part[1].chain_len, 2);
    assert_encoded(&ev->data.upload.part[0].key, "AQID", "\1\2\3", 3);
    assert_encoded(&ev->data.upload.part[1].pop, "BAUH", "\4\5\7", 3);
    cs_event_free(ev);
    ev = decode(sample_text("upload by csr"));
    assert_true(ev->data.upload.part[0].csr);
    assert_int_equal(ev->data.upload.part[0].key.bytes.len, 0);
    cs_event_free(ev);
    ev = decode(sample_text("issue"));
    assert_int_equal(ev->data.upload.source, CS_SOURCE_TEST);
    cs_event_free(ev);
    ev = decode(sample_text("genesis"));
    assert_string_equal(ev->account, "");
    assert_int_equal(ev->data.genesis.partitions, 12);
    assert_int_equal(ev->data.genesis.ruleset, 1);
    cs_event_free(ev);
    ev = decode(sample_text("update"));
    assert_true(ev->data.account.has_verified && !ev->data.account.verified && ev->data.account.has_shares);
    assert_false(ev->data.account.has_site || ev->data.account.has_owner ||
                 ev->data.account.has_certificates || ev->data.account.has_incomplete_chain);
    cs_event_free(ev);
    ev = decode(sample_text("token"));
    assert_int_equal(ev->data.enroll.can, CS_CAN_ENROLL);
    assert_int_equal(ev->data.enroll.grant_can, CS_CAN_ALL & ~CS_CAN_ENROLL);
    assert_string_equal(ev->data.enroll.grant_names, "web-*");
    assert_int_equal(ev->data.enroll.uses, 10);
    assert_int_equal(ev->data.enroll.expires_s, 1798761600);
    cs_event_free(ev);
    ev = decode(sample_text("offer"));
    assert_string_equal(ev->data.offer.certificate.leaves[0].subject, "CN=\xc3\xbc");
    assert_string_equal(ev->data.offer.certificate.leaves[0].names[1], "IP:192.0.2.1");
    assert_int_equal(ev->data.offer.certificate.leaves[0].names_total, 3);
    assert_int_equal(ev->data.offer.certificate.leaves[0].sha256[31], 0x1f);
    assert_int_equal(ev->data.offer.certificate.tags.len, 2);
    cs_event_free(ev);
    ev = decode(sample_text("answer"));
    assert_int_equal(ev->data.answer.reply, CS_REPLY_ACCEPTED);
    assert_int_equal(ev->data.answer.code, CS_CODE_NONE);
    assert_int_equal(ev->data.answer.origin, 11);
    cs_event_free(ev);
    cs_event_free(NULL);
}

static void encoding_refuses_what_decoding_refuses(void **state) {
    (void)state;
    struct cs_err err;
    struct cs_buf out;
    cs_buf_init(&out, CS_EVENT_MAX);
    CS_AUTO(cs_event_free) struct cs_event *ev = decode(sample_text("share"));
    strcpy(ev->data.share.to, "Not An Account");
    assert_false(cs_event_encode(ev, &out, &err));
    assert_int_equal(err.code, CS_CODE_EVENT_MALFORMED);
    assert_string_equal(err.msg, "data.to: must be an account id");
    cs_buf_reset(&out);
    strcpy(ev->data.share.to, "other");
    ev->seq = 0;
    assert_false(cs_event_encode(ev, &out, &err));
    assert_string_equal(err.msg, "sequence: must be from 1 to 2^53-1");
    cs_buf_reset(&out);
    ev->seq = 1;
    ev->account[0] = '\0';
    assert_false(cs_event_encode(ev, &out, &err));
    assert_string_equal(err.msg, "source: must name an account for this type");
    cs_buf_reset(&out);
    ev->type = CS_EVENT_NONE;
    assert_false(cs_event_encode(ev, &out, &err));
    assert_int_equal(err.code, CS_CODE_EVENT_MALFORMED);
    cs_buf_clear(&out);
}

static void encoding_is_bounded(void **state) {
    (void)state;
    struct cs_err err;
    struct cs_buf out;
    cs_buf_init(&out, 100);
    CS_AUTO(cs_event_free) struct cs_event *ev = decode(sample_text("share"));
    assert_false(cs_event_encode(ev, &out, &err));
    assert_int_equal(err.kind, CS_ERR_FATAL);
    cs_buf_clear(&out);
    // Larger than an event may be: the sender's fault, not the buffer's.
    static uint8_t large[CS_EVENT_MAX];
    CS_AUTO(cs_event_free) struct cs_event *rotate = decode(sample_text("rotate"));
    rotate->data.enroll.key.bytes = (struct cs_bytes){large, sizeof large};
    cs_buf_init(&out, 2 * CS_EVENT_MAX);
    assert_false(cs_event_encode(rotate, &out, &err));
    assert_int_equal(err.code, CS_CODE_EVENT_TOO_LARGE);
    cs_buf_clear(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_round_trip),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(unknown_types),
        cmocka_unit_test(members_in_any_order_and_white_space),
        cmocka_unit_test(views_into_the_value),
        cmocka_unit_test(size_limit),
        cmocka_unit_test(depth_limit),
        cmocka_unit_test(envelope_and_upload),
        cmocka_unit_test(escaped_base64_is_read),
        cmocka_unit_test(too_many_certificates_are_counted),
        cmocka_unit_test(other_types),
        cmocka_unit_test(encoding_refuses_what_decoding_refuses),
        cmocka_unit_test(encoding_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
