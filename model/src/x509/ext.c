// SPDX-License-Identifier: Apache-2.0
#include "x509/ext.h"

#include <openssl/x509v3.h> // KU_ names

#define OID_PURPOSE_SERVER DER_BYTES("\x2b\x06\x01\x05\x05\x07\x03\x01")
#define OID_PURPOSE_ANY    DER_BYTES("\x55\x1d\x25\x00")

// The content of the one SEQUENCE in the value.
static bool open_value(struct cs_bytes value, struct der *ret) {
    struct der outer = der_of(value);
    return der_enter(&outer, DER_SEQUENCE, ret) && der_done(&outer);
}

// BasicConstraints ::= SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER OPTIONAL }
static bool read_constraints(struct cs_bytes value, struct ext_facts *facts) {
    struct der seq;
    if (!open_value(value, &seq))
        return false;
    if (der_at(&seq, DER_BOOLEAN) && !der_take_boolean(&seq, &facts->is_ca))
        return false;
    if (der_at(&seq, DER_INTEGER) && !der_take_small(&seq, &facts->path_len))
        return false;
    return der_done(&seq);
}

// KeyUsage ::= BIT STRING: bit 0 is the first byte's highest. At least one must be set (RFC 5280
// section 4.2.1.3), and none of the unused ones (X.690 section 11.2.1).
static bool read_key_usage(struct cs_bytes value, struct ext_facts *facts) {
    struct der outer = der_of(value);
    struct cs_bytes bits;
    if (!der_take(&outer, DER_BIT_STRING, &bits) || !der_done(&outer) || bits.len < 2 || bits.data[0] > 7)
        return false;
    if (bits.data[bits.len - 1] & ((1u << bits.data[0]) - 1))
        return false;
    facts->key_usage = bits.data[1];
    if (bits.len > 2)
        facts->key_usage |= (uint32_t)bits.data[2] << 8;
    return facts->key_usage != 0;
}

// ExtKeyUsageSyntax ::= SEQUENCE OF OBJECT IDENTIFIER
static bool read_purposes(struct cs_bytes value, struct ext_facts *facts) {
    struct der seq;
    struct cs_bytes purpose;
    if (!open_value(value, &seq))
        return false;
    facts->purposes = true;
    while (!der_done(&seq)) {
        if (!der_take_oid(&seq, &purpose))
            return false;
        facts->for_servers |=
            cs_bytes_equal(purpose, OID_PURPOSE_SERVER) || cs_bytes_equal(purpose, OID_PURPOSE_ANY);
    }
    return true;
}

static bool read_subject_key_id(struct cs_bytes value, struct ext_facts *facts) {
    struct der outer = der_of(value);
    return der_take(&outer, DER_OCTET_STRING, &facts->subject_key_id) && der_done(&outer);
}

// AuthorityKeyIdentifier ::= SEQUENCE { [0] key's id OPTIONAL, [1] issuer's GeneralNames OPTIONAL,
// [2] serial OPTIONAL }
static bool read_authority_key_id(struct cs_bytes value, struct ext_facts *facts) {
    struct der seq;
    if (!open_value(value, &seq))
        return false;
    if (der_at(&seq, DER_CONTEXT(0)) && !der_take(&seq, DER_CONTEXT(0), &facts->issuer_key_id))
        return false;
    if (der_at(&seq, DER_CONTEXT_CONSTRUCTED(1)) &&
        (!der_take(&seq, DER_CONTEXT_CONSTRUCTED(1), &facts->issuer_names) ||
         !general_names_valid(facts->issuer_names)))
        return false;
    if (der_at(&seq, DER_CONTEXT(2)) &&
        (!der_take(&seq, DER_CONTEXT(2), &facts->issuer_serial) || !der_integer_valid(facts->issuer_serial)))
        return false;
    return der_done(&seq);
}

// SEQUENCE { base GeneralName, minimum [0] INTEGER DEFAULT 0, maximum [1] INTEGER OPTIONAL }
static bool subtrees_valid(struct cs_bytes subtrees) {
    struct der d = der_of(subtrees), tree;
    struct der_value base;
    struct cs_bytes number;
    while (!der_done(&d)) {
        if (!der_enter(&d, DER_SEQUENCE, &tree) || !der_next(&tree, &base) ||
            !general_name_valid(&base, GENERAL_NAME_ELSEWHERE))
            return false;
        if (base.tag == GENERAL_NAME_IP && base.content.len != 8 && base.content.len != 32)
            return false;
        for (int tag = 0; tag <= 1; tag++)
            if (der_at(&tree, (uint8_t)DER_CONTEXT(tag)) &&
                (!der_take(&tree, (uint8_t)DER_CONTEXT(tag), &number) || !der_integer_valid(number)))
                return false;
        if (!der_done(&tree))
            return false;
    }
    return true;
}

// NameConstraints ::= SEQUENCE { permittedSubtrees [0] OPTIONAL, excludedSubtrees [1] OPTIONAL }
static bool read_name_constraints(struct cs_bytes value, struct ext_facts *facts) {
    struct der seq;
    if (!open_value(value, &seq))
        return false;
    if (der_at(&seq, DER_CONTEXT_CONSTRUCTED(0)) &&
        !der_take(&seq, DER_CONTEXT_CONSTRUCTED(0), &facts->permitted))
        return false;
    if (der_at(&seq, DER_CONTEXT_CONSTRUCTED(1)) &&
        !der_take(&seq, DER_CONTEXT_CONSTRUCTED(1), &facts->excluded))
        return false;
    return der_done(&seq) && subtrees_valid(facts->permitted) && subtrees_valid(facts->excluded);
}

// DistributionPointName ::= CHOICE { fullName [0] GeneralNames, nameRelativeToCRLIssuer [1]
// RelativeDistinguishedName }
static bool take_point_name(struct der *point) {
    struct der choice;
    struct der_value v;
    if (!der_enter(point, DER_CONTEXT_CONSTRUCTED(0), &choice) || !der_next(&choice, &v) ||
        !der_done(&choice))
        return false;
    return v.tag == DER_CONTEXT_CONSTRUCTED(0)   ? general_names_valid(v.content)
           : v.tag == DER_CONTEXT_CONSTRUCTED(1) ? name_rdn_valid(v.content)
                                                 : false;
}

// CRLDistributionPoints ::= SEQUENCE OF SEQUENCE { [0] DistributionPointName OPTIONAL, [1] reasons
// OPTIONAL, [2] cRLIssuer OPTIONAL }
static bool distribution_points_valid(struct cs_bytes value) {
    struct der seq, point;
    struct cs_bytes v;
    if (!open_value(value, &seq))
        return false;
    while (!der_done(&seq)) {
        if (!der_enter(&seq, DER_SEQUENCE, &point))
            return false;
        if (der_at(&point, DER_CONTEXT_CONSTRUCTED(0)) && !take_point_name(&point))
            return false;
        if (der_at(&point, DER_CONTEXT(1)) && (!der_take(&point, DER_CONTEXT(1), &v) || !der_bits_valid(v)))
            return false;
        if (der_at(&point, DER_CONTEXT_CONSTRUCTED(2)) &&
            (!der_take(&point, DER_CONTEXT_CONSTRUCTED(2), &v) || !general_names_valid(v)))
            return false;
        if (!der_done(&point))
            return false;
    }
    return true;
}

// CertificatePolicies ::= SEQUENCE OF SEQUENCE { policy OBJECT IDENTIFIER, qualifiers SEQUENCE
// OPTIONAL }
static bool policies_valid(struct cs_bytes value) {
    struct der seq, policy;
    struct cs_bytes oid, qualifiers;
    if (!open_value(value, &seq))
        return false;
    while (!der_done(&seq))
        if (!der_enter(&seq, DER_SEQUENCE, &policy) || !der_take_oid(&policy, &oid) ||
            (der_at(&policy, DER_SEQUENCE) && !der_take(&policy, DER_SEQUENCE, &qualifiers)) ||
            !der_done(&policy))
            return false;
    return true;
}

// AuthorityInfoAccessSyntax ::= SEQUENCE OF SEQUENCE { method OBJECT IDENTIFIER, location
// GeneralName }
static bool information_access_valid(struct cs_bytes value) {
    struct der seq, access;
    struct cs_bytes oid;
    struct der_value location;
    if (!open_value(value, &seq))
        return false;
    while (!der_done(&seq))
        if (!der_enter(&seq, DER_SEQUENCE, &access) || !der_take_oid(&access, &oid) ||
            !der_next(&access, &location) || !general_name_valid(&location, GENERAL_NAME_ELSEWHERE) ||
            !der_done(&access))
            return false;
    return true;
}

// Extensions of RFC 5280 that may be critical and that OpenSSL processes, by the last arc of id-ce.
static bool known_critical(uint8_t arc) {
    return arc == 15 || arc == 17 || arc == 19 || (arc >= 30 && arc <= 33) || (arc >= 36 && arc <= 37) ||
           arc == 54;
}

static bool read_id_ce(uint8_t arc, bool critical, struct cs_bytes value, struct ext_facts *facts,
                       const char **ret_part) {
    facts->unknown_critical |= critical && !known_critical(arc);
    switch (arc) {
    case 14:
        *ret_part = "subject key identifier";
        return read_subject_key_id(value, facts);
    case 15:
        *ret_part = "key usage";
        return read_key_usage(value, facts);
    case 17:
        facts->alt_names = value;
        return true;
    case 19:
        *ret_part = "basic constraints";
        return read_constraints(value, facts);
    case 30:
        *ret_part = "name constraints";
        return read_name_constraints(value, facts);
    case 31:
        *ret_part = "CRL distribution points";
        return distribution_points_valid(value);
    case 32:
        *ret_part = "certificate policies";
        return policies_valid(value);
    case 35:
        *ret_part = "authority key identifier";
        return read_authority_key_id(value, facts);
    case 37:
        *ret_part = "extended key usage";
        return read_purposes(value, facts);
    default:
        return true;
    }
}

#define OID_ID_CE        DER_BYTES("\x55\x1d")
#define OID_ACCESS       DER_BYTES("\x2b\x06\x01\x05\x05\x07\x01\x01")
#define OID_OCSP_NOCHECK DER_BYTES("\x2b\x06\x01\x05\x05\x07\x30\x01\x05")
#define OID_IP_BLOCKS    DER_BYTES("\x2b\x06\x01\x05\x05\x07\x01\x07")
#define OID_AS_BLOCKS    DER_BYTES("\x2b\x06\x01\x05\x05\x07\x01\x08")
#define OID_POISON       DER_BYTES("\x2b\x06\x01\x04\x01\xd6\x79\x02\x04\x03")

bool ext_read(struct cs_bytes oid, bool critical, struct cs_bytes value, struct ext_facts *facts,
              const char **ret_part) {
    if (oid.len == 3 && memcmp(oid.data, OID_ID_CE.data, OID_ID_CE.len) == 0)
        return read_id_ce(oid.data[2], critical, value, facts, ret_part);
    if (cs_bytes_equal(oid, OID_ACCESS)) {
        facts->unknown_critical |= critical;
        *ret_part = "authority information access";
        return information_access_valid(value);
    }
    facts->precertificate |= critical && cs_bytes_equal(oid, OID_POISON);
    facts->unknown_critical |= critical && !cs_bytes_equal(oid, OID_OCSP_NOCHECK) &&
                               !cs_bytes_equal(oid, OID_IP_BLOCKS) && !cs_bytes_equal(oid, OID_AS_BLOCKS);
    return true;
}

bool ext_is_alt_name(struct cs_bytes oid) {
    return cs_bytes_equal(oid, DER_BYTES("\x55\x1d\x11"));
}
