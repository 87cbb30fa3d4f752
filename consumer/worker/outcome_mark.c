// SPDX-License-Identifier: Apache-2.0
#include "worker/outcome_mark.h"

#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/model/ident.h"
#include "certsync/model/mac.h"

#define INFO "certsync outcome"

struct mark_key {
    uint8_t key[CS_MAC_KEY_LEN];
    char kid[CS_OUTCOME_MARK_KID + 1];
};

struct cs_outcome_marks {
    struct cs_mac *mac;
    struct mark_key keys[1 + CS_EARLIER_KEYS_MAX]; // the present one first
    size_t len;
};

static bool add_key(struct cs_outcome_marks *m, struct cs_crypto *crypto, const struct cs_privkey *service,
                    const char *log_id, struct cs_err *err) {
    struct mark_key *k = &m->keys[m->len++];
    uint8_t root[CS_MAC_ROOT_LEN];
    cs_kid kid;
    if (!cs_mac_root(service, log_id, INFO, root, err))
        return false;
    bool ok = cs_mac_key(root, INFO, k->key, err);
    cs_mac_cleanse(root, sizeof root);
    cs_privkey_kid(crypto, service, kid);
    memcpy(k->kid, kid, CS_OUTCOME_MARK_KID);
    return ok;
}

bool cs_outcome_marks_new(struct cs_crypto *crypto, const struct cs_service_keys *service, const char *log_id,
                          struct cs_outcome_marks **ret, struct cs_err *err) {
    CS_AUTO(cs_outcome_marks_free) struct cs_outcome_marks *m = calloc(1, sizeof *m);
    if (!m)
        return cs_err_oom(err);
    if (!cs_mac_new(&m->mac, err) || !add_key(m, crypto, service->own, log_id, err))
        return false;
    for (size_t i = 0; i < service->earlier_len; i++)
        if (!add_key(m, crypto, service->earlier[i], log_id, err))
            return false;
    *ret = CS_TAKE(m);
    return true;
}

void cs_outcome_marks_free(struct cs_outcome_marks *m) {
    if (!m)
        return;
    cs_mac_free(m->mac);
    cs_mac_cleanse(m->keys, sizeof m->keys);
    free(m);
}

static void mark_with(const struct cs_outcome_marks *m, const struct mark_key *k, int32_t partition,
                      struct cs_bytes key, struct cs_bytes value, char ret[CS_OUTCOME_MARK_SIZE]) {
    uint8_t head[5 + CS_ACCOUNT_MAX];
    uint8_t mac[CS_MAC_LEN];
    char text[CS_OUTCOME_MARK_SIZE];
    struct cs_err err;
    for (int i = 0; i < 4; i++)
        head[i] = (uint8_t)((uint32_t)partition >> (24 - 8 * i));
    head[4] = (uint8_t)key.len;
    if (key.len > 0)
        memcpy(head + 5, key.data, key.len);
    // This fails only without memory. No mark may come of that, and no true one count as false.
    if (!cs_mac_of(m->mac, k->key, (struct cs_bytes){head, 5 + key.len}, value, mac, &err))
        abort();
    (void)cs_base64url_encode(mac, sizeof mac, text);
    memcpy(ret, k->kid, CS_OUTCOME_MARK_KID);
    ret[CS_OUTCOME_MARK_KID] = '.';
    memcpy(ret + CS_OUTCOME_MARK_KID + 1, text, CS_OUTCOME_MARK_LEN - CS_OUTCOME_MARK_KID);
}

void cs_outcome_mark(const struct cs_outcome_marks *m, int32_t partition, struct cs_bytes key,
                     struct cs_bytes value, char ret[CS_OUTCOME_MARK_SIZE]) {
    mark_with(m, &m->keys[0], partition, key, value, ret);
}

static bool has_form(struct cs_bytes mark) {
    if (!mark.data || mark.len != CS_OUTCOME_MARK_LEN || mark.data[CS_OUTCOME_MARK_KID] != '.')
        return false;
    for (size_t i = 0; i < mark.len; i++) {
        char c = (char)mark.data[i];
        bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
        if (i != CS_OUTCOME_MARK_KID && !digit && (i < CS_OUTCOME_MARK_KID || !letter))
            return false;
    }
    return true;
}

// The one header of that name; data is NULL where there is none, or where there are several.
static struct cs_bytes find_mark(const struct cs_record *r) {
    struct cs_bytes found = {0};
    size_t n = 0;
    for (size_t i = 0; i < r->headers_len; i++)
        if (strcmp(r->headers[i].name, CS_OUTCOME_MARK_HEADER) == 0) {
            found = r->headers[i].value;
            n++;
        }
    return n == 1 ? found : (struct cs_bytes){0};
}

enum cs_outcome_writer cs_outcome_writer(const struct cs_outcome_marks *m, const struct cs_record *r) {
    struct cs_bytes mark = find_mark(r);
    char true_mark[CS_OUTCOME_MARK_SIZE];
    size_t i = 0;
    if (!has_form(mark))
        return CS_WRITER_NONE;
    if (!m)
        return CS_WRITER_OTHER;
    while (i < m->len && memcmp(mark.data, m->keys[i].kid, CS_OUTCOME_MARK_KID) != 0)
        i++;
    if (i == m->len)
        return m->len == 1 ? CS_WRITER_OTHER : CS_WRITER_FALSE;
    if (r->key.len > CS_ACCOUNT_MAX)
        return CS_WRITER_FALSE;
    mark_with(m, &m->keys[i], r->partition, r->key, r->value, true_mark);
    if (!cs_mac_equal((const uint8_t *)true_mark, mark.data, CS_OUTCOME_MARK_LEN))
        return CS_WRITER_FALSE;
    return i == 0 ? CS_WRITER_OWN : CS_WRITER_EARLIER;
}
