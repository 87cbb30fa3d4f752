// SPDX-License-Identifier: Apache-2.0
#include "certsync/base/text.h"

#include "certsync/base/text_date.h"

#include <string.h>

char *cs_decimal_before(char *end, uint64_t v) {
    do {
        *--end = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    return end;
}

const char cs_hex_lower[17] = "0123456789abcdef", cs_hex_upper[17] = "0123456789ABCDEF";

void cs_hex_encode(const uint8_t *data, size_t len, char *out) {
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = cs_hex_lower[data[i] >> 4];
        out[2 * i + 1] = cs_hex_lower[data[i] & 15];
    }
    out[2 * len] = '\0';
}

int cs_hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// Values of '0' to '9' and 'a' to 'f', and one more: 0 is no digit. A table, since which of the two a
// digit is cannot be foreseen.
static const uint8_t lower_digit[256] = {
    ['0'] = 1, ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9, ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

bool cs_hex_decode(const char *text, size_t len, uint8_t *ret) {
    const uint8_t *t = (const uint8_t *)text;
    if (len % 2 != 0)
        return false;
    for (size_t i = 0; i < len; i += 2) {
        unsigned high = lower_digit[t[i]], low = lower_digit[t[i + 1]];
        if (high == 0 || low == 0)
            return false;
        ret[i / 2] = (uint8_t)((high - 1) << 4 | (low - 1));
    }
    return true;
}

// Length of the well-formed UTF-8 sequence at s, 0 where there is none (RFC 3629: no overlong
// forms, no surrogates, nothing above U+10FFFF).
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

#define LAST_S INT64_C(253402300799) // 9999-12-31T23:59:59Z

void cs_time_format(int64_t time_s, char out[CS_TIME_TEXT_SIZE]) {
    time_s = time_s < 0 ? 0 : time_s > LAST_S ? LAST_S : time_s;
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

void cs_time_ms_format(int64_t time_ms, char out[CS_TIME_MS_TEXT_SIZE]) {
    const int64_t last_ms = LAST_S * 1000 + 999;
    time_ms = time_ms < 0 ? 0 : time_ms > last_ms ? last_ms : time_ms;
    cs_time_format(time_ms / 1000, out);
    memcpy(out + CS_TIME_TEXT_SIZE - 2, ".000Z", sizeof ".000Z");
    put_digits(out + CS_TIME_TEXT_SIZE - 1, time_ms % 1000, 3);
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

bool cs_time_ms_parse(const char *text, size_t len, int64_t *ret_time_ms) {
    int64_t time_s;
    int ms;
    if (len != CS_TIME_MS_TEXT_SIZE - 1 || text[CS_TIME_TEXT_SIZE - 2] != '.' ||
        !cs_time_parse(text, len, &time_s) || !get_digits(text + CS_TIME_TEXT_SIZE - 1, 3, &ms))
        return false;
    *ret_time_ms = time_s * 1000 + ms;
    return true;
}

size_t cs_text_character(const char *s, size_t len, uint32_t *ret) {
    const uint8_t *p = (const uint8_t *)s;
    size_t n = len > 0 ? utf8_sequence(p, len) : 0;
    if (n == 0)
        return 0;
    uint32_t c = n == 1 ? p[0] : p[0] & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++)
        c = c << 6 | (p[i] & 0x3Fu);
    *ret = c;
    return n;
}

bool cs_text_hidden(uint32_t c) {
    // Unicode 15: Cc, Cf, Default_Ignorable_Code_Point, line and paragraph separators, interlinear
    // annotations.
    static const struct {
        uint32_t from, to;
    } hidden[] = {{0x7F, 0x9F},       {0xAD, 0xAD},       {0x34F, 0x34F},    {0x61C, 0x61C},
                  {0x70F, 0x70F},     {0x115F, 0x1160},   {0x17B4, 0x17B5},  {0x180B, 0x180F},
                  {0x200B, 0x200F},   {0x2028, 0x202E},   {0x2060, 0x206F},  {0x3164, 0x3164},
                  {0xFE00, 0xFE0F},   {0xFEFF, 0xFEFF},   {0xFFA0, 0xFFA0},  {0xFFF0, 0xFFFB},
                  {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0000, 0xE0FFF}};
    if (c < 0x7F)
        return c < 0x20;
    for (size_t i = 0; i < CS_ARRAY_LEN(hidden); i++)
        if (c >= hidden[i].from && c <= hidden[i].to)
            return true;
    return false;
}

static bool plain_ascii(uint8_t c) {
    return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

void cs_text_escape(const void *s, size_t len, char *out, size_t out_size) {
    const uint8_t *p = s;
    size_t at = 0;
    if (out_size == 0)
        return;
    for (size_t i = 0; i < len;) {
        if (plain_ascii(p[i]) && at < out_size - 1) { // nearly all
            out[at++] = (char)p[i++];
            continue;
        }
        uint32_t c = 0;
        size_t n = cs_text_character((const char *)p + i, len - i, &c);
        bool plain = n == 1 ? plain_ascii(p[i]) : n > 1 && !cs_text_hidden(c);
        size_t need = plain ? n : 4;
        if (need > out_size - 1 - at)
            break;
        if (plain) {
            memcpy(out + at, p + i, n);
            i += n;
        } else {
            char x[4] = {'\\', 'x', cs_hex_upper[p[i] >> 4], cs_hex_upper[p[i] & 15]};
            memcpy(out + at, x, 4);
            i++;
        }
        at += need;
    }
    out[at] = '\0';
}
