// SPDX-License-Identifier: Apache-2.0
//
// Public keys that a worker has met, so that signatures are verified before the catalog is read: a
// kid is a hash of its key, so whoever knows it needs no catalog. Bounded; a newer key takes an
// older one's place. One thread.
#pragma once

#include "certsync/model/prepare.h"

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
// The key that a prepared record brings in, and the ruleset, where its signature is known to be
// good: so that what that key sends in the same batch is verified before the catalog is read, too.
void cs_key_cache_learn_from(struct cs_key_cache *k, const struct cs_prepared *p);
// The ruleset that is in force, as far as those records tell (cs_prepare). Only a help: no verdict
// rests on it.
int64_t cs_key_cache_ruleset(const struct cs_key_cache *k);
// Of a key that may not send (any more): its next record costs a look-up, as that of any stranger.
void cs_key_cache_forget(struct cs_key_cache *k, const char *kid);
