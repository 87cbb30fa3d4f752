// SPDX-License-Identifier: Apache-2.0
//
// Reading what people have in files: PEM (RFC 7468, read generously) into certificates, keys and
// requests.
//
// Generous in form: CRLF, BOM, text around the blocks, bag attributes, EC PARAMETERS before the
// key, PKCS#1, SEC1, PKCS#8, "SM2 PRIVATE KEY", TRUSTED CERTIFICATE, NEW CERTIFICATE REQUEST. Exact
// in errors: each has its sentence, and the openssl command that mends it. These are: nothing in
// the file, DER instead of PEM, PKCS#12, PKCS#7, JKS, an encrypted key (key.encrypted), a
// certificate where a key was wanted and the reverse, a truncated block, a public key where a
// private one was wanted, line breaks lost, written out as \n or turned into spaces, PEM within
// JSON, UTF-16, wrong dashes, more than one key (key.many), more than CS_CHAIN_MAX certificates
// (cert.too_many), more than CS_PEM_FILE_MAX bytes. No message quotes the file: the text between
// its dashes may be the key.
// The password callback always refuses: nothing prompts, no PBKDF2 is run.
#pragma once

#include "certsync/model/cert.h"
#include "certsync/model/csr.h"

#define CS_PEM_FILE_MAX (256 * 1024)

// label (a file name, "standard input") begins each message. All REJECT with a code; messages are
// for people. Certificates in the order of the file, at least one. The array and its members are
// the caller's (cs_certs_free).
CS_MUST_USE bool cs_pem_certs(struct cs_crypto *c, const char *label, struct cs_bytes text,
                              struct cs_cert ***ret, size_t *ret_n, struct cs_err *err);
void cs_certs_free(struct cs_cert **certs, size_t n);
// The one private key. Not found: key.missing with a sentence that says what was found instead.
CS_MUST_USE bool cs_pem_privkey(struct cs_crypto *c, const char *label, struct cs_bytes text,
                                struct cs_privkey **ret, struct cs_err *err);
// A "PUBLIC KEY" (agent keys, custodian keys, root key), SPKI DER malloc'ed. A private key's file
// is refused, and the message says how to make its public half: whoever needs a public key should
// not have the private one. REJECT key.malformed.
CS_MUST_USE bool cs_pem_spki(struct cs_crypto *c, const char *label, struct cs_bytes text, uint8_t **ret,
                             size_t *ret_len, struct cs_err *err);
// The one CSR. REJECT csr.malformed, csr.bad_signature.
CS_MUST_USE bool cs_pem_csr(struct cs_crypto *c, const char *label, struct cs_bytes text, struct cs_csr **ret,
                            struct cs_err *err);
// PEM text of a certificate or request DER; malloc'ed.
CS_MUST_USE bool cs_pem_encode(const char *type, struct cs_bytes der, char **ret, struct cs_err *err);
