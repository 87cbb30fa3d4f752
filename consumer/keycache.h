// SPDX-License-Identifier: Apache-2.0
//
// Public keys that a worker has met, so that signatures are verified before the catalog is read: a kid is a
// hash of its key, so whoever knows it needs no catalog. Bounded; a newer key takes an older one's place. One
// thread.
#pragma once

#include "certsync/model/key.h"

struct cs_key_cache;
// root_spki: always known.
CS_MUST_USE bool cs_key_cache_new(struct cs_crypto *crypto, struct cs_bytes root_spki,
                                  struct cs_key_cache **ret, struct cs_err *err);
void cs_key_cache_free(struct cs_key_cache *k);
CS_DEFINE_AUTO(struct cs_key_cache, cs_key_cache_free)
const struct cs_pubkey *cs_key_cache_root(const struct cs_key_cache *k);
// A cs_key_lookup (prepare.h). Borrowed until the next learn.
const struct cs_pubkey *cs_key_cache_lookup(void *cache, const char *account, const char *kid);
// Does nothing where the key is known, or cannot be read.
void cs_key_cache_learn(struct cs_key_cache *k, const char *kid, struct cs_bytes spki);
