// SPDX-License-Identifier: Apache-2.0
#include "x509/name_parse.h"

#include <stdlib.h>

#include "certsync/base/text.h"
#include "certsync/model/codes.h"
#include "x509/name.h"

#define NAME_DER_MAX 4096
#define VALUE_MAX    1024
#define OID_MAX      64
#define AVAS_MAX     16 // of one RDN

// The string type of an attribute (RFC 5280 appendix A.1), where it is not a UTF8String of any
// length.
static const struct form {
    const char *name;
    enum der_tag tag;
    size_t max; // characters
} forms[] = {
    {"CN", DER_UTF8_STRING, 64},
    {"C", DER_PRINTABLE_STRING, 2},
    {"O", DER_UTF8_STRING, 64},
    {"OU", DER_UTF8_STRING, 64},
    {"L", DER_UTF8_STRING, 128},
    {"ST", DER_UTF8_STRING, 128},
    {"serialNumber", DER_PRINTABLE_STRING, 64},
    {"title", DER_UTF8_STRING, 64},
    {"dnQualifier", DER_PRINTABLE_STRING, 64},
    {"pseudonym", DER_UTF8_STRING, 128},
    {"DC", DER_IA5_STRING, 63},
    {"UID", DER_UTF8_STRING, 256},
    {"emailAddress", DER_IA5_STRING, 255},
    {"jurisdictionC", DER_PRINTABLE_STRING, 2},
};

// OpenSSL's long names.
static const struct {
    const char *name, *known_as;
} long_names[] = {
    {"commonName", "CN"},
    {"countryName", "C"},
    {"organizationName", "O"},
    {"organizationalUnitName", "OU"},
    {"localityName", "L"},
    {"stateOrProvinceName", "ST"},
    {"surname", "SN"},
    {"givenName", "GN"},
    {"streetAddress", "street"},
    {"domainComponent", "DC"},
    {"userId", "UID"},
    {"jurisdictionLocalityName", "jurisdictionL"},
    {"jurisdictionStateOrProvinceName", "jurisdictionST"},
    {"jurisdictionCountryName", "jurisdictionC"},
};

struct type {
    uint8_t oid[OID_MAX];
    size_t oid_len;
    struct form form;
};

// A name that is being built: the AVAs of the current RDN, and the RDNs before it.
struct naming {
    struct cs_buf avas, rdns;
    size_t ava_end[AVAS_MAX], avas_len;
    size_t rdn_end[NAME_RDNS_MAX], rdns_len;
    struct cs_err *err;
};
static void naming_clear(struct naming *n) {
    cs_buf_clear(&n->avas);
    cs_buf_clear(&n->rdns);
}
CS_DEFINE_AUTO_CLEAR(struct naming, naming_clear)

static bool bad(const struct naming *n, const char *why) {
    return cs_err_set(n->err, CS_ERR_REJECT, CS_CODE_CSR_MALFORMED,
                      "The subject cannot be encoded: %s. Write it as /C=CN/O=Example/CN=www.example.com, as "
                      "CN=www.example.com,O=Example,C=CN, or give a host name.",
                      why);
}

// ---- types

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool same_word(const char *text, size_t len, const char *word) {
    size_t i = 0;
    while (i < len && word[i] && lower(text[i]) == lower(word[i]))
        i++;
    return i == len && word[i] == '\0';
}

static void put_arc(struct type *t, uint64_t arc) {
    unsigned shift = 63;
    while (shift > 0 && arc >> shift == 0)
        shift -= 7;
    for (;; shift -= 7) {
        if (t->oid_len < OID_MAX)
            t->oid[t->oid_len++] = (uint8_t)((arc >> shift & 0x7F) | (shift > 0 ? 0x80 : 0));
        if (shift == 0)
            return;
    }
}

// "2.5.4.3", at least two arcs.
static bool read_dotted(const char *text, size_t len, struct type *ret) {
    uint64_t first = 0, arc = 0;
    size_t arcs = 0, digits = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && text[i] >= '0' && text[i] <= '9' && ++digits < 18) {
            arc = arc * 10 + (uint64_t)(text[i] - '0');
            continue;
        }
        if (digits == 0 || (i < len && text[i] != '.') || (arcs == 0 && arc > 2) ||
            (arcs == 1 && first < 2 && arc >= 40))
            return false;
        if (arcs == 0)
            first = arc;
        else
            put_arc(ret, arcs == 1 ? first * 40 + arc : arc);
        arcs++;
        arc = digits = 0;
    }
    return arcs >= 2 && ret->oid_len < OID_MAX;
}

static bool read_type(const char *text, size_t len, struct type *ret) {
    struct cs_bytes oid;
    *ret = (struct type){.form = {.tag = DER_UTF8_STRING, .max = VALUE_MAX}};
    for (size_t i = 0; i < CS_ARRAY_LEN(long_names); i++)
        if (same_word(text, len, long_names[i].name)) {
            text = long_names[i].known_as;
            len = strlen(text);
        }
    for (size_t i = 0; i < CS_ARRAY_LEN(forms); i++)
        if (same_word(text, len, forms[i].name))
            ret->form = forms[i];
    if (!name_oid(text, len, &oid))
        return read_dotted(text, len, ret);
    memcpy(ret->oid, oid.data, oid.len);
    ret->oid_len = oid.len;
    return true;
}

// ---- values

static bool text_fits(const struct form *f, const char *value, size_t len) {
    static const char printable[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?";
    size_t characters = 0;
    if (len == 0 || !cs_utf8_valid((const uint8_t *)value, len))
        return false;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)value[i];
        characters += (c & 0xC0) != 0x80;
        if (c < 0x20 || c == 0x7F || (f->tag == DER_IA5_STRING && c >= 0x80) ||
            (f->tag == DER_PRINTABLE_STRING && !memchr(printable, c, sizeof printable - 1)))
            return false;
    }
    return characters <= f->max;
}

// value is text, or with is_der the value's DER.
static bool put_ava(struct naming *n, const struct type *t, struct cs_bytes value, bool is_der) {
    CS_AUTO(cs_buf_clear) struct cs_buf inner;
    cs_buf_init(&inner, NAME_DER_MAX);
    if (n->avas_len == AVAS_MAX)
        return bad(n, "more attributes are joined by \"+\" than can be");
    der_put(&inner, DER_OID, (struct cs_bytes){t->oid, t->oid_len});
    if (is_der) {
        cs_buf_put(&inner, value.data, value.len);
    } else if (text_fits(&t->form, (const char *)value.data, value.len)) {
        der_put(&inner, (uint8_t)t->form.tag, value);
    } else {
        return bad(n, "a value is empty, too long, or has a character that its attribute does not allow");
    }
    der_put(&n->avas, DER_SEQUENCE, cs_buf_bytes(&inner));
    n->ava_end[n->avas_len++] = n->avas.len;
    return cs_buf_ok(&inner, n->err) && cs_buf_ok(&n->avas, n->err);
}

static int by_bytes(const void *a, const void *b) {
    const struct cs_bytes *x = a, *y = b;
    int order = memcmp(x->data, y->data, x->len < y->len ? x->len : y->len);
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

// DER orders a SET OF by its bytes (X.690 section 11.6).
static bool end_rdn(struct naming *n) {
    struct cs_bytes parts[AVAS_MAX];
    for (size_t i = 0, at = 0; i < n->avas_len; at = n->ava_end[i++])
        parts[i] = (struct cs_bytes){n->avas.data + at, n->ava_end[i] - at};
    qsort(parts, n->avas_len, sizeof *parts, by_bytes);
    if (n->rdns_len == NAME_RDNS_MAX)
        return bad(n, "it has too many parts");
    der_put_parts(&n->rdns, DER_SET, parts, n->avas_len);
    n->rdn_end[n->rdns_len++] = n->rdns.len;
    cs_buf_reset(&n->avas);
    n->avas_len = 0;
    return cs_buf_ok(&n->rdns, n->err);
}

// ---- the two forms

static const char unknown_type[] = "an attribute is not one of CN, C, O, OU, L, ST, serialNumber, DC, "
                                   "emailAddress and the like, nor a dotted "
                                   "OID";

// Takes "type=" at *s.
static bool take_type(struct naming *n, const char **s, struct type *ret) {
    size_t len = strcspn(*s, "=/,+;\\");
    const char *end = *s + len;
    if (*end != '=')
        return bad(n, "an attribute has no \"=\" and no value");
    while (len > 0 && (*s)[len - 1] == ' ')
        len--;
    if (!read_type(*s, len, ret))
        return bad(n, unknown_type);
    *s = end + 1;
    return true;
}

static bool read_slashes(struct naming *n, const char *s) {
    struct type t;
    char value[VALUE_MAX];
    while (*s) {
        s++; // '/' or '+'
        size_t len = 0;
        if (!*s && n->rdns_len > 0 && n->avas_len == 0) // OpenSSL ignores a '/' at the end
            return true;
        if (!take_type(n, &s, &t))
            return false;
        for (; *s && *s != '/' && *s != '+'; s++) {
            if (*s == '\\' && *++s == '\0')
                return bad(n, "it ends with a single \"\\\"");
            if (len == sizeof value)
                return bad(n, "a value is too long");
            value[len++] = *s;
        }
        if (!put_ava(n, &t, (struct cs_bytes){(uint8_t *)value, len}, false) || (*s != '+' && !end_rdn(n)))
            return false;
    }
    return true;
}

static void skip_spaces(const char **s) {
    while (**s == ' ')
        ++*s;
}

// RFC 4514 section 2.4, "#" and hexadecimal digits: one value in DER.
static bool read_hex_value(struct naming *n, const char **s, const struct type *t) {
    uint8_t value[VALUE_MAX];
    size_t len = 0;
    struct der_value v;
    for (++*s; cs_hex_value((*s)[0]) >= 0 && cs_hex_value((*s)[1]) >= 0 && len < sizeof value; *s += 2)
        value[len++] = (uint8_t)(cs_hex_value((*s)[0]) << 4 | cs_hex_value((*s)[1]));
    struct der d = der_of((struct cs_bytes){value, len});
    skip_spaces(s);
    if (!der_next(&d, &v) || !der_done(&d))
        return bad(n, "what follows a \"#\" is not the DER of a value");
    return put_ava(n, t, v.whole, true);
}

// One character of a value, with its escape. False: it is none.
static bool take_character(const char **s, char *ret) {
    if (**s != '\\') {
        *ret = *(*s)++;
        return !strchr("\"<>", *ret);
    }
    int high = cs_hex_value((*s)[1]), low = high >= 0 ? cs_hex_value((*s)[2]) : -1;
    if (low >= 0) {
        *ret = (char)(high << 4 | low);
        *s += 3;
        return true;
    }
    *ret = (*s)[1];
    *s += 2;
    return *ret && strchr(" \"#+,;<=>\\", *ret);
}

static bool read_text_value(struct naming *n, const char **s, const struct type *t) {
    char value[VALUE_MAX];
    size_t len = 0, kept = 0; // without spaces at the end that are not escaped
    while (**s && !strchr(",;+", **s)) {
        bool bare_space = **s == ' ';
        if (len == sizeof value)
            return bad(n, "a value is too long");
        if (!take_character(s, &value[len]))
            return bad(n,
                       "a special character has no \"\\\" before it, or there is one that escapes nothing");
        len++;
        if (!bare_space)
            kept = len;
    }
    return put_ava(n, t, (struct cs_bytes){(uint8_t *)value, kept}, false);
}

static bool read_commas(struct naming *n, const char *s) {
    struct type t;
    for (;;) {
        skip_spaces(&s);
        if (!take_type(n, &s, &t))
            return false;
        skip_spaces(&s);
        if (!(*s == '#' ? read_hex_value(n, &s, &t) : read_text_value(n, &s, &t)))
            return false;
        char end = *s;
        if (end && !strchr(",;+", end))
            return bad(n, "a special character has no \"\\\" before it");
        if (end != '+' && !end_rdn(n))
            return false;
        if (!end)
            return true;
        s++;
    }
}

// Whether it begins with "word =". No host name does, and few other names.
static bool begins_with_type(const char *s) {
    while (*s == ' ')
        s++;
    size_t len = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-");
    return len > 0 && s[len + strspn(s + len, " ")] == '=';
}

bool name_parse(const char *text, struct cs_buf *out, struct cs_err *err) {
    CS_AUTO(naming_clear) struct naming n = {.err = err};
    cs_buf_init(&n.avas, NAME_DER_MAX);
    cs_buf_init(&n.rdns, NAME_DER_MAX);
    bool slashes = text[0] == '/', commas = !slashes && begins_with_type(text), ok;
    if (slashes) {
        ok = read_slashes(&n, text);
    } else if (commas) {
        ok = read_commas(&n, text);
    } else {
        struct type cn;
        ok = read_type("CN", 2, &cn) &&
             put_ava(&n, &cn, (struct cs_bytes){(const uint8_t *)text, strlen(text)}, false) && end_rdn(&n);
    }
    if (!ok)
        return false;
    struct cs_bytes parts[NAME_RDNS_MAX];
    for (size_t i = 0, at = 0; i < n.rdns_len; at = n.rdn_end[i++])
        parts[commas ? n.rdns_len - 1 - i : i] = (struct cs_bytes){n.rdns.data + at, n.rdn_end[i] - at};
    size_t start = out->len;
    der_put_parts(out, DER_SEQUENCE, parts, n.rdns_len);
    if (!cs_buf_ok(out, err))
        return false;
    return name_valid((struct cs_bytes){out->data + start, out->len - start}) ||
           bad(&n, "what follows a \"#\" is not the DER of a value that names have");
}
