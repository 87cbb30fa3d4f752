// SPDX-License-Identifier: Apache-2.0
#include "certsync/model/pem.h"

#include <stdlib.h>

#include <openssl/crypto.h>

#include "certsync/base/secret.h"
#include "certsync/base/text.h"
#include "crypto/privkey.h"
#include "x509/pem_block.h"
#include "x509/pem_damage.h"

#define NAMED_CURVE_OID_MAX 16

// What the caller wants, and the codes for a file without it.
struct wanted {
    const char *noun;
    const char *check;      // a command that succeeds on a file with one
    const char *bare;       // what to do with base64 alone
    enum cs_code missing;   // something else is in the file
    enum cs_code malformed; // it is there, but broken or in another container
};
static const struct wanted want_certs = {"a certificate", "openssl x509 -in FILE -noout -subject",
                                         "the file is base64 without its BEGIN and END lines; if that is a "
                                         "certificate, this makes PEM of it: base64 -di OLD | "
                                         "openssl x509 -inform DER -out NEW",
                                         CS_CODE_CERT_MALFORMED, CS_CODE_CERT_MALFORMED};
static const struct wanted want_key = {"a private key", "openssl pkey -in FILE -noout",
                                       "the file is base64 without its BEGIN and END lines; if that is a "
                                       "private key, this makes PEM of it: base64 -di OLD | "
                                       "openssl pkey -inform DER -out NEW",
                                       CS_CODE_KEY_MISSING, CS_CODE_KEY_MALFORMED};
static const struct wanted want_spki = {"a public key", "openssl pkey -pubin -in FILE -noout",
                                        "the file is base64 without its BEGIN and END lines; if that is a "
                                        "public key, this makes PEM of it: base64 -di OLD | "
                                        "openssl pkey -pubin -inform DER -pubout -out NEW",
                                        CS_CODE_KEY_MALFORMED, CS_CODE_KEY_MALFORMED};
static const struct wanted want_csr = {"a certificate signing request", "openssl req -in FILE -noout -verify",
                                       "the file is base64 without its BEGIN and END lines; if that is a "
                                       "request, this makes PEM of it: base64 -di OLD | "
                                       "openssl req -inform DER -out NEW",
                                       CS_CODE_CSR_MALFORMED, CS_CODE_CSR_MALFORMED};

// Every message begins with the file's name, cut and escaped. But a key that was given for a name
// is not shown.
static bool named(struct cs_err *err, const char *label) {
    char shown[256];
    cs_secret_show(label, strlen(label), shown, sizeof shown);
    return cs_err_prepend(err, "%s", shown);
}

static const char *guess_sentence(const struct wanted *w, enum pem_guess g) {
    switch (g) {
    case GUESS_EMPTY:
        return "the file is empty";
    case GUESS_DER_CERT:
        return "the file is a certificate in DER, not PEM; convert it: openssl x509 -inform DER -in OLD -out "
               "NEW";
    case GUESS_DER_CSR:
        return "the file is a certificate signing request in DER, not PEM; convert it: openssl req -inform "
               "DER -in OLD -out NEW";
    case GUESS_DER_KEY:
        return "the file is a private key in DER, not PEM; convert it: openssl pkey -inform DER -in OLD -out "
               "NEW";
    case GUESS_DER_ENCRYPTED_KEY:
        return "the file is an encrypted private key in DER; decrypt it: openssl pkcs8 -inform DER -in OLD "
               "-out NEW";
    case GUESS_DER_PUBLIC_KEY:
        return "the file is a public key in DER, not PEM; convert it: openssl pkey -pubin -inform DER -in "
               "OLD -pubout -out NEW";
    case GUESS_PKCS12:
        return "the file is PKCS#12 (.p12, .pfx); take it apart: openssl pkcs12 -in OLD -nodes -out NEW";
    case GUESS_PKCS7:
        return "the file is PKCS#7 (.p7b) in DER, which holds no key; take it apart: openssl pkcs7 -inform "
               "DER -in OLD "
               "-print_certs -out NEW";
    case GUESS_JKS:
        return "the file is a Java key store; take it apart: keytool -importkeystore -srckeystore OLD "
               "-destkeystore NEW.p12 "
               "-deststoretype pkcs12, then: openssl pkcs12 -in NEW.p12 -nodes -out NEW";
    case GUESS_PUTTY:
        return "the file is a PuTTY key, which belongs to no certificate";
    case GUESS_UTF16:
        return "the file is UTF-16 text; make ASCII of it: iconv -f UTF-16 -t ASCII OLD > NEW";
    case GUESS_UTF16LE:
        return "the file is UTF-16 text without a byte order mark; make ASCII of it: iconv -f UTF-16LE -t "
               "ASCII OLD > "
               "NEW";
    case GUESS_UTF16BE:
        return "the file is UTF-16 text without a byte order mark; make ASCII of it: iconv -f UTF-16BE -t "
               "ASCII OLD > "
               "NEW";
    case GUESS_BARE_BASE64:
        return w->bare;
    case GUESS_UNKNOWN:
        break;
    }
    return "there is no PEM block (-----BEGIN …-----) in the file";
}

static enum cs_code guess_code(const struct wanted *w, enum pem_guess g) {
    if (w != &want_key)
        return w->missing;
    switch (g) {
    case GUESS_DER_ENCRYPTED_KEY:
        return CS_CODE_KEY_ENCRYPTED;
    case GUESS_DER_KEY:
    case GUESS_PKCS12:
    case GUESS_JKS:
    case GUESS_UTF16:
    case GUESS_UTF16LE:
    case GUESS_UTF16BE:
    case GUESS_BARE_BASE64:
        return CS_CODE_KEY_MALFORMED;
    case GUESS_EMPTY:
    case GUESS_DER_CERT:
    case GUESS_DER_CSR:
    case GUESS_DER_PUBLIC_KEY:
    case GUESS_PKCS7:
    case GUESS_PUTTY:
    case GUESS_UNKNOWN:
        break;
    }
    return w->missing;
}

// What to say of a block that is not what was wanted; NULL for blocks that say nothing.
static const char *block_sentence(const struct pem_block *b) {
    if (pem_is(b, "ENCRYPTED PRIVATE KEY") || b->encrypted)
        return "an encrypted private key";
    if (pem_is(b, "OPENSSH PRIVATE KEY"))
        return "an OpenSSH private key (convert it: ssh-keygen -p -m PKCS8 -f FILE)";
    if (pem_ends_with(b, "PRIVATE KEY"))
        return "a private key";
    if (pem_ends_with(b, "PUBLIC KEY"))
        return "a public key";
    if (pem_ends_with(b, "CERTIFICATE REQUEST"))
        return "a certificate signing request";
    if (pem_ends_with(b, "CERTIFICATE"))
        return "a certificate";
    if (pem_is(b, "PKCS7") || pem_is(b, "CMS"))
        return "PKCS#7 (take it apart: openssl pkcs7 -in OLD -print_certs -out NEW)";
    if (pem_is(b, "X509 CRL"))
        return "a revocation list";
    if (pem_ends_with(b, "PARAMETERS"))
        return "key parameters only";
    return NULL;
}

static bool reject(struct cs_err *err, const char *label, enum cs_code code, const char *sentence) {
    cs_err_set(err, CS_ERR_REJECT, code, "%s.", sentence);
    return named(err, label);
}

// The file has nothing of what was wanted: says what it has.
static bool nothing(const struct wanted *w, const char *label, struct cs_bytes text, struct cs_err *err) {
    struct pem_reader r = pem_open(text);
    struct pem_block b;
    const char *found = NULL;
    bool any = false;
    enum pem_damage damage = pem_damage(text);
    if (damage != DAMAGE_NONE)
        return reject(err, label, w->malformed, pem_damage_sentence(damage));
    while (!found && pem_next(&r, &b) == PEM_BLOCK) {
        any = true;
        found = block_sentence(&b);
    }
    if (!any) {
        enum pem_guess g = pem_guess(text);
        return reject(err, label, guess_code(w, g), guess_sentence(w, g));
    }
    enum cs_code code =
        w == &want_key && found && strstr(found, "OpenSSH") ? CS_CODE_KEY_MALFORMED : w->missing;
    if (w == &want_spki && found && strstr(found, "private key"))
        return reject(err, label, w->missing,
                      "the file holds a private key, where a public key was wanted; name the public key's "
                      "file, which this "
                      "makes: openssl pkey -in OLD -pubout -out NEW");
    cs_err_set(err, CS_ERR_REJECT, code,
               "the file holds %s, where %s was wanted; this passes on the right file: %s.",
               found ? found : "something else", w->noun, w->check);
    return named(err, label);
}

static bool truncated(const struct wanted *w, const char *label, struct cs_bytes text,
                      const struct pem_block *b, struct cs_err *err) {
    enum pem_damage damage = pem_damage(text);
    if (damage != DAMAGE_NONE)
        return reject(err, label, w->malformed, pem_damage_sentence(damage));
    const char *what = block_sentence(b); // never the label: the file chose it
    cs_err_set(err, CS_ERR_REJECT, w->malformed,
               "%s begins in the file, but no END line of its kind follows: the file is damaged or was cut; "
               "copy it again, "
               "until this passes: %s.",
               what ? what : "a block", w->check);
    return named(err, label);
}

static bool within_limit(const struct wanted *w, const char *label, struct cs_bytes text,
                         struct cs_err *err) {
    if (text.len <= CS_PEM_FILE_MAX)
        return true;
    cs_err_set(err, CS_ERR_REJECT, w->malformed, "the file is larger than %d KiB.", CS_PEM_FILE_MAX / 1024);
    return named(err, label);
}

// A block's bytes, of secure memory (keys) or not.
static bool block_bytes(const struct wanted *w, const char *label, const struct pem_block *b, uint8_t **ret,
                        size_t *ret_len, struct cs_err *err) {
    uint8_t *out = OPENSSL_secure_malloc(b->body_len + 1);
    if (!out)
        return cs_err_oom(err);
    if (pem_decode(b, out, ret_len) && *ret_len > 0) {
        *ret = out;
        return true;
    }
    OPENSSL_secure_clear_free(out, b->body_len + 1);
    return reject(err, label, w->malformed,
                  memchr(b->body, '\\', b->body_len)
                      ? pem_damage_sentence(DAMAGE_ESCAPED)
                      : "a block is not base64: the file is damaged; copy it again");
}

static bool is_cert(const struct pem_block *b) {
    return pem_is(b, "CERTIFICATE") || pem_is(b, "X509 CERTIFICATE") || pem_is(b, "TRUSTED CERTIFICATE");
}

// OpenSSL's trust settings follow a TRUSTED CERTIFICATE. They are left out.
static struct cs_bytes first_value(const struct pem_block *b, struct cs_bytes der) {
    struct der d = der_of(der);
    struct der_value v;
    return pem_is(b, "TRUSTED CERTIFICATE") && der_next(&d, &v) ? v.whole : der;
}

static bool read_cert(struct cs_crypto *c, const char *label, const struct pem_block *b, size_t number,
                      struct cs_cert **ret, struct cs_err *err) {
    uint8_t *der;
    size_t len;
    if (!block_bytes(&want_certs, label, b, &der, &len, err))
        return false;
    bool ok = cs_cert_parse(c, first_value(b, (struct cs_bytes){der, len}), ret, err);
    OPENSSL_secure_clear_free(der, b->body_len + 1);
    if (!ok) {
        cs_err_prepend(err, "certificate %zu of the file", number);
        named(err, label);
    }
    return ok;
}

void cs_certs_free(struct cs_cert **certs, size_t n) {
    for (size_t i = 0; certs && i < n; i++)
        cs_cert_free(certs[i]);
    free(certs);
}

static bool read_certs(struct cs_crypto *c, const char *label, struct cs_bytes text, struct cs_cert **certs,
                       size_t *n, struct cs_err *err) {
    struct pem_reader r = pem_open(text);
    struct pem_block b;
    enum pem_step step;
    while ((step = pem_next(&r, &b)) == PEM_BLOCK) {
        if (!is_cert(&b))
            continue;
        if (*n == CS_CHAIN_MAX) {
            cs_err_reject(err, CS_CODE_CERT_TOO_MANY);
            return named(err, label);
        }
        if (!read_cert(c, label, &b, *n + 1, &certs[*n], err))
            return false;
        (*n)++;
    }
    if (step == PEM_TRUNCATED)
        return truncated(&want_certs, label, text, &b, err);
    return *n > 0 || nothing(&want_certs, label, text, err);
}

bool cs_pem_certs(struct cs_crypto *c, const char *label, struct cs_bytes text, struct cs_cert ***ret,
                  size_t *ret_n, struct cs_err *err) {
    size_t n = 0;
    if (!within_limit(&want_certs, label, text, err))
        return false;
    struct cs_cert **certs = calloc(CS_CHAIN_MAX, sizeof(struct cs_cert *));
    if (!certs)
        return cs_err_oom(err);
    if (!read_certs(c, label, text, certs, &n, err)) {
        cs_certs_free(certs, n);
        return false;
    }
    *ret = certs;
    *ret_n = n;
    return true;
}

static bool is_key(const struct pem_block *b) {
    return pem_ends_with(b, "PRIVATE KEY") && !pem_is(b, "OPENSSH PRIVATE KEY");
}

// The OBJECT IDENTIFIER of an EC PARAMETERS block, for a key after it that names no curve.
struct prelude {
    uint8_t oid[NAMED_CURVE_OID_MAX];
    size_t len;
};

static void read_prelude(const struct pem_block *b, struct prelude *ret) {
    uint8_t der[64];
    size_t len;
    struct cs_bytes oid;
    if (b->body_len > sizeof der || !pem_decode(b, der, &len))
        return;
    struct der d = der_of((struct cs_bytes){der, len});
    if (!der_take_oid(&d, &oid) || oid.len > sizeof ret->oid)
        return;
    memcpy(ret->oid, oid.data, oid.len);
    ret->len = oid.len;
}

// PBES2 with an HMAC-SM3 below PBKDF2 (1.2.156.10197.1.401.*).
static bool encrypted_with_sm3(const char *label, const struct pem_block *b) {
    static const struct cs_bytes hmac_sm3 = DER_INIT("\x2a\x81\x1c\xcf\x55\x01\x83\x11");
    struct cs_err ignored;
    uint8_t *der;
    size_t len;
    if (b->encrypted || !block_bytes(&want_key, label, b, &der, &len, &ignored))
        return false;
    bool found = false;
    for (size_t i = 0; i + hmac_sm3.len <= len && !found; i++)
        found = memcmp(der + i, hmac_sm3.data, hmac_sm3.len) == 0;
    OPENSSL_secure_clear_free(der, b->body_len + 1);
    return found;
}

static bool read_key(const char *label, const struct pem_block *b, const struct prelude *prelude,
                     struct cs_privkey **ret, struct cs_err *err) {
    uint8_t *der;
    size_t len;
    if (b->encrypted || pem_is(b, "ENCRYPTED PRIVATE KEY")) {
        cs_err_set(err, CS_ERR_REJECT, CS_CODE_KEY_ENCRYPTED, "the private key is encrypted%s.",
                   encrypted_with_sm3(label, b)
                       ? " with a key derived by HMAC-SM3 (GmSSL's way), which OpenSSL cannot open; decrypt "
                         "it with the GmSSL "
                         "library, or make a new one: openssl genpkey -algorithm SM2 -out NEW"
                       : "; decrypt it: openssl pkey -in OLD -out NEW");
        return named(err, label);
    }
    if (pem_is(b, "DSA PRIVATE KEY")) {
        spki_refuse(err, CS_CODE_CERT_WEAK_KEY, spki_why_kind(DER_BYTES("\x2a\x86\x48\xce\x38\x04\x01")));
        return named(err, label);
    }
    if (!block_bytes(&want_key, label, b, &der, &len, err))
        return false;
    struct cs_bytes curve = {prelude->oid, prelude->len};
    if (curve.len == 0 && pem_is(b, "SM2 PRIVATE KEY"))
        curve = DER_BYTES("\x2a\x81\x1c\xcf\x55\x01\x82\x2d");
    bool ok = privkey_read((struct cs_bytes){der, len}, curve, ret, err);
    OPENSSL_secure_clear_free(der, b->body_len + 1);
    if (!ok)
        named(err, label);
    return ok;
}

// The block of the one key, and the prelude before it.
static bool find_key(const char *label, struct cs_bytes text, struct pem_block *ret, struct prelude *prelude,
                     struct cs_err *err) {
    struct pem_reader r = pem_open(text);
    struct pem_block b;
    enum pem_step step;
    size_t keys = 0;
    while ((step = pem_next(&r, &b)) == PEM_BLOCK) {
        if (pem_ends_with(&b, " PARAMETERS") && keys == 0)
            read_prelude(&b, prelude);
        if (is_key(&b) && keys++ == 0)
            *ret = b;
    }
    if (keys > 1) {
        cs_err_reject(err, CS_CODE_KEY_MANY);
        return named(err, label);
    }
    if (step == PEM_TRUNCATED)
        return truncated(&want_key, label, text, &b, err);
    return keys == 1 || nothing(&want_key, label, text, err);
}

bool cs_pem_privkey(struct cs_crypto *c, const char *label, struct cs_bytes text, struct cs_privkey **ret,
                    struct cs_err *err) {
    struct pem_block b;
    struct prelude prelude = {.len = 0};
    (void)c;
    return within_limit(&want_key, label, text, err) && find_key(label, text, &b, &prelude, err) &&
           read_key(label, &b, &prelude, ret, err);
}

static bool spki_of_block(struct cs_crypto *c, const char *label, const struct pem_block *b, uint8_t **ret,
                          size_t *ret_len, struct cs_err *err) {
    CS_AUTO(cs_pubkey_free) struct cs_pubkey *key = NULL;
    uint8_t *der, *copy = NULL;
    size_t len;
    if (!block_bytes(&want_spki, label, b, &der, &len, err))
        return false;
    bool ok = cs_pubkey_new(c, (struct cs_bytes){der, len}, &key, err);
    if (!ok && err->kind == CS_ERR_REJECT)
        reject(err, label, CS_CODE_KEY_MALFORMED,
               err->code == CS_CODE_CERT_WEAK_KEY
                   ? "the public key is too weak or of a kind that is not accepted"
                   : "the public key cannot be read");
    if (ok && !(copy = malloc(len)))
        ok = cs_err_oom(err);
    if (ok) {
        memcpy(copy, der, len);
        *ret = copy;
        *ret_len = len;
    }
    OPENSSL_secure_clear_free(der, b->body_len + 1);
    return ok;
}

bool cs_pem_spki(struct cs_crypto *c, const char *label, struct cs_bytes text, uint8_t **ret, size_t *ret_len,
                 struct cs_err *err) {
    struct pem_reader r = pem_open(text);
    struct pem_block b, found;
    enum pem_step step;
    size_t keys = 0;
    if (!within_limit(&want_spki, label, text, err))
        return false;
    while ((step = pem_next(&r, &b)) == PEM_BLOCK) {
        if (pem_is(&b, "PUBLIC KEY") && keys++ == 0)
            found = b;
    }
    if (step == PEM_TRUNCATED)
        return truncated(&want_spki, label, text, &b, err);
    if (keys > 1)
        return reject(err, label, CS_CODE_KEY_MALFORMED, "the file holds more than one public key");
    if (keys == 1)
        return spki_of_block(c, label, &found, ret, ret_len, err);
    return nothing(&want_spki, label, text, err);
}

bool cs_pem_csr(struct cs_crypto *c, const char *label, struct cs_bytes text, struct cs_csr **ret,
                struct cs_err *err) {
    struct pem_reader r = pem_open(text);
    struct pem_block b, found;
    enum pem_step step;
    uint8_t *der;
    size_t n = 0, len;
    if (!within_limit(&want_csr, label, text, err))
        return false;
    while ((step = pem_next(&r, &b)) == PEM_BLOCK)
        if ((pem_is(&b, "CERTIFICATE REQUEST") || pem_is(&b, "NEW CERTIFICATE REQUEST")) && n++ == 0)
            found = b;
    if (step == PEM_TRUNCATED)
        return truncated(&want_csr, label, text, &b, err);
    if (n > 1)
        return reject(err, label, CS_CODE_CSR_MALFORMED,
                      "the file holds more than one certificate signing request");
    if (n == 0)
        return nothing(&want_csr, label, text, err);
    if (!block_bytes(&want_csr, label, &found, &der, &len, err))
        return false;
    bool ok = cs_csr_parse(c, (struct cs_bytes){der, len}, ret, err);
    OPENSSL_secure_clear_free(der, found.body_len + 1);
    if (!ok)
        named(err, label);
    return ok;
}
