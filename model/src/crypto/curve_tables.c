// SPDX-License-Identifier: Apache-2.0
//
// Verification on a curve by tables of keys that come often (ectable.h); for other keys as in
// curve_plain.c. Both give the same answer to every signature (tests/unit/test_ectable.c).
// docs/develop/performance.md says what the tables save.
#include "crypto/ectable.h"

void curve_drop_table(struct cs_crypto *c, struct kept_key *k) {
    c->tables -= k->table != NULL;
    ec_table_free(k->table);
    k->table = NULL;
    k->uses = 0; // it may earn a new one
}

static void drop_oldest_table(struct cs_crypto *c) {
    struct kept_key *oldest = NULL;
    for (size_t i = 0; i < KEPT_SETS; i++)
        for (size_t way = 0; way < MEMO_WAYS; way++) {
            struct kept_key *k = &c->kept[i][way];
            if (k->table && (!oldest || k->used < oldest->used))
                oldest = k;
        }
    if (oldest)
        curve_drop_table(c, oldest);
}

// The key's table. It is made when the key was used often enough to pay for it.
static const struct ec_table *table_of(struct cs_crypto *c, const struct cs_pubkey *key, struct kept_key *k) {
    const struct curve_slot *slot = crypto_slot_of(c, key->type);
    unsigned worth = slot->pace.table_worth;
    struct ec_work **work = &c->work[slot - c->curve];
    if (k->table || worth == 0 || k->uses != worth || !ec_work_get(work, key->type))
        return k->table;
    if (c->tables == TABLES_MAX)
        drop_oldest_table(c);
    k->table = ec_table_new(*work, key);
    c->tables += k->table != NULL;
    return k->table;
}

bool curve_verify_tables(struct cs_crypto *c, const struct cs_pubkey *key, struct kept_key *k,
                         const uint8_t *digest, size_t digest_len, struct cs_bytes sig) {
    const struct curve_slot *slot = crypto_slot_of(c, key->type);
    struct ec_work **work = &c->work[slot - c->curve];
    const struct ec_table *table = k ? table_of(c, key, k) : NULL;
    if (table || (slot->pace.plain && ec_work_get(work, key->type)))
        return ec_work_verify(*work, table, key, digest, digest_len, sig);
    return curve_verify_plain(c, key, k, digest, digest_len, sig);
}
