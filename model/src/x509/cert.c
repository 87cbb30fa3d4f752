// SPDX-License-Identifier: Apache-2.0
//
// One certificate, from bytes to struct cs_cert. der.h reads all of it; OpenSSL sees only the
// public key's point.
#include "x509/cert_impl.h"

#include <stddef.h>
#include <stdlib.h>

#include <openssl/x509v3.h> // KU_ names

#include "certsync/base/text.h"

#define EXTENSIONS_MAX 64
#define SERIAL_MAX     20

struct cert_box {
    struct cs_cert cert;
    struct cert_inside inside;
    uint8_t der[];
};

// The fields of TBSCertificate, as views.
struct fields {
    struct cs_bytes tbs, alg, sig;
    int version;
    struct cs_bytes serial; // as it is encoded
    struct cs_bytes issuer, subject, spki;
    int64_t not_before_s, not_after_s;
    struct cs_bytes extensions; // empty where absent
};

static bool malformed(struct cs_err *err, const char *part) {
    return cs_err_set(err, CS_ERR_REJECT, CS_CODE_CERT_MALFORMED,
                      "The certificate cannot be read: its %s is not as RFC 5280 has it.", part);
}

static bool take_whole(struct der *d, uint8_t tag, struct cs_bytes *ret) {
    struct der_value v;
    if (!der_at(d, tag) || !der_next(d, &v))
        return false;
    *ret = v.whole;
    return true;
}

static bool take_version(struct der *tbs, int *ret) {
    struct der v;
    *ret = 1;
    if (!der_at(tbs, DER_CONTEXT_CONSTRUCTED(0)))
        return true;
    if (!der_enter(tbs, DER_CONTEXT_CONSTRUCTED(0), &v) || !der_take_small(&v, ret) || !der_done(&v) ||
        *ret > 2)
        return false;
    (*ret)++;
    return true;
}

// RFC 5280 section 4.1.2.2: positive, at most 20 bytes. Negative and zero serials exist; they are
// shown, not refused.
static bool take_serial(struct der *tbs, struct cs_bytes *ret) {
    return der_take(tbs, DER_INTEGER, ret) && der_integer_valid(*ret) &&
           ret->len <= SERIAL_MAX + (ret->data[0] == 0);
}

static bool take_validity(struct der *tbs, struct fields *f) {
    struct der v;
    return der_enter(tbs, DER_SEQUENCE, &v) && der_take_time(&v, &f->not_before_s) &&
           der_take_time(&v, &f->not_after_s) && der_done(&v);
}

// issuerUniqueID, subjectUniqueID: BIT STRINGs that nobody uses. Extensions: [3] { SEQUENCE { ... }
// }.
static bool take_tail(struct der *tbs, struct fields *f) {
    struct der v;
    struct cs_bytes bits;
    for (int tag = 1; tag <= 2; tag++)
        if (der_at(tbs, (uint8_t)DER_CONTEXT(tag)) &&
            (f->version < 2 || !der_take(tbs, (uint8_t)DER_CONTEXT(tag), &bits) || !der_bits_valid(bits)))
            return false;
    if (der_at(tbs, DER_CONTEXT_CONSTRUCTED(3)))
        if (f->version != 3 || !der_enter(tbs, DER_CONTEXT_CONSTRUCTED(3), &v) ||
            !der_take(&v, DER_SEQUENCE, &f->extensions) || f->extensions.len == 0 || !der_done(&v))
            return false;
    return der_done(tbs);
}

static bool split(struct cs_bytes der, struct fields *f, struct cs_err *err) {
    struct der outer = der_of(der), cert, tbs;
    struct cs_bytes inner_alg;
    *f = (struct fields){0};
    if (!der_enter(&outer, DER_SEQUENCE, &cert) || !take_whole(&cert, DER_SEQUENCE, &f->tbs) ||
        !take_whole(&cert, DER_SEQUENCE, &f->alg) || !der_take_octet_bits(&cert, &f->sig) || !der_done(&cert))
        return malformed(err, "outer form");
    if (!der_done(&outer))
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_CERT_MALFORMED,
                          "The certificate cannot be read: other bytes follow it.");
    struct der tbs_outer = der_of(f->tbs);
    if (!der_enter(&tbs_outer, DER_SEQUENCE, &tbs) || !take_version(&tbs, &f->version))
        return malformed(err, "version");
    if (!take_serial(&tbs, &f->serial))
        return malformed(err, "serial number");
    if (!take_whole(&tbs, DER_SEQUENCE, &inner_alg) || !cs_bytes_equal(inner_alg, f->alg))
        return malformed(err, "signature algorithm");
    if (!take_whole(&tbs, DER_SEQUENCE, &f->issuer) || !name_valid(f->issuer))
        return malformed(err, "issuer");
    if (!take_validity(&tbs, f))
        return malformed(err, "validity");
    if (!take_whole(&tbs, DER_SEQUENCE, &f->subject) || !name_valid(f->subject))
        return malformed(err, "subject");
    if (!take_whole(&tbs, DER_SEQUENCE, &f->spki))
        return malformed(err, "public key");
    if (!take_tail(&tbs, f))
        return malformed(err, "list of unique ids or of extensions");
    return true;
}

static bool read_alt_names(struct cert_box *box, struct cs_bytes value, struct cs_err *err) {
    bool oom;
    if (!san_parse(value, CS_CERT_NAMES_MAX, box->inside.region, &box->inside.names, &oom))
        return oom ? cs_err_oom(err) : malformed(err, "subject alternative name");
    box->cert.alt_names = value;
    box->cert.names = box->inside.names.names;
    box->cert.names_len = box->inside.names.len;
    box->cert.names_total = box->inside.names.total;
    return true;
}

static bool read_extensions(struct cert_box *box, struct cs_bytes extensions, struct cs_err *err) {
    struct der list = der_of(extensions), ext;
    struct cs_bytes seen[EXTENSIONS_MAX], value;
    const char *part = NULL;
    for (size_t n = 0; !der_done(&list); n++) {
        bool critical = false;
        if (n == EXTENSIONS_MAX || !der_enter(&list, DER_SEQUENCE, &ext) || !der_take_oid(&ext, &seen[n]) ||
            (der_at(&ext, DER_BOOLEAN) && !der_take_boolean(&ext, &critical)) ||
            !der_take(&ext, DER_OCTET_STRING, &value) || !der_done(&ext))
            return malformed(err, "list of extensions");
        for (size_t i = 0; i < n; i++)
            if (cs_bytes_equal(seen[i], seen[n]))
                return malformed(err, "list of extensions"); // section 4.2: each once
        if (!ext_read(seen[n], critical, value, &box->inside.ext, &part))
            return malformed(err, part);
        if (ext_is_alt_name(seen[n]) && !read_alt_names(box, value, err))
            return false;
    }
    return true;
}

// As OpenSSL shows it: the magnitude, with '-' in front of a negative number.
static void put_serial(struct cs_bytes number, char out[CS_SERIAL_TEXT_SIZE]) {
    uint8_t magnitude[SERIAL_MAX + 1];
    bool negative = number.data[0] >= 0x80;
    unsigned carry = 1;
    for (size_t i = number.len; i > 0; i--) {
        unsigned byte = negative ? (uint8_t)~number.data[i - 1] + carry : number.data[i - 1];
        magnitude[i - 1] = (uint8_t)byte;
        carry = byte >> 8;
    }
    size_t skip = number.len > 1 && magnitude[0] == 0;
    if (negative)
        *out++ = '-';
    cs_hex_encode(magnitude + skip, number.len - skip, out);
}

static bool fill(struct cs_crypto *c, const struct fields *f, struct cert_box *box, struct cs_err *err) {
    struct cs_cert *cert = &box->cert;
    cert->tbs = f->tbs;
    cert->subject = f->subject;
    cert->issuer = f->issuer;
    cert->spki = f->spki;
    put_serial(f->serial, cert->serial_hex);
    cert->not_before_s = f->not_before_s;
    cert->not_after_s = f->not_after_s;
    cert->self_issued = name_equal(f->subject, f->issuer);
    cert->version = f->version;
    box->inside.ext = (struct ext_facts){.path_len = -1, .key_usage = UINT32_MAX};
    box->inside.sig = f->sig;
    box->inside.serial = f->serial;
    if (!read_extensions(box, f->extensions, err))
        return false;
    if (box->inside.ext.precertificate)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_CERT_MALFORMED,
                          "It is a precertificate (RFC 6962), which no client accepts; use the certificate "
                          "that the CA issued "
                          "with it.");
    cert->is_ca = box->inside.ext.is_ca;
    cert->key_usage = box->inside.ext.key_usage;
    if (f->version != 3 && !(f->version == 1 && cert->self_issued))
        return cs_err_reject(err, CS_CODE_CERT_NOT_V3);
    if (f->version == 1)
        cert->is_ca = true;
    cert->can_sign_certs = cert->is_ca && (cert->key_usage & KU_KEY_CERT_SIGN);
    if (!sig_alg_parse(f->alg, &box->inside.alg))
        return malformed(err, "signature algorithm");
    // A root's own signature proves nothing, and old roots have SHA-1 ones.
    if (box->inside.alg.kind == SIG_WEAK && !(cert->self_issued && cert->is_ca))
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_CERT_WEAK_SIGNATURE, "%s%s%s",
                          cs_code_sentence(CS_CODE_CERT_WEAK_SIGNATURE), box->inside.alg.why ? " " : "",
                          box->inside.alg.why ? box->inside.alg.why : "");
    if (!pubkey_new_into(c, f->spki, box->inside.region, &cert->key, err))
        return false;
    cert->key_type = cert->key->type;
    cert->key_bits = cert->key->bits;
    if (cert->key_type == CS_KEY_X25519) // it signs nothing, so nobody can prove possession of it
        return cs_err_reject(err, CS_CODE_CERT_WEAK_KEY);
    memcpy(cert->spki_sha256, cert->key->sha256, 32);
    name_common(f->subject, cert->common_name, sizeof cert->common_name);
    name_format(f->subject, cert->subject_name, sizeof cert->subject_name);
    name_format(f->issuer, cert->issuer_name, sizeof cert->issuer_name);
    return true;
}

bool cs_cert_parse(struct cs_crypto *c, struct cs_bytes der, struct cs_cert **ret, struct cs_err *err) {
    return cert_parse_into(c, der, NULL, ret, err);
}

bool cert_parse_into(struct cs_crypto *c, struct cs_bytes der, struct cs_region *region, struct cs_cert **ret,
                     struct cs_err *err) {
    uint8_t sha256[32];
    struct fields f;
    if (der.len > CS_CERT_DER_MAX)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_CERT_MALFORMED,
                          "The certificate cannot be read: it is larger than %d bytes.", CS_CERT_DER_MAX);
    cs_crypto_sha256(c, der, sha256);
    struct cs_cert *known = memo_cert_get(c, sha256);
    if (known) {
        *ret = known;
        return true;
    }
    struct cert_box *box = cs_region_take(region, sizeof *box + der.len);
    if (!box)
        return cs_err_oom(err);
    memset(&box->cert, 0, offsetof(struct cs_cert, common_name)); // the names behind it are always written
    memset(&box->inside, 0, sizeof box->inside);
    box->inside.region = region;
    CS_AUTO(cs_cert_free) struct cs_cert *cert = &box->cert;
    cert->internal = &box->inside;
    atomic_init(&box->inside.refs, 1);
    if (der.len > 0)
        memcpy(box->der, der.data, der.len);
    cert->der = (struct cs_bytes){box->der, der.len};
    memcpy(cert->sha256, sha256, sizeof sha256);
    if (!split(cert->der, &f, err) || !fill(c, &f, box, err))
        return false;
    if (cert->is_ca && !region)
        memo_cert_put(c, cert);
    *ret = CS_TAKE(cert);
    return true;
}

struct cs_cert *cert_ref(struct cs_cert *cert) {
    struct cert_inside *inside = cert->internal;
    atomic_fetch_add_explicit(&inside->refs, 1, memory_order_relaxed);
    return cert;
}

void cs_cert_free(struct cs_cert *cert) {
    if (!cert)
        return;
    struct cert_inside *inside = cert->internal;
    if (atomic_fetch_sub_explicit(&inside->refs, 1, memory_order_acq_rel) != 1)
        return;
    cs_pubkey_free(cert->key);
    if (inside->region)
        return;
    free(inside->names.names);
    free(cert); // the first member of its box
}
