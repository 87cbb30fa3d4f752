// SPDX-License-Identifier: Apache-2.0
//
// The CA certificates of chains. Thousands of certificates have the same, so each is kept once in a
// partition, with a count of the chains that it is in.
#include <string.h>

#include "certsync/base/text.h"
#include "rules/rules_internal.h"

static void touch(struct cs_judge *j, const char *id) {
    struct cs_bytes value;
    (void)cs_judge_look(j, cs_key_issuer(CS_NEW_KEY, id), &value);
}

void cs_issuers_name(const struct cs_judge *j, size_t i, struct cs_material_part *ret) {
    ret->issuers_len = j->ev->data.upload.part[i].chain_len - 1;
    for (size_t k = 0; k < ret->issuers_len; k++)
        cs_hex_encode(j->prepared->issuer_sha256[i][k], 32, ret->issuers[k]);
}

void cs_issuers_touch_sent(struct cs_judge *j) {
    for (size_t i = 0; j->prepared->content_code == CS_CODE_NONE && i < j->ev->data.upload.parts; i++) {
        struct cs_material_part part = {.issuers_len = 0};
        cs_issuers_name(j, i, &part);
        for (size_t k = 0; k < part.issuers_len; k++)
            touch(j, part.issuers[k]);
    }
}

void cs_issuers_touch(struct cs_judge *j, const struct cs_material *m) {
    for (size_t i = 0; i < m->len; i++)
        for (size_t k = 0; k < m->part[i].issuers_len; k++)
            touch(j, m->part[i].issuers[k]);
}

static void put(struct cs_judge *j, const char *key, const struct cs_issuer *issuer) {
    cs_issuer_encode(cs_judge_begin(j), issuer);
    cs_judge_put(j, key);
}

void cs_issuers_add(struct cs_judge *j, const struct cs_material *m) {
    for (size_t i = 0; i < m->len; i++)
        for (size_t k = 0; k < m->part[i].issuers_len; k++) {
            struct cs_issuer issuer;
            const char *key = cs_key_issuer(CS_NEW_KEY, m->part[i].issuers[k]);
            if (!cs_judge_read_issuer(j, key, &issuer))
                issuer = (struct cs_issuer){0, j->ev->data.upload.part[i].chain[k + 1].text};
            issuer.used++;
            put(j, key, &issuer);
        }
}

void cs_issuers_remove(struct cs_judge *j, const struct cs_material *m) {
    for (size_t i = 0; i < m->len; i++)
        for (size_t k = 0; k < m->part[i].issuers_len; k++) {
            struct cs_issuer issuer;
            const char *key = cs_key_issuer(CS_NEW_KEY, m->part[i].issuers[k]);
            if (!cs_judge_read_issuer(j, key, &issuer))
                cs_judge_lacks(j, key);
            else if (--issuer.used > 0)
                put(j, key, &issuer);
            else
                cs_state_delete(j->state, key);
        }
}
