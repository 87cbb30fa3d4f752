// SPDX-License-Identifier: Apache-2.0
#include "certsync/model/text.h"

#include "text_date.h"

#include <endian.h>
#include <string.h>

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

// Six bytes from t's eight characters, and two more that mean nothing; BAD's bit where one is none of the alphabet.
static uint32_t put_groups(const uint8_t *t, uint8_t out[8]) {
    uint32_t first = group(t), second = group(t + 4);
    uint64_t bytes = htobe64((uint64_t)first << 40 | (uint64_t)second << 16);
    memcpy(out, &bytes, sizeof bytes);
    return first | second;
}

// -1 outside of the alphabet.
static int32_t value_of(uint8_t c) {
    return base64_at[3][c] == BAD ? -1 : (int32_t)base64_at[3][c];
}

static bool decode_last(const uint8_t *t, uint8_t *ret, size_t *ret_len) {
    int32_t a = value_of(t[0]), b = value_of(t[1]);
    if ((a | b) < 0 || t[3] != '=')
        return false;
    ret[0] = (uint8_t)(a << 2 | b >> 4);
    if (t[2] == '=') {
        *ret_len = 1;
        return (b & 15) == 0;
    }
    int32_t c = value_of(t[2]);
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
    size_t i = 0;
    // Two groups with one store, whose last bytes the next one writes over.
    for (; i + 16 <= whole; i += 8, out += 6)
        bad |= put_groups(t + i, out);
    for (; i < whole; i += 4) {
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

char *cs_decimal_before(char *end, uint64_t v) {
    do {
        *--end = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    return end;
}

void cs_hex_encode(const uint8_t *data, size_t len, char *out) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[data[i] >> 4];
        out[2 * i + 1] = digits[data[i] & 15];
    }
    out[2 * len] = '\0';
}

static int nibble(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool cs_hex_decode(const char *text, size_t len, uint8_t *ret) {
    if (len % 2 != 0)
        return false;
    for (size_t i = 0; i < len; i += 2) {
        int hi = nibble(text[i]), lo = nibble(text[i + 1]);
        if ((hi | lo) < 0)
            return false;
        ret[i / 2] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}

// Length of the well-formed UTF-8 sequence at s, 0 where there is none (RFC 3629: no overlong forms, no
// surrogates, nothing above U+10FFFF).
static size_t utf8_sequence(const uint8_t *s, size_t len) {
    uint8_t c = s[0];
    if (c < 0x80)
        return 1;
    size_t n = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
    if (c < 0xC2 || c > 0xF4 || len < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    if ((c == 0xE0 && s[1] < 0xA0) || (c == 0xED && s[1] > 0x9F) || (c == 0xF0 && s[1] < 0x90) ||
        (c == 0xF4 && s[1] > 0x8F))
        return 0;
    return n;
}

bool cs_utf8_valid(const uint8_t *data, size_t len) {
    size_t i = 0;
    while (i < len) {
        uint64_t eight;
        while (i + 8 <= len && (memcpy(&eight, data + i, 8), (eight & 0x8080808080808080u) == 0))
            i += 8;
        if (i == len)
            break;
        size_t n = utf8_sequence(data + i, len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

// Days since 1970-01-01 of a date of the Gregorian calendar, and back
// (http://howardhinnant.github.io/date_algorithms.html).
static int64_t days_from_date(int64_t y, int m, int d) {
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400, yoe = y - era * 400;
    int64_t doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

static void date_from_days(int64_t days, int64_t *y, int *m, int *d) {
    days += 719468;
    int64_t era = days / 146097, doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *d = (int)(doy - (153 * mp + 2) / 5 + 1);
    *m = (int)(mp < 10 ? mp + 3 : mp - 9);
    *y = yoe + era * 400 + (*m <= 2);
}

static void put_digits(char *out, int64_t v, int digits) {
    for (int i = digits - 1; i >= 0; i--, v /= 10)
        out[i] = (char)('0' + v % 10);
}

void cs_time_format(int64_t time_s, char out[CS_TIME_TEXT_SIZE]) {
    const int64_t last = INT64_C(253402300799); // 9999-12-31T23:59:59Z
    time_s = time_s < 0 ? 0 : time_s > last ? last : time_s;
    int64_t y, rest = time_s % 86400;
    int m, d;
    date_from_days(time_s / 86400, &y, &m, &d);
    memcpy(out, "0000-00-00T00:00:00Z", CS_TIME_TEXT_SIZE);
    put_digits(out, y, 4);
    put_digits(out + 5, m, 2);
    put_digits(out + 8, d, 2);
    put_digits(out + 11, rest / 3600, 2);
    put_digits(out + 14, rest / 60 % 60, 2);
    put_digits(out + 17, rest % 60, 2);
}

static bool get_digits(const char *s, int digits, int *ret) {
    int v = 0;
    for (int i = 0; i < digits; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        v = v * 10 + (s[i] - '0');
    }
    *ret = v;
    return true;
}

static int days_of_month(int y, int m) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    return m == 2 && leap ? 29 : days[m - 1];
}

bool text_date_to_s(int y, int mo, int d, int h, int mi, int s, int64_t *ret_s) {
    if (mo < 1 || mo > 12 || d < 1 || d > days_of_month(y, mo) || h > 23 || mi > 59 || s > 59)
        return false;
    *ret_s = days_from_date(y, mo, d) * 86400 + (int64_t)h * 3600 + (int64_t)mi * 60 + s;
    return true;
}

static bool fraction_then_z(const char *s, size_t len) {
    if (len > 0 && s[0] == '.') {
        size_t i = 1;
        while (i < len && s[i] >= '0' && s[i] <= '9')
            i++;
        if (i == 1)
            return false;
        s += i;
        len -= i;
    }
    return len == 1 && s[0] == 'Z';
}

bool cs_time_parse(const char *text, size_t len, int64_t *ret_time_s) {
    int y, mo, d, h, mi, s;
    if (len < 20 || !get_digits(text, 4, &y) || text[4] != '-' || !get_digits(text + 5, 2, &mo) ||
        text[7] != '-' || !get_digits(text + 8, 2, &d) || text[10] != 'T' || !get_digits(text + 11, 2, &h) ||
        text[13] != ':' || !get_digits(text + 14, 2, &mi) || text[16] != ':' || !get_digits(text + 17, 2, &s))
        return false;
    if (!fraction_then_z(text + 19, len - 19))
        return false;
    return y >= 1970 && text_date_to_s(y, mo, d, h, mi, s, ret_time_s);
}

static bool plain_ascii(uint8_t c) {
    return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

void cs_text_escape(const void *s, size_t len, char *out, size_t out_size) {
    static const char digits[] = "0123456789ABCDEF";
    const uint8_t *p = s;
    size_t at = 0;
    if (out_size == 0)
        return;
    for (size_t i = 0; i < len;) {
        if (plain_ascii(p[i]) && at < out_size - 1) { // nearly all
            out[at++] = (char)p[i++];
            continue;
        }
        size_t n = utf8_sequence(p + i, len - i);
        // C1 controls are two bytes, C2 80 to C2 9F: a terminal may obey them.
        bool plain = n == 1 ? plain_ascii(p[i]) : n > 1 && !(p[i] == 0xC2 && p[i + 1] < 0xA0);
        size_t need = plain ? n : 4;
        if (need > out_size - 1 - at)
            break;
        if (plain) {
            memcpy(out + at, p + i, n);
            i += n;
        } else {
            char x[4] = {'\\', 'x', digits[p[i] >> 4], digits[p[i] & 15]};
            memcpy(out + at, x, 4);
            i++;
        }
        at += need;
    }
    out[at] = '\0';
}
