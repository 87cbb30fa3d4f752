// SPDX-License-Identifier: Apache-2.0
//
// Identifiers: their forms, limits, and how they are made. All are ASCII and NUL-terminated, in
// fixed arrays, so a struct owns those it holds.
#pragma once

#include "certsync/base/err.h"

#define CS_DEPLOYMENT_MAX 63  // [a-z0-9] then [a-z0-9.-]
#define CS_NONCE_LEN      32  // of a log's genesis: 16 random bytes in hex
#define CS_LOG_ID_MAX     72  // <deployment>_<first 8 digits of the nonce>
#define CS_ACCOUNT_MAX    63  // [a-z0-9] then [a-z0-9._-]
#define CS_OWNER_MAX      127 // opaque id of the verified person or company: [A-Za-z0-9] then [A-Za-z0-9._:@-]
#define CS_NAME_MAX       128 // certificate and CSR names, see cs_name_valid
#define CS_KID_LEN        32  // hex of the first 16 bytes of SHA-256(SubjectPublicKeyInfo DER)
#define CS_UUID_LEN       36  // lower case, RFC 9562 text form
#define CS_SEQUENCE_LEN   16  // decimal digits of a place in an order
#define CS_TAGS_MAX       16  // tags of a certificate
#define CS_TAG_MAX        63  // [A-Za-z0-9] then [A-Za-z0-9._:=/-]
// Where a host has a certificate: an absolute path, UTF-8 without control characters; or what hides one,
// "sha256:" and 32 hex digits.
#define CS_PLACE_MAX   255
#define CS_PATTERN_MAX 255 // name pattern: the characters of names and '*'

typedef char cs_uuid[CS_UUID_LEN + 1];
typedef char cs_kid[CS_KID_LEN + 1];
typedef char cs_account_id[CS_ACCOUNT_MAX + 1];
typedef char cs_deployment_id[CS_DEPLOYMENT_MAX + 1];
typedef char cs_nonce[CS_NONCE_LEN + 1];
typedef char cs_log_id[CS_LOG_ID_MAX + 1];
typedef char cs_owner_id[CS_OWNER_MAX + 1];
typedef char cs_name[CS_NAME_MAX + 1];
typedef char cs_tag[CS_TAG_MAX + 1];
typedef char cs_place[CS_PLACE_MAX + 1];
typedef char cs_pattern[CS_PATTERN_MAX + 1];

enum cs_algorithm { CS_ALGORITHM_INTERNATIONAL = 1, CS_ALGORITHM_SM2 };
enum cs_source { CS_SOURCE_UPLOADED = 1, CS_SOURCE_OFFICIAL, CS_SOURCE_TEST, CS_SOURCE_SHARED };
enum cs_site { CS_SITE_CN = 1, CS_SITE_INTL };

// Wire names. The parsers return false for anything else; the name functions never return NULL.
const char *cs_algorithm_name(enum cs_algorithm a);
bool cs_algorithm_parse(const char *s, size_t len, enum cs_algorithm *ret);
const char *cs_source_name(enum cs_source s);
bool cs_source_parse(const char *s, size_t len, enum cs_source *ret);
const char *cs_site_name(enum cs_site s);
bool cs_site_parse(const char *s, size_t len, enum cs_site *ret);

bool cs_deployment_valid(const char *s, size_t len);
bool cs_nonce_valid(const char *s, size_t len);
// A log's id tells one incarnation of a deployment's topics from the next: what was signed for one
// is worth nothing in another. No deployment's name holds a '_'.
#define CS_LOG_HEADER "Certsync-Log" // of the API's answers
bool cs_log_id_valid(const char *s, size_t len);
void cs_log_id_make(const char *deployment, const char *nonce, cs_log_id ret);
// The deployment's name in a valid log id. A deployment's name alone stays as it is.
void cs_log_id_deployment(const char *log_id, cs_deployment_id ret);
// Whether a valid log id is one of that deployment.
bool cs_log_id_is_of(const char *log_id, const char *deployment);
bool cs_account_valid(const char *s, size_t len);
bool cs_owner_valid(const char *s, size_t len);
bool cs_kid_valid(const char *s, size_t len);
bool cs_uuid_valid(const char *s, size_t len); // any version, variant 10x, lower case
bool cs_tag_valid(const char *s, size_t len);
bool cs_place_valid(const char *s, size_t len);
bool cs_pattern_valid(const char *s, size_t len);
// International: letters, digits, '.', '_', '-'. SM2: letters, digits, '_', '-'. 1 to CS_NAME_MAX
// characters.
bool cs_name_valid(const char *s, size_t len, enum cs_algorithm algorithm);
// '*' stands for any run of characters, also an empty one. All other characters stand for
// themselves.
bool cs_pattern_matches(const char *pattern, const char *name);

// UUIDv7 (RFC 9562 section 5.7) from a Unix time and 10 random bytes, both given by the caller.
void cs_uuid_v7(int64_t time_ms, const uint8_t random[10], cs_uuid ret);
// The time in a UUIDv7. False for any other.
bool cs_uuid_time_ms(const char *uuid, int64_t *ret);
// UUIDv8 (RFC 9562 section 5.8) from the first 16 bytes of a hash: the ids of derived events.
void cs_uuid_v8(const uint8_t hash[16], cs_uuid ret);

// CloudEvents' extension "sequence", from 1 to 2^53-1. It always has CS_SEQUENCE_LEN digits, so
// text order is number order, and no reader needs 64-bit integers. Only this form is read.
void cs_sequence_format(int64_t n, char out[CS_SEQUENCE_LEN + 1]);
CS_MUST_USE bool cs_sequence_parse(const char *s, size_t len, int64_t *ret);

// Kafka's own partitioner for keyed records (Java client's murmur2, librdkafka's murmur2_random).
uint32_t cs_murmur2(const void *key, size_t len);
int32_t cs_partition_of(const char *account, int32_t partition_count);
