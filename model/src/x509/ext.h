// SPDX-License-Identifier: Apache-2.0
//
// Extensions (RFC 5280 section 4.2): those that OpenSSL or Go read in every certificate. If one is
// malformed, the certificate is useless to them. chain.c has what clients then do with them.
#pragma once

#include "der.h"
#include "x509/name.h"

// What a certificate's extensions say, as views.
struct ext_facts {
    bool is_ca;
    int path_len;       // -1: no limit
    uint32_t key_usage; // as cert.h has it
    struct cs_bytes subject_key_id;
    struct cs_bytes issuer_key_id, issuer_serial,
        issuer_names;                    // authorityKeyIdentifier; issuer_names: GeneralNames' content
    struct cs_bytes permitted, excluded; // nameConstraints: GeneralSubtrees' contents
    bool purposes;                       // there is an extendedKeyUsage
    bool for_servers;                    // which names servers, or any purpose
    struct cs_bytes alt_names;           // subjectAltName
    bool unknown_critical;
    bool precertificate; // RFC 6962 section 3.1: the poison
};

// Reads an extension's value. False if it is malformed: *ret_part names it. san_parse reads
// subjectAltName.
CS_MUST_USE bool ext_read(struct cs_bytes oid, bool critical, struct cs_bytes value, struct ext_facts *facts,
                          const char **ret_part);
bool ext_is_alt_name(struct cs_bytes oid);
