// SPDX-License-Identifier: Apache-2.0
//
// A directory of certificates and keys under any names, matched by their public keys (pairs =
// DIRECTORY). Used by scan.c only.
#pragma once

#include "daemon/scan.h"

bool cs_scan_pairs(const struct cs_section *section, struct cs_crypto *crypto, struct cs_guarded *buffer,
                   const struct cs_scan_hooks *hooks);
