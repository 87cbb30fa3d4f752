// SPDX-License-Identifier: Apache-2.0
//
// X.500 names (RFC 5280 section 4.1.2.4) and subject alternative names as text for people. All
// views are of a Name's whole DER. Call name_valid first: the others take only what it accepted.
#pragma once

#include "certsync/base/region.h"
#include "der.h"

#define NAME_RDNS_MAX 64

bool name_valid(struct cs_bytes name);
bool name_rdn_valid(struct cs_bytes rdn); // a RelativeDistinguishedName's content
bool name_empty(struct cs_bytes name);
// The OID of an attribute, found by its displayed name in any case.
CS_MUST_USE bool name_oid(const char *text, size_t len, struct cs_bytes *ret);
// One line in RFC 2253's form, most specific first, UTF-8. Control bytes, and bytes that are not
// text, are \XX. Cut to fit.
void name_format(struct cs_bytes name, char *out, size_t out_size);
// The most specific commonName, escaped as cs_text_escape does; "" where there is none.
void name_common(struct cs_bytes name, char *out, size_t out_size);
// RFC 5280 section 7.1: equal bytes, or the same attributes with text that differs only in case
// (ASCII), runs of spaces and string type.
bool name_equal(struct cs_bytes a, struct cs_bytes b);
// Whether name begins with all of base (RFC 5280 section 4.2.1.10), compared in the same way.
bool name_within(struct cs_bytes name, struct cs_bytes base);

// The values of one attribute, from the least specific on.
struct name_walk {
    struct der rdns, set;
};
struct name_walk name_walk(struct cs_bytes name);
bool name_walk_next(struct name_walk *w, struct cs_bytes oid, struct der_value *ret);
// Text of a value. It is UTF-8 if the value kept its type's rules. False for a value that is no
// string. What does not fit in out is left off.
bool name_value_text(const struct der_value *v, char *out, size_t out_size, size_t *ret_len);

// Values of attributes: they have the string types of names, each with its own alphabet.
// (PrintableString may also hold '*' and '&': certificates have them, and everybody reads them.)
bool name_value_valid(const struct der_value *v);

// One GeneralName (RFC 5280 section 4.2.1.6): its tag is one of the nine, with that tag's form, and
// its content can be read. In one of the certificate's own names, texts keep the alphabet of
// IA5String, dNSNames are printable, IP addresses have 4 or 16 bytes.
enum general_name_use { GENERAL_NAME_OWN, GENERAL_NAME_ELSEWHERE };
#define GENERAL_NAME_EMAIL     DER_CONTEXT(1)
#define GENERAL_NAME_DNS       DER_CONTEXT(2)
#define GENERAL_NAME_DIRECTORY DER_CONTEXT_CONSTRUCTED(4)
#define GENERAL_NAME_URI       DER_CONTEXT(6)
#define GENERAL_NAME_IP        DER_CONTEXT(7)
bool general_name_valid(const struct der_value *v, enum general_name_use use);
// GeneralNames' content: at least one.
bool general_names_valid(struct cs_bytes names);

// GeneralNames of a subjectAltName. DNS, IP, e-mail and URI are listed (the first max of them) and
// counted. Other kinds, and empty texts, are ignored.
struct san_list {
    char **names; // names and texts, one piece of memory
    size_t len;
    size_t total;
};
// False if a name is not valid (general_name_valid), or with *ret_oom if memory ran out.
CS_MUST_USE bool san_parse(struct cs_bytes general_names, size_t max, struct cs_region *region,
                           struct san_list *ret, bool *ret_oom);
