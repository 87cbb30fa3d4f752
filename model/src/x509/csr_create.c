// SPDX-License-Identifier: Apache-2.0
//
// Making certificate signing requests (RFC 2986), each structure from the inside out.
#include "certsync/model/csr.h"

#include <stdlib.h>

#include <arpa/inet.h>

#include "certsync/base/text.h"
#include "certsync/model/sign.h"
#include "crypto/privkey.h"
#include "x509/name.h"
#include "x509/name_parse.h"

// A host name of a certificate (RFC 5280 section 4.2.1.6, CA/Browser Forum 3.2.2): labels of
// letters, digits, '-' and '_'. The first label may be a single "*". It must not look like an IPv4
// address.
static bool is_host(const char *name) {
    size_t len = strlen(name), label = 0;
    bool digits = true;
    if (len == 0 || len > 253)
        return false;
    for (size_t i = 0; i <= len; i++) {
        char c = name[i];
        if (c == '.' || c == '\0') {
            if (label == 0 || label > 63 || name[i - 1] == '-')
                return false;
            if (c == '\0')
                return !digits;
            label = 0;
            digits = true;
            continue;
        }
        bool digit = c >= '0' && c <= '9', letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool star = c == '*' && i == 0 && name[1] == '.';
        if (!digit && !letter && !star && c != '_' && (c != '-' || label == 0))
            return false;
        digits = digits && digit;
        label++;
    }
    return false;
}

static bool put_san(struct cs_buf *out, const char *name, struct cs_err *err) {
    uint8_t ip[16];
    if (inet_pton(AF_INET, name, ip) == 1) {
        der_put(out, DER_CONTEXT(7), (struct cs_bytes){ip, 4});
        return true;
    }
    if (inet_pton(AF_INET6, name, ip) == 1) {
        der_put(out, DER_CONTEXT(7), (struct cs_bytes){ip, 16});
        return true;
    }
    if (!is_host(name))
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_CSR_MALFORMED,
                          "A subject alternative name is neither a host name nor an IP address. Write "
                          "international names in "
                          "their ASCII form (xn--…).");
    der_put(out, DER_CONTEXT(2), (struct cs_bytes){(const uint8_t *)name, strlen(name)});
    return true;
}

// attributes [0] { SEQUENCE { extensionRequest,
//                             SET { SEQUENCE OF { SEQUENCE { subjectAltName, OCTET STRING } } } } }
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
    // Each step wraps what a holds. A step with a 0 first puts the OBJECT IDENTIFIER that belongs
    // there.
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

// Without a host, the common name is the host. False: it is no host name.
static bool default_name(const char *common_name, struct cs_err *err) {
    uint8_t ip[16];
    return is_host(common_name) || inet_pton(AF_INET, common_name, ip) == 1 ||
           inet_pton(AF_INET6, common_name, ip) == 1 || cs_err_reject(err, CS_CODE_CSR_NO_NAME);
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
    if (!name_parse(subject, &content, err))
        return false;
    char common_name[256];
    const char *const only[] = {common_name};
    if (names_len == 0) {
        name_common((struct cs_bytes){content.data + 3, content.len - 3}, common_name, sizeof common_name);
        if (!default_name(common_name, err))
            return false;
        names = only;
        names_len = 1;
    }
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
