// SPDX-License-Identifier: Apache-2.0
//
// The host's own key file: made on the host, never over an existing one.
#pragma once

#include "event/session.h"

// Reads the key of a file: P-256, readable by nobody else. *ret NULL if there is no file. Or the
// key that a URI names (keystore.h); if that is missing, it is an error.
CS_MUST_USE bool cs_hostkey_read(struct cs_crypto *c, const char *path, const char *provider,
                                 struct cs_privkey **ret, struct cs_err *err);
// Makes a key, PATH (0600) and PATH.pub.
CS_MUST_USE bool cs_hostkey_make(const char *path, struct cs_privkey **ret, struct cs_err *err);
// PEM text of its public half, malloc'ed, and its id.
CS_MUST_USE bool cs_hostkey_public(struct cs_crypto *c, const struct cs_privkey *key, char **ret_pem,
                                   cs_kid ret_kid, struct cs_err *err);
// Whether the API knows the key as enrolled in the session's account. Also false if it does not
// answer.
bool cs_hostkey_enrolled(const struct cs_session *s, struct cs_privkey *key, const char *kid);
