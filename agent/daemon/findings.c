// SPDX-License-Identifier: Apache-2.0
#include "daemon/findings.h"

#include <stdlib.h>
#include <string.h>

bool cs_findings_has(const struct cs_findings *f, const char *text) {
    for (size_t i = 0; i < f->n && i < CS_FINDINGS_KEPT; i++)
        if (f->texts[i] && strcmp(f->texts[i], text) == 0)
            return true;
    return false;
}

void cs_findings_add(struct cs_findings *f, const char *text) {
    if (cs_findings_has(f, text))
        return;
    if (f->n < CS_FINDINGS_KEPT)
        f->texts[f->n] = strdup(text); // without memory it is still counted
    f->n++;
}

void cs_findings_clear(struct cs_findings *f) {
    for (size_t i = 0; i < f->n && i < CS_FINDINGS_KEPT; i++)
        free(f->texts[i]);
    *f = (struct cs_findings){0};
}
