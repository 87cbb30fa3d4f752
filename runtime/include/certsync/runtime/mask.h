// SPDX-License-Identifier: Apache-2.0
//
// Secrets within settings that are otherwise shown: passwords and PINs in URLs, and properties of
// other libraries whose values are secret.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define CS_MASK "********"

// Writes text with the user information of URLs (scheme://user:password@host) and the values of
// parameters that are secret (?pin-value=…, &password=…; RFC 7512 for PKCS#11) replaced by CS_MASK;
// escaped for messages where escape. Cut to fit.
void cs_mask_text(const char *text, char *out, size_t size, bool escape);

// Whether a librdkafka property (or one of another library's) has a secret value, by its name:
// "ssl.key.password".
bool cs_mask_names_secret(const char *name);
