// SPDX-License-Identifier: Apache-2.0
//
// The keys that the settings name, read from their files. Errors: CONFIG, with the file.
#pragma once

#include "certsync/model/key.h"
#include "settings.h"

// A P-256 private key; the file must not be readable by others.
CS_MUST_USE bool cs_keyfile_private(struct cs_crypto *crypto, const char *path, struct cs_privkey **ret,
                                    struct cs_err *err);
// The deployment's service keys: the present one, and those before it.
#define CS_EARLIER_KEYS_MAX 16
struct cs_service_keys {
    struct cs_privkey *own;
    struct cs_privkey *earlier[CS_EARLIER_KEYS_MAX];
    size_t earlier_len;
};
CS_MUST_USE bool cs_service_keys_read(struct cs_crypto *crypto, const struct cs_consumer_settings *s,
                                      struct cs_service_keys *ret, struct cs_err *err);
void cs_service_keys_clear(struct cs_service_keys *k);
CS_DEFINE_AUTO_CLEAR(struct cs_service_keys, cs_service_keys_clear)
// SPKI DER of a public key (malloc'ed). A private key's file is refused: it should not be here.
CS_MUST_USE bool cs_keyfile_spki(struct cs_crypto *crypto, const char *path, uint8_t **ret, size_t *ret_len,
                                 struct cs_err *err);
// Makes a new P-256 key and its file (0600). An existing file is an error.
CS_MUST_USE bool cs_keyfile_make(const char *path, struct cs_privkey **ret, struct cs_err *err);
