// SPDX-License-Identifier: Apache-2.0
//
// Making certificate signing requests (RFC 2986), each structure from the inside out.
#include "certsync/model/csr.h"

#include <stdlib.h>

#include <arpa/inet.h>

#include "certsync/model/sign.h"
#include "certsync/model/text.h"
#include "privkey.h"

#define CSR_NAME_MAX 4096
#define VALUE_MAX    256

// What a subject may be made of, with the string type that RFC 5280 appendix A.1 wants.
static const struct attribute {
    const char *name;
    struct cs_bytes oid;
    enum der_tag tag;
    size_t max; // upper bounds of appendix A.1
} attributes[] = {
    {"CN", DER_INIT("\x55\x04\x03"), DER_UTF8_STRING, 64},
    {"C", DER_INIT("\x55\x04\x06"), DER_PRINTABLE_STRING, 2},
    {"O", DER_INIT("\x55\x04\x0a"), DER_UTF8_STRING, 64},
    {"OU", DER_INIT("\x55\x04\x0b"), DER_UTF8_STRING, 64},
    {"L", DER_INIT("\x55\x04\x07"), DER_UTF8_STRING, 128},
    {"ST", DER_INIT("\x55\x04\x08"), DER_UTF8_STRING, 128},
    {"SERIALNUMBER", DER_INIT("\x55\x04\x05"), DER_PRINTABLE_STRING, 64},
    {"DC", DER_INIT("\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19"), DER_IA5_STRING, 63},
    {"EMAILADDRESS", DER_INIT("\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01"), DER_IA5_STRING, 255},
};

static bool bad_subject(struct cs_err *err, const char *why) {
    return cs_err_set(err, CS_ERR_REJECT, CS_CODE_CSR_MALFORMED,
                      "The subject cannot be encoded: %s. Write it as /C=CN/O=Example/CN=www.example.com, or "
                      "give a host name.",
                      why);
}

static size_t characters(const char *s, size_t len) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += ((uint8_t)s[i] & 0xC0) != 0x80;
    return n;
}

static bool text_fits(const struct attribute *a, const char *value, size_t len) {
    static const char printable[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?";
    if (len == 0 || characters(value, len) > a->max || !cs_utf8_valid((const uint8_t *)value, len))
        return false;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)value[i];
        if (c < 0x20 || c == 0x7F || (a->tag == DER_IA5_STRING && c >= 0x80) ||
            (a->tag == DER_PRINTABLE_STRING && !memchr(printable, c, sizeof printable - 1)))
            return false;
    }
    return true;
}

static bool put_rdn(struct cs_buf *out, const struct attribute *a, const char *value, size_t len,
                    struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf inner, ava;
    cs_buf_init(&inner, CSR_NAME_MAX);
    cs_buf_init(&ava, CSR_NAME_MAX);
    if (!text_fits(a, value, len))
        return bad_subject(
            err, "a value is empty, too long, or has a character that its attribute does not allow");
    der_put(&inner, DER_OID, a->oid);
    der_put(&inner, (uint8_t)a->tag, (struct cs_bytes){(const uint8_t *)value, len});
    der_put(&ava, DER_SEQUENCE, cs_buf_bytes(&inner));
    der_put(out, DER_SET, cs_buf_bytes(&ava));
    return cs_buf_ok(&inner, err) && cs_buf_ok(&ava, err);
}

static const struct attribute *find_attribute(const char *name, size_t len) {
    for (size_t i = 0; i < CS_ARRAY_LEN(attributes); i++) {
        size_t k = 0;
        while (k < len &&
               (name[k] >= 'a' && name[k] <= 'z' ? name[k] - 'a' + 'A' : name[k]) == attributes[i].name[k])
            k++;
        if (k == len && attributes[i].name[k] == '\0')
            return &attributes[i];
    }
    return NULL;
}

// "/type=value" one after the other; "\/" and "\\" stand for themselves.
static bool put_slashes(struct cs_buf *rdns, const char *s, struct cs_err *err) {
    while (*s == '/') {
        const char *equals = strchr(++s, '=');
        const struct attribute *a = equals ? find_attribute(s, (size_t)(equals - s)) : NULL;
        char value[VALUE_MAX];
        size_t len = 0;
        if (!a)
            return bad_subject(
                err, "an attribute is not one of CN, C, O, OU, L, ST, serialNumber, DC, emailAddress");
        for (s = equals + 1; *s && *s != '/'; s++) {
            if (*s == '\\' && (s[1] == '/' || s[1] == '\\'))
                s++;
            if (len == sizeof value)
                return bad_subject(err, "a value is too long");
            value[len++] = *s;
        }
        if (!put_rdn(rdns, a, value, len, err))
            return false;
    }
    return true;
}

static bool put_subject(struct cs_buf *out, const char *subject, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf rdns;
    cs_buf_init(&rdns, CSR_NAME_MAX);
    bool ok = subject[0] == '/' ? put_slashes(&rdns, subject, err)
                                : put_rdn(&rdns, &attributes[0], subject, strlen(subject), err);
    der_put(out, DER_SEQUENCE, cs_buf_bytes(&rdns));
    return ok && cs_buf_ok(&rdns, err);
}

static bool put_san(struct cs_buf *out, const char *name, struct cs_err *err) {
    uint8_t ip[16];
    size_t len = strlen(name);
    if (inet_pton(AF_INET, name, ip) == 1) {
        der_put(out, DER_CONTEXT(7), (struct cs_bytes){ip, 4});
        return true;
    }
    if (inet_pton(AF_INET6, name, ip) == 1) {
        der_put(out, DER_CONTEXT(7), (struct cs_bytes){ip, 16});
        return true;
    }
    bool good = len > 0 && len <= 253;
    for (size_t i = 0; i < len && good; i++)
        good = name[i] == '-' || name[i] == '.' || name[i] == '_' || (name[i] == '*' && i == 0) ||
               (name[i] >= '0' && name[i] <= '9') || (name[i] >= 'a' && name[i] <= 'z') ||
               (name[i] >= 'A' && name[i] <= 'Z');
    if (!good)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_CSR_MALFORMED,
                          "A subject alternative name is neither a host name nor an IP address. Write "
                          "international names in "
                          "their ASCII form (xn--…).");
    der_put(out, DER_CONTEXT(2), (struct cs_bytes){(const uint8_t *)name, len});
    return true;
}

// attributes [0] { SEQUENCE { extensionRequest, SET { SEQUENCE OF { SEQUENCE { subjectAltName, OCTET STRING }
// } } } }
static bool put_attributes(struct cs_buf *out, const char *const *names, size_t names_len,
                           struct cs_err *err) {
    static const uint8_t tags[] = {
        DER_SEQUENCE, DER_OCTET_STRING, 0, DER_SEQUENCE, DER_SET, 0, DER_CONTEXT_CONSTRUCTED(0)};
    CS_AUTO(cs_buf_clear) struct cs_buf a, b;
    cs_buf_init(&a, CS_CSR_DER_MAX);
    cs_buf_init(&b, CS_CSR_DER_MAX);
    for (size_t i = 0; i < names_len; i++)
        if (!put_san(&a, names[i], err))
            return false;
    if (names_len == 0) {
        der_put(out, DER_CONTEXT_CONSTRUCTED(0), (struct cs_bytes){0});
        return true;
    }
    // Each step wraps what a holds; a 0 also puts the OBJECT IDENTIFIER that belongs there before it.
    for (size_t i = 0; i < sizeof tags; i++) {
        cs_buf_reset(&b);
        if (tags[i] == 0) {
            const struct cs_bytes parts[] = {i == 2
                                                 ? DER_BYTES("\x06\x03\x55\x1d\x11")
                                                 : DER_BYTES("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e"),
                                             cs_buf_bytes(&a)};
            der_put_parts(&b, DER_SEQUENCE, parts, CS_ARRAY_LEN(parts));
        } else {
            der_put(&b, tags[i], cs_buf_bytes(&a));
        }
        struct cs_buf t = a;
        a = b;
        b = t;
    }
    cs_buf_put(out, a.data, a.len);
    return (!a.failed && !b.failed) ||
           cs_err_set(err, CS_ERR_REJECT, CS_CODE_CSR_MALFORMED, "There are too many names.");
}

bool cs_csr_create(struct cs_crypto *c, const struct cs_privkey *key, const char *subject,
                   const char *const *names, size_t names_len, uint8_t **ret, size_t *ret_len,
                   struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf content, info, sig, out;
    uint8_t bits[1 + CS_POP_MAX] = {0}; // no unused bits, signature
    size_t sig_len;
    cs_buf_init(&content, CS_CSR_DER_MAX);
    cs_buf_init(&info, CS_CSR_DER_MAX);
    cs_buf_init(&sig, 2048);
    cs_buf_init(&out, CS_CSR_DER_MAX);
    cs_buf_put(&content, "\x02\x01\x00", 3);
    if (!put_subject(&content, subject, err))
        return false;
    cs_buf_put(&content, key->spki, key->spki_len);
    if (!put_attributes(&content, names, names_len, err))
        return false;
    der_put(&info, DER_SEQUENCE, cs_buf_bytes(&content));
    if (content.failed || info.failed)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_CSR_MALFORMED, "The request would be too large.");
    struct cs_bytes tbs = cs_buf_bytes(&info);
    if (!privkey_sign(c, key, &tbs, 1, bits + 1, CS_POP_MAX, &sig_len))
        return crypto_fail(err, "signing the request");
    der_put(&sig, DER_BIT_STRING, (struct cs_bytes){bits, 1 + sig_len});
    const struct cs_bytes parts[] = {tbs, sig_alg_der(key->type), cs_buf_bytes(&sig)};
    der_put_parts(&out, DER_SEQUENCE, parts, CS_ARRAY_LEN(parts));
    if (sig.failed || out.failed)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_CSR_MALFORMED, "The request would be too large.");
    *ret = CS_TAKE(out.data);
    *ret_len = out.len;
    return true;
}
