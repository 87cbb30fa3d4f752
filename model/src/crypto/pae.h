// SPDX-License-Identifier: Apache-2.0
//
// What is signed, as lists of parts: digests take them one after the other without copying (sign.h
// has the formats).
#pragma once

#include "certsync/model/sign.h"

#include "crypto/crypto_impl.h"

struct pae_event {
    char head[64]; // "DSSEv1 28 application/cloudevents+json 2913 "
    struct cs_bytes parts[2];
};
void pae_event(struct cs_bytes value, struct pae_event *ret);

#define PAE_POP_FIELDS 8
struct pae_pop {
    uint8_t lengths[PAE_POP_FIELDS][8];
    uint8_t sealed_sha256[32];
    struct cs_bytes parts[2 * PAE_POP_FIELDS];
};
void pae_pop(struct cs_crypto *c, const struct cs_pop_fields *f, struct pae_pop *ret);
// The parts as one message, for signatures that want it whole. Initialises b.
void pae_pop_message(const struct pae_pop *pae, struct cs_buf *b);
