// SPDX-License-Identifier: Apache-2.0
#include "catalog/authentic.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/grow.h"
#include "certsync/base/text.h"
#include "certsync/model/keys.h"

#define INFO        "certsync catalog"
#define SHORT_LEN   8 // bytes of a member's mark
#define KIND_DOC    'd'
#define KIND_MEMBER 'm'
#define KIND_PLACE  'w'
#define KIND_BESIDE 'b'
#define SHOWN_KEY   160 // characters of a key that a message shows

struct partition_key {
    bool made;
    uint8_t key[CS_MAC_KEY_LEN];
};

struct cs_authentic {
    struct cs_mac *mac;
    uint8_t root[CS_MAC_ROOT_LEN];
    struct partition_key *keys; // by partition
    size_t keys_cap;
};

bool cs_authentic_new(const struct cs_privkey *service, const char *log_id, struct cs_authentic **ret,
                      struct cs_err *err) {
    CS_AUTO(cs_authentic_free) struct cs_authentic *a = calloc(1, sizeof *a);
    if (!a)
        return cs_err_oom(err);
    if (!cs_mac_new(&a->mac, err) || !cs_mac_root(service, log_id, INFO, a->root, err))
        return false;
    *ret = CS_TAKE(a);
    return true;
}

void cs_authentic_free(struct cs_authentic *a) {
    if (!a)
        return;
    cs_mac_free(a->mac);
    cs_mac_cleanse(a->root, sizeof a->root);
    if (a->keys)
        cs_mac_cleanse(a->keys, a->keys_cap * sizeof *a->keys);
    free(a->keys);
    free(a);
}

static bool key_of(struct cs_authentic *a, int32_t partition, const uint8_t **ret, struct cs_err *err) {
    size_t p = (size_t)partition;
    char info[sizeof INFO + 16];
    if (!CS_GROW_ZEROED(&a->keys, &a->keys_cap, p + 1))
        return cs_err_oom(err);
    if (!a->keys[p].made) {
        snprintf(info, sizeof info, INFO " %" PRId32, partition);
        if (!cs_mac_key(a->root, info, a->keys[p].key, err))
            return false;
        a->keys[p].made = true;
    }
    *ret = a->keys[p].key;
    return true;
}

static bool mac_of(struct cs_authentic *a, int32_t partition, char kind, const char *key,
                   struct cs_bytes value, uint8_t ret[CS_MAC_LEN], struct cs_err *err) {
    uint8_t head[2 + CS_STATE_KEY_MAX];
    size_t len = strlen(key);
    const uint8_t *secret = NULL;
    if (len > CS_STATE_KEY_MAX)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "a key of the catalog is too long");
    head[0] = (uint8_t)kind;
    head[1] = (uint8_t)len;
    memcpy(head + 2, key, len);
    return key_of(a, partition, &secret, err) &&
           cs_mac_of(a->mac, secret, (struct cs_bytes){head, 2 + len}, value, ret, err);
}

bool cs_authentic_damaged(struct cs_err *err, int32_t partition, const char *what, const char *key,
                          const char *why) {
    return cs_err_set(err, CS_ERR_DAMAGED, CS_CODE_NONE,
                      "the catalog in Redis is damaged: %s \"%.*s\" of partition %" PRId32 " %s. Something "
                      "else wrote to Redis, or Redis lost it",
                      what, SHOWN_KEY, key, partition, why);
}

static bool unmarked(struct cs_err *err, int32_t partition, const char *what, const char *key) {
    return cs_err_set(
        err, CS_ERR_DAMAGED, CS_CODE_NONE,
        "the catalog in Redis is damaged: %s \"%.*s\" of partition %" PRId32
        " does not carry certsync's mark. Something else wrote to Redis, or it was written "
        "with another service key (deployment.service_key), or for another log of the deployment",
        what, SHOWN_KEY, key, partition);
}

bool cs_authentic_place(struct cs_authentic *a, int32_t partition, const char *key, struct cs_place *ret,
                        struct cs_err *err) {
    uint8_t mac[CS_MAC_LEN];
    if (!mac_of(a, partition, KIND_PLACE, key, (struct cs_bytes){0}, mac, err))
        return false;
    ret->bucket = mac[0];
    memcpy(ret->name, mac + 1, sizeof ret->name);
    return true;
}

bool cs_authentic_mark(struct cs_authentic *a, int32_t partition, const char *key, struct cs_bytes doc,
                       struct cs_mark *ret, struct cs_err *err) {
    uint8_t mac[CS_MAC_LEN];
    if (!mac_of(a, partition, KIND_DOC, key, doc, mac, err))
        return false;
    memcpy(ret->mark, mac, sizeof ret->mark);
    memcpy(ret->witness, mac + sizeof ret->mark, sizeof ret->witness);
    return true;
}

static bool check_doc(struct cs_authentic *a, int32_t partition, const char *key, struct cs_bytes *value,
                      struct cs_mark *ret, struct cs_err *err) {
    if (value->len < CS_MARK_LEN)
        return unmarked(err, partition, "key", key);
    struct cs_bytes doc = {value->data, value->len - CS_MARK_LEN};
    if (!cs_authentic_mark(a, partition, key, doc, ret, err))
        return false;
    if (!cs_mac_equal(ret->mark, doc.data + doc.len, CS_MARK_LEN))
        return unmarked(err, partition, "key", key);
    *value = doc;
    return true;
}

bool cs_authentic_doc(struct cs_authentic *a, int32_t partition, const char *key, struct cs_bytes *value,
                      struct cs_err *err) {
    struct cs_mark mark;
    return !value->data || check_doc(a, partition, key, value, &mark, err);
}

bool cs_authentic_fact(struct cs_authentic *a, int32_t partition, const char *key, struct cs_bytes *value,
                       struct cs_bytes witness, struct cs_err *err) {
    struct cs_mark mark;
    if (!value->data)
        return !witness.data || cs_authentic_damaged(err, partition, "key", key, "is gone");
    if (!check_doc(a, partition, key, value, &mark, err))
        return false;
    if (!witness.data)
        return cs_authentic_damaged(err, partition, "key", key, "was put back, or its witness is gone");
    return (witness.len == CS_WITNESS_LEN && cs_mac_equal(mark.witness, witness.data, CS_WITNESS_LEN)) ||
           cs_authentic_damaged(err, partition, "key", key, "is not the newest that certsync wrote there");
}

bool cs_authentic_beside_mark(struct cs_authentic *a, int32_t partition, const char *key,
                              struct cs_bytes value, uint8_t ret[CS_MARK_LEN], struct cs_err *err) {
    uint8_t mac[CS_MAC_LEN];
    if (!mac_of(a, partition, KIND_BESIDE, key, value, mac, err))
        return false;
    memcpy(ret, mac, CS_MARK_LEN);
    return true;
}

bool cs_authentic_beside(struct cs_authentic *a, int32_t partition, const char *key, struct cs_bytes *value) {
    uint8_t mark[CS_MARK_LEN];
    struct cs_err ignored;
    if (!value->data || value->len < CS_MARK_LEN)
        return false;
    struct cs_bytes bytes = {value->data, value->len - CS_MARK_LEN};
    if (!cs_authentic_beside_mark(a, partition, key, bytes, mark, &ignored) ||
        !cs_mac_equal(mark, bytes.data + bytes.len, CS_MARK_LEN))
        return false;
    *value = bytes;
    return true;
}

static bool member_mark(struct cs_authentic *a, int32_t partition, const char *key, struct cs_bytes member,
                        char ret[CS_MEMBER_MARK_SIZE], uint64_t *ret_secret, struct cs_err *err) {
    uint8_t mac[CS_MAC_LEN];
    char text[CS_MEMBER_MARK_SIZE];
    if (!mac_of(a, partition, KIND_MEMBER, key, member, mac, err))
        return false;
    (void)cs_base64url_encode(mac, SHORT_LEN, text);
    ret[0] = CS_MEMBER_SEPARATOR;
    memcpy(ret + 1, text, CS_MEMBER_MARK_SIZE - 1);
    *ret_secret = 0;
    for (size_t i = SHORT_LEN; i < CS_MAC_LEN; i++)
        *ret_secret = *ret_secret << 8 | mac[i];
    return true;
}

bool cs_authentic_member_mark(struct cs_authentic *a, int32_t partition, const char *key, const char *member,
                              char ret[CS_MEMBER_MARK_SIZE], uint64_t *ret_secret, struct cs_err *err) {
    return member_mark(a, partition, key, (struct cs_bytes){(const uint8_t *)member, strlen(member)}, ret,
                       ret_secret, err);
}

bool cs_authentic_member(struct cs_authentic *a, int32_t partition, const char *key, char *member, size_t len,
                         uint64_t *ret_secret, struct cs_err *err) {
    char want[CS_MEMBER_MARK_SIZE];
    if (len < CS_MEMBER_MARK_LEN)
        return unmarked(err, partition, "a member of the index", key);
    size_t own = len - CS_MEMBER_MARK_LEN;
    if (!member_mark(a, partition, key, (struct cs_bytes){(const uint8_t *)member, own}, want, ret_secret,
                     err))
        return false;
    if (!cs_mac_equal((const uint8_t *)want, (const uint8_t *)member + own, CS_MEMBER_MARK_LEN))
        return unmarked(err, partition, "a member of the index", key);
    member[own] = '\0';
    return true;
}
