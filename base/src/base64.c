// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "certsync/base/text.h"

static const char base64_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// Each character's value, -1 outside of the alphabet ('=' too).
// clang-format off
#define NONE16(F) F(-1),F(-1),F(-1),F(-1),F(-1),F(-1),F(-1),F(-1),F(-1),F(-1),F(-1),F(-1),F(-1),F(-1),F(-1),F(-1)
#define BASE64_VALUES(F) \
    NONE16(F), NONE16(F), \
    F(-1),F(-1),F(-1),F(-1),F(-1),F(-1),F(-1),F(-1),F(-1),F(-1),F(-1),F(62),F(-1),F(-1),F(-1),F(63), \
    F(52),F(53),F(54),F(55),F(56),F(57),F(58),F(59),F(60),F(61),F(-1),F(-1),F(-1),F(-1),F(-1),F(-1), \
    F(-1),F( 0),F( 1),F( 2),F( 3),F( 4),F( 5),F( 6),F( 7),F( 8),F( 9),F(10),F(11),F(12),F(13),F(14), \
    F(15),F(16),F(17),F(18),F(19),F(20),F(21),F(22),F(23),F(24),F(25),F(-1),F(-1),F(-1),F(-1),F(-1), \
    F(-1),F(26),F(27),F(28),F(29),F(30),F(31),F(32),F(33),F(34),F(35),F(36),F(37),F(38),F(39),F(40), \
    F(41),F(42),F(43),F(44),F(45),F(46),F(47),F(48),F(49),F(50),F(51),F(-1),F(-1),F(-1),F(-1),F(-1), \
    NONE16(F), NONE16(F), NONE16(F), NONE16(F), NONE16(F), NONE16(F), NONE16(F), NONE16(F)
// clang-format on

// The same at each place of a group of four, as bits of the group's number: four look-ups make one.
#define BAD             0x80000000u
#define AT(value, bits) ((value) < 0 ? BAD : (uint32_t)(value) << (bits))
#define FIRST(value)    AT(value, 18)
#define SECOND(value)   AT(value, 12)
#define THIRD(value)    AT(value, 6)
#define FOURTH(value)   AT(value, 0)
static const uint32_t base64_at[4][256] = {
    {BASE64_VALUES(FIRST)}, {BASE64_VALUES(SECOND)}, {BASE64_VALUES(THIRD)}, {BASE64_VALUES(FOURTH)}};

void cs_base64_encode(const uint8_t *data, size_t len, char *out) {
    size_t i = 0;
    for (; i + 3 <= len; i += 3) {
        uint32_t v = (uint32_t)data[i] << 16 | (uint32_t)data[i + 1] << 8 | data[i + 2];
        *out++ = base64_alphabet[v >> 18];
        *out++ = base64_alphabet[v >> 12 & 63];
        *out++ = base64_alphabet[v >> 6 & 63];
        *out++ = base64_alphabet[v & 63];
    }
    if (i == len)
        return;
    bool two = len - i == 2;
    uint32_t v = (uint32_t)data[i] << 16 | (two ? (uint32_t)data[i + 1] << 8 : 0);
    *out++ = base64_alphabet[v >> 18];
    *out++ = base64_alphabet[v >> 12 & 63];
    *out++ = two ? base64_alphabet[v >> 6 & 63] : '=';
    *out++ = '=';
}

size_t cs_base64url_encode(const uint8_t *data, size_t len, char *out) {
    size_t n = cs_base64_encoded_len(len);
    cs_base64_encode(data, len, out);
    while (n > 0 && out[n - 1] == '=')
        n--;
    out[n] = '\0';
    for (char *p = out; *p; p++)
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
    return n;
}

static uint32_t group(const uint8_t *t) {
    return base64_at[0][t[0]] | base64_at[1][t[1]] | base64_at[2][t[2]] | base64_at[3][t[3]];
}

int cs_base64_value(char c) {
    uint32_t value = base64_at[3][(uint8_t)c];
    return value == BAD ? -1 : (int)value;
}

int cs_base64url_value(char c) {
    return c == '-' ? 62 : c == '_' ? 63 : c == '+' || c == '/' ? -1 : cs_base64_value(c);
}

static bool decode_last(const uint8_t *t, uint8_t *ret, size_t *ret_len) {
    int a = cs_base64_value((char)t[0]), b = cs_base64_value((char)t[1]);
    if ((a | b) < 0 || t[3] != '=')
        return false;
    ret[0] = (uint8_t)(a << 2 | b >> 4);
    if (t[2] == '=') {
        *ret_len = 1;
        return (b & 15) == 0;
    }
    int c = cs_base64_value((char)t[2]);
    if (c < 0)
        return false;
    ret[1] = (uint8_t)(b << 4 | c >> 2);
    *ret_len = 2;
    return (c & 3) == 0;
}

bool cs_base64_decode(const char *text, size_t len, uint8_t *ret, size_t *ret_len) {
    const uint8_t *t = (const uint8_t *)text;
    if (len % 4 != 0)
        return false;
    uint8_t *out = ret;
    size_t whole = len > 0 && t[len - 1] == '=' ? len - 4 : len;
    uint32_t bad = 0;
    for (size_t i = 0; i < whole; i += 4) {
        uint32_t v = group(t + i);
        bad |= v;
        *out++ = (uint8_t)(v >> 16);
        *out++ = (uint8_t)(v >> 8);
        *out++ = (uint8_t)v;
    }
    if (bad & BAD)
        return false;
    size_t last = 0;
    uint8_t tail[2] = {0, 0};
    if (whole < len && !decode_last(t + whole, tail, &last))
        return false;
    memcpy(out, tail, last);
    *ret_len = (size_t)(out - ret) + last;
    return true;
}

bool cs_base64url_decode(const char *text, size_t len, uint8_t *ret, size_t *ret_len) {
    size_t total = 0, n;
    for (size_t i = 0; i < len; i += 4) {
        char four[4] = {'=', '=', '=', '='}; // the padding that this form leaves out
        for (size_t k = 0; k < 4 && i + k < len; k++) {
            char c = text[i + k];
            if (c == '+' || c == '/' || c == '=')
                return false;
            four[k] = c == '-' ? '+' : c == '_' ? '/' : c;
        }
        if (!cs_base64_decode(four, 4, ret + total, &n))
            return false;
        total += n;
    }
    *ret_len = total;
    return true;
}
