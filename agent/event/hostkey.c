// SPDX-License-Identifier: Apache-2.0
#include "event/hostkey.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "certsync/model/pem.h"
#include "certsync/runtime/fileio.h"
#include "event/input.h"
#include "event/keystore.h"
#include "event/settle.h"

bool cs_hostkey_read(struct cs_crypto *c, const char *path, const char *provider, struct cs_privkey **ret,
                     struct cs_err *err) {
    if (cs_keystore_is_uri(path))
        return cs_keystore_open(path, provider, ret, err);
    CS_AUTO(cs_input_clear) struct cs_input in = {0};
    struct cs_privkey *key;
    if (access(path, F_OK) < 0 && errno == ENOENT) {
        *ret = NULL;
        return true;
    }
    if (!cs_input_read(path, CS_INPUT_PRIVATE, &in, err))
        return false;
    if (!cs_pem_privkey(c, path, in.bytes, &key, err)) {
        err->kind = CS_ERR_CONFIG;
        return false;
    }
    if (cs_privkey_type(key) != CS_KEY_P256) {
        cs_privkey_free(key);
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: a host's key is P-256 (certsync keygen)",
                          path);
    }
    *ret = key;
    return true;
}

bool cs_hostkey_public(struct cs_crypto *c, const struct cs_privkey *key, char **ret_pem, cs_kid ret_kid,
                       struct cs_err *err) {
    uint8_t *spki;
    size_t len;
    if (!cs_privkey_spki(key, &spki, &len, err))
        return false;
    cs_kid_of_spki(c, (struct cs_bytes){spki, len}, ret_kid);
    bool ok = cs_spki_to_pem((struct cs_bytes){spki, len}, ret_pem, err);
    free(spki);
    return ok;
}

static bool write_files(const char *path, const struct cs_privkey *key, struct cs_err *err) {
    CS_AUTO(cs_crypto_free) struct cs_crypto *crypto = NULL;
    char public_path[PATH_MAX], *public_pem;
    uint8_t *pem;
    size_t len;
    cs_kid kid;
    if (snprintf(public_path, sizeof public_path, "%s.pub", path) >= (int)sizeof public_path)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: the path is too long", path);
    if (!cs_crypto_new(&crypto, err) || !cs_hostkey_public(crypto, key, &public_pem, kid, err))
        return false;
    bool ok = cs_privkey_to_pem(key, &pem, &len, err);
    if (ok) {
        ok = cs_file_create(path, (struct cs_bytes){pem, len}, 0600, err);
        cs_secure_free(pem, len);
    }
    ok = ok && cs_file_write(public_path, (struct cs_bytes){(const uint8_t *)public_pem, strlen(public_pem)},
                             0644, err);
    free(public_pem);
    return ok;
}

bool cs_hostkey_make(const char *path, struct cs_privkey **ret, struct cs_err *err) {
    struct cs_privkey *key;
    if (!cs_privkey_generate(CS_KEY_P256, 0, &key, err))
        return false;
    if (!write_files(path, key, err)) {
        cs_privkey_free(key);
        return false;
    }
    *ret = key;
    return true;
}

// Only enrolled keys may ask for an outcome. This one does not exist.
bool cs_hostkey_enrolled(const struct cs_session *s, struct cs_privkey *key, const char *kid) {
    struct cs_session as = *s;
    CS_AUTO(cs_end_clear) struct cs_end end = {0};
    struct cs_err err;
    cs_uuid nothing;
    as.client = NULL;
    as.key = key;
    memcpy(as.kid, kid, sizeof as.kid);
    bool yes = cs_compose_uuid(cs_clock_wall_ms(as.clock), nothing, &err) &&
               cs_end_ask(&as, as.account, nothing, 1, 0, &end, &err);
    cs_client_free(as.client);
    return yes;
}
