// SPDX-License-Identifier: Apache-2.0
#include "certsync/model/csr.h"

#include <stdlib.h>

#include "certsync/model/cert.h"
#include "crypto/crypto_impl.h"
#include "x509/ext.h"

#define OID_EXTENSION_REQUEST DER_BYTES("\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e")
#define OID_MS_EXTENSIONS                                                                                    \
    DER_BYTES("\x2b\x06\x01\x04\x01\x82\x37\x02\x01\x0e") // the same, as old Windows writes it

#define EXTENSIONS_MAX 64

struct csr_box {
    struct cs_csr csr;
    struct san_list names;
    uint8_t der[];
};

static bool malformed(struct cs_err *err, const char *part) {
    return cs_err_set(err, CS_ERR_REJECT, CS_CODE_CSR_MALFORMED,
                      "The certificate signing request cannot be read: its %s is not as RFC 2986 has it.",
                      part);
}

// Extensions ::= SEQUENCE OF { OID, critical BOOLEAN DEFAULT FALSE, OCTET STRING }
static bool read_extensions(struct csr_box *box, struct der values, bool *ret_oom) {
    struct der list, ext;
    if (!der_enter(&values, DER_SEQUENCE, &list) || !der_done(&values))
        return false;
    struct cs_bytes seen[EXTENSIONS_MAX], value;
    struct ext_facts ignored = {0};
    const char *part;
    for (size_t n = 0; !der_done(&list); n++) {
        bool critical = false;
        if (n == EXTENSIONS_MAX || !der_enter(&list, DER_SEQUENCE, &ext) || !der_take_oid(&ext, &seen[n]) ||
            (der_at(&ext, DER_BOOLEAN) && !der_take_boolean(&ext, &critical)) ||
            !der_take(&ext, DER_OCTET_STRING, &value) || !der_done(&ext) ||
            !ext_read(seen[n], critical, value, &ignored, &part))
            return false;
        for (size_t i = 0; i < n; i++)
            if (cs_bytes_equal(seen[i], seen[n]))
                return false;
        if (!ext_is_alt_name(seen[n]))
            continue;
        if (!san_parse(value, CS_CERT_NAMES_MAX, NULL, &box->names, ret_oom))
            return false;
        box->csr.alt_names = value;
    }
    return true;
}

static bool read_attributes(struct csr_box *box, struct der attributes, bool *ret_oom) {
    bool requested = false;
    while (!der_done(&attributes)) {
        struct der attribute, values;
        struct cs_bytes oid;
        struct der_value v;
        if (!der_enter(&attributes, DER_SEQUENCE, &attribute) || !der_take_oid(&attribute, &oid) ||
            !der_enter(&attribute, DER_SET, &values) || !der_done(&attribute))
            return false;
        for (struct der each = values; !der_done(&each);)
            if (!der_next(&each, &v) || !der_any_valid(&v))
                return false;
        if (!cs_bytes_equal(oid, OID_EXTENSION_REQUEST) && !cs_bytes_equal(oid, OID_MS_EXTENSIONS))
            continue;
        if (requested || !read_extensions(box, values, ret_oom))
            return false;
        requested = true;
    }
    return true;
}

struct fields {
    struct cs_bytes info, alg, sig, subject, spki;
    struct der attributes;
};

static bool split(struct cs_bytes der, struct fields *f) {
    struct der outer = der_of(der), request, info;
    struct der_value v;
    int version;
    if (!der_enter(&outer, DER_SEQUENCE, &request) || !der_done(&outer) || !der_next(&request, &v) ||
        v.tag != DER_SEQUENCE)
        return false;
    f->info = v.whole;
    info = der_of(v.content);
    if (!der_next(&request, &v) || v.tag != DER_SEQUENCE)
        return false;
    f->alg = v.whole;
    if (!der_take_octet_bits(&request, &f->sig) || !der_done(&request))
        return false;
    if (!der_take_small(&info, &version) || version != 0 || !der_next(&info, &v) || !name_valid(v.whole))
        return false;
    f->subject = v.whole;
    if (!der_next(&info, &v) || v.tag != DER_SEQUENCE)
        return false;
    f->spki = v.whole;
    f->attributes = der_of((struct cs_bytes){0});
    if (der_at(&info, DER_CONTEXT_CONSTRUCTED(0)) &&
        !der_enter(&info, DER_CONTEXT_CONSTRUCTED(0), &f->attributes))
        return false;
    return der_done(&info);
}

static bool fill(struct cs_crypto *c, const struct fields *f, struct csr_box *box, struct cs_err *err) {
    struct cs_csr *csr = &box->csr;
    struct sig_alg alg;
    bool oom = false;
    if (!read_attributes(box, f->attributes, &oom))
        return oom ? cs_err_oom(err) : malformed(err, "list of attributes");
    csr->names = box->names.names;
    csr->names_len = box->names.len;
    csr->spki = f->spki;
    if (!cs_pubkey_new(c, f->spki, &csr->key, err)) {
        if (err->code == CS_CODE_CERT_MALFORMED)
            malformed(err, "public key");
        return false;
    }
    csr->key_type = csr->key->type;
    csr->key_bits = csr->key->bits;
    memcpy(csr->spki_sha256, csr->key->sha256, 32);
    if (csr->key_type == CS_KEY_X25519)
        return cs_err_reject(err, CS_CODE_CERT_WEAK_KEY);
    if (!sig_alg_parse(f->alg, &alg))
        return malformed(err, "signature algorithm");
    if (alg.kind == SIG_WEAK)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_CSR_BAD_SIGNATURE,
                          "The certificate signing request is signed with a weak or unknown algorithm.%s%s",
                          alg.why ? " " : "", alg.why ? alg.why : "");
    if (!crypto_verify(c, csr->key, &alg, f->info, f->sig))
        return alg.kind == SIG_SM2 && crypto_sm2_empty_id(c, csr->key, f->info, f->sig)
                   ? cs_err_set(err, CS_ERR_REJECT, CS_CODE_CSR_BAD_SIGNATURE,
                                "The request is signed with the empty distinguishing id, which is OpenSSL's "
                                "default and not "
                                "SM2's; make it again: openssl req -new -sm3 -sigopt distid:1234567812345678 "
                                "-key KEY -out "
                                "NEW.")
                   : cs_err_reject(err, CS_CODE_CSR_BAD_SIGNATURE);
    name_format(f->subject, csr->subject_name, sizeof csr->subject_name);
    name_common(f->subject, csr->common_name, sizeof csr->common_name);
    return true;
}

bool cs_csr_parse(struct cs_crypto *c, struct cs_bytes der, struct cs_csr **ret, struct cs_err *err) {
    struct fields f = {0};
    if (der.len > CS_CSR_DER_MAX)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_CSR_MALFORMED,
                          "The certificate signing request cannot be read: it is larger than %d bytes.",
                          CS_CSR_DER_MAX);
    struct csr_box *box = calloc(1, sizeof *box + der.len);
    if (!box)
        return cs_err_oom(err);
    CS_AUTO(cs_csr_free) struct cs_csr *csr = &box->csr;
    if (der.len > 0)
        memcpy(box->der, der.data, der.len);
    csr->der = (struct cs_bytes){box->der, der.len};
    cs_crypto_sha256(c, der, csr->sha256);
    if (!split(csr->der, &f))
        return malformed(err, "form");
    if (!fill(c, &f, box, err))
        return false;
    *ret = CS_TAKE(csr);
    return true;
}

enum cs_code cs_csr_check(const struct cs_csr *csr) {
    return csr->names_len > 0 ? CS_CODE_NONE : CS_CODE_CSR_NO_NAME;
}

void cs_csr_free(struct cs_csr *csr) {
    if (!csr)
        return;
    cs_pubkey_free(csr->key);
    free(csr->names);
    free(csr); // the first member of its box
}
