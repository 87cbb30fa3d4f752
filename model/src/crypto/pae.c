// SPDX-License-Identifier: Apache-2.0
#include "crypto/pae.h"

#include <stdio.h>

void pae_event(struct cs_bytes value, struct pae_event *ret) {
    int n = snprintf(ret->head, sizeof ret->head, "DSSEv1 %zu %s %zu ", sizeof CS_CONTENT_TYPE - 1,
                     CS_CONTENT_TYPE, value.len);
    ret->parts[0] = (struct cs_bytes){(const uint8_t *)ret->head, (size_t)n};
    ret->parts[1] = value;
}

static struct cs_bytes text(const char *s) {
    return (struct cs_bytes){(const uint8_t *)s, strlen(s)};
}

void pae_pop(struct cs_crypto *c, const struct cs_pop_fields *f, struct pae_pop *ret) {
    cs_crypto_sha256(c, f->sealed_key, ret->sealed_sha256);
    const struct cs_bytes fields[PAE_POP_FIELDS] = {
        text("certsync.pop.v1"), text(f->log_id),  text(f->account),         text(f->kid),
        text(f->event_id),       text(f->subject), {ret->sealed_sha256, 32}, {f->leaf_sha256, 32},
    };
    for (size_t i = 0; i < PAE_POP_FIELDS; i++) {
        for (size_t byte = 0; byte < 8; byte++)
            ret->lengths[i][byte] = (uint8_t)((uint64_t)fields[i].len >> (56 - 8 * byte));
        ret->parts[2 * i] = (struct cs_bytes){ret->lengths[i], 8};
        ret->parts[2 * i + 1] = fields[i];
    }
}

void pae_pop_message(const struct pae_pop *pae, struct cs_buf *b) {
    cs_buf_init(b, 64 * 1024);
    for (size_t i = 0; i < CS_ARRAY_LEN(pae->parts); i++)
        cs_buf_put(b, pae->parts[i].data, pae->parts[i].len);
}
