// SPDX-License-Identifier: Apache-2.0
//
// What a look through a [watch] section found beside the certificates: what cannot be read, is
// missing, or belongs to nothing. Each look makes it anew; certsync status shows it.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define CS_FINDINGS_KEPT 20 // texts; more are counted

struct cs_findings {
    size_t certificates; // candidates that were found
    size_t n;            // faults, in all
    char *texts[CS_FINDINGS_KEPT];
};
// An equal text counts once, while it is kept.
void cs_findings_add(struct cs_findings *f, const char *text);
bool cs_findings_has(const struct cs_findings *f, const char *text);
void cs_findings_clear(struct cs_findings *f);
