// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"

#define MOST 1000 // kept at once; a deployment has few issuers

struct issuer {
    struct cs_keyed keyed;
    cs_issuer_id id;
    size_t len;
    uint8_t der[]; // base64
};

struct cs_bytes api_issuer(const struct cs_api *api, const char *id) {
    const struct issuer *found = cs_keyed_get(&api->issuers, id);
    return found ? (struct cs_bytes){found->der, found->len} : (struct cs_bytes){0};
}

static void forget_all(struct cs_api *api) {
    for (size_t i = 0; i < api->issuers.len; i++)
        free(api->issuers.items[i]);
    cs_keyed_empty(&api->issuers);
}

void api_issuer_keep(struct cs_api *api, const char *id, struct cs_bytes der) {
    if (cs_keyed_get(&api->issuers, id))
        return;
    if (api->issuers.len >= MOST)
        forget_all(api);
    struct issuer *i = malloc(sizeof *i + der.len);
    if (!i)
        return;
    snprintf(i->id, sizeof i->id, "%s", id);
    i->keyed = cs_keyed_of(i->id);
    i->len = der.len;
    memcpy(i->der, der.data, der.len);
    if (!cs_keyed_add(&api->issuers, &i->keyed))
        free(i);
}

void api_issuers_free(struct cs_api *api) {
    forget_all(api);
    cs_keyed_free(&api->issuers);
}
