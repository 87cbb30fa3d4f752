// SPDX-License-Identifier: Apache-2.0
//
// X.509 certificates (RFC 5280; SM2 after GM/T 0015): one DER certificate parsed once, and the
// checks of a leaf with its chain.
//
// A struct cs_cert proves that: the DER is one certificate without trailing bytes, at most
// CS_CERT_DER_MAX long; its version is 3 (or 1, if it is self-issued: an old root); the inner and
// the outer signature algorithm are the same, known and not weak; the public key is accepted by
// key.h; each extension is there once. Weak are MD5, SHA-1, and RSA-PSS unless it has SHA-2, MGF1
// of the same digest, and a salt of 20 bytes or more. Self-issued CA certificates may be weak. Our
// own strict DER reader reads it, never OpenSSL's. So the same bytes have the same verdict and text
// in every release. OpenSSL can read all that it accepts (tests/fuzz/fuzz_cert.c).
//
// A CA certificate may be shared with the context's memo; freeing is safe from any thread, parsing
// and checking as key.h says.
#pragma once

#include "certsync/model/codes.h"
#include "certsync/model/key.h"

#define CS_CERT_DER_MAX   (64 * 1024)
#define CS_CHAIN_MAX      10  // certificates in one event or file
#define CS_CERT_NAMES_MAX 100 // names kept for the view; more are counted, not listed

struct cs_cert {
    struct cs_bytes der;     // owned copy
    struct cs_bytes tbs;     // view into der: what the issuer signed
    struct cs_bytes subject; // view: DER of the Name
    struct cs_bytes issuer;  // view: DER of the Name
    struct cs_bytes spki;    // view
    // view: GeneralNames, whole, of the subject alternative names; data NULL where there are none
    struct cs_bytes alt_names;
    uint8_t sha256[32]; // fingerprint of the DER
    uint8_t spki_sha256[32];
    // lower case, no leading zeros beyond a byte; '-' before a negative one
    char serial_hex[CS_SERIAL_TEXT_SIZE];
    int64_t not_before_s;
    int64_t not_after_s;
    enum cs_key_type key_type;
    int key_bits;
    int version;         // 3, or 1 for a self-issued one (an old root)
    bool is_ca;          // basicConstraints CA:TRUE, or a version 1 self-issued certificate
    bool self_issued;    // subject equals issuer
    bool can_sign_certs; // is_ca, and keyCertSign where keyUsage is present
    uint32_t key_usage;  // X509v3 KeyUsage bits as OpenSSL's KU_ flags; UINT32_MAX where absent
    size_t names_total;  // subject alternative names: DNS, IP, e-mail, URI
    size_t names_len;
    // "www.example.com", "IP:192.0.2.1", "email:a@b", "URI:..." escaped; owned
    char **names;
    struct cs_pubkey *key;  // owned (may come from the context's memo for CA certificates)
    void *internal;         // of the module
    char common_name[256];  // UTF-8, "" where there is none; control characters escaped
    char issuer_name[512];  // one line, RFC 2253 form, UTF-8, for people
    char subject_name[512]; // the same
};

// REJECT codes: cert.malformed, cert.not_v3, cert.weak_key, cert.weak_signature,
// cert.explicit_curve.
CS_MUST_USE bool cs_cert_parse(struct cs_crypto *c, struct cs_bytes der, struct cs_cert **ret,
                               struct cs_err *err);
void cs_cert_free(struct cs_cert *cert);
CS_DEFINE_AUTO(struct cs_cert, cs_cert_free)

// True if issuer's name and key signed cert (names compared as in RFC 5280 section 7.1). A pure
// function of both DERs, memoised in c. Never true for a weak algorithm. The chain's rules check
// whether issuer may sign.
bool cs_cert_signed_by(struct cs_crypto *c, const struct cs_cert *cert, const struct cs_cert *issuer);

// The leaf's own rules, in this order: cert.not_v3, cert.is_ca, cert.algorithm, cert.no_name,
// cert.not_yet_valid, cert.expired. CS_CODE_NONE where all hold. now_s is the record's broker time
// in the consumer, the clock in the agent.
enum cs_code cs_leaf_check(const struct cs_cert *leaf, enum cs_algorithm algorithm, int64_t now_s);

// What clients will say of an accepted chain. It is about this path: another certificate of the
// same CA may be better.
struct cs_chain_facts {
    // CS_NOTE bits of what does not depend on the time; chain.incomplete: the leaf's issuer is
    // absent and the leaf is not self-signed (what that means is the account's limits' to say)
    uint32_t notes;
    int64_t starts_s,
        // when every CA certificate of the path is valid; INT64_MIN, INT64_MAX where there is none
        ends_s;
};

// A leaf with its chain, in the one order that this set of certificates has:
// - the leaf;
// - the shortest path from it to a root (a certificate that signed itself). If it leads to no root
//   in the set, the shortest path that nothing in the set continues. Each certificate is signed by
//   the next one. That is a CA certificate, with keyCertSign if it has a key usage, and its path length
//   holds (RFC 5280 section 6.1.4 k to n). Of two paths of one length, the first different members
//   decide: the one that ends later, then the one with the lesser SHA-256;
// - other links of some path from the leaf (a CA may be there as a root and cross-signed, or twice
//   while it is renewed): the nearer to the leaf first, then as above.
// A set with more than 24 pairs of a certificate and one with its issuer's name is refused
// unsearched (chain.stray).
//
// The consumer's check takes no other order. Codes: chain.stray (no link of any path), chain.broken
// (the same, and it has the name of an issuer that is missing: it did not sign, or may not),
// chain.order.
enum cs_code cs_chain_check(struct cs_crypto *c, struct cs_cert *const *certs, size_t n,
                            struct cs_chain_facts *ret);
// Of both chains of a pair.
void cs_chain_facts_add(struct cs_chain_facts *to, const struct cs_chain_facts *more);
// All notes at a time: the record's broker time in the consumer, the clock on a host.
uint32_t cs_chain_notes(const struct cs_chain_facts *f, int64_t now_s);
// For the agent: puts certs in this order, in place, and drops exact doubles. err names a stray or
// broken member. The leaf is the one certificate that is no CA. If key_spki is given, it is the one
// with that public key (key.mismatch if there is none).
CS_MUST_USE bool cs_chain_order(struct cs_crypto *c, struct cs_cert **certs, size_t *n,
                                struct cs_bytes key_spki, struct cs_err *err);

// SM2 pair: sm2.usage, sm2.same_key, sm2.subject; CS_CODE_NONE where it is one.
enum cs_code cs_sm2_pair_check(const struct cs_cert *sign, const struct cs_cert *encrypt);
