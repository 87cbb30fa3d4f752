// SPDX-License-Identifier: Apache-2.0
//
// Public keys that a worker has met, so that signatures are verified before the catalog is read. A
// kid is a hash of its key, so a known key needs no catalog. Bounded: a newer key replaces an older
// one. One thread.
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
// Does nothing if the key is known, or cannot be read.
void cs_key_cache_learn(struct cs_key_cache *k, const char *kid, struct cs_bytes spki);
// Learns the key that a prepared record brings in, and the ruleset, if its signature is good. So
// that key's events in the same batch are also verified before the catalog is read.
void cs_key_cache_learn_from(struct cs_key_cache *k, const struct cs_prepared *p);
// The ruleset in force, as far as those records tell (cs_prepare). It is only a help: no verdict
// depends on it.
int64_t cs_key_cache_ruleset(const struct cs_key_cache *k);
// For a key that may not send, or not any more. Its next record costs a look-up, as every
// stranger's does.
void cs_key_cache_forget(struct cs_key_cache *k, const char *kid);
