// SPDX-License-Identifier: Apache-2.0
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "api_internal.h"
#include "certsync/model/text.h"

void api_material_clear(struct api_material *m) {
    json_decref(m->root);
    memset(m, 0, sizeof *m);
}

static bool read_part(const json_t *from, struct api_part *part) {
    const json_t *chain = json_object_get(from, "chain");
    part->role = json_string_value(json_object_get(from, "role"));
    part->key_subject = json_string_value(json_object_get(from, "key_subject"));
    part->key = json_string_value(json_object_get(from, "key"));
    part->chain_len = json_array_size(chain);
    if (!part->role || !part->key_subject || !part->key || part->chain_len == 0 ||
        part->chain_len > CS_ARRAY_LEN(part->chain))
        return false;
    for (size_t i = 0; i < part->chain_len; i++) {
        part->chain[i] = json_string_value(json_array_get(chain, i));
        if (!part->chain[i])
            return false;
    }
    return true;
}

bool api_material_read(struct cs_bytes doc, struct api_material *ret, struct cs_err *err) {
    struct api_material m = {0};
    json_t *root = json_loadb((const char *)doc.data, doc.len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *parts = json_object_get(root, "parts");
    m.root = root;
    m.parts_len = json_array_size(parts);
    bool ok = m.parts_len > 0 && m.parts_len <= API_PARTS_MAX;
    for (size_t i = 0; ok && i < m.parts_len; i++)
        ok = read_part(json_array_get(parts, i), &m.parts[i]);
    if (!ok) {
        api_material_clear(&m);
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "material: not a document of this release");
    }
    *ret = m;
    return true;
}

static bool is_leaf(struct cs_crypto *c, const char *base64, const uint8_t sha256[32]) {
    size_t len = strlen(base64), der_len = 0;
    uint8_t found[32], *der = malloc(cs_base64_decoded_max(len) + 1);
    bool ok = der && cs_base64_decode(base64, len, der, &der_len);
    if (ok)
        cs_crypto_sha256(c, (struct cs_bytes){der, der_len}, found);
    free(der);
    return ok && memcmp(found, sha256, sizeof found) == 0;
}

bool api_material_fits(struct cs_crypto *c, const struct api_material *m, const struct cs_cert_summary *s) {
    if (m->parts_len != s->leaves_len)
        return false;
    for (size_t i = 0; i < m->parts_len; i++)
        if (!is_leaf(c, m->parts[i].chain[0], s->leaves[i].sha256))
            return false;
    return true;
}
