// SPDX-License-Identifier: Apache-2.0
#include "keycache.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS 4096 // some 2 KiB of OpenSSL objects each

struct slot {
    cs_kid kid;
    struct cs_pubkey *key;
};
struct cs_key_cache {
    struct cs_crypto *crypto;
    cs_kid root_kid;
    struct cs_pubkey *root;
    struct slot slots[SLOTS];
};

bool cs_key_cache_new(struct cs_crypto *crypto, struct cs_bytes root_spki, struct cs_key_cache **ret,
                      struct cs_err *err) {
    CS_AUTO(cs_key_cache_free) struct cs_key_cache *k = calloc(1, sizeof *k);
    if (!k)
        return cs_err_oom(err);
    k->crypto = crypto;
    cs_kid_of_spki(crypto, root_spki, k->root_kid);
    if (!cs_pubkey_new(crypto, root_spki, &k->root, err))
        return false;
    *ret = CS_TAKE(k);
    return true;
}

void cs_key_cache_free(struct cs_key_cache *k) {
    if (!k)
        return;
    for (size_t i = 0; i < SLOTS; i++)
        cs_pubkey_free(k->slots[i].key);
    cs_pubkey_free(k->root);
    free(k);
}

const struct cs_pubkey *cs_key_cache_root(const struct cs_key_cache *k) {
    return k->root;
}

// Kids are hex of a hash: any three of their digits are as good as another hash.
static struct slot *slot_of(struct cs_key_cache *k, const char *kid) {
    size_t at = 0;
    for (size_t i = 0; i < 4 && kid[i]; i++)
        at = at * 16 + (size_t)(kid[i] >= 'a' ? kid[i] - 'a' + 10 : kid[i] - '0');
    return &k->slots[at % SLOTS];
}

const struct cs_pubkey *cs_key_cache_lookup(void *cache, const char *account, const char *kid) {
    struct cs_key_cache *k = cache;
    (void)account;
    if (strcmp(kid, k->root_kid) == 0)
        return k->root;
    const struct slot *s = slot_of(k, kid);
    return strcmp(s->kid, kid) == 0 ? s->key : NULL;
}

void cs_key_cache_learn(struct cs_key_cache *k, const char *kid, struct cs_bytes spki) {
    struct slot *s = slot_of(k, kid);
    struct cs_pubkey *key = NULL;
    struct cs_err ignored;
    if (strcmp(s->kid, kid) == 0 || !cs_pubkey_new(k->crypto, spki, &key, &ignored))
        return;
    cs_pubkey_free(s->key);
    s->key = key;
    memcpy(s->kid, kid, sizeof s->kid);
}
