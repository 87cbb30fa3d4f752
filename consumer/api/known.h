// SPDX-License-Identifier: Apache-2.0
//
// Witnesses (catalog/witness.h) that were read from a catalog, with its stand then. While the
// catalog stands where it stood, they say what they said: certsync changes nothing without a new
// position. So they need not be asked for again, which spares most of the commands of a question.
// What they are held against is read each time.
//
// A stand is a number that the catalog gets with each change of its position or its generation
// (api/freshness.c). A witness is asked for again after API_KNOWN_MS, too: so it is noticed that one
// is gone while nobody commits. Bounded: what is forgotten is asked for again. One thread.
#pragma once

#include "catalog/witness.h"

#define API_KNOWN_SETS 4096
#define API_KNOWN_WAYS 4
#define API_KNOWN_MS   1000

struct api_known;
CS_MUST_USE bool api_known_new(struct api_known **ret, struct cs_err *err);
void api_known_free(struct api_known *k); // takes NULL
CS_DEFINE_AUTO(struct api_known, api_known_free)

// What a question need not ask for. False: it must. *ret is borrowed until the next put; data NULL:
// there is no entry. Of several questions at a time, one alone asks for what is old. now_ms:
// monotonic.
CS_MUST_USE bool api_known_find(struct api_known *k, int32_t partition, uint64_t stand,
                                const struct cs_place *place, int64_t now_ms, struct cs_bytes *ret);
// The same for its answer, whatever its age.
CS_MUST_USE bool api_known_recall(const struct api_known *k, int32_t partition, uint64_t stand,
                                  const struct cs_place *place, struct cs_bytes *ret);
// Values of other sizes than a witness has are not kept.
void api_known_put(struct api_known *k, int32_t partition, uint64_t stand, const struct cs_place *place,
                   int64_t now_ms, struct cs_bytes value);
