// SPDX-License-Identifier: Apache-2.0
#include "log/open_catalog.h"

#include <string.h>

#include "worker/keyfile.h"

bool cs_catalog_of(const struct cs_consumer_settings *s, const char *log_id, struct cs_catalog **ret,
                   struct cs_err *err) {
    CS_AUTO(cs_crypto_free) struct cs_crypto *crypto = NULL;
    CS_AUTO(cs_privkey_free) struct cs_privkey *service = NULL;
    struct cs_redis_access access;
    if (strcmp(s->service_key, CS_SERVICE_KEY_UNSET) == 0)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "deployment.service_key is not set: the catalog in Redis is authenticated with "
                          "that key; set it as the consumers have it");
    if (!cs_crypto_new(&crypto, err))
        return false;
    if (!cs_keyfile_private(crypto, s->service_key, &service, err))
        return cs_err_prepend(err, "deployment.service_key (it authenticates the catalog in Redis)");
    return cs_settings_redis(s, &access, err) &&
           cs_catalog_redis_new(&access, s->redis_namespace, service, log_id, ret, err);
}
