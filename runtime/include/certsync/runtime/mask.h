// SPDX-License-Identifier: Apache-2.0
//
// Secrets inside settings that are shown: passwords and PINs in URLs, and properties of other
// libraries with secret values.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define CS_MASK "********"

// Writes text with secrets replaced by CS_MASK: the user information of URLs
// (scheme://user:password@host), and the values of secret parameters (?pin-value=…, &password=…;
// RFC 7512 for PKCS#11). With escape, escaped for messages. Cut to fit.
void cs_mask_text(const char *text, char *out, size_t size, bool escape);

// Whether a property of librdkafka (or another library) has a secret value, by its name:
// "ssl.key.password".
bool cs_mask_names_secret(const char *name);
