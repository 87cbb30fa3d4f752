// SPDX-License-Identifier: Apache-2.0
#include "redis/reply.h"

#include <stdint.h>
#include <string.h>

#if HIREDIS_MAJOR >= 1
typedef size_t array_len;
#else
typedef int array_len;
#endif

// A reply with room for extra bytes after it. It is put into its place in the array. NULL: out of
// memory.
static redisReply *reply_new(const redisReadTask *task, size_t extra) {
    struct cs_redis_room *room = task->privdata;
    redisReply *r = cs_region_take(&room->region, sizeof *r + extra);
    if (!r)
        return NULL;
    *r = (redisReply){.type = task->type};
    if (task->parent) {
        redisReply *parent = task->parent->obj;
        parent->element[task->idx] = r;
    }
    return r;
}

static void *left_out(const redisReadTask *task) {
    static const redisReply r = {.type = CS_REDIS_REPLY_LEFT_OUT};
    redisReply *parent = task->parent->obj;
    parent->element[task->idx] = (redisReply *)(uintptr_t)&r; // nobody writes to a reply
    return parent->element[task->idx];
}

static void *new_string(const redisReadTask *task, char *text, size_t len) {
    struct cs_redis_room *room = task->privdata;
    if (room->bounded && task->parent) {
        if (room->left == 0)
            return left_out(task);
        room->left -= len < room->left ? len : room->left;
    }
    redisReply *r = reply_new(task, len + 1);
    if (!r)
        return NULL;
    r->str = (char *)(r + 1);
    r->len = len;
    memcpy(r->str, text, len);
    r->str[len] = '\0';
    return r;
}

static void *new_array(const redisReadTask *task, array_len len) {
    redisReply *r = reply_new(task, (size_t)len * sizeof *r->element);
    if (!r)
        return NULL;
    r->element = (redisReply **)(void *)(r + 1);
    r->elements = (size_t)len;
    return r;
}

static void *new_integer(const redisReadTask *task, long long value) {
    redisReply *r = reply_new(task, 0);
    if (r)
        r->integer = value;
    return r;
}

static void *new_nil(const redisReadTask *task) {
    redisReply *r = reply_new(task, 0);
    if (r)
        r->type = REDIS_REPLY_NIL; // the task is that of a string or an array
    return r;
}

static void free_nothing(void *reply) {
    (void)reply;
}

static redisReplyObjectFunctions functions = {.createString = new_string,
                                              .createArray = new_array,
                                              .createInteger = new_integer,
                                              .createNil = new_nil,
                                              .freeObject = free_nothing};

void cs_redis_reply_into(redisReader *reader, struct cs_redis_room *room) {
    reader->fn = &functions;
    reader->privdata = room;
}
