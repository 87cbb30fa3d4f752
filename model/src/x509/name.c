// SPDX-License-Identifier: Apache-2.0
#include "x509/name.h"

#include "certsync/base/text.h"

static const struct attribute {
    const char *name;
    struct cs_bytes oid;
} attributes[] = {
    {"CN", DER_INIT("\x55\x04\x03")},
    {"C", DER_INIT("\x55\x04\x06")},
    {"O", DER_INIT("\x55\x04\x0a")},
    {"OU", DER_INIT("\x55\x04\x0b")},
    {"L", DER_INIT("\x55\x04\x07")},
    {"ST", DER_INIT("\x55\x04\x08")},
    {"SN", DER_INIT("\x55\x04\x04")},
    {"serialNumber", DER_INIT("\x55\x04\x05")},
    {"street", DER_INIT("\x55\x04\x09")},
    {"title", DER_INIT("\x55\x04\x0c")},
    {"businessCategory", DER_INIT("\x55\x04\x0f")},
    {"postalCode", DER_INIT("\x55\x04\x11")},
    {"GN", DER_INIT("\x55\x04\x2a")},
    {"initials", DER_INIT("\x55\x04\x2b")},
    {"dnQualifier", DER_INIT("\x55\x04\x2e")},
    {"pseudonym", DER_INIT("\x55\x04\x41")},
    {"organizationIdentifier", DER_INIT("\x55\x04\x61")},
    {"DC", DER_INIT("\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19")},
    {"UID", DER_INIT("\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01")},
    {"emailAddress", DER_INIT("\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01")},
    {"jurisdictionL", DER_INIT("\x2b\x06\x01\x04\x01\x82\x37\x3c\x02\x01\x01")},
    {"jurisdictionST", DER_INIT("\x2b\x06\x01\x04\x01\x82\x37\x3c\x02\x01\x02")},
    {"jurisdictionC", DER_INIT("\x2b\x06\x01\x04\x01\x82\x37\x3c\x02\x01\x03")},
};

struct ava {
    struct cs_bytes oid;
    struct der_value value;
};

static bool is_scalar(uint32_t cp) {
    return cp <= 0x10FFFF && (cp < 0xD800 || cp > 0xDFFF);
}

static bool code_points_valid(struct cs_bytes text, size_t width) {
    for (size_t i = 0; i + width <= text.len; i += width) {
        uint32_t cp = 0;
        for (size_t k = 0; k < width; k++)
            cp = cp << 8 | text.data[i + k];
        if (!is_scalar(cp))
            return false;
    }
    return text.len % width == 0;
}

// X.680 section 41.4, and also '*' and '&'.
static bool printable(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '\'' && c <= ':' && c != '*') ||
           c == ' ' || c == '=' || c == '?' || c == '*' || c == '&';
}

static bool ia5(uint8_t c) {
    return c < 0x80;
}

static bool numeric(uint8_t c) {
    return c == ' ' || (c >= '0' && c <= '9');
}

static bool all(struct cs_bytes text, bool (*in)(uint8_t)) {
    for (size_t i = 0; i < text.len; i++)
        if (!in(text.data[i]))
            return false;
    return true;
}

// The types of values that occur in names, each with its own rules. OpenSSL cannot read a
// certificate with another type. Go, and so many servers and clients, cannot read one with a wrong
// alphabet.
bool name_value_valid(const struct der_value *v) {
    switch (v->tag) {
    case DER_PRINTABLE_STRING:
        return all(v->content, printable);
    case DER_IA5_STRING:
        return all(v->content, ia5);
    case DER_NUMERIC_STRING:
        return all(v->content, numeric);
    case DER_T61_STRING:
        return true;
    case DER_UTF8_STRING:
        return cs_utf8_valid(v->content.data, v->content.len);
    case DER_BMP_STRING:
        return code_points_valid(v->content, 2);
    case DER_UNIVERSAL_STRING:
        return code_points_valid(v->content, 4);
    case DER_BIT_STRING: // x500UniqueIdentifier
        return der_bits_valid(v->content);
    default:
        return false;
    }
}

static bool take_ava(struct der *set, struct ava *ret) {
    struct der seq;
    return der_enter(set, DER_SEQUENCE, &seq) && der_take_oid(&seq, &ret->oid) &&
           der_next(&seq, &ret->value) && der_done(&seq);
}

static struct der open_name(struct cs_bytes name) {
    struct der outer = der_of(name), rdns;
    return der_enter(&outer, DER_SEQUENCE, &rdns) ? rdns : der_of((struct cs_bytes){0});
}

bool name_rdn_valid(struct cs_bytes rdn) {
    struct der set = der_of(rdn);
    struct ava ava;
    if (der_done(&set))
        return false;
    while (!der_done(&set))
        if (!take_ava(&set, &ava) || !name_value_valid(&ava.value))
            return false;
    return true;
}

bool name_valid(struct cs_bytes name) {
    struct der outer = der_of(name), rdns;
    struct cs_bytes rdn;
    size_t n = 0;
    if (!der_enter(&outer, DER_SEQUENCE, &rdns) || !der_done(&outer))
        return false;
    while (!der_done(&rdns))
        if (++n > NAME_RDNS_MAX || !der_take(&rdns, DER_SET, &rdn) || !name_rdn_valid(rdn))
            return false;
    return true;
}

bool name_empty(struct cs_bytes name) {
    struct der rdns = open_name(name);
    return der_done(&rdns);
}

static size_t put_utf8(uint32_t cp, char out[4]) {
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (!is_scalar(cp))
        cp = 0xFFFD;
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = n - 1; i > 0; i--, cp >>= 6)
        out[i] = (char)(0x80 | (cp & 0x3F));
    out[0] = (char)(lead[n] | cp);
    return n;
}

bool name_value_text(const struct der_value *v, char *out, size_t out_size, size_t *ret_len) {
    size_t width, at = 0;
    switch (v->tag) {
    case DER_UTF8_STRING:
    case DER_PRINTABLE_STRING:
    case DER_IA5_STRING:
    case DER_NUMERIC_STRING:
        *ret_len = v->content.len < out_size ? v->content.len : out_size;
        memcpy(out, v->content.data, *ret_len);
        return true;
    case DER_T61_STRING: // in practice Latin-1
        width = 1;
        break;
    case DER_BMP_STRING:
        width = 2;
        break;
    case DER_UNIVERSAL_STRING:
        width = 4;
        break;
    default:
        return false;
    }
    if (v->content.len % width != 0)
        return false;
    for (size_t i = 0; i < v->content.len && at + 4 <= out_size; i += width) {
        uint32_t cp = 0;
        for (size_t k = 0; k < width; k++)
            cp = cp << 8 | v->content.data[i + k];
        at += put_utf8(cp, out + at);
    }
    *ret_len = at;
    return true;
}

// Output that may be cut between elements, but never inside one.
struct sink {
    char *out;
    size_t size, at;
    bool full;
};

static void emit(struct sink *s, const char *text, size_t len) {
    if (s->full || len > s->size - 1 - s->at) {
        s->full = true;
        return;
    }
    memcpy(s->out + s->at, text, len);
    s->at += len;
}

static void emit_hex(struct sink *s, char lead, const uint8_t *data, size_t len) {
    for (size_t i = 0; i < len && !s->full; i++) {
        char pair[3] = {lead, cs_hex_upper[data[i] >> 4], cs_hex_upper[data[i] & 15]};
        if (lead)
            emit(s, pair, 3);
        else
            emit(s, pair + 1, 2);
    }
}

// Length of the well-formed sequence at p, 0 where there is none.
static size_t utf8_len(const uint8_t *p, size_t left) {
    for (size_t n = 1; n <= 4 && n <= left; n++)
        if (cs_utf8_valid(p, n))
            return n;
    return 0;
}

// RFC 2253 section 2.4.
static void emit_escaped(struct sink *s, const char *text, size_t len) {
    for (size_t i = 0; i < len && !s->full;) {
        uint8_t c = (uint8_t)text[i];
        bool edge = (c == ' ' && (i == 0 || i == len - 1)) || (c == '#' && i == 0);
        size_t n = c < 0x80 ? 1 : utf8_len((const uint8_t *)text + i, len - i);
        if (edge || (c != '\0' && strchr(",+\"\\<>;", c))) {
            emit(s, (char[]){'\\', (char)c}, 2);
        } else if (n == 0 || c < 0x20 || c == 0x7F || (n == 2 && c == 0xC2 && (uint8_t)text[i + 1] < 0xA0)) {
            n = n ? n : 1;
            emit_hex(s, '\\', (const uint8_t *)text + i, n);
        } else {
            emit(s, text + i, n);
        }
        i += n;
    }
}

static void emit_number(struct sink *s, uint64_t v) {
    char digits[20];
    char *end = digits + sizeof digits;
    const char *start = cs_decimal_before(end, v);
    emit(s, start, (size_t)(end - start));
}

static void emit_oid(struct sink *s, struct cs_bytes oid) {
    uint64_t arc = 0;
    bool first = true;
    for (size_t i = 0; i < oid.len && !s->full; i++) {
        arc = arc << 7 | (oid.data[i] & 0x7F);
        if (oid.data[i] >= 0x80)
            continue;
        if (first) {
            uint64_t top = arc < 40 ? 0 : arc < 80 ? 1 : 2;
            emit_number(s, top);
            arc -= top * 40;
            first = false;
        }
        emit(s, ".", 1);
        emit_number(s, arc);
        arc = 0;
    }
}

static const char *attribute_name(struct cs_bytes oid) {
    for (size_t i = 0; i < CS_ARRAY_LEN(attributes); i++)
        if (cs_bytes_equal(attributes[i].oid, oid))
            return attributes[i].name;
    return NULL;
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool name_oid(const char *text, size_t len, struct cs_bytes *ret) {
    for (size_t i = 0; i < CS_ARRAY_LEN(attributes); i++) {
        const char *name = attributes[i].name;
        size_t k = 0;
        while (k < len && name[k] && lower(name[k]) == lower(text[k]))
            k++;
        if (k < len || name[k])
            continue;
        *ret = attributes[i].oid;
        return true;
    }
    return false;
}

static void emit_ava(struct sink *s, const struct ava *ava) {
    char text[1024];
    size_t len;
    const char *name = attribute_name(ava->oid);
    if (name)
        emit(s, name, strlen(name));
    else
        emit_oid(s, ava->oid);
    emit(s, "=", 1);
    if (name_value_text(&ava->value, text, sizeof text, &len)) {
        emit_escaped(s, text, len);
    } else {
        emit(s, "#", 1);
        emit_hex(s, '\0', ava->value.whole.data, ava->value.whole.len);
    }
}

void name_format(struct cs_bytes name, char *out, size_t out_size) {
    struct der rdns = open_name(name), set, sets[NAME_RDNS_MAX];
    struct sink s = {out, out_size, 0, false};
    size_t n = 0;
    while (n < NAME_RDNS_MAX && der_enter(&rdns, DER_SET, &set))
        sets[n++] = set;
    for (size_t i = n; i > 0 && !s.full; i--) {
        struct ava ava;
        const char *separator = i == n ? "" : ",";
        for (set = sets[i - 1]; !der_done(&set) && take_ava(&set, &ava); separator = "+") {
            emit(&s, separator, strlen(separator));
            emit_ava(&s, &ava);
        }
    }
    out[s.at] = '\0';
}

struct name_walk name_walk(struct cs_bytes name) {
    return (struct name_walk){open_name(name), der_of((struct cs_bytes){0})};
}

bool name_walk_next(struct name_walk *w, struct cs_bytes oid, struct der_value *ret) {
    struct ava ava;
    do {
        while (!der_done(&w->set)) {
            if (!take_ava(&w->set, &ava))
                return false;
            if (!cs_bytes_equal(ava.oid, oid))
                continue;
            *ret = ava.value;
            return true;
        }
    } while (!der_done(&w->rdns) && der_enter(&w->rdns, DER_SET, &w->set));
    return false;
}

void name_common(struct cs_bytes name, char *out, size_t out_size) {
    struct name_walk walk = name_walk(name);
    struct der_value v;
    char text[1024];
    size_t len = 0;
    while (name_walk_next(&walk, attributes[0].oid, &v))
        if (!name_value_text(&v, text, sizeof text, &len))
            len = 0;
    cs_text_escape(text, len, out, out_size);
}

// Trims, folds ASCII case, and makes one space of each run. Returns the new length.
static size_t fold(char *s, size_t len) {
    size_t at = 0;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        if (c == ' ' && (at == 0 || s[at - 1] == ' '))
            continue;
        s[at++] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    return at > 0 && s[at - 1] == ' ' ? at - 1 : at;
}

static bool ava_equal(const struct ava *a, const struct ava *b) {
    char text_a[1024], text_b[1024];
    size_t len_a, len_b;
    if (!cs_bytes_equal(a->oid, b->oid))
        return false;
    if (cs_bytes_equal(a->value.whole, b->value.whole))
        return true;
    // Numbers, and texts longer than any real name, are equal only byte by byte.
    if (a->value.tag == DER_NUMERIC_STRING || b->value.tag == DER_NUMERIC_STRING)
        return false;
    if (a->value.content.len >= sizeof text_a / 4 || b->value.content.len >= sizeof text_b / 4 ||
        !name_value_text(&a->value, text_a, sizeof text_a, &len_a) ||
        !name_value_text(&b->value, text_b, sizeof text_b, &len_b))
        return false;
    len_a = fold(text_a, len_a);
    len_b = fold(text_b, len_b);
    return len_a == len_b && memcmp(text_a, text_b, len_a) == 0;
}

// Compares only as many RDNs as b has.
static bool begins_with(struct der *rdns_a, struct der *rdns_b) {
    struct der set_a, set_b;
    while (!der_done(rdns_a) && !der_done(rdns_b)) {
        if (!der_enter(rdns_a, DER_SET, &set_a) || !der_enter(rdns_b, DER_SET, &set_b))
            return false;
        while (!der_done(&set_a) && !der_done(&set_b)) {
            struct ava ava_a, ava_b;
            if (!take_ava(&set_a, &ava_a) || !take_ava(&set_b, &ava_b) || !ava_equal(&ava_a, &ava_b))
                return false;
        }
        if (!der_done(&set_a) || !der_done(&set_b))
            return false;
    }
    return der_done(rdns_b);
}

bool name_equal(struct cs_bytes a, struct cs_bytes b) {
    if (cs_bytes_equal(a, b))
        return true;
    struct der rdns_a = open_name(a), rdns_b = open_name(b);
    return begins_with(&rdns_a, &rdns_b) && der_done(&rdns_a);
}

bool name_within(struct cs_bytes name, struct cs_bytes base) {
    struct der rdns = open_name(name), rdns_base = open_name(base);
    return begins_with(&rdns, &rdns_base);
}
