// SPDX-License-Identifier: Apache-2.0
//
// What proves that a value in Redis is certsync's own: a mark behind it. Redis is not trusted: a
// published verdict is for ever, and may not rest on what somebody else put there.
//
//   document, position:  <bytes> <mark: 16 bytes>
//   member of an index:  <member> '!' <mark: 8 bytes as base64url, 11 characters>
//
// The mark is a MAC (certsync/model/mac.h) over kind ('d' or 'm'), length of the key (one byte),
// key and bytes. The key is the one within the partition, without namespace and generation. Its
// secret is the partition's: derived from the service's private key, the log's id and the
// partition's number. So nothing can be altered, made up, or taken from another key, partition or
// log. Not covered: that a value is missing, that it is an older one of the same key, and the score
// of a member.
//
// '!' comes before every character of a member, so members keep their order. One thread.
#pragma once

#include "certsync/model/mac.h"

#define CS_MARK_LEN         CS_MAC_LEN
#define CS_MEMBER_SEPARATOR '!'
#define CS_MEMBER_MARK_LEN  12 // with the separator
#define CS_MEMBER_MARK_SIZE (CS_MEMBER_MARK_LEN + 1)

struct cs_authentic;
// log_id: what tells this log from others. The service's key is not kept.
CS_MUST_USE bool cs_authentic_new(const struct cs_privkey *service, const char *log_id,
                                  struct cs_authentic **ret, struct cs_err *err);
void cs_authentic_free(struct cs_authentic *a);
CS_DEFINE_AUTO(struct cs_authentic, cs_authentic_free)

// The mark of a document.
CS_MUST_USE bool cs_authentic_mark(struct cs_authentic *a, int32_t partition, const char *key,
                                   struct cs_bytes doc, uint8_t ret[CS_MARK_LEN], struct cs_err *err);
// Takes the mark off a value as it is stored. DAMAGED where it is not the one of this key. A value
// that is absent (data NULL) stays so.
CS_MUST_USE bool cs_authentic_doc(struct cs_authentic *a, int32_t partition, const char *key,
                                  struct cs_bytes *value, struct cs_err *err);
// Separator and mark of a member, NUL-terminated.
CS_MUST_USE bool cs_authentic_member_mark(struct cs_authentic *a, int32_t partition, const char *key,
                                          const char *member, char ret[CS_MEMBER_MARK_SIZE],
                                          struct cs_err *err);
// Ends a member as it is stored (len bytes, and a NUL behind them) before its mark. DAMAGED as above.
CS_MUST_USE bool cs_authentic_member(struct cs_authentic *a, int32_t partition, const char *key, char *member,
                                     size_t len, struct cs_err *err);
