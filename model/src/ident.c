// SPDX-License-Identifier: Apache-2.0
#include "certsync/model/ident.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "certsync/base/text.h"

static const struct wire_name {
    const char *name;
    int value;
} algorithms[] = {{"international", CS_ALGORITHM_INTERNATIONAL}, {"sm2", CS_ALGORITHM_SM2}},
  sources[] = {{"uploaded", CS_SOURCE_UPLOADED},
               {"official", CS_SOURCE_OFFICIAL},
               {"test", CS_SOURCE_TEST},
               {"shared", CS_SOURCE_SHARED}},
  sites[] = {{"cn", CS_SITE_CN}, {"intl", CS_SITE_INTL}};

static const char *name_of(const struct wire_name *names, size_t n, int value) {
    for (size_t i = 0; i < n; i++)
        if (names[i].value == value)
            return names[i].name;
    return "";
}

static int value_of(const struct wire_name *names, size_t n, const char *s, size_t len) {
    for (size_t i = 0; i < n; i++)
        if (strlen(names[i].name) == len && memcmp(names[i].name, s, len) == 0)
            return names[i].value;
    return 0;
}

const char *cs_algorithm_name(enum cs_algorithm a) {
    return name_of(algorithms, CS_ARRAY_LEN(algorithms), (int)a);
}

bool cs_algorithm_parse(const char *s, size_t len, enum cs_algorithm *ret) {
    int v = value_of(algorithms, CS_ARRAY_LEN(algorithms), s, len);
    if (v != 0)
        *ret = (enum cs_algorithm)v;
    return v != 0;
}

const char *cs_source_name(enum cs_source s) {
    return name_of(sources, CS_ARRAY_LEN(sources), (int)s);
}

bool cs_source_parse(const char *s, size_t len, enum cs_source *ret) {
    int v = value_of(sources, CS_ARRAY_LEN(sources), s, len);
    if (v != 0)
        *ret = (enum cs_source)v;
    return v != 0;
}

const char *cs_site_name(enum cs_site s) {
    return name_of(sites, CS_ARRAY_LEN(sites), (int)s);
}

bool cs_site_parse(const char *s, size_t len, enum cs_site *ret) {
    int v = value_of(sites, CS_ARRAY_LEN(sites), s, len);
    if (v != 0)
        *ret = (enum cs_site)v;
    return v != 0;
}

static bool is_lower(char c) {
    return c >= 'a' && c <= 'z';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c) {
    return is_lower(c) || is_digit(c) || (c >= 'A' && c <= 'Z');
}

enum letters { LOWER, ANY_CASE };

// One to max characters. The first is a letter or digit; later ones may also be of punctuation.
static bool form_valid(const char *s, size_t len, size_t max, enum letters letters, const char *punctuation) {
    if (len == 0 || len > max)
        return false;
    for (size_t i = 0; i < len; i++) {
        bool letter = letters == LOWER ? is_lower(s[i]) || is_digit(s[i]) : is_alnum(s[i]);
        if (!letter && (i == 0 || s[i] == '\0' || !strchr(punctuation, s[i])))
            return false;
    }
    return true;
}

bool cs_deployment_valid(const char *s, size_t len) {
    return form_valid(s, len, CS_DEPLOYMENT_MAX, LOWER, ".-");
}

static bool is_lower_hex(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f');
}

static bool hex_valid(const char *s, size_t len, size_t expected) {
    if (len != expected)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_lower_hex(s[i]))
            return false;
    return true;
}

bool cs_nonce_valid(const char *s, size_t len) {
    return hex_valid(s, len, CS_NONCE_LEN);
}

#define INCARNATION_LEN 8 // digits

bool cs_log_id_valid(const char *s, size_t len) {
    if (len <= INCARNATION_LEN + 1)
        return false;
    size_t name = len - INCARNATION_LEN - 1;
    return s[name] == '_' && cs_deployment_valid(s, name) &&
           hex_valid(s + name + 1, INCARNATION_LEN, INCARNATION_LEN);
}

void cs_log_id_make(const char *deployment, const char *nonce, cs_log_id ret) {
    snprintf(ret, sizeof(cs_log_id), "%.*s_%.*s", CS_DEPLOYMENT_MAX, deployment, INCARNATION_LEN, nonce);
}

void cs_log_id_deployment(const char *log_id, cs_deployment_id ret) {
    snprintf(ret, sizeof(cs_deployment_id), "%.*s", (int)strcspn(log_id, "_"), log_id);
}

bool cs_log_id_is_of(const char *log_id, const char *deployment) {
    size_t len = strcspn(log_id, "_");
    return strlen(deployment) == len && memcmp(log_id, deployment, len) == 0;
}

bool cs_account_valid(const char *s, size_t len) {
    return form_valid(s, len, CS_ACCOUNT_MAX, LOWER, "._-");
}

bool cs_owner_valid(const char *s, size_t len) {
    return form_valid(s, len, CS_OWNER_MAX, ANY_CASE, "._:@-");
}

bool cs_tag_valid(const char *s, size_t len) {
    return form_valid(s, len, CS_TAG_MAX, ANY_CASE, "._:=/-");
}

bool cs_place_valid(const char *s, size_t len) {
    static const char hidden[] = "sha256:";
    size_t begin = sizeof hidden - 1;
    if (len > begin && memcmp(s, hidden, begin) == 0)
        return hex_valid(s + begin, len - begin, 32);
    if (len == 0 || len > CS_PLACE_MAX || s[0] != '/' || !cs_utf8_valid((const uint8_t *)s, len))
        return false;
    for (size_t i = 0; i < len; i++) { // C1 controls are C2 80 to C2 9F
        unsigned char c = (unsigned char)s[i];
        if (c < 0x20 || c == 0x7F || (c == 0xC2 && (unsigned char)s[i + 1] < 0xA0))
            return false;
    }
    return true;
}

bool cs_kid_valid(const char *s, size_t len) {
    return hex_valid(s, len, CS_KID_LEN);
}

bool cs_uuid_valid(const char *s, size_t len) {
    if (len != CS_UUID_LEN)
        return false;
    for (size_t i = 0; i < len; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? s[i] != '-' : !is_lower_hex(s[i]))
            return false;
    }
    return s[19] == '8' || s[19] == '9' || s[19] == 'a' || s[19] == 'b';
}

static bool all_of(const char *s, size_t len, size_t max, const char *punctuation) {
    if (len == 0 || len > max)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_alnum(s[i]) && (s[i] == '\0' || !strchr(punctuation, s[i])))
            return false;
    return true;
}

bool cs_pattern_valid(const char *s, size_t len) {
    return all_of(s, len, CS_PATTERN_MAX, "._-*");
}

bool cs_name_valid(const char *s, size_t len, enum cs_algorithm algorithm) {
    return all_of(s, len, CS_NAME_MAX, algorithm == CS_ALGORITHM_SM2 ? "_-" : "._-");
}

// Greedy, and remembers one '*': on a mismatch the last '*' takes one character more. Takes at most
// |pattern| * |name| steps.
bool cs_pattern_matches(const char *pattern, const char *name) {
    const char *star = NULL, *resume = NULL;
    while (*name) {
        if (*pattern == '*') {
            star = pattern++;
            resume = name;
        } else if (*pattern == *name) {
            pattern++;
            name++;
        } else if (star) {
            pattern = star + 1;
            name = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

static void uuid_text(const uint8_t b[16], cs_uuid ret) {
    static const uint8_t groups[] = {4, 2, 2, 2, 6};
    size_t in = 0, out = 0;
    for (size_t g = 0; g < sizeof groups; g++) {
        if (g > 0)
            ret[out++] = '-';
        cs_hex_encode(b + in, groups[g], ret + out);
        in += groups[g];
        out += (size_t)2 * groups[g];
    }
}

void cs_sequence_format(int64_t n, char out[CS_SEQUENCE_LEN + 1]) {
    char digits[20], *end = digits + sizeof digits, *first = cs_decimal_before(end, (uint64_t)n);
    assert(n >= 0 && end - first <= CS_SEQUENCE_LEN);
    memset(out, '0', CS_SEQUENCE_LEN);
    memcpy(out + CS_SEQUENCE_LEN - (end - first), first, (size_t)(end - first));
    out[CS_SEQUENCE_LEN] = '\0';
}

bool cs_sequence_parse(const char *s, size_t len, int64_t *ret) {
    int64_t n = 0;
    if (len != CS_SEQUENCE_LEN)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_digit(s[i]))
            return false;
        n = n * 10 + (s[i] - '0');
    }
    if (n < 1 || n >= (int64_t)1 << 53)
        return false;
    *ret = n;
    return true;
}

void cs_uuid_v7(int64_t time_ms, const uint8_t random[10], cs_uuid ret) {
    uint8_t b[16];
    uint64_t t = (uint64_t)time_ms;
    for (int i = 0; i < 6; i++)
        b[i] = (uint8_t)(t >> (40 - 8 * i));
    memcpy(b + 6, random, 10);
    b[6] = (uint8_t)(0x70 | (b[6] & 0x0F));
    b[8] = (uint8_t)(0x80 | (b[8] & 0x3F));
    uuid_text(b, ret);
}

bool cs_uuid_time_ms(const char *uuid, int64_t *ret) {
    int64_t ms = 0;
    if (!cs_uuid_valid(uuid, strlen(uuid)) || uuid[14] != '7')
        return false;
    for (size_t i = 0; i < 13; i++)
        if (i != 8)
            ms = ms << 4 | cs_hex_value(uuid[i]);
    *ret = ms;
    return true;
}

void cs_uuid_v8(const uint8_t hash[16], cs_uuid ret) {
    uint8_t b[16];
    memcpy(b, hash, 16);
    b[6] = (uint8_t)(0x80 | (b[6] & 0x0F));
    b[8] = (uint8_t)(0x80 | (b[8] & 0x3F));
    uuid_text(b, ret);
}

// org.apache.kafka.common.utils.Utils.murmur2
uint32_t cs_murmur2(const void *key, size_t len) {
    const uint8_t *p = key;
    const uint32_t m = 0x5bd1e995;
    uint32_t h = 0x9747b28c ^ (uint32_t)len;
    for (; len >= 4; p += 4, len -= 4) {
        uint32_t k = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        k *= m;
        k ^= k >> 24;
        k *= m;
        h *= m;
        h ^= k;
    }
    if (len > 0) {
        for (size_t i = 0; i < len; i++)
            h ^= (uint32_t)p[i] << (8 * i);
        h *= m;
    }
    h ^= h >> 13;
    h *= m;
    h ^= h >> 15;
    return h;
}

int32_t cs_partition_of(const char *account, int32_t partition_count) {
    assert(partition_count > 0);
    uint32_t positive = cs_murmur2(account, strlen(account)) & 0x7FFFFFFFu;
    return (int32_t)(positive % (uint32_t)partition_count);
}
