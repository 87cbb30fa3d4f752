// SPDX-License-Identifier: Apache-2.0
//
// X.500 names from text, as people have them at hand:
//   /C=CN/O=Example/CN=www.example.com   as openssl req -subj takes them: in the order of the DER,
//                                        '\' before a character that is meant literally
//   CN=www.example.com,O=Example,C=CN    as certsync shows them (RFC 4514): most specific first,
//                                        '\' before a special character or two hexadecimal digits,
//                                        "#" and hexadecimal digits for a value's DER. Spaces
//                                        around ',', '+' and '=' are ignored.
//   www.example.com                      neither form: the common name
// In both forms '+' joins attributes of one RDN. Types are the short names that certsync shows,
// OpenSSL's long names, and dotted OIDs, in any case.
#pragma once

#include "certsync/base/buf.h"
#include "certsync/base/err.h"

// Appends the Name's DER. REJECT csr.malformed.
CS_MUST_USE bool name_parse(const char *text, struct cs_buf *out, struct cs_err *err);
