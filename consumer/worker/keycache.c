// SPDX-License-Identifier: Apache-2.0
#include "worker/keycache.h"

#include <stdlib.h>
#include <string.h>

// Many agents send in turns, so there is room for many keys: about 350 bytes each.
#define SETS 4096
#define WAYS 4

struct slot {
    cs_kid kid;
    struct cs_pubkey *key;
};
struct cs_key_cache {
    struct cs_crypto *crypto;
    cs_kid root_kid;
    struct cs_pubkey *root;
    struct slot slots[SETS][WAYS];
    int64_t ruleset;
    uint8_t next[SETS]; // the set's place that its next new key takes
};

bool cs_key_cache_new(struct cs_crypto *crypto, struct cs_bytes root_spki, struct cs_key_cache **ret,
                      struct cs_err *err) {
    CS_AUTO(cs_key_cache_free) struct cs_key_cache *k = calloc(1, sizeof *k);
    if (!k)
        return cs_err_oom(err);
    k->crypto = crypto;
    k->ruleset = CS_RULESET_LATEST;
    cs_kid_of_spki(crypto, root_spki, k->root_kid);
    if (!cs_pubkey_new(crypto, root_spki, &k->root, err))
        return false;
    *ret = CS_TAKE(k);
    return true;
}

void cs_key_cache_free(struct cs_key_cache *k) {
    if (!k)
        return;
    for (size_t i = 0; i < SETS; i++)
        for (size_t way = 0; way < WAYS; way++)
            cs_pubkey_free(k->slots[i][way].key);
    cs_pubkey_free(k->root);
    free(k);
}

const struct cs_pubkey *cs_key_cache_root(const struct cs_key_cache *k) {
    return k->root;
}

// Kids are hex digits of a hash: any three of them are as good as another hash.
static size_t set_of(const char *kid) {
    size_t at = 0;
    for (size_t i = 0; i < 3 && kid[i]; i++)
        at = at * 16 + (size_t)(kid[i] >= 'a' ? kid[i] - 'a' + 10 : kid[i] - '0');
    return at % SETS;
}

static struct slot *find(struct slot set[WAYS], const char *kid) {
    for (size_t i = 0; i < WAYS; i++)
        if (strcmp(set[i].kid, kid) == 0)
            return &set[i];
    return NULL;
}

const struct cs_pubkey *cs_key_cache_lookup(void *cache, const char *account, const char *kid) {
    struct cs_key_cache *k = cache;
    (void)account;
    if (strcmp(kid, k->root_kid) == 0)
        return k->root;
    const struct slot *s = find(k->slots[set_of(kid)], kid);
    return s ? s->key : NULL;
}

void cs_key_cache_learn(struct cs_key_cache *k, const char *kid, struct cs_bytes spki) {
    size_t set = set_of(kid);
    struct cs_pubkey *key = NULL;
    struct cs_err ignored;
    if (find(k->slots[set], kid) || !cs_pubkey_new(k->crypto, spki, &key, &ignored))
        return;
    struct slot *s = &k->slots[set][k->next[set]++ % WAYS];
    cs_pubkey_free(s->key);
    s->key = key;
    memcpy(s->kid, kid, sizeof s->kid);
}

// Preparation has checked that the subject is the key's id.
void cs_key_cache_learn_from(struct cs_key_cache *k, const struct cs_prepared *p) {
    const struct cs_event *ev = p->event;
    if (!ev || !p->sig_good || !p->examined || p->content_code != CS_CODE_NONE)
        return;
    const struct cs_encoded *key = cs_event_key(ev);
    bool by_root = strcmp(ev->kid, k->root_kid) == 0;
    k->ruleset = by_root && ev->type == CS_EVENT_SYSTEM_GENESIS   ? ev->data.genesis.ruleset
                 : by_root && ev->type == CS_EVENT_SYSTEM_RULESET ? ev->data.ruleset.ruleset
                                                                  : p->ruleset;
    if (key)
        cs_key_cache_learn(k, ev->subject, key->bytes);
}

int64_t cs_key_cache_ruleset(const struct cs_key_cache *k) {
    return k->ruleset < CS_RULESET_LATEST ? k->ruleset : CS_RULESET_LATEST;
}

void cs_key_cache_forget(struct cs_key_cache *k, const char *kid) {
    struct slot *s = find(k->slots[set_of(kid)], kid);
    if (!s)
        return;
    cs_pubkey_free(s->key);
    *s = (struct slot){.key = NULL};
}
