// SPDX-License-Identifier: Apache-2.0
//
// The host's key outside of files: in a PKCS#11 token or a TPM, named by a URI that an OpenSSL
// provider knows (pkcs11:token=…;object=…, handle:0x81000001; provider-storemgmt(7)). The private
// half never comes out: the provider signs.
#pragma once

#include "certsync/model/key.h"

// Whether agent.key is a URI, not a path.
bool cs_keystore_is_uri(const char *key);
// provider: loaded beside OpenSSL's own, and asked first for this key. "": what openssl.cnf loads.
// Nobody is prompted for a PIN: the URI says where it is (pin-source). CONFIG errors.
CS_MUST_USE bool cs_keystore_open(const char *uri, const char *provider, struct cs_privkey **ret,
                                  struct cs_err *err);
