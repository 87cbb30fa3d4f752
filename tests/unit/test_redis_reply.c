// SPDX-License-Identifier: Apache-2.0
//
// Replies in a region are what hiredis itself makes of the same bytes, however these are cut.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

// cmocka.h needs those above
#include <cmocka.h>

#include "certsync/base/err.h"
#include "redis/reply.h"

static const char *const texts[] = {
    "+QUEUED\r\n",
    "-ERR unknown command\r\n",
    ":-9223372036854775808\r\n",
    "$-1\r\n",
    "$0\r\n\r\n",
    "$5\r\na\r\nb\0\r\n", // its length counts the NUL
    "*-1\r\n",
    "*0\r\n",
    "*3\r\n$1\r\nx\r\n$-1\r\n:7\r\n",
    "*2\r\n*2\r\n+OK\r\n-OOM used memory\r\n*1\r\n*1\r\n$3\r\nabc\r\n",
};

static size_t length_of(size_t i) {
    return i == 5 ? 11 : strlen(texts[i]);
}

static void assert_same(const redisReply *a, const redisReply *b) {
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->integer, b->integer);
    assert_int_equal(a->len, b->len);
    assert_int_equal(!a->str, !b->str);
    if (a->str)
        assert_memory_equal(a->str, b->str, b->len + 1); // with the NUL
    assert_int_equal(a->elements, b->elements);
    for (size_t i = 0; i < b->elements; i++)
        assert_same(a->element[i], b->element[i]);
}

static redisReply *read_in_pieces(redisReader *reader, const char *text, size_t len, size_t piece) {
    void *reply = NULL;
    for (size_t at = 0; at < len; at += piece) {
        assert_null(reply);
        assert_int_equal(redisReaderFeed(reader, text + at, len - at < piece ? len - at : piece), REDIS_OK);
        assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
    }
    assert_non_null(reply);
    return reply;
}

static void replies_are_those_of_hiredis(void **state) {
    (void)state;
    struct cs_redis_room room = {0};
    redisReader *theirs = redisReaderCreate();
    redisReader *ours = redisReaderCreate();
    cs_redis_reply_into(ours, &room);
    for (size_t piece = 1; piece < 70; piece++)
        for (size_t i = 0; i < CS_ARRAY_LEN(texts); i++) {
            redisReply *expected = read_in_pieces(theirs, texts[i], length_of(i), piece);
            assert_same(read_in_pieces(ours, texts[i], length_of(i), piece), expected);
            freeReplyObject(expected);
        }
    redisReaderFree(theirs);
    redisReaderFree(ours);
    cs_region_free(&room.region);
}

// The connection ends in the midst of a reply, or says what is none.
static void a_reply_that_does_not_end_is_let_go(void **state) {
    (void)state;
    static const char *const broken[] = {"*2\r\n$3\r\nabc\r\n", "*2\r\n:1\r\n!\r\n"};
    for (size_t i = 0; i < CS_ARRAY_LEN(broken); i++) {
        struct cs_redis_room room = {0};
        void *reply = NULL;
        redisReader *reader = redisReaderCreate();
        cs_redis_reply_into(reader, &room);
        assert_int_equal(redisReaderFeed(reader, broken[i], strlen(broken[i])), REDIS_OK);
        assert_int_equal(redisReaderGetReply(reader, &reply), i == 0 ? REDIS_OK : REDIS_ERR);
        assert_null(reply);
        redisReaderFree(reader);
        cs_region_free(&room.region);
    }
}

// Of a bounded reply the first string is there whatever the bound, and none after it is used up.
static void what_there_is_no_room_for_is_left_out(void **state) {
    (void)state;
    static const char text[] = "*5\r\n$-1\r\n$5\r\nabcde\r\n$2\r\nfg\r\n$-1\r\n$1\r\nh\r\n";
    static const struct {
        size_t left;
        int types[5];
    } rows[] = {
        {1,
         {REDIS_REPLY_NIL, REDIS_REPLY_STRING, CS_REDIS_REPLY_LEFT_OUT, REDIS_REPLY_NIL,
          CS_REDIS_REPLY_LEFT_OUT}},
        {6,
         {REDIS_REPLY_NIL, REDIS_REPLY_STRING, REDIS_REPLY_STRING, REDIS_REPLY_NIL, CS_REDIS_REPLY_LEFT_OUT}},
        {8, {REDIS_REPLY_NIL, REDIS_REPLY_STRING, REDIS_REPLY_STRING, REDIS_REPLY_NIL, REDIS_REPLY_STRING}},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct cs_redis_room room = {.bounded = true, .left = rows[i].left};
        redisReader *reader = redisReaderCreate();
        cs_redis_reply_into(reader, &room);
        const redisReply *r = read_in_pieces(reader, text, sizeof text - 1, 3);
        assert_int_equal(r->elements, 5);
        for (size_t k = 0; k < 5; k++)
            assert_int_equal(r->element[k]->type, rows[i].types[k]);
        redisReaderFree(reader);
        cs_region_free(&room.region);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_are_those_of_hiredis),
        cmocka_unit_test(a_reply_that_does_not_end_is_let_go),
        cmocka_unit_test(what_there_is_no_room_for_is_left_out),
    };
    return cmocka_run_group_tests_name("redis_reply", tests, NULL, NULL);
}
