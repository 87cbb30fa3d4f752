// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/model/codes.h"
#include "codec/json.h"

// ---- any value, read with the functions under test

static json_t *read_value(struct cs_reader *r);

static json_t *read_string(struct cs_reader *r) {
    struct cs_string s;
    if (!cs_read_string(r, "a string", &s))
        return NULL;
    char *text = malloc(s.len + 1);
    assert_non_null(text);
    size_t len = cs_string_copy(s, text, s.len + 1);
    assert_true(len <= s.len);
    assert_true(cs_string_is(s, text, len));
    json_t *v = json_stringn(text, len);
    free(text);
    return v;
}

static json_t *read_object(struct cs_reader *r) {
    json_t *v = json_object();
    struct cs_string name;
    bool end = !cs_read_object(r);
    bool ok = !end;
    while (ok && (ok = cs_read_member(r, &name, &end)) && !end) {
        char text[1000];
        assert_true(cs_string_copy(name, text, sizeof text) < sizeof text);
        if (json_object_get(v, text))
            ok = cs_reader_fail(r, "given twice");
        json_t *member = ok ? read_value(r) : NULL;
        ok = member != NULL;
        if (ok)
            json_object_set_new(v, text, member);
    }
    if (ok)
        return v;
    json_decref(v);
    return NULL;
}

static json_t *read_array(struct cs_reader *r) {
    json_t *v = json_array();
    bool end = !cs_read_array(r, "an array");
    bool ok = !end;
    while (ok && (ok = cs_read_item(r, &end)) && !end) {
        json_t *item = read_value(r);
        ok = item != NULL;
        if (ok)
            json_array_append_new(v, item);
    }
    if (ok)
        return v;
    json_decref(v);
    return NULL;
}

static json_t *read_value(struct cs_reader *r) {
    const char *p = r->at;
    while (p < r->end && strchr(" \t\r\n", *p) && *p)
        p++;
    char c = p < r->end ? *p : '\0';
    if (c == '{')
        return read_object(r);
    if (c == '[')
        return read_array(r);
    if (c == '"')
        return read_string(r);
    if (c == 't' || c == 'f') {
        bool v;
        return cs_read_bool(r, &v) ? json_boolean(v) : NULL;
    }
    if (c == 'n')
        return cs_read_skip(r) ? json_null() : NULL;
    int64_t v;
    return cs_read_int(r, -CS_JSON_INT_MAX, CS_JSON_INT_MAX, &v) ? json_integer(v) : NULL;
}

// NULL where it is refused. That cs_read_skip judges alike is asserted.
static json_t *parse(const char *text, size_t len, struct cs_err *err) {
    struct cs_reader r;
    struct cs_bytes bytes = {(const uint8_t *)text, len};
    memset(err, 0, sizeof *err);
    bool skips = cs_reader_init(&r, bytes, CS_READER_DEPTH_MAX, err) && cs_read_skip(&r) && cs_reader_end(&r);
    json_t *v = NULL;
    if (cs_reader_init(&r, bytes, CS_READER_DEPTH_MAX, err)) {
        v = read_value(&r);
        if (v && !cs_reader_end(&r)) {
            json_decref(v);
            v = NULL;
        }
    }
    assert_int_equal(v != NULL, skips);
    if (!v) {
        assert_int_equal(err->kind, CS_ERR_REJECT);
        assert_int_equal(err->code, CS_CODE_EVENT_MALFORMED);
        assert_true(strlen(err->msg) > 0 && strlen(err->msg) <= CS_READER_DETAIL_MAX);
    }
    return v;
}

// ---- what only we refuse

static bool within_our_limits(const json_t *v, unsigned depth) {
    const char *name;
    json_t *item;
    size_t i;
    switch (json_typeof(v)) {
    case JSON_REAL:
        return false;
    case JSON_INTEGER:
        return json_integer_value(v) <= CS_JSON_INT_MAX && json_integer_value(v) >= -CS_JSON_INT_MAX;
    case JSON_OBJECT:
        if (depth == CS_READER_DEPTH_MAX || json_object_size(v) > CS_READER_MEMBERS_MAX)
            return false;
        json_object_foreach((json_t *)(uintptr_t)v, name, item) {
            if (!within_our_limits(item, depth + 1))
                return false;
        }
        return true;
    case JSON_ARRAY:
        if (depth == CS_READER_DEPTH_MAX)
            return false;
        json_array_foreach(v, i, item) {
            if (!within_our_limits(item, depth + 1))
                return false;
        }
        return true;
    default:
        return true;
    }
}

static bool has_minus_zero(const char *text, size_t len) {
    for (size_t i = 0; i + 1 < len; i++)
        if (text[i] == '-' && text[i + 1] == '0')
            return true;
    return false;
}

// Both accept and read the same, or both refuse, but for what we say that we refuse.
static bool as_jansson(const char *text, size_t len) {
    struct cs_err err;
    json_error_t error;
    json_t *ours = parse(text, len, &err);
    json_t *theirs = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    bool accepted = ours != NULL;
    if (ours && (!theirs || !json_equal(ours, theirs)))
        fail_msg("we read what jansson does not (%s): %.*s", error.text, (int)len, text);
    if (!ours && theirs && within_our_limits(theirs, 0) && !has_minus_zero(text, len))
        fail_msg("we refuse (%s) what jansson reads: %.*s", err.msg, (int)len, text);
    json_decref(ours);
    json_decref(theirs);
    return accepted;
}

static const struct {
    const char *text;
    const char *refused; // the detail; NULL where it is read
} rows[] = {
    {"{}", NULL},
    {"[]", NULL},
    {" { \"a\" : [ 1 , 2 ] ,\t\"b\":\r\n{ } } ", NULL},
    {"true", NULL},
    {"false", NULL},
    {"null", NULL},
    {"\"\"", NULL},
    {"0", NULL},
    {"-1", NULL},
    {"9007199254740991", NULL},
    {"-9007199254740991", NULL},
    {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20AC\\ud83d\\uDE00\"", NULL},
    {"\"\x7f\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", NULL},
    {"\"a string of more than eight bytes, \\n with an escape in it\"", NULL},
    {"{\"a\":1,\"b\":2,\"\":3}", NULL},
    {"{\"\\u0061\":1,\"b\":2}", NULL},
    {"", "not JSON: ends too early"},
    {" ", "not JSON: ends too early"},
    {"{", "not JSON: ends too early"},
    {"{\"a\"", "a: not JSON: ends too early"},
    {"{\"a\":", "a: not JSON: ends too early"},
    {"{\"a\":1", "a: not JSON: ends too early"},
    {"{\"a\":1,", "a: not JSON: ends too early"},
    {"[", "[0]: not JSON: ends too early"},
    {"[1", "[0]: not JSON: ends too early"},
    {"\"abc", "not JSON: ends too early"},
    {"\"abcdefgh\\", "not JSON: expected an allowed escape at byte 9"},
    {"{\"a\":1,}", "a: not JSON: expected a member's name at byte 7"},
    {"{,}", "not JSON: expected a member's name at byte 1"},
    {"[1,]", "[1]: not JSON: expected a value at byte 3"},
    {"[,1]", "[0]: not JSON: expected a value at byte 1"},
    {"[1 2]", "[0]: not JSON: expected ',' or ']' at byte 3"},
    {"{\"a\" 1}", "a: not JSON: expected ':' at byte 5"},
    {"{\"a\":1 \"b\":2}", "a: not JSON: expected ',' or '}' at byte 7"},
    {"{a:1}", "not JSON: expected a member's name at byte 1"},
    {"{'a':1}", "not JSON: expected a member's name at byte 1"},
    {"{\"a\":1}x", "not JSON: expected the end at byte 7"},
    {"1 2", "not JSON: expected the end at byte 2"},
    {"{\"a\":1,\"a\":2}", "a: given twice"},
    {"{\"a\":1,\"\\u0061\":2}", "a: given twice"},
    {"{\"\xc3\xa9\":1,\"\\u00e9\":2}", "\xc3\xa9: given twice"},
    {"[{\"x\":{\"y\":1,\"y\":1}}]", "[0].x.y: given twice"},
    {"tru", "not JSON: expected a value at byte 0"},
    {"True", "not JSON: expected a value at byte 0"},
    {"nul", "not JSON: expected a value at byte 0"},
    {"NaN", "not JSON: expected a value at byte 0"},
    {"+1", "not JSON: expected a value at byte 0"},
    {".5", "not JSON: expected a value at byte 0"},
    {"/**/1", "not JSON: expected a value at byte 0"},
    {"\xef\xbb\xbf{}", "not JSON: expected a value at byte 0"},
    {"01", "must be an integer below 2^53, without fraction or exponent"},
    {"-0", "must be an integer below 2^53, without fraction or exponent"},
    {"-", "must be an integer below 2^53, without fraction or exponent"},
    {"-01", "must be an integer below 2^53, without fraction or exponent"},
    {"1.0", "must be an integer below 2^53, without fraction or exponent"},
    {"1e3", "must be an integer below 2^53, without fraction or exponent"},
    {"1E3", "must be an integer below 2^53, without fraction or exponent"},
    {"9007199254740992", "must be an integer below 2^53, without fraction or exponent"},
    {"-9007199254740992", "must be an integer below 2^53, without fraction or exponent"},
    {"99999999999999999999999", "must be an integer below 2^53, without fraction or exponent"},
    {"\"\\u0000\"", "not JSON: expected an allowed escape at byte 1"},
    {"\"\\ud800\"", "not JSON: expected an allowed escape at byte 1"},
    {"\"\\udc00\"", "not JSON: expected an allowed escape at byte 1"},
    {"\"\\udc00\\ud800\"", "not JSON: expected an allowed escape at byte 1"},
    {"\"\\ud800\\u0041\"", "not JSON: expected an allowed escape at byte 1"},
    {"\"\\ud800x\\udc00\"", "not JSON: expected an allowed escape at byte 1"},
    {"\"\\ud83d\\uDE0\"", "not JSON: expected an allowed escape at byte 1"},
    {"\"\\u12\"", "not JSON: expected an allowed escape at byte 1"},
    {"\"\\u00g0\"", "not JSON: expected an allowed escape at byte 1"},
    {"\"\\U0041\"", "not JSON: expected an allowed escape at byte 1"},
    {"\"\\x41\"", "not JSON: expected an allowed escape at byte 1"},
    {"\"\\'\"", "not JSON: expected an allowed escape at byte 1"},
    {"\"a\nb\"", "not JSON: expected a character above 1F in a string at byte 2"},
    {"\"abcdefghijk\x1f\"", "not JSON: expected a character above 1F in a string at byte 12"},
    {"\"\xff\"", "not UTF-8"},
    {"\"\xc3\"", "not UTF-8"},
    {"\"\xc0\x80\"", "not UTF-8"},
    {"\"\xed\xa0\x80\"", "not UTF-8"},
    {"\"\xf4\x90\x80\x80\"", "not UTF-8"},
    {"[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]", NULL},
    {"[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]",
     "[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]: nested deeper than 16"},
    {"{\"a\\\"b\\n\":-0}", "a\\x22b\\x0A: must be an integer below 2^53, without fraction or exponent"},
};

static void values_and_details(void **state) {
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct cs_err err;
        struct cs_reader r;
        const char *text = rows[i].text;
        struct cs_bytes bytes = {(const uint8_t *)text, strlen(text)};
        bool ok =
            cs_reader_init(&r, bytes, CS_READER_DEPTH_MAX, &err) && cs_read_skip(&r) && cs_reader_end(&r);
        if (ok != (rows[i].refused == NULL))
            fail_msg("%s: %s", text, ok ? "read" : err.msg);
        if (!ok)
            assert_string_equal(err.msg, rows[i].refused);
        assert_int_equal(as_jansson(text, strlen(text)), rows[i].refused == NULL);
    }
}

static void nul_in_the_text(void **state) {
    (void)state;
    assert_false(as_jansson("\"a\0b\"", 5));
    assert_false(as_jansson("{}\0", 3));
    assert_false(as_jansson("\0", 1));
    assert_false(as_jansson("\"\\\0\"", 4));
}

static uint32_t random_state = 1;
static uint32_t random_below(uint32_t n) {
    random_state = random_state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(random_state >> 8) * n >> 24);
}

static void mutations_as_jansson(void **state) {
    (void)state;
    static const char *const seeds[] = {
        ("{\"specversion\":\"1.0\",\"seq\":42,\"data\":{\"chain\":[\"QUJD\",\"REVG\"],\"csr\":true,\"n\":"
         "null}"
         "}"),
        "[\"\\ud83d\\ude00\\u00e9\\n\",-1,9007199254740991,{\"a\":{},\"b\":[[],[{}]]},\"\xe2\x82\xac\"]",
        "{\"a\":1,\"b\":2,\"c\":{\"a\":1,\"b\":[false,true]},\"d\":\"0123456789abcdef\"}",
    };
    static const char bytes[] = "{}[]\",:\\u0123456789abcdefDd8.-+eE \n\x01\x7f\x80\xc3\xa9\xff/ntrlsx";
    size_t accepted = 0;
    for (int i = 0; i < 100000; i++) {
        char text[400];
        const char *seed = seeds[random_below(CS_ARRAY_LEN(seeds))];
        size_t len = strlen(seed);
        memcpy(text, seed, len);
        for (uint32_t n = 1 + random_below(3); n > 0 && len > 0; n--) {
            size_t at = random_below((uint32_t)len), other = random_below((uint32_t)len);
            char c = bytes[random_below(sizeof bytes - 1)];
            switch (random_below(4)) {
            case 0:
                text[at] = c;
                break;
            case 1: // takes one out
                memmove(text + at, text + at + 1, --len - at);
                break;
            case 2: // puts one in
                memmove(text + at + 1, text + at, len++ - at);
                text[at] = c;
                break;
            default: // doubles a run
                if (at < other && len + (other - at) < sizeof text) {
                    memmove(text + other, text + at, len - at);
                    len += other - at;
                }
            }
        }
        // Of exactly its length, for the sanitizer.
        char *exact = malloc(len + (len == 0));
        assert_non_null(exact);
        memcpy(exact, text, len);
        accepted += as_jansson(exact, len);
        free(exact);
    }
    assert_true(accepted > 1000); // or it would show nothing
}

static void members_of_unknown_objects_are_bounded(void **state) {
    (void)state;
    char text[2000] = "{";
    for (int i = 0; i < CS_READER_MEMBERS_MAX; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "\"m%d\":%d,", i, i);
    struct cs_err err;
    struct cs_reader r;
    size_t len = strlen(text);
    text[len - 1] = '}';
    assert_true(cs_reader_init(&r, (struct cs_bytes){(uint8_t *)text, len}, 8, &err));
    assert_true(cs_read_skip(&r));
    strcpy(text + len - 1, ",\"more\":1}");
    assert_true(cs_reader_init(&r, (struct cs_bytes){(uint8_t *)text, strlen(text)}, 8, &err));
    assert_false(cs_read_skip(&r));
    assert_string_equal(err.msg, "more: more than 64 members");
}

static void long_paths_are_cut(void **state) {
    (void)state;
    char text[1000] = "";
    for (int i = 0; i < 8; i++)
        strcat(text, "{\"a name that is quite a bit longer than is shown of one\":");
    strcat(text, "x");
    struct cs_err err;
    json_t *v = parse(text, strlen(text), &err);
    assert_null(v);
    assert_string_equal(
        err.msg, "a name that is quite a bit longer than i.a name that is quite a bit longer than i...: "
                 "must be an integer from -9007199254740991 to 9007199254740991");
}

static void strings_are_cut_at_characters(void **state) {
    (void)state;
    char out[8];
    struct cs_string s = {"abcdef\xc3\xa9", 8, false};
    assert_int_equal(cs_string_copy(s, out, sizeof out), 8);
    assert_string_equal(out, "abcdef");
    s = (struct cs_string){"\\u20ac\\u20ac\\u20ac", 18, true};
    assert_int_equal(cs_string_copy(s, out, sizeof out), 9);
    assert_string_equal(out, "\xe2\x82\xac\xe2\x82\xac");
    assert_true(cs_string_is(s, "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac", 9));
    assert_false(cs_string_is(s, "\\u20ac\\u20ac\\u20ac", 18));
    assert_false(cs_string_is(s, "\xe2\x82\xac\xe2\x82\xac\\", 7));
    assert_false(cs_string_is(s, "\xe2\x82\xac\xe2\x82\xac", 6));
    assert_false(cs_string_is(s, "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac!", 10));
}

static void canonical_texts_only(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool canonical;
    } table[] = {
        {"{\"a\":[1,\"b\"]}", true}, {"{ \"a\":[1,\"b\"]}", false}, {"{\"a\":[1, \"b\"]}", false},
        {"{\"a\":1}\n", false},      {"\"\\\"\\\\\\n\"", true},     {"\"\\u0001\\u001f\"", true},
        {"\"\\u001F\"", false},      {"\"\\u000a\"", false},        {"\"\\u0041\"", false},
        {"\"\\/\"", false},          {"\"\\ud83d\\ude00\"", false}, {"\"\xf0\x9f\x98\x80\"", true},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(table); i++) {
        struct cs_err err;
        struct cs_reader r;
        assert_true(cs_reader_init(
            &r, (struct cs_bytes){(const uint8_t *)table[i].text, strlen(table[i].text)}, 8, &err));
        r.canonical = true;
        assert_int_equal(cs_read_skip(&r) && cs_reader_end(&r), table[i].canonical);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_and_details),   cmocka_unit_test(nul_in_the_text),
        cmocka_unit_test(mutations_as_jansson), cmocka_unit_test(members_of_unknown_objects_are_bounded),
        cmocka_unit_test(long_paths_are_cut),   cmocka_unit_test(strings_are_cut_at_characters),
        cmocka_unit_test(canonical_texts_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
