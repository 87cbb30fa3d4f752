// SPDX-License-Identifier: Apache-2.0
//
// Name constraints (RFC 5280 section 4.2.1.10), as OpenSSL applies them to certificates.
#pragma once

#include "x509/cert_impl.h"

// Whether a CA with these extensions may sign for every name of cert, which is below it: its
// subject and the subject's e-mail addresses, and the subject alternative names. For a leaf without
// a DNS name there, also the common names that are host names. False, too, if that cannot be
// decided: a name cannot be read, nobody knows how to compare its kind, a subtree has unusual
// bounds, or there are more names and subtrees than in any real certificate.
bool name_limits_hold(const struct ext_facts *ca, const struct cs_cert *cert, bool leaf);
