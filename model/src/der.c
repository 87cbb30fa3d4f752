// SPDX-License-Identifier: Apache-2.0
#include "der.h"

#include "certsync/base/text_date.h"

bool der_next(struct der *d, struct der_value *ret) {
    size_t left = (size_t)(d->end - d->p);
    if (left < 2 || (d->p[0] & 0x1F) == 0x1F)
        return false;
    size_t head = 2, len = d->p[1];
    if (len >= 0x80) {
        size_t octets = len & 0x7F;
        if (octets == 0 || octets > 3 || left < 2 + octets || d->p[2] == 0)
            return false;
        len = 0;
        for (size_t i = 0; i < octets; i++)
            len = len << 8 | d->p[2 + i];
        if (len < 0x80)
            return false;
        head += octets;
    }
    if (len > left - head)
        return false;
    ret->tag = d->p[0];
    ret->content = (struct cs_bytes){d->p + head, len};
    ret->whole = (struct cs_bytes){d->p, head + len};
    d->p += head + len;
    return true;
}

bool der_take(struct der *d, uint8_t tag, struct cs_bytes *ret) {
    struct der_value v;
    if (!der_at(d, tag) || !der_next(d, &v))
        return false;
    *ret = v.content;
    return true;
}

bool der_enter(struct der *d, uint8_t tag, struct der *ret) {
    struct cs_bytes content;
    if (!der_take(d, tag, &content))
        return false;
    *ret = der_of(content);
    return true;
}

bool der_oid_valid(struct cs_bytes v) {
    if (v.len == 0 || v.data[v.len - 1] >= 0x80)
        return false;
    for (size_t i = 0; i < v.len; i++)
        if (v.data[i] == 0x80 && (i == 0 || v.data[i - 1] < 0x80))
            return false;
    return true;
}

bool der_take_oid(struct der *d, struct cs_bytes *ret) {
    struct cs_bytes v;
    if (!der_take(d, DER_OID, &v) || !der_oid_valid(v))
        return false;
    *ret = v;
    return true;
}

bool der_integer_valid(struct cs_bytes v) {
    return v.len == 1 ||
           (v.len > 1 && !(v.data[0] == 0 && v.data[1] < 0x80) && !(v.data[0] == 0xFF && v.data[1] >= 0x80));
}

bool der_bits_valid(struct cs_bytes v) {
    return v.len > 0 && v.data[0] < 8 && (v.len > 1 || v.data[0] == 0);
}

// Universal types that are always constructed. EXTERNAL and EMBEDDED PDV occur in no certificate.
bool der_any_valid(const struct der_value *v) {
    if ((v->tag & 0xC0) != 0)
        return true;
    struct cs_bytes content = v->content;
    switch (v->tag) {
    case DER_BOOLEAN:
        return content.len == 1 && (content.data[0] == 0 || content.data[0] == 0xFF);
    case DER_INTEGER:
    case DER_ENUMERATED:
        return der_integer_valid(content);
    case DER_BIT_STRING:
        return der_bits_valid(content);
    case DER_NULL:
        return content.len == 0;
    case DER_OID:
        return der_oid_valid(content);
    case DER_BMP_STRING:
        return content.len % 2 == 0;
    case DER_UNIVERSAL_STRING:
        return content.len % 4 == 0;
    case DER_UTC_TIME: // X.690 sections 11.7, 11.8: seconds and Z are required. OpenSSL checks it from 3.3 on
        return content.len >= 13;
    case DER_GENERALIZED_TIME:
        return content.len >= 15;
    case DER_SEQUENCE:
    case DER_SET:
        return true;
    default:
        return v->tag >= DER_OCTET_STRING && v->tag < DER_BMP_STRING && v->tag != DER_EMBEDDED_PDV &&
               v->tag != DER_EXTERNAL && v->tag != (DER_SEQUENCE & 0x1F) && v->tag != (DER_SET & 0x1F);
    }
}

bool der_take_unsigned(struct der *d, struct cs_bytes *ret) {
    struct cs_bytes v;
    if (!der_take(d, DER_INTEGER, &v) || v.len == 0 || v.data[0] >= 0x80)
        return false;
    if (v.len > 1 && v.data[0] == 0) {
        if (v.data[1] < 0x80)
            return false;
        v.data++;
        v.len--;
    }
    *ret = v;
    return true;
}

bool der_take_small(struct der *d, int *ret) {
    struct cs_bytes v;
    if (!der_take_unsigned(d, &v) || v.len > 3)
        return false;
    int n = 0;
    for (size_t i = 0; i < v.len; i++)
        n = n << 8 | v.data[i];
    *ret = n;
    return true;
}

bool der_take_boolean(struct der *d, bool *ret) {
    struct cs_bytes v;
    if (!der_take(d, DER_BOOLEAN, &v) || v.len != 1 || (v.data[0] != 0 && v.data[0] != 0xFF))
        return false;
    *ret = v.data[0] != 0;
    return true;
}

bool der_take_octet_bits(struct der *d, struct cs_bytes *ret) {
    struct cs_bytes v;
    if (!der_take(d, DER_BIT_STRING, &v) || v.len < 1 || v.data[0] != 0)
        return false;
    *ret = (struct cs_bytes){v.data + 1, v.len - 1};
    return true;
}

bool der_take_time(struct der *d, int64_t *ret_s) {
    struct der_value v;
    if (!der_next(d, &v))
        return false;
    bool utc = v.tag == DER_UTC_TIME && v.content.len == 13;
    bool generalized = v.tag == DER_GENERALIZED_TIME && v.content.len == 15;
    if (!utc && !generalized)
        return false;
    // Year (two or four digits), month, day, hour, minute, second, 'Z'.
    const uint8_t *p = v.content.data;
    int year = 0, part[5];
    for (int i = utc ? 2 : 4; i > 0; i--, p++) {
        if (*p < '0' || *p > '9')
            return false;
        year = year * 10 + (*p - '0');
    }
    if (utc)
        year += year >= 50 ? 1900 : 2000;
    for (size_t i = 0; i < CS_ARRAY_LEN(part); i++, p += 2) {
        if (p[0] < '0' || p[0] > '9' || p[1] < '0' || p[1] > '9')
            return false;
        part[i] = (p[0] - '0') * 10 + (p[1] - '0');
    }
    return *p == 'Z' && text_date_to_s(year, part[0], part[1], part[2], part[3], part[4], ret_s);
}

size_t der_header(uint8_t tag, size_t len, uint8_t out[DER_HEADER_MAX]) {
    size_t n = 2;
    out[0] = tag;
    if (len < 0x80) {
        out[1] = (uint8_t)len;
        return n;
    }
    size_t octets = len < 0x100 ? 1 : len < 0x10000 ? 2 : 3;
    out[1] = (uint8_t)(0x80 | octets);
    for (size_t i = 0; i < octets; i++)
        out[n++] = (uint8_t)(len >> (8 * (octets - 1 - i)));
    return n;
}

void der_put_parts(struct cs_buf *b, uint8_t tag, const struct cs_bytes *parts, size_t n) {
    size_t len = 0;
    for (size_t i = 0; i < n; i++)
        len += parts[i].len;
    uint8_t head[DER_HEADER_MAX];
    cs_buf_put(b, head, der_header(tag, len, head));
    for (size_t i = 0; i < n; i++)
        cs_buf_put(b, parts[i].data, parts[i].len);
}

void der_put(struct cs_buf *b, uint8_t tag, struct cs_bytes content) {
    der_put_parts(b, tag, &content, 1);
}
