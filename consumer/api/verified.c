// SPDX-License-Identifier: Apache-2.0
#include "api/verified.h"

#include <stdlib.h>
#include <string.h>

struct verified {
    uint8_t sha256[32];
    struct cs_token token;
    struct cs_spki key; // len 0: the place is free
    int64_t read_s;
};

struct cs_verified {
    struct verified sets[CS_VERIFIED_SETS][CS_VERIFIED_WAYS];
};

bool cs_verified_new(struct cs_verified **ret, struct cs_err *err) {
    struct cs_verified *v = calloc(1, sizeof *v);
    if (!v)
        return cs_err_oom(err);
    *ret = v;
    return true;
}

void cs_verified_free(struct cs_verified *v) {
    free(v);
}

static bool is_at(const struct verified *e, const uint8_t sha256[32]) {
    return e->key.len > 0 && memcmp(e->sha256, sha256, sizeof e->sha256) == 0;
}

static const struct verified *find(const struct cs_verified *v, const uint8_t sha256[32]) {
    const struct verified *set = v->sets[sha256[0] % CS_VERIFIED_SETS];
    for (size_t i = 0; i < CS_VERIFIED_WAYS; i++)
        if (is_at(&set[i], sha256))
            return &set[i];
    return NULL;
}

const struct cs_token *cs_verified_find(const struct cs_verified *v, const uint8_t sha256[32],
                                        int64_t now_s) {
    const struct verified *e = find(v, sha256);
    bool now = e && now_s >= e->read_s && e->token.expires_s + CS_TOKEN_SKEW_S > now_s;
    return now ? &e->token : NULL;
}

bool cs_verified_by(const struct cs_verified *v, const uint8_t sha256[32], const struct cs_spki *key) {
    const struct verified *e = find(v, sha256);
    return e && e->key.len == key->len && memcmp(e->key.data, key->data, key->len) == 0;
}

void cs_verified_add(struct cs_verified *v, const uint8_t sha256[32], const struct cs_token *token,
                     const struct cs_spki *key, int64_t now_s) {
    struct verified *set = v->sets[sha256[0] % CS_VERIFIED_SETS], *place = &set[0];
    for (size_t i = 0; i < CS_VERIFIED_WAYS; i++) {
        if (is_at(&set[i], sha256)) {
            place = &set[i];
            break;
        }
        if (set[i].key.len == 0 || (place->key.len > 0 && set[i].token.expires_s < place->token.expires_s))
            place = &set[i];
    }
    memcpy(place->sha256, sha256, sizeof place->sha256);
    place->token = *token;
    place->key = *key;
    place->read_s = now_s;
}
