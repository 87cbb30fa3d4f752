// SPDX-License-Identifier: Apache-2.0
#include "worker/keyfile.h"

#include <string.h>

#include "certsync/model/pem.h"
#include "certsync/runtime/fileio.h"

// The operator must correct the content of a file that the settings name.
static bool as_config(struct cs_err *err, const char *path) {
    if (err->kind == CS_ERR_REJECT)
        err->kind = CS_ERR_CONFIG;
    return cs_err_prepend(err, "%s", path);
}

bool cs_keyfile_private(struct cs_crypto *crypto, const char *path, struct cs_privkey **ret,
                        struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf text;
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = NULL;
    cs_buf_init(&text, CS_PEM_FILE_MAX);
    bool ok = cs_file_read(path, CS_FILE_PRIVATE, &text, err);
    if (ok)
        ok = cs_pem_privkey(crypto, "private key", cs_buf_bytes(&text), &key, err) || as_config(err, path);
    if (text.data)
        explicit_bzero(text.data, text.len);
    if (ok && cs_privkey_type(key) != CS_KEY_P256)
        ok = cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                        "%s: this key must be a P-256 key; make one with: certsync keygen --out FILE", path);
    if (ok)
        *ret = CS_TAKE(key);
    return ok;
}

void cs_service_keys_clear(struct cs_service_keys *k) {
    cs_privkey_free(k->own);
    for (size_t i = 0; i < k->earlier_len; i++)
        cs_privkey_free(k->earlier[i]);
    *k = (struct cs_service_keys){0};
}

bool cs_service_keys_read(struct cs_crypto *crypto, const struct cs_consumer_settings *s,
                          struct cs_service_keys *ret, struct cs_err *err) {
    CS_AUTO(cs_service_keys_clear) struct cs_service_keys k = {0};
    const struct cs_list *files = &s->earlier_service_keys;
    if (!cs_keyfile_private(crypto, s->service_key, &k.own, err))
        return cs_err_prepend(err, "deployment.service_key");
    if (files->count > CS_EARLIER_KEYS_MAX)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "deployment.earlier_service_keys names %zu files, and at most %d are read",
                          files->count, CS_EARLIER_KEYS_MAX);
    for (; k.earlier_len < files->count; k.earlier_len++)
        if (!cs_keyfile_private(crypto, files->items[k.earlier_len], &k.earlier[k.earlier_len], err))
            return cs_err_prepend(err, "deployment.earlier_service_keys");
    *ret = k;
    k = (struct cs_service_keys){0};
    return true;
}

bool cs_keyfile_spki(struct cs_crypto *crypto, const char *path, uint8_t **ret, size_t *ret_len,
                     struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf text;
    cs_buf_init(&text, CS_PEM_FILE_MAX);
    if (!cs_file_read(path, 0, &text, err))
        return false;
    bool ok =
        cs_pem_spki(crypto, "public key", cs_buf_bytes(&text), ret, ret_len, err) || as_config(err, path);
    explicit_bzero(text.data, text.len);
    return ok;
}

bool cs_keyfile_make(const char *path, struct cs_privkey **ret, struct cs_err *err) {
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = NULL;
    uint8_t *pem = NULL;
    size_t len = 0;
    if (!cs_privkey_generate(CS_KEY_P256, 0, &key, err) || !cs_privkey_to_pem(key, &pem, &len, err))
        return false;
    bool ok = cs_file_create(path, (struct cs_bytes){pem, len}, 0600, err);
    cs_secure_free(pem, len);
    if (ok)
        *ret = CS_TAKE(key);
    return ok;
}
