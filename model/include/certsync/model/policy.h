// SPDX-License-Identifier: Apache-2.0
//
// What an account's admins let into it (account.register, account.update): its policy. Each member is
// one demand; a member that is empty demands nothing. A policy is about what comes: what is registered
// already stays as it is, and may be sent again; its next version must fit. It does not look at what
// other accounts share in. Pure functions: the consumer judges by them, hosts and the API tell by them
// what would be judged.
//
//   keys       types of keys that certificates and requests may have: "RSA-<bits>" (at least so many),
//              "P-256", "P-384", "P-521", "Ed25519", "SM2"
//   days       a certificate's longest lifetime: notAfter - notBefore, at most so many times 86,400 s
//   issuers    who issued it, one of: "spki:<SHA-256 in hex>", the key of a CA certificate that came in
//              the chain (each link of it is checked: this is proof); "name:<pattern>", the leaf's issuer
//              as it is shown (RFC 2253), '*' for any characters. Anybody can make a CA of any name, so a
//              name helps against mistakes only
//   dns        hosts that it may name (dns.h)
//   wildcards  "reject": no wildcard names
#pragma once

#include "certsync/base/buf.h"
#include "certsync/model/codes.h"
#include "certsync/model/dns.h"

#define CS_POLICY_DAYS_MAX    36500
#define CS_POLICY_ISSUER_MAX  255  // bytes of one
#define CS_POLICY_ISSUERS_MAX 2047 // bytes of all, and one between each two
#define CS_RSA_BITS_MIN       2048
#define CS_RSA_BITS_MAX       8192

struct cs_policy_keys {
    unsigned types;   // bits: 1 << enum cs_key_type. 0: every one
    int32_t rsa_bits; // where RSA is among them
};

struct cs_policy {
    struct cs_policy_keys keys;
    int64_t days;                            // 0: any
    char issuers[CS_POLICY_ISSUERS_MAX + 1]; // one a line, as dns. "": any
    cs_dns_patterns dns;
    bool no_wildcards;
};
bool cs_policy_is_empty(const struct cs_policy *p);
bool cs_policy_equal(const struct cs_policy *a, const struct cs_policy *b);
bool cs_policy_issuer_valid(const char *s, size_t len);
// JSON: the members above, those that demand nothing left out. Reads any JSON of that form (an answer of
// the API); err is what the reader says of it.
void cs_policy_encode(struct cs_buf *b, const struct cs_policy *p);
CS_MUST_USE bool cs_policy_decode(struct cs_bytes json, struct cs_policy *ret, struct cs_err *err);
// Adds "P-256", "RSA-3072". False: it is none, or is there already.
CS_MUST_USE bool cs_policy_keys_add(struct cs_policy_keys *k, const char *s, size_t len);
// The name of a type as cs_policy_keys_add reads it.
#define CS_POLICY_KEY_SIZE 12
void cs_policy_key_text(const struct cs_policy_keys *k, enum cs_key_type type, char out[CS_POLICY_KEY_SIZE]);

// Each: whether it fits. What does not is told in detail (CS_POLICY_DETAIL_SIZE), in words of our own
// and, where they are plain ASCII, of the certificate.
#define CS_POLICY_DETAIL_SIZE 161
bool cs_policy_key_fits(const struct cs_policy *p, enum cs_key_type type, int bits,
                        char detail[CS_POLICY_DETAIL_SIZE]);
bool cs_policy_lifetime_fits(const struct cs_policy *p, int64_t not_before_s, int64_t not_after_s,
                             char detail[CS_POLICY_DETAIL_SIZE]);
// spki_sha256: of the CA certificates in the chain
bool cs_policy_issuer_fits(const struct cs_policy *p, const char *issuer_name,
                           const uint8_t (*spki_sha256)[32], size_t n);
bool cs_policy_hosts_fit(const char *patterns, struct cs_hosts hosts, char detail[CS_POLICY_DETAIL_SIZE]);
bool cs_policy_wildcards_fit(const struct cs_policy *p, struct cs_hosts hosts,
                             char detail[CS_POLICY_DETAIL_SIZE]);

// All of it, in the order of the rules: policy.key, policy.lifetime, policy.issuer, policy.dns,
// policy.wildcard; CS_CODE_NONE where it fits. certs: a chain, the leaf first.
enum cs_code cs_policy_check_chain(const struct cs_policy *p, struct cs_cert *const *certs, size_t n,
                                   char detail[CS_POLICY_DETAIL_SIZE]);
enum cs_code cs_policy_check_csr(const struct cs_policy *p, const struct cs_csr *csr,
                                 char detail[CS_POLICY_DETAIL_SIZE]);
