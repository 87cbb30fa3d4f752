// SPDX-License-Identifier: Apache-2.0
//
// What proves that a value in Redis is certsync's own: a mark behind it. Redis is not trusted: a
// published verdict is for ever, and may not rest on what somebody else put there.
//
//   document, position:  <bytes> <mark: 10 bytes>
//   member of an index:  <member> '!' <mark: 8 bytes as base64url, 11 characters>
//   beside the catalog:  <bytes> <mark: 10 bytes>
//
// The mark is a part of a MAC (certsync/model/mac.h) over kind ('d', 'm' or 'b'), length of the key (one
// byte), key and bytes. The key is the one within the partition, without namespace and generation.
// Its secret is the partition's: derived from the service's private key, the log's id and the
// partition's number. So nothing can be altered, made up, or taken from another key, partition or
// log. The rest of the MAC, of a document 6 bytes, stands in its witness (witness.h): that a value
// is missing, that it is an older one of the same key, and the score of a member, only the witness
// can tell.
//
// '!' comes before every character of a member, so members keep their order. One thread.
#pragma once

#include "certsync/model/mac.h"

#define CS_MARK_LEN         10
#define CS_WITNESS_LEN      (CS_MAC_LEN - CS_MARK_LEN)
#define CS_MEMBER_SEPARATOR '!'
#define CS_MEMBER_MARK_LEN  12 // with the separator
#define CS_MEMBER_MARK_SIZE (CS_MEMBER_MARK_LEN + 1)
#define CS_PLACE_NAME_LEN   8

struct cs_mark {
    uint8_t mark[CS_MARK_LEN];
    uint8_t witness[CS_WITNESS_LEN];
};
// Where the witness of a key stands: the number of its bucket, and its name there.
struct cs_place {
    uint8_t bucket;
    uint8_t name[CS_PLACE_NAME_LEN];
};

struct cs_authentic;
// log_id: what tells this log from others. The service's key is not kept.
CS_MUST_USE bool cs_authentic_new(const struct cs_privkey *service, const char *log_id,
                                  struct cs_authentic **ret, struct cs_err *err);
void cs_authentic_free(struct cs_authentic *a);
CS_DEFINE_AUTO(struct cs_authentic, cs_authentic_free)

CS_MUST_USE bool cs_authentic_place(struct cs_authentic *a, int32_t partition, const char *key,
                                    struct cs_place *ret, struct cs_err *err);
// The mark of a document, and what its witness says.
CS_MUST_USE bool cs_authentic_mark(struct cs_authentic *a, int32_t partition, const char *key,
                                   struct cs_bytes doc, struct cs_mark *ret, struct cs_err *err);
// Takes the mark off a value as it is stored. DAMAGED where it is not the one of this key. A value
// that is absent (data NULL) stays so. Says nothing of absence and age: for a position that is held
// against others.
CS_MUST_USE bool cs_authentic_doc(struct cs_authentic *a, int32_t partition, const char *key,
                                  struct cs_bytes *value, struct cs_err *err);
// The same, and also DAMAGED where the witness says something else. witness: its entry; data NULL
// where it has none.
CS_MUST_USE bool cs_authentic_fact(struct cs_authentic *a, int32_t partition, const char *key,
                                   struct cs_bytes *value, struct cs_bytes witness, struct cs_err *err);
// Separator and mark of a member, NUL-terminated. *ret_secret, of its MAC too, stands nowhere.
CS_MUST_USE bool cs_authentic_member_mark(struct cs_authentic *a, int32_t partition, const char *key,
                                          const char *member, char ret[CS_MEMBER_MARK_SIZE],
                                          uint64_t *ret_secret, struct cs_err *err);
// Ends a member as it is stored (len bytes, and a NUL behind them) before its mark. DAMAGED as above.
CS_MUST_USE bool cs_authentic_member(struct cs_authentic *a, int32_t partition, const char *key, char *member,
                                     size_t len, uint64_t *ret_secret, struct cs_err *err);
// Of what lies beside the catalog (heard.h), where no verdict rests on it and nothing witnesses it.
CS_MUST_USE bool cs_authentic_beside_mark(struct cs_authentic *a, int32_t partition, const char *key,
                                          struct cs_bytes value, uint8_t ret[CS_MARK_LEN],
                                          struct cs_err *err);
// Takes the mark off. False: the value is absent, or not certsync's own, which counts as absent.
bool cs_authentic_beside(struct cs_authentic *a, int32_t partition, const char *key, struct cs_bytes *value);
// Sets DAMAGED: "<what> \"<key>\" of partition <p> <why>". Always false.
bool cs_authentic_damaged(struct cs_err *err, int32_t partition, const char *what, const char *key,
                          const char *why);
